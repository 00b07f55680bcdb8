//! Which client we are: the one of the config, or one that we registered (RFC 7591).

use crate::error::{Error, ErrorCode};
use crate::oauth::client::{Client, ClientAuthentication};
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::registration::{RegistrationRequest, register};
use crate::store::credential::Outline;
use crate::store::location::Location;
use crate::store::registration::StoredClient;

use super::Session;
use super::authorization_server::AuthorizationServer;
use super::blocking::blocking;
use super::config::AuthConfig;

/// The client of the config, if it names one.
pub(super) fn configured(
    config: &AuthConfig,
    registered_authentication: Option<ClientAuthentication>,
    supported: Option<&[String]>,
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
    })
}

/// For a login: the registered client that the store has for the config's flow, or a new one, kept there; and whether it
/// is new.
pub(super) async fn registered(
    session: &Session,
    config: &AuthConfig,
    location: &Location,
    server: &AuthorizationServer,
) -> Result<(Client, bool), Error> {
    let shelf = location.shelf(server.key());
    let now = session.clock.now();
    let load = shelf.clone();
    match blocking(move || load.load()).await? {
        Ok(known) => {
            let redirect_uri = config.redirect_uri().map(RedirectUri::registered);
            if let Some(client) = known.current(now, redirect_uri) {
                return Ok((as_client(client), false));
            }
        }
        // Saving the new client moves the damaged file aside.
        Err(error) if error.code() == ErrorCode::StoreCorrupt => {}
        Err(error) => return Err(error),
    }
    let client = new_registration(session, config, server).await?;
    let stored = client.clone();
    blocking(move || shelf.save_with(stored)).await??;
    Ok((as_client(&client), true))
}

/// Registers a client and keeps it nowhere.
pub(super) async fn new_registration(
    session: &Session,
    config: &AuthConfig,
    server: &AuthorizationServer,
) -> Result<StoredClient, Error> {
    let Some(endpoint) = &server.registration_endpoint else {
        return Err(Error::new(
            ErrorCode::RegistrationFailed,
            format!(
                "{} offers no dynamic client registration. Register a client there by hand and give its `clientId`.",
                server.key()
            ),
        ));
    };
    let request = RegistrationRequest {
        endpoint,
        client_name: &config.client_name,
        authentication: config.client_authentication,
        scopes: &config.scopes,
        redirect_uri: config.redirect_uri().map(RedirectUri::registered),
        metadata: &config.client_metadata,
    };
    let registration = register(&*session.http, &request, config.request_timeout).await?;
    Ok(StoredClient {
        client_id: registration.client.id,
        client_secret: registration.client.secret,
        secret_expires_at: registration.secret_expires_at,
        authentication: registration.client.authentication.as_str().to_owned(),
        redirect_uri: request.redirect_uri.map(str::to_owned),
        registration_client_uri: registration.registration_client_uri,
        registration_access_token: registration.registration_access_token,
        created_at: session.clock.now(),
    })
}

/// Forgets a registered client that the server no longer knows, so that the next login registers anew.
pub(super) async fn forget(
    location: &Location,
    server: &AuthorizationServer,
    client_id: &str,
) -> Result<(), Error> {
    let shelf = location.shelf(server.key());
    let client_id = client_id.to_owned();
    blocking(move || shelf.forget(&client_id)).await?
}

/// The client that a stored credential belongs to, for its refresh and revocation. Reads the store: call it on a blocking thread.
pub(super) fn of_credential(
    config: &AuthConfig,
    location: &Location,
    credential: &Outline,
) -> Result<Option<Client>, Error> {
    let stored_authentication = credential
        .client_authentication()
        .and_then(ClientAuthentication::from_name);
    if config.client_id.is_some() {
        // A secret that came or went since the login changes what the recorded method can mean.
        let recorded = stored_authentication.filter(|authentication| {
            (*authentication == ClientAuthentication::None) == config.client_secret.is_none()
        });
        return Ok(configured(config, recorded, None));
    }
    let Some(client_id) = credential.client_id() else {
        return Ok(None);
    };
    let server = credential.issuer().or_else(|| credential.token_endpoint());
    if let Some(server) = server.filter(|_| credential.registered_client()) {
        let registrations = location.shelf(server).load()?;
        if let Some(client) = registrations.find(client_id) {
            return Ok(Some(as_client(client)));
        }
    }
    Ok(Some(Client {
        id: client_id.to_owned(),
        secret: None,
        authentication: ClientAuthentication::None,
    }))
}

pub(super) fn as_client(stored: &StoredClient) -> Client {
    Client {
        id: stored.client_id.clone(),
        secret: stored.client_secret.clone(),
        authentication: Client::choose_authentication(
            None,
            ClientAuthentication::from_name(&stored.authentication),
            None,
            stored.client_secret.is_some(),
        ),
    }
}
