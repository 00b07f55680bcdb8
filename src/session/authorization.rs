//! The headers of a request to a protected resource: the stored token and, where it is bound to a key, the proof for
//! that one request (RFC 6750 §2.1, RFC 9449 §7.1).

use crate::blocking::{Glance, Look};
use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::oauth::dpop::{DPOP, Dpop, DpopKey};
use crate::secret::Secret;
use crate::store::cache::SlotId;
use crate::store::credential::{Snapshot, Stored};
use crate::store::key::Key;

use super::Session;
use super::config::{AuthConfig, invalid};
use super::ownership;
use super::refusals::login_required;
use super::target::Target;

/// The request that they are for.
pub(crate) struct ResourceRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    /// The nonce that the resource server requires in later proofs.
    pub(crate) nonce: Option<String>,
}

/// The values of the headers.
pub(crate) struct Authorization {
    pub(crate) authorization: Secret,
    pub(crate) dpop: Option<Secret>,
}

/// A checked request.
struct Checked<'a> {
    method: &'a str,
    url: Endpoint,
    nonce: Option<&'a str>,
}

impl<'a> Checked<'a> {
    fn of(request: &'a ResourceRequest) -> Result<Self, Error> {
        // RFC 9449 §4.2: htu goes "without query and fragment parts".
        let url = request.url.split('#').next().unwrap_or_default();
        let url = Endpoint::parse(url).map_err(|reason| invalid(format!("`url` {reason}.")))?;
        // Methods are case-sensitive (RFC 9110 §9.1); these few fetch sends in capitals, however they are written, and
        // no other.
        let method = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(&request.method))
            .unwrap_or(&request.method);
        // RFC 9110 §5.6.2
        let is_tchar =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if method.is_empty() || !method.bytes().all(is_tchar) {
            return Err(invalid("`method` must be an HTTP method, such as \"GET\"."));
        }
        Ok(Self {
            method,
            url,
            nonce: request.nonce.as_deref(),
        })
    }
}

impl Session {
    /// Returns token and key as they are stored together, even if an older token was handed out. Does not check
    /// whether the token is fresh. `None` where reading them would wait (a keychain, a plugin's store, a program that
    /// is writing its file, a token for another target); a request for a token reads them.
    pub(crate) fn authorization(
        &self,
        config: &AuthConfig,
        request: &ResourceRequest,
        target: &Target,
        glance: Glance,
    ) -> Result<Option<Authorization>, Error> {
        let checked = Checked::of(request)?;
        let look = Look::Short(glance);
        let found = self.choose(config, look).and_then(|chosen| {
            let stored = self.look(&chosen.location, look)?;
            Ok((stored, chosen.config, chosen.location))
        });
        let (credential, config, location) = match found {
            Ok((Stored::Credential(credential), config, location)) => {
                (credential, config, location)
            }
            Ok((Stored::Sealed(_), ..)) => return Ok(None),
            Ok((_, config, _)) => return Err(login_required(&config)),
            Err(error) if config.store.is_some() && error.code() == ErrorCode::StoreIo => {
                return Ok(None);
            }
            // Half written, perhaps.
            Err(error)
                if config.credentials_format.is_some()
                    && error.code() == ErrorCode::StoreCorrupt =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        ownership::check(&config, &credential)?;
        let key = location.key();
        let token = self.token(&key, target, &credential);
        token
            .map(|token| self.signed(&key, &token, &checked))
            .transpose()
    }

    /// Returns the authorization of a credential that was read just now; `None` if it is not known any more.
    pub(crate) fn authorization_of(
        &self,
        slot: SlotId,
        generation: u32,
        request: &ResourceRequest,
    ) -> Result<Option<Authorization>, Error> {
        let checked = Checked::of(request)?;
        match self.cache.credential(slot, generation) {
            Some((login, credential)) if self.logins.unsaved(&login).is_none() => {
                self.signed(&login, &credential, &checked).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn signed(
        &self,
        login: &Key,
        credential: &Snapshot,
        request: &Checked<'_>,
    ) -> Result<Authorization, Error> {
        let token = credential.access();
        let (scheme, dpop) = match credential.dpop_key() {
            None => ("Bearer", None),
            Some(key) => {
                if let Some(nonce) = request.nonce {
                    self.nonces.learn(&request.url, nonce);
                }
                let key = self.logins.dpop_key(login, key)?;
                let proof = self
                    .dpop(&key)
                    .proof(request.method, &request.url, Some(token))?;
                (DPOP, Some(proof))
            }
        };
        Ok(Authorization {
            authorization: Secret::new(format!("{scheme} {}", token.expose())),
            dpop,
        })
    }

    /// Proves possession of that key.
    pub(super) fn dpop<'a>(&'a self, key: &'a DpopKey) -> Dpop<'a> {
        Dpop {
            key,
            nonces: &self.nonces,
            clock: &*self.clock,
        }
    }
}
