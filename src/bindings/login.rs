//! `login`.

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue};
use napi_derive::napi;

use crate::error::Error;
use crate::session::config::invalid;

use super::auth_config::auth_config;
use super::auth_status;
use super::listener::{Listener, ListenerFunction};
use super::operation::{Operation, start};
use super::options::{Kind, Known, SIGNAL, check, member};
use super::payload::Payload;
use super::person::Person;
use super::process::{session, settle_before_exit};

/// How a login talks to the person.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct LoginOptions {
    /// Called once with the code and where to enter it, or with the page to open: print `message`. If it throws or
    /// rejects, the login ends with that same error.
    #[napi(ts_type = "(verification: Verification) => void | Promise<void>")]
    pub on_verification: (),
    /// Called with the URL to open, which is always http(s). Its failure never ends the login.
    #[napi(ts_type = "(url: string) => void | Promise<void>")]
    pub open_url: Option<()>,
    /// Asks the person for the address or code that the browser shows at the end of an authorization code flow, where
    /// the browser cannot return by itself: `redirectUri` is not on this machine, its port is taken, or the session is
    /// remote. Resolve to the address of the last page, to the code, or to `code#state`. A wrong text leads to another
    /// call, three in all. `request.signal` aborts when the text is no longer needed. If it throws or rejects, the
    /// login ends with that same error.
    #[napi(ts_type = "(request: PasteRequest) => Promise<string>")]
    pub on_paste: Option<()>,
    /// The person's browser is on another machine, so `onPaste` is called at once; this machine still waits for the
    /// browser as well.
    /// @default over SSH, in a container, and on Linux without a display
    pub remote: Option<bool>,
    /// Called at each step of the wait. Its failure never ends the login.
    #[napi(ts_type = "(event: ProgressEvent) => void")]
    pub on_progress: Option<()>,
    /// Ends the login at once: `ABORTED`, with the signal's reason as `cause`.
    #[napi(ts_type = "AbortSignal")]
    pub signal: Option<()>,
}

/// The request that {@link LoginOptions.onPaste} shows to the person.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct PasteRequest {
    /// Ready to print: the text to paste, and why the last one was wrong.
    pub message: String,
    /// The browser has come back by itself, or the login is over.
    #[napi(ts_type = "AbortSignal")]
    pub signal: (),
}

const OPTIONS: [Known; 6] = [
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
    Known {
        name: ON_PASTE,
        kind: Kind::Function,
        required: false,
    },
    Known {
        name: REMOTE,
        kind: Kind::Flag,
        required: false,
    },
    SIGNAL,
];
const ON_PASTE: &str = "onPaste";
const REMOTE: &str = "remote";

/// Reads the second argument of `login` and `authorizeDevice`.
pub(super) fn login_options(options: &Unknown<'_>) -> Result<Person, Error> {
    check(options, &OPTIONS)?;
    let unreadable = |_| invalid("The options cannot be read.");
    Ok(Person {
        can_paste: member(options, ON_PASTE)?.is_some(),
        is_remote: member(options, REMOTE)?
            .map(|remote| remote.coerce_to_bool().map_err(unreadable))
            .transpose()?,
    })
}

/// Logs in by the OAuth 2.0 Device Authorization Grant (RFC 8628), or in the browser by the authorization code flow
/// with PKCE (`flow` in the config; RFC 6749 §4.1, 7636, 8252, 9207), and stores the credential. A previous credential
/// stays until then.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`,
/// `ISSUER_MISMATCH`, `DEVICE_FLOW_UNSUPPORTED`, `REGISTRATION_FAILED`, `OAUTH_ERROR`, `ACCESS_DENIED`,
/// `DEVICE_CODE_EXPIRED`, `ABORTED`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`. `TIMEOUT` also means that the
/// browser did not return within 10 minutes.
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
    let parsed = login_options(&options).and_then(|person| Ok((person, auth_config(&config)?)));
    start(
        &listener,
        parsed.map(|(person, config)| {
            move |cancellation: std::sync::Arc<_>, listener: Listener| async move {
                let listener = listener.with(person);
                let status = session().login(&config, &listener, &cancellation).await?;
                Ok(Payload::B(auth_status::one(&status)))
            }
        }),
    )
}
