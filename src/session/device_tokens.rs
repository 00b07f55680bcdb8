//! The device flow and the refresh without the store, for hosts that keep the tokens themselves.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::http::BoxFuture;
use crate::http::endpoint::Endpoint;
use crate::oauth::client::{Client, ClientAuthentication};
use crate::oauth::device_access_token::{DeviceAccessTokenRequest, PollEvent, await_approval};
use crate::oauth::device_authorization::{
    self, DeviceAuthorization, DeviceAuthorizationRequest, demands_pkce,
};
use crate::oauth::dpop::DpopKey;
use crate::oauth::issuer::Issuer;
use crate::oauth::pkce::PkceVerifier;
use crate::oauth::refresh::{CLIENT_CREDENTIALS, RefreshRequest};
use crate::oauth::token_response::TokenResponse;
use crate::secret::Secret;
use crate::time::{BootInstant, UnixMillis};

use super::authorization_server::{AuthorizationServer, assertions};
use super::cancellation::Cancellation;
use super::client::{configured, new_registration, with_a_secret};
use super::config::{AuthConfig, Flow, invalid};
use super::refresh_attempts::CRITICAL_SECTION;
use super::refresh_round::parameters;
use super::single_flight::Effort;
use super::verification::Verification;
use super::{Session, client};

/// Receives the events of a login, to show them to the person.
pub(crate) trait Observer: Send + Sync {
    /// The code is there: show it.
    fn verification(&self, verification: Verification);
    /// The wait goes on, and why.
    fn progress(&self, progress: Progress);
    /// Whether a person can be asked for the text that the browser shows.
    fn can_paste(&self) -> bool {
        false
    }
    /// Whether the browser is on another machine; `None`: the environment decides.
    fn is_remote(&self) -> Option<bool> {
        None
    }
    /// Asks for what the browser shows. Dropping it takes the question back.
    fn paste(&self, _message: String) -> BoxFuture<'_, Secret> {
        Box::pin(std::future::pending())
    }
}

/// One step of the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) kind: ProgressKind,
    pub(crate) next_poll_at: Option<UnixMillis>,
    pub(crate) expires_at: UnixMillis,
    pub(crate) detail: Option<String>,
}

/// Why the wait goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressKind {
    /// The person has not decided yet.
    Waiting,
    /// The server asked for a longer interval.
    SlowDown,
    /// The server could not be reached, or failed; asked again.
    Retrying,
    /// The person approved.
    Approved,
}

/// Tokens for a caller that stores them itself.
pub(crate) struct TokenSet {
    pub(crate) access: Secret,
    pub(crate) refresh: Option<Secret>,
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) token_type: String,
    pub(crate) id_token: Option<Secret>,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) issuer: Option<String>,
    pub(crate) token_endpoint: String,
}

/// An answered device authorization, and what the polls need to know of it.
pub(super) struct Asked {
    pub(super) authorization: DeviceAuthorization,
    pub(super) pkce: Option<PkceVerifier>,
    pub(super) dpop_key: Option<DpopKey>,
    pub(super) deadline: BootInstant,
    pub(super) expires_at: UnixMillis,
}

