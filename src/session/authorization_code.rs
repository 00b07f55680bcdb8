//! The authorization code flow (RFC 6749 §4.1) as a native app does it (RFC 8252): the browser comes back to a port of
//! this machine, or the person brings what it shows.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::http::callback_listener::{Arrival, CallbackListener, Page, Visit};
use crate::http::{BoxFuture, Endpoint};
use crate::oauth::authorization_code::{AuthorizationCodeRequest, NotRedeemed, redeem};
use crate::oauth::authorization_request::{AuthorizationRequest, asks_for_consent, pushed_url};
use crate::oauth::authorization_response::{
    Expected, NoCode, Pasted, read, read_pasted, refuses_prompt,
};
use crate::oauth::client::{Client, ClientAuthentication};
use crate::oauth::device_access_token::sleep_until;
use crate::oauth::dpop::DpopKey;
use crate::oauth::pkce::PkceVerifier;
use crate::oauth::pushed_authorization::push;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::token_response::TokenResponse;
use crate::secret::{Secret, random_secret};
use crate::store::location::Location;
use crate::time::UnixMillis;

use super::Session;
use super::authorization_server::AuthorizationServer;
use super::client::{as_client, configured, forget, known, may_ask, register};
use super::config::{AuthConfig, invalid};
use super::device_tokens::{Observer, Progress, ProgressKind, client_is_unknown};
use super::remote::is_remote;
use super::verification::Verification;

/// How long a person has to approve.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// The most notices to the person about refused requests: any website can make a browser send some.
const MOST_NOTICES: u32 = 3;
/// How often the person is asked for what the browser shows.
const MOST_PASTES: u32 = 3;

// The code stays in the browser's history. It is spent before one of these is shown, and was worth nothing without the
// verifier, which never leaves this process. To clean the address by a redirect, the port would have to stay open for
// longer.
const APPROVED: Page = Page {
    status: "200 OK",
    heading: "The login was approved",
    text: "You can close this page and return to where you started the login.",
};
const FAILED: Page = Page {
    status: "400 Bad Request",
    heading: "The login failed",
    text: "Return to where you started it: the reason is shown there.",
};
const ONCE_MORE: Page = Page {
    status: "200 OK",
    heading: "The login goes on with another page",
    text: "The server did not take the first request. Return to where you started the login: the other page is opened or named there.",
};
const NOT_OURS: Page = Page {
    status: "400 Bad Request",
    heading: "This page belongs to no login",
    text: "A login that waits for you is not changed by it. Return to where you started it.",
};

/// One login: the values that go out with the browser and the ones that must come back.
struct Attempt<'a> {
    config: &'a AuthConfig,
    server: &'a AuthorizationServer,
    client: &'a Client,
    redirect_uri: RedirectUri,
    /// `scope`, as it is sent.
    scope: String,
    all_resources: Vec<String>,
    state: Secret,
    pkce: PkceVerifier,
    /// The key that the tokens will be bound to.
    dpop_key: Option<DpopKey>,
}

/// The events that the login waits for, all at once.
struct Wait<'a> {
    listener: Option<CallbackListener>,
    pasting: Option<BoxFuture<'a, Secret>>,
    redeeming: Option<BoxFuture<'a, Outcome>>,
    /// A request that is pushed for a browser that waits.
    pushing: Option<(Visit, BoxFuture<'a, Result<String, Error>>)>,
    /// Ignored while a code is redeemed.
    deadline: BoxFuture<'a, ()>,
}

/// The first event.
enum Event {
    Visit(Visit),
    Start(Visit),
    Pushed(Visit, Result<String, Error>),
    Refused(&'static str),
    Pasted(Secret),
    Redeemed(Outcome),
    Late,
}

type Outcome = Result<TokenResponse, NotRedeemed>;

impl Session {
    /// Lets the person approve in a browser. The outcome is that of redeeming the code, if it came to that.
    pub(super) async fn log_in_by_browser(
        &self,
        config: &AuthConfig,
        redirect_uri: &RedirectUri,
        location: &Location,
        server: &AuthorizationServer,
        observer: &dyn Observer,
    ) -> Result<(Client, Result<TokenResponse, Error>), Error> {
        server.authorization_endpoint()?;
        let can_paste = observer.can_paste();
        let (client, landing) = match configured(
            config,
            None,
            server.authentication_methods.as_deref(),
            server.assertions.clone(),
        ) {
            Some(client) => (client, Landing::take(redirect_uri, can_paste)?),
            None => {
                self.registered_client(config, redirect_uri, can_paste, location, server)
                    .await?
            }
        };
        let attempt = Attempt::new(config, server, &client, landing.redirect_uri)?;
        let outcome = self
            .attempt_login(&attempt, landing.listener, observer)
            .await?;
        Ok((client, outcome))
    }

