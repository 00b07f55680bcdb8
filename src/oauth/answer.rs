//! Reading what an endpoint answered: JSON or a form, leniently typed.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use url::form_urlencoded;
use zeroize::Zeroize as _;

use super::client::Client;
use super::refusal_words::{Subject, Words};
use crate::error::{Error, ErrorCode, OauthError};
use crate::http::{Body, Endpoint, Failure, Form, HttpClient, Request, Response};
use crate::secret::Secret;

/// The flaw of an answer, as a part of a sentence: "`expires_in` is not a number".
pub(crate) type Malformed = String;

/// The next step where a firewall blocks requests that do not come from a browser.
pub(super) const BLOCKED: &str =
    "Try from another network, or ask the server's operator to let this program through.";

/// No lifetime is taken for longer.
pub(super) const CENTURY: Duration = Duration::from_hours(24 * 36_525);

/// An endpoint's answer, of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The endpoint that answered.
    pub(crate) endpoint: Endpoint,
    /// The HTTP status.
    pub(crate) status: u16,
    /// How long the server asked us to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The difference between the server's clock and this one, where a proof carried this clock's time.
    pub(crate) clock_skew: Duration,
    /// How long ago the request was sent.
    pub(crate) age: Duration,
    /// The request proved possession of a key (RFC 9449).
    pub(crate) has_proof: bool,
    /// The body is a page of markup. No OAuth endpoint sends one, so it comes from a gateway or a captive portal.
    pub(crate) is_page: bool,
    /// The body.
    pub(crate) content: Content,
}

impl Answer {
    /// POSTs the form once, as that client.
    pub(crate) async fn to_form(
        http: &dyn HttpClient,
        endpoint: &Endpoint,
        client: &Client,
        mut form: Form,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let authorization = client.authenticate(&mut form);
        Self::to(http, endpoint, Body::Form(form), authorization, timeout).await
    }

    /// Sends the request once.
    pub(crate) async fn to(
        http: &dyn HttpClient,
        endpoint: &Endpoint,
        body: Body,
        authorization: Option<Secret>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let request = Request {
            url: endpoint.clone(),
            body,
            authorization,
            dpop: None,
            timeout,
        };
        Ok(Self::read(endpoint, &http.send(request).await?))
    }

    pub(super) fn read(endpoint: &Endpoint, response: &Response) -> Self {
        Self {
            endpoint: endpoint.clone(),
            status: response.status,
            retry_after: response.retry_after,
            clock_skew: Duration::ZERO,
            age: response.age,
            has_proof: false,
            is_page: response.body.trim_ascii_start().starts_with(b"<"),
            content: Content::read(&response.body),
        }
    }

