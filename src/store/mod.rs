//! Keeps credentials on disk, without knowing any protocol: their place, their format, and who may change them.
//!
//! Reading needs no lock and gives a snapshot without the refresh token. Only [`locked::Locked`] gives that token, and
//! only it writes.

pub(crate) mod cache;
pub(crate) mod credential;
pub(crate) mod credentials_format;
pub(crate) mod earlier_login;
mod foreign;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod given;
pub(crate) mod given_file;
pub(crate) mod inspection;
#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod intruder;
mod journal;
mod json_text;
pub(crate) mod key;
pub(crate) mod location;
pub(crate) mod locked;
mod marker;
mod members;
pub(crate) mod moving;
pub(crate) mod name;
pub(crate) mod order;
pub(crate) mod outcome;
mod own;
pub(crate) mod pending_login;
pub(crate) mod plugin_store;
pub(crate) mod profiles;
pub(crate) mod reading;
pub(crate) mod registration;
pub(crate) mod sealed;
mod sidecar;
mod small_file;
mod state_folder;
