//! Logins in files of our own.

pub(super) mod file;
pub(crate) mod handwritten;
