//! Where a login is in a store that the plugin gave: under a key that names plugin and profile.

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
