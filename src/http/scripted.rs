//! A fake server for unit tests: answers from a script and remembers what it was asked, and when.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{Body, BoxFuture, Failure, FailureKind, HttpClient, Line, Request, Response};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `GET` or `POST`.
    pub(crate) method: &'static str,
    /// The whole URL.
    pub(crate) url: String,
    /// The decoded form, in order; empty for other bodies.
    pub(crate) form: Vec<(String, String)>,
    /// The JSON document, if the body was one.
    pub(crate) json: Option<String>,
    /// The `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// The `DPoP` header.
    pub(crate) dpop: Option<String>,
    /// How long it would have waited for the answer.
    pub(crate) timeout: Duration,
    /// When it arrived, on tokio's clock.
    pub(crate) at: Instant,
}

impl Received {
    /// The first form parameter of that name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

type Reply = Box<dyn FnOnce(&Received) -> Result<Response, Failure> + Send>;
type Standing = Box<dyn Fn(&Received) -> Result<Response, Failure> + Send + Sync>;

/// The fake: a queue of replies, then a standing one; a request beyond the script fails the test.
#[derive(Default)]
pub(crate) struct ScriptedClient {
    script: Mutex<VecDeque<(Duration, Reply)>>,
    standing: Option<Standing>,
    received: Mutex<Vec<Received>>,
}

impl ScriptedClient {
    /// A fake that expects no request yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Next, computes its answer from the request.
    pub(crate) fn reply(
        self,
        reply: impl FnOnce(&Received) -> Result<Response, Failure> + Send + 'static,
    ) -> Self {
        self.reply_after(Duration::ZERO, reply)
    }

    /// Next, answers like that after so long.
    pub(crate) fn reply_after(
        self,
        delay: Duration,
        reply: impl FnOnce(&Received) -> Result<Response, Failure> + Send + 'static,
    ) -> Self {
        locked(&self.script).push_back((delay, Box::new(reply)));
        self
    }

    /// Next, answers with that status and body.
    pub(crate) fn answer(self, status: u16, body: &str) -> Self {
        let answer = response(status, body);
        self.reply(move |_| Ok(answer))
    }

    /// Next, answers with that response.
    pub(crate) fn respond(self, response: Response) -> Self {
        self.reply(move |_| Ok(response))
    }

    /// Next, fails like that.
    pub(crate) fn fail(self, kind: FailureKind, detail: &str) -> Self {
        let detail = detail.to_owned();
        self.reply(move |_| Err(Failure { kind, detail }))
    }

    /// Answers like that whenever the script is at its end.
    pub(crate) fn otherwise(
        mut self,
        standing: impl Fn(&Received) -> Result<Response, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.standing = Some(Box::new(standing));
        self
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        locked(&self.received).clone()
    }

    /// Seconds between `start` and each request.
    pub(crate) fn seconds_since(&self, start: Instant) -> Vec<u64> {
        self.received()
            .iter()
            .map(|request| request.at.duration_since(start).as_secs())
            .collect()
    }
}

/// A JSON answer without further headers.
pub(crate) fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        retry_after: None,
        dpop_nonce: None,
        challenge: None,
        date: None,
        age: Duration::ZERO,
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no test panics while holding this lock")
}

impl HttpClient for ScriptedClient {
    fn send_on<'a>(
        &'a self,
        _: Option<&'a Line>,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Failure>> {
        let (method, form, json) = match &request.body {
            Body::Get | Body::Probe => ("GET", Vec::new(), None),
            Body::ProbeByPost => ("POST", Vec::new(), Some("{}".to_owned())),
            Body::Form(form) => {
                let form = form_urlencoded::parse(form.as_str().as_bytes()).into_owned();
                ("POST", form.collect(), None)
            }
            Body::Json(json) => ("POST", Vec::new(), Some(json.clone())),
        };
        let received = Received {
            method,
            url: request.url.as_str().to_owned(),
            form,
            json,
            authorization: request.authorization.map(|value| value.expose().to_owned()),
            dpop: request.dpop.map(|proof| proof.expose().to_owned()),
            timeout: request.timeout,
            at: Instant::now(),
        };
        Box::pin(async move {
            locked(&self.received).push(received.clone());
            let next = locked(&self.script).pop_front();
            match (next, &self.standing) {
                (Some((delay, reply)), _) => {
                    tokio::time::sleep(delay).await;
                    reply(&received)
                }
                (None, Some(standing)) => standing(&received),
                (None, None) => panic!("unscripted request to {}", received.url),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Endpoint, Form};

    #[tokio::test(start_paused = true)]
    async fn replies_in_order_and_records() {
        let client = ScriptedClient::new()
            .answer(200, "{}")
            .fail(FailureKind::NotSent, "connection refused")
            .otherwise(|_| Ok(response(503, "")));
        let send = || {
            let mut form = Form::new();
            form.append("a", "b c");
            client.send(Request {
                url: Endpoint::parse("https://a.example/token").unwrap(),
                body: Body::Form(form),
                authorization: None,
                dpop: None,
                timeout: Duration::from_secs(1),
            })
        };
        assert_eq!(send().await.unwrap().status, 200);
        assert_eq!(send().await.unwrap_err().kind, FailureKind::NotSent);
        assert_eq!(send().await.unwrap().status, 503);
        assert_eq!(client.received()[0].parameter("a"), Some("b c"));
    }
}
