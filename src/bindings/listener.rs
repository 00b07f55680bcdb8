//! Reports the events of a native call to `index.js`, in their order.

use std::sync::Arc;

use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};

use crate::error::Error;
use crate::http::BoxFuture;
use crate::secret::Secret;
use crate::session::device_tokens::{Observer, Progress};
use crate::session::verification;

use super::payload::{ErrorDetails, Payload, ProgressEvent};
use super::person::{Pasted, Person};

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
            Err(error) => self.tell("rejected", Payload::G(ErrorDetails::from(&error))),
        }
    }

    fn tell(&self, kind: &str, payload: Payload) {
        // An environment that is being torn down has no JavaScript left to call.
        self.told(kind, payload);
    }

    /// False where nobody listens any more.
    pub(super) fn told(&self, kind: &str, payload: Payload) -> bool {
        let status = self.queue.call(
            (kind.to_owned(), payload).into(),
            ThreadsafeFunctionCallMode::NonBlocking,
        );
        status == Status::Ok
    }

    /// Reports without keeping the event loop alive.
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
        self.tell("verification", Payload::E(verification.into()));
    }

    fn progress(&self, progress: Progress) {
        self.tell("progress", Payload::F(progress.into()));
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
        self.tell("paste", Payload::F(question));
        Box::pin(self.pasted.next())
    }
}
