//! `AuthStatus`, towards JavaScript: as a text of JSON, which it reads ten times as fast as it takes members one by one.

use napi_derive::napi;
use serde_json::Value;

use crate::session::auth_status::{self as status, State};
use crate::time::UnixMillis;

/// What is known of one login. Never holds a token.
#[napi(object, object_from_js = false, object_to_js = false)]
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
    /// Whose login it is, as the server says.
    pub account: Option<LoginAccount>,
    /// The scopes that were granted.
    pub scopes: Option<Vec<String>>,
    /// Scopes that the config or a service (`SCOPE_REQUIRED`) asks for and the credential lacks: log in again to get them.
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

/// The person at the server.
#[napi(object, object_from_js = false)]
pub struct LoginAccount {
    /// `sub` of the token answer, which some servers send (atproto: the account's DID), else of the ID token.
    pub id: Option<String>,
    /// `name` of the ID token, else its `preferred_username`. With the scope `openid`, most servers send one for the scope `profile`.
    pub name: Option<String>,
    /// `email` of the ID token; most servers send it for the scope `email`.
    pub email: Option<String>,
}

/// An account that was passed over because it needs a login.
#[napi(object, object_from_js = false, object_to_js = false)]
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
#[napi(object, object_from_js = false, object_to_js = false)]
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
            account: status.account.map(|account| LoginAccount {
                id: account.id,
                name: account.name,
                email: account.email,
            }),
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

/// One status, for JavaScript.
pub(super) fn one(status: status::AuthStatus) -> String {
    let mut json = Json::for_about(1);
    json.status(AuthStatus::from(status));
    json.0
}

/// Several.
pub(super) fn several(all: Vec<status::AuthStatus>) -> String {
    let mut json = Json::for_about(all.len());
    json.list(all, |json, status| json.status(AuthStatus::from(status)));
    json.0
}

/// Writes what is there: what is not has no member.
struct Json(String);

impl Json {
    /// For so many statuses.
    fn for_about(count: usize) -> Self {
        Self(String::with_capacity(count.saturating_mul(512)))
    }

    fn status(&mut self, status: AuthStatus) {
        let AuthStatus {
            state,
            profile,
            path,
            issuer,
            client_id,
            account,
            scopes,
            missing_scopes,
            expires_at,
            login_ends_at,
            refreshable,
            dpop,
            imported,
            created_at,
            refreshed_at,
            storage,
            last_error,
            skipped,
        } = status;
        self.0.push('{');
        self.text("state", Some(state));
        self.text("profile", Some(profile));
        self.text("path", Some(path));
        self.text("issuer", issuer);
        self.text("clientId", client_id);
        if let Some(LoginAccount { id, name, email }) = account {
            self.name("account");
            self.0.push('{');
            self.text("id", id);
            self.text("name", name);
            self.text("email", email);
            self.0.push('}');
        }
        self.texts("scopes", scopes);
        self.texts("missingScopes", missing_scopes);
        self.time("expiresAt", expires_at);
        self.time("loginEndsAt", login_ends_at);
        self.flag("refreshable", Some(refreshable));
        self.flag("dpop", dpop);
        self.flag("imported", imported);
        self.time("createdAt", created_at);
        self.time("refreshedAt", refreshed_at);
        self.text("storage", storage);
        if let Some(LastError { code, message, at }) = last_error {
            self.name("lastError");
            self.0.push('{');
            self.text("code", Some(code));
            self.text("message", Some(message));
            self.time("at", Some(at));
            self.0.push('}');
        }
        if let Some(skipped) = skipped {
            self.name("skipped");
            self.list(skipped, |json, skipped| {
                let SkippedProfile {
                    profile,
                    state,
                    message,
                } = skipped;
                json.0.push('{');
                json.text("profile", Some(profile));
                json.text("state", Some(state));
                json.text("message", Some(message));
                json.0.push('}');
            });
        }
        self.0.push('}');
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn text(&mut self, name: &str, text: Option<String>) {
        if let Some(text) = text {
            self.name(name);
            self.string(text);
        }
    }

    fn texts(&mut self, name: &str, texts: Option<Vec<String>>) {
        if let Some(texts) = texts {
            self.name(name);
            self.list(texts, Self::string);
        }
    }

    fn string(&mut self, text: String) {
        // Nearly all need no escape.
        if text
            .bytes()
            .all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
        {
            self.0.push('"');
            self.0.push_str(&text);
            self.0.push('"');
        } else {
            self.0.push_str(&Value::String(text).to_string());
        }
    }

    fn flag(&mut self, name: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.name(name);
            self.0.push_str(if flag { "true" } else { "false" });
        }
    }

    /// Whole milliseconds, as they came.
    #[expect(clippy::cast_possible_truncation, reason = "they were an integer")]
    fn time(&mut self, name: &str, time: Option<f64>) {
        if let Some(time) = time {
            self.name(name);
            self.0.push_str(&(time as i64).to_string());
        }
    }

    fn list<T>(&mut self, all: Vec<T>, write: impl Fn(&mut Self, T)) {
        self.0.push('[');
        for (number, one) in all.into_iter().enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            write(self, one);
        }
        self.0.push(']');
    }
}
