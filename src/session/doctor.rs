//! Finds what keeps a login from working, and names the next step.

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{MayBlock, blocking};
use crate::error::Error;
use crate::http::{Body, Endpoint, Request, Response};
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::{AuthorizationServerMetadata, discover, well_known_urls};
use crate::oauth::protected_resource::{ProtectedResource, locate};
use crate::oauth::registration::DEVICE_CODE;
use crate::store::inspection::{Finding, Level, inspect, open_secrets};
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::profiles::rivals;
use crate::store::registration::Shelf;
use crate::time::{Clock, UnixMillis};

use super::auth_status::{AuthStatus, State};
use super::authorization_server::check_proofs;
use super::client::serves;
use super::config::{AuthConfig, Flow};
use super::refresh_round::moved_to;
use super::refusals::nobody_logged_in;
use super::{Session, location_request};

/// The difference between the clocks from which on it is reported.
const TOLERATED_SKEW: Duration = Duration::from_secs(30);

const CLIENT: &str = "client";

/// One finding, and whether it was fixed.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) finding: Finding,
    pub(crate) fixed: bool,
}

/// The results of the checks without a server.
struct LocalChecks {
    checks: Vec<Check>,
    client: Option<Finding>,
    /// The issuer of the login in use.
    issuer: Option<String>,
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        Self {
            finding,
            fixed: false,
        }
    }
}

impl Session {
    /// Runs all checks. With `fix`, tightens permissions and finishes or deletes the leftovers of killed processes.
    pub(crate) async fn doctor(
        self: &Arc<Self>,
        config: &AuthConfig,
        fix: bool,
    ) -> Result<Vec<Check>, Error> {
        let (session, whose) = (Arc::clone(self), config.clone());
        let local = blocking(move |may| session.local_checks(&whose, fix, may)).await??;
        let mut checks = local.checks;
        let servers = self.server_checks(config, local.client, local.issuer).await;
        checks.extend(servers.into_iter().map(Check::from));
        Ok(checks)
    }

    /// The checks that need no server, with the client and the login's issuer as far as they are known without one.
    fn local_checks(
        &self,
        config: &AuthConfig,
        fix: bool,
        may: MayBlock,
    ) -> Result<LocalChecks, Error> {
        // A damaged order is one of the findings.
        let accounts = self
            .accounts(config, may.into())
            .unwrap_or_else(|_| vec![config.clone()]);
        let first = self.location(accounts.first().unwrap_or(config), may.into())?;
        let mut checks = vec![Check::from(self.place(config, &first, may))];
        for account in &accounts {
            for check in store_checks(&self.location(account, may.into())?, fix, may) {
                let known = |other: &Check| other.finding.message == check.finding.message;
                if !checks.iter().any(known) {
                    checks.push(check);
                }
            }
        }
        let (logins, in_use) = self.logins(&accounts, may);
        checks.extend(logins.into_iter().map(Check::from));
        let client = client(config, &first, in_use.as_ref(), self.clock.now(), may);
        Ok(LocalChecks {
            checks,
            client,
            issuer: in_use.and_then(|login| login.issuer),
        })
    }

    /// The chosen folder, and any login of this plugin in another folder.
    fn place(&self, config: &AuthConfig, location: &Location, may: MayBlock) -> Finding {
        const NAME: &str = "place";
        let (decided_by, rivals) =
            rivals(location, &location_request(config), &*self.environment, may);
        let found = format!("{decided_by} decides: {location}.");
        match rivals.first() {
            None => Finding::ok(NAME, found),
            Some(rival) => Finding::bad(
                NAME,
                Level::Warning,
                format!("{found} A login of this plugin also lies in {rival}."),
                "Where that is the one you mean, start with the host or the variable (OPENCLAW_STATE_DIR) that it belongs to.",
            ),
        }
    }

