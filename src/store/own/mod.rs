//! Logins in files of our own.

pub(super) mod file;
pub(super) mod handwritten;
pub(super) mod place;
