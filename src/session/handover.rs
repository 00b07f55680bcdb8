//! Passes a credential from a call that could not save it to the next call that needs it.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::oauth::client::Client;
use crate::store::credential::NewCredential;
use crate::store::locked::{Locked, Reserved};

use super::config::AuthConfig;
use super::settling::Unsettled;
use super::single_flight::Hold;

/// All that is needed to save it later.
pub(super) struct Save {
    pub(super) locked: Locked,
    pub(super) reserved: Option<Reserved>,
    pub(super) credential: Arc<NewCredential>,
    pub(super) client: Client,
    pub(super) config: AuthConfig,
    pub(super) cause: Error,
    pub(super) unsettled: Unsettled,
    pub(super) holds: Vec<Hold>,
}

/// Where one that waits for its disk is asked for, and left.
#[derive(Default)]
pub(super) struct Handover {
    pub(super) wanted: Notify,
    /// Becomes true once it is left here, saved, or lost.
    pub(super) is_over: watch::Sender<bool>,
    pub(super) left: Mutex<Option<Save>>,
}
