//! Credential files of other programs: a login is read where its program keeps it, and written back there, in that program's
//! own format.
//!
//! What such a file has no place for (what a failed refresh taught, whom the login belongs to) lies in a note of our own.

mod entry;
pub(crate) mod file;
pub(crate) mod format;
mod formats;
pub(super) mod found;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
pub(crate) mod keychain_item;
mod layout;
pub(super) mod note;
pub(crate) mod place;
pub(super) mod profiles;
mod program;
