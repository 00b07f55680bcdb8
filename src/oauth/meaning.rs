//! Decides whether an answer is the server's verdict or transient: one rule for every endpoint.

use super::answer::{Answer, Content};
use super::error_response::{ErrorKind, ErrorResponse};

/// The meaning of an answer that lacks the requested values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The server has decided, or there is no such server.
    Verdict,
    /// Transient, and the request cannot have had an effect: even a request that may be sent only once may be
    /// repeated.
    Untouched,
    /// Transient, but the request may have had an effect.
    Passing,
}

impl Meaning {
    /// Classifies an answer, with its refusal if there is one.
    pub(crate) fn of(answer: &Answer, refusal: Option<&ErrorResponse>) -> Self {
        let says_so = refusal.is_some_and(|refusal| {
            refusal.kind == ErrorKind::SlowDown || refusal.is_passing(answer)
        });
        let has_code = refusal.is_some_and(|refusal| refusal.kind != ErrorKind::NoCode);
        // A captive portal, a gateway or a firewall speaks in pages and sentences. It says nothing about the request.
        // "Not found" in words is a server's own.
        let is_missing = matches!(answer.status, 404 | 405 | 410) && !answer.is_page;
        let is_text = matches!(answer.content, Content::Text(_)) && !is_missing;
        let passes = says_so || !has_code && (is_text || answer.is_passing_failure());
        match answer.status {
            _ if !passes => Self::Verdict,
            // RFC 9110 §15.5.9: 408, no "complete request message" was received; RFC 8470 §5.2: 425, the server does
            // not "risk processing a request"; RFC 6585 §4: 429. RFC 9110 §10.2.3: Retry-After with 503 invites "a
            // follow-up request".
            408 | 425 | 429 => Self::Untouched,
            503 if answer.retry_after.is_some() => Self::Untouched,
            // No OAuth endpoint sends markup, so the request did not reach it.
            ..500 if answer.is_page => Self::Untouched,
            _ => Self::Passing,
        }
    }

    /// Whether the same request may fare better soon.
    pub(crate) fn passes(self) -> bool {
        self != Self::Verdict
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Meaning::{Passing, Untouched, Verdict};
    use super::*;
    use crate::oauth::answer::tests::answer;
    use crate::oauth::server_text::Secrets;

    #[test]
    fn one_answer_has_one_meaning() {
        for (status, body, expected) in [
            (200, "<html>Sign in to the network</html>", Untouched),
            (403, "<html>Just a moment</html>", Untouched),
            (404, "<html>default backend</html>", Untouched),
            (403, "error code: 1010", Passing),
            (200, r#"{"access_tok"#, Passing),
            (408, "", Untouched),
            (425, "", Untouched),
            (429, "", Untouched),
            (429, r#"{"error":"slow_down"}"#, Untouched),
            (400, r#"{"error":"slow_down"}"#, Passing),
            (409, "", Passing),
            (500, "<html>", Passing),
            (502, "", Passing),
            (503, r#"{"error":"Service Unavailable"}"#, Passing),
            (400, r#"{"error":"temporarily_unavailable"}"#, Passing),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"already being processed"}"#,
                Passing,
            ),
            (500, r#"{"error":"invalid_grant"}"#, Verdict),
            (400, r#"{"error":"invalid_grant"}"#, Verdict),
            (401, "", Verdict),
            (404, "", Verdict),
            (404, "404 page not found", Verdict),
            (302, "", Verdict),
            (200, "{}", Verdict),
            (404, r#"{"message":"Not Found"}"#, Verdict),
        ] {
            let answer = answer(status, body);
            let refusal = ErrorResponse::read(&answer, "access_token", &Secrets::default());
            let meaning = Meaning::of(&answer, refusal.as_ref());
            assert_eq!(meaning, expected, "{status} {body}");
        }
        let mut busy = answer(503, "");
        busy.retry_after = Some(Duration::from_secs(2));
        assert_eq!(Meaning::of(&busy, None), Untouched);
    }
}
