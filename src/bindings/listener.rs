//! What a native call tells `index.js`, in the order in which it happened.

use std::sync::Arc;

use napi::bindgen_prelude::{Either10, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::napi;

use crate::error::Error;
use crate::http::BoxFuture;
use crate::secret::Secret;
use crate::session::device_tokens::{Observer, Progress};
use crate::session::verification;

use super::access_token::Token;
use super::auth_status::AuthStatus;
use super::device_tokens::TokenSet;
use super::doctor::DoctorReport;
use super::login::{Person, ProgressEvent, Verification};
use super::logout::LogoutResult;
use super::operation::Pasted;

/// Everything that can be told.
pub type Payload = Either10<
    Token,
    AuthStatus,
    Vec<AuthStatus>,
    TokenSet,
    LogoutResult,
    Verification,
    ProgressEvent,
    ErrorDetails,
    Option<Vec<String>>,
    DoctorReport,
>;

/// `(kind, payload) => void`
pub type ListenerFunction<'a> = Function<'a, FnArgs<(String, Payload)>, ()>;

type Queue =
    ThreadsafeFunction<FnArgs<(String, Payload)>, (), FnArgs<(String, Payload)>, Status, false>;

/// Keeps the event loop alive as long as one clone of it lives.
#[derive(Clone)]
pub(super) struct Listener {
    queue: Arc<Queue>,
    pasted: Arc<Pasted>,
    person: Person,
}

impl Listener {
    pub(super) fn new(listener: &ListenerFunction<'_>, pasted: Arc<Pasted>) -> napi::Result<Self> {
        let queue = listener.build_threadsafe_function().build()?;
        Ok(Self {
            queue: Arc::new(queue),
            pasted,
            person: Person::default(),
        })
    }

    /// For the login of that person.
    pub(super) fn with(mut self, person: Person) -> Self {
        self.person = person;
        self
    }

    pub(super) fn settle(&self, outcome: Result<Payload, Error>) {
        match outcome {
            Ok(payload) => self.tell("resolved", payload),
            Err(error) => self.tell("rejected", Payload::H(ErrorDetails::from(&error))),
        }
    }

    fn tell(&self, kind: &str, payload: Payload) {
        // An environment that is being torn down has nobody left to tell.
        self.told(kind, payload);
    }

    /// False where there is nobody left to be told.
    pub(super) fn told(&self, kind: &str, payload: Payload) -> bool {
        let status = self.queue.call(
            (kind.to_owned(), payload).into(),
            ThreadsafeFunctionCallMode::NonBlocking,
        );
        status == Status::Ok
    }

    /// The same, without keeping the event loop alive.
    #[expect(
        deprecated,
        reason = "a queue that is weak by its type would be a second one, of several kilobytes"
    )]
    pub(super) fn letting_go(mut self, env: Env) -> napi::Result<Self> {
        if let Some(queue) = Arc::get_mut(&mut self.queue) {
            queue.unref(&env)?;
        }
        Ok(self)
    }

    /// For as long as this lives the event loop does.
    pub(super) fn hold(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

impl Observer for Listener {
    fn verification(&self, verification: verification::Verification) {
        self.tell("verification", Payload::F(verification.into()));
    }

    fn progress(&self, progress: Progress) {
        self.tell("progress", Payload::G(progress.into()));
    }

    fn can_paste(&self) -> bool {
        self.person.can_paste
    }

    fn is_remote(&self) -> Option<bool> {
        self.person.is_remote
    }

    fn paste(&self, message: String) -> BoxFuture<'_, Secret> {
        // Each further shape of a payload would cost kilobytes of napi.
        let question = ProgressEvent {
            kind: String::new(),
            next_poll_at: None,
            expires_at: 0.0,
            detail: Some(message),
        };
        self.tell("paste", Payload::G(question));
        Box::pin(self.pasted.next())
    }
}

/// What `AuthError` is made of. @internal
#[napi(object, object_from_js = false)]
pub struct ErrorDetails {
    /// The stable code.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether a login mends it.
    pub needs_login: bool,
    /// RFC 6749 §5.2 `error`.
    pub oauth_error: Option<String>,
    /// RFC 6749 §5.2 `error_description`, cleaned.
    pub oauth_error_description: Option<String>,
    /// RFC 6749 §5.2 `error_uri`.
    pub oauth_error_uri: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// How long the server asked us to wait, in milliseconds.
    pub retry_after_ms: Option<f64>,
}

impl From<&Error> for ErrorDetails {
    fn from(error: &Error) -> Self {
        let oauth = error.oauth();
        Self {
            code: error.code().as_str().to_owned(),
            message: error.message().to_owned(),
            retryable: error.is_retryable(),
            needs_login: error.needs_login(),
            oauth_error: oauth.map(|oauth| oauth.error.clone()),
            oauth_error_description: oauth.and_then(|oauth| oauth.description.clone()),
            oauth_error_uri: oauth.and_then(|oauth| oauth.uri.clone()),
            status: error.status(),
            retry_after_ms: error
                .retry_after()
                .map(|wait| (wait.as_secs_f64() * 1000.0).ceil()),
        }
    }
}
