//! `AuthStatus`, towards JavaScript.

use napi_derive::napi;

use crate::session::auth_status::{self as status, State};
use crate::time::UnixMillis;

/// What is known of one login. Never holds a token.
#[napi(object, object_from_js = false)]
pub struct AuthStatus {
    /// `valid`: usable now or after a silent refresh; `expiring`: the login itself ends within 24 hours; `expired`: cannot be
    /// refreshed and has ended; `login_required`: the server refused the refresh token, or gave it for a time that is over;
    /// `logged_out`: no credential.
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
    /// When the login itself ends, Unix milliseconds: with the access token where there is no refresh token, else with the
    /// refresh token (or an access token that outlives it), as far as the server said how long that is good. A refresh
    /// can move it.
    pub login_ends_at: Option<f64>,
    /// There is a refresh token.
    pub refreshable: bool,
    /// True where the tokens are bound to a key (RFC 9449): requests need {@link authorizationHeaders}.
    pub dpop: Option<bool>,
    /// It was brought by {@link importToken}.
    pub imported: Option<bool>,
    /// When the person logged in, Unix milliseconds.
    pub created_at: Option<f64>,
    /// When the tokens were last renewed, Unix milliseconds.
    pub refreshed_at: Option<f64>,
    /// Where the tokens lie, once they are stored.
    #[napi(ts_type = "\"file\" | \"keychain\"")]
    pub storage: Option<String>,
    /// The last failure that is still of consequence.
    pub last_error: Option<LastError>,
    /// Accounts of an order that come before this one and need a login. Where all do, this is the status of the first, and
    /// these are the others.
    pub skipped: Option<Vec<SkippedProfile>>,
}

/// An account that was passed over because it needs a login.
#[napi(object, object_from_js = false)]
pub struct SkippedProfile {
    /// The account.
    pub profile: String,
    /// As in {@link AuthStatus}.
    #[napi(ts_type = "\"expired\" | \"login_required\" | \"logged_out\"")]
    pub state: String,
    /// Why, and what to do next.
    pub message: String,
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

fn name_of(state: State) -> &'static str {
    match state {
        State::Valid => "valid",
        State::Expiring => "expiring",
        State::Expired => "expired",
        State::LoginRequired => "login_required",
        State::LoggedOut => "logged_out",
    }
}

impl From<status::AuthStatus> for AuthStatus {
    fn from(status: status::AuthStatus) -> Self {
        Self {
            state: name_of(status.state).to_owned(),
            profile: status.profile,
            path: status.path,
            issuer: status.issuer,
            client_id: status.client_id,
            scopes: status.scopes,
            missing_scopes: status.missing_scopes,
            expires_at: status.expires_at.map(millis),
            login_ends_at: status.login_ends_at.map(millis),
            refreshable: status.refreshable,
            dpop: status.dpop.then_some(true),
            imported: status.imported.then_some(true),
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
            skipped: (!status.skipped.is_empty()).then(|| {
                let skipped = status.skipped.into_iter();
                skipped
                    .map(|skipped| SkippedProfile {
                        profile: skipped.profile,
                        state: name_of(skipped.state).to_owned(),
                        message: skipped.message,
                    })
                    .collect()
            }),
        }
    }
}
