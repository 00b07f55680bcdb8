//! Login: check the store, let the person approve by the config's flow, save (docs/design.md 2, 4).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::oauth::client::Client;
use crate::oauth::dpop::DpopKey;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::token_response::TokenResponse;
use crate::oauth::userinfo::{UserinfoRequest, userinfo};
use crate::store::credential::NewCredential;
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::pending_login::PendingLogin;
use crate::store::sealed::{Storage, unlock_keychain};

use super::Session;
use super::auth_status::AuthStatus;
use super::authorization_server::AuthorizationServer;
use super::cancellation::Cancellation;
use super::client::{as_client, configured, forget, known, register, serves, with_a_secret};
use super::config::{AuthConfig, Flow, Userinfo, WantedStorage};
use super::device_tokens::{Asked, Observer, client_is_unknown, wants_a_secret};
use super::named_members::named_members;
use super::pending_login::{Before, show, shown, shown_page, unless_ended, was_ended};
use super::target::Target;

/// The tokens wait for this answer, and are stored nowhere yet.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);

/// The approved tokens, and the config that asked for them.
struct Obtained {
    /// With what was left to the server.
    config: AuthConfig,
    server: AuthorizationServer,
    client: Client,
    response: TokenResponse,
}

impl Session {
    /// Logs in and stores the credential. A previous one stays until then.
    pub(crate) async fn login(
        self: &Arc<Self>,
        config: &AuthConfig,
        observer: &dyn Observer,
        cancellation: &Cancellation,
    ) -> Result<AuthStatus, Error> {
        let config = &self.first_account(config).await?;
        let location = self.located(config).await?;
        // Problems that would make saving fail are found before a person is asked.
        config.names_a_server()?;
        let (storage, before) = cancellation.guard(self.storage(config, &location)).await?;
        if config.flow == Flow::ClientCredentials {
            return Box::pin(self.log_in_as_client(config, &location, storage, cancellation)).await;
        }
        let begun = Box::pin(self.begin_login(config, &location, observer));
        let Some(pending) = cancellation.guard(begun).await? else {
            return self.status(config).await;
        };
        let obtained = Box::pin(self.obtain(config, &location, observer, &pending));
        let Obtained {
            config: asked,
            server,
            client,
            response,
        } = cancellation.guard(unless_ended(&pending, obtained)).await?;
        // Counted from the answer: storing it may take its time.
        let deadline = response
            .lifetime
            .map(|lifetime| self.clock.boot().plus(lifetime));
        let mut credential = self.as_credential(&asked, &server, &client, response);
        let mut aborted = Ok(());
        if config.userinfo != Userinfo::Unasked {
            let asked = Box::pin(self.userinfo(config, &server, &credential));
            match cancellation.guard(asked).await {
                Err(error) if error.code() == ErrorCode::Aborted => aborted = Err(error),
                said => {
                    credential.userinfo =
                        Some(said.map_or_else(|error| noted(&error), Value::Object));
                }
            }
        }
        let may_store = {
            let pending = pending.clone();
            move |locked: &Locked, may: MayBlock| {
                // A logout that came before it had its place ended nothing: the person was asked after it.
                let is_ended = if pending.has_place() {
                    pending.is_ended(may)
                } else {
                    before.was_logged_out(locked)
                };
                if is_ended {
                    return Err(was_ended());
                }
                pending.hide(may);
                Ok(())
            }
        };
        let stored = match aborted {
            Ok(()) => {
                self.store(
                    config,
                    &location,
                    &credential,
                    storage,
                    cancellation,
                    may_store,
                )
                .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            // Nobody will use these tokens.
            self.revoke_unused(&credential, &client, config).await;
            return Err(error);
        }
        if let Some(deadline) = deadline {
            self.remember_deadline(
                (&location.key(), &Target::default()),
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
        pending: &PendingLogin,
    ) -> Result<Obtained, Error> {
        let given = config;
        let (server, mut config) = Box::pin(AuthorizationServer::resolve(self, config)).await?;
        self.add_required_scopes(&mut config, location).await;
        let config = &config;
        let (client, outcome) = match &config.flow {
            Flow::Offered(_) | Flow::ClientCredentials => return Err(server.offers_no_flow()),
            Flow::DeviceCode => {
                server.device_authorization_endpoint()?;
                let (client, asked) = self.ask_as_client(config, location, &server).await?;
                show(pending, shown(given, &asked)).await?;
                let decision = self
                    .await_decision(config, &server, &client, &asked, observer)
                    .await;
                (client, decision)
            }
            Flow::AuthorizationCode(redirect_uri) => {
                show(pending, shown_page()).await?;
                self.log_in_by_browser(config, redirect_uri, location, &server, observer)
                    .await?
            }
        };
        match outcome {
            Ok(response) => Ok(Obtained {
                config: config.clone(),
                server,
                client,
                response,
            }),
            // Some servers check the client only here. The next login registers a new one.
            Err(error) if config.client_id.is_none() && client_is_unknown(&error) => {
                let known = known(self, location, &server).await?;
                forget(location, &server, &client.id).await?;
                // The next login is one with a secret, where that is what was missed.
                let method = with_a_secret(config, &server).into_iter().next();
                if client.secret.is_none() && wants_a_secret(&error) && method.is_some() {
                    let known = known.iter().find(|known| known.client_id == client.id);
                    let uri = known.and_then(|known| known.redirect_uri.as_deref());
                    let uri = uri.and_then(|uri| RedirectUri::parse(uri).ok());
                    drop(register(self, config, location, &server, uri.as_ref(), method).await);
                }
                Err(error.needing_login())
            }
            Err(error) => Err(error),
        }
    }

    /// Adds the scopes that a resource missed to those of the present login: MCP, step-up authorization flow.
    async fn add_required_scopes(self: &Arc<Self>, config: &mut AuthConfig, location: &Location) {
        let (session, whose) = (Arc::clone(self), location.clone());
        let found = blocking(move |may| {
            let stored = session.look(&whose, may.into()).ok()?;
            let outline = stored.outline()?;
            let required = outline.required_scopes();
            let granted = outline.scopes().filter(|_| !required.is_empty());
            Some([granted.unwrap_or_default(), required].concat())
        });
        for scope in found.await.ok().flatten().unwrap_or_default() {
            if !config.scopes.contains(&scope) {
                config.scopes.push(scope);
            }
        }
    }

    async fn ask_as_client(
        &self,
        config: &AuthConfig,
        location: &Location,
        server: &AuthorizationServer,
    ) -> Result<(Client, Asked), Error> {
        let supported = server.authentication_methods.as_deref();
        if let Some(client) = configured(config, None, supported, server.assertions.clone()) {
            let asked = self.ask_for_code(config, server, &client).await?;
            return Ok((client, asked));
        }
        let register = |method| register(self, config, location, server, None, method);
        let known = known(self, location, server).await?;
        if let Some(client) = known.iter().find(|client| serves(config, client)) {
            let client = as_client(client, server.assertions.clone());
            match self.ask_for_code(config, server, &client).await {
                Ok(asked) => return Ok((client, asked)),
                // A registration that the server has forgotten is renewed, once.
                Err(error) if client_is_unknown(&error) => {
                    forget(location, server, &client.id).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let client = register(None).await?;
        self.ask_as_registered(config, server, client, register)
            .await
    }

    fn as_credential(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        client: &Client,
        response: TokenResponse,
    ) -> NewCredential {
        let now = self.clock.now();
        let token_response = named_members(config, &response, None);
        NewCredential {
            access: response.access,
            refresh: response.refresh,
            expires: response.lifetime.map(|lifetime| now.plus(lifetime)),
            refresh_expires: response.refresh_lifetime.map(|lifetime| now.plus(lifetime)),
            created_at: now,
            refreshed_at: now,
            token_type: response.token_type,
            dpop_key: response.dpop_key,
            // RFC 6749 §5.1: scope is "OPTIONAL, if identical to the scope requested by the client".
            scopes: response
                .scopes
                .map(|scopes| config.split(scopes))
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
            resource_url: response.resource_url,
            resource: server.resource.clone(),
            required_scopes: None,
            token_response,
            userinfo: None,
            subject: response.subject,
        }
    }

    /// Asks who has logged in.
    async fn userinfo(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        credential: &NewCredential,
    ) -> Result<Map<String, Value>, Error> {
        let key = credential.dpop_key.as_ref();
        let key = key.map(DpopKey::from_stored).transpose()?;
        let request = UserinfoRequest {
            endpoint: server.userinfo_endpoint()?,
            access: &credential.access,
            id_token: credential.id_token.as_ref(),
            subject: credential.subject.as_deref(),
            dpop: key.as_ref().map(|key| self.dpop(key)),
        };
        let timeout = config.request_timeout.min(LONGEST_QUESTION);
        userinfo(&*self.http, &request, timeout).await
    }

    /// Where a new login will be kept, an error if it could not be; and what is there now.
    pub(super) async fn storage(
        &self,
        config: &AuthConfig,
        location: &Location,
    ) -> Result<(Storage, Before), Error> {
        let wanted = config.storage;
        if wanted.may_be_keychain() {
            // Before the lock is taken: a person may be slow.
            blocking(unlock_keychain).await?;
        }
        let mut locked = self.lock(location, config.lock_timeout).await?;
        blocking(move |may| {
            locked.reserve(may).map(drop)?;
            Ok((chosen(wanted, &locked, may)?, Before::of(&locked)))
        })
        .await?
    }

    /// Stores a new login in place of the present one, if `may_store` allows it. Once the lock is taken, an abort
    /// comes too late.
    pub(super) async fn store(
        &self,
        config: &AuthConfig,
        location: &Location,
        credential: &NewCredential,
        storage: Storage,
        cancellation: &Cancellation,
        may_store: impl FnOnce(&Locked, MayBlock) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        if matches!(storage, Storage::Keychain(_)) {
            // It may have been locked while the person approved.
            cancellation.guard(blocking(unlock_keychain)).await?;
        }
        let locked = cancellation
            .guard(self.lock(location, config.lock_timeout))
            .await?;
        let checked = blocking(move |may| may_store(&locked, may).map(|()| locked));
        let mut locked = cancellation.guard(checked).await??;
        // From here on an abort comes too late: the login is complete.
        cancellation.commit()?;
        let unsettled = self.settling.unsettled(location.is_saved_by_the_plugin());
        let credential = credential.clone();
        let saved = blocking(move |may| locked.store_login(&credential, storage, may)).await?;
        drop(unsettled);
        // The connection is the former login's.
        drop(self.logins.take_line(&location.key()));
        saved
    }
}

/// Why it is not known who has logged in, which fails no login.
fn noted(error: &Error) -> Value {
    let mut note = Map::new();
    note.insert("code".into(), error.code().as_str().into());
    note.insert("message".into(), error.message().into());
    Value::Object(note)
}

/// Allows any present login to be replaced.
#[expect(clippy::unnecessary_wraps, reason = "what `store` asks may refuse")]
pub(super) fn in_any_case(_: &Locked, _: MayBlock) -> Result<(), Error> {
    Ok(())
}

/// Chooses the storage of this login. It stays until the next login.
fn chosen(wanted: WantedStorage, locked: &Locked, may: MayBlock) -> Result<Storage, Error> {
    match wanted {
        WantedStorage::Unsaid | WantedStorage::File => Ok(Storage::File),
        WantedStorage::Keychain => locked.try_keychain(may),
        WantedStorage::Auto => Ok(locked.try_keychain(may).unwrap_or(Storage::File)),
    }
}
