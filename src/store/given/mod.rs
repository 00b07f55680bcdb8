//! Logins in a store that the plugin gave.

pub(super) mod lock;
pub(super) mod place;
