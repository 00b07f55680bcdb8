//! Odd servers that conform to the RFCs, as a general rule.
//!
//! These forms conform, and must be accepted:
//! - RFC 6749 §5.1, RFC 8628 §3.2: a 200 with a JSON object (RFC 8259 §2: white space around it does not count; §4: its
//!   members are unordered; §7: any character may be escaped; §6: a number may be written as integer, fraction or exponent).
//! - RFC 6749 §5.1: unrecognized members are ignored; `token_type` is case insensitive; `refresh_token`, `scope` and
//!   `expires_in` may be missing. RFC 8628 §3.2: `interval` and `verification_uri_complete` may be.
//! - RFC 6749 §5.2, RFC 8628 §3.5: an error is a 400 (401 for `invalid_client`) with `error`, and perhaps a description.
//!
//! Beyond it, because real servers do so: a BOM, numbers as strings, members that are null, any 2xx, any status for an
//! error.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::answer::tests::{answer, members};
use super::device_authorization::DeviceAuthorization;
use super::error_response::{ErrorKind, ErrorResponse};
use super::server_text::Secrets;
use super::token_response::TokenResponse;
use crate::time::UnixMillis;

/// Values of members that no RFC names.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// How a number of seconds may be written.
fn seconds(range: std::ops::Range<u32>) -> impl Strategy<Value = (u32, String)> {
    (range, 0..5_u8).prop_map(|(seconds, way)| {
        let text = match way {
            0 => seconds.to_string(),
            1 => format!("{seconds}.0"),
            2 => format!("{}e-1", u64::from(seconds) * 10),
            3 => format!("\"{seconds}\""),
            _ => format!("{seconds}E+0"),
        };
        (seconds, text)
    })
}

/// How an object may be written: members that nobody knows, white space, a BOM, and an order.
#[derive(Clone, Debug)]
struct Shape {
    others: Vec<(String, Value)>,
    space: String,
    bom: &'static str,
    order: Vec<prop::sample::Index>,
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        prop::collection::vec(("x_[a-z]{1,8}", anything()), 0..5),
        "[ \t\r\n]{0,3}",
        prop::sample::select(vec!["", "\u{feff}"]),
        prop::collection::vec(any::<prop::sample::Index>(), 12),
    )
        .prop_map(|(others, space, bom, order)| Shape {
            others,
            space,
            bom,
            order,
        })
}

fn shaped(known: Vec<(&'static str, String)>, shape: &Shape) -> String {
    let Shape {
        others,
        space,
        bom,
        order,
    } = shape;
    let others = others
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_string()));
    let mut members: Vec<String> = Vec::new();
    for ((name, value), place) in known.into_iter().chain(others).zip(order) {
        let place = place.index(members.len() + 1);
        members.insert(
            place,
            format!("{space}\"{name}\"{space}:{space}{value}{space}"),
        );
    }
    format!("{bom}{space}{{{}}}{space}", members.join(","))
}

/// A string as JSON, with any of its characters escaped.
fn escaped(text: &str, every: usize) -> String {
    let mut json = String::from('"');
    for (place, c) in text.chars().enumerate() {
        if place % every == 0 && c.is_ascii() {
            write!(json, "\\u{:04x}", u32::from(c)).unwrap();
        } else {
            json.push_str(&Value::from(c.to_string()).to_string().replace('"', ""));
        }
    }
    json.push('"');
    json
}

/// A member that may be missing, or null.
fn perhaps<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = (Option<T>, bool)> {
    (prop::option::of(value), any::<bool>())
}

