//! The client of a login: the one of the config, or one registered here (RFC 7591).

use crate::blocking::{Look, blocking};
use crate::error::{Error, ErrorCode};
use crate::oauth::client::ClientAuthentication::PrivateKeyJwt;
use crate::oauth::client::{Assertions, Client, ClientAuthentication};
use crate::oauth::metadata::REGISTRATION;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::registration::{self, RegistrationRequest};
use crate::store::credential::Outline;
use crate::store::location::Location;
use crate::store::registration::{Shelf, StoredClient};

use super::Session;
use super::authorization_server::{AuthorizationServer, client_key};
use super::config::{AuthConfig, Flow};

/// The client of the config, if it names one.
pub(super) fn configured(
    config: &AuthConfig,
    registered_authentication: Option<ClientAuthentication>,
    supported: Option<&[String]>,
    assertions: Option<Assertions>,
) -> Option<Client> {
    Some(Client {
        id: config.client_id.clone()?,
        secret: config.client_secret.clone(),
        authentication: Client::choose_authentication(
            config.client_authentication,
            registered_authentication,
            supported,
            config.client_secret.is_some(),
        ),
        assertions,
    })
}

/// The authentications to register for after the server refused a client that has no secret. RFC 8414 §2:
/// `token_endpoint_auth_methods_supported` is 'If omitted, the default is "`client_secret_basic`"'.
pub(super) fn with_a_secret(
    config: &AuthConfig,
    server: &AuthorizationServer,
) -> Vec<ClientAuthentication> {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost};
    if config.client_authentication.is_some() {
        return Vec::new();
    }
    let Some(supported) = &server.authentication_methods else {
        return vec![ClientSecretBasic];
    };
    let mut methods = vec![ClientSecretBasic, ClientSecretPost];
    methods.retain(|method| supported.iter().any(|name| name == method.as_str()));
    methods
}

