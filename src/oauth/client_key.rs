//! The key that a client proves itself with (`private_key_jwt`: RFC 7523 §2.2, `OpenID` Connect Core §9).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret::{Secret, random_secret};
use crate::time::UnixMillis;

/// RFC 7521 §4.2
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion is made for one request.
const LIFETIME_S: i64 = 60;
const MAKE_ONE: &str = "must hold a private key for ES256 (P-256), as PKCS#8 in PEM or as a JWK: `openssl genpkey -algorithm EC \
                        -pkeyopt ec_paramgen_curve:P-256` makes one";

/// A private key on the curve P-256. The server has its public half.
pub(crate) struct ClientKey {
    pair: EcdsaKeyPair,
    /// `kid`, where a JWK has one.
    id: Option<String>,
}

impl ClientKey {
    /// Reads a PEM or a JWK; the error is a part of a sentence.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let random = SystemRandom::new();
        let key = if text.trim_ascii_start().starts_with(b"{") {
            Self::of_jwk(text, &random)
        } else {
            let document = PrivatePkcs8KeyDer::from_pem_slice(text).ok();
            document.and_then(|document| {
                let document = document.secret_pkcs8_der();
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, &random);
                Some(Self {
                    pair: pair.ok()?,
                    id: None,
                })
            })
        };
        key.ok_or_else(|| MAKE_ONE.to_owned())
    }

    /// RFC 7518 §6.2: coordinates and key, each of 32 bytes.
    fn of_jwk(text: &[u8], random: &SystemRandom) -> Option<Self> {
        let mut jwk: Map<String, Value> = serde_json::from_slice(text).ok()?;
        let number = |name: &str| {
            let text = jwk.get(name).and_then(Value::as_str)?;
            URL_SAFE_NO_PAD
                .decode(text.trim_end_matches('='))
                .ok()
                .map(Zeroizing::new)
        };
        let (d, x, y) = (number("d")?, number("x")?, number("y")?);
        // SEC 1 §2.3.3: an uncompressed point is 04, then both coordinates.
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &d,
            &point,
            random,
        );
        let id = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        if let Some(Value::String(secret)) = jwk.get_mut("d") {
            secret.zeroize();
        }
        Some(Self {
            pair: pair.ok()?,
            id,
        })
    }

    /// The public half, for a registration (RFC 7591 §2 `jwks`).
    pub(crate) fn jwks(&self) -> Value {
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let mut key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        if let (Some(id), Some(members)) = (&self.id, key.as_object_mut()) {
            members.insert("kid".to_owned(), id.as_str().into());
        }
        json!({ "keys": [key] })
    }

    /// `client_assertion`; none where the operating system has no randomness to give.
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: UnixMillis,
    ) -> Option<Secret> {
        let mut header = json!({ "alg": "ES256", "typ": "JWT" });
        if let (Some(id), Some(members)) = (&self.id, header.as_object_mut()) {
            members.insert("kid".to_owned(), id.as_str().into());
        }
        let now = now.0 / 1000;
        // RFC 7523 §3: `iss`, `sub`, `aud` and `exp` are required, and `jti` keeps it from being used twice.
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": audience,
            "jti": random_secret().ok()?.expose(), "iat": now, "exp": now + LIFETIME_S,
        });
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let mut token = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .ok()?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(Secret::new(token))
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    const PEM: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
";
    const JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"k1","x":"EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84",
        "y":"kGe5DgSIycKp8w9aJmoHhB1sB3QTugfnRWm5nU_TzsY","d":"evZzL1gdAFr88hb2OF_2NxApJCzGCEDdfSp6VQO30hw"}"#;

    #[test]
    fn an_assertion_can_be_verified_with_the_public_half() {
        for (text, id) in [(PEM, None), (JWK, Some("k1"))] {
            let key = ClientKey::parse(text.as_bytes()).unwrap();
            let token = key
                .assertion("a \"client\"", "https://a.example", UnixMillis(7_000))
                .unwrap();
            let (signed, signature) = token.expose().rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let public =
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
            public.verify(signed.as_bytes(), &signature).unwrap();
            let claims = jwt::claims(&token).unwrap();
            assert_eq!(claims["iss"], "a \"client\"");
            assert_eq!(claims["sub"], "a \"client\"");
            assert_eq!(claims["aud"], "https://a.example");
            assert_eq!((&claims["iat"], &claims["exp"]), (&json!(7), &json!(67)));
            let jwks = key.jwks();
            assert_eq!(
                jwks["keys"][0]["x"],
                "EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84"
            );
            assert_eq!(jwks["keys"][0].get("kid"), id.map(Value::from).as_ref());
            assert!(jwks["keys"][0].get("d").is_none());
        }
    }

    #[test]
    fn anything_else_is_refused_with_how_to_make_one() {
        for text in [
            "",
            "{",
            "{}",
            r#"{"kty":"RSA","n":"x","e":"AQAB","d":"x"}"#,
            "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(
                ClientKey::parse(text.as_bytes())
                    .unwrap_err()
                    .contains("openssl genpkey"),
                "{text}"
            );
        }
    }
}