    /// A client that the server still knows, with the redirect URI that it registered. If the server did not know one
    /// of them, only the person would see that, on a page that does not send the browser back (RFC 6749 §4.1.2.1). So
    /// the port is taken before a client registers it, and a kept client is checked at the token endpoint first, with
    /// an invalid code.
    async fn registered_client(
        &self,
        config: &AuthConfig,
        wanted: &RedirectUri,
        can_paste: bool,
        location: &Location,
        server: &AuthorizationServer,
    ) -> Result<(Client, Landing), Error> {
        loop {
            let known = known(self, location, server).await?;
            // Where another login has the port of one client, the next has another.
            let usable = known.iter().filter(|client| may_ask(config, client));
            let kept = usable.into_iter().find_map(|client| {
                let uri = wanted.served_by(client.redirect_uri.as_deref()?)?;
                let may_paste = can_paste && uri == *wanted;
                let client = as_client(client, server.assertions.clone());
                Some((client, Landing::take(&uri, may_paste).ok()?))
            });
            let Some((client, landing)) = kept else {
                let landing = Landing::take(wanted, can_paste)?;
                let uri = Some(&landing.redirect_uri);
                let client = register(self, config, location, server, uri, None).await?;
                return Ok((client, landing));
            };
            let attempt = Attempt::new(config, server, &client, landing.redirect_uri.clone())?;
            match self.redeem_code(&attempt, random_secret()?).await {
                Err(NotRedeemed::Unspent(error)) => return Err(error),
                Err(NotRedeemed::Failed(error)) if client_is_unknown(&error) => {
                    forget(location, server, &client.id).await?;
                }
                _ => return Ok((client, landing)),
            }
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one loop over all that may happen first, which share its state"
    )]
    async fn attempt_login(
        &self,
        attempt: &Attempt<'_>,
        listener: Option<CallbackListener>,
        observer: &dyn Observer,
    ) -> Result<Result<TokenResponse, Error>, Error> {
        let expires_at = self.clock.now().plus(LONGEST_WAIT);
        let is_remote = || {
            observer
                .is_remote()
                .unwrap_or_else(|| is_remote(&*self.environment))
        };
        let asks = observer.can_paste() && (listener.is_none() || is_remote());
        let mut asks_for_consent = asks_for_consent(
            &attempt.config.scopes,
            &attempt.config.authorization_parameters,
        );
        // Where the browser comes here first, it is sent on with a request that was pushed at that moment: the server
        // may keep one for no more than a minute.
        let start = listener
            .as_ref()
            .filter(|_| !asks && attempt.server.pushed_endpoint.is_some());
        let start = start.map(CallbackListener::start_url);
        let must_push = attempt.server.requires_pushed_requests;
        let show = |consent: bool| {
            let start = start.clone();
            async move {
                let url = match start {
                    Some(start) => start,
                    None if must_push => self.pushed(attempt, consent).await?,
                    None => attempt.request(consent)?.url(),
                };
                let left = expires_at.since(self.clock.now());
                observer.verification(Verification::of_page(url, expires_at, left, asks));
                Ok::<(), Error>(())
            }
        };
        show(asks_for_consent).await?;
        let mut report = Report {
            observer,
            expires_at,
            notices: MOST_NOTICES,
        };
        report.progress(ProgressKind::Waiting, None);
        let deadline = self.clock.boot().plus(LONGEST_WAIT);
        let mut wait = Wait {
            listener,
            pasting: None,
            redeeming: None,
            pushing: None,
            deadline: Box::pin(sleep_until(&*self.clock, deadline)),
        };
        let mut tries = MOST_PASTES;
        let mut ask = |wrong: &str| {
            // Said once more with the question, or with the end of it.
            if tries == 0 {
                return Err(pasted_in_vain(wrong));
            }
            tries -= 1;
            Ok(Some(observer.paste(attempt.question(wrong))))
        };
        if asks {
            wait.pasting = ask("")?;
        }
        let mut visits = Vec::new();
        let mut sent: Option<Pasted> = None;
        loop {
            let pasted = match poll_fn(|context| wait.poll(context)).await {
                Event::Late => return Err(nobody_came(attempt)),
                Event::Start(visit) if sent.is_some() => {
                    visit.answer(&NOT_OURS);
                    continue;
                }
                Event::Start(visit) => {
                    wait.pushing = Some((visit, Box::pin(self.pushed(attempt, asks_for_consent))));
                    continue;
                }
                Event::Pushed(visit, Ok(url)) => {
                    visit.send_on(&url);
                    continue;
                }
                Event::Pushed(visit, Err(error)) => {
                    if asks_for_consent && refuses_prompt(&error) {
                        asks_for_consent = false;
                        wait.pushing = Some((visit, Box::pin(self.pushed(attempt, false))));
                        continue;
                    }
                    visit.answer(&FAILED);
                    return Err(error);
                }
                Event::Refused(reason) => {
                    report.refused(reason);
                    continue;
                }
                Event::Redeemed(outcome) => {
                    for visit in visits.drain(..) {
                        Visit::answer(visit, if outcome.is_ok() { &APPROVED } else { &FAILED });
                    }
                    let is_ours = sent.take().is_some_and(|sent| sent.is_ours);
                    match outcome {
                        // The text was not the code, and the person who pasted it can correct it.
                        Err(NotRedeemed::CodeRefused(_)) if !is_ours => {
                            wait.pasting = ask("is no code that the server knows")?;
                            continue;
                        }
                        outcome => return Ok(outcome.map_err(NotRedeemed::into_error)),
                    }
                }
                Event::Visit(visit) => {
                    match (
                        read(visit.query.expose(), &attempt.expected(asks_for_consent)),
                        &sent,
                    ) {
                        // Loaded again meanwhile: the same page, once there is one, and no second request.
                        (Ok(code), Some(sent)) if code.is(&sent.code) => {
                            visits.push(visit);
                            continue;
                        }
                        // A code with the right `state` goes before one without a `state`.
                        (Ok(code), None | Some(Pasted { is_ours: false, .. })) => {
                            visits.push(visit);
                            Pasted {
                                code,
                                is_ours: true,
                            }
                        }
                        (Err(NoCode::Refused(error)), None) => {
                            // An optional parameter is no reason to fail: try once without it.
                            if asks_for_consent && refuses_prompt(&error) {
                                asks_for_consent = false;
                                visit.answer(&ONCE_MORE);
                                show(asks_for_consent).await?;
                                continue;
                            }
                            visit.answer(&FAILED);
                            return Err(error);
                        }
                        (refused, _) => {
                            visit.answer(&NOT_OURS);
                            if let Err(NoCode::NotOurs(reason)) = refused {
                                report.refused(&format!("its answer {reason}"));
                            }
                            continue;
                        }
                    }
                }
                Event::Pasted(text) => {
                    match read_pasted(&text, &attempt.expected(asks_for_consent)) {
                        Ok(pasted) => pasted,
                        Err(NoCode::NotOurs(reason)) => {
                            if must_push {
                                show(asks_for_consent).await?;
                            }
                            wait.pasting = ask(reason)?;
                            continue;
                        }
                        Err(NoCode::Refused(error)) => {
                            if asks_for_consent && refuses_prompt(&error) {
                                asks_for_consent = false;
                                show(asks_for_consent).await?;
                                wait.pasting = ask("")?;
                                continue;
                            }
                            return Err(error);
                        }
                    }
                }
            };
            if pasted.is_ours {
                // Nobody has to paste anything any more.
                wait.pasting = None;
                report.progress(ProgressKind::Approved, None);
            }
            wait.redeeming = Some(Box::pin(self.redeem_code(attempt, pasted.code.clone())));
            sent = Some(pasted);
        }
    }

