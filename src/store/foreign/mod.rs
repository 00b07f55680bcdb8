//! Credential files of other programs: a login is read where its program keeps it, and written back there, in that program's
//! own format.
//!
//! What such a file has no place for (what a failed refresh taught, whom the login belongs to) lies in a note of our own.

mod entry;
pub(super) mod file;
mod format;
mod formats;
pub(super) mod found;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
pub(super) mod keychain_item;
mod layout;
mod note;
pub(super) mod place;
mod profiles;
mod program;
pub(super) mod target;
