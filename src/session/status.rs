//! Describes the stored login, without a token and without a network call.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::blocking::{Glance, Look, blocking};
use crate::error::{Error, ErrorCode};
use crate::oauth::server_text::Secrets;
use crate::store::cache::{Listing, Slot};
use crate::store::credential::{LastRefresh, Outline, Snapshot, Stored};
use crate::store::key::Key;
use crate::store::location::Location;
use crate::time::{BootInstant, UnixMillis, rfc3339};

use super::Session;
use super::accounts::Chosen;
use super::adoption::bind;
use super::auth_status::{Account, AuthStatus, LastError, PassedOver, State};
use super::config::AuthConfig;
use super::freshness::Freshness;
use super::last_refresh::{is_refused_access_token, learned};
use super::login_state::Unsaved;
use super::ownership;
use super::refusals::{nobody_around, whose_profile};
use super::scopes::is_granted;
use super::target::Target;

/// A login that ends within this is `expiring`.
const EXPIRING: Duration = Duration::from_hours(24);

impl Session {
    /// The status of the account that is in use.
    pub(crate) async fn status(self: &Arc<Self>, config: &AuthConfig) -> Result<AuthStatus, Error> {
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| {
            let names = session.names(&config, may.into())?;
            session.status_of_first(&config, &names, may.into())
        })
        .await?
    }

    /// Describes the login where that needs no wait.
    pub(crate) fn status_at_once(&self, config: &AuthConfig, glance: Glance) -> Option<AuthStatus> {
        let look = Look::Short(glance);
        // All accounts of an order are on the same disk.
        let names = self.names(config, look).ok()?;
        let location = self.location(config, look).ok()?;
        let first = match location.beside(names.first()?) {
            Some(first) => first.ok()?,
            None => location,
        };
        self.is_at_hand(&first)
            .then(|| self.status_of_first(config, &names, look).ok())?
    }

    fn status_of_first(
        &self,
        config: &AuthConfig,
        names: &[String],
        look: Look,
    ) -> Result<AuthStatus, Error> {
        let Chosen {
            config,
            location,
            skipped,
            status,
        } = self.choose_of(config, names, look)?;
        let mut status = match status {
            Some(status) => *status,
            None => self.status_of(&config, &location, look)?,
        };
        if !skipped.is_empty() {
            status.passed_over = Some(Box::new(PassedOver {
                nobody: nobody_around(&config, ""),
                accounts: skipped,
            }));
        }
        Ok(status)
    }

    fn is_at_hand(&self, location: &Location) -> bool {
        self.cache.is_at_hand(location, self.clock.boot())
    }

    /// What `told` makes of the status of every profile of the plugin that is logged in or needs attention.
    pub(crate) async fn list_profiles<T: Send + 'static>(
        self: &Arc<Self>,
        config: &AuthConfig,
        told: impl FnOnce(&mut dyn Iterator<Item = AuthStatus>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| {
            let location = session.location(&config, may.into())?;
            let listing = if let Some(listing) = session.cache.list(&location, may.into())? {
                listing
            } else {
                let accounts = session.accounts(&config, may.into())?;
                let locations = accounts
                    .iter()
                    .map(|account| session.location(account, may.into()));
                let locations: Vec<_> = locations.collect::<Result<_, _>>()?;
                session.cache.listing(&locations)
            };
            Ok(told(&mut session.statuses_of(
                &config,
                &listing,
                may.into(),
            )))
        })
        .await?
    }

    /// Lists the profiles where that needs no wait and does not keep others waiting: only a few.
    pub(crate) fn profiles_at_once<T>(
        &self,
        config: &AuthConfig,
        glance: Glance,
        told: impl FnOnce(&mut dyn Iterator<Item = AuthStatus>) -> T,
    ) -> Option<T> {
        let look = Look::Short(glance);
        let location = self.location(config, look).ok()?;
        // The profiles of a plugin's folder.
        location.beside(&config.profile)?.ok()?;
        let listing = self.cache.list(&location, look).ok()??;
        let boot = self.clock.boot();
        let is_at_hand =
            !listing.slots.is_empty() && listing.slots.iter().all(|slot| slot.is_at_hand(boot));
        is_at_hand.then(|| told(&mut self.statuses_of(config, &listing, look)))
    }

    /// One after another: of a thousand, no more than two are ever in memory.
    fn statuses_of<'a>(
        &'a self,
        config: &'a AuthConfig,
        listing: &'a Listing,
        look: Look,
    ) -> impl Iterator<Item = AuthStatus> + 'a {
        let boot = self.clock.boot();
        let all = listing.slots.iter().filter_map(move |slot| {
            self.status_in(config, slot, Some(listing), (look, boot))
                // One damaged file must not hide the other accounts.
                .unwrap_or_else(|error| {
                    Some(AuthStatus {
                        state: State::LoginRequired,
                        last_error: Some(LastError {
                            code: error.code(),
                            message: error.message().to_owned(),
                            at: self.clock.now(),
                        }),
                        ..nothing(slot.location())
                    })
                })
        });
        all.filter(|status| status.state != State::LoggedOut)
    }

    /// The status of one account. Call it on a thread that may block.
    pub(super) fn status_of(
        &self,
        config: &AuthConfig,
        location: &Location,
        look: Look,
    ) -> Result<AuthStatus, Error> {
        let status = self.status_unless_out(config, location, look, self.clock.boot())?;
        Ok(status.unwrap_or_else(|| nothing(location)))
    }

    /// The same; none of a login that was logged out here.
    pub(super) fn status_unless_out(
        &self,
        config: &AuthConfig,
        location: &Location,
        look: Look,
        boot: BootInstant,
    ) -> Result<Option<AuthStatus>, Error> {
        self.status_in(config, &self.cache.slot_of(location), None, (look, boot))
    }

    fn status_in(
        &self,
        config: &AuthConfig,
        slot: &Slot,
        of: Option<&Listing>,
        (look, boot): (Look, BootInstant),
    ) -> Result<Option<AuthStatus>, Error> {
        let (location, key) = (slot.location(), slot.key());
        let (unsaved, local_lock) = self.logins.told(key);
        let in_memory = InMemory {
            unsaved,
            local_lock,
        };
        let stored = match &in_memory.unsaved {
            Some(waiting) => Stored::Credential(waiting.credential.clone()),
            None => self.cache.read_slot(slot, of, look, boot)?.0,
        };
        if let Some(credential) = stored.outline() {
            let last = learned(config, location, credential, look)
                // Whether the failure applies cannot be decided without the client's file, so it is reported.
                .unwrap_or_else(|_| credential.last_refresh().cloned());
            let ended = match &stored {
                Stored::Credential(credential) => self.has_ended(key, credential),
                // Without its tokens it is known by its wall time alone.
                _ => credential
                    .expires()
                    .is_some_and(|expires| expires <= self.clock.now()),
            };
            let claims = match &stored {
                Stored::Credential(opened) => opened.claims(),
                _ => None,
            };
            let status = AuthStatus {
                account: account(credential, claims.as_ref()),
                ..self.describe(config, location, in_memory, credential, ended, last)
            };
            return Ok(Some(match ownership::check(config, credential) {
                Ok(()) => status,
                // No call hands it out.
                Err(error) => AuthStatus {
                    state: State::LoginRequired,
                    last_error: Some(LastError {
                        code: error.code(),
                        message: error.message().to_owned(),
                        at: self.clock.now(),
                    }),
                    ..status
                },
            }));
        }
        if stored == Stored::LoggedOut {
            return Ok(None);
        }
        // A login that the next getValidAccessToken would adopt counts as logged in; status itself changes nothing.
        let adoptable = self
            .handwritten(config, location, look)
            .ok()
            .flatten()
            .and_then(|handwritten| bind(config, handwritten.credential(self.clock.now())).ok());
        Ok(Some(adoptable.map_or_else(
            || nothing(location),
            |credential| {
                let credential = credential.snapshot();
                let ended = self.has_ended(key, &credential);
                AuthStatus {
                    account: account(&credential, None),
                    ..self.describe(config, location, in_memory, &credential, ended, None)
                }
            },
        )))
    }

    fn has_ended(&self, key: &Key, credential: &Snapshot) -> bool {
        self.assess_of(key, &Target::default(), credential, Duration::ZERO)
            .freshness
            == Freshness::Expired
    }

    /// All but the account.
    fn describe(
        &self,
        config: &AuthConfig,
        location: &Location,
        in_memory: InMemory,
        credential: &Outline,
        ended: bool,
        last_refresh: Option<LastRefresh>,
    ) -> AuthStatus {
        let now = self.clock.now();
        let refreshable = credential.is_refreshable();
        let refused = last_refresh.as_ref().is_some_and(|last| {
            last.code == ErrorCode::LoginRequired
                && (refreshable || is_refused_access_token(credential, last, now))
        });
        let login_ends_at = login_end(credential);
        let ends_soon = login_ends_at.is_some_and(|end| end.since(now) <= EXPIRING);
        let is_over = refreshable && ended && login_ends_at.is_some_and(|end| end <= now);
        let state = if is_over || refused && (refreshable || !ended) {
            State::LoginRequired
        } else if ended && !refreshable {
            State::Expired
        } else if ends_soon {
            State::Expiring
        } else {
            State::Valid
        };
        let InMemory {
            unsaved,
            local_lock,
        } = in_memory;
        let in_keychain = unsaved.is_none().then(|| credential.is_in_keychain());
        let last_error = match unsaved {
            Some(waiting) => Some(LastError {
                code: waiting.cause.code(),
                message: format!(
                    "The refreshed login is not saved yet and lives in this process alone. {}",
                    waiting.cause.message()
                ),
                at: credential.refreshed_at(),
            }),
            None => last_refresh
                .map(|last| LastError {
                    code: last.code,
                    message: last.message,
                    at: last.failed_at,
                })
                .or_else(|| over(config, location, login_ends_at.filter(|_| is_over)))
                .or_else(|| unnamed(credential))
                .or_else(|| local_lock.map(|since| local_only(location, since))),
        };
        AuthStatus {
            state,
            issuer: credential.issuer().map(str::to_owned),
            client_id: credential.client_id().map(str::to_owned),
            scopes: credential.scopes().map(<[String]>::to_vec),
            token_response: credential.token_response().cloned(),
            missing_scopes: missing_scopes(config, credential),
            expires_at: credential.expires(),
            login_ends_at,
            refreshable,
            dpop: credential.is_bound(),
            imported: credential.imported(),
            created_at: known(credential.created_at()),
            refreshed_at: known(credential.refreshed_at()),
            last_error,
            in_keychain,
            ..nothing(location)
        }
    }
}

