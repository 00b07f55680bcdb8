//! One login in the text of a file: read, put in and taken out by the names that its format has for it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::jwt;
use crate::secret::Secret;
use crate::store::credential::{Outline, Secrets, Snapshot};
use crate::store::json_text::JsonText;
use crate::store::members::millis;
use crate::time::UnixMillis;

/// A member that has the wrong type.
pub(super) struct Wrong(pub(super) &'static str);

/// The login that the members of a file hold.
pub(super) type Login = Result<Option<Snapshot>, Wrong>;

/// Where the members of one login are in a file, and what holds for every login there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// The objects above its members.
    pub(super) path: Vec<String>,
    pub(super) is_legacy: bool,
    /// See [`Outline::is_refreshed_ahead`].
    pub(super) is_refreshed_ahead: bool,
    /// A scope by which a login is one that is refreshed in JSON.
    pub(super) json_scope: Option<&'static str>,
}

/// The owner of a login, as far as a file names it: Codex' account, and the subject of the ID token.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner([Option<Value>; 2]);

impl Owner {
    /// Whether both are known to be the same person's.
    pub(super) fn is_known_as(&self, other: &Self) -> bool {
        let known = || {
            let both = self.0.iter().zip(&other.0);
            both.filter(|(one, other)| one.is_some() && other.is_some())
        };
        known().count() > 0 && known().all(|(one, other)| one == other)
    }
}

/// The names of a login's members.
pub(super) struct Names {
    pub(super) access: &'static str,
    pub(super) refresh: Option<&'static str>,
    /// With how many milliseconds one of it is.
    pub(super) expires: Option<(&'static str, i64)>,
}

pub(super) const MILLIS: i64 = 1;
pub(super) const SECONDS: i64 = 1000;

/// For programs that take a login without an end for none, where the server named none.
const ASSUMED_LIFETIME: Duration = Duration::from_hours(1);

impl Layout {
    /// The name of the object above its members.
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    pub(super) fn is_legacy(&self) -> bool {
        self.is_legacy
    }

    /// Whether the tokens are there and have no character.
    pub(super) fn has_empty_tokens(&self, text: &JsonText, names: &Names) -> bool {
        let is_empty = |name| {
            text.value(&self.path_to(Some(name)))
                .is_some_and(|value| value.as_str() == Some(""))
        };
        is_empty(names.access) && names.refresh.is_some_and(is_empty)
    }

