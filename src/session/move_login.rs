//! A login moves from the file into the plugin's store, or back.

use std::sync::Arc;

use crate::blocking::{MayBlock, blocking};
use crate::error::Error;
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::moving::relocate;
use crate::store::registration::Shelf;

use super::Session;
use super::auth_status::AuthStatus;
use super::config::{AuthConfig, invalid};
use super::login_state::LoginState;

impl Session {
    /// Holds both locks, so that neither side refreshes meanwhile. The status of where the login is then.
    pub(crate) async fn move_login(
        self: &Arc<Self>,
        config: &AuthConfig,
        into_store: bool,
    ) -> Result<AuthStatus, Error> {
        if config.store.is_none() {
            return Err(invalid(
                "`store` is missing: a login is moved between it and the file.",
            ));
        }
        let in_file = AuthConfig {
            store: None,
            ..config.clone()
        };
        let file = self.located(&in_file).await?;
        let slot = self.located(config).await?;
        // In both directions, the locks are taken in this order: two moves never wait for each other.
        let mut locked_file = self.lock(&file, config.lock_timeout).await?;
        let mut locked_slot = self.lock(&slot, config.lock_timeout).await?;
        let now = self.clock.now();
        let (file_place, slot_place) = (file.clone(), slot.clone());
        let unsettled = self.settling.unsettled(true);
        let moved = blocking(move |may| {
            let (file, slot) = (&mut locked_file, &mut locked_slot);
            let (from, to, old, new) = if into_store {
                (file, slot, &file_place, &slot_place)
            } else {
                (slot, file, &slot_place, &file_place)
            };
            take_client_along(from, old, new, may)?;
            relocate(from, to, now, may)
        })
        .await?;
        drop(unsettled);
        for location in [&file, &slot] {
            self.logins.of(&location.key(), LoginState::forget);
            self.cache.forget(location);
        }
        moved?;
        self.status(if into_store { config } else { &in_file })
            .await
    }
}

/// The client that was registered for the login is needed wherever the login is. The old place keeps it as well:
/// others may use it.
fn take_client_along(
    locked: &Locked,
    old: &Location,
    new: &Location,
    may: MayBlock,
) -> Result<(), Error> {
    let Some(login) = locked.stored().outline() else {
        return Ok(());
    };
    let server = login.issuer().or_else(|| login.token_endpoint());
    let (Some(server), Some(client_id)) = (server, login.client_id()) else {
        return Ok(());
    };
    match Shelf::of(old, server).load(may.into())?.find(client_id) {
        Some(client) => Shelf::of(new, server).save_with(client, may),
        None => Ok(()),
    }
}
