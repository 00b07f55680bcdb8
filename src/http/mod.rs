//! HTTP as OAuth needs it: one request, one bounded answer, and a failure that says whether the request left.
//!
//! The trait is the seam for tests: [`native`] is the real client, `scripted` the fake.

pub(crate) mod callback_listener;
mod content_coding;
mod crypto_provider;
pub(crate) mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inflate;
pub(crate) mod line;
pub(crate) mod message;
pub(crate) mod native;
mod proxy;
pub(crate) mod retry_after;
mod running_time;
#[cfg(test)]
pub(crate) mod scripted;
mod tls_failure;

use std::pin::Pin;

pub(crate) use endpoint::{AllowHttp, Endpoint};
pub(crate) use line::Line;
pub(crate) use message::{Body, Failure, FailureKind, Form, Request, Response};

/// A future behind a trait object.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends one request, once: no redirects, no retries.
pub(crate) trait HttpClient: Send + Sync {
    /// Sends a request, on a login's connection where one is given: if it is still open, and leaves it open. Resolves to
    /// the answer, of any status, or to the failure.
    fn send_on<'a>(
        &'a self,
        line: Option<&'a Line>,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Failure>>;

    /// Sends a request on a connection of its own.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Failure>> {
        self.send_on(None, request)
    }

    /// Host and port of the proxy on the way there, if there is one.
    fn proxy_of(&self, _endpoint: &Endpoint) -> Option<String> {
        None
    }
}

/// A client that sends everything on one login's line.
pub(crate) struct OnLine<'a>(pub(crate) &'a dyn HttpClient, pub(crate) &'a Line);

impl HttpClient for OnLine<'_> {
    fn send_on<'a>(
        &'a self,
        line: Option<&'a Line>,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Failure>> {
        self.0.send_on(line.or(Some(self.1)), request)
    }
}
