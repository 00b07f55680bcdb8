//! Where each format keeps what.

use serde_json::{Map, Value};

use crate::jwt;
use crate::secret::Secret;
use crate::store::credential::{Outline, Secrets, Snapshot};
use crate::store::json_text::JsonText;
use crate::time::{UnixMillis, rfc3339};

use super::Format;

/// A member that has the wrong type.
pub(super) struct Wrong(pub(super) &'static str);

/// One login in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    format: Format,
    /// The objects above its members.
    path: Vec<String>,
    /// Whose login it is, where the file says so.
    provider: Option<String>,
}

/// What the members of a login are called.
struct Names {
    access: &'static str,
    refresh: Option<&'static str>,
    expires: Option<&'static str>,
}

const OAUTH: Names = Names {
    access: "access",
    refresh: Some("refresh"),
    expires: Some("expires"),
};
const TOKEN: Names = Names {
    access: "token",
    refresh: None,
    expires: Some("expires"),
};
const API_KEY: Names = Names {
    access: "key",
    refresh: None,
    expires: None,
};
const CLAUDE_CODE: Names = Names {
    access: "accessToken",
    refresh: Some("refreshToken"),
    expires: Some("expiresAt"),
};
const CODEX: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: None,
};
const QWEN_CODE: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: Some("expiry_date"),
};

/// Codex' key of an account that pays by use, beside the tokens.
const OPENAI_API_KEY: &str = "OPENAI_API_KEY";

impl Entry {
    pub(super) fn new(format: Format, profile: &str) -> Self {
        let (path, provider) = match format {
            Format::AuthProfiles => (vec!["profiles", profile], Some(provider_of(profile))),
            Format::ClaudeCode => (vec!["claudeAiOauth"], None),
            Format::Codex => (vec!["tokens"], None),
            Format::QwenCode => (vec![], None),
        };
        Self {
            format,
            path: path.into_iter().map(str::to_owned).collect(),
            provider: provider.map(str::to_owned),
        }
    }

    /// In `oauth.json`, where clawdbot kept one login of each provider.
    pub(super) fn of_legacy(profile: &str) -> Self {
        Self {
            format: Format::AuthProfiles,
            path: vec![provider_of(profile).to_owned()],
            provider: None,
        }
    }

    /// The login that is there.
    pub(super) fn login(&self, members: &Map<String, Value>) -> Result<Option<Snapshot>, Wrong> {
        let mut entry = members;
        for step in &self.path {
            entry = match entry.get(step) {
                None | Some(Value::Null) => return self.key_alone(members),
                Some(Value::Object(below)) => below,
                Some(_) => return Err(Wrong("profiles or tokens")),
            };
        }
        let names = self.names(entry);
        let access = text(entry, names.access)?.map(Secret::new);
        let refresh = match names.refresh {
            Some(name) => text(entry, name)?.map(Secret::new),
            None => None,
        };
        let expires = match names.expires {
            Some(name) => time(entry, name)?,
            None => access.as_ref().and_then(jwt_expiry),
        };
        let (access, expires) = match access {
            Some(access) => (access, expires),
            // The program that wrote it would refresh it; so do we, before it is handed out.
            None if refresh.is_some() => (Secret::from(""), Some(UnixMillis::default())),
            None => return self.key_alone(members),
        };
        let secrets = Secrets {
            access,
            refresh,
            id_token: text(entry, "id_token").unwrap_or_default().map(Secret::new),
            dpop_key: None,
        };
        let mut outline = self.outline(&secrets, expires);
        outline.scopes = scopes(entry);
        outline.client_id = text(entry, "clientId").unwrap_or_default();
        Ok(Some(Snapshot::new(outline, secrets)))
    }

    /// Codex' login without an account.
    fn key_alone(&self, members: &Map<String, Value>) -> Result<Option<Snapshot>, Wrong> {
        if self.format != Format::Codex {
            return Ok(None);
        }
        Ok(text(members, OPENAI_API_KEY)?.map(|key| {
            let secrets = Secrets {
                access: Secret::new(key),
                refresh: None,
                id_token: None,
                dpop_key: None,
            };
            Snapshot::new(self.outline(&secrets, None), secrets)
        }))
    }

    fn outline(&self, secrets: &Secrets, expires: Option<UnixMillis>) -> Outline {
        Outline {
            refreshable: secrets.refresh.is_some(),
            expires,
            is_refreshed_ahead: self.format.heeds_our_lock(),
            ..Outline::unknown(secrets.identity())
        }
    }

    fn names(&self, entry: &Map<String, Value>) -> Names {
        match self.format {
            Format::AuthProfiles => match entry.get("type").and_then(Value::as_str) {
                Some("token") => TOKEN,
                Some("api_key") => API_KEY,
                _ => OAUTH,
            },
            Format::ClaudeCode => CLAUDE_CODE,
            Format::Codex => CODEX,
            Format::QwenCode => QWEN_CODE,
        }
    }