    /// The state of every account, and the status of the one that is in use.
    fn logins(&self, accounts: &[AuthConfig], may: MayBlock) -> (Vec<Finding>, Option<AuthStatus>) {
        const NAME: &str = "login";
        let mut in_use = None;
        let mut findings = Vec::new();
        let passed: Vec<_> = accounts
            .iter()
            .map(|account| {
                let reason = self
                    .location(account, may.into())
                    .and_then(|location| self.passed_over(account, &location, may.into()));
                (account, reason)
            })
            .collect();
        let somebody = passed.iter().any(|(_, passed)| matches!(passed, Ok(None)));
        for (account, passed) in passed {
            let status = self
                .location(account, may.into())
                .and_then(|location| self.status_of(account, &location, may.into()));
            findings.push(match (passed, status) {
                (Ok(Some(skipped)), _) => Finding::bad(
                    NAME,
                    if somebody {
                        Level::Warning
                    } else {
                        Level::Error
                    },
                    skipped.message.unwrap_or_else(|| nobody_logged_in(account)),
                    format!("Log in (profile {}).", skipped.profile),
                ),
                (Ok(None), Ok(status)) => {
                    let finding = match self.kept_secrets(account, &status, may) {
                        Ok(()) => self.usable(&status),
                        Err(error) => Finding::error(NAME, error.message()),
                    };
                    in_use.get_or_insert(status);
                    finding
                }
                (Err(error), _) | (_, Err(error)) => Finding::error(NAME, error.message()),
            });
        }
        (findings, in_use)
    }

    /// Asks the keychain, where it holds the tokens: the file alone does not say whether a token can be had.
    fn kept_secrets(
        &self,
        account: &AuthConfig,
        status: &AuthStatus,
        may: MayBlock,
    ) -> Result<(), Error> {
        if status.in_keychain == Some(true) {
            open_secrets(&self.location(account, may.into())?, may)?;
        }
        Ok(())
    }

    fn usable(&self, status: &AuthStatus) -> Finding {
        const NAME: &str = "login";
        let renewal = match (status.refreshable, status.imported) {
            (true, _) => "is renewed by itself",
            (false, true) => "was imported and cannot be renewed",
            (false, false) => "cannot be renewed",
        };
        let end = status.expires_at.map_or_else(
            || "has no known end".to_owned(),
            |expires| ends(expires, self.clock.now()),
        );
        let login = status.login_ends_at.filter(|_| status.refreshable);
        let login = login.map_or_else(String::new, |at| {
            format!(" The login itself {}.", ends(at, self.clock.now()))
        });
        let found = format!(
            "Profile {}: the token {end} and {renewal}.{login}",
            status.profile
        );
        match &status.last_error {
            _ if status.state == State::Expiring => {
                Finding::bad(NAME, Level::Warning, found, "Log in again before it ends.")
            }
            Some(last) => Finding {
                level: Level::Warning,
                ..Finding::ok(NAME, format!("{found} {}", last.message))
            },
            None => Finding::ok(NAME, found),
        }
    }

    async fn server_checks(
        &self,
        config: &AuthConfig,
        client: Option<Finding>,
        of_login: Option<String>,
    ) -> Vec<Finding> {
        const NAME: &str = "server";
        let first = match (
            &config.issuer,
            &config.token_endpoint,
            config.asked_resource(),
        ) {
            (Some(issuer), ..) => well_known_urls(issuer).into_iter().next(),
            (None, Some(endpoint), _) => Some(endpoint.clone()),
            (None, None, resource) => resource.and_then(|url| config.allow_http.endpoint(url).ok()),
        };
        let Some(url) = first else {
            return vec![Finding::ok(
                NAME,
                "The config names none: enough for an imported token, not for a login.",
            )];
        };
        let way = self.http.proxy_of(&url).map_or_else(
            || "without a proxy".to_owned(),
            |proxy| format!("through the proxy {proxy}"),
        );
        let request = Request {
            url: url.clone(),
            body: Body::Probe,
            authorization: None,
            dpop: None,
            timeout: config.request_timeout,
        };
        let started = self.clock.boot();
        let answer = match self.http.send(request).await {
            Ok(answer) => answer,
            Err(failure) => {
                let error = failure.to_error(&url);
                return vec![Finding::error(
                    NAME,
                    &format!("Asked {way}. {}", error.message()),
                )];
            }
        };
        let took = self.clock.boot().since(started);
        let mut findings = vec![
            Finding::ok(
                NAME,
                format!(
                    "{} answered {way}, after {} ms.",
                    url.host(),
                    took.as_millis()
                ),
            ),
            clock(&answer, &*self.clock, took),
        ];
        let timeout = config.request_timeout;
        let metadata = match (&config.issuer, config.asked_resource()) {
            (Some(issuer), _) => discover(&*self.http, issuer, false, timeout)
                .await
                .map(Some),
            (None, Some(resource)) => {
                locate(&*self.http, resource, &config.allow_http, false, timeout)
                    .await
                    .map(|found| {
                        findings.push(resource_finding(resource, &found, of_login.as_deref()));
                        Some(found.server)
                    })
            }
            (None, None) => Ok(None),
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                findings.push(Finding::error("metadata", error.message()));
                return findings;
            }
        };
        findings.push(flow(config, metadata.as_ref()));
        findings.extend(metadata.iter().flat_map(flaws));
        let registers = config.registration_endpoint.is_some()
            || metadata.is_some_and(|metadata| metadata.registration_endpoint.is_some());
        findings.push(client.unwrap_or_else(|| unregistered(registers)));
        findings
    }
}

