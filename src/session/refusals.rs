//! Why nothing is handed out, in words, and which failures are no reason.

use crate::error::{Error, ErrorCode};
use crate::oauth::server_text::visible;
use crate::store::name::DEFAULT_PROFILE;

use super::config::AuthConfig;

/// A failure that says nothing against the login. By its code alone, because a failure read from the file has no more.
pub(super) fn is_passing(error: &Error) -> bool {
    // An untrusted certificate, or an answer that is not an OAuth response, comes from a portal or a proxy more often
    // than from the server.
    matches!(
        error.code(),
        ErrorCode::Network
            | ErrorCode::Timeout
            | ErrorCode::ServerError
            | ErrorCode::InvalidResponse
            | ErrorCode::StoreLocked
            | ErrorCode::StoreIo
    )
}

pub(super) fn login_required(config: &AuthConfig) -> Error {
    Error::new(ErrorCode::LoginRequired, nobody_logged_in(config))
}

/// The sentence of that error.
pub(super) fn nobody_logged_in(config: &AuthConfig) -> String {
    let (before, after) = nobody_around(config, &config.profile);
    let [_, _, profile, _] = parts("", &config.profile);
    shown([before.as_str(), profile, &after].concat())
}

/// The sentence before and after the name of an account, one that [is named as it is](is_named_as_it_is).
pub(super) fn nobody_around(config: &AuthConfig, profile: &str) -> (String, String) {
    let next = match config.names_a_server() {
        Ok(()) => "Log in first.",
        Err(_) => "Import a token first, or give `issuer` and log in.",
    };
    let [plugin, open, _, close] = parts(&config.plugin_id, profile);
    (
        shown(["Nobody is logged in to ", plugin, open].concat()),
        [close, ". ", next].concat(),
    )
}

/// Whether sentences name the account, and without a change.
pub(super) fn is_named_as_it_is(profile: &str) -> bool {
    profile != DEFAULT_PROFILE && is_plain(profile)
}

pub(super) fn cannot_refresh(config: &AuthConfig) -> Error {
    Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The login of {} has ended and cannot be refreshed. Log in again.",
            whose(config)
        ),
    )
}

/// Plugin and profile, as a person knows them.
pub(super) fn whose(config: &AuthConfig) -> String {
    whose_profile(config, &config.profile)
}

/// The same of another profile.
pub(super) fn whose_profile(config: &AuthConfig, profile: &str) -> String {
    shown(parts(&config.plugin_id, profile).concat())
}

/// A name may hold what a terminal obeys, or nobody sees. Nearly all are plain.
fn shown(text: String) -> String {
    if is_plain(&text) {
        text
    } else {
        visible(&text)
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn parts<'a>(plugin: &'a str, profile: &'a str) -> [&'a str; 4] {
    if profile == DEFAULT_PROFILE {
        [plugin, "", "", ""]
    } else {
        [plugin, " (profile ", profile, ")"]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_shown_without_what_nobody_sees() {
        let config = json!({ "pluginId": "\u{200b}p", "profile": "w\u{1b}ör\u{180d}k" });
        let config = AuthConfig::parse(config).unwrap();
        let message = login_required(&config).message().to_owned();
        assert!(
            message.starts_with("Nobody is logged in to p (profile wörk). "),
            "{message}"
        );
        assert!(
            cannot_refresh(&config)
                .message()
                .contains(" p (profile wörk) ")
        );
    }
}
