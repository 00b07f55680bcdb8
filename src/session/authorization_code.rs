//! The authorization code flow (RFC 6749 §4.1) as a native app does it (RFC 8252): the browser comes back to a port of this
//! machine, or the person brings what it shows.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::select;

use crate::error::{Error, ErrorCode};
use crate::http::BoxFuture;
use crate::http::callback_listener::{CallbackListener, Page, Visit};
use crate::oauth::authorization_code::{AuthorizationCodeRequest, NotRedeemed, redeem};
use crate::oauth::authorization_request::AuthorizationRequest;
use crate::oauth::authorization_response::{Expected, NoCode, Pasted, read, read_pasted};
use crate::oauth::client::Client;
use crate::oauth::device_access_token::sleep_until;
use crate::oauth::dpop::DpopKey;
use crate::oauth::pkce::PkceVerifier;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::token_response::TokenResponse;
use crate::secret::{Secret, random_secret};
use crate::store::location::Location;

use super::Session;
use super::authorization_server::AuthorizationServer;
use super::client::{configured, forget, known, newly_registered};
use super::config::{AuthConfig, invalid};
use super::device_tokens::{Observer, Progress, ProgressKind, client_is_unknown};
use super::remote::is_remote;
use super::verification::Verification;

/// How long a person has to approve.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// How often the person is asked for what the browser shows.
const MOST_PASTES: u32 = 3;
/// Before a request that never left is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

// The code stays in the browser's history. It is spent before one of these is shown, and was worth nothing without the
// verifier, which never leaves this process. To clean the address by a redirect, the port would have to stay open for longer.
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
const NOT_OURS: Page = Page {
    status: "400 Bad Request",
    heading: "This page belongs to no login",
    text: "A login that waits for you is not changed by it. Return to where you started it.",
};

/// One login: what the browser is sent out with, and what it must bring back.
struct Attempt<'a> {
    config: &'a AuthConfig,
    server: &'a AuthorizationServer,
    client: &'a Client,
    redirect_uri: String,
    state: Secret,
    pkce: PkceVerifier,
    /// What the tokens will be bound to.
    dpop_key: Option<DpopKey>,
}

/// What happened first.
enum Came {
    Visit(Visit),
    Paste(Secret),
}

