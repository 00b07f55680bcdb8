//! Credential files of other programs: a login is read from its program's file, and written back in that program's own
//! format.
//!
//! Values that such a file has no place for (the result of a failed refresh, the owner of the login) are kept in a
//! note of this library.

mod entry;
pub(super) mod file;
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