impl Session {
    /// Asks for a code (RFC 8628 §3.1), with PKCE where the config or the server wants it.
    pub(super) async fn ask_for_code(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        client: &Client,
    ) -> Result<Asked, Error> {
        let mut pkce = if config.pkce {
            Some(PkceVerifier::generate()?)
        } else {
            None
        };
        let dpop_key = config.dpop.then(DpopKey::generate).transpose()?;
        loop {
            let request = DeviceAuthorizationRequest {
                endpoint: server.device_authorization_endpoint()?,
                client,
                scope: &config.scope(),
                audience: config.audience.as_deref(),
                resources: &config.all_resources(),
                pkce: pkce.as_ref(),
                extra: &config.authorization_parameters,
            };
            let timeout = config.request_timeout;
            let ask = || async {
                // Counted from before the request: the server's own clock started no earlier.
                let (boot, now) = (self.clock.boot(), self.clock.now());
                let answer = device_authorization::request(&*self.http, &request, timeout).await;
                answer.map(|authorization| (boot, now, authorization))
            };
            match self.patiently(timeout, ask).await {
                Ok((boot, now, authorization)) => {
                    return Ok(Asked {
                        deadline: boot.plus(authorization.expires_in),
                        expires_at: now.plus(authorization.expires_in),
                        authorization,
                        pkce,
                        dpop_key,
                    });
                }
                Err(error) if pkce.is_none() && demands_pkce(&error) => {
                    pkce = Some(PkceVerifier::generate()?);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks as a registered client. A server may accept a registration without a secret and then refuse the client;
    /// then one with a secret is registered in its place.
    pub(super) async fn ask_as_registered<F>(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        mut client: Client,
        register: impl Fn(Option<ClientAuthentication>) -> F,
    ) -> Result<(Client, Asked), Error>
    where
        F: Future<Output = Result<Client, Error>>,
    {
        let mut asked = self.ask_for_code(config, server, &client).await;
        for method in with_a_secret(config, server) {
            let is_to_be_replaced =
                client.authentication != method && asked.as_ref().is_err_and(wants_a_secret);
            if !is_to_be_replaced {
                continue;
            }
            // If it registers no other client, the refusal of the first is the reason.
            let Ok(other) = register(Some(method)).await else {
                break;
            };
            client = other;
            asked = self.ask_for_code(config, server, &client).await;
        }
        asked.map(|asked| (client, asked))
    }

    /// Shows the code and polls until the person has decided (RFC 8628 §3.3-3.5).
    pub(super) async fn await_decision(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        client: &Client,
        asked: &Asked,
        observer: &dyn Observer,
    ) -> Result<TokenResponse, Error> {
        observer.verification(Verification::new(&asked.authorization, asked.expires_at));
        let request = DeviceAccessTokenRequest {
            endpoint: &server.token_endpoint,
            client,
            device_code: &asked.authorization.device_code,
            pkce: asked.pkce.as_ref(),
            resources: &config.resource,
            dpop: asked.dpop_key.as_ref().map(|key| self.dpop(key)),
            extra: &config.extra_parameters,
        };
        let report = |event: PollEvent| {
            let (kind, next_poll_in, detail) = match event {
                PollEvent::Waiting { next_poll_in } => {
                    (ProgressKind::Waiting, Some(next_poll_in), None)
                }
                PollEvent::SlowDown {
                    next_poll_in,
                    interval,
                } => (
                    ProgressKind::SlowDown,
                    Some(next_poll_in),
                    Some(format!(
                        "The server asked for at least {} s between polls.",
                        interval.as_secs()
                    )),
                ),
                PollEvent::Retrying {
                    next_poll_in,
                    reason,
                } => (
                    ProgressKind::Retrying,
                    Some(next_poll_in),
                    Some(reason.message().to_owned()),
                ),
                PollEvent::Approved => (ProgressKind::Approved, None, None),
            };
            observer.progress(Progress {
                kind,
                next_poll_at: next_poll_in.map(|wait| self.clock.now().plus(wait)),
                expires_at: asked.expires_at,
                detail,
            });
        };
        await_approval(
            &*self.http,
            &*self.clock,
            &request,
            asked.authorization.interval,
            asked.deadline,
            config.request_timeout,
            &report,
        )
        .await
    }

    /// `authorizeDevice`: the device flow, nothing stored.
    pub(crate) async fn authorize_device(
        self: &Arc<Self>,
        config: &AuthConfig,
        observer: &dyn Observer,
        cancellation: &Cancellation,
    ) -> Result<TokenSet, Error> {
        not_bound(config)?;
        if matches!(
            config.flow,
            Flow::AuthorizationCode(_) | Flow::ClientCredentials
        ) {
            return Err(invalid(
                "authorizeDevice is the device flow: leave `flow` out, or call `login`, which knows \"authorization_code\" too.",
            ));
        }
        cancellation
            .guard(Box::pin(async {
                let (server, config) = Box::pin(AuthorizationServer::resolve(self, config)).await?;
                let config = &config;
                server.device_authorization_endpoint()?;
                let supported = server.authentication_methods.as_deref();
                let (client, asked) = if let Some(client) =
                    configured(config, None, supported, server.assertions.clone())
                {
                    let asked = self.ask_for_code(config, &server, &client).await?;
                    (client, asked)
                } else {
                    let server = &server;
                    let register = |method| async move {
                        let client = new_registration(self, config, server, None, method).await?;
                        Ok(client::as_client(&client, server.assertions.clone()))
                    };
                    self.ask_as_registered(config, server, register(None).await?, register)
                        .await?
                };
                let response = self
                    .await_decision(config, &server, &client, &asked, observer)
                    .await?;
                let requested = (!config.scopes.is_empty()).then(|| config.scopes.clone());
                Ok(self.token_set(
                    config,
                    response,
                    client,
                    requested,
                    server.issuer,
                    &server.token_endpoint,
                ))
            }))
            .await
    }

    /// `refreshTokens`: one refresh, nothing stored.
    pub(crate) async fn refresh_tokens(
        self: &Arc<Self>,
        config: &AuthConfig,
        refresh_token: &Secret,
        cancellation: &Cancellation,
    ) -> Result<TokenSet, Error> {
        not_bound(config)?;
        self.tokens_for(config, refresh_token, None, cancellation)
            .await
    }

    /// One token request, for a key or for none; nothing stored.
    pub(super) async fn tokens_for(
        self: &Arc<Self>,
        config: &AuthConfig,
        refresh_token: &Secret,
        dpop_key: Option<&Secret>,
        cancellation: &Cancellation,
    ) -> Result<TokenSet, Error> {
        let missing_client = || {
            invalid(
                "`clientId` is missing: refreshTokens needs the client that the refresh token was issued to (`clientId` of \
                 the TokenSet).",
            )
        };
        // Before a server is troubled.
        config.names_a_server()?;
        config.client_id.as_ref().ok_or_else(missing_client)?;
        let (endpoint, supported, assertions, resources) =
            if let Some(endpoint) = config.token_endpoint.clone() {
                let audience = config
                    .issuer
                    .as_ref()
                    .map_or(endpoint.as_str(), Issuer::as_str);
                let assertions = assertions(self, config, audience).await?;
                (endpoint, None, assertions, config.resource.clone())
            } else {
                let found = Box::pin(AuthorizationServer::resolve(self, config));
                let (server, asked) = cancellation.guard(found).await?;
                let supported = server.authentication_methods;
                (
                    server.token_endpoint,
                    supported,
                    server.assertions,
                    asked.resource,
                )
            };
        let client = configured(config, None, supported.as_deref(), assertions)
            .ok_or_else(missing_client)?;
        let is_client = refresh_token.expose() == CLIENT_CREDENTIALS;
        let (scope, extra) = parameters(config, &[], is_client);
        let key = dpop_key.map(DpopKey::from_stored).transpose()?;
        let request = RefreshRequest {
            endpoint: &endpoint,
            client: &client,
            refresh_token,
            resources: &resources,
            dpop: key.as_ref().map(|key| self.dpop(key)),
            scope: &scope,
            json_scopes: None,
            extra: &extra,
        };
        // The answer may hold the only refresh token that there is: from here on no abort is heard.
        cancellation.commit()?;
        let response = self
            .attempt_refresh(
                &*self.http,
                &request,
                config.request_timeout,
                Effort::Full,
                self.clock.boot().plus(CRITICAL_SECTION),
            )
            .await
            .map_err(|failure| failure.error().clone())?;
        // RFC 6749 §6: without a new refresh token in the answer the old one stays valid.
        let response = TokenResponse {
            refresh: response.refresh.or_else(|| Some(refresh_token.clone())),
            ..response
        };
        let issuer = config
            .issuer
            .as_ref()
            .map(|issuer| issuer.as_str().to_owned());
        Ok(self.token_set(config, response, client, None, issuer, &endpoint))
    }

    fn token_set(
        &self,
        config: &AuthConfig,
        response: TokenResponse,
        client: Client,
        requested_scopes: Option<Vec<String>>,
        issuer: Option<String>,
        token_endpoint: &Endpoint,
    ) -> TokenSet {
        TokenSet {
            access: response.access,
            refresh: response.refresh,
            expires: response
                .lifetime
                .map(|lifetime| self.clock.now().plus(lifetime)),
            // RFC 6749 §5.1: scope is "OPTIONAL, if identical to the scope requested by the client".
            scopes: response
                .scopes
                .map(|scopes| config.split(scopes))
                .or(requested_scopes),
            token_type: response.token_type,
            id_token: response.id_token,
            client_id: client.id,
            // A configured secret is the caller's already.
            client_secret: client.secret.filter(|_| config.client_id.is_none()),
            issuer,
            token_endpoint: token_endpoint.as_str().to_owned(),
        }
    }
}

/// A host that keeps the tokens sends them as bearer tokens, and has no place for a key.
fn not_bound(config: &AuthConfig) -> Result<(), Error> {
    if config.dpop {
        return Err(invalid(
            "`dpop` needs the store, which keeps the key: leave it out here, or use `login` and `authorizationHeaders`.",
        ));
    }
    Ok(())
}

/// The server no longer knows a client that we registered there earlier.
pub(super) fn client_is_unknown(error: &Error) -> bool {
    wants_a_secret(error)
        || error.code() == ErrorCode::OauthError
            && error
                .oauth()
                .is_some_and(|oauth| oauth.error == "unauthorized_client")
}

/// The server wants more of the client than its id, or does not know the id.
pub(super) fn wants_a_secret(error: &Error) -> bool {
    error.code() == ErrorCode::OauthError
        && match error.oauth() {
            Some(oauth) => oauth.error == "invalid_client",
            // Prosody: a 401 without a word.
            None => matches!(error.status(), Some(401 | 403)),
        }
}
