//! Classifies an error response (RFC 6749 §5.2, RFC 8628 §3.5): by its `error` value, under any HTTP status.

use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, Members, positive_seconds};
use super::refusal_words::{Subject, Words};
use super::server_text::Secrets;
use crate::error::{Error, ErrorCode, OauthError};

/// The meaning of an `error` value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// RFC 8628 §3.5 `authorization_pending`
    AuthorizationPending,
    /// RFC 8628 §3.5 `slow_down`
    SlowDown,
    /// RFC 8628 §3.5 `access_denied`, in one of its spellings
    AccessDenied,
    /// RFC 8628 §3.5 `expired_token`, in one of its spellings
    ExpiredToken,
    /// RFC 6749 §5.2 `invalid_grant`, and what servers say for it about refresh tokens
    InvalidGrant,
    /// RFC 6749 §5.2 `invalid_client`
    InvalidClient,
    /// RFC 6749 §4.1.2.1 `server_error` or `temporarily_unavailable`
    Unavailable,
    /// RFC 9449 §8 `use_dpop_nonce`
    UseDpopNonce,
    /// Another registered code
    Other,
    /// A code that we do not know
    Unknown,
    /// A refusal without a code
    NoCode,
}

use ErrorKind::{
    AccessDenied, AuthorizationPending, ExpiredToken, InvalidClient, InvalidGrant, NoCode, Other,
    SlowDown, Unavailable, Unknown, UseDpopNonce,
};

/// The codes that count wherever they are found. Longer ones that contain a shorter one are no problem: whole words
/// match.
const KNOWN: [(&str, ErrorKind); 52] = [
    ("authorization_pending", AuthorizationPending),
    ("slow_down", SlowDown),
    ("access_denied", AccessDenied),
    ("authorization_declined", AccessDenied),
    ("authorization_denied", AccessDenied),
    ("expired_token", ExpiredToken),
    ("token_expired", ExpiredToken),
    ("code_expired", ExpiredToken),
    ("expired_code", ExpiredToken),
    ("device_code_expired", ExpiredToken),
    ("expired_device_code", ExpiredToken),
    ("invalid_grant", InvalidGrant),
    ("bad_refresh_token", InvalidGrant),
    ("invalid_refresh_token", InvalidGrant),
    ("refresh_token_invalid", InvalidGrant),
    ("refresh_token_invalidated", InvalidGrant),
    ("refresh_token_reused", InvalidGrant),
    ("refresh_token_expired", InvalidGrant),
    ("expired_refresh_token", InvalidGrant),
    ("refresh_token_revoked", InvalidGrant),
    ("refresh_token_not_found", InvalidGrant),
    ("token_revoked", InvalidGrant),
    ("invalid_token", InvalidGrant),
    ("session_expired", InvalidGrant),
    ("interaction_required", InvalidGrant),
    ("login_required", InvalidGrant),
    ("consent_required", InvalidGrant),
    ("invalid_client", InvalidClient),
    ("incorrect_client_credentials", InvalidClient),
    ("invalid_client_credentials", InvalidClient),
    ("invalid_client_id", InvalidClient),
    ("invalid_client_secret", InvalidClient),
    ("client_not_found", InvalidClient),
    ("server_error", Unavailable),
    ("temporarily_unavailable", Unavailable),
    ("invalid_request", Other),
    ("invalid_scope", Other),
    ("invalid_target", Other),
    ("unauthorized_client", Other),
    ("unsupported_grant_type", Other),
    ("unsupported_token_type", Other),
    ("invalid_redirect_uri", Other),
    ("invalid_client_metadata", Other),
    ("invalid_software_statement", Other),
    ("unapproved_software_statement", Other),
    ("incorrect_device_code", Other),
    ("bad_verification_code", Other),
    ("invalid_device_code", Other),
    ("device_flow_disabled", Other),
    ("invalid_dpop_proof", Other),
    ("use_dpop_nonce", UseDpopNonce),
    ("insufficient_scope", Other),
];

/// A difference of clocks that a server may refuse a proof for.
const NOTABLE_SKEW: Duration = Duration::from_secs(10);

