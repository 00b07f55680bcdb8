//! Why nothing is handed out, in words, and which failures are no reason.

use crate::error::{Error, ErrorCode};

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
    let next = match config.names_a_server() {
        Ok(()) => "Log in first.",
        Err(_) => "Import a token first, or give `issuer` and log in.",
    };
    // Put together at once: of an order, this is asked for each account at each call of `status`.
    let [plugin, before, profile, after] = parts(&config.plugin_id, &config.profile);
    [
        "Nobody is logged in to ",
        plugin,
        before,
        profile,
        after,
        ". ",
        next,
    ]
    .concat()
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
    parts(&config.plugin_id, profile).concat()
}

fn parts<'a>(plugin: &'a str, profile: &'a str) -> [&'a str; 4] {
    if profile == "default" {
        [plugin, "", "", ""]
    } else {
        [plugin, " (profile ", profile, ")"]
    }
}
