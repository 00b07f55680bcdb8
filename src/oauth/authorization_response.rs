//! Reads the authorization response that the browser brings back (RFC 6749 §4.1.2, §4.1.2.1), and checks that it
//! belongs to the waiting login.

use url::{Url, form_urlencoded};

use super::error_response::{ErrorKind, known};
use super::server_text::Secrets;
use crate::error::{Error, ErrorCode, OauthError};
use crate::secret::Secret;

const START_AGAIN: &str = "Start the login again.";

/// The values that the response to this request must have.
pub(crate) struct Expected<'a> {
    /// `state`
    pub(crate) state: &'a Secret,
    /// The server that was asked, where it has a name.
    pub(crate) issuer: Option<&'a str>,
    /// The server says that it always sends `iss`.
    pub(crate) has_iss: bool,
    /// The request had a `prompt=consent` that nobody asked for.
    pub(crate) asks_for_consent: bool,
    /// The server's name for messages.
    pub(crate) server: &'a str,
}

/// Whether the server refused only because of a `prompt` that it does not know: "unsupported prompt value requested".
pub(crate) fn refuses_prompt(error: &Error) -> bool {
    error.code() == ErrorCode::OauthError
        && error.oauth().is_some_and(|oauth| match &oauth.description {
            Some(description) => description.to_ascii_lowercase().contains("prompt"),
            None => oauth.error == "invalid_request",
        })
}

/// Why there is no code.
#[derive(Debug)]
pub(crate) enum NoCode {
    /// The response belongs to another request, for the reason given as a part of a sentence. The right one may still
    /// come.
    NotOurs(&'static str),
    /// The response belongs to this request, and the login has failed.
    Refused(Error),
}

use NoCode::{NotOurs, Refused};

/// A code that the person brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pasted {
    /// `code`
    pub(crate) code: Secret,
    /// The `state` was compared. Without a `state`, only the server can say which login the code belongs to.
    pub(crate) is_ours: bool,
}

/// Reads the query of the redirect URI.
pub(crate) fn read(query: &str, expected: &Expected<'_>) -> Result<Secret, NoCode> {
    // RFC 6749 §3.1: "Request and response parameters MUST NOT be included more than once."
    let parameter = |name: &str| -> Result<Option<Secret>, NoCode> {
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(found, value)| found == name && !value.is_empty())
            .map(|(_, value)| Secret::new(value.into_owned()));
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(NotOurs("names something twice")),
            (value, None) => Ok(value),
        }
    };
    // RFC 6749 §10.12: the client must "associate the request with the user-agent's authenticated state". Errors have
    // it too (§4.1.2.1), so that no website can end a login.
    match parameter("state")? {
        None => return Err(NotOurs("has no `state` in it")),
        Some(state) if !state.is(expected.state) => {
            return Err(NotOurs("belongs to another login"));
        }
        Some(_) => {}
    }
    let (iss, code, error) = (parameter("iss")?, parameter("code")?, parameter("error")?);
    // MCP, authorization response validation: "applies equally to error responses", of which nothing is shown then.
    expected.check_issuer(iss.as_ref())?;
    if let Some(error) = error {
        let secrets = Secrets::new(code.into_iter().chain([expected.state.clone()]));
        let text = |secret: Option<Secret>| secret.and_then(|s| secrets.description(s.expose()));
        let oauth = OauthError {
            error: secrets.description(error.expose()).unwrap_or_default(),
            description: text(parameter("error_description")?),
            uri: parameter("error_uri")?.and_then(|uri| secrets.url(uri.expose())),
        };
        return Err(Refused(expected.refused(oauth)));
    }
    // RFC 6749 appendix A.11: code = 1*VSCHAR
    code.filter(is_code).ok_or_else(|| {
        let server = expected.server;
        let message = format!("{server} answered without a usable code. {START_AGAIN}");
        Refused(Error::new(ErrorCode::InvalidResponse, message))
    })
}

