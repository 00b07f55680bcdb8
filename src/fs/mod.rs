//! The disk, without knowing what is stored: locks, atomic writes, private folders, file identity.
//!
//! All of it is synchronous. No path is trusted: a file must be a regular file of the user that runs this process.

#[cfg(not(unix))]
mod access_list;
pub(crate) mod atomic_write;
pub(crate) mod damaged_file;
mod folder;
pub(crate) mod identity;
pub(crate) mod io_failure;
pub(crate) mod lock;
pub(crate) mod ownership;
pub(crate) mod permissions;
pub(crate) mod private_dir;
pub(crate) mod program_lock;
pub(crate) mod regular_file;
pub(crate) mod symlink;
