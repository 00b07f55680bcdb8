//! Requests, answers, and the failures in between.

use std::fmt;
use std::time::Duration;

use url::form_urlencoded;
use zeroize::Zeroizing;

use super::Endpoint;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::time::UnixMillis;

/// An `application/x-www-form-urlencoded` body; zeroed when dropped.
#[derive(Clone)]
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    /// An empty form.
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(String::new()))
    }

    /// Adds one parameter; names may repeat (RFC 8707 §2 does so with `resource`).
    pub(crate) fn append(&mut self, name: &str, value: &str) {
        // Three bytes for each at most; never grows in place, which would leave a copy behind.
        let needed = self.0.len() + 3 * (name.len() + value.len()) + 2;
        if self.0.capacity() < needed {
            let mut larger = Zeroizing::new(String::with_capacity(2 * needed));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0
            .extend(form_urlencoded::byte_serialize(name.as_bytes()));
        self.0.push('=');
        self.0
            .extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }

    /// Adds a caller's own parameters. RFC 6749 §3.1, §3.2: "Parameters sent without a value MUST be treated as if
    /// they were omitted from the request"; not every server does, so an empty one is left out.
    pub(crate) fn append_all(&mut self, parameters: &[(String, String)]) {
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            self.append(name, value);
        }
    }

    /// The parameters as a JSON object.
    pub(crate) fn to_json(&self) -> String {
        let members: serde_json::Map<String, serde_json::Value> =
            url::form_urlencoded::parse(self.0.as_bytes())
                .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
                .collect();
        serde_json::Value::Object(members).to_string()
    }

    /// The encoded parameters.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The encoded body, handed on without a copy.
    pub(crate) fn into_bytes(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut *self.0).into_bytes())
    }
}

/// The method and contents of a request.
pub(crate) enum Body {
    /// GET, without a body.
    Get,
    /// GET, of which only the head of the answer is read: a stream of events may never end.
    Probe,
    /// A probe by POST of `{}`: MCP servers of 2026-07-28 answer to nothing else.
    ProbeByPost,
    /// POST of a form.
    Form(Form),
    /// POST of a JSON document.
    Json(String),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "Get",
            Self::Probe | Self::ProbeByPost => "Probe",
            Self::Form(_) => "Form(redacted)",
            Self::Json(_) => "Json(redacted)",
        })
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    /// The target.
    pub(crate) url: Endpoint,
    /// The method and contents.
    pub(crate) body: Body,
    /// The whole value of the `Authorization` header.
    pub(crate) authorization: Option<Secret>,
    /// The value of the `DPoP` header (RFC 9449 §4.1).
    pub(crate) dpop: Option<Secret>,
    /// For all of it: connecting, sending, and reading the answer to its end.
    pub(crate) timeout: Duration,
}

/// One answer, of any status.
pub(crate) struct Response {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The `Retry-After` header, counted from now.
    pub(crate) retry_after: Option<Duration>,
    /// The `DPoP-Nonce` header (RFC 9449 §8).
    pub(crate) dpop_nonce: Option<String>,
    /// The `WWW-Authenticate` headers (RFC 9110 §11.6.1), as one.
    pub(crate) challenge: Option<String>,
    /// The `Date` header (RFC 9110 §6.6.1).
    pub(crate) date: Option<UnixMillis>,
    /// How long ago the request was sent.
    pub(crate) age: Duration,
    /// The body, at most 1 MiB.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Response(HTTP {}, {} bytes)",
            self.status,
            self.body.len()
        )
    }
}

/// Why there is no answer. The kind decides whether a request that must not be sent twice may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// DNS, connect, TLS or proxy: the request never left.
    NotSent,
    /// The connection broke after sending: reset, or an answer cut short.
    Broken,
    /// No whole answer in time, after sending.
    TimedOut,
    /// There is an answer, and nobody can read it: its body is over 1 MiB, or compressed in a way that was not asked
    /// for.
    Unreadable,
    /// The request never left because the server's certificate is not trusted; the detail ends with what to do.
    Certificate,
    /// The request never left because the two sides cannot speak TLS with each other, now or later; the detail ends
    /// with what to do.
    Tls,
    /// The request never left because the proxy's address or credentials are wrong.
    Proxy,
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The kind of failure.
    pub(crate) kind: FailureKind,
    /// The cause in words, such as "connection refused": never a URL, a header or a body.
    pub(crate) detail: String,
}

