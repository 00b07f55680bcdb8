//! The rules that hold for configs, for text shown to a person, and for conclusions from a file.

use std::time::Duration;

use serde_json::Value;

use super::config::AuthConfig;
use super::freshness::{Freshness, Lifetime, Renewal, assess, is_from_the_future};
use super::last_refresh::{binding, blocked};
use super::ownership;
use super::verification::Verification;
use crate::error::ErrorCode;
use crate::http::AllowHttp;
use crate::http::fuzzing::is_safe_endpoint;
use crate::oauth::fuzzing::{authorization, is_printable, is_safe_to_open};
use crate::oauth::issuer::Issuer;
use crate::oauth::server_text::visible;
use crate::store;
use crate::time::{BootInstant, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const DAY: Duration = Duration::from_hours(24);

pub(crate) fn issuer(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Issuer::parse(&text, &AllowHttp::default()) {
        Ok(issuer) => {
            // RFC 8414 §4: it is compared character by character, so it stays what it was.
            assert_eq!(issuer.as_str(), text);
            assert!(is_printable(&text), "{text:?}");
            let url = issuer.url();
            assert!(url.query().is_none() && url.fragment().is_none());
            assert!(url.scheme() == "https" || issuer.is_loopback());
            assert!(url.username().is_empty() && url.password().is_none());
        }
        Err(reason) => assert!(reason.starts_with("must ") && reason.len() < 80),
    }
}

pub(crate) fn verification(input: &[u8]) {
    let Some(authorization) = authorization(input) else {
        return;
    };
    let shown = Verification::new(&authorization, NOW.plus(authorization.expires_in));
    assert!(
        shown.message.lines().all(is_printable),
        "{:?}",
        shown.message
    );
    assert!(shown.message.contains(&shown.user_code));
    assert!(shown.message.contains(&shown.verification_uri));
    assert!(shown.message.len() < 6000);
    assert!(shown.expires_at > NOW);
    let to_open = shown.verification_uri_complete.as_ref();
    let to_open = to_open.unwrap_or(&shown.verification_uri);
    assert!(is_safe_to_open(to_open));
    assert!(shown.qr_code.chars().all(|c| " ▀▄█\n".contains(c)));
    assert!(!shown.qr_code.is_empty(), "{to_open}");
    let printed = [&shown.message, &shown.qr_code, &shown.user_code];
    let code = authorization.device_code.expose();
    if code.starts_with("canary-")
        && !shown.user_code.contains("canary-")
        && !to_open.contains("canary-")
    {
        assert!(
            !printed.iter().any(|text| text.contains(code))
                || shown.verification_uri.contains(code)
        );
    }
}

/// The names of options, parameters and accounts are no secrets, and errors quote them without their invisible
/// characters.
fn names_a_secret(value: &Value) -> bool {
    const NAMES: [&str; 5] = ["pluginId", "profile", "profileId", "order", "agentId"];
    let has_it = |text: &str| visible(text).contains("canary-secret");
    value.as_object().is_some_and(|members| {
        members.iter().any(|(name, value)| {
            let is_name = NAMES.contains(&name.as_str());
            has_it(name) || (is_name && has_it(&value.to_string())) || names_a_secret(value)
        })
    })
}

pub(crate) fn config(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let names_a_secret = names_a_secret(&value);
    match AuthConfig::parse(value) {
        Ok(config) => {
            assert!(!config.plugin_id.trim().is_empty() && !config.profile.trim().is_empty());
            let endpoints = [
                &config.device_authorization_endpoint,
                &config.token_endpoint,
                &config.revocation_endpoint,
                &config.registration_endpoint,
            ];
            assert!(endpoints.into_iter().flatten().all(is_safe_endpoint));
            assert!(config.client_secret.is_none() || config.client_id.is_some());
            for limit in [
                config.refresh_buffer,
                config.request_timeout,
                config.lock_timeout,
            ] {
                assert!(limit <= DAY);
            }
            assert!(!config.request_timeout.is_zero());
            for (name, _) in &config.extra_parameters {
                assert!(!crate::oauth::is_own_parameter(name));
            }
            // RFC 6749 §3.3: scope-token
            let is_scope = |scope: &String| {
                !scope.is_empty()
                    && scope
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
            };
            assert!(config.scopes.iter().all(is_scope));
        }
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::InvalidConfig);
            assert!(
                names_a_secret || !error.message().contains("canary-secret"),
                "{error}"
            );
            assert!(is_printable(error.message()), "{error:?}");
        }
    }
}

pub(crate) fn credential_file(input: &[u8]) {
    let Some(snapshot) = store::fuzzing::credential_file(input) else {
        return;
    };
    for exact in [false, true] {
        let lifetime = Lifetime {
            expires: snapshot.expires(),
            refreshed_at: snapshot.refreshed_at(),
            deadline: snapshot
                .expires()
                .map(|expires| BootInstant(expires.since(NOW))),
            exact,
            renewal: Renewal::of(&snapshot),
            from_the_future: is_from_the_future(snapshot.refreshed_at(), NOW),
        };
        let assessment = assess(&lifetime, DAY, NOW, BootInstant::default());
        // An expired token is never handed out.
        let has_ended = snapshot.expires().is_some_and(|expires| expires <= NOW);
        assert_eq!(has_ended, assessment.freshness == Freshness::Expired);
    }
    // A failure that was noted stops nobody for longer than an hour.
    if let Some(wait) = snapshot
        .last_refresh()
        .and_then(|last| blocked(last, NOW))
        .and_then(|error| error.retry_after())
    {
        assert!(wait <= Duration::from_hours(1));
    }
    assert_eq!(binding(&snapshot, None), binding(&snapshot, None));
    let config =
        serde_json::json!({ "pluginId": "memory", "issuer": "https://a.example", "clientId": "c" });
    if let Ok(config) = AuthConfig::parse(config)
        && ownership::check(&config, &snapshot).is_ok()
    {
        assert!(
            snapshot
                .issuer()
                .is_none_or(|issuer| issuer == "https://a.example")
        );
        assert!(snapshot.client_id().is_none_or(|client| client == "c"));
    }
}
