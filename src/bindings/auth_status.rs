//! `AuthStatus`, towards JavaScript: as a text of JSON, which it reads ten times as fast as it takes members one by one.

use std::fmt::Write as _;

use napi_derive::napi;
use serde_json::Value;

use crate::session::auth_status::{self as status, State};
use crate::time::UnixMillis;

/// The state of one login. Never holds a token.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct AuthStatus {
    /// `valid`: usable now or after a silent refresh; `expiring`: the login itself ends within 24 hours; `expired`: it
    /// has ended and cannot be refreshed; `login_required`: the server refused the refresh token, or its time is over;
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
    /// The account at the server, as the server describes it. For people to read; nothing in it is verified.
    pub account: Option<LoginAccount>,
    /// The members of the token answer that {@link AuthConfig.tokenResponse} names.
    #[napi(ts_type = "Record<string, unknown>")]
    pub token_response: Option<()>,
    /// The scopes that were granted.
    pub scopes: Option<Vec<String>>,
    /// Scopes that the config or a service (`SCOPE_REQUIRED`) requires and the credential lacks: log in again to get
    /// them.
    pub missing_scopes: Option<Vec<String>>,
    /// When the access token ends, Unix milliseconds.
    pub expires_at: Option<f64>,
    /// When the login itself ends, Unix milliseconds: with the access token where there is no refresh token, else with
    /// the refresh token (or an access token that outlives it), if the server named its lifetime. A refresh can move
    /// it.
    pub login_ends_at: Option<f64>,
    /// There is a refresh token.
    pub refreshable: bool,
    /// True where the tokens are bound to a key (RFC 9449): requests need {@link authorizationHeaders}.
    pub dpop: Option<bool>,
    /// The login was stored by {@link importToken}.
    pub imported: Option<bool>,
    /// When the person logged in, Unix milliseconds.
    pub created_at: Option<f64>,
    /// When the tokens were last renewed, Unix milliseconds.
    pub refreshed_at: Option<f64>,
    /// Where the tokens are kept, once they are stored.
    #[napi(ts_type = "\"file\" | \"keychain\"")]
    pub storage: Option<String>,
    /// Where the token in use comes from, with `token` in the config: the stored login, an environment variable, or the config.
    #[napi(ts_type = "\"login\" | \"env\" | \"config\"")]
    pub source: Option<String>,
    /// The last failure that is still of consequence.
    pub last_error: Option<LastError>,
    /// Accounts of an order that come before this one and need a login. Where all do, this is the status of the first, and
    /// these are the others.
    pub skipped: Option<Vec<SkippedProfile>>,
}

/// The person at the server.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct LoginAccount {
    /// `sub` of the token answer, which some servers send (atproto: the account's DID), else of the userinfo endpoint
    /// ({@link AuthConfig.userinfo}), else of the ID token.
    pub id: Option<String>,
    /// `name`, else `preferred_username`, of the userinfo endpoint or the ID token. With the scope `openid`, most servers
    /// send one for the scope `profile`.
    pub name: Option<String>,
    /// `email` of the same; most servers send it for the scope `email`.
    pub email: Option<String>,
}

/// An account that was passed over because it needs a login.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct SkippedProfile {
    /// The account.
    pub profile: String,
    /// See {@link AuthStatus}.
    #[napi(ts_type = "\"expired\" | \"login_required\" | \"logged_out\"")]
    pub state: String,
    /// Why, and what to do next.
    pub message: String,
}

/// A failure that is remembered.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct LastError {
    /// See {@link AuthError}.
    pub code: String,
    /// A sentence: the failure, and the next step.
    pub message: String,
    /// When, Unix milliseconds.
    pub at: f64,
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

/// One status, for JavaScript.
pub(super) fn one(status: &status::AuthStatus) -> String {
    // All accounts that are passed over take as much as one more, as a rule.
    let mut json = Json::for_about(2);
    json.status(status);
    json.0
}

