//! The successful answer of a token endpoint (RFC 6749 §5.1).

use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, Malformed, Members, number, positive_seconds};
use super::dpop::{DPOP, DpopKey};
use super::server_text::{Secrets, visible};
use crate::jwt;
use crate::secret::Secret;
use crate::time::{UnixMillis, parse_rfc3339};

const BEARER: &str = "Bearer";
/// The token types of the registry (RFC 6749 §11.1).
const KNOWN_TYPES: [&str; 4] = ["Bearer", "DPoP", "PoP", "N_A"];
/// More scopes than any server grants: each is compared with all others.
const MOST_SCOPES: usize = 1000;

/// Tokens as they were issued.
#[derive(Debug)]
pub(crate) struct TokenResponse {
    /// `access_token`
    pub(crate) access: Secret,
    /// `token_type`: `Bearer`, or `DPoP` with a key.
    pub(crate) token_type: String,
    /// The private key that the tokens are bound to, as it is kept.
    pub(crate) dpop_key: Option<Secret>,
    /// How long it is still valid; nothing if the server did not say.
    pub(crate) lifetime: Option<Duration>,
    /// `refresh_token`
    pub(crate) refresh: Option<Secret>,
    /// `scope`; `None` if the server sent none.
    pub(crate) scopes: Option<Vec<String>>,
    /// `id_token`
    pub(crate) id_token: Option<Secret>,
    /// `resource_url`: where Qwen's tokens are used.
    pub(crate) resource_url: Option<String>,
    /// `sub`: the account of the tokens, where the server names it here (atproto).
    pub(crate) subject: Option<String>,
    /// Everything else.
    pub(crate) rest: Box<Members>,
    /// How long the refresh token is still valid; nothing if the server did not say.
    pub(crate) refresh_lifetime: Option<Duration>,
    /// The flaw of an optional member, which was left out.
    pub(crate) flaw: Option<Malformed>,
}

/// A new refresh token that came with an unusable access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RotatedToken {
    /// `refresh_token`
    pub(crate) refresh: Secret,
    /// How long it is still valid.
    pub(crate) lifetime: Option<Duration>,
}

/// Why there is no usable access token, and the values that must be kept anyway.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// A part of a sentence.
    pub(crate) reason: Malformed,
    /// The refresh token beside it.
    pub(crate) refresh: Option<RotatedToken>,
}

impl TokenResponse {
    /// Reads an answer received at `now`; nothing if it is not a success in JSON. RFC 6749 §5.1 counts `expires_in`
    /// "from the time the response was generated", which the request alone surely precedes: an answer may have been
    /// slow.
    pub(crate) fn of(
        answer: &mut Answer,
        now: UnixMillis,
        dpop_key: Option<&DpopKey>,
    ) -> Option<Result<Self, Unusable>> {
        let age = answer.age;
        let left =
            |lifetime: Option<Duration>| lifetime.map(|lifetime| lifetime.saturating_sub(age));
        let read = Self::read(answer.success()?, now.minus(age), dpop_key);
        Some(match read {
            Ok(tokens) => Ok(Self {
                lifetime: left(tokens.lifetime),
                refresh_lifetime: left(tokens.refresh_lifetime),
                ..tokens
            }),
            Err(Unusable { reason, refresh }) => Err(Unusable {
                reason,
                refresh: refresh.map(|RotatedToken { refresh, lifetime }| RotatedToken {
                    refresh,
                    lifetime: left(lifetime),
                }),
            }),
        })
    }

    /// Reads the members of an answer to a request sent at `now`, to a request that proved possession of that key. A
    /// flaw in what nobody needs takes nothing away from the rest: a server that rotates has already forgotten the old
    /// refresh token.
    pub(crate) fn read(
        members: &mut Members,
        now: UnixMillis,
        dpop_key: Option<&DpopKey>,
    ) -> Result<Self, Unusable> {
        let mut flaw = None;
        let refresh = spared(members.take_token("refresh_token"), &mut flaw);
        let refresh_lifetime = refresh
            .as_ref()
            .and_then(|refresh| refresh_lifetime(members, refresh, now));
        // RFC 6749 §5.1: "expires_in RECOMMENDED. The lifetime in seconds of the access token."
        let told = spared(members.number("expires_in"), &mut flaw).and_then(positive_seconds);
        let id_token = spared(members.take_token("id_token"), &mut flaw);
        match usable(members, dpop_key) {
            Ok((access, token_type)) => Ok(Self {
                lifetime: told.or_else(|| jwt_lifetime(&access, now)),
                access,
                token_type: token_type.to_owned(),
                dpop_key: dpop_key.map(|key| key.stored().clone()),
                refresh,
                scopes: scopes(members.value("scope")),
                id_token,
                resource_url: spared(members.take_text("resource_url"), &mut flaw),
                subject: spared(members.take_text("sub"), &mut flaw)
                    .and_then(|subject| Secrets::default().description(&subject)),
                rest: Box::new(Members(std::mem::take(&mut members.0))),
                refresh_lifetime,
                flaw,
            }),
            Err(reason) => Err(Unusable {
                reason,
                refresh: refresh.map(|refresh| RotatedToken {
                    refresh,
                    lifetime: refresh_lifetime,
                }),
            }),
        }
    }
}

