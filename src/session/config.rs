//! `AuthConfig`, parsed once: what comes out of here is valid.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::oauth::OWN_PARAMETERS;
use crate::oauth::client::ClientAuthentication;
use crate::oauth::issuer::Issuer;
use crate::oauth::server_text::visible;
use crate::secret::Secret;

/// Where to authenticate, as which client, and whose credential it is.
#[derive(Clone, PartialEq)]
pub(crate) struct AuthConfig {
    pub(crate) plugin_id: String,
    pub(crate) profile: String,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) device_authorization_endpoint: Option<Endpoint>,
    pub(crate) token_endpoint: Option<Endpoint>,
    pub(crate) revocation_endpoint: Option<Endpoint>,
    pub(crate) registration_endpoint: Option<Endpoint>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) client_authentication: Option<ClientAuthentication>,
    pub(crate) client_name: String,
    pub(crate) client_metadata: Map<String, Value>,
    pub(crate) scopes: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) resource: Vec<String>,
    pub(crate) pkce: bool,
    pub(crate) extra_parameters: Vec<(String, String)>,
    pub(crate) state_dir: Option<String>,
    pub(crate) credentials_path: Option<String>,
    pub(crate) refresh_buffer: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) lock_timeout: Duration,
}

const OPTIONS: [&str; 22] = [
    "pluginId",
    "profile",
    "issuer",
    "deviceAuthorizationEndpoint",
    "tokenEndpoint",
    "revocationEndpoint",
    "registrationEndpoint",
    "clientId",
    "clientSecret",
    "clientAuthentication",
    "clientName",
    "clientMetadata",
    "scopes",
    "audience",
    "resource",
    "pkce",
    "extraParameters",
    "stateDir",
    "credentialsPath",
    "refreshBufferMs",
    "requestTimeoutMs",
    "lockTimeoutMs",
];

impl AuthConfig {
    /// Parses the object that JavaScript gave.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, naming the option, what is wrong with it and what it takes.
    pub(crate) fn parse(config: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = config else {
            return Err(invalid(
                "The config must be an object such as { pluginId, issuer, scopes }.",
            ));
        };
        known_names(members.keys().map(String::as_str), &OPTIONS, "option")?;
        let mut options = Options(&mut members);

        let plugin_id = options
            .text("pluginId")?
            .ok_or_else(|| invalid("`pluginId` is missing: give the id of your plugin."))?;
        let config = Self {
            profile: options
                .text("profile")?
                .unwrap_or_else(|| "default".to_owned()),
            issuer: options.parsed("issuer", Issuer::parse)?,
            device_authorization_endpoint: options
                .parsed("deviceAuthorizationEndpoint", Endpoint::parse)?,
            token_endpoint: options.parsed("tokenEndpoint", Endpoint::parse)?,
            revocation_endpoint: options.parsed("revocationEndpoint", Endpoint::parse)?,
            registration_endpoint: options.parsed("registrationEndpoint", Endpoint::parse)?,
            client_id: options.text("clientId")?,
            client_secret: options.text("clientSecret")?.map(Secret::new),
            client_authentication: options.parsed("clientAuthentication", |name| {
                ClientAuthentication::from_name(name).ok_or_else(|| {
                    "must be \"none\", \"client_secret_basic\" or \"client_secret_post\"".to_owned()
                })
            })?,
            client_name: options
                .text("clientName")?
                .unwrap_or_else(|| plugin_id.clone()),
            client_metadata: options.object("clientMetadata")?,
            scopes: options.list("scopes", scope)?,
            audience: options.text("audience")?,
            resource: options.list("resource", resource)?,
            pkce: options.flag("pkce")?,
            extra_parameters: options.parameters("extraParameters")?,
            state_dir: options.text("stateDir")?,
            credentials_path: options.text("credentialsPath")?,
            refresh_buffer: options.millis("refreshBufferMs", 300_000, 0)?,
            request_timeout: options.millis("requestTimeoutMs", 30_000, 1)?,
            lock_timeout: options.millis("lockTimeoutMs", 60_000, 0)?,
            plugin_id,
        };
        config.consistent()?;
        Ok(config)
    }