/// The usable clients that the store has for this server, newest first.
pub(super) async fn known(
    session: &Session,
    location: &Location,
    server: &AuthorizationServer,
) -> Result<Vec<StoredClient>, Error> {
    let shelf = Shelf::of(location, server.key());
    let now = session.clock.now();
    match blocking(move |may| shelf.load(may.into())).await? {
        Ok(known) => Ok(known.usable(now).cloned().collect()),
        // Saving the new client moves the damaged file aside.
        Err(error) if error.code() == ErrorCode::StoreCorrupt => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether the registered client may ask for the config's scopes: RFC 7591 §2 `scope` is what "the client can use".
pub(super) fn may_ask(config: &AuthConfig, client: &StoredClient) -> bool {
    let registered = client.scopes.as_ref();
    registered.is_none_or(|registered| config.scopes.iter().all(|scope| registered.contains(scope)))
}

/// Whether the registered client does for the config's flow and scopes.
pub(super) fn serves(config: &AuthConfig, client: &StoredClient) -> bool {
    if !may_ask(config, client) {
        return false;
    }
    match (config.redirect_uri(), &client.redirect_uri) {
        (Some(wanted), Some(registered)) => wanted.served_by(registered).is_some(),
        (Some(_), None) => matches!(config.flow, Flow::Offered(_)),
        (wanted, registered) => wanted.is_none() && registered.is_none(),
    }
}

/// Registers a client with that redirect URI, for that authentication where one is named, and keeps it.
pub(super) async fn register(
    session: &Session,
    config: &AuthConfig,
    location: &Location,
    server: &AuthorizationServer,
    redirect_uri: Option<&RedirectUri>,
    authentication: Option<ClientAuthentication>,
) -> Result<Client, Error> {
    let shelf = Shelf::of(location, server.key());
    let client = new_registration(session, config, server, redirect_uri, authentication).await?;
    let stored = client.clone();
    blocking(move |may| shelf.save_with(&stored, may)).await??;
    Ok(as_client(&client, server.assertions.clone()))
}

/// Registers a client and keeps it nowhere.
pub(super) async fn new_registration(
    session: &Session,
    config: &AuthConfig,
    server: &AuthorizationServer,
    redirect_uri: Option<&RedirectUri>,
    authentication: Option<ClientAuthentication>,
) -> Result<StoredClient, Error> {
    let Some(endpoint) = &server.registration_endpoint else {
        let next = "Give `registrationEndpoint`, or register a client there by hand and give its `clientId`.";
        if let Some(error) = server.flaw(REGISTRATION, next) {
            return Err(error);
        }
        let (and, document) = match (server.takes_client_documents, &config.client_metadata_url) {
            // MCP, client registration: the document goes before registration.
            (true, _) => (
                "",
                " Or host a client id metadata document, which it takes, and give its URL as `clientMetadataUrl`.",
            ),
            (false, Some(_)) => (
                " and takes no client id metadata document (`clientMetadataUrl`)",
                "",
            ),
            (false, None) => ("", ""),
        };
        return Err(Error::new(
            ErrorCode::RegistrationFailed,
            format!(
                "{} offers no dynamic client registration{and}. Register a client there by hand and give its `clientId`.{document}",
                server.key()
            ),
        ));
    };
    let request = RegistrationRequest {
        endpoint,
        client_name: &config.client_name,
        authentication: config.client_authentication.or(authentication),
        supported: server.authentication_methods.as_deref(),
        scopes: &config.scopes,
        redirect_uri: redirect_uri.map(RedirectUri::as_str),
        jwks: server.assertions.as_ref().map(|made| made.key.jwks()),
        metadata: &config.client_metadata,
    };
    let timeout = config.request_timeout;
    let ask = || registration::register(&*session.http, &request, timeout);
    let registration = session.patiently(timeout, ask).await?;
    Ok(StoredClient {
        client_id: registration.client.id,
        client_secret: registration.client.secret,
        secret_expires_at: registration.secret_expires_at,
        authentication: registration.client.authentication.as_str().to_owned(),
        redirect_uri: request.redirect_uri.map(str::to_owned),
        scopes: (!config.scopes.is_empty()).then(|| config.scopes.clone()),
        registration_client_uri: registration.registration_client_uri,
        registration_access_token: registration.registration_access_token,
        created_at: session.clock.now(),
    })
}

/// Forgets a registered client that the server no longer knows, so that the next login registers a new one.
pub(super) async fn forget(
    location: &Location,
    server: &AuthorizationServer,
    client_id: &str,
) -> Result<(), Error> {
    let shelf = Shelf::of(location, server.key());
    let client_id = client_id.to_owned();
    blocking(move |may| shelf.forget(&client_id, may)).await?
}

/// The client that a stored credential belongs to, for its refresh and revocation. Reads the store: call it on a
/// blocking thread.
pub(super) fn of_credential(
    config: &AuthConfig,
    location: &Location,
    credential: &Outline,
    look: Look,
) -> Result<Option<Client>, Error> {
    let stored_authentication = credential
        .client_authentication()
        .and_then(ClientAuthentication::from_name);
    let assertions = stored_assertions(config, credential, look)?;
    if config.client_id.is_some() {
        // A secret that came or went since the login changes what the recorded method can mean.
        let recorded = stored_authentication.filter(|authentication| {
            authentication.needs_a_secret() == config.client_secret.is_some()
        });
        return Ok(configured(config, recorded, None, assertions));
    }
    let Some(client_id) = credential.client_id() else {
        return Ok(None);
    };
    let server = credential.issuer().or_else(|| credential.token_endpoint());
    if let Some(server) = server.filter(|_| credential.registered_client()) {
        let registrations = Shelf::of(location, server).load(look)?;
        if let Some(client) = registrations.find(client_id) {
            return Ok(Some(as_client(client, assertions)));
        }
    }
    let has_key = config.client_key.is_some() && stored_authentication == Some(PrivateKeyJwt);
    Ok(Some(Client {
        id: client_id.to_owned(),
        secret: None,
        authentication: if has_key {
            PrivateKeyJwt
        } else {
            ClientAuthentication::None
        },
        assertions,
    }))
}

/// The means by which the client of a stored login authenticates at its server. A caller that may not wait sends
/// nothing.
fn stored_assertions(
    config: &AuthConfig,
    credential: &Outline,
    look: Look,
) -> Result<Option<Assertions>, Error> {
    let (Some(path), Some(may)) = (&config.client_key, look.may_block()) else {
        return Ok(None);
    };
    let audience = credential.issuer().or_else(|| credential.token_endpoint());
    Ok(Some(Assertions {
        key: client_key(path, may)?,
        audience: audience.unwrap_or_default().to_owned(),
        clock: None,
    }))
}

pub(super) fn as_client(stored: &StoredClient, assertions: Option<Assertions>) -> Client {
    Client {
        id: stored.client_id.clone(),
        secret: stored.client_secret.clone(),
        authentication: Client::choose_authentication(
            None,
            ClientAuthentication::from_name(&stored.authentication),
            None,
            stored.client_secret.is_some(),
        ),
        assertions,
    }
}
