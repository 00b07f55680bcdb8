//! Proof key for code exchange (RFC 7636), for servers that want it in the device flow as well.

use crate::error::Error;
use crate::secret::{Secret, random_secret, sha256_base64url};

/// A `code_verifier`: random, 43 characters.
#[derive(Clone, Debug)]
pub(crate) struct PkceVerifier(Secret);

impl PkceVerifier {
    /// `code_challenge_method`. RFC 7636 §4.2: 'If the client is capable of using "S256", it MUST use "S256"'.
    pub(crate) const METHOD: &'static str = "S256";

    /// A new verifier. RFC 7636 §4.1: "high-entropy cryptographic random", 43 to 128 unreserved characters.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn generate() -> Result<Self, Error> {
        Ok(Self(random_secret()?))
    }

    /// RFC 7636 §4.2: `code_challenge = BASE64URL-ENCODE(SHA256(ASCII(code_verifier)))`
    pub(crate) fn challenge(&self) -> String {
        sha256_base64url(self.0.expose())
    }

    /// `code_verifier`
    pub(crate) fn verifier(&self) -> &Secret {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_as_rfc_7636_wants_it() {
        let pkce = PkceVerifier::generate().unwrap();
        let verifier = pkce.verifier().expose();
        assert_eq!(verifier.len(), 43);
        assert!(
            verifier
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        );
        assert_eq!(pkce.challenge(), sha256_base64url(verifier));
        assert_ne!(
            PkceVerifier::generate().unwrap().verifier(),
            pkce.verifier()
        );
    }
}