/// The access token and its type.
fn usable(
    members: &mut Members,
    dpop_key: Option<&DpopKey>,
) -> Result<(Secret, &'static str), Malformed> {
    let access = members
        .take_token("access_token")?
        .ok_or_else(|| "`access_token` is missing".to_owned())?;
    let told = members.take_text("token_type")?;
    let token_type = match dpop_key {
        Some(_) => bound(told)?,
        None => bearer(told)?,
    };
    Ok((access, token_type))
}

/// Reads an optional member, and notes its flaw.
fn spared<T>(member: Result<Option<T>, Malformed>, flaw: &mut Option<Malformed>) -> Option<T> {
    member.unwrap_or_else(|reason| {
        flaw.get_or_insert(reason);
        None
    })
}

/// No RFC has a member for the end of a refresh token. Keycloak says `refresh_expires_in`, Google and GitHub
/// `refresh_token_expires_in`, Intuit `x_refresh_token_expires_in`, others give a time, as `refresh_token_expires_at`.
fn refresh_lifetime(members: &Members, refresh: &Secret, now: UnixMillis) -> Option<Duration> {
    let told = members.0.iter().find_map(|(name, value)| {
        let name: String = name
            .chars()
            .filter(char::is_ascii_alphabetic)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let is_meant = name.contains("refresh")
            && ["exp", "life", "valid"]
                .iter()
                .any(|word| name.contains(word));
        is_meant.then(|| {
            let seconds = number(value);
            let until = match seconds {
                Some(seconds) => instant(seconds).filter(|_| !name.ends_with("in")),
                None => value.as_str().and_then(parse_rfc3339),
            };
            match until {
                Some(until) => Some(until.since(now)).filter(|left| !left.is_zero()),
                // Keycloak's 0 is a session without an end.
                None => seconds.and_then(positive_seconds),
            }
        })?
    });
    told.or_else(|| jwt_lifetime(refresh, now))
}

/// A number that is too large for a lifetime: a time in seconds or milliseconds.
fn instant(number: f64) -> Option<UnixMillis> {
    /// September 2001 in seconds, or 31 years.
    const SECONDS: f64 = 1e9;
    const MILLIS: f64 = 1e11;
    let seconds = if number >= MILLIS {
        number / 1000.0
    } else {
        number
    };
    (number >= SECONDS)
        .then(|| positive_seconds(seconds))?
        .map(|since| UnixMillis::default().plus(since))
}

fn bearer(told: Option<String>) -> Result<&'static str, Malformed> {
    match told {
        // RFC 6749 §5.1: token_type is REQUIRED, but there are servers without; "Value is case insensitive."
        None => Ok(BEARER),
        Some(told) if told.trim().eq_ignore_ascii_case(BEARER) => Ok(BEARER),
        // RFC 6749 §7.1: "The client MUST NOT use an access token if it does not understand the token type."
        Some(told) => Err(format!("{} is not Bearer", named(&told))),
    }
}

fn bound(told: Option<String>) -> Result<&'static str, Malformed> {
    match told.unwrap_or_default() {
        told if told.trim().eq_ignore_ascii_case(DPOP) => Ok(DPOP),
        // RFC 9449 §5: "If the access token response contains a different token_type value than DPoP, the access token
        // protection provided by DPoP is not given. The client MUST discard the response in this case if this
        // protection is deemed important": setting `dpop` makes it important.
        told => Err(format!(
            "{} is not DPoP, so the tokens are not bound to the key that was proved. Turn DPoP on for this client at the \
             server, or log in without `dpop`",
            named(&told)
        )),
    }
}