    fn consistent(&self) -> Result<(), Error> {
        if self.client_secret.is_some() && self.client_id.is_none() {
            return Err(invalid(
                "`clientSecret` is given without `clientId`: give both, or neither to register a client.",
            ));
        }
        match (self.client_authentication, &self.client_secret) {
            (Some(ClientAuthentication::None), Some(_)) => Err(invalid(
                "`clientAuthentication` is \"none\" but `clientSecret` is given: leave one of them out.",
            )),
            (
                Some(
                    ClientAuthentication::ClientSecretBasic
                    | ClientAuthentication::ClientSecretPost,
                ),
                None,
            ) if self.client_id.is_some() => Err(invalid(
                "`clientAuthentication` needs a `clientSecret`: give it, or leave `clientAuthentication` out.",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a config that names no authorization server.
    pub(crate) fn names_a_server(&self) -> Result<(), Error> {
        if self.issuer.is_some() || self.token_endpoint.is_some() {
            return Ok(());
        }
        Err(invalid(
            "No authorization server: give `issuer`, or `tokenEndpoint` and `deviceAuthorizationEndpoint`.",
        ))
    }
}

struct Options<'a>(&'a mut Map<String, Value>);

impl Options<'_> {
    fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(Value::String(_)) => Err(invalid(format!(
                "`{name}` is empty: give a value or leave it out."
            ))),
            Some(other) => Err(wrong_type(name, "a string", &other)),
        }
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        self.text(name)?
            .map(|text| parse(&text).map_err(|reason| invalid(format!("`{name}` {reason}."))))
            .transpose()
    }

    fn list(
        &mut self,
        name: &str,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Vec<String>, Error> {
        let items = match self.0.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong_type(name, "an array of strings", &other)),
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => check(&text)
                    .map_err(|reason| invalid(format!("`{name}` has an entry that {reason}.")))
                    .map(|()| text),
                other => Err(wrong_type(name, "an array of strings", &other)),
            })
            .collect()
    }

    fn flag(&mut self, name: &str) -> Result<bool, Error> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong_type(name, "true or false", &other)),
        }
    }

    fn object(&mut self, name: &str) -> Result<Map<String, Value>, Error> {
        match self.0.remove(name) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members),
            Some(other) => Err(wrong_type(name, "an object", &other)),
        }
    }

    fn parameters(&mut self, name: &str) -> Result<Vec<(String, String)>, Error> {
        self.object(name)?
            .into_iter()
            .map(|(parameter, value)| match value {
                _ if OWN_PARAMETERS.contains(&parameter.as_str()) => Err(invalid(format!(
                    "`{name}` names `{parameter}`, which the library sets itself: use the option for it."
                ))),
                Value::String(text) => Ok((parameter, text)),
                other => Err(wrong_type(
                    &format!("{name}.{parameter}"),
                    "a string",
                    &other,
                )),
            })
            .collect()
    }

    fn millis(&mut self, name: &str, default: u32, least: u32) -> Result<Duration, Error> {
        const DAY: u32 = 86_400_000;
        let Some(value) = self.0.remove(name) else {
            return Ok(Duration::from_millis(u64::from(default)));
        };
        let Value::Number(number) = &value else {
            return Err(wrong_type(name, "a number of milliseconds", &value));
        };
        number
            .as_f64()
            .filter(|millis| (f64::from(least)..=f64::from(DAY)).contains(millis))
            .map(|millis| Duration::from_secs_f64(millis / 1000.0))
            .ok_or_else(|| {
                invalid(format!(
                    "`{name}` is {number}: it takes milliseconds from {least} to {DAY}."
                ))
            })
    }
}

// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
fn scope(text: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\';
    if !text.is_empty() && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err("is no scope: give each scope as an entry of its own, without spaces or quotes")
    }
}

// RFC 8707 §2: "Its value MUST be an absolute URI […] The URI MUST NOT include a fragment component."
fn resource(text: &str) -> Result<(), &'static str> {
    match url::Url::parse(text) {
        Ok(url) if url.fragment().is_none() => Ok(()),
        _ => Err("is not an absolute URI without a fragment"),
    }
}

