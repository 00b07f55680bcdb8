//! The payloads of a call's listener: results, events, and failures.

use napi::bindgen_prelude::Either9;
use napi_derive::napi;

use crate::error::Error;
use crate::session::device_tokens::{self, Progress, ProgressKind};
use crate::session::doctor::Check;
use crate::session::verification;
use crate::store::inspection::Level;
use crate::time::UnixMillis;

/// An `AuthStatus`, or several.
type Json = String;

/// Everything that can be reported.
pub type Payload = Either9<
    Token,
    Json,
    TokenSet,
    LogoutResult,
    Verification,
    ProgressEvent,
    ErrorDetails,
    Option<Vec<String>>,
    DoctorReport,
>;

/// A token, and what the fast path needs to hand it out again. @internal
#[napi(object, object_from_js = false)]
pub struct Token {
    /// The access token.
    pub token: String,
    /// True where a request needs a proof as well.
    pub bound: Option<bool>,
    /// The id of the watch that `isFresh` asks; absent where there is no watch.
    pub stamp: Option<f64>,
    /// Boot time until which it may be handed out again, in seconds.
    pub due: Option<f64>,
}

/// Tokens for a host that stores them itself.
#[napi(object, object_from_js = false)]
pub struct TokenSet {
    /// The access token.
    pub access: String,
    /// The refresh token, where the server gave one. Store the newest: many servers accept each only once.
    pub refresh: Option<String>,
    /// When the access token ends, Unix milliseconds.
    pub expires: Option<f64>,
    /// The scopes that were granted.
    pub scopes: Option<Vec<String>>,
    /// `Bearer`.
    pub token_type: String,
    /// The OpenID Connect ID token, not validated.
    pub id_token: Option<String>,
    /// The client that the tokens were issued to; {@link refreshTokens} needs it in its config.
    pub client_id: String,
    /// The secret of a client that was registered for this login.
    pub client_secret: Option<String>,
    /// The authorization server.
    pub issuer: Option<String>,
    /// Where the tokens came from.
    pub token_endpoint: String,
}

impl From<device_tokens::TokenSet> for TokenSet {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix milliseconds fit a double for 285,000 years"
    )]
    fn from(tokens: device_tokens::TokenSet) -> Self {
        Self {
            access: tokens.access.expose().to_owned(),
            refresh: tokens.refresh.map(|refresh| refresh.expose().to_owned()),
            expires: tokens.expires.map(|UnixMillis(at)| at as f64),
            scopes: tokens.scopes,
            token_type: tokens.token_type,
            id_token: tokens.id_token.map(|token| token.expose().to_owned()),
            client_id: tokens.client_id,
            client_secret: tokens
                .client_secret
                .map(|secret| secret.expose().to_owned()),
            issuer: tokens.issuer,
            token_endpoint: tokens.token_endpoint,
        }
    }
}

/// The result of a logout.
#[napi(object, object_from_js = false)]
pub struct LogoutResult {
    /// The server confirmed that the tokens are revoked.
    pub revoked: bool,
    /// There was a credential, and its file is closed: nobody is logged in.
    pub removed: bool,
    /// The names of entries in the system's keychain that could not be removed: the keychain is locked or unreachable,
    /// or it refused. The next login or logout tries again. Absent where there are none.
    pub left_in_keychain: Option<Vec<String>>,
}

/// The page, and the code, with which a person approves the login (RFC 8628 §3.2, RFC 6749 §4.1.1).
#[napi(object, object_from_js = false)]
pub struct Verification {
    /// The code to enter. Empty in the authorization code flow, which has none.
    pub user_code: String,
    /// The page to enter it on; in the authorization code flow, the page to open. http(s).
    pub verification_uri: String,
    /// The page with the code filled in, where the server offers it.
    pub verification_uri_complete: Option<String>,
    /// When the code ends, or the wait for the browser, Unix milliseconds.
    pub expires_at: f64,
    /// Ready to print: URL, code, minutes left.
    pub message: String,
    /// The verification URL as a QR code of half-block characters, for a dark terminal. Empty when the URL is too long, or of
    /// use only in a browser on this machine.
    pub qr_code: String,
}