fn store_checks(location: &Location, fix: bool, may: MayBlock) -> Vec<Check> {
    let before = inspect(location, may);
    let is_fixable = |finding: &Finding| {
        finding.level == Level::Warning && matches!(finding.name, "folder" | "file" | "leftovers")
    };
    let mut after = Vec::new();
    let mut refusal = None;
    if fix && before.iter().any(is_fixable) {
        // Taking the lock is enough: that tightens permissions and finishes or deletes leftovers. If another process
        // holds it, that process has done so, and the check of the lock names it.
        refusal = Locked::try_acquire(location, may)
            .map(|locked| locked.map(|mut locked| locked.forget_secrets_silently(may)))
            .err();
        after = inspect(location, may);
    }
    let mut checks: Vec<Check> = before
        .into_iter()
        .map(|finding| {
            let is_bad = |now: &Finding| now.name == finding.name && now.level != Level::Ok;
            let fixed = is_fixable(&finding) && !after.is_empty() && !after.iter().any(is_bad);
            Check { finding, fixed }
        })
        .collect();
    checks.extend(refusal.map(|error| Finding::error("lock", error.message()).into()));
    checks
}

fn ends(expires: UnixMillis, now: UnixMillis) -> String {
    if expires <= now {
        return "has ended".to_owned();
    }
    let minutes = expires.since(now).as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("ends in {minutes} min"),
        (hours, minutes) if hours < 48 => format!("ends in {hours} h {minutes} min"),
        (hours, _) => format!("ends in {} days", hours / 24),
    }
}

/// RFC 9110 §6.6.1: Date is when the message was originated, in whole seconds.
fn clock(answer: &Response, clock: &dyn Clock, took: Duration) -> Finding {
    const NAME: &str = "clock";
    let Some(theirs) = answer.date else {
        return Finding::ok(NAME, "Not compared: the answer names no date.");
    };
    let theirs = theirs.plus(Duration::from_millis(500));
    let ours = clock.now().minus(took / 2);
    let (apart, which) = if ours > theirs {
        (ours.since(theirs), "ahead of")
    } else {
        (theirs.since(ours), "behind")
    };
    let found = format!("This clock is {} s {which} the server's.", apart.as_secs());
    if apart <= TOLERATED_SKEW {
        return Finding::ok(NAME, found);
    }
    let fix = "Set the clock, for example by NTP: tokens seem to end too early or too late.";
    Finding::bad(NAME, Level::Warning, found, fix)
}

/// The servers that the resource accepts, and whether one of them issued the stored login.
fn resource_finding(resource: &str, found: &ProtectedResource, of_login: Option<&str>) -> Finding {
    const NAME: &str = "resource";
    let issuer = found.server.issuer.as_str();
    match of_login.and_then(|stored| moved_to(resource, stored, issuer)) {
        Some(moved) => Finding::bad(
            NAME,
            Level::Warning,
            moved.trim(),
            "Log in again, unless the old server is to be kept: then give `issuer`.",
        ),
        None => Finding::ok(NAME, format!("{resource} takes tokens of {issuer}.")),
    }
}

/// Flaws that may not affect any login, but that the server's operator should know.
fn flaws(metadata: &AuthorizationServerMetadata) -> Vec<Finding> {
    let flaws = metadata.flaws.iter().map(|flaw| {
        Finding::bad(
            "metadata",
            Level::Warning,
            format!(
                "The metadata's `{}` {}: it counts as missing.",
                flaw.name, flaw.reason
            ),
            "Tell the server's operator; where it is needed, give the endpoint in the config.",
        )
    });
    flaws.collect()
}

fn of_flow(config: &AuthConfig, flow: Flow) -> AuthConfig {
    AuthConfig {
        flow,
        ..config.clone()
    }
}