    /// The page for a request that was pushed (RFC 9126), or for one that needs no push and could not be pushed: some
    /// servers announce it and take it from confidential clients alone.
    async fn pushed(&self, attempt: &Attempt<'_>, consent: bool) -> Result<String, Error> {
        let config = attempt.config;
        let request = attempt.request(consent)?;
        let Some(endpoint) = &attempt.server.pushed_endpoint else {
            return Err(invalid(format!(
                "{} takes only authorization requests that were pushed to it (RFC 9126), but its metadata names no usable \
                 endpoint for that (pushed_authorization_request_endpoint): only its operator can correct that.",
                attempt.server.key()
            )));
        };
        let mut parameters = request.parameters();
        if attempt.client.authentication == ClientAuthentication::ClientSecretBasic {
            parameters.append("client_id", &attempt.client.id);
        }
        let dpop = attempt.dpop_key.as_ref().map(|key| self.dpop(key));
        let timeout = config.request_timeout;
        match push(
            &*self.http,
            endpoint,
            attempt.client,
            parameters,
            dpop,
            timeout,
        )
        .await
        {
            Ok(uri) => Ok(pushed_url(request.endpoint, request.client_id, &uri)),
            Err(error)
                if !(attempt.server.requires_pushed_requests
                    || error.is_retryable()
                    || consent && refuses_prompt(&error)) =>
            {
                Ok(request.url())
            }
            Err(error) => Err(error),
        }
    }

