//! The shape of `AuthConfig`, for `index.d.ts`; `session::config` reads it.

use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use serde_json::Value;

use crate::error::Error;
use crate::session::config;

use super::given_store;
use super::options::json;

/// The authorization server, the client, and the owner of the credential. One object serves every call.
///
/// Unknown names are refused with `INVALID_CONFIG`, which suggests the nearest known one.
///
/// @example
/// ```ts
/// import type { AuthConfig } from "clawdbot-plugin-auth";
///
/// const auth: AuthConfig = {
///   pluginId: "my-memory",
///   issuer: "https://auth.example.com",
///   scopes: ["memory", "offline_access"],
/// };
/// ```
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct AuthConfig {
    /// Names the credential: a plugin id or npm name of 1 to 128 bytes. It becomes one folder level, even with slashes
    /// in it.
    pub plugin_id: String,
    /// The user's account, 1 to 128 bytes, or its id, `"<pluginId>:<profile>"`; each has its own credential and lock.
    /// @default the first usable one of `order`, else of the order in the store, else "default"
    pub profile: Option<String>,
    /// Accounts, the preferred one first: {@link getValidAccessToken} uses the first that needs no login;
    /// {@link login}, {@link importToken} and {@link logout} use the first. A `profile` overrides it.
    /// @default the order in the store
    pub order: Option<Vec<String>>,
    /// The authorization server: an https URL (http on loopback only), exactly as the server writes it. Its metadata
    /// is found by RFC 8414, then by OpenID Connect Discovery. The config needs this, the endpoints, or a `resource`
    /// that names its server; beside a `resource`, the issuer selects one of several servers.
    pub issuer: Option<String>,
    /// How a person logs in: with a code on any device (RFC 8628), or in a browser that returns to this machine (RFC
    /// 6749 §4.1 with PKCE, RFC 8252). With `client_credentials` no person logs in: the client itself gets the tokens
    /// (RFC 6749 §4.4) at the first call, in the same store under the same lock; that requires `clientId`, and
    /// `clientSecret` or `clientKey`.
    /// @default the device flow where the server offers it, else the browser
    #[napi(
        ts_type = "\"device_code\" | \"authorization_code\" | \"client_credentials\" | (string & {})"
    )]
    pub flow: Option<String>,
    /// The address that the browser returns to: http on 127.0.0.1, [::1] or localhost, with a port or on any free one.
    /// Any other address, such as an https page that shows the code, needs `onPaste`.
    /// @default "http://127.0.0.1/callback" on a free port
    pub redirect_uri: Option<String>,
    /// RFC 6749 §3.1; overrides what discovery says.
    pub authorization_endpoint: Option<String>,
    /// RFC 8628 §3.1; overrides what discovery says.
    pub device_authorization_endpoint: Option<String>,
    /// RFC 6749 §3.2; overrides what discovery says.
    pub token_endpoint: Option<String>,
    /// RFC 7009; overrides what discovery says.
    pub revocation_endpoint: Option<String>,
    /// RFC 7591; overrides what discovery says.
    pub registration_endpoint: Option<String>,
    /// The client. Without it a client is registered (RFC 7591), once per issuer, and kept in the store.
    pub client_id: Option<String>,
    /// The secret of a confidential client. Never written to disk.
    pub client_secret: Option<String>,
    /// How the client authenticates (RFC 6749 §2.3).
    /// @default by the server's metadata, then `client_secret_basic` with a secret and `none` without
    #[napi(
        ts_type = "\"none\" | \"client_secret_basic\" | \"client_secret_post\" | \"private_key_jwt\" | (string & {})"
    )]
    pub client_authentication: Option<String>,
    /// With `clientAuthentication: "private_key_jwt"` (RFC 7523): the path of the private key, for ES256, as PKCS#8 in
    /// PEM or as a JWK. It is read when it is needed.
    pub client_key: Option<String>,
    /// The URL of a client id metadata document (draft-ietf-oauth-client-id-metadata-document). Without a `clientId`
    /// it identifies the client where the server supports such documents; elsewhere a client is registered.
    pub client_metadata_url: Option<String>,
    /// Shown to the person by the server when a client is registered. @default pluginId
    pub client_name: Option<String>,
    /// More members of the registration request (RFC 7591 §2), such as `client_uri`; they win over this library's own.
    #[napi(ts_type = "Record<string, unknown>")]
    pub client_metadata: Option<()>,
    /// Scopes to request, one per entry. Most servers give a refresh token only for `offline_access`.
    /// @default those of the `resource`
    pub scopes: Option<Vec<String>>,
    /// The separator between scopes where a server departs from RFC 6749 §3.3: "," at Linear, Strava and Slack.
    /// @default " "
    #[napi(ts_type = "\" \" | \",\" | (string & {})")]
    pub scope_delimiter: Option<String>,
    /// The API that the token is for, at Auth0 and others; sent with the (device) authorization request.
    pub audience: Option<String>,
    /// Resource indicators (RFC 8707): absolute URIs without a fragment. Without `issuer` and endpoints, the first one
    /// is asked for its authorization server (RFC 9728), as with MCP servers. Where `scopes` is left out, its
    /// challenge or document also names the scopes, and `offline_access` is added where the server lists it.
    pub resource: Option<Vec<String>>,
    /// Further resources that a person allows with the same login (RFC 8707 §2.1). Each gets a token of its own:
    /// {@link getValidAccessToken} with `resource`. The login's own token is not for them, because many servers issue
    /// a token for one resource only.
    pub other_resources: Option<Vec<String>>,
    /// Device flow with PKCE (RFC 7636). Where a server demands it, it is used without this option; the authorization
    /// code flow always uses it.
    /// @default false
    pub pkce: Option<bool>,
    /// Binds the tokens of the next login to a key that never leaves this machine (DPoP, RFC 9449). The server must
    /// offer `ES256`, by its metadata if it has any. Requests then need {@link authorizationHeaders}; the string of
    /// {@link getValidAccessToken} alone is not enough. Not for {@link authorizeDevice} and {@link refreshTokens}.
    /// @default false
    pub dpop: Option<bool>,
    /// Added to (device) authorization and token requests; an empty value removes a parameter. In the authorization
    /// code flow `prompt` is "consent" with the scope `offline_access` (OpenID Connect Core §11), unless it is set
    /// here: `prompt: ""` sends none. Must not name a parameter that this library sets.
    #[napi(ts_type = "Record<string, string>")]
    pub extra_parameters: Option<()>,
    /// Added only to the authorization request, or to the request for a device code: `access_type` at Google,
    /// `approval_prompt` at Strava, `actor` at Linear. Overrides `extraParameters`. Must not name a parameter that
    /// this library sets.
    #[napi(ts_type = "Record<string, string>")]
    pub authorization_parameters: Option<()>,
    /// Members of the token answer to keep with the login, shown in `status().tokenResponse`: `["team"]` at Slack.
    /// Members whose names contain token, secret, password or assertion are never kept, at any depth.
    pub token_response: Option<Vec<String>>,
    /// Asks, at a login, who has logged in, for `status().account`: true at the userinfo endpoint that the server
    /// announces (OpenID Connect Core §5.3), or a URL where it announces none, such as `"https://api.github.com/user"`.
    /// The answer may be that of a service without OpenID Connect: `id`; `display_name`, `username` or `login`; `email`.
    /// It is used only if its `sub` is that of the ID token. No failure fails a login; `status().lastError` says it.
    /// Not for {@link authorizeDevice}. @default false
    #[napi(ts_type = "boolean | string")]
    pub userinfo: Option<()>,
    /// A token from elsewhere, used before the stored login, or after it: where nobody is logged in, or a login is
    /// needed. `status().source` names the one in use.
    #[napi(ts_type = "OutsideToken")]
    pub token: Option<()>,
    /// Origins on other machines that may be spoken to without TLS, named one by one: `["http://auth:8080"]` in a compose
    /// network. It holds for the authorization server's endpoints, and for the kit's `fetch`; no proxy is used there.
    /// {@link doctor} and the status warn about each.
    pub allow_http: Option<Vec<String>>,
    /// Takes over, once, a login that the plugin kept before it used this library: the path of a JSON file (with `~`),
    /// several paths, or a function that returns {@link AdoptedLogin} or nothing. It is used under the lock, and only
    /// while nobody is logged in and nobody has logged out. The file is then renamed `*.adopted`. A `credentials.json`
    /// in the plugin's install folder is always taken over, also under `~/.openclaw`, `~/.clawdbot` and `~/.moltbot`.
    #[napi(
        ts_type = "string | string[] | (() => AdoptedLogin | Record<string, unknown> | undefined | null | Promise<AdoptedLogin | Record<string, unknown> | undefined | null>)"
    )]
    pub adopt: Option<()>,
    /// The host's state folder, for example `api.runtime.state.resolveStateDir()`. @default as the host resolves it
    pub state_dir: Option<String>,
    /// The exact credential file instead of `<stateDir>/credentials/<pluginId>/<profile>.json`.
    pub credentials_path: Option<String>,
    /// Uses the login that another program keeps in its own file, in its format: clawdbot's `auth-profiles.json`, or
    /// the file of Claude Code, Codex, Qwen Code, pi, Kimi Code, mcp-remote (with `credentialsPath`) or Gemini CLI. It
    /// is read, refreshed under that program's own lock, and written back there; everything else in the file stays
    /// unchanged. Excludes `order`, `storage` and `dpop`.
    /// @default this library's own format
    #[napi(
        ts_type = "\"auth-profiles\" | \"claude-code\" | \"codex\" | \"qwen-code\" | \"pi\" | \"kimi-code\" | \"mcp-remote\" | \"gemini-cli\" | (string & {})"
    )]
    pub credentials_format: Option<String>,
    /// With `credentialsFormat: "auth-profiles"`: the host's agent that owns the logins. @default "main"
    pub agent_id: Option<String>,
    /// With `credentialsFormat: "auth-profiles"`: one login, `"provider:name"`, or a provider; of a provider's logins,
    /// the host's `order`, else its `lastGood`, selects one. A `profile` here means `"<pluginId>:<profile>"`. With
    /// `"pi"`: the provider under which pi keeps the login. @default pluginId, as a provider
    pub profile_id: Option<String>,
    /// Keeps logins in the plugin's own store instead of in files, for several machines that share them: one machine
    /// refreshes, and all use the new token. A token stored by another machine is seen within a second. Excludes
    /// `credentialsPath`, `credentialsFormat` and `storage`. {@link listProfiles} lists only accounts that the config
    /// or the order names.
    #[napi(ts_type = "CredentialStore")]
    pub store: Option<()>,
    /// Where `login` keeps the tokens: in the credential file, in the system's keychain (Secret Service, macOS
    /// Keychain, Windows Credential Manager), or `auto`: in the keychain if it can be used at that moment, else in the
    /// file. The choice is recorded and lasts until the next login. The keychain requires the package
    /// `clawdbot-plugin-auth-keychain`; without it `keychain` is `INVALID_CONFIG`.
    /// @default "file"
    #[napi(ts_type = "\"file\" | \"keychain\" | \"auto\" | (string & {})")]
    pub storage: Option<String>,
    /// How long before its end a token is refreshed, in milliseconds, 0 to 86 400 000; at most a quarter of the
    /// token's life.
    /// @default 300000
    pub refresh_buffer_ms: Option<f64>,
    /// Limit of one HTTP request, in milliseconds, 1 to 86 400 000. @default 30000
    pub request_timeout_ms: Option<f64>,
    /// How long to wait for another process that holds the credential's lock, in milliseconds, 0 to 86 400 000.
    /// @default 60000
    pub lock_timeout_ms: Option<f64>,
}