/// Where servers put a code, or a text that holds one, when `error` does not.
const ELSEWHERE: &str = "code error_code errorCode error message error_description errorDescription error_message msg \
    detail reason type title status";

const DESCRIPTIONS: [&str; 9] = [
    "error_description",
    "errorDescription",
    "error_message",
    "message",
    "detail",
    "msg",
    // WeChat
    "errmsg",
    // Zoom
    "reason",
    // league/oauth2-server
    "hint",
];

/// Where else a refusal says what it is about: `FusionAuth`, Entra, and entries as Strava's.
const SUBJECTS: [&str; 6] = [
    "error_reason",
    "suberror",
    "error_code",
    "code",
    "resource",
    "field",
];

/// A refusal, cleaned for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    /// The meaning of the code.
    pub(crate) kind: ErrorKind,
    /// The server's words; `error` is empty where it gave no code.
    pub(crate) oauth: OauthError,
    /// The subject of its words.
    pub(crate) subject: Subject,
    /// Its words say that the server is busy, under any code.
    is_busy: bool,
    /// The new `interval` of a `slow_down`.
    pub(crate) interval: Option<Duration>,
}

impl ErrorResponse {
    /// The refusal in an answer. `expected` is the member that makes it a success instead, as long as `error` is
    /// absent.
    pub(crate) fn read(answer: &Answer, expected: &str, secrets: &Secrets) -> Option<Self> {
        let members = answer.members()?;
        let claims_error = members.value("error").is_some_and(is_set);
        // GitHub answers errors with 200; RFC 6749 §5.2 wants 400.
        if answer.is_success() && !claims_error && (expected.is_empty() || members.has(expected)) {
            return None;
        }
        let (kind, code) = classify(members);
        let words = words(members);
        let (kind, subject) = believed(kind, &words);
        let says_nothing = subject != Subject::Login && !words.are_busy();
        if answer.is_success() && !claims_error && kind == NoCode && says_nothing {
            return None;
        }
        let mut secrets = Secrets::new(secrets.iter().cloned());
        members.secrets().for_each(|secret| secrets.add(secret));
        Some(Self {
            kind,
            oauth: OauthError {
                error: code
                    .and_then(|code| secrets.description(&code))
                    .unwrap_or_default(),
                description: description(members, &secrets),
                uri: members.text("error_uri").and_then(|uri| secrets.url(uri)),
            },
            subject,
            is_busy: words.are_busy(),
            interval: members
                .number("interval")
                .ok()
                .flatten()
                .and_then(positive_seconds),
        })
    }

    /// Whether the server is at fault or busy, so that the same request may fare better later. Only a code that we know
    /// is heard above a 5xx, 408 or 429.
    pub(crate) fn is_passing(&self, answer: &Answer) -> bool {
        match self.kind {
            Unavailable => true,
            // RFC 9449 §8: its new nonce is known by now, so the next request fares better.
            UseDpopNonce => answer.has_proof,
            // RFC 8628 §3.5: these have a meaning of their own, and a person waits for it.
            AuthorizationPending | SlowDown | AccessDenied | ExpiredToken => false,
            Unknown | NoCode if answer.is_passing_failure() => true,
            // The code is not believed against its words.
            _ => self.is_busy,
        }
    }