    async fn redeem_code(&self, attempt: &Attempt<'_>, code: Secret) -> Outcome {
        let config = attempt.config;
        let request = AuthorizationCodeRequest {
            endpoint: &attempt.server.token_endpoint,
            client: attempt.client,
            code: &code,
            redirect_uri: attempt.redirect_uri.as_str(),
            pkce: &attempt.pkce,
            dpop: attempt.dpop_key.as_ref().map(|key| self.dpop(key)),
            resources: &config.resource,
            extra: &config.extra_parameters,
        };
        let timeout = config.request_timeout;
        let ask = || async {
            match redeem(&*self.http, &*self.clock, &request, timeout).await {
                Err(NotRedeemed::Unspent(error)) => Err(error.passing(true)),
                outcome => Ok(outcome),
            }
        };
        match self.patiently(timeout, ask).await {
            Ok(outcome) => outcome,
            Err(error) => Err(NotRedeemed::Unspent(error)),
        }
    }
}

/// Reports to the person while the login waits.
struct Report<'a> {
    observer: &'a dyn Observer,
    expires_at: UnixMillis,
    /// How many notices of refused requests are left.
    notices: u32,
}

impl Report<'_> {
    fn progress(&self, kind: ProgressKind, detail: Option<String>) {
        self.observer.progress(Progress {
            kind,
            next_poll_at: None,
            expires_at: self.expires_at,
            detail,
        });
    }

    fn refused(&mut self, reason: &str) {
        if let Some(left) = self.notices.checked_sub(1) {
            self.notices = left;
            let detail = format!("a browser came and was refused, because {reason}");
            self.progress(ProgressKind::Waiting, Some(detail));
        }
    }
}

impl Wait<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Some(redeeming) = &mut self.redeeming {
            if let Poll::Ready(outcome) = redeeming.as_mut().poll(context) {
                self.redeeming = None;
                return Poll::Ready(Event::Redeemed(outcome));
            }
        } else if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Late);
        }
        if let Some((visit, mut pushing)) = self.pushing.take() {
            match pushing.as_mut().poll(context) {
                Poll::Ready(outcome) => return Poll::Ready(Event::Pushed(visit, outcome)),
                Poll::Pending => self.pushing = Some((visit, pushing)),
            }
        }
        if let Some(listener) = &mut self.listener
            && let Poll::Ready(arrival) = listener.poll_arrival(context)
        {
            return Poll::Ready(match arrival {
                Arrival::Visit(visit) => Event::Visit(visit),
                Arrival::Start(visit) => Event::Start(visit),
                Arrival::Refused(reason) => Event::Refused(reason),
            });
        }
        if let Some(pasting) = &mut self.pasting
            && let Poll::Ready(text) = pasting.as_mut().poll(context)
        {
            self.pasting = None;
            return Poll::Ready(Event::Pasted(text));
        }
        Poll::Pending
    }
}

impl<'a> Attempt<'a> {
    fn new(
        config: &'a AuthConfig,
        server: &'a AuthorizationServer,
        client: &'a Client,
        redirect_uri: RedirectUri,
    ) -> Result<Self, Error> {
        Ok(Self {
            config,
            server,
            client,
            redirect_uri,
            scope: config.scope(),
            all_resources: config.all_resources(),
            state: random_secret()?,
            pkce: PkceVerifier::generate()?,
            dpop_key: config.dpop.then(DpopKey::generate).transpose()?,
        })
    }

