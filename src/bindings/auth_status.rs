//! `AuthStatus`, towards JavaScript.

use napi_derive::napi;

use crate::session::status::{self, State};
use crate::time::UnixMillis;

/// What is known of one login. Never holds a token.
#[napi(object, object_from_js = false)]
pub struct AuthStatus {
    /// `valid`: usable now or after a silent refresh; `expiring`: cannot be refreshed and ends within 24 hours; `expired`:
    /// cannot be refreshed and has ended; `login_required`: the server refused the refresh token; `logged_out`: no
    /// credential.
    #[napi(
        ts_type = "\"valid\" | \"expiring\" | \"expired\" | \"login_required\" | \"logged_out\""
    )]
    pub state: String,
    /// The account.
    pub profile: String,
    /// The credential file.
    pub path: String,
    /// The authorization server that issued the credential.
    pub issuer: Option<String>,
    /// The client that it was issued to.
    pub client_id: Option<String>,
    /// The scopes that were granted.
    pub scopes: Option<Vec<String>>,
    /// Scopes that the config asks for and the credential lacks: log in again to get them.
    pub missing_scopes: Option<Vec<String>>,
    /// When the access token ends, Unix milliseconds.
    pub expires_at: Option<f64>,
    /// There is a refresh token.
    pub refreshable: bool,
    /// When the person logged in, Unix milliseconds.
    pub created_at: Option<f64>,
    /// When the tokens were last renewed, Unix milliseconds.
    pub refreshed_at: Option<f64>,
    /// Where the tokens lie, once they are stored.
    #[napi(ts_type = "\"file\" | \"keychain\"")]
    pub storage: Option<String>,
    /// The last failure that is still of consequence.
    pub last_error: Option<LastError>,
}

/// A failure that is remembered.
#[napi(object, object_from_js = false)]
pub struct LastError {
    /// As in {@link AuthError}.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
    /// When, Unix milliseconds.
    pub at: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Unix milliseconds fit a double for 285,000 years"
)]
fn millis(at: UnixMillis) -> f64 {
    at.0 as f64
}

impl From<status::AuthStatus> for AuthStatus {
    fn from(status: status::AuthStatus) -> Self {
        Self {
            state: match status.state {
                State::Valid => "valid",
                State::Expiring => "expiring",
                State::Expired => "expired",
                State::LoginRequired => "login_required",
                State::LoggedOut => "logged_out",
            }
            .to_owned(),
            profile: status.profile,
            path: status.path,
            issuer: status.issuer,
            client_id: status.client_id,
            scopes: status.scopes,
            missing_scopes: status.missing_scopes,
            expires_at: status.expires_at.map(millis),
            refreshable: status.refreshable,
            created_at: status.created_at.map(millis),
            refreshed_at: status.refreshed_at.map(millis),
            storage: status.in_keychain.map(|in_keychain| {
                let storage = if in_keychain { "keychain" } else { "file" };
                storage.to_owned()
            }),
            last_error: status.last_error.map(|error| LastError {
                code: error.code.as_str().to_owned(),
                message: error.message,
                at: millis(error.at),
            }),
        }
    }
}
