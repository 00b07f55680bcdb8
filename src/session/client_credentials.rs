//! The client credentials grant (RFC 6749 §4.4): a login without a person. It is stored with a placeholder for a
//! refresh token; a refresh uses the client's own credentials instead. So every guarantee of a refresh holds here as
//! well.

use std::sync::Arc;

use crate::error::Error;
use crate::oauth::refresh::CLIENT_CREDENTIALS;
use crate::secret::Secret;
use crate::store::credential::NewCredential;
use crate::store::location::Location;
use crate::store::sealed::Storage;

use super::Session;
use super::adoption::{key_of_client, of_client, owned_by};
use super::auth_status::AuthStatus;
use super::cancellation::Cancellation;
use super::config::AuthConfig;
use super::login::in_any_case;
use super::target::Target;
use super::token_request::TokenRequest;

impl Session {
    /// Logs the client in, and gets its first token.
    pub(super) async fn log_in_as_client(
        self: &Arc<Self>,
        config: &AuthConfig,
        location: &Location,
        storage: Storage,
        cancellation: &Cancellation,
    ) -> Result<AuthStatus, Error> {
        let dpop_key = key_of_client(config)?;
        let present = self.present(config).await;
        if present.is_ok_and(|(_, stored)| stored.outline().is_some()) {
            // A stored login is replaced only once the server has accepted the client. The token of this request ends by itself.
            let mark = Secret::from(CLIENT_CREDENTIALS);
            let asked = Cancellation::default();
            let tokens = Box::pin(self.tokens_for(config, &mark, dpop_key.as_ref(), &asked));
            drop(cancellation.guard(tokens).await?);
        }
        if let Some(login) = of_client(config) {
            let credential = NewCredential {
                dpop_key,
                ..owned_by(config, login.credential(self.clock.now()))
            };
            self.store(
                config,
                location,
                &credential,
                storage,
                cancellation,
                in_any_case,
            )
            .await?;
        }
        let request = TokenRequest {
            config: config.clone(),
            target: Target::default(),
            rejected: None,
            was_accepted: false,
            required_scope: None,
            hold: None,
        };
        self.access_token(request, cancellation).await?;
        self.status(config).await
    }
}