    /// Puts a login in; what is not a part of it stays.
    pub(super) fn put(&self, text: &mut JsonText, login: &Snapshot, now: UnixMillis) {
        let time = |time: UnixMillis| Value::from(time.0);
        let names = match &self.provider {
            Some(_) if !login.is_refreshable() => TOKEN,
            _ => self.names(&Map::new()),
        };
        if let Some(provider) = &self.provider {
            let kind = if login.is_refreshable() {
                "oauth"
            } else {
                "token"
            };
            if !text.has(&["version"]) {
                text.set(&["version"], &1.into());
            }
            self.set(text, "type", Some(kind.into()));
            self.set(text, "provider", Some(provider.as_str().into()));
            // Of a login of another type.
            for other in [TOKEN.access, API_KEY.access, OAUTH.access, "refresh"] {
                if other != names.access && Some(other) != names.refresh {
                    self.set(text, other, None);
                }
            }
            if login.is_refreshable() {
                self.set(text, "clientId", login.client_id().map(Value::from));
            }
        }
        self.set(text, names.access, Some(login.access().expose().into()));
        if let Some(name) = names.refresh {
            self.set(
                text,
                name,
                login.refresh().map(|token| token.expose().into()),
            );
        }
        if let Some(name) = names.expires {
            self.set(text, name, login.expires().map(time));
        }
        match self.format {
            Format::ClaudeCode => {
                if let Some(scopes) = login.scopes() {
                    self.set(text, "scopes", Some(scopes.into()));
                }
            }
            Format::Codex => {
                if let Some(id_token) = login.id_token() {
                    self.set(text, "id_token", Some(id_token.expose().into()));
                    if let Some(account) = account_of(id_token) {
                        self.set(text, "account_id", Some(account));
                    }
                }
                text.set(&["last_refresh"], &rfc3339(now).into());
            }
            Format::QwenCode if !text.has(&["token_type"]) => {
                text.set(&["token_type"], &"Bearer".into());
            }
            Format::AuthProfiles | Format::QwenCode => {}
        }
    }

    /// Takes the login out.
    pub(super) fn remove(&self, text: &mut JsonText) {
        match self.format {
            // Its login is spread over the file.
            Format::QwenCode => {
                for name in ["access_token", "refresh_token", "expiry_date", "token_type"] {
                    text.remove(&[name]);
                }
            }
            Format::Codex => {
                text.remove(&["tokens"]);
                text.remove(&["last_refresh"]);
                text.remove(&[OPENAI_API_KEY]);
            }
            Format::AuthProfiles | Format::ClaudeCode => text.remove(&self.path_to(None)),
        }
    }

    /// Writes a member only if that changes something: one that is the same keeps its spelling.
    fn set(&self, text: &mut JsonText, name: &str, value: Option<Value>) {
        let path = self.path_to(Some(name));
        match value {
            Some(value) if text.value(&path).as_ref() == Some(&value) => {}
            Some(value) => text.set(&path, &value),
            None => text.remove(&path),
        }
    }

    fn path_to<'a>(&'a self, name: Option<&'a str>) -> Vec<&'a str> {
        self.path.iter().map(String::as_str).chain(name).collect()
    }
}

/// `provider:name`
pub(super) fn provider_of(profile: &str) -> &str {
    profile
        .split_once(':')
        .map_or(profile, |(provider, _)| provider)
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Wrong> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.clone())),
        Some(_) => Err(Wrong(name)),
    }
}

fn time(members: &Map<String, Value>, name: &'static str) -> Result<Option<UnixMillis>, Wrong> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            Ok(crate::store::format::millis(number).filter(|time| time.0 > 0))
        }
        Some(_) => Err(Wrong(name)),
    }
}

fn scopes(entry: &Map<String, Value>) -> Option<Vec<String>> {
    let scopes = entry.get("scopes")?.as_array()?;
    scopes
        .iter()
        .map(|scope| scope.as_str().map(str::to_owned))
        .collect()
}

/// RFC 7519 §4.1.4 `exp`
fn jwt_expiry(token: &Secret) -> Option<UnixMillis> {
    let exp = jwt::claims(token)?.get("exp")?.as_f64()?;
    let millis = crate::store::format::millis(&serde_json::Number::from_f64(exp * 1000.0)?)?;
    (millis.0 > 0).then_some(millis)
}

/// The account that Codex' requests name.
fn account_of(id_token: &Secret) -> Option<Value> {
    let claims = jwt::claims(id_token)?;
    let account = claims
        .get("https://api.openai.com/auth")?
        .get("chatgpt_account_id")?;
    account.is_string().then(|| account.clone())
}
