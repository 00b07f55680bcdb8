//! Login: check the store, ask for a code, show it, poll, save (DESIGN 2, 4).

use std::sync::Arc;

use crate::error::Error;
use crate::oauth::client::Client;
use crate::oauth::token_response::TokenResponse;
use crate::store::credential::NewCredential;
use crate::store::location::Location;

use super::Session;
use super::authorization_server::AuthorizationServer;
use super::blocking::blocking;
use super::cancellation::Cancellation;
use super::client::{configured, forget, registered};
use super::config::AuthConfig;
use super::device_tokens::{Asked, Observer, client_is_unknown};
use super::status::AuthStatus;

impl Session {
    /// Logs in and stores the credential; whatever was stored stays until then.
    pub(crate) async fn login(
        self: &Arc<Self>,
        config: &AuthConfig,
        observer: &dyn Observer,
        cancellation: &Cancellation,
    ) -> Result<AuthStatus, Error> {
        let config = &self.first_account(config).await?;
        let location = self.location(config)?;
        let (server, client, response) = cancellation
            .guard(self.obtain(config, &location, observer))
            .await?;
        // Counted from the answer: storing it may take its time.
        let deadline = response
            .lifetime
            .map(|lifetime| self.clock.boot().plus(lifetime));
        let credential = self.as_credential(config, &server, &client, response);
        if let Err(error) = self
            .store(config, &location, &credential, cancellation)
            .await
        {
            // Nobody will use these tokens.
            self.revoke_unused(&credential, &client, config).await;
            return Err(error);
        }
        if let Some(deadline) = deadline {
            self.remember_deadline(
                &location,
                &credential.access,
                credential.expires,
                deadline,
                true,
            );
        }
        self.status(config).await
    }

    async fn obtain(
        self: &Arc<Self>,
        config: &AuthConfig,
        location: &Location,
        observer: &dyn Observer,
    ) -> Result<(AuthorizationServer, Client, TokenResponse), Error> {
        // Before a person is troubled: what would make saving fail.
        config.names_a_server()?;
        let locked = self.lock(location, config.lock_timeout).await?;
        blocking(move || locked.reserve().map(drop)).await??;

        let server = AuthorizationServer::resolve(self, config).await?;
        server.device_authorization_endpoint()?;
        let (client, asked) = self.ask_as_client(config, location, &server).await?;
        match self
            .await_decision(config, &server, &client, &asked, observer)
            .await
        {
            Ok(response) => Ok((server, client, response)),
            // Some servers look at the client only here. The next login registers anew.
            Err(error) if config.client_id.is_none() && client_is_unknown(&error) => {
                forget(location, &server, &client.id).await?;
                Err(error.needing_login())
            }
            Err(error) => Err(error),
        }
    }

    async fn ask_as_client(
        &self,
        config: &AuthConfig,
        location: &Location,
        server: &AuthorizationServer,
    ) -> Result<(Client, Asked), Error> {
        let supported = server.authentication_methods.as_deref();
        if let Some(client) = configured(config, None, supported) {
            let asked = self.ask_for_code(config, server, &client).await?;
            return Ok((client, asked));
        }
        let client = registered(self, config, location, server).await?;
        match self.ask_for_code(config, server, &client).await {
            Ok(asked) => Ok((client, asked)),
            // A registration that the server has forgotten is renewed, once.
            Err(error) if client_is_unknown(&error) => {
                forget(location, server, &client.id).await?;
                let client = registered(self, config, location, server).await?;
                let asked = self.ask_for_code(config, server, &client).await?;
                Ok((client, asked))
            }
            Err(error) => Err(error),
        }
    }

    fn as_credential(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        client: &Client,
        response: TokenResponse,
    ) -> NewCredential {
        let now = self.clock.now();
        NewCredential {
            access: response.access,
            refresh: response.refresh,
            expires: response.lifetime.map(|lifetime| now.plus(lifetime)),
            created_at: now,
            refreshed_at: now,
            token_type: response.token_type,
            // RFC 6749 §5.1: scope is "OPTIONAL, if identical to the scope requested by the client".
            scopes: response
                .scopes
                .or_else(|| (!config.scopes.is_empty()).then(|| config.scopes.clone())),
            id_token: response.id_token,
            issuer: server.issuer.clone(),
            token_endpoint: Some(server.token_endpoint.as_str().to_owned()),
            revocation_endpoint: server
                .revocation_endpoint
                .as_ref()
                .map(|endpoint| endpoint.as_str().to_owned()),
            client_id: Some(client.id.clone()),
            client_authentication: Some(client.authentication.as_str().to_owned()),
            registered_client: config.client_id.is_none(),
            imported: false,
        }
    }

    /// Puts a new login in place of whatever is there; from the lock on, an abort comes too late.
    pub(super) async fn store(
        &self,
        config: &AuthConfig,
        location: &Location,
        credential: &NewCredential,
        cancellation: &Cancellation,
    ) -> Result<(), Error> {
        let mut locked = cancellation
            .guard(self.lock(location, config.lock_timeout))
            .await?;
        // From here on an abort comes too late: the login is complete.
        cancellation.commit()?;
        let unsettled = self.flights.unsettled();
        let credential = credential.clone();
        let saved = blocking(move || locked.replace(&credential)).await?;
        drop(unsettled);
        saved
    }
}
