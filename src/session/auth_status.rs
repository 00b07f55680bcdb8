//! The result of `status`.

use serde_json::Value;

use crate::error::ErrorCode;
use crate::time::UnixMillis;

/// The state of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Usable now or after a silent refresh.
    Valid,
    /// The login itself ends within 24 hours.
    Expiring,
    /// Cannot be refreshed and has ended.
    Expired,
    /// The server refused the refresh token, or it has ended.
    LoginRequired,
    /// No credential.
    LoggedOut,
}

/// The account of a login, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
}

/// A failure that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) at: UnixMillis,
}

/// The state of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthStatus {
    pub(crate) state: State,
    pub(crate) profile: String,
    pub(crate) path: String,
    pub(crate) issuer: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) account: Option<Account>,
    /// Members of the token answer that the config names.
    pub(crate) token_response: Option<Value>,
    pub(crate) missing_scopes: Option<Vec<String>>,
    pub(crate) expires_at: Option<UnixMillis>,
    /// When neither token is good any more, if known.
    pub(crate) login_ends_at: Option<UnixMillis>,
    pub(crate) refreshable: bool,
    pub(crate) dpop: bool,
    pub(crate) imported: bool,
    pub(crate) created_at: Option<UnixMillis>,
    pub(crate) refreshed_at: Option<UnixMillis>,
    /// Whether the keychain holds the tokens; `None` where none are stored.
    pub(crate) in_keychain: Option<bool>,
    pub(crate) last_error: Option<LastError>,
    /// The accounts of an order that were passed over.
    pub(crate) passed_over: Option<Box<PassedOver>>,
}

/// The accounts of an order that were passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PassedOver {
    pub(crate) accounts: Vec<Skipped>,
    /// The message of those without one, before and after their names.
    pub(crate) nobody: (String, String),
}

/// An account of an order that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) profile: String,
    pub(crate) state: State,
    /// `None`: nobody is logged in, and the account's name is to be said as it is. An order may have many of these.
    pub(crate) message: Option<String>,
}