fn add<T>(
    known: &mut Vec<(&'static str, String)>,
    name: &'static str,
    (value, is_null): &(Option<T>, bool),
    text: impl Fn(&T) -> String,
) {
    match value {
        Some(value) => known.push((name, text(value))),
        None if *is_null => known.push((name, "null".to_owned())),
        None => {}
    }
}

fn token() -> impl Strategy<Value = String> {
    "[!#-\\[\\]-~]{1,200}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn conforming_tokens_are_taken(
        (access, every) in (token(), 1..50_usize),
        refresh in perhaps(token()),
        token_type in perhaps("[bB][eE][aA][rR][eE][rR]"),
        expires_in in perhaps(seconds(1..10_000_000)),
        scopes in perhaps(prop::collection::btree_set("[a-z:/._-]{1,12}", 1..6)),
        shape in shape(),
        status in prop::sample::select(vec![200_u16, 201, 202]),
    ) {
        let mut known = vec![("access_token", escaped(&access, every))];
        add(&mut known, "refresh_token", &refresh, |token| escaped(token, every));
        add(&mut known, "token_type", &token_type, |name| format!("\"{name}\""));
        add(&mut known, "expires_in", &expires_in, |(_, text)| text.clone());
        add(&mut known, "scope", &scopes, |scopes| {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            escaped(&scopes.join(" "), every)
        });
        let body = shaped(known, &shape);
        let mut answer = answer(status, &body);
        prop_assert!(ErrorResponse::read(&answer, "access_token", &Secrets::default()).is_none(), "{}", body);
        let Some(Ok(tokens)) = answer.success().map(|members| TokenResponse::read(members, UnixMillis(0), None)) else {
            return Err(TestCaseError::fail(body));
        };
        prop_assert_eq!(tokens.access.expose(), access);
        prop_assert_eq!(tokens.refresh.map(|token| token.expose().to_owned()), refresh.0);
        prop_assert_eq!(tokens.token_type, "Bearer");
        if let Some((seconds, _)) = expires_in.0 {
            prop_assert_eq!(tokens.lifetime, Some(Duration::from_secs(seconds.into())));
        }
        let granted: Option<Vec<String>> = scopes.0.map(|scopes| scopes.into_iter().collect());
        prop_assert_eq!(tokens.scopes, granted);
    }

    #[test]
    fn conforming_codes_are_shown(
        (device_code, user_code, every) in (token(), "[A-Z0-9][A-Z0-9 -]{0,12}[A-Z0-9]", 1..50_usize),
        path in "[a-z/]{0,20}",
        complete in perhaps(Just(())),
        expires_in in seconds(61..1_000_000),
        interval in perhaps(seconds(0..60)),
        names_url in any::<bool>(),
        shape in shape(),
    ) {
        let uri = format!("https://login.example/{path}");
        let full = format!("{uri}?user_code=X");
        let name = if names_url { "verification_url" } else { "verification_uri" };
        let mut known = vec![
            ("device_code", escaped(&device_code, every)),
            ("user_code", escaped(&user_code, every)),
            (name, escaped(&uri, every)),
            ("expires_in", expires_in.1),
        ];
        add(&mut known, "verification_uri_complete", &complete, |()| escaped(&full, every));
        add(&mut known, "interval", &interval, |(_, text)| text.clone());
        let body = shaped(known, &shape);
        let read = DeviceAuthorization::read(&mut members(&body));
        let Ok(authorization) = read else {
            return Err(TestCaseError::fail(format!("{read:?}: {body}")));
        };
        prop_assert_eq!(authorization.device_code.expose(), device_code);
        prop_assert_eq!(authorization.user_code, user_code);
        prop_assert_eq!(authorization.verification_uri, uri);
        prop_assert_eq!(authorization.verification_uri_complete, complete.0.map(|()| full));
        prop_assert_eq!(authorization.expires_in, Duration::from_secs(expires_in.0.into()));
        let interval = interval.0.map_or(5, |(seconds, _)| seconds.max(1));
        prop_assert_eq!(authorization.interval, Duration::from_secs(interval.into()));
    }

    #[test]
    fn an_error_means_what_its_code_says(
        (code, kind) in prop::sample::select(vec![
            ("authorization_pending", ErrorKind::AuthorizationPending),
            ("slow_down", ErrorKind::SlowDown),
            ("access_denied", ErrorKind::AccessDenied),
            ("expired_token", ErrorKind::ExpiredToken),
            ("invalid_grant", ErrorKind::InvalidGrant),
            ("invalid_client", ErrorKind::InvalidClient),
            ("invalid_scope", ErrorKind::Other),
        ]),
        description in perhaps("[ -!#-\\[\\]-~]{0,80}"),
        others in prop::collection::btree_map("x_[a-z]{1,8}", anything(), 0..5),
        every in 1..50_usize,
        status in prop::sample::select(vec![400_u16, 401, 403, 200, 429, 500]),
    ) {
        let mut known: Vec<(&'static str, String)> = vec![("error", escaped(code, every))];
        add(&mut known, "error_description", &description, |text| escaped(text, every));
        let others: Map<String, Value> = others.into_iter().collect();
        let mut all: Vec<String> = others.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        all.extend(known.iter().map(|(name, value)| format!("\"{name}\":{value}")));
        let body = format!("{{{}}}", all.join(","));
        let said = ErrorResponse::read(&answer(status, &body), "access_token", &Secrets::default());
        let Some(said) = said else {
            return Err(TestCaseError::fail(body));
        };
        prop_assert_eq!(said.kind, kind);
        prop_assert_eq!(said.oauth.error, code);
    }
}