/// What the person is asked for, and how often.
struct Pastes<'a> {
    observer: &'a dyn Observer,
    question: String,
    asked: u32,
    answer: Option<BoxFuture<'a, Secret>>,
}

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
        let mut listener = listen(redirect_uri, observer.can_paste()).await?;
        let client = self.browser_client(config, location, server).await?;
        let port = listener.as_ref().map_or(0, CallbackListener::port);
        let attempt = Attempt {
            config,
            server,
            client: &client,
            redirect_uri: redirect_uri.with_port(port),
            state: random_secret()?,
            pkce: PkceVerifier::generate()?,
            dpop_key: config.dpop.then(DpopKey::generate).transpose()?,
        };
        let outcome = self
            .attempt_login(&attempt, &mut listener, observer)
            .await?;
        Ok((client, outcome))
    }

    /// The client of the config or of the store, or a new one.
    async fn browser_client(
        &self,
        config: &AuthConfig,
        location: &Location,
        server: &AuthorizationServer,
    ) -> Result<Client, Error> {
        if let Some(client) = configured(config, None, server.authentication_methods.as_deref()) {
            return Ok(client);
        }
        if let Some(client) = known(self, config, location, server).await? {
            if self.is_known(config, server, &client).await? {
                return Ok(client);
            }
            forget(location, server, &client.id).await?;
        }
        newly_registered(self, config, location, server).await
    }

    /// Whether the server still knows a client that was registered earlier. If not, only the person would see it, on a page
    /// that does not send the browser back (RFC 6749 §4.1.2.1); so the token endpoint is asked first, with a code that is none.
    async fn is_known(
        &self,
        config: &AuthConfig,
        server: &AuthorizationServer,
        client: &Client,
    ) -> Result<bool, Error> {
        let redirect_uri = config.redirect_uri().map_or("", RedirectUri::registered);
        let request = AuthorizationCodeRequest {
            endpoint: &server.token_endpoint,
            client,
            code: &random_secret()?,
            redirect_uri,
            pkce: &PkceVerifier::generate()?,
            dpop: None,
            resources: &[],
            extra: &config.extra_parameters,
        };
        match redeem(&*self.http, &*self.clock, &request, config.request_timeout).await {
            Ok(_) | Err(NotRedeemed::CodeRefused(_)) => Ok(true),
            Err(NotRedeemed::NotSent(error)) => Err(error),
            Err(NotRedeemed::Failed(error)) => Ok(!client_is_unknown(&error)),
        }
    }

    async fn attempt_login(
        &self,
        attempt: &Attempt<'_>,
        listener: &mut Option<CallbackListener>,
        observer: &dyn Observer,
    ) -> Result<Result<TokenResponse, Error>, Error> {
        let deadline = self.clock.boot().plus(LONGEST_WAIT);
        let expires_at = self.clock.now().plus(LONGEST_WAIT);
        let url = attempt.url()?;
        let asks = listener.is_none()
            || observer
                .is_remote()
                .unwrap_or_else(|| is_remote(&*self.environment));
        let asks = asks && observer.can_paste();
        observer.verification(Verification::of_page(url, expires_at, LONGEST_WAIT, asks));
        let progress = |kind| {
            observer.progress(Progress {
                kind,
                next_poll_at: None,
                expires_at,
                detail: None,
            });
        };
        progress(ProgressKind::Waiting);
        let mut pastes = Pastes {
            observer,
            question: attempt.question(),
            asked: 0,
            answer: None,
        };
        if asks {
            pastes.ask(None)?;
        }
        loop {
            let came = select! {
                visit = next_visit(listener) => Came::Visit(visit),
                pasted = pastes.next() => Came::Paste(pasted),
                () = sleep_until(&*self.clock, deadline) => return Err(nobody_came(attempt.server)),
            };
            let mut visits = Vec::new();
            let Pasted { code, is_ours } = match came {
                Came::Visit(visit) => match read(visit.query.expose(), &attempt.expected()) {
                    Ok(code) => {
                        visits.push(visit);
                        Pasted {
                            code,
                            is_ours: true,
                        }
                    }
                    Err(NoCode::NotOurs(_)) => {
                        visit.answer(&NOT_OURS);
                        continue;
                    }
                    Err(NoCode::Refused(error)) => {
                        visit.answer(&FAILED);
                        return Err(error);
                    }
                },
                Came::Paste(text) => match read_pasted(&text, &attempt.expected()) {
                    Ok(pasted) => pasted,
                    Err(NoCode::NotOurs(reason)) => {
                        pastes.ask(Some(reason))?;
                        continue;
                    }
                    Err(NoCode::Refused(error)) => return Err(error),
                },
            };
            if is_ours {
                // Nobody has to paste anything any more.
                pastes.answer = None;
                progress(ProgressKind::Approved);
            }
            let outcome = {
                let redeeming = self.redeem_code(attempt, &code);
                tokio::pin!(redeeming);
                loop {
                    select! {
                        outcome = &mut redeeming => break outcome,
                        // Loaded again meanwhile: the same page, once there is one, and no second request.
                        visit = next_visit(listener) => match read(visit.query.expose(), &attempt.expected()) {
                            Ok(again) if again.is(&code) => visits.push(visit),
                            _ => visit.answer(&NOT_OURS),
                        },
                    }
                }
            };
            for visit in visits {
                visit.answer(if outcome.is_ok() { &APPROVED } else { &FAILED });
            }
            match outcome {
                // It was not the code after all, and whoever pasted it can say what is.
                Err(NotRedeemed::CodeRefused(_)) if !is_ours => {
                    pastes.ask(Some("is no code that the server knows"))?;
                }
                outcome => return Ok(outcome.map_err(NotRedeemed::into_error)),
            }
        }
    }

    async fn redeem_code(
        &self,
        attempt: &Attempt<'_>,
        code: &Secret,
    ) -> Result<TokenResponse, NotRedeemed> {
        let Attempt {
            config,
            server,
            client,
            redirect_uri,
            pkce,
            dpop_key,
            ..
        } = attempt;
        let request = AuthorizationCodeRequest {
            endpoint: &server.token_endpoint,
            client,
            code,
            redirect_uri,
            pkce,
            dpop: dpop_key.as_ref().map(|key| self.dpop(key)),
            resources: &config.resource,
            extra: &config.extra_parameters,
        };
        let mut pauses = PAUSES.iter();
        loop {
            let outcome = redeem(&*self.http, &*self.clock, &request, config.request_timeout).await;
            match (outcome, pauses.next()) {
                (Err(NotRedeemed::NotSent(_)), Some(pause)) => tokio::time::sleep(*pause).await,
                (outcome, _) => return outcome,
            }
        }
    }
}