/// Refuses names that are not `known`, suggesting the nearest.
pub(crate) fn known_names<'a>(
    given: impl Iterator<Item = &'a str>,
    known: &[&str],
    what: &str,
) -> Result<(), Error> {
    for name in given {
        if known.contains(&name) {
            continue;
        }
        let nearest = known
            .iter()
            .map(|candidate| {
                (
                    strsim::jaro_winkler(&fold(candidate), &fold(name)),
                    candidate,
                )
            })
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let hint = match nearest {
            Some((likeness, candidate)) if likeness > 0.85 => {
                format!("did you mean `{candidate}`?")
            }
            _ => format!("known are {}.", known.join(", ")),
        };
        let name: String = visible(name).chars().take(64).collect();
        return Err(invalid(format!("Unknown {what} `{name}`: {hint}")));
    }
    Ok(())
}

/// `client_id`, `clientID` and `clientId` are the same slip.
fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

fn wrong_type(name: &str, wanted: &str, given: &Value) -> Error {
    let given = match given {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    invalid(format!("`{name}` must be {wanted}, but is {given}."))
}

/// `INVALID_CONFIG`.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(config: Value) -> String {
        match AuthConfig::parse(config) {
            Ok(_) => panic!("accepted"),
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::InvalidConfig);
                error.message().to_owned()
            }
        }
    }

    #[test]
    fn the_least_config_gets_the_documented_defaults() {
        let config =
            AuthConfig::parse(json!({ "pluginId": "p", "issuer": "https://a.example" })).unwrap();
        assert_eq!(config.profile, "default");
        assert_eq!(config.client_name, "p");
        assert_eq!(config.refresh_buffer, Duration::from_mins(5));
        assert_eq!(config.request_timeout, Duration::from_secs(30));
        assert_eq!(config.lock_timeout, Duration::from_mins(1));
        config.names_a_server().unwrap();
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_known_one() {
        for (typo, meant) in [
            ("client_id", "clientId"),
            ("clientID", "clientId"),
            ("scope", "scopes"),
            ("isuer", "issuer"),
            ("refreshBuffer", "refreshBufferMs"),
            ("tokenEndpont", "tokenEndpoint"),
        ] {
            let message = refusal(json!({ "pluginId": "p", typo: "x" }));
            assert!(
                message.contains(&format!("did you mean `{meant}`")),
                "{message}"
            );
        }
        assert!(refusal(json!({ "pluginId": "p", "colour": 1 })).contains("known are pluginId"));
    }

    #[test]
    fn wrong_values_are_named() {
        for (config, part) in [
            (json!(7), "must be an object"),
            (json!({}), "`pluginId` is missing"),
            (json!({ "pluginId": "" }), "`pluginId` is empty"),
            (
                json!({ "pluginId": 1 }),
                "`pluginId` must be a string, but is a number",
            ),
            (
                json!({ "pluginId": "p", "issuer": "http://a.example" }),
                "`issuer`",
            ),
            (
                json!({ "pluginId": "p", "scopes": "a b" }),
                "`scopes` must be an array",
            ),
            (
                json!({ "pluginId": "p", "scopes": ["a b"] }),
                "without spaces",
            ),
            (
                json!({ "pluginId": "p", "resource": ["x"] }),
                "absolute URI",
            ),
            (json!({ "pluginId": "p", "pkce": "yes" }), "true or false"),
            (
                json!({ "pluginId": "p", "requestTimeoutMs": 0 }),
                "from 1 to",
            ),
            (json!({ "pluginId": "p", "lockTimeoutMs": -1 }), "from 0 to"),
            (json!({ "pluginId": "p", "clientId": null }), "is null"),
            (
                json!({ "pluginId": "p", "clientSecret": "s" }),
                "without `clientId`",
            ),
            (
                json!({ "pluginId": "p", "clientId": "c", "clientSecret": "s", "clientAuthentication": "none" }),
                "leave one of them out",
            ),
            (
                json!({ "pluginId": "p", "clientId": "c", "clientAuthentication": "client_secret_post" }),
                "needs a `clientSecret`",
            ),
            (
                json!({ "pluginId": "p", "clientAuthentication": "private_key_jwt" }),
                "must be \"none\"",
            ),
            (
                json!({ "pluginId": "p", "extraParameters": { "grant_type": "x" } }),
                "sets itself",
            ),
            (
                json!({ "pluginId": "p", "extraParameters": { "a": 1 } }),
                "`extraParameters.a` must be a string",
            ),
        ] {
            let message = refusal(config);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn no_server_is_named() {
        let config = AuthConfig::parse(json!({ "pluginId": "p" })).unwrap();
        assert!(config.names_a_server().is_err());
    }
}