/// Reads what the person copied: the redirect URL, its query, a code, or `code#state` as some servers' pages show it.
pub(crate) fn read_pasted(text: &Secret, expected: &Expected<'_>) -> Result<Pasted, NoCode> {
    const NO_CODE: NoCode = NotOurs("has no code in it");
    let text = text.expose().trim();
    let query = match Url::parse(text) {
        // Some servers' codes have a colon in them.
        Ok(url) if text.contains("://") => Some(url.query().ok_or(NO_CODE)?.to_owned()),
        _ if text.contains("state=") => Some(text.trim_start_matches('?').to_owned()),
        _ => None,
    };
    if let Some(query) = query.map(Secret::new) {
        let is_answer = |name: &str| {
            form_urlencoded::parse(query.expose().as_bytes()).any(|(found, _)| found == name)
        };
        // For example, the page to open, which carries the same `state`.
        if !is_answer("code") && !is_answer("error") {
            return Err(NO_CODE);
        }
        return read(query.expose(), expected).map(|code| Pasted {
            code,
            is_ours: true,
        });
    }
    let (code, state) = match text.split_once('#') {
        Some((code, state)) => (Secret::from(code), Some(Secret::from(state))),
        None => (Secret::from(text), None),
    };
    if !is_code(&code) {
        return Err(NO_CODE);
    }
    match state {
        Some(state) if !state.is(expected.state) => Err(NotOurs("belongs to another login")),
        state => Ok(Pasted {
            code,
            is_ours: state.is_some(),
        }),
    }
}

