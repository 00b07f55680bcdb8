//! The instructions for the person who logs in (RFC 8628 §3.3).

use std::time::Duration;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::oauth::device_authorization::DeviceAuthorization;
use crate::time::UnixMillis;

#[expect(clippy::struct_field_names, reason = "the RFC's own names")]
/// The code, where to enter it, and both ready to print.
#[derive(Clone, Debug)]
pub(crate) struct Verification {
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) verification_uri_complete: Option<String>,
    pub(crate) expires_at: UnixMillis,
    pub(crate) message: String,
    pub(crate) qr_code: String,
}

impl Verification {
    pub(crate) fn new(authorization: &DeviceAuthorization, expires_at: UnixMillis) -> Self {
        Self::of_code(
            authorization.user_code.clone(),
            authorization.verification_uri.clone(),
            authorization.verification_uri_complete.clone(),
            expires_at,
            authorization.expires_in,
        )
    }

    /// A code and where to enter it.
    pub(crate) fn of_code(
        user_code: String,
        verification_uri: String,
        verification_uri_complete: Option<String>,
        expires_at: UnixMillis,
        lifetime: Duration,
    ) -> Self {
        let complete = verification_uri_complete.as_deref();
        Self {
            message: message(&user_code, &verification_uri, complete, lifetime),
            qr_code: qr_code(complete.unwrap_or(&verification_uri)),
            user_code,
            verification_uri,
            verification_uri_complete,
            expires_at,
        }
    }

    /// A page that asks for no code. `has_qr_code` where any device may open it.
    pub(crate) fn of_page(
        url: String,
        expires_at: UnixMillis,
        lifetime: Duration,
        has_qr_code: bool,
    ) -> Self {
        let here = if has_qr_code { "" } else { " on this machine" };
        Self {
            user_code: String::new(),
            message: format!(
                "To log in, open this page in a browser{here}:\n\n  {url}\n\nThe login waits for {}.",
                validity(lifetime)
            ),
            qr_code: if has_qr_code {
                qr_code(&url)
            } else {
                String::new()
            },
            verification_uri: url,
            verification_uri_complete: None,
            expires_at,
        }
    }
}

fn message(code: &str, page: &str, complete: Option<&str>, lifetime: Duration) -> String {
    let minutes = validity(lifetime);
    // RFC 8628 §3.3.1: with verification_uri_complete the code is still shown, so that the person can compare it.
    match complete {
        Some(complete) => format!(
            "To log in, open this page and confirm that it shows the code {code}:\n\n  {complete}\n\n\
             On another device: open {page} and enter {code}. The code is valid for {minutes}."
        ),
        None => format!(
            "To log in, open this page:\n\n  {page}\n\nand enter the code {code}. The code is valid for {minutes}."
        ),
    }
}

fn validity(expires_in: Duration) -> String {
    let minutes = expires_in.as_secs() / 60;
    match minutes {
        0 => format!("{} seconds", expires_in.as_secs()),
        1 => "1 minute".to_owned(),
        _ => format!("{minutes} minutes"),
    }
}

/// Half-block characters, light modules drawn, as a dark terminal needs it; empty when the URL is too long for any
/// code.
fn qr_code(url: &str) -> String {
    QrCode::with_error_correction_level(url, EcLevel::L).map_or_else(
        |_| String::new(),
        |code| {
            code.render::<Dense1x2>()
                .dark_color(Dense1x2::Light)
                .light_color(Dense1x2::Dark)
                .quiet_zone(true)
                .build()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn authorization(complete: Option<&str>, expires_in: u64) -> DeviceAuthorization {
        DeviceAuthorization {
            device_code: Secret::from("device-code-canary"),
            user_code: "WDJB-MJHT".to_owned(),
            verification_uri: "https://example.com/device".to_owned(),
            verification_uri_complete: complete.map(str::to_owned),
            expires_in: Duration::from_secs(expires_in),
            interval: Duration::from_secs(5),
        }
    }

    #[test]
    fn the_message_has_url_code_and_minutes() {
        let shown = Verification::new(&authorization(None, 1799), UnixMillis(0));
        for part in ["https://example.com/device", "WDJB-MJHT", "29 minutes"] {
            assert!(shown.message.contains(part), "{}", shown.message);
        }
        assert!(!shown.message.contains("canary"));
    }

    #[test]
    fn the_complete_url_is_the_one_to_open_and_the_code_is_still_shown() {
        let complete = "https://example.com/device?user_code=WDJB-MJHT";
        let shown = Verification::new(&authorization(Some(complete), 61), UnixMillis(0));
        assert!(shown.message.contains("1 minute."));
        assert_eq!(shown.message.matches("WDJB-MJHT").count(), 3);
    }

    #[test]
    fn a_url_too_long_for_a_qr_code_has_none() {
        let long = format!("https://example.com/{}", "a".repeat(4000));
        let shown = Verification::new(&authorization(Some(&long), 60), UnixMillis(0));
        assert_eq!(shown.qr_code, "");
    }
}