/// The state that this process keeps of a login beside the stored one.
struct InMemory {
    unsaved: Option<Unsaved>,
    local_lock: Option<UnixMillis>,
}

/// A lock that excludes less than it should (docs/design.md 3.5).
fn local_only(location: &Location, since: UnixMillis) -> LastError {
    LastError {
        code: ErrorCode::StoreIo,
        message: format!(
            "The file system of {location} has no locks, so only the processes of this user on this machine refresh in turn. \
             Keep the credential on a local disk if other machines use it too."
        ),
        at: since,
    }
}

/// When the login itself ends: with the later of its tokens, where nothing can renew it after that.
fn login_end(credential: &Outline) -> Option<UnixMillis> {
    // Without a known end it is good until it is rejected.
    let access = credential.expires()?;
    if !credential.is_refreshable() {
        return Some(access);
    }
    credential
        .refresh_expires()
        .map(|refresh| refresh.max(access))
}

/// The end of a login that needs no question to the server.
fn over(config: &AuthConfig, location: &Location, end: Option<UnixMillis>) -> Option<LastError> {
    end.map(|at| LastError {
        code: ErrorCode::LoginRequired,
        message: format!(
            "The login of {} has ended: the server gave its refresh token until {}. Log in again.",
            whose_profile(config, location.profile()),
            rfc3339(at)
        ),
        at,
    })
}

