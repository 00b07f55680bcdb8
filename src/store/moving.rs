//! A login changes its place: from a file into the plugin's store, or back.
//!
//! First the old place becomes a tombstone that carries the login: nobody can refresh there any more, and nothing is
//! lost. Then the new place takes the login, and last the tombstone drops it. Killed at any step, the login lives in
//! one place or is carried; the next try goes on from there.

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::store::credential::Stored;
use crate::store::format::Document;
use crate::store::locked::Locked;
use crate::time::UnixMillis;

/// Moves the login of `from` to `to`. Does nothing without a login.
///
/// # Errors
/// `INVALID_CONFIG` where both places have a login, or its tokens are in the keychain; `STORE_IO`, `STORE_LOCKED`.
pub(crate) fn relocate(
    from: &mut Locked,
    to: &mut Locked,
    now: UnixMillis,
    may: MayBlock,
) -> Result<(), Error> {
    let is_taken = to.stored().outline().is_some();
    let tombstone = |locked: &Locked| Document::of_logout(now).with_adopted_of(&locked.document());
    let login = match from.document().carried() {
        Some(login) => login,
        None if from.stored().outline().is_none() => return Ok(()),
        None if is_taken => {
            return Err(Error::new(
                ErrorCode::InvalidConfig,
                "There is a login in the file and another in the store. Log out of the one that is not wanted, then try again. \
                 Nothing was changed.",
            ));
        }
        None if matches!(from.stored(), Stored::Sealed(_)) => {
            return Err(Error::new(
                ErrorCode::InvalidConfig,
                "The tokens of this login are in the system's keychain, and stay there. Log out, and log in again with the store. \
                 Nothing was changed.",
            ));
        }
        None => {
            // Before the old place gives anything up.
            drop(to.reserve(may)?);
            let login = from.document();
            let carrying = tombstone(from).carrying(&login);
            from.put(&carrying, now, may)?;
            login
        }
    };
    // Where the new place has a login, it was moved before, or a person has logged in there since.
    if !is_taken {
        let login = login.with_adopted_of(&to.document());
        to.put(&login, now, may)?;
    }
    let empty = tombstone(from);
    from.put(&empty, now, may)
}
