//! Which endpoints: those of the config, and what discovery adds.

use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::oauth::dpop;
use crate::oauth::metadata::{self, AuthorizationServerMetadata, Flaw, discover};

use super::Session;
use super::config::{AuthConfig, Flow, invalid};

/// The endpoints of one authorization server.
pub(super) struct AuthorizationServer {
    pub(super) issuer: Option<String>,
    pub(super) authorization_endpoint: Option<Endpoint>,
    /// RFC 9207 §3
    pub(super) has_iss: bool,
    requires_pushed_requests: bool,
    pub(super) device_authorization_endpoint: Option<Endpoint>,
    pub(super) token_endpoint: Endpoint,
    pub(super) revocation_endpoint: Option<Endpoint>,
    pub(super) registration_endpoint: Option<Endpoint>,
    pub(super) authentication_methods: Option<Vec<String>>,
    /// What the metadata names and nobody can use.
    flaws: Vec<Flaw>,
}

impl AuthorizationServer {
    /// For a login: every endpoint that can be known. Discovery is left out where nothing it could say is missing.
    pub(super) async fn resolve(session: &Session, config: &AuthConfig) -> Result<Self, Error> {
        config.names_a_server()?;
        let start = match config.flow {
            Flow::DeviceCode => &config.device_authorization_endpoint,
            Flow::AuthorizationCode(_) => &config.authorization_endpoint,
        };
        let complete = start.is_some()
            && config.token_endpoint.is_some()
            && (config.client_id.is_some() || config.registration_endpoint.is_some());
        let metadata = match &config.issuer {
            Some(issuer) => {
                match discover(&*session.http, issuer, config.request_timeout).await {
                    Ok(metadata) => Some(metadata),
                    // What the config says is enough, and a server without metadata is no reason to fail.
                    Err(error) if complete && error.code() != ErrorCode::IssuerMismatch => None,
                    Err(error) => return Err(error),
                }
            }
            None => None,
        };
        let mut server = Self {
            issuer: config
                .issuer
                .as_ref()
                .map(|issuer| issuer.as_str().to_owned()),
            authorization_endpoint: config.authorization_endpoint.clone(),
            has_iss: false,
            requires_pushed_requests: false,
            device_authorization_endpoint: config.device_authorization_endpoint.clone(),
            token_endpoint: match (&config.token_endpoint, &metadata) {
                (Some(endpoint), _) => endpoint.clone(),
                (None, Some(metadata)) => token_endpoint(metadata)?.clone(),
                (None, None) => return Err(no_token_endpoint("")),
            },
            revocation_endpoint: config.revocation_endpoint.clone(),
            registration_endpoint: config.registration_endpoint.clone(),
            authentication_methods: None,
            flaws: Vec::new(),
        };
        if let Some(metadata) = metadata {
            server.flaws = metadata.flaws;
            server.authorization_endpoint = server
                .authorization_endpoint
                .or(metadata.authorization_endpoint);
            server.has_iss = metadata.has_iss;
            server.requires_pushed_requests = metadata.requires_pushed_requests;
            server.device_authorization_endpoint = server
                .device_authorization_endpoint
                .or(metadata.device_authorization_endpoint);
            server.revocation_endpoint =
                server.revocation_endpoint.or(metadata.revocation_endpoint);
            server.registration_endpoint = server
                .registration_endpoint
                .or(metadata.registration_endpoint);
            server.authentication_methods = metadata.token_endpoint_auth_methods_supported;
            let offered = metadata.dpop_signing_alg_values_supported;
            if config.dpop
                && !offered
                    .is_some_and(|offered| offered.iter().any(|name| name == dpop::ALGORITHM))
            {
                return Err(invalid(format!(
                    "`dpop` is true, but {} does not offer DPoP with {} in its metadata \
                     (dpop_signing_alg_values_supported). Turn it on at the server, or leave `dpop` out.",
                    metadata.issuer.as_str(),
                    dpop::ALGORITHM,
                )));
            }
        }
        Ok(server)
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
            Error::new(
                ErrorCode::DeviceFlowUnsupported,
                format!(
                    "{issuer} offers no device authorization endpoint in its metadata. Turn the device flow on at the \
                     server, give `deviceAuthorizationEndpoint` if it has one that it does not announce, or log in through \
                     the browser with `flow: \"authorization_code\"`."
                ),
            )
        })
    }

    /// The authorization endpoint, without which there is no authorization code flow.
    pub(super) fn authorization_endpoint(&self) -> Result<&Endpoint, Error> {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        // RFC 9126 §5: the server "accepts authorization request data only via PAR".
        if self.requires_pushed_requests {
            return Err(invalid(format!(
                "{issuer} takes only authorization requests that were pushed to it (RFC 9126), which is not supported. Leave \
                 `flow` out to log in by the device flow, or turn `require_pushed_authorization_requests` off at the server."
            )));
        }
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

    /// What is wrong with that endpoint of the metadata, for who needs it.
    pub(super) fn flaw(&self, name: &str, next: &str) -> Option<Error> {
        let flaw = self.flaws.iter().find(|flaw| flaw.name == name)?;
        Some(flaw.to_error(self.key(), next))
    }

    /// What names this server where its registered clients are kept.
    pub(super) fn key(&self) -> &str {
        self.issuer
            .as_deref()
            .unwrap_or_else(|| self.token_endpoint.as_str())
    }
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
