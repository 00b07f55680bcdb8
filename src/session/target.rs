//! Selects one access token of a login, which may have several (RFC 8707 §2.2, RFC 6749 §6).

use serde_json::{Map, Value};
use url::Url;

use crate::error::{Error, ErrorCode, OauthError};

use super::config::{AuthConfig, Options, resource, scope};

/// The purpose of an access token; by default that of the login itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    resource: Option<String>,
    /// Each once. RFC 6749 §3.3: "If the value contains multiple space-delimited strings, their order does not matter".
    scopes: Vec<String>,
}

impl Target {
    /// Parses `resource` and `scopes` of a call's options.
    ///
    /// # Errors
    /// `INVALID_CONFIG`; `OAUTH_ERROR` where the login was made for other resources.
    pub(crate) fn parse(
        config: &AuthConfig,
        mut members: Map<String, Value>,
    ) -> Result<Self, Error> {
        let mut options = Options(&mut members);
        let mut scopes = options.list("scopes", scope)?;
        scopes.sort_unstable();
        scopes.dedup();
        let resource = options.parsed("resource", |text| {
            resource(text)
                .map(|()| text.to_owned())
                .map_err(str::to_owned)
        })?;
        let resource = match resource {
            Some(resource) => of_login(config, resource)?,
            None => None,
        };
        Ok(Self { resource, scopes })
    }

    /// Whether that is the access token of the login itself.
    pub(super) fn is_login(&self) -> bool {
        self.resource.is_none() && self.scopes.is_empty()
    }

    /// The resources of a request for it, where the login is for these.
    pub(super) fn resources(&self, of_login: Vec<String>) -> Vec<String> {
        self.resource
            .as_ref()
            .map_or(of_login, |resource| vec![resource.clone()])
    }

    /// The scopes of a request for it; none: those of the login.
    pub(super) fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// In a sentence.
    pub(super) fn described(&self) -> String {
        let scopes = (!self.scopes.is_empty()).then(|| self.scopes.join(" "));
        let parts: Vec<String> = self.resource.clone().into_iter().chain(scopes).collect();
        parts.join(", ")
    }
}

/// The resource as the config spells it; none where the login's own token is for it.
fn of_login(config: &AuthConfig, asked: String) -> Result<Option<String>, Error> {
    let url = Url::parse(&asked).ok();
    let is_asked = |known: &&String| Url::parse(known).ok() == url;
    if let [only] = config.resource.as_slice()
        && is_asked(&only)
    {
        return Ok(None);
    }
    let mut named = config.resource.iter().chain(&config.other_resources);
    if config.resource.is_empty() && config.other_resources.is_empty() {
        return Ok(Some(asked));
    }
    // RFC 8707 §2.2: a token is for what the grant is for, or less. Some servers (oidc-provider 9.13) spend the
    // refresh token before they see that: asked for another resource, they would end the login.
    match named.find(is_asked) {
        Some(known) => Ok(Some(known.clone())),
        None => Err(Error::new(
            ErrorCode::OauthError,
            format!(
                "The login is not for {asked}, and the server was not asked: name it in `otherResources`, and log in again."
            ),
        )
        .with_oauth(OauthError {
            error: "invalid_target".to_owned(),
            description: None,
            uri: None,
        })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(config: Value, options: Value) -> Result<Target, Error> {
        let mut whole = json!({ "pluginId": "p", "issuer": "https://a.example" });
        let Value::Object(more) = config else {
            unreachable!()
        };
        whole.as_object_mut().unwrap().extend(more);
        let Value::Object(options) = options else {
            unreachable!()
        };
        Target::parse(&AuthConfig::parse(whole).unwrap(), options)
    }

    #[test]
    fn the_same_scopes_in_another_order_are_the_same_target() {
        let one = target(json!({}), json!({ "scopes": ["b", "a"] })).unwrap();
        let other = target(json!({}), json!({ "scopes": ["a", "b", "a"] })).unwrap();
        assert_eq!(one, other);
        assert!(!one.is_login());
        let none = target(json!({}), json!({ "scopes": [] })).unwrap();
        assert!(none.is_login());
    }

    #[test]
    fn the_only_resource_of_a_login_is_what_its_own_token_is_for() {
        let config = json!({ "resource": ["https://r.example/"] });
        let own = target(config.clone(), json!({ "resource": "https://R.example" }));
        assert!(own.unwrap().is_login());
        let less = target(
            config,
            json!({ "resource": "https://r.example", "scopes": ["a"] }),
        );
        assert_eq!(less.unwrap().resources(vec!["x".into()]), ["x"]);
    }

    #[test]
    fn a_resource_that_the_login_is_not_for_is_not_asked_for() {
        let config =
            json!({ "resource": ["https://r.example/"], "otherResources": ["https://s.example/"] });
        let other = target(config.clone(), json!({ "resource": "https://s.example" }));
        assert_eq!(
            other.unwrap().resources(Vec::new()),
            ["https://s.example/"],
            "as it was spelled at the login"
        );
        let refused = target(config, json!({ "resource": "https://t.example" }));
        let error = refused.unwrap_err();
        assert_eq!(error.code(), ErrorCode::OauthError);
        assert_eq!(error.oauth().unwrap().error, "invalid_target");
        assert!(!error.needs_login());
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for options in [
            json!({ "resource": "r" }),
            json!({ "resource": "https://r.example/#f" }),
            json!({ "scopes": ["a b"] }),
        ] {
            let error = target(json!({}), options).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidConfig);
        }
    }
}