    /// The refusal as a caller sees it, where it has no meaning of its own for the request.
    pub(crate) fn to_error(&self, answer: &Answer, what: &str, next: &str) -> Error {
        if self.is_passing(answer) || self.kind == SlowDown {
            let next = "The server has a problem or is busy; try again later.";
            return answer.error(ErrorCode::ServerError, what, Some(&self.oauth), next);
        }
        if self.kind == NoCode {
            return answer.not_oauth(what, Some(&self.oauth), next);
        }
        let clocks;
        let next = match self.oauth.error.as_str() {
            _ if self.kind == InvalidClient => {
                "Check clientId, clientSecret and clientAuthentication."
            }
            // RFC 9449 §5: such a server answers so to a request without a proof.
            "use_dpop_nonce" | "invalid_dpop_proof" if !answer.has_proof => {
                "The server wants tokens that are bound to a key: set `dpop: true` and log in again."
            }
            // RFC 9449 §11.1: servers "MUST only accept DPoP proofs for a limited time after their creation".
            "invalid_dpop_proof" if answer.clock_skew >= NOTABLE_SKEW => {
                clocks = format!(
                    "The clocks of this machine and of the server are {} s apart: set this machine's clock, then try again.",
                    answer.clock_skew.as_secs()
                );
                &clocks
            }
            "invalid_scope" => "Check the configured scopes.",
            "invalid_target" => {
                "Check the configured resource; some servers give a token for no more than one."
            }
            "unauthorized_client" | "unsupported_grant_type" | "device_flow_disabled" => {
                "Enable the device flow for this client at the server."
            }
            _ => next,
        };
        answer.error(ErrorCode::OauthError, what, Some(&self.oauth), next)
    }

    /// Whether the description speaks of that.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        let description = self.oauth.description.as_deref().unwrap_or_default();
        description.to_ascii_lowercase().contains(word)
    }
}

/// All that a refusal says in words, and its code where nobody knows what that means.
fn words(members: &Members) -> Words {
    let error = members.value("error");
    let own = error
        .and_then(Value::as_str)
        .filter(|code| known(code.trim()).is_none());
    let nested = error.filter(|error| error.is_object());
    let listed = error
        .filter(|error| error.is_array())
        .or(members.value("errors"));
    let first = listed.and_then(|errors| errors.get(0));
    let names = || DESCRIPTIONS.iter().chain(&SUBJECTS);
    let own_texts = names().filter_map(|name| members.value(name));
    let nested_texts = [nested, first]
        .into_iter()
        .flatten()
        .flat_map(|place| names().filter_map(|name| place.get(name)));
    let texts = own_texts.chain(nested_texts).filter_map(Value::as_str);
    Words::of(
        own.into_iter()
            .chain(first.and_then(Value::as_str))
            .chain(texts),
    )
}

/// Corrects the meaning of a code by the words beside it, and names their subject.
fn believed(kind: ErrorKind, words: &Words) -> (ErrorKind, Subject) {
    match kind {
        // RFC 6749 §5.2 invalid_grant is about the grant; of a client's proof it says invalid_client, of a parameter
        // invalid_request.
        InvalidGrant if words.are_of_client_proof() => (InvalidClient, Subject::Client),
        InvalidGrant if words.are_of_something_missing() => (Other, Subject::Request),
        _ => (kind, words.subject()),
    }
}

/// Whether an `error` member says that there is an error.
fn is_set(error: &Value) -> bool {
    match error {
        Value::Null => false,
        Value::Bool(is_error) => *is_error,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(errors) => !errors.is_empty(),
        Value::Object(_) => true,
    }
}

/// Classifies a refusal, and returns the code that decided.
fn classify(members: &Members) -> (ErrorKind, Option<String>) {
    // RFC 6749 §5.2: "error REQUIRED. A single ASCII error code"
    let own = members.text("error").map(str::trim);
    if let Some(code) = own.filter(|code| is_code(code)) {
        return (known(code).unwrap_or(Unknown), Some(code.to_owned()));
    }
    // Frameworks put the reason phrase into `error`, or an object, and the code elsewhere.
    let nested = members.value("error").filter(|error| error.is_object());
    let first = members.value("errors").and_then(|errors| errors.get(0));
    let places: Vec<&Value> = [nested, first]
        .into_iter()
        .flatten()
        .chain(
            members
                .value("error")
                .filter(|error| error.is_array())
                .and_then(|errors| errors.get(0)),
        )
        .collect();
    let texts = places
        .iter()
        .flat_map(|place| ELSEWHERE.split(' ').filter_map(|name| place.get(name)))
        .chain(ELSEWHERE.split(' ').filter_map(|name| members.value(name)))
        .filter_map(Value::as_str);
    for text in texts {
        if let Some((code, kind)) = known_within(text) {
            return (kind, Some(code.to_owned()));
        }
    }
    let nested_code = places
        .iter()
        .flat_map(|place| {
            ["code", "type", "error"]
                .iter()
                .filter_map(|name| place.get(name))
        })
        .filter_map(Value::as_str)
        .find(|code| is_code(code));
    match nested_code {
        Some(code) => (Unknown, Some(code.to_owned())),
        None => (NoCode, None),
    }
}