impl From<verification::Verification> for Verification {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix milliseconds fit a double for 285,000 years"
    )]
    fn from(verification: verification::Verification) -> Self {
        Self {
            user_code: verification.user_code,
            verification_uri: verification.verification_uri,
            verification_uri_complete: verification.verification_uri_complete,
            expires_at: verification.expires_at.0 as f64,
            message: verification.message,
            qr_code: verification.qr_code,
        }
    }
}

/// A step of the wait.
#[napi(object, object_from_js = false)]
pub struct ProgressEvent {
    /// `waiting`: the person has not decided; `slow_down`: the server asked for a longer interval; `retrying`: the server
    /// could not be reached or failed and is asked again; `approved`.
    #[napi(
        js_name = "type",
        ts_type = "\"waiting\" | \"slow_down\" | \"retrying\" | \"approved\""
    )]
    pub kind: String,
    /// When the server is asked next, Unix milliseconds.
    pub next_poll_at: Option<f64>,
    /// When the code ends, or the wait for the browser, Unix milliseconds.
    pub expires_at: f64,
    /// The message of the server or the network; with `waiting`, why a request from a browser was refused.
    pub detail: Option<String>,
}

impl From<Progress> for ProgressEvent {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix milliseconds fit a double for 285,000 years"
    )]
    fn from(progress: Progress) -> Self {
        Self {
            kind: match progress.kind {
                ProgressKind::Waiting => "waiting",
                ProgressKind::SlowDown => "slow_down",
                ProgressKind::Retrying => "retrying",
                ProgressKind::Approved => "approved",
            }
            .to_owned(),
            next_poll_at: progress.next_poll_at.map(|at| at.0 as f64),
            expires_at: progress.expires_at.0 as f64,
            detail: progress.detail,
        }
    }
}

/// The members of an `AuthError`. @internal
#[napi(object, object_from_js = false)]
pub struct ErrorDetails {
    /// The stable code.
    pub code: String,
    /// A sentence: the failure, and the next step.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether a new login fixes it.
    pub needs_login: bool,
    /// RFC 6749 §5.2 `error`.
    pub oauth_error: Option<String>,
    /// RFC 6749 §5.2 `error_description`, cleaned.
    pub oauth_error_description: Option<String>,
    /// RFC 6749 §5.2 `error_uri`.
    pub oauth_error_uri: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// How long the server asked us to wait, in milliseconds.
    pub retry_after_ms: Option<f64>,
    /// The scopes that a resource asks for.
    pub scopes: Option<Vec<String>>,
}

impl From<&Error> for ErrorDetails {
    fn from(error: &Error) -> Self {
        let oauth = error.oauth();
        Self {
            code: error.code().as_str().to_owned(),
            message: error.message().to_owned(),
            retryable: error.is_retryable(),
            needs_login: error.needs_login(),
            oauth_error: oauth.map(|oauth| oauth.error.clone()),
            oauth_error_description: oauth.and_then(|oauth| oauth.description.clone()),
            oauth_error_uri: oauth.and_then(|oauth| oauth.uri.clone()),
            status: error.status(),
            scopes: error.scopes().map(<[String]>::to_vec),
            retry_after_ms: error
                .retry_after()
                .map(|wait| (wait.as_secs_f64() * 1000.0).ceil()),
        }
    }
}

/// The findings of {@link doctor}. Never holds a token.
#[napi(object, object_from_js = false)]
pub struct DoctorReport {
    /// True if no check is an error, fixed ones aside.
    pub ok: bool,
    /// In the order of the checks.
    pub checks: Vec<DoctorCheck>,
}

/// The result of one check.
#[napi(object, object_from_js = false)]
pub struct DoctorCheck {
    /// `place`, `folder`, `file`, `format`, `lock`, `leftovers`, `order`, `login`, `server`, `clock`, `metadata`, `client`;
    /// later versions may have more.
    pub name: String,
    /// `warning`: it works, but less well than it should; `error`: it does not work.
    #[napi(ts_type = "\"ok\" | \"warning\" | \"error\"")]
    pub level: String,
    /// The finding.
    pub message: String,
    /// The next step, where the message does not contain it.
    pub fix: Option<String>,
    /// The problem was found, and is fixed.
    pub fixed: Option<bool>,
}

impl From<Check> for DoctorCheck {
    fn from(Check { finding, fixed }: Check) -> Self {
        Self {
            name: finding.name.to_owned(),
            level: match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            }
            .to_owned(),
            message: finding.message,
            fix: finding.fix,
            fixed: fixed.then_some(true),
        }
    }
}