    /// A member of the login.
    pub(super) fn member<'a>(
        &self,
        members: &'a Map<String, Value>,
        name: &str,
    ) -> Option<&'a Value> {
        self.below(members).ok().flatten()?.get(name)
    }

    fn below<'a>(
        &self,
        members: &'a Map<String, Value>,
    ) -> Result<Option<&'a Map<String, Value>>, Wrong> {
        let mut entry = members;
        for step in &self.path {
            entry = match entry.get(step) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::Object(below)) => below,
                Some(_) => return Err(Wrong("profiles or tokens")),
            };
        }
        Ok(Some(entry))
    }

    /// The login of members with these names.
    pub(super) fn tokens(&self, members: &Map<String, Value>, names: &Names) -> Login {
        let Some(entry) = self.below(members)? else {
            return Ok(None);
        };
        let access = text(entry, names.access)?.map(Secret::new);
        let refresh = match names.refresh {
            Some(name) => text(entry, name)?.map(Secret::new),
            None => None,
        };
        let expires = match names.expires {
            Some((name, unit)) => time(entry, name, unit)?,
            None => access.as_ref().and_then(jwt_expiry),
        };
        let (access, expires) = match access {
            Some(access) => (access, expires),
            // The program that wrote it would refresh it; so do we, before it is handed out.
            None if refresh.is_some() => (Secret::from(""), Some(UnixMillis::default())),
            None => return Ok(None),
        };
        let secrets = Secrets {
            access,
            refresh,
            id_token: text(entry, "id_token").unwrap_or_default().map(Secret::new),
            dpop_key: None,
        };
        let mut outline = self.outline(&secrets, expires);
        outline.scopes = scopes(entry.get("scopes")).or_else(|| {
            let scope = entry.get("scope")?.as_str()?;
            Some(scope.split_whitespace().map(str::to_owned).collect())
        });
        outline.client_id = text(entry, "clientId").unwrap_or_default();
        let json = self.json_scope;
        outline.is_refreshed_in_json = outline
            .scopes()
            .is_some_and(|granted| granted.iter().any(|scope| json == Some(scope.as_str())));
        Ok(Some(Snapshot::new(outline, secrets)))
    }

    /// A login that is a key and no more.
    pub(super) fn of_key(&self, key: Secret) -> Snapshot {
        let expires = jwt_expiry(&key);
        let secrets = Secrets {
            access: key,
            refresh: None,
            id_token: None,
            dpop_key: None,
        };
        Snapshot::new(self.outline(&secrets, expires), secrets)
    }

    fn outline(&self, secrets: &Secrets, expires: Option<UnixMillis>) -> Outline {
        Outline {
            refreshable: secrets.refresh.is_some(),
            expires,
            is_refreshed_ahead: self.is_refreshed_ahead,
            ..Outline::unknown(secrets.identity())
        }
    }

    /// The owner of the login in the file.
    pub(super) fn owner(&self, text: &JsonText) -> Owner {
        let member = |name| text.value(&self.path_to(Some(name)));
        let subject = || {
            let id_token = Secret::new(member("id_token")?.as_str()?.to_owned());
            // OpenID Connect Core §2: `sub` is "a locally unique and never reassigned identifier" of a person.
            jwt::claims(&id_token)?.remove("sub")
        };
        Owner([member("account_id").filter(Value::is_string), subject()])
    }

    /// Writes tokens and their end.
    pub(super) fn put_tokens(&self, text: &mut JsonText, login: &Snapshot, names: &Names) {
        self.put_until(text, login, names, login.expires());
    }

    /// For a program that takes tokens without an end for none.
    pub(super) fn put_tokens_ending(&self, text: &mut JsonText, login: &Snapshot, names: &Names) {
        self.put_until(text, login, names, Some(end(login)));
    }

    fn put_until(
        &self,
        text: &mut JsonText,
        login: &Snapshot,
        names: &Names,
        end: Option<UnixMillis>,
    ) {
        let secret = |secret: &Secret| Value::from(secret.expose());
        self.set(text, names.access, Some(secret(login.access())));
        if let Some(name) = names.refresh {
            self.set(text, name, login.refresh().map(secret));
        }
        if let Some((name, unit)) = names.expires {
            self.set(text, name, end.map(|end| Value::from(end.0 / unit)));
        }
    }

    /// Writes what else a token endpoint says, by the names that it has there (RFC 6749 §5.1).
    pub(super) fn put_answer(&self, text: &mut JsonText, login: &Snapshot) {
        if let Some(scopes) = login.scopes() {
            self.set(text, "scope", Some(scopes.join(" ").into()));
        }
        if let Some(id_token) = login.id_token() {
            self.set(text, "id_token", Some(id_token.expose().into()));
        }
        self.put_type(text);
    }

    /// Only Bearer tokens get into these files.
    pub(super) fn put_type(&self, text: &mut JsonText) {
        if !self.has(text, "token_type") {
            self.set(text, "token_type", Some("Bearer".into()));
        }
    }

    /// In seconds, as `expires_in` has it.
    pub(super) fn lifetime(login: &Snapshot) -> u64 {
        end(login).since(login.refreshed_at()).as_secs()
    }

    /// Writes a member only if that changes something: one that is the same keeps its spelling.
    pub(super) fn set(&self, text: &mut JsonText, name: &str, value: Option<Value>) {
        let path = self.path_to(Some(name));
        match value {
            Some(value) if text.value(&path).as_ref() == Some(&value) => {}
            Some(value) => text.set(&path, &value),
            None => text.remove(&path),
        }
    }

    pub(super) fn has(&self, text: &JsonText, name: &str) -> bool {
        text.has(&self.path_to(Some(name)))
    }

    /// The scopes that are written there.
    pub(super) fn scopes(&self, text: &JsonText) -> Option<Vec<String>> {
        scopes(text.value(&self.path_to(Some("scopes"))).as_ref())
    }

    pub(super) fn path_to<'a>(&'a self, name: Option<&'a str>) -> Vec<&'a str> {
        self.path.iter().map(String::as_str).chain(name).collect()
    }
}

fn end(login: &Snapshot) -> UnixMillis {
    login
        .expires()
        .unwrap_or_else(|| login.refreshed_at().plus(ASSUMED_LIFETIME))
}

/// `provider:name`
pub(super) fn provider_of(profile: &str) -> &str {
    profile
        .split_once(':')
        .map_or(profile, |(provider, _)| provider)
}

pub(super) fn text(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, Wrong> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.clone())),
        Some(_) => Err(Wrong(name)),
    }
}

fn time(
    members: &Map<String, Value>,
    name: &'static str,
    unit: i64,
) -> Result<Option<UnixMillis>, Wrong> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(millis(number)
            .map(|time| UnixMillis(time.0.saturating_mul(unit)))
            .filter(|time| time.0 > 0)),
        Some(_) => Err(Wrong(name)),
    }
}

fn scopes(value: Option<&Value>) -> Option<Vec<String>> {
    value?
        .as_array()?
        .iter()
        .map(|scope| scope.as_str().map(str::to_owned))
        .collect()
}

/// RFC 7519 §4.1.4 `exp`
fn jwt_expiry(token: &Secret) -> Option<UnixMillis> {
    let exp = jwt::claims(token)?.get("exp")?.as_f64()?;
    let time = millis(&serde_json::Number::from_f64(exp * 1000.0)?)?;
    (time.0 > 0).then_some(time)
}
