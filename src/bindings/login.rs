//! `login`.

use napi::bindgen_prelude::Unknown;
use napi::Env;
use napi_derive::napi;

use crate::session::device_tokens::{Progress, ProgressKind};
use crate::session::verification;

use super::listener::{ListenerFunction, Payload};
use super::operation::{Operation, start};
use super::options::{Kind, Known, SIGNAL, auth_config, check};
use super::process::{session, settle_before_exit};

/// How a login talks to the person.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct LoginOptions {
    /// Called once with the code and where to enter it: print `message`. What it throws or rejects with ends the login and
    /// is passed on unchanged.
    #[napi(ts_type = "(verification: Verification) => void | Promise<void>")]
    pub on_verification: (),
    /// Called with the URL to open, which is always http(s). Its failure never ends the login.
    #[napi(ts_type = "(url: string) => void | Promise<void>")]
    pub open_url: Option<()>,
    /// Called at each step of the wait. Its failure never ends the login.
    #[napi(ts_type = "(event: ProgressEvent) => void")]
    pub on_progress: Option<()>,
    /// Ends the login at once: `ABORTED`, with the signal's reason as `cause`.
    #[napi(ts_type = "AbortSignal")]
    pub signal: Option<()>,
}

/// What the person needs to approve the login (RFC 8628 §3.2).
#[napi(object, object_from_js = false)]
pub struct Verification {
    /// The code to enter.
    pub user_code: String,
    /// The page to enter it on; http(s).
    pub verification_uri: String,
    /// The same page with the code filled in, where the server offers it.
    pub verification_uri_complete: Option<String>,
    /// When the code ends, Unix milliseconds.
    pub expires_at: f64,
    /// Ready to print: URL, code, minutes left.
    pub message: String,
    /// The verification URL as a QR code of half-block characters, for a dark terminal. Empty when the URL is too long.
    pub qr_code: String,
}

/// A step of the wait.
#[napi(object, object_from_js = false)]
pub struct ProgressEvent {
    /// `waiting`: the person has not decided; `slow_down`: the server asked for a longer interval; `retrying`: the server
    /// could not be reached or failed and is asked again; `approved`.
    #[napi(js_name = "type", ts_type = "\"waiting\" | \"slow_down\" | \"retrying\" | \"approved\"")]
    pub kind: String,
    /// When the server is asked next, Unix milliseconds.
    pub next_poll_at: Option<f64>,
    /// When the code ends, Unix milliseconds.
    pub expires_at: f64,
    /// What the server or the network said.
    pub detail: Option<String>,
}

const OPTIONS: [Known; 4] = [
    Known {
        name: "onVerification",
        kind: Kind::Function,
        required: true,
    },
    Known {
        name: "openUrl",
        kind: Kind::Function,
        required: false,
    },
    Known {
        name: "onProgress",
        kind: Kind::Function,
        required: false,
    },
    SIGNAL,
];

/// Checks the second argument of `login` and `authorizeDevice`.
pub(super) fn check_login_options(options: &Unknown<'_>) -> Result<(), crate::error::Error> {
    check(options, &OPTIONS)
}

/// Logs in by the OAuth 2.0 Device Authorization Grant (RFC 8628) and stores the credential. What was stored before stays
/// until then.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`,
/// `ISSUER_MISMATCH`, `DEVICE_FLOW_UNSUPPORTED`, `REGISTRATION_FAILED`, `OAUTH_ERROR`, `ACCESS_DENIED`,
/// `DEVICE_CODE_EXPIRED`, `ABORTED`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { login } from "clawdbot-plugin-auth";
///
/// const status = await login(
///   { pluginId: "my-memory", issuer: "https://auth.example.com", scopes: ["memory", "offline_access"] },
///   { onVerification: (verification) => console.log(verification.message) },
/// );
/// console.log(status.state);
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, options: LoginOptions",
    ts_return_type = "Promise<AuthStatus>"
)]
pub fn login(
    env: Env,
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    settle_before_exit(env);
    let config = check_login_options(&options).and_then(|()| auth_config(&config));
    start(
        &listener,
        config.map(|config| {
            |cancellation: std::sync::Arc<_>, listener| async move {
                let status = session().login(&config, &listener, &cancellation).await?;
                Ok(Payload::B(status.into()))
            }
        }),
    )
}

impl From<verification::Verification> for Verification {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix milliseconds fit a double for 285,000 years"
    )]
    fn from(verification: verification::Verification) -> Self {
        Self {
            user_code: verification.user_code,
            verification_uri: verification.verification_uri,
            verification_uri_complete: verification.verification_uri_complete,
            expires_at: verification.expires_at.0 as f64,
            message: verification.message,
            qr_code: verification.qr_code,
        }
    }
}

impl From<Progress> for ProgressEvent {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix milliseconds fit a double for 285,000 years"
    )]
    fn from(progress: Progress) -> Self {
        Self {
            kind: match progress.kind {
                ProgressKind::Waiting => "waiting",
                ProgressKind::SlowDown => "slow_down",
                ProgressKind::Retrying => "retrying",
                ProgressKind::Approved => "approved",
            }
            .to_owned(),
            next_poll_at: progress.next_poll_at.map(|at| at.0 as f64),
            expires_at: progress.expires_at.0 as f64,
            detail: progress.detail,
        }
    }
}
