//! The endpoints of a login: those of the config, and those that discovery adds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::oauth::client::{Assertions, ClientAuthentication};
use crate::oauth::client_key::ClientKey;
use crate::oauth::dpop;
use crate::oauth::metadata::{self, AuthorizationServerMetadata, Flaw, discover};
use crate::oauth::protected_resource::locate;
use crate::oauth::server_text::Secrets;
use crate::store::given_file;

use super::Session;
use super::config::{AuthConfig, Flow, Userinfo, invalid};

/// `OpenID` Connect Core §11
const OFFLINE: &str = "offline_access";

/// The endpoints of one authorization server.
pub(super) struct AuthorizationServer {
    pub(super) issuer: Option<String>,
    /// The resource URL that named this server, in the form for token requests (RFC 8707).
    pub(super) resource: Option<String>,
    pub(super) authorization_endpoint: Option<Endpoint>,
    /// RFC 9207 §3
    pub(super) has_iss: bool,
    pub(super) requires_pushed_requests: bool,
    /// RFC 9126 §5
    pub(super) pushed_endpoint: Option<Endpoint>,
    pub(super) device_authorization_endpoint: Option<Endpoint>,
    pub(super) token_endpoint: Endpoint,
    pub(super) revocation_endpoint: Option<Endpoint>,
    pub(super) registration_endpoint: Option<Endpoint>,
    pub(super) userinfo_endpoint: Option<Endpoint>,
    pub(super) authentication_methods: Option<Vec<String>>,
    /// Clients may be named by the URL of a document.
    pub(super) takes_client_documents: bool,
    /// For `private_key_jwt`.
    pub(super) assertions: Option<Assertions>,
    /// The unusable endpoints of the metadata.
    flaws: Vec<Flaw>,
}