/// A token that the user has set, used instead of a login or after it.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct OutsideToken {
    /// The environment variable that holds the token. It is read at each call; a blank value counts as unset.
    pub env: Option<String>,
    /// The token itself, for example from the plugin's configuration; after `env`.
    pub value: Option<String>,
    /// Used only where the stored login cannot be used. @default false
    pub behind_login: Option<bool>,
}

/// A login as plugins keep it by hand: the members of this type, or other common names: `access_token`, `accessToken`,
/// `token`; `refresh_token`, `refreshToken`; `expires_at`, `expiresAt`, `expiry_date`, `expiry`, `expires_on` (Unix
/// seconds or milliseconds, or an ISO date), `expires_in` with `created_at`; `scope`; `client_id`, `client_secret`,
/// `token_endpoint`, `redirect_uri`; all of them at the top, or in `tokens`, `token`, `credentials`, `oauth` or
/// `auth`. A refresh token alone is enough.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct AdoptedLogin {
    /// The access token.
    pub access: Option<String>,
    /// The refresh token.
    pub refresh: Option<String>,
    /// When the access token ends, Unix milliseconds or seconds. @default unknown: valid until rejected
    #[napi(ts_type = "number | string | Date")]
    pub expires: Option<f64>,
    /// The granted scopes.
    pub scopes: Option<Vec<String>>,
    /// The client of the tokens, where the config names none: it is used for the next login as well.
    pub client_id: Option<String>,
    /// The secret of that client.
    pub client_secret: Option<String>,
}

/// The config of a call.
pub(super) fn auth_config(config: &Unknown<'_>) -> Result<config::AuthConfig, Error> {
    let mut config = json(config, "config")?;
    let store = config
        .as_object_mut()
        .filter(|members| members.get("store").is_some_and(Value::is_number))
        .and_then(|members| members.shift_remove("store"));
    let config = config::AuthConfig::parse(config)?;
    match store.as_ref().and_then(given_store::store) {
        Some(store) => config.keeping_in(store),
        None => Ok(config),
    }
}