    fn request(&self, asks_for_consent: bool) -> Result<AuthorizationRequest<'_>, Error> {
        Ok(AuthorizationRequest {
            endpoint: self.server.authorization_endpoint()?,
            client_id: &self.client.id,
            redirect_uri: self.redirect_uri.as_str(),
            scope: &self.scope,
            state: &self.state,
            pkce: &self.pkce,
            audience: self.config.audience.as_deref(),
            resources: &self.all_resources,
            asks_for_consent,
            extra: &self.config.authorization_parameters,
        })
    }

    fn expected(&self, asks_for_consent: bool) -> Expected<'_> {
        Expected {
            asks_for_consent,
            state: &self.state,
            issuer: self.server.issuer.as_deref(),
            has_iss: self.server.has_iss,
            server: match &self.server.issuer {
                Some(issuer) => issuer,
                // Not the token endpoint, which has not been asked yet.
                None => self
                    .server
                    .authorization_endpoint
                    .as_ref()
                    .map_or("The server", Endpoint::as_str),
            },
        }
    }

    /// The question to the person, after the reason why the last answer was wrong.
    fn question(&self, wrong: &str) -> String {
        let redirect_uri = self.redirect_uri.as_str();
        let question = if redirect_uri.starts_with("http://") {
            format!(
                "At the end the browser goes to {redirect_uri}. If that page does not load, paste its whole address here:"
            )
        } else {
            "Paste the code that the last page shows, or the whole address of that page:".to_owned()
        };
        let question = if self.server.requires_pushed_requests {
            // RFC 9126 §2.2: "a relatively short" time.
            format!(
                "{question} (If the page to open says that it has expired, enter nothing: another is shown.)"
            )
        } else {
            question
        };
        match wrong {
            "" => question,
            _ => format!("What was pasted {wrong}. {question}"),
        }
    }
}

fn pasted_in_vain(wrong: &str) -> Error {
    Error::new(
        ErrorCode::InvalidResponse,
        format!(
            "What was pasted {wrong}. That was the last of {MOST_PASTES} tries. Start the login again."
        ),
    )
}

/// Where the browser comes back to.
struct Landing {
    /// With its port.
    redirect_uri: RedirectUri,
    /// Nothing where the person has to bring the answer.
    listener: Option<CallbackListener>,
}

impl Landing {
    /// Takes the port of the redirect URI, or one that is free.
    fn take(redirect_uri: &RedirectUri, can_paste: bool) -> Result<Self, Error> {
        let Some(place) = redirect_uri.loopback() else {
            if can_paste {
                return Ok(Self {
                    redirect_uri: redirect_uri.clone(),
                    listener: None,
                });
            }
            return Err(invalid(format!(
                "`redirectUri` is {}, where this machine cannot wait for the browser: give `onPaste` to ask for what that \
                 page shows, or a redirect URI on http://127.0.0.1.",
                redirect_uri.as_str()
            )));
        };
        match CallbackListener::bind(place) {
            Ok(listener) => Ok(Self {
                redirect_uri: redirect_uri.at_port(listener.port()),
                listener: Some(listener),
            }),
            Err(_) if can_paste && place.port.is_some() => Ok(Self {
                redirect_uri: redirect_uri.clone(),
                listener: None,
            }),
            Err(error) => Err(not_bound(redirect_uri, place.port.is_some(), &error)),
        }
    }
}

fn not_bound(redirect_uri: &RedirectUri, has_port: bool, error: &io::Error) -> Error {
    let (why, next, is_retryable) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "the port is in use, perhaps by another login".to_owned(),
            "End what uses it and try again, or leave the port out of `redirectUri` if the server allows any.",
            true,
        ),
        io::ErrorKind::PermissionDenied if has_port => (
            "this user has no permission for that port (those below 1024 often belong to root, and Windows reserves others)"
                .to_owned(),
            "Register a redirect URI with another port and configure it.",
            false,
        ),
        io::ErrorKind::AddrNotAvailable => (
            "this machine has no such address".to_owned(),
            "Configure a `redirectUri` on 127.0.0.1, and register that.",
            false,
        ),
        kind => (
            kind.to_string(),
            "Let this program listen on this machine, or give `onPaste`, or log in by the device flow.",
            kind != io::ErrorKind::PermissionDenied,
        ),
    };
    Error::new(
        ErrorCode::Network,
        format!("Cannot listen at {}: {why}. {next}", redirect_uri.as_str()),
    )
    .retryable(is_retryable)
}

fn nobody_came(attempt: &Attempt<'_>) -> Error {
    let minutes = LONGEST_WAIT.as_secs() / 60;
    Error::new(
        ErrorCode::Timeout,
        format!(
            "The login was not approved at {} within {minutes} minutes. Start the login again. If the browser showed an error \
             instead of a login, that page says what is wrong; often it is that {} is not registered for the client.",
            attempt.server.key(),
            attempt.redirect_uri.as_str()
        ),
    )
    .retryable(false)
}