    /// 2xx
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A transient failure: 5xx, 429, and codes for a request at the wrong moment. The same request may succeed later.
    /// RFC 9110 §15.5.9 408, §15.5.10 409 (Fitbit's for two refreshes at once), RFC 4918 §11.3 423, RFC 8470 §5.2 425.
    pub(crate) fn is_passing_failure(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 409 | 423 | 425 | 429)
    }

    /// 3xx: another address would be the server's choice, and none is taken from it.
    pub(crate) fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// Something before the server answered in its place, as firewalls do: RFC 9110 §15.5.4 has 403 "for reasons
    /// unrelated to the credentials", and an authorization server says its own in JSON.
    pub(crate) fn is_blocked(&self) -> bool {
        match self.content {
            Content::Text(_) => matches!(self.status, 401 | 403 | 406 | 451),
            Content::Empty | Content::OtherJson => matches!(self.status, 403 | 451),
            Content::Members(_) => false,
        }
    }

    /// The members, if there are any.
    pub(crate) fn members(&self) -> Option<&Members> {
        match &self.content {
            Content::Members(members) => Some(members),
            _ => None,
        }
    }

    /// The members of a successful answer, to take values out.
    pub(crate) fn success(&mut self) -> Option<&mut Members> {
        let is_success = self.is_success();
        match &mut self.content {
            Content::Members(members) if is_success => Some(members),
            _ => None,
        }
    }

    /// Makes an error: the failure, the server's words, and the next step.
    pub(crate) fn error(
        &self,
        code: ErrorCode,
        what: &str,
        said: Option<&OauthError>,
        next: &str,
    ) -> Error {
        let mut message = format!("{what}: {} answered HTTP {}", self.endpoint, self.status);
        if let Some(said) = said {
            if !said.error.is_empty() {
                message.push(' ');
                message.push_str(&said.error);
            }
            if let Some(description) = &said.description {
                message.push_str(" (");
                message.push_str(description.trim_end_matches('.'));
                message.push(')');
            }
        }
        message.push_str(". ");
        message.push_str(next);
        let error = Error::new(code, message)
            .with_status(self.status)
            .with_retry_after(self.retry_after);
        match said {
            Some(said) if !said.error.is_empty() => error.with_oauth(said.clone()),
            _ => error,
        }
    }

    /// Makes an error for an answer that is not an OAuth response, by its status; `next` is the person's next step.
    pub(crate) fn not_oauth(&self, what: &str, said: Option<&OauthError>, next: &str) -> Error {
        const LATER: &str = "The server has a problem; try again later.";
        if self.is_passing_failure() {
            return self.error(ErrorCode::ServerError, what, said, LATER);
        }
        match self.content {
            _ if self.is_blocked() => self.error(
                ErrorCode::ServerError,
                &format!("{what}, because something in front of the server refused this program"),
                said,
                BLOCKED,
            ),
            _ if self.is_redirect() => self.error(
                ErrorCode::InvalidResponse,
                &format!("{what}, because redirects are not followed"),
                said,
                "Configure the URL that the server redirects to.",
            ),
            // A gateway spoke, or there is no such endpoint.
            Content::Text(_) if !self.is_success() => {
                let is_missing = matches!(self.status, 404 | 405 | 410);
                let next = if is_missing { next } else { LATER };
                self.error(ErrorCode::ServerError, what, said, next)
            }
            _ => {
                // The gateways of large providers do so as well, in JSON of their own.
                let blocked = format!(
                    "{next} If that is right, something in front of the server refused this program. {BLOCKED}"
                );
                let next = if self.status == 403 { &blocked } else { next };
                self.error(
                    ErrorCode::InvalidResponse,
                    &format!("{what}, because the answer is not OAuth"),
                    said,
                    next,
                )
            }
        }
    }

    /// An answer that is OAuth but for one thing.
    pub(crate) fn malformed(&self, reason: &str) -> Error {
        Error::new(
            ErrorCode::InvalidResponse,
            format!(
                "{} answered HTTP {} with something that is not valid OAuth: {reason}. \
                 Check the configured endpoints, or tell the server's operator.",
                self.endpoint, self.status
            ),
        )
        .with_status(self.status)
    }
}

/// A body by what it is, not by its content type: servers mislabel.
#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing, or white space.
    Empty,
    /// A JSON object or a form.
    Members(Members),
    /// JSON, but not an object.
    OtherJson,
    /// HTML, other text, or bytes; and what a short text is about.
    Text(Subject),
}

impl Content {
    fn read(body: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else {
            return Self::Text(Subject::Unsaid);
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Self::Empty;
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Self::Members(Members(members)),
            Ok(mut other) => {
                wipe(&mut other);
                Self::OtherJson
            }
            Err(_) => form(text).map_or_else(|| Self::Text(plain_subject(text)), Self::Members),
        }
    }
}

/// The subject of a sentence that comes without a code. A page comes from a gateway, and is never about the login.
fn plain_subject(text: &str) -> Subject {
    const LONGEST: usize = 300;
    let is_sentence = text.len() <= LONGEST && !text.contains(['<', '{']);
    if is_sentence {
        Words::of([text].into_iter()).subject()
    } else {
        Subject::Unsaid
    }
}

/// A form-encoded answer, as GitHub's are by default.
fn form(text: &str) -> Option<Members> {
    let is_form = text.split('&').all(|pair| {
        let name = pair.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    });
    if !is_form || text.contains(|c: char| c.is_whitespace() || c == '<') {
        return None;
    }
    let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
    Some(Members(
        pairs
            .map(|(name, value)| (name, Value::String(value)))
            .collect(),
    ))
}

/// The members of an answer; zeroed when dropped. RFC 6749 §5.1: "The client MUST ignore unrecognized value names".
#[derive(Default)]
pub(crate) struct Members(pub(super) Map<String, Value>);

impl Members {
    /// Whether there is such a member with a value. Null and the empty string count as absent.
    pub(crate) fn has(&self, name: &str) -> bool {
        !matches!(self.0.get(name), None | Some(Value::Null)) && self.text(name) != Some("")
    }