/// A type that is known by name. Anything else is never quoted: a server that mixes its members up has put a token
/// there.
fn named(told: &str) -> String {
    let known = KNOWN_TYPES
        .iter()
        .find(|name| told.eq_ignore_ascii_case(name));
    known.map_or_else(
        || "the `token_type`".to_owned(),
        |name| format!("the `token_type` {name}"),
    )
}

/// RFC 6749 §3.3: "a list of space-delimited, case-sensitive strings". GitHub delimits with commas; some send an array.
fn scopes(value: Option<&Value>) -> Option<Vec<String>> {
    let listed: Vec<&str> = match value? {
        Value::String(text) if text.contains(char::is_whitespace) => {
            // "a, b"
            text.split_whitespace()
                .map(|scope| scope.trim_matches(','))
                .collect()
        }
        Value::String(text) => text.split(',').collect(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let mut scopes = Vec::new();
    for scope in listed.into_iter().take(MOST_SCOPES) {
        let scope = visible(scope.trim());
        if !scope.is_empty() && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    // GitHub Apps say "" because their permissions are no scopes.
    (!scopes.is_empty()).then_some(scopes)
}

/// A hint, read without verifying, for servers that leave `expires_in` out: RFC 9068 §2.2 access tokens are JWTs with
/// `exp` and `iat`.
fn jwt_lifetime(token: &Secret, now: UnixMillis) -> Option<Duration> {
    let claims = jwt_claims(token)?;
    let claim = |name| claims.number(name).ok().flatten();
    let exp = claim("exp")?;
    // The server's own difference does not depend on our clock.
    let from_issue = claim("iat").map(|iat| exp - iat).and_then(positive_seconds);
    from_issue.or_else(|| {
        let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
        positive_seconds(exp - now.as_secs_f64())
    })
}

/// Reads the expiry of a token that was issued at another time: RFC 7519 §4.1.4 `exp`. A hint.
pub(crate) fn jwt_expiry(token: &Secret) -> Option<UnixMillis> {
    let exp = jwt_claims(token)?.number("exp").ok().flatten()?;
    Some(UnixMillis::default().plus(positive_seconds(exp)?))
}

fn jwt_claims(token: &Secret) -> Option<Members> {
    jwt::claims(token).map(Members)
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::oauth::answer::tests::members;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn read(body: &str) -> Result<TokenResponse, Malformed> {
        TokenResponse::read(&mut members(body), NOW, None).map_err(|unusable| unusable.reason)
    }

    fn with(rest: &str) -> Result<TokenResponse, Malformed> {
        read(&format!(r#"{{"access_token":"a+/=",{rest}}}"#))
    }

    #[test]
    fn the_example_of_rfc_6749_section_5_1() {
        let response = read(
            r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example-no-bearer","expires_in":3600}"#,
        );
        assert!(response.unwrap_err().contains("is not Bearer"));
        let response = read(
            r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"bEARER","expires_in":3600,
                "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","scope":"a b","id_token":"x.y.z","example_parameter":"v"}"#,
        )
        .unwrap();
        assert_eq!(response.access.expose(), "2YotnFZFEjr1zCsicMWpAA");
        assert_eq!(response.token_type, "Bearer");
        assert_eq!(response.lifetime, Some(Duration::from_hours(1)));
        assert_eq!(response.refresh.unwrap().expose(), "tGzv3JOkF0XG5Qx2TlKWIA");
        assert_eq!(response.scopes.unwrap(), ["a", "b"]);
        assert_eq!(response.id_token.unwrap().expose(), "x.y.z");
    }

    #[test]
    fn what_is_missing_or_null_is_not_told() {
        for body in [
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","token_type":null,"expires_in":null,"refresh_token":null,"scope":null,"id_token":null}"#,
            r#"{"access_token":"a","token_type":"","expires_in":"","refresh_token":"","scope":"","id_token":""}"#,
            "access_token=a&token_type=bearer&scope=&expires_in=",
        ] {
            let response = read(body).unwrap();
            assert_eq!(response.token_type, "Bearer");
            assert!(response.lifetime.is_none() && response.refresh.is_none());
            assert!(response.scopes.is_none() && response.id_token.is_none());
        }
    }

    #[test]
    fn tokens_that_could_not_be_used_are_refused() {
        for body in [
            "{}",
            r#"{"access_token":null}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":5}"#,
            r#"{"access_token":{"token":"a"}}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\r\nX-Evil: 1"}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","token_type":["Bearer"]}"#,
        ] {
            let reason = read(body).unwrap_err();
            assert!(!reason.contains("X-Evil"), "{reason}");
        }
    }

    #[test]
    fn a_flaw_in_what_nobody_needs_takes_nothing_away() {
        for rest in [
            r#""refresh_token":5"#,
            r#""refresh_token":"a\u0000""#,
            r#""id_token":false"#,
            r#""id_token":"not issued""#,
            r#""id_token":{"a":1}"#,
            r#""expires_in":"1h""#,
            r#""expires_in":[1]"#,
            r#""scope":5,"expires_in":{}"#,
        ] {
            let response = with(rest).unwrap();
            assert!(
                response.flaw.is_some_and(|flaw| flaw.contains('`')),
                "{rest}"
            );
            assert!(response.refresh.is_none() && response.id_token.is_none());
            assert_eq!(response.lifetime, None);
        }
        assert_eq!(with(r#""expires_in":60"#).unwrap().flaw, None);
    }

    #[test]
    fn a_new_refresh_token_outlives_an_access_token_that_cannot_be_used() {
        for rest in [
            r#""access_token":"a","token_type":"mac""#,
            r#""access_token":"a","token_type":7"#,
            r#""access_token":"a b""#,
            r#""access_token":null"#,
        ] {
            let body = format!(r#"{{{rest},"refresh_token":"r2","refresh_expires_in":60}}"#);
            let unusable = TokenResponse::read(&mut members(&body), NOW, None).unwrap_err();
            let kept = unusable.refresh.unwrap();
            assert_eq!(kept.refresh.expose(), "r2");
            assert_eq!(kept.lifetime, Some(Duration::from_mins(1)));
        }
    }

    #[test]
    fn the_end_of_a_refresh_token_is_said_in_many_ways() {
        let hour = Some(Duration::from_hours(1));
        for (member, expected) in [
            (r#""refresh_expires_in":3600"#, hour),
            (r#""refresh_token_expires_in":"3600""#, hour),
            (r#""x_refresh_token_expires_in":3600"#, hour),
            (r#""refreshTokenExpiresIn":3600"#, hour),
            (r#""refresh_token_lifetime":3600"#, hour),
            (r#""refresh_token_validity":"3600""#, hour),
            (r#""refresh_token_expires_at":1700003600"#, hour),
            (r#""refreshTokenExpiresAt":1700003600000"#, hour),
            (r#""refresh_token_expires_at":"2023-11-14T23:13:20Z""#, hour),
            (
                r#""refresh_token_expiry":"2023-11-15T00:13:20.000+01:00""#,
                hour,
            ),
            // Keycloak's sessions that have no end; a time that is over is not believed.
            (r#""refresh_expires_in":0"#, None),
            (r#""refresh_token_expires_at":1600000000"#, None),
            (r#""refresh_expires_in":"never""#, None),
            (r#""refresh_expires_in":[1]"#, None),
            // When to refresh the access token, Entra.
            (r#""refresh_in":3600"#, None),
        ] {
            let response = with(&format!(r#""refresh_token":"r",{member}"#)).unwrap();
            assert_eq!(response.refresh_lifetime, expected, "{member}");
            assert_eq!(response.flaw, None, "{member}");
        }
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iat":1000000,"exp":1003600}"#);
        let jwt = with(&format!(r#""refresh_token":"e30.{claims}.s""#)).unwrap();
        assert_eq!(jwt.refresh_lifetime, hour);
        let alone = with(r#""refresh_expires_in":3600"#).unwrap();
        assert_eq!(alone.refresh_lifetime, None, "there is no refresh token");
    }

    #[test]
    fn a_token_in_the_place_of_its_type_is_not_quoted() {
        let swapped = read(r#"{"access_token":"bearer","token_type":"canary-access-token"}"#);
        assert!(!swapped.unwrap_err().contains("canary"));
        let other = with(r#""token_type":"dpop""#).unwrap_err();
        assert!(other.contains("DPoP"), "{other}");
    }

    #[test]
    fn a_flood_of_scopes_is_cut() {
        let flood: Vec<String> = (0..200_000).map(|number| format!("{number:x}")).collect();
        let response = with(&format!(r#""scope":"{}""#, flood.join(" "))).unwrap();
        assert_eq!(response.scopes.unwrap(), flood[..MOST_SCOPES]);
    }

    #[test]
    fn lifetimes_may_be_strings_and_fractions_but_not_hostile() {
        for (expires_in, seconds) in [
            ("3600", Some(3600.0)),
            ("\"3600\"", Some(3600.0)),
            ("3599.5", Some(3599.5)),
            ("0", None),
            ("-1", None),
        ] {
            let response = with(&format!(r#""expires_in":{expires_in}"#)).unwrap();
            assert_eq!(
                response.lifetime.map(|lifetime| lifetime.as_secs_f64()),
                seconds
            );
        }
        assert!(
            with(r#""expires_in":9223372036854775807"#)
                .unwrap()
                .lifetime
                .is_some()
        );
        for hostile in ["1e308", "\"NaN\"", "\"inf\"", "\"1h\"", "[1]", "true"] {
            let response = with(&format!(r#""expires_in":{hostile}"#)).unwrap();
            assert_eq!(response.lifetime, None, "{hostile}");
            assert!(response.flaw.unwrap().contains("expires_in"));
        }
    }

    #[test]
    fn scopes_come_in_many_shapes() {
        for (scope, expected) in [
            ("\"a b\"", Some(vec!["a", "b"])),
            ("\" a  b a \"", Some(vec!["a", "b"])),
            ("\"repo,gist\"", Some(vec!["repo", "gist"])),
            ("\"a,b c\"", Some(vec!["a,b", "c"])),
            ("\"a, b,c , d\"", Some(vec!["a", "b,c", "d"])),
            ("[\"a\",\"b\",5]", Some(vec!["a", "b"])),
            ("\"\"", None),
            ("[]", None),
            ("5", None),
        ] {
            let response = with(&format!(r#""scope":{scope}"#)).unwrap();
            let expected: Option<Vec<String>> =
                expected.map(|scopes| scopes.into_iter().map(str::to_owned).collect());
            assert_eq!(response.scopes, expected, "{scope}");
        }
    }

    #[test]
    fn a_jwt_says_how_long_it_lives_where_the_answer_does_not() {
        let lifetime = |claims: &str, expires_in: &str| {
            let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
            let body = format!(r#"{{"access_token":"{token}","expires_in":{expires_in}}}"#);
            read(&body)
                .unwrap()
                .lifetime
                .map(|lifetime| lifetime.as_secs())
        };
        // exp - iat, even where the server's clock differs much from this one
        assert_eq!(
            lifetime(r#"{"exp":1000600,"iat":1000000}"#, "null"),
            Some(600)
        );
        assert_eq!(lifetime(r#"{"exp":1000600,"iat":1000000}"#, "0"), Some(600));
        assert_eq!(lifetime(r#"{"exp":1700000300}"#, "-1"), Some(300));
        assert_eq!(lifetime(r#"{"exp":1699999999}"#, "null"), None);
        assert_eq!(
            lifetime(r#"{"exp":1700000300,"iat":1800000000}"#, "null"),
            Some(300)
        );
        assert_eq!(lifetime(r#"{"exp":1000600,"iat":1000000}"#, "60"), Some(60));
        for claims in [
            r#"{"exp":"soon"}"#,
            r#"{"iat":1}"#,
            "[]",
            "not json",
            r#"{"exp":1e308}"#,
        ] {
            assert_eq!(lifetime(claims, "null"), None, "{claims}");
        }
        for token in ["a.b", "a.b.c.d", "..", "a.!.c"] {
            assert_eq!(jwt_lifetime(&Secret::from(token), NOW), None);
        }
    }
    #[test]
    fn a_life_counts_from_when_the_request_was_sent() {
        let age = Duration::from_secs(20);
        let of = |body: &str| {
            let mut answer = Answer {
                age,
                ..crate::oauth::answer::tests::answer(200, body)
            };
            TokenResponse::of(&mut answer, NOW, None).unwrap()
        };
        let tokens = of(
            r#"{"access_token":"a","expires_in":60,"refresh_token":"r","refresh_expires_in":30}"#,
        )
        .unwrap();
        assert_eq!(tokens.lifetime, Some(Duration::from_secs(40)));
        assert_eq!(tokens.refresh_lifetime, Some(Duration::from_secs(10)));
        let over = of(r#"{"access_token":"a","expires_in":5}"#).unwrap();
        assert_eq!(over.lifetime, Some(Duration::ZERO));
        // An end that is a time is that time, however slow the answer was.
        let claims = format!(r#"{{"exp":{}}}"#, NOW.0 / 1000 + 60);
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let jwt = of(&format!(r#"{{"access_token":"{token}"}}"#)).unwrap();
        assert_eq!(jwt.lifetime, Some(Duration::from_mins(1)));
        let rotated = of(r#"{"token_type":"mac","refresh_token":"r","refresh_expires_in":30}"#);
        assert_eq!(
            rotated.unwrap_err().refresh.unwrap().lifetime,
            Some(Duration::from_secs(10))
        );
    }
}