/// The meaning of a known code.
pub(super) fn known(code: &str) -> Option<ErrorKind> {
    KNOWN
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code))
        .map(|(_, kind)| *kind)
}

/// Finds the first known code that occurs in the text as a word.
fn known_within(text: &str) -> Option<(&'static str, ErrorKind)> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .find_map(|word| {
            KNOWN
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(word))
        })
        .copied()
}

/// Whether a text is a code and not a sentence or an HTTP reason phrase.
fn is_code(text: &str) -> bool {
    const LONGEST: usize = 100;
    !text.is_empty()
        && text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte))
        && (known(text).is_some() || !is_reason_phrase(text))
}

/// "Bad Request", `bad_request`, `BadRequestException` and the like: the status once more, no code.
fn is_reason_phrase(text: &str) -> bool {
    const PHRASES: &str = "error badrequest unauthorized unauthenticated forbidden notfound methodnotallowed notacceptable \
        requesttimeout conflict gone preconditionfailed preconditionrequired unprocessableentity \
        unprocessablecontent toomanyrequests internalservererror internalserver notimplemented badgateway \
        serviceunavailable gatewaytimeout";
    let letters: String = text
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let stem = letters
        .strip_suffix("exception")
        .or_else(|| letters.strip_suffix("error"))
        .unwrap_or(&letters);
    stem == "http"
        || PHRASES
            .split(' ')
            .any(|phrase| phrase == letters || phrase == stem)
}

