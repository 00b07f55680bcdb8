//! The result of the last failed refresh: the login it applies to, and the requests it rules out.

use std::time::Duration;

use crate::blocking::Look;
use crate::error::Error;
use crate::oauth::client::Client;
use crate::secret::Fingerprint;
use crate::store::credential::{LastRefresh, Outline, Snapshot};
use crate::store::location::Location;
use crate::time::UnixMillis;

use super::client;
use super::config::AuthConfig;

/// A refusal without a reason may be a gateway's: asked again, but rarely. Nothing else stops attempts for longer.
pub(super) const UNCLEAR_REFUSAL: Duration = Duration::from_hours(1);

/// The result of the last failed round, if it applies to the request that a refresh would send now. Call it on a
/// thread that may block.
pub(super) fn learned(
    config: &AuthConfig,
    location: &Location,
    credential: &Outline,
    look: Look,
) -> Result<Option<LastRefresh>, Error> {
    let Some(last) = credential.last_refresh() else {
        return Ok(None);
    };
    let client = client::of_credential(config, location, credential, look)?;
    Ok((last.bound_to == binding(credential, client.as_ref())).then(|| last.clone()))
}

/// Binds a failed round to token, client and secret: another one of them makes it void.
pub(super) fn binding(credential: &Outline, client: Option<&Client>) -> Fingerprint {
    client.map_or_else(
        || credential.binding("", "", None),
        |client| {
            credential.binding(
                &client.id,
                client.authentication.as_str(),
                client.secret.as_ref(),
            )
        },
    )
}

/// The failure that forbids another attempt now.
pub(super) fn blocked(last: &LastRefresh, now: UnixMillis) -> Option<Error> {
    let error = Error::new(last.code, last.message.clone());
    if last.r#final {
        return Some(error);
    }
    let wait = last.next_attempt_at.since(now);
    // A failure from the future was noted before the clock was set back.
    let believable = last.failed_at <= now && wait <= UNCLEAR_REFUSAL;
    (believable && !wait.is_zero()).then(|| error.with_retry_after(Some(wait)))
}

/// Without a refresh token, the access token itself was refused: it is not handed out again.
pub(super) fn refused_access_token(credential: &Snapshot, now: UnixMillis) -> Option<Error> {
    let last = credential
        .last_refresh()
        .filter(|last| is_refused_access_token(credential, last, now))?;
    Some(Error::new(last.code, last.message.clone()))
}

/// A refusal from the future was noted before the clock was set back: then the token may well live.
pub(super) fn is_refused_access_token(
    credential: &Outline,
    last: &LastRefresh,
    now: UnixMillis,
) -> bool {
    !credential.is_refreshable() && last.r#final && last.failed_at <= now
}