impl Failure {
    /// The failure as a caller sees it.
    pub(crate) fn to_error(&self, endpoint: &Endpoint) -> Error {
        let host = endpoint.host();
        let detail = &self.detail;
        match self.kind {
            FailureKind::NotSent => Error::new(
                ErrorCode::Network,
                format!(
                    "{host} could not be reached: {detail}. Check the network connection and the proxy settings, then try again."
                ),
            ),
            FailureKind::Broken => Error::new(
                ErrorCode::Network,
                format!("The connection to {host} broke before the answer was complete: {detail}. Try again."),
            ),
            FailureKind::TimedOut => Error::new(
                ErrorCode::Timeout,
                format!("{host} did not answer in time: {detail}. Try again, or raise requestTimeoutMs."),
            ),
            FailureKind::Unreadable => Error::new(
                ErrorCode::InvalidResponse,
                format!("{endpoint} sent an answer that cannot be read: {detail}. Check that this is the URL of an OAuth endpoint."),
            ),
            FailureKind::Certificate => Error::new(
                ErrorCode::Network,
                format!("The certificate of {host} is not trusted: {}", sentence(detail)),
            )
            .retryable(false),
            FailureKind::Tls => Error::new(
                ErrorCode::Network,
                format!("{host} could not be reached by TLS: {}", sentence(detail)),
            )
            .retryable(false),
            FailureKind::Proxy => Error::new(
                ErrorCode::Network,
                format!("{host} could not be reached through the proxy: {detail}. Correct the proxy settings and start again."),
            )
            .retryable(false),
        }
    }
}

fn sentence(detail: &str) -> String {
    format!("{}.", detail.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_and_repeats_names() {
        let mut form = Form::new();
        form.append("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        form.append("resource", "https://a.example/x?y=1&z=2");
        form.append("resource", "é +/=~*");
        assert_eq!(
            form.as_str(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code\
             &resource=https%3A%2F%2Fa.example%2Fx%3Fy%3D1%26z%3D2&resource=%C3%A9+%2B%2F%3D%7E*"
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut form = Form::new();
        form.append("refresh_token", "canary");
        let request = Request {
            url: Endpoint::parse("https://a.example/token?q=canary").unwrap(),
            body: Body::Form(form),
            authorization: Some(Secret::from("Basic canary")),
            dpop: Some(Secret::from("canary")),
            timeout: Duration::from_secs(1),
        };
        let response = Response {
            status: 200,
            retry_after: None,
            dpop_nonce: None,
            challenge: None,
            date: None,
            age: Duration::ZERO,
            body: Zeroizing::new(b"canary".to_vec()),
        };
        let json = Body::Json("canary".to_owned());
        assert!(!format!("{request:?} {response:?} {json:?}").contains("canary"));
    }

    #[test]
    fn failures_become_errors_that_name_the_host_and_the_next_step() {
        let endpoint = Endpoint::parse("https://a.example/token?q=canary").unwrap();
        let error = |kind| {
            Failure {
                kind,
                detail: "the cause".into(),
            }
            .to_error(&endpoint)
        };
        for (kind, code, retryable) in [
            (FailureKind::NotSent, ErrorCode::Network, true),
            (FailureKind::Broken, ErrorCode::Network, true),
            (FailureKind::TimedOut, ErrorCode::Timeout, true),
            (FailureKind::Unreadable, ErrorCode::InvalidResponse, false),
            (FailureKind::Certificate, ErrorCode::Network, false),
            (FailureKind::Tls, ErrorCode::Network, false),
            (FailureKind::Proxy, ErrorCode::Network, false),
        ] {
            let error = error(kind);
            assert_eq!((error.code(), error.is_retryable()), (code, retryable));
            assert!(error.message().contains("a.example") && error.message().contains("the cause"));
            assert!(!error.message().contains("canary"));
        }
    }
}
