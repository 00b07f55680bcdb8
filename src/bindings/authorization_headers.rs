//! `authorizationHeaders`: its native half, which signs; `index.js` has made the token valid before.

use napi::bindgen_prelude::{Either3, Null, Unknown};
use napi::{Env, ValueType};
use napi_derive::napi;

use crate::blocking::Glance;
use crate::error::Error;
use crate::session::authorization;
use crate::session::config::invalid;

use super::access_token::target;
use super::auth_config::auth_config;
use super::fast_path::last_asked;
use super::options::{Kind, Known, check, text_member};
use super::payload::ErrorDetails;
use super::process::session;

/// The request that {@link authorizationHeaders} are for.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct ResourceRequest {
    /// The HTTP method of the request.
    pub method: String,
    /// The URL of the request: https, or http on loopback.
    pub url: String,
    /// The `DPoP-Nonce` header of that server's last answer, where it had one. It stays in use for the server (by host and port)
    /// until another is given.
    pub nonce: Option<String>,
}

/// The headers of one request.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct AuthorizationHeaders {
    /// `Bearer` or `DPoP`, and the access token.
    #[napi(js_name = "Authorization")]
    pub authorization: String,
    /// The proof for this one request (RFC 9449 §4.2); absent where the login is not bound to a key.
    #[napi(js_name = "DPoP")]
    pub dpop: Option<String>,
}

const REQUEST: [Known; 3] = [
    Known {
        name: "method",
        kind: Kind::Text,
        required: true,
    },
    Known {
        name: "url",
        kind: Kind::Text,
        required: true,
    },
    Known {
        name: "nonce",
        kind: Kind::Text,
        required: false,
    },
];

/// The headers for one request to your service: a valid access token, as {@link getValidAccessToken} gives it, and where the
/// login is bound to a key (`dpop: true`) the proof, which holds for this method, URL and moment only. Ask again for each
/// request, also to repeat one. It takes a microsecond, with a proof some thirty, and no network call unless the token is due.
///
/// When the service answers 401 with `WWW-Authenticate: DPoP error="use_dpop_nonce"`, repeat the request with its `DPoP-Nonce`
/// header as `nonce`; at any other 401, with `rejectedToken`. The plugin kit's `fetch` does both.
///
/// Rejects with an {@link AuthError}, as {@link getValidAccessToken} does.
///
/// @example
/// ```ts
/// import { authorizationHeaders } from "clawdbot-plugin-auth";
///
/// const auth = { pluginId: "my-memory", issuer: "https://auth.example.com", dpop: true };
/// const url = "https://api.example.com/notes";
/// let response = await fetch(url, { headers: { ...(await authorizationHeaders(auth, { method: "GET", url })) } });
/// const nonce = response.headers.get("dpop-nonce");
/// if (response.status === 401 && nonce !== null) {
///   response = await fetch(url, { headers: { ...(await authorizationHeaders(auth, { method: "GET", url, nonce })) } });
/// }
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, request: ResourceRequest, options?: TokenOptions",
    ts_return_type = "Promise<AuthorizationHeaders>"
)]
pub fn authorization_headers(
    env: Env,
    config: Unknown<'_>,
    request: Unknown<'_>,
    options: Unknown<'_>,
) -> Either3<Vec<String>, ErrorDetails, Null> {
    let glance = Glance::of_javascript(env);
    let headers = resource_request(&request).and_then(|request| {
        // Where nothing is given, what was found to be fresh just now is meant.
        if let (Ok(ValueType::Undefined), Some((slot, generation))) =
            (config.get_type(), last_asked())
        {
            return session().authorization_of(slot, generation, &request);
        }
        let config = auth_config(&config)?;
        let target = target(&config, &options)?;
        session().authorization(&config, &request, &target, glance)
    });
    match headers {
        Ok(None) => Either3::C(Null),
        Ok(Some(headers)) => {
            let values = [Some(headers.authorization), headers.dpop]
                .into_iter()
                .flatten();
            Either3::A(values.map(|value| value.expose().to_owned()).collect())
        }
        Err(error) => Either3::B(ErrorDetails::from(&error)),
    }
}

fn resource_request(request: &Unknown<'_>) -> Result<authorization::ResourceRequest, Error> {
    check(request, &REQUEST)?;
    let text = |name| text_member(request, name);
    let missing = || invalid("`method` and `url` are missing.");
    Ok(authorization::ResourceRequest {
        method: text("method")?.ok_or_else(missing)?,
        url: text("url")?.ok_or_else(missing)?,
        nonce: text("nonce")?,
    })
}