/// Several: each as an object, or as an array of the members in which it differs from the last object. `lib/json.js`
/// makes that whole, in a quarter of the time that reading it as an object takes.
pub(super) fn several(all: &mut dyn Iterator<Item = status::AuthStatus>) -> String {
    let mut json = Json::for_about(all.size_hint().1.unwrap_or(1));
    let mut last: Option<status::AuthStatus> = None;
    json.list(all, |json, status| match &last {
        Some(last) if is_like(last, &status) => json.difference(last, &status),
        _ => {
            json.status(&status);
            last = Some(status);
        }
    });
    json.0
}

/// Whether the second differs from the first only in members that [`Json::difference`] writes. Of those, both have the
/// same ones.
fn is_like(first: &status::AuthStatus, second: &status::AuthStatus) -> bool {
    let times = |status: &status::AuthStatus| {
        [
            status.expires_at,
            status.login_ends_at,
            status.created_at,
            status.refreshed_at,
        ]
    };
    let are_there = |status| times(status).map(|time| time.is_some());
    // Sums and differences of numbers of JavaScript are exact up to 2^53.
    let is_exact = |time: UnixMillis| time.0.unsigned_abs() < 1 << 52;
    let is_plain = |status: &status::AuthStatus| {
        status.account.is_none()
            && status.token_response.is_none()
            && status.last_error.is_none()
            && status.passed_over.is_none()
            && times(status).into_iter().flatten().all(is_exact)
    };
    first.state == second.state
        && first.issuer == second.issuer
        && first.client_id == second.client_id
        && first.scopes == second.scopes
        && first.missing_scopes == second.missing_scopes
        && first.refreshable == second.refreshable
        && first.dpop == second.dpop
        && first.imported == second.imported
        && first.in_keychain == second.in_keychain
        && are_there(first) == are_there(second)
        && is_plain(first)
        && is_plain(second)
}

/// Writes JSON objects; a member without a value is left out. The first member of each object always has a value, so
/// that every other one follows a comma.
struct Json(String);

impl Json {
    /// Creates a writer with room for about `count` statuses.
    fn for_about(count: usize) -> Self {
        Self(String::with_capacity(count.saturating_mul(512)))
    }

    fn status(&mut self, status: &status::AuthStatus) {
        self.text("{\"state\":", name_of(status.state));
        self.text(",\"profile\":", &status.profile);
        self.text(",\"path\":", &status.path);
        self.some(",\"issuer\":", status.issuer.as_ref());
        self.some(",\"clientId\":", status.client_id.as_ref());
        if let Some(account) = &status.account {
            self.0.push_str(",\"account\":{");
            let members = [
                ("\"id\":", &account.id),
                ("\"name\":", &account.name),
                ("\"email\":", &account.email),
            ];
            let there = members
                .into_iter()
                .filter_map(|(name, text)| Some((name, text.as_ref()?)));
            for (number, (name, text)) in there.enumerate() {
                if number > 0 {
                    self.0.push(',');
                }
                self.text(name, text);
            }
            self.0.push('}');
        }
        if let Some(members) = &status.token_response {
            self.0.push_str(",\"tokenResponse\":");
            self.0.push_str(&members.to_string());
        }
        self.texts(",\"scopes\":", status.scopes.as_deref());
        self.texts(",\"missingScopes\":", status.missing_scopes.as_deref());
        self.time(",\"expiresAt\":", status.expires_at);
        self.time(",\"loginEndsAt\":", status.login_ends_at);
        self.0.push_str(if status.refreshable {
            ",\"refreshable\":true"
        } else {
            ",\"refreshable\":false"
        });
        if status.dpop {
            self.0.push_str(",\"dpop\":true");
        }
        if status.imported {
            self.0.push_str(",\"imported\":true");
        }
        self.time(",\"createdAt\":", status.created_at);
        self.time(",\"refreshedAt\":", status.refreshed_at);
        if let Some(in_keychain) = status.in_keychain {
            self.text(
                ",\"storage\":",
                if in_keychain { "keychain" } else { "file" },
            );
        }
        if let Some(error) = &status.last_error {
            self.text(",\"lastError\":{\"code\":", error.code.as_str());
            self.text(",\"message\":", &error.message);
            self.time(",\"at\":", Some(error.at));
            self.0.push('}');
        }
        if let Some(passed) = &status.passed_over {
            // As an array each, with a number for the state, and without a message that is the same for many but for the
            // name, which comes first: `lib/json.js` makes them whole.
            let (before, after) = &passed.nobody;
            self.text(",\"skipped\":[[", before);
            self.text(",", after);
            self.0.push(']');
            for skipped in &passed.accounts {
                self.text(",[", &skipped.profile);
                self.0.push_str(match skipped.state {
                    State::LoggedOut => ",2",
                    State::LoginRequired => ",1",
                    _ => ",0",
                });
                self.some(",", skipped.message.as_ref());
                self.0.push(']');
            }
            self.0.push(']');
        }
        self.0.push('}');
    }