fn description(members: &Members, secrets: &Secrets) -> Option<String> {
    let nested = members.value("error").filter(|error| error.is_object());
    let first = members.value("errors").and_then(|errors| errors.get(0));
    DESCRIPTIONS
        .iter()
        .filter_map(|name| members.value(name))
        .chain(
            [nested, first]
                .into_iter()
                .flatten()
                .flat_map(|place| DESCRIPTIONS.iter().filter_map(|name| place.get(name))),
        )
        .filter_map(Value::as_str)
        .find_map(|text| secrets.description(text))
        // Where `error` is a sentence, it is the description.
        .or_else(|| {
            let sentence = members.text("error").filter(|text| !is_code(text.trim()))?;
            secrets.description(sentence)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::answer::tests::answer;
    use crate::secret::Secret;

    fn read(status: u16, body: &str) -> Option<ErrorResponse> {
        ErrorResponse::read(&answer(status, body), "access_token", &Secrets::default())
    }

    fn kind(status: u16, body: &str) -> Option<ErrorKind> {
        read(status, body).map(|response| response.kind)
    }

    #[test]
    fn by_the_error_value_under_any_status() {
        for status in [200, 400, 401, 403, 428, 429, 500, 503] {
            for (code, expected) in KNOWN {
                let body = format!(r#"{{"error":"{code}"}}"#);
                assert_eq!(kind(status, &body), Some(expected), "{status} {code}");
            }
        }
        assert_eq!(kind(400, "error=slow_down&interval=10"), Some(SlowDown));
        assert_eq!(
            kind(400, r#"{"error":" Access_Denied "}"#),
            Some(AccessDenied)
        );
        assert_eq!(
            kind(400, r#"{"error":"admin_policy_enforced"}"#),
            Some(Unknown)
        );
        assert_eq!(kind(400, r#"{"error":"urn:example:odd"}"#), Some(Unknown));
    }

    #[test]
    fn a_code_elsewhere_counts_where_error_is_absent_or_a_reason_phrase() {
        for body in [
            r#"{"statusCode":400,"error":"Bad Request","message":"authorization_pending"}"#,
            r#"{"error":"BadRequestException","message":"authorization_pending"}"#,
            r#"{"error":"bad_request","error_description":"Device: authorization_pending."}"#,
            r#"{"error":400,"message":"authorization_pending"}"#,
            r#"{"error":true,"code":"AUTHORIZATION_PENDING"}"#,
            r#"{"error":null,"errorCode":"authorization_pending"}"#,
            r#"{"message":"authorization_pending"}"#,
            r#"{"detail":"authorization_pending"}"#,
            r#"{"error":{"code":"authorization_pending","message":"Wait."}}"#,
            r#"{"error":{"code":400,"message":"authorization_pending"}}"#,
            r#"{"error":{"type":"authorization_pending"}}"#,
            r#"{"errors":[{"code":"authorization_pending"}]}"#,
            r#"{"error":[{"code":"authorization_pending"}]}"#,
            r#"{"error":"Error: authorization_pending"}"#,
        ] {
            assert_eq!(kind(400, body), Some(AuthorizationPending), "{body}");
        }
        assert_eq!(
            kind(200, r#"{"status":"authorization_pending"}"#),
            Some(AuthorizationPending)
        );
    }

    #[test]
    fn what_has_no_code_is_a_refusal_without_one() {
        for body in [
            "{}",
            r#"{"error":"Unauthorized","message":"jwt expired"}"#,
            r#"{"error":"Invalid refresh token"}"#,
            r#"{"error":{"code":400}}"#,
            r#"{"message":"not_authorization_pending_really"}"#,
        ] {
            assert_eq!(kind(401, body), Some(NoCode), "{body}");
        }
        assert_eq!(kind(401, "<html>"), None);
        assert_eq!(kind(401, ""), None);
    }

    #[test]
    fn a_success_is_no_refusal_but_200_with_error_is() {
        assert_eq!(
            kind(200, r#"{"access_token":"a","message":"slow_down"}"#),
            None
        );
        for error in ["null", "\"\"", "false", "0", "[]"] {
            assert_eq!(
                kind(200, &format!(r#"{{"access_token":"a","error":{error}}}"#)),
                None
            );
        }
        assert_eq!(
            kind(200, r#"{"access_token":"a","error":"slow_down"}"#),
            Some(SlowDown)
        );
        assert_eq!(
            kind(200, r#"{"access_token":"a","error":"Bad Request"}"#),
            Some(NoCode)
        );
        assert_eq!(kind(200, r#"{"hello":"world"}"#), None);
    }

    #[test]
    fn nested_shapes_keep_their_code_and_description() {
        let nested = read(
            400,
            r#"{"error":{"code":"quota_used_up","message":"Too much.\u001b[2J"}}"#,
        )
        .unwrap();
        assert_eq!(nested.kind, Unknown);
        assert_eq!(nested.oauth.error, "quota_used_up");
        assert_eq!(nested.oauth.description.as_deref(), Some("Too much.[2J"));
        let sentence = read(400, r#"{"error":"Invalid refresh token"}"#).unwrap();
        assert_eq!(
            sentence.oauth.description.as_deref(),
            Some("Invalid refresh token")
        );
        assert_eq!(sentence.oauth.error, "");
    }

    #[test]
    fn slow_down_brings_its_interval() {
        let interval = |body: &str| read(400, body).unwrap().interval;
        assert_eq!(
            interval(r#"{"error":"slow_down","interval":"10"}"#),
            Some(Duration::from_secs(10))
        );
        for hostile in ["-1", "\"NaN\"", "1e308", "[]", "null", "0"] {
            assert_eq!(
                interval(&format!(r#"{{"error":"slow_down","interval":{hostile}}}"#)),
                None
            );
        }
    }

    #[test]
    fn secrets_are_removed_from_all_that_is_kept() {
        let secrets = Secrets::new([Secret::from("canary-code")]);
        let body = r#"{"error":"canary-code","error_description":"canary-code and canary-token",
            "error_uri":"https://a.example/?c=canary-code","access_token":"canary-token"}"#;
        let response = ErrorResponse::read(&answer(400, body), "access_token", &secrets).unwrap();
        assert!(!format!("{response:?}").contains("canary"), "{response:?}");
        let uri = r#"{"error":"x","error_uri":"javascript:alert(1)"}"#;
        assert_eq!(read(400, uri).unwrap().oauth.uri, None);
    }
}