/// Whether the server has what a login needs.
fn flow(config: &AuthConfig, metadata: Option<&AuthorizationServerMetadata>) -> Finding {
    const NAME: &str = "metadata";
    let has_device = config.device_authorization_endpoint.is_some()
        || metadata.is_some_and(|metadata| metadata.device_authorization_endpoint.is_some());
    let (endpoint, announced, grant, missing) = match config.flow {
        Flow::Offered(_) if has_device => {
            return flow(&of_flow(config, Flow::DeviceCode), metadata);
        }
        Flow::ClientCredentials => {
            return Finding::ok(NAME, "The client itself logs in: nobody is asked.");
        }
        Flow::DeviceCode => (
            &config.device_authorization_endpoint,
            metadata.and_then(|metadata| metadata.device_authorization_endpoint.as_ref()),
            DEVICE_CODE,
            Finding::bad(
                NAME,
                Level::Error,
                "The server names no device authorization endpoint.",
                "Turn the device flow on at the server, or give `deviceAuthorizationEndpoint`.",
            ),
        ),
        Flow::AuthorizationCode(_) | Flow::Offered(_) => (
            &config.authorization_endpoint,
            metadata.and_then(|metadata| metadata.authorization_endpoint.as_ref()),
            "authorization_code",
            Finding::bad(
                NAME,
                Level::Error,
                "The server names no authorization endpoint.",
                "Give `authorizationEndpoint`.",
            ),
        ),
    };
    if endpoint.is_none() && announced.is_none() {
        return missing;
    }
    let Some(metadata) = metadata else {
        return Finding::ok(NAME, "None is needed: the config names the endpoints.");
    };
    if let Err(error) = check_proofs(config, metadata) {
        return Finding::error(NAME, error.message());
    }
    let lacks = |grant: &&str| {
        let supported = metadata.grant_types_supported.as_ref();
        supported.is_some_and(|grants| !grants.iter().any(|known| known == grant))
    };
    let lacking: Vec<&str> = [grant, "refresh_token"].into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        let revocation = metadata
            .revocation_endpoint
            .as_ref()
            .map_or("; it cannot revoke", |_| "");
        return Finding::ok(
            NAME,
            format!("The issuer names itself as configured, and what the login needs{revocation}."),
        );
    }
    Finding::bad(
        NAME,
        Level::Warning,
        format!(
            "The server does not announce the grant types {}.",
            lacking.join(" and ")
        ),
        "Allow them at the server: without refresh_token every login is short, without the other one nobody can log in.",
    )
}

/// The client to log in and refresh as; none where the store knows none. Reads the store.
fn client(
    config: &AuthConfig,
    location: &Location,
    status: Option<&AuthStatus>,
    now: UnixMillis,
    may: MayBlock,
) -> Option<Finding> {
    if config.client_id.is_some() {
        let secret = config.client_secret.as_ref().map_or("without", |_| "with");
        return Some(Finding::ok(
            CLIENT,
            format!("That of the config, {secret} a secret."),
        ));
    }
    let server = config
        .issuer
        .as_ref()
        .map(Issuer::as_str)
        .or(config.token_endpoint.as_ref().map(Endpoint::as_str))?;
    let known = match Shelf::of(location, server).load(may.into()) {
        Ok(known) => known,
        Err(error) => return Some(Finding::error(CLIENT, error.message())),
    };
    let used = status.and_then(|status| status.client_id.as_deref());
    match used.and_then(|id| known.find(id)) {
        Some(client) if client.secret_expires_at.is_some_and(|end| end <= now) => {
            Some(Finding::bad(
                CLIENT,
                Level::Error,
                "The secret of the registered client has ended.",
                "Log in again: that registers a new one.",
            ))
        }
        Some(_) => Some(Finding::ok(CLIENT, "Registered by this library.")),
        None => known
            .usable(now)
            .find(|client| serves(config, client))
            .map(|_| Finding::ok(CLIENT, "The next login uses the one that is kept.")),
    }
}

fn unregistered(server_registers: bool) -> Finding {
    if server_registers {
        return Finding::ok(CLIENT, "The next login registers one.");
    }
    Finding::bad(
        CLIENT,
        Level::Error,
        "There is no `clientId`, and the server offers no registration.",
        "Register a client at the server by hand and give its `clientId`.",
    )
}