impl Attempt<'_> {
    fn url(&self) -> Result<String, Error> {
        let request = AuthorizationRequest {
            endpoint: self.server.authorization_endpoint()?,
            client_id: &self.client.id,
            redirect_uri: &self.redirect_uri,
            scopes: &self.config.scopes,
            state: &self.state,
            pkce: &self.pkce,
            audience: self.config.audience.as_deref(),
            resources: &self.config.resource,
            extra: &self.config.extra_parameters,
        };
        Ok(request.url())
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            state: &self.state,
            issuer: self.server.issuer.as_deref(),
            has_iss: self.server.has_iss,
            server: self.server.key(),
        }
    }

    fn question(&self) -> String {
        let redirect_uri = &self.redirect_uri;
        if redirect_uri.starts_with("http://") {
            format!(
                "At the end the browser goes to {redirect_uri}. If that page does not load, paste its whole address here:"
            )
        } else {
            "Paste the code that the last page shows, or the whole address of that page:".to_owned()
        }
    }
}

impl<'a> Pastes<'a> {
    /// Asks, saying first what was wrong with the last answer.
    fn ask(&mut self, wrong: Option<&str>) -> Result<(), Error> {
        let wrong = wrong.map(|reason| format!("What was pasted {reason}. "));
        if self.asked == MOST_PASTES {
            let reason = wrong.unwrap_or_default();
            return Err(Error::new(
                ErrorCode::InvalidResponse,
                format!("{reason}That was the last of {MOST_PASTES} tries. Start the login again."),
            ));
        }
        self.asked += 1;
        let message = wrong.unwrap_or_default() + &self.question;
        self.answer = Some(self.observer.paste(message));
        Ok(())
    }

    async fn next(&mut self) -> Secret {
        match &mut self.answer {
            Some(answer) => answer.await,
            None => pending().await,
        }
    }
}

async fn next_visit(listener: &mut Option<CallbackListener>) -> Visit {
    match listener {
        Some(listener) => listener.visit().await,
        None => pending().await,
    }
}

/// Takes the port of the redirect URI. None where the person has to bring the answer.
async fn listen(
    redirect_uri: &RedirectUri,
    can_paste: bool,
) -> Result<Option<CallbackListener>, Error> {
    let Some(place) = redirect_uri.loopback() else {
        return match can_paste {
            true => Ok(None),
            false => Err(invalid(format!(
                "`redirectUri` is {}, where this machine cannot wait for the browser: give `onPaste` to ask for what that page \
                 shows, or a redirect URI on http://127.0.0.1.",
                redirect_uri.registered()
            ))),
        };
    };
    match CallbackListener::bind(place).await {
        Ok(listener) => Ok(Some(listener)),
        Err(_) if can_paste && place.port.is_some() => Ok(None),
        Err(error) => Err(not_bound(redirect_uri, &error)),
    }
}

fn not_bound(redirect_uri: &RedirectUri, error: &io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has the port, maybe another login".to_owned(),
        kind => kind.to_string(),
    };
    Error::new(
        ErrorCode::Network,
        format!(
            "Nobody can wait for the browser at {}: {why}. End what uses the port and try again, or leave the port out of \
             `redirectUri` if the server allows any.",
            redirect_uri.registered()
        ),
    )
}

fn nobody_came(server: &AuthorizationServer) -> Error {
    let minutes = LONGEST_WAIT.as_secs() / 60;
    Error::new(
        ErrorCode::Timeout,
        format!(
            "The login was not approved at {} within {minutes} minutes. Start the login again.",
            server.key()
        ),
    )
    .retryable(false)
}
