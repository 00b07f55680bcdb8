//! Where a login is in a store that the plugin gave: under a key that names plugin and profile.

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::store::name;
use crate::store::plugin_store::{PluginStore, Slot};
use crate::store::sidecar::Sidecar;

/// The place of one login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Place {
    /// Encoded: the start of the key of each of the plugin's documents.
    plugin: String,
    profile: String,
    slot: Slot,
}

impl Place {
    /// `plugin` and `encoded`, the profile, are encoded.
    pub(in crate::store) fn new(
        store: PluginStore,
        plugin: String,
        profile: &str,
        encoded: &str,
    ) -> Self {
        let key = format!("{plugin}/{encoded}");
        Self {
            plugin,
            profile: profile.to_owned(),
            slot: Slot { store, key },
        }
    }

    pub(in crate::store) fn profile(&self) -> &str {
        &self.profile
    }

    /// The login itself.
    pub(in crate::store) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Every profile of this plugin that something is kept for, sorted; none where the store cannot list its keys.
    ///
    /// # Errors
    /// `STORE_IO`
    pub(in crate::store) fn profiles(&self, may: MayBlock) -> Result<Option<Vec<Self>>, Error> {
        let start = format!("{}/", self.plugin);
        let Some(keys) = self.slot.store.list(&start, may)? else {
            return Ok(None);
        };
        let mut found: Vec<Self> = keys
            .iter()
            .filter_map(|key| {
                let encoded = key.strip_prefix(&start)?;
                // No other name decodes: neither a damaged value that was set aside, nor the other documents.
                let profile = name::decode(encoded).filter(|_| !encoded.contains(".corrupt-"))?;
                let store = self.slot.store.clone();
                Some(Self::new(store, self.plugin.clone(), &profile, encoded))
            })
            .collect();
        found.sort_by(|a, b| a.profile.cmp(&b.profile));
        Ok(Some(found))
    }

    /// The order of the plugin's accounts. A name of a profile holds no `!`.
    pub(in crate::store) fn order(&self) -> Sidecar {
        self.beside("!order")
    }

    /// The clients that were registered at the server of that name.
    pub(in crate::store) fn clients(&self, server: &str) -> Sidecar {
        self.beside(&format!("!clients/{server}"))
    }

    fn beside(&self, name: &str) -> Sidecar {
        Sidecar::Slot(Slot {
            store: self.slot.store.clone(),
            key: format!("{}/{name}", self.plugin),
        })
    }
}