impl AuthorizationServer {
    /// For a login: every endpoint that can be known, and the config with what was left to the server: flow, scopes,
    /// client and resource. Discovery is left out where nothing it could say is missing.
    pub(super) async fn resolve(
        session: &Session,
        config: &AuthConfig,
    ) -> Result<(Self, AuthConfig), Error> {
        config.names_a_server()?;
        let given = config;
        let mut config = config.clone();
        let has_start = match config.flow {
            Flow::DeviceCode => config.device_authorization_endpoint.is_some(),
            Flow::ClientCredentials => true,
            Flow::AuthorizationCode(_) => config.authorization_endpoint.is_some(),
            Flow::Offered(_) => {
                config.device_authorization_endpoint.is_some()
                    || config.authorization_endpoint.is_some()
            }
        };
        let complete = has_start
            && config.token_endpoint.is_some()
            && (config.client_id.is_some() || config.registration_endpoint.is_some());
        let wants_userinfo = config.userinfo == Userinfo::Announced;
        let mut resource = None;
        let metadata = if let Some(url) = config.asked_resource() {
            let timeout = config.request_timeout;
            let found = session
                .patiently(timeout, || {
                    locate(
                        &*session.http,
                        url,
                        &given.allow_http,
                        wants_userinfo,
                        timeout,
                    )
                })
                .await?;
            config.resource = config.resources(Some(&found.identifier));
            resource = Some(found.identifier);
            if config.scopes.is_empty() {
                config.scopes = found.scopes;
            }
            // MCP, refresh tokens: where the server's metadata "contains it in scopes_supported".
            let offered = found.server.scopes_supported.iter().flatten();
            let missing =
                offered.filter(|scope| *scope == OFFLINE && !config.scopes.contains(scope));
            config
                .scopes
                .extend(missing.take(1).cloned().collect::<Vec<_>>());
            Some(found.server)
        } else if let Some(issuer) = &config.issuer {
            // Where the metadata is of little use, the wait for it is short.
            let patience = if complete {
                Duration::ZERO
            } else {
                config.request_timeout
            };
            let timeout = config.request_timeout;
            let ask = || discover(&*session.http, issuer, wants_userinfo, timeout);
            match session.patiently(patience, ask).await {
                Ok(metadata) => Some(metadata),
                // The config alone is enough, so a server without metadata is no reason to fail.
                Err(error) if complete && error.code() != ErrorCode::IssuerMismatch => None,
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        let issuer = metadata.as_ref().map(|metadata| &metadata.issuer);
        let issuer = issuer.or(config.issuer.as_ref());
        let mut server = Self {
            issuer: issuer.map(|issuer| issuer.as_str().to_owned()),
            resource,
            authorization_endpoint: config.authorization_endpoint.clone(),
            has_iss: false,
            requires_pushed_requests: false,
            pushed_endpoint: None,
            device_authorization_endpoint: config.device_authorization_endpoint.clone(),
            token_endpoint: match (&config.token_endpoint, &metadata) {
                (Some(endpoint), _) => endpoint.clone(),
                (None, Some(metadata)) => token_endpoint(metadata)?.clone(),
                (None, None) => return Err(no_token_endpoint("")),
            },
            revocation_endpoint: config.revocation_endpoint.clone(),
            registration_endpoint: config.registration_endpoint.clone(),
            userinfo_endpoint: config.userinfo.endpoint(),
            authentication_methods: None,
            takes_client_documents: false,
            assertions: None,
            flaws: Vec::new(),
        };
        if let Some(metadata) = metadata {
            check_proofs(&config, &metadata)?;
            server.add(metadata);
        }
        server.check_authentication(&config)?;
        if server.takes_client_documents && config.client_id.is_none() {
            config.client_id.clone_from(&config.client_metadata_url);
        }
        server.assertions = assertions(session, &config, server.key()).await?;
        if let Flow::Offered(redirect_uri) = &config.flow {
            if server.device_authorization_endpoint.is_some() {
                config.flow = Flow::DeviceCode;
            } else if server.authorization_endpoint.is_some() {
                config.flow = Flow::AuthorizationCode(redirect_uri.clone());
            }
        }
        Ok((server, config))
    }

    /// Adds the values of the metadata that the config does not set.
    fn add(&mut self, metadata: AuthorizationServerMetadata) {
        let or = |known: &mut Option<Endpoint>, told| *known = known.take().or(told);
        or(
            &mut self.authorization_endpoint,
            metadata.authorization_endpoint,
        );
        or(
            &mut self.device_authorization_endpoint,
            metadata.device_authorization_endpoint,
        );
        or(&mut self.revocation_endpoint, metadata.revocation_endpoint);
        or(
            &mut self.registration_endpoint,
            metadata.registration_endpoint,
        );
        or(&mut self.userinfo_endpoint, metadata.userinfo_endpoint);
        self.flaws = metadata.flaws;
        self.has_iss = metadata.has_iss;
        self.requires_pushed_requests = metadata.requires_pushed_requests;
        self.pushed_endpoint = metadata.pushed_authorization_request_endpoint;
        self.authentication_methods = metadata.token_endpoint_auth_methods_supported;
        self.takes_client_documents = metadata.takes_client_documents;
    }

    /// Refuses a server that takes only client authentications that cannot be done here, before a person is troubled.
    fn check_authentication(&self, config: &AuthConfig) -> Result<(), Error> {
        let Some(methods) = &self.authentication_methods else {
            return Ok(());
        };
        let is_ours = |name: &String| match ClientAuthentication::from_name(name) {
            Some(ClientAuthentication::PrivateKeyJwt) => config.client_key.is_some(),
            method => method.is_some(),
        };
        if methods.is_empty() || methods.iter().any(is_ours) {
            return Ok(());
        }
        let next = if methods.iter().any(|name| name == "private_key_jwt") {
            "Give `clientAuthentication: \"private_key_jwt\"` and `clientKey`, whose public half the server has."
        } else {
            "Allow this client another one at the server."
        };
        let methods = Secrets::default().description(&methods.join(", "));
        Err(invalid(format!(
            "{} takes no other client authentication than {}. {next}",
            self.key(),
            methods.unwrap_or_default()
        )))
    }

    /// Why there is no flow for a config that names none.
    pub(super) fn offers_no_flow(&self) -> Error {
        let next = "Give `authorizationEndpoint`, or `deviceAuthorizationEndpoint`.";
        let flaw = self.flaw(metadata::AUTHORIZATION, next);
        let error = flaw.or_else(|| self.device_authorization_endpoint().err());
        error.unwrap_or_else(|| no_token_endpoint(self.key()))
    }

    /// The device authorization endpoint, without which there is no device flow.
    pub(super) fn device_authorization_endpoint(&self) -> Result<&Endpoint, Error> {
        self.device_authorization_endpoint.as_ref().ok_or_else(|| {
            if let Some(error) = self.flaw(
                metadata::DEVICE,
                "Give `deviceAuthorizationEndpoint`, or log in through the browser with `flow: \"authorization_code\"`.",
            ) {
                return error;
            }
            let Some(issuer) = &self.issuer else {
                return invalid(
                    "`deviceAuthorizationEndpoint` is missing: give it beside `tokenEndpoint`, or give `issuer`.",
                );
            };
            let (lacks, browser) = if self.authorization_endpoint.is_some() {
                ("no device authorization endpoint", ", or leave `flow` out to log in through the browser")
            } else {
                ("neither a device authorization endpoint nor an authorization endpoint", "")
            };
            Error::new(
                ErrorCode::DeviceFlowUnsupported,
                format!(
                    "{issuer} offers {lacks} in its metadata. Turn the device flow on at the server, give \
                     `deviceAuthorizationEndpoint` if it has one that it does not announce{browser}."
                ),
            )
        })
    }

    /// The authorization endpoint, without which there is no authorization code flow.
    pub(super) fn authorization_endpoint(&self) -> Result<&Endpoint, Error> {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        self.authorization_endpoint.as_ref().ok_or_else(|| {
            let next = "Give `authorizationEndpoint`, or leave `flow` out to log in by the device flow.";
            if let Some(error) = self.flaw(metadata::AUTHORIZATION, next) {
                return error;
            }
            invalid(match issuer {
                "" => "`authorizationEndpoint` is missing: give it beside `tokenEndpoint`, or give `issuer`.".to_owned(),
                _ => format!(
                    "{issuer} offers no authorization endpoint in its metadata. Give `authorizationEndpoint`, or leave `flow` \
                     out to log in by the device flow."
                ),
            })
        })
    }

    /// The endpoint that says who has logged in.
    pub(super) fn userinfo_endpoint(&self) -> Result<&Endpoint, Error> {
        const NEXT: &str = "Give its URL as `userinfo`, or leave that out.";
        self.userinfo_endpoint.as_ref().ok_or_else(|| {
            self.flaw(metadata::USERINFO, NEXT).unwrap_or_else(|| {
                Error::new(
                    ErrorCode::InvalidResponse,
                    format!(
                        "The metadata of {} names no userinfo endpoint. {NEXT}",
                        self.key()
                    ),
                )
            })
        })
    }

    /// The flaw of that metadata endpoint, for a caller that needs it.
    pub(super) fn flaw(&self, name: &str, next: &str) -> Option<Error> {
        let flaw = self.flaws.iter().find(|flaw| flaw.name == name)?;
        Some(flaw.to_error(self.key(), next))
    }

    /// The key under which this server's registered clients are kept.
    pub(super) fn key(&self) -> &str {
        self.issuer
            .as_deref()
            .unwrap_or_else(|| self.token_endpoint.as_str())
    }
}

/// `dpop` needs a server that knows our algorithm.
pub(super) fn check_proofs(
    config: &AuthConfig,
    metadata: &AuthorizationServerMetadata,
) -> Result<(), Error> {
    let mut offered = metadata.dpop_signing_alg_values_supported.iter().flatten();
    if !config.dpop || offered.any(|name| name == dpop::ALGORITHM) {
        return Ok(());
    }
    Err(invalid(format!(
        "`dpop` is true, but {} does not offer DPoP with {} in its metadata (dpop_signing_alg_values_supported). Turn it on \
         at the server, or leave `dpop` out.",
        metadata.issuer.as_str(),
        dpop::ALGORITHM,
    )))
}

/// The means by which the config's client authenticates to that audience.
pub(super) async fn assertions(
    session: &Session,
    config: &AuthConfig,
    audience: &str,
) -> Result<Option<Assertions>, Error> {
    let Some(path) = config.client_key.clone() else {
        return Ok(None);
    };
    Ok(Some(Assertions {
        key: blocking(move |may| client_key(&path, may)).await??,
        audience: audience.to_owned(),
        clock: Some(session.clock.clone()),
    }))
}

/// The key at that path.
pub(super) fn client_key(path: &str, may: MayBlock) -> Result<Arc<ClientKey>, Error> {
    let read = given_file::read(Path::new(path), may).map_err(|error| error.kind().to_string());
    let key = read
        .map_err(|why| format!("cannot be read ({why})"))
        .and_then(|text| ClientKey::parse(&text));
    key.map(Arc::new)
        .map_err(|reason| invalid(format!("`clientKey`: {path} {reason}.")))
}

/// The token endpoint, without which there is nothing.
pub(super) fn token_endpoint(metadata: &AuthorizationServerMetadata) -> Result<&Endpoint, Error> {
    let issuer = metadata.issuer.as_str();
    metadata.token_endpoint.as_ref().ok_or_else(|| {
        metadata.flaw(metadata::TOKEN).map_or_else(
            || no_token_endpoint(issuer),
            |flaw| flaw.to_error(issuer, "Give `tokenEndpoint` in the config."),
        )
    })
}

fn no_token_endpoint(issuer: &str) -> Error {
    Error::new(
        ErrorCode::InvalidResponse,
        format!(
            "The metadata of {issuer} names no token endpoint. Give `tokenEndpoint` in the config."
        ),
    )
}