fn is_code(code: &Secret) -> bool {
    let code = code.expose();
    !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Expected<'_> {
    /// RFC 9207 §2.4, against a server that presents another server's response as its own (mix-up).
    fn check_issuer(&self, iss: Option<&Secret>) -> Result<(), NoCode> {
        let Some(issuer) = self.issuer else {
            return Ok(());
        };
        let (problem, next) = match iss.map(Secret::expose) {
            // "If the value does not match the expected issuer identifier, clients MUST reject the authorization
            // response"
            Some(iss) if iss != issuer => {
                let iss = Secrets::default().description(iss).unwrap_or_default();
                (
                    format!("comes from the issuer \"{iss}\""),
                    "Somebody may have mixed two servers up on purpose: check `issuer`, then log in again.",
                )
            }
            // "Clients MUST reject authorization responses without the iss parameter from authorization servers which
            // do support the parameter according to the client's configuration."
            None if self.has_iss => (
                "has no `iss`, which the server's metadata promises (authorization_response_iss_parameter_supported), so that it \
                 may be another server's"
                    .to_owned(),
                "If it happens again, the server's operator has to send `iss`, or to promise it no longer (RFC 9207).",
            ),
            _ => return Ok(()),
        };
        Err(Refused(Error::new(
            ErrorCode::IssuerMismatch,
            format!(
                "The answer that the browser brought for {issuer} {problem}. Nothing of it was used. {next}"
            ),
        )))
    }

    /// A likely cause that the caller has not asked for.
    fn added(&self, code: ErrorCode, said: &str) -> &'static str {
        let is_suspect = match code {
            ErrorCode::OauthError => true,
            // Entra, where only an administrator may consent.
            _ => said.contains("consent") || said.contains("admin"),
        };
        if said.contains("code_challenge") || said.contains("pkce") {
            " The request has a `code_challenge`, as every login has (PKCE, RFC 7636): allow it for this client at the server."
        } else if self.asks_for_consent && is_suspect {
            " The request had `prompt=consent`, which is added for the scope offline_access: \
             `extraParameters: { prompt: \"\" }` leaves it out."
        } else {
            ""
        }
    }

    fn refused(&self, oauth: OauthError) -> Error {
        let server = self.server;
        let said = match &oauth.description {
            Some(description) => format!("{} ({})", oauth.error, description.trim_end_matches('.')),
            None => oauth.error.clone(),
        };
        let (code, what, next) = match known(&oauth.error) {
            // RFC 6749 §4.1.2.1: "The resource owner or authorization server denied the request."
            Some(ErrorKind::AccessDenied) => (
                ErrorCode::AccessDenied,
                "The login was declined",
                START_AGAIN,
            ),
            Some(ErrorKind::Unavailable) => (
                ErrorCode::ServerError,
                "The login failed",
                "The server has a problem; try again later.",
            ),
            _ => (
                ErrorCode::OauthError,
                "The login failed",
                match oauth.error.as_str() {
                    "invalid_scope" => "Check the configured scopes.",
                    "invalid_target" => "Check the configured resource.",
                    "unauthorized_client" | "unsupported_response_type" => {
                        "Enable the authorization code flow for this client at the server."
                    }
                    _ => START_AGAIN,
                },
            ),
        };
        let added = self.added(code, &said.to_ascii_lowercase());
        let message = format!("{what}: {server} answered {said}. {next}{added}");
        Error::new(code, message).with_oauth(oauth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://a.example";

    fn with<T>(has_iss: bool, issuer: Option<&str>, run: impl FnOnce(&Expected<'_>) -> T) -> T {
        run(&Expected {
            state: &Secret::from("the-state"),
            issuer,
            has_iss,
            asks_for_consent: false,
            server: "a.example",
        })
    }

    fn code(query: &str) -> Result<Secret, NoCode> {
        with(false, Some(ISSUER), |expected| read(query, expected))
    }

    fn refusal(outcome: Result<Secret, NoCode>) -> Error {
        match outcome {
            Err(Refused(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_example_of_rfc_6749_section_4_1_2() {
        let query = "code=SplxlOBeZQQYbYS6WxSbIA&state=the-state";
        assert_eq!(code(query).unwrap(), Secret::from("SplxlOBeZQQYbYS6WxSbIA"));
        let more = "session_state=x&iss=https%3A%2F%2Fa.example&code=a%2Fb%2Bc&state=the-state";
        assert_eq!(code(more).unwrap(), Secret::from("a/b+c"));
    }

    #[test]
    fn without_our_state_nothing_counts_not_even_an_error() {
        for query in [
            "",
            "code=c",
            "code=c&state=",
            "code=c&state=the-stat",
            "code=c&state=the-state2",
            "code=c&state=THE-STATE",
            "error=access_denied",
            "error=access_denied&state=x",
            "iss=https://evil.example&state=x",
            "code=c&state=the-state&state=x",
            "code=c&state=the-state&code=d",
            "code=c&state=the-state&iss=https://a.example&iss=https://a.example",
        ] {
            assert!(matches!(code(query), Err(NotOurs(_))), "{query}");
        }
    }

    #[test]
    fn the_issuer_is_compared_as_rfc_9207_wants_it() {
        let query = |iss: &str| format!("code=c&state=the-state{iss}");
        for (iss, has_iss, issuer, accepted) in [
            ("", false, Some(ISSUER), true),
            ("", true, Some(ISSUER), false),
            ("&iss=https%3A%2F%2Fa.example", true, Some(ISSUER), true),
            (
                "&iss=https%3A%2F%2Fa.example%2F",
                false,
                Some(ISSUER),
                false,
            ),
            (
                "&iss=https%3A%2F%2Fevil.example",
                false,
                Some(ISSUER),
                false,
            ),
            ("&iss=https%3A%2F%2Fevil.example", true, Some(ISSUER), false),
            ("&iss=https%3A%2F%2Fany.example", false, None, true),
        ] {
            let outcome = with(has_iss, issuer, |expected| read(&query(iss), expected));
            if accepted {
                outcome.unwrap();
            } else {
                let error = refusal(outcome);
                assert_eq!(error.code(), ErrorCode::IssuerMismatch, "{iss}");
                assert!(error.message().contains(ISSUER));
            }
        }
        // RFC 9207 §2 has `iss` in errors as well: a server that promises it is not believed without it.
        let query = "error=access_denied&state=the-state";
        for (has_iss, code) in [
            (true, ErrorCode::IssuerMismatch),
            (false, ErrorCode::AccessDenied),
        ] {
            let error = refusal(with(has_iss, Some(ISSUER), |expected| {
                read(query, expected)
            }));
            assert_eq!(error.code(), code);
        }
        // Another server's error is not accepted either.
        let error = refusal(code(
            "error=access_denied&state=the-state&iss=https://evil.example",
        ));
        assert_eq!(error.code(), ErrorCode::IssuerMismatch);
    }

    #[test]
    fn refusals_come_to_the_right_end_and_are_cleaned() {
        for (error, expected) in [
            ("access_denied", ErrorCode::AccessDenied),
            ("authorization_declined", ErrorCode::AccessDenied),
            ("server_error", ErrorCode::ServerError),
            ("temporarily_unavailable", ErrorCode::ServerError),
            ("invalid_scope", ErrorCode::OauthError),
            ("unauthorized_client", ErrorCode::OauthError),
            ("something_new", ErrorCode::OauthError),
        ] {
            let query = format!(
                "error={error}&error_description=No%1b[2J+the-state+secret-code.&code=secret-code&state=the-state\
                 &error_uri=javascript:alert(1)"
            );
            let refused = refusal(code(&query));
            assert_eq!(refused.code(), expected, "{error}");
            let oauth = refused.oauth().unwrap();
            assert_eq!(oauth.error, error);
            assert_eq!(oauth.uri, None);
            for hidden in ["the-state", "secret-code", "\u{1b}"] {
                assert!(!refused.message().contains(hidden), "{refused}");
            }
        }
        for query in ["state=the-state", "state=the-state&code=a%0Ab"] {
            let refused = refusal(code(query));
            assert_eq!(refused.code(), ErrorCode::InvalidResponse);
        }
    }

    #[test]
    fn what_is_pasted_is_a_url_a_query_a_code_or_code_and_state() {
        let pasted = |text: &str| {
            with(true, Some(ISSUER), |expected| {
                read_pasted(&Secret::from(text), expected)
            })
        };
        let iss = "iss=https%3A%2F%2Fa.example";
        for (text, is_ours) in [
            (
                format!(" http://127.0.0.1:5000/callback?code=the-code&state=the-state&{iss}\n"),
                true,
            ),
            (
                format!("https://console.example/cb?state=the-state&code=the-code&{iss}#"),
                true,
            ),
            (format!("?code=the-code&state=the-state&{iss}"), true),
            (format!("code=the-code&state=the-state&{iss}"), true),
            ("the-code#the-state".to_owned(), true),
            ("\tthe-code \r\n".to_owned(), false),
        ] {
            let read = pasted(&text).unwrap();
            assert_eq!(read.code, Secret::from("the-code"), "{text}");
            assert_eq!(read.is_ours, is_ours, "{text}");
        }
        for wrong in [
            "",
            "  ",
            "I do not know",
            "https://a.example/login",
            "https://a.example/authorize?state=the-state&client_id=x",
            "http://127.0.0.1:5000/callback?code=the-code&state=other",
            "http://127.0.0.1:5000/callback?code=the-code",
            "the-code#other",
            "#the-state",
            "code=the-code&state=other",
        ] {
            assert!(matches!(pasted(wrong), Err(NotOurs(_))), "{wrong}");
        }
        // A whole address has the issuer in it, where the server sends it.
        assert!(matches!(
            pasted("http://127.0.0.1:5000/callback?code=the-code&state=the-state"),
            Err(Refused(_))
        ));
        assert!(matches!(
            pasted(
                "http://127.0.0.1:5000/callback?error=access_denied&state=the-state&iss=https://a.example"
            ),
            Err(Refused(_))
        ));
    }
}