    /// The member as it is.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The member, if it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Takes a string out. Null and the empty string count as absent.
    pub(crate) fn take_text(&mut self, name: &str) -> Result<Option<String>, Malformed> {
        match self.0.get_mut(name).map(Value::take) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(mut other) => {
                wipe(&mut other);
                Err(format!("`{name}` is not a string"))
            }
        }
    }

    /// Takes a token out. Control characters and spaces would not survive a header, or are an attack on one.
    pub(crate) fn take_token(&mut self, name: &str) -> Result<Option<Secret>, Malformed> {
        let token = self.take_text(name)?.map(Secret::new);
        // RFC 6749 appendix A.12: access-token = 1*VSCHAR
        let is_token = |token: &Secret| token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        match token {
            Some(token) if !is_token(&token) => Err(format!(
                "`{name}` holds characters that a token cannot have"
            )),
            token => Ok(token),
        }
    }

    /// A number, which servers also send as a string.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, Malformed> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(value) => number(value)
                .map(Some)
                .ok_or_else(|| format!("`{name}` is not a usable number")),
        }
    }

    /// The strings among the members that are secrets.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Secret> {
        const NAMES: [&str; 7] = [
            "access_token",
            "refresh_token",
            "id_token",
            "device_code",
            "client_secret",
            "registration_access_token",
            "code_verifier",
        ];
        NAMES
            .iter()
            .filter_map(|name| self.text(name))
            .map(Secret::from)
    }
}

/// A number, or a string that is one.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    // Beyond every integer type there is no honest number of seconds.
    number.filter(|number| number.is_finite() && number.abs() < 2e19)
}

/// A positive number of seconds as a duration, at most a century; nothing if it is not positive, or too little to
/// count.
pub(crate) fn positive_seconds(seconds: f64) -> Option<Duration> {
    let duration =
        Duration::try_from_secs_f64(seconds.max(0.0)).map_or(CENTURY, |time| time.min(CENTURY));
    (!duration.is_zero()).then_some(duration)
}

impl Drop for Members {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members({} redacted)", self.0.len())
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::scripted::response;
    use crate::oauth::error_response::ErrorResponse;
    use crate::oauth::server_text::Secrets;
    use crate::oauth::token_response::TokenResponse;
    use crate::time::UnixMillis;

    pub(crate) fn answer(status: u16, body: &str) -> Answer {
        let endpoint = Endpoint::parse("https://a.example/token?q=canary").unwrap();
        Answer::read(&endpoint, &response(status, body))
    }