/// Why the account is not known, though the login has asked for it.
fn unnamed(credential: &Outline) -> Option<LastError> {
    let said = |name| credential.userinfo()?.get(name)?.as_str();
    Some(LastError {
        code: ErrorCode::from_name(said("code")?)?,
        message: format!(
            "The login works, but its account could not be asked for. {}",
            said("message")?
        ),
        at: credential.created_at(),
    })
}

/// The account of a login: by the token answer, by the userinfo endpoint, and by the claims of the ID token, where that
/// is available.
fn account(credential: &Outline, claims: Option<&Map<String, Value>>) -> Option<Account> {
    let asked = credential.userinfo().and_then(Value::as_object);
    let claim = |name| {
        let value = asked.and_then(|asked| asked.get(name));
        let value = value.or_else(|| claims?.get(name));
        Secrets::default().description(value?.as_str()?)
    };
    let account = Account {
        id: credential
            .subject()
            .map(str::to_owned)
            .or_else(|| claim("sub")),
        // OpenID Connect Core §5.1: `name` is "in displayable form", `preferred_username` what the person "wishes to
        // be referred to".
        name: claim("name").or_else(|| claim("preferred_username")),
        email: claim("email"),
    };
    let Account { id, name, email } = &account;
    (id.is_some() || name.is_some() || email.is_some()).then_some(account)
}

/// Other programs' files do not say it.
fn known(time: UnixMillis) -> Option<UnixMillis> {
    (time != UnixMillis::default()).then_some(time)
}

fn nothing(location: &Location) -> AuthStatus {
    AuthStatus {
        state: State::LoggedOut,
        profile: location.profile().to_owned(),
        path: location.to_string(),
        issuer: None,
        client_id: None,
        scopes: None,
        account: None,
        token_response: None,
        missing_scopes: None,
        expires_at: None,
        login_ends_at: None,
        refreshable: false,
        dpop: false,
        imported: false,
        created_at: None,
        refreshed_at: None,
        in_keychain: None,
        last_error: None,
        passed_over: None,
    }
}

/// Scopes that the config or a resource asks for and the credential lacks; none if nothing is missing, or nothing is
/// known.
fn missing_scopes(config: &AuthConfig, credential: &Outline) -> Option<Vec<String>> {
    let granted = credential.scopes()?;
    let wanted = config.scopes.iter().chain(credential.required_scopes());
    let missing: Vec<String> = wanted
        .filter(|wanted| !is_granted(wanted, granted, credential.is_refreshable()))
        .cloned()
        .collect();
    (!missing.is_empty()).then_some(missing)
}
