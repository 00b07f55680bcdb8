//! Where a login is in a plugin's store.

use crate::store::plugin_store::GivenStore;

/// What is kept under a key of a given store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(in crate::store) store: GivenStore,
    pub(in crate::store) key: String,
}