    pub(crate) fn members(body: &str) -> Members {
        match answer(200, body).content {
            Content::Members(members) => members,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bodies_are_read_under_any_content_type() {
        let kind = |body: &[u8]| match Content::read(body) {
            Content::Empty => "empty",
            Content::Members(_) => "members",
            Content::OtherJson => "json",
            Content::Text(_) => "text",
        };
        for (body, expected) in [
            (&b""[..], "empty"),
            (b" \r\n", "empty"),
            (b"{}", "members"),
            (b"\xef\xbb\xbf {\"a\":1}\n", "members"),
            (b"error=slow_down&interval=10", "members"),
            (b"a=", "members"),
            (b"[1]", "json"),
            (b"\"text\"", "json"),
            (b"null", "json"),
            (b"<html>a=b</html>", "text"),
            (b"upstream=down and out", "text"),
            (b"Bad Gateway", "text"),
            (b"=b", "text"),
            (b"{\"a\":", "text"),
            (b"{\"a\":\"\xff\"}", "text"),
            (b"a=%FF\xff", "text"),
        ] {
            assert_eq!(kind(body), expected, "{:?}", String::from_utf8_lossy(body));
        }
        assert_eq!(kind("[".repeat(100_000).as_bytes()), "text");
    }

    #[test]
    fn numbers_may_be_strings_and_fractions_but_not_hostile() {
        let members = members(
            r#"{"a":5,"b":"5","c":5.5,"d":" 7 ","e":null,"f":"","g":-1,"h":1e3,
               "x1":"NaN","x2":"inf","x3":1e308,"x4":"1e308","x5":[5],"x6":true,"x7":"five","x8":{}}"#,
        );
        for (name, expected) in [
            ("a", Some(5.0)),
            ("b", Some(5.0)),
            ("c", Some(5.5)),
            ("d", Some(7.0)),
            ("e", None),
            ("f", None),
            ("g", Some(-1.0)),
            ("h", Some(1000.0)),
            ("absent", None),
        ] {
            assert_eq!(members.number(name), Ok(expected), "{name}");
        }
        for name in ["x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8"] {
            assert!(members.number(name).is_err(), "{name}");
        }
        assert_eq!(positive_seconds(0.0), None);
        assert_eq!(positive_seconds(-5.0), None);
        assert_eq!(positive_seconds(1e-300), None);
        assert_eq!(positive_seconds(1.9e19), Some(CENTURY));
    }

    #[test]
    fn tokens_are_visible_ascii() {
        let mut members = members(
            r#"{"a":"x+/=:~","b":"a b","c":"a\nb","d":"é","e":5,"f":null,"g":"","h":"a\u0000"}"#,
        );
        let mut take = |name: &str| members.take_token(name);
        assert_eq!(take("a").unwrap().unwrap().expose(), "x+/=:~");
        for name in ["b", "c", "d", "e", "h"] {
            assert!(take(name).is_err(), "{name}");
        }
        for name in ["f", "g", "absent"] {
            assert_eq!(take(name), Ok(None), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic_and_shown_without_a_trick(
            status in 100..600_u16,
            body in prop_oneof![
                any::<String>(),
                r#"\{"(error|access_token|expires_in|scope|message)":("\PC*"|-?[0-9]{1,400}|\[\]|null|\{\})\}"#,
                r"(error|access_token|expires_in)=[^\n]{0,40}(&[a-z]{1,9}=[^\n]{0,9})*",
            ],
        ) {
            let mut answer = answer(status, &body);
            if let Some(refusal) = ErrorResponse::read(&answer, "access_token", &Secrets::default()) {
                let error = refusal.to_error(&answer, "It failed", "Do that.");
                prop_assert!(!error.message().chars().any(char::is_control));
                prop_assert!(error.message().chars().count() < 900);
            }
            if let Some(Ok(tokens)) = answer.success().map(|members| TokenResponse::read(members, UnixMillis(0), None)) {
                prop_assert!(tokens.access.expose().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(tokens.lifetime.is_none_or(|lifetime| lifetime <= CENTURY));
            }
        }
    }

    #[test]
    fn debug_is_redacted_and_errors_leave_body_and_query_out() {
        let answer = answer(502, r#"{"access_token":"canary"}"#);
        let error = answer.not_oauth("It failed", None, "Do that.");
        assert_eq!(error.code(), ErrorCode::ServerError);
        assert_eq!(error.status(), Some(502));
        let malformed = answer.malformed("`x` is missing");
        assert!(!format!("{answer:?} {error:?} {malformed:?}").contains("canary"));
        assert!(error.message().contains("https://a.example/token"));
    }

    #[test]
    fn answers_that_are_no_oauth_are_told_apart() {
        for (status, body, code) in [
            (200, "<html>", ErrorCode::InvalidResponse),
            (302, "", ErrorCode::InvalidResponse),
            (404, "", ErrorCode::InvalidResponse),
            (404, "{}", ErrorCode::InvalidResponse),
            (403, "<html>", ErrorCode::ServerError),
            (408, "", ErrorCode::ServerError),
            (429, "{}", ErrorCode::ServerError),
            (500, "", ErrorCode::ServerError),
        ] {
            let error = answer(status, body).not_oauth("It failed", None, "Do that.");
            assert_eq!(error.code(), code, "{status} {body}");
        }
        for (status, body, words) in [
            (
                403,
                "<html>",
                "something in front of the server refused this program: https://a.example/token answered HTTP 403. Try from another network",
            ),
            (403, "error code: 1010", "in front of the server refused"),
            (403, "", "in front of the server refused"),
            (401, "<html>", "in front of the server refused"),
            (
                403,
                r#"{"message":"Forbidden"}"#,
                "in front of the server refused",
            ),
            (404, "<html>", "HTTP 404. Do that."),
            (
                400,
                "<html>",
                "HTTP 400. The server has a problem; try again later.",
            ),
            (
                503,
                "<html>",
                "HTTP 503. The server has a problem; try again later.",
            ),
        ] {
            let error = answer(status, body).not_oauth("It failed", None, "Do that.");
            assert!(error.message().contains(words), "{status} {body}: {error}");
        }
    }
}
