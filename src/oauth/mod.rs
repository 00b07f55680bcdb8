//! The protocol, one file per message of the RFCs. Knows no disk.
//!
//! [`answer`] reads what a server sent, [`error_response`] says what a refusal means, [`server_text`] makes it safe to
//! show; the other files are the requests.

pub(crate) mod answer;
pub(crate) mod authorization_code;
pub(crate) mod authorization_request;
pub(crate) mod authorization_response;
pub(crate) mod challenge;
pub(crate) mod client;
pub(crate) mod client_key;
pub(crate) mod device_access_token;
pub(crate) mod device_authorization;
pub(crate) mod dpop;
pub(crate) mod error_response;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod issuer;
mod meaning;
pub(crate) mod metadata;
#[cfg(test)]
mod odd_servers;
pub(crate) mod pkce;
pub(crate) mod poll_schedule;
pub(crate) mod protected_resource;
#[cfg(test)]
mod provider_shapes;
pub(crate) mod pushed_authorization;
pub(crate) mod redirect_uri;
pub(crate) mod refresh;
mod refusal_words;
pub(crate) mod registration;
pub(crate) mod revocation;
pub(crate) mod server_text;
pub(crate) mod token_request;
pub(crate) mod token_response;
pub(crate) mod userinfo;

/// The request parameters that this layer sets itself; a caller's extra parameters cannot name them.
const OWN_PARAMETERS: &str = "grant_type client_id client_secret device_code response_type response_mode redirect_uri \
    state code refresh_token scope audience resource code_challenge code_challenge_method code_verifier request_uri \
    client_assertion client_assertion_type";

/// Whether this layer sets that request parameter.
pub(crate) fn is_own_parameter(name: &str) -> bool {
    OWN_PARAMETERS.split(' ').any(|own| own == name)
}