    /// Times are those after the other's: short numbers are read several times as fast.
    fn difference(&mut self, other: &status::AuthStatus, status: &status::AuthStatus) {
        self.text("[", &status.profile);
        self.text(",", &status.path);
        for (time, before) in [
            (status.expires_at, other.expires_at),
            (status.login_ends_at, other.login_ends_at),
            (status.created_at, other.created_at),
            (status.refreshed_at, other.refreshed_at),
        ] {
            let millis = |time: Option<UnixMillis>| time.unwrap_or_default().0;
            let after = millis(time).saturating_sub(millis(before));
            self.time(",", Some(UnixMillis(after)));
        }
        self.0.push(']');
    }

    /// `before`: all that comes between the last value and this one.
    fn text(&mut self, before: &str, text: &str) {
        self.0.push_str(before);
        self.0.push('"');
        self.between_quotes(text);
        self.0.push('"');
    }

    fn between_quotes(&mut self, text: &str) {
        if is_plain(text) {
            self.0.push_str(text);
        } else {
            let quoted = Value::from(text).to_string();
            self.0
                .push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
        }
    }

    fn some(&mut self, before: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.text(before, text);
        }
    }

    fn texts(&mut self, before: &str, texts: Option<&[String]>) {
        if let Some(texts) = texts {
            self.0.push_str(before);
            self.list(texts.iter(), |json, text: &String| json.text("", text));
        }
    }

    fn time(&mut self, before: &str, time: Option<UnixMillis>) {
        if let Some(time) = time {
            // Writing to a text cannot fail.
            let _written: std::fmt::Result = write!(self.0, "{before}{}", time.0);
        }
    }

    fn list<T>(&mut self, all: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.0.push('[');
        for (number, one) in all.enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            write(self, one);
        }
        self.0.push(']');
    }
}

/// Whether a text needs no escape in JSON, as nearly all. Eight bytes at a time.
fn is_plain(text: &str) -> bool {
    const ONES: u64 = u64::MAX / 0xFF;
    /// The highest bit of each byte that is below `limit`; wrong at most where a byte below it is marked as well.
    fn below(bytes: u64, limit: u64) -> u64 {
        bytes.wrapping_sub(ONES * limit) & !bytes & (ONES << 7)
    }
    let (eights, rest) = text.as_bytes().as_chunks::<8>();
    let mut marked = 0;
    for eight in eights {
        let bytes = u64::from_le_bytes(*eight);
        let quotes = bytes ^ (ONES * u64::from(b'"'));
        let backslashes = bytes ^ (ONES * u64::from(b'\\'));
        marked |= below(bytes, u64::from(b' ')) | below(quotes, 1) | below(backslashes, 1);
    }
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    marked == 0 && rest.iter().all(is_plain)
}
