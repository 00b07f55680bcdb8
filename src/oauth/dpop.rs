//! Proof of possession (RFC 9449): tokens that are worth something only with the key that they are bound to.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorCode};
use crate::http::Endpoint;
use crate::secret::{Secret, random_secret, sha256_base64url};
use crate::time::Clock;

/// The only `alg` for proofs. RFC 9449 §11.6 names it as secure, and every server that offers `DPoP` knows it.
pub(crate) const ALGORITHM: &str = "ES256";

/// The `token_type` of bound tokens, and the scheme of the requests that carry them (RFC 9449 §5, §7.1).
pub(crate) const DPOP: &str = "DPoP";

/// A private key that tokens are bound to.
pub(crate) struct DpopKey {
    pair: EcdsaKeyPair,
    stored: Secret,
    /// The header of every proof, in the form that is signed.
    header: String,
    /// The token that was last presented, and its hash.
    ath: Mutex<Option<(Secret, String)>>,
}

impl DpopKey {
    /// A new key, on the curve P-256.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn generate() -> Result<Self, Error> {
        // A PKCS#8 that ring just made is one that it reads.
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| unsigned())?;
        Self::from_stored(&Secret::new(URL_SAFE_NO_PAD.encode(document)))
    }

    /// Reads a key from the form of [`DpopKey::stored`].
    ///
    /// # Errors
    /// `STORE_CORRUPT` when the value is not a key.
    pub(crate) fn from_stored(stored: &Secret) -> Result<Self, Error> {
        let document = URL_SAFE_NO_PAD.decode(stored.expose()).map(Zeroizing::new);
        let pair = document.ok().and_then(|document| {
            let random = SystemRandom::new();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &random).ok()
        });
        let pair = pair.ok_or_else(|| {
            Error::new(
                ErrorCode::StoreCorrupt,
                "The private key of the stored login (its member \"dpopKey\") is damaged. Log in again.",
            )
            .needing_login()
        })?;
        Ok(Self {
            header: URL_SAFE_NO_PAD.encode(header(&pair)),
            pair,
            stored: stored.clone(),
            ath: Mutex::default(),
        })
    }

    /// How it is kept: PKCS#8 in base64url.
    pub(crate) fn stored(&self) -> &Secret {
        &self.stored
    }

    /// RFC 9449 §4.2: "a base64url encoding … the SHA-256 hash of the ASCII encoding of the … access token's value".
    /// Of one token until there is another.
    fn ath(&self, token: &Secret) -> String {
        let mut known = self.ath.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, ath)) if of == token => ath.clone(),
            _ => {
                let ath = sha256_base64url(token.expose());
                *known = Some((token.clone(), ath.clone()));
                ath
            }
        }
    }
}

/// RFC 9449 §4.2: `jwk` "Represents the public key chosen by the client … It MUST NOT contain a private key."
fn header(pair: &EcdsaKeyPair) -> String {
    // SEC 1 §2.3.3: an uncompressed point is 04, then both coordinates.
    let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    format!(
        r#"{{"typ":"dpop+jwt","alg":"{ALGORITHM}","jwk":{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}}}"#,
        URL_SAFE_NO_PAD.encode(x),
        URL_SAFE_NO_PAD.encode(y),
    )
}

/// Everything that proofs are made with.
#[derive(Clone, Copy)]
pub(crate) struct Dpop<'a> {
    /// The key that the tokens are bound to.
    pub(crate) key: &'a DpopKey,
    /// The nonces that servers require in proofs.
    pub(crate) nonces: &'a Nonces,
    /// For `iat`.
    pub(crate) clock: &'a dyn Clock,
}

impl Dpop<'_> {
    /// The proof for one request (RFC 9449 §4.2); `token` where the request presents one. Nothing in it needs an
    /// escape in JSON: neither a method (RFC 9110 §9.1) nor a parsed URL has any of `"` and `\`.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn proof(
        &self,
        method: &str,
        url: &Endpoint,
        token: Option<&Secret>,
    ) -> Result<Secret, Error> {
        // RFC 9449 §4.2: jti by "at least 96 bits of pseudorandom data"; here 256. htu is the target URI "without
        // query and fragment parts", and so is an endpoint printed; parsing has normalized the rest.
        let mut claims = format!(
            r#"{{"jti":"{}","htm":"{method}","htu":"{url}","iat":{}"#,
            random_secret()?.expose(),
            self.clock.now().0 / 1000,
        );
        if let Some(nonce) = self.nonces.of(url) {
            claims.push_str(r#","nonce":""#);
            claims.push_str(&nonce);
            claims.push('"');
        }
        if let Some(token) = token {
            claims.push_str(r#","ath":""#);
            claims.push_str(&self.key.ath(token));
            claims.push('"');
        }
        claims.push('}');
        let mut proof = format!("{}.", self.key.header);
        proof.push_str(&URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .key
            .pair
            .sign(&SystemRandom::new(), proof.as_bytes())
            .map_err(|_| unsigned())?;
        proof.push('.');
        proof.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(Secret::new(proof))
    }
}

fn unsigned() -> Error {
    Error::new(
        ErrorCode::StoreIo,
        "The operating system's random source failed, so that nothing could be signed. Try again.",
    )
}

/// The last nonce that each server, by host and port, supplied. RFC 9449 §8.2: "The client MUST use the new nonce
/// value supplied … until the authorization server supplies a new nonce"; §9: one "should be used only at the issuing
/// server".
#[derive(Default)]
pub(crate) struct Nonces(Mutex<Vec<(String, String)>>);

impl Nonces {
    /// The most servers remembered. The oldest is forgotten, and will ask for a nonce again.
    const MOST: usize = 64;
    /// Longer ones would not pass through the header that they came in.
    const LONGEST: usize = 4096;

    /// Remembers a nonce that a server supplied. A malformed nonce is ignored.
    pub(crate) fn learn(&self, server: &Endpoint, nonce: &str) {
        // RFC 9449 §8.1, RFC 6749 appendix A: NQCHAR = %x21 / %x23-5B / %x5D-7E. So none needs an escape in JSON.
        let is_nqchar = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if nonce.is_empty() || nonce.len() > Self::LONGEST || !nonce.bytes().all(is_nqchar) {
            return;
        }
        let host = server.host();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| *of != host);
        if known.len() == Self::MOST {
            known.remove(0);
        }
        known.push((host, nonce.to_owned()));
    }

    fn of(&self, server: &Endpoint) -> Option<String> {
        let host = server.host();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, nonce) = known.iter().find(|(of, _)| *of == host)?;
        Some(nonce.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::http::Form;
    use crate::http::Response;
    use crate::http::scripted::{ScriptedClient, response};
    use crate::oauth::answer::Answer;
    use crate::oauth::client::{Client, ClientAuthentication};
    use crate::oauth::token_request;
    use crate::time::{TestClock, UnixMillis};

    const NOW: UnixMillis = UnixMillis(1_562_262_616_999);
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Verifies the signature of a proof and returns its header and claims.
    pub(crate) fn verified(proof: &str) -> (Value, Value) {
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let (signed, signature) = proof.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&decode(header)).unwrap();
        let coordinate = |name: &str| decode(header["jwk"][name].as_str().unwrap());
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &decode(signature))
            .expect("the signature is good");
        (header, serde_json::from_slice(&decode(claims)).unwrap())
    }

    /// The public key that signed the proof.
    pub(crate) fn signer(proof: &str) -> Value {
        verified(proof).0["jwk"].clone()
    }

    struct Parties {
        key: DpopKey,
        nonces: Nonces,
        clock: TestClock,
    }

    impl Parties {
        fn new() -> Self {
            Self {
                key: DpopKey::generate().unwrap(),
                nonces: Nonces::default(),
                clock: TestClock::starting_at(NOW),
            }
        }

        fn dpop(&self) -> Dpop<'_> {
            Dpop {
                key: &self.key,
                nonces: &self.nonces,
                clock: &self.clock,
            }
        }

        fn claims(&self, url: &str) -> Value {
            let proof = self.dpop().proof("GET", &endpoint(url), None).unwrap();
            verified(proof.expose()).1
        }

        async fn ask(&self, http: &ScriptedClient) -> Answer {
            let client = Client {
                id: "my-client".into(),
                secret: None,
                authentication: ClientAuthentication::None,
                assertions: None,
            };
            let mut form = Form::new();
            form.append("refresh_token", "canary");
            let url = endpoint("https://server.example.com/token");
            token_request::send(http, &url, &client, form, Some(self.dpop()), TIMEOUT)
                .await
                .unwrap()
        }
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap()
    }

    pub(crate) fn with_nonce(nonce: &str, response: Response) -> Response {
        Response {
            dpop_nonce: Some(nonce.to_owned()),
            ..response
        }
    }

    pub(crate) fn wants_nonce(nonce: &str) -> Response {
        with_nonce(nonce, response(400, r#"{"error":"use_dpop_nonce"}"#))
    }

    fn sent_nonces(http: &ScriptedClient) -> Vec<Value> {
        let claims = |proof: Option<String>| verified(&proof.unwrap()).1;
        http.received()
            .into_iter()
            .map(|request| claims(request.dpop)["nonce"].clone())
            .collect()
    }

    #[test]
    fn the_proofs_of_rfc_9449_figures_1_and_12_verify() {
        let (header, claims) = verified(
            "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo\
             RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJq\
             dGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0Ijox\
             NTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
        );
        assert_eq!(claims["htm"], "POST");
        assert_eq!(header["jwk"]["crv"], "P-256");
        // The access token and the `ath` of §7.1.
        assert_eq!(
            sha256_base64url("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
            "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
        );
    }

    #[tokio::test]
    async fn a_proof_is_built_as_rfc_9449_section_4_2_says() {
        let parties = Parties::new();
        let proof = parties
            .dpop()
            .proof("POST", &endpoint("https://server.example.com/token"), None)
            .unwrap();
        // RFC 9449 §4.1: token68
        assert!(
            proof
                .expose()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        );
        let (header, mut claims) = verified(proof.expose());
        let jwk = &header["jwk"];
        assert_eq!(
            header,
            json!({ "typ": "dpop+jwt", "alg": "ES256",
                "jwk": { "kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"] } })
        );
        assert_eq!(jwk["x"].as_str().unwrap().len(), 43);
        let jti = claims["jti"].take();
        assert_eq!(
            claims,
            json!({ "jti": null, "htm": "POST", "htu": "https://server.example.com/token", "iat": 1_562_262_616 })
        );
        let again = parties.claims("https://server.example.com/token");
        assert_eq!(jti.as_str().unwrap().len(), 43);
        assert_ne!(again["jti"], jti);
    }

    #[tokio::test]
    async fn with_a_token_it_holds_the_hash_of_it() {
        let parties = Parties::new();
        let token = Secret::from("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
        let url = endpoint("https://resource.example.org/protectedresource");
        let proof = parties.dpop().proof("GET", &url, Some(&token)).unwrap();
        let (_, claims) = verified(proof.expose());
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }

    #[tokio::test]
    async fn htu_is_the_normalized_target_without_its_query() {
        let parties = Parties::new();
        for (url, htu) in [
            (
                "https://a.example/n?key=canary&x=%20",
                "https://a.example/n",
            ),
            ("https://a.example", "https://a.example/"),
            ("HTTPS://A.Example:443/x/../n?", "https://a.example/n"),
            (
                "https://a.example:8443/a%2Fb/",
                "https://a.example:8443/a%2Fb/",
            ),
            ("http://127.0.0.1:80/n", "http://127.0.0.1/n"),
            (
                "https://a.example/\"\\n\t\u{1}x",
                "https://a.example/%22/n%01x",
            ),
            ("https://a.example/ü", "https://a.example/%C3%BC"),
        ] {
            assert_eq!(parties.claims(url)["htu"], htu, "{url}");
        }
    }

    #[test]
    fn a_key_that_was_kept_is_the_same_key() {
        let key = DpopKey::generate().unwrap();
        let again = DpopKey::from_stored(key.stored()).unwrap();
        assert_eq!(again.header, key.header);
        assert_eq!(again.stored(), key.stored());
        assert_ne!(DpopKey::generate().unwrap().header, key.header);
        // The stored form must not go out.
        assert!(!header(&key.pair).contains(key.stored().expose()));
    }

    #[test]
    fn a_damaged_key_is_said_to_be_one() {
        let whole = DpopKey::generate().unwrap();
        let half = whole.stored().expose().get(..90).unwrap().to_owned();
        let flipped = whole.stored().expose().replacen('A', "B", 40);
        for stored in ["", "canary!", &half, &flipped] {
            let error = DpopKey::from_stored(&Secret::from(stored)).err().unwrap();
            assert_eq!(error.code(), ErrorCode::StoreCorrupt);
            assert!(error.needs_login());
            assert!(!format!("{error:?}").contains("canary"));
        }
    }

    #[tokio::test]
    async fn a_nonce_is_used_at_its_own_server_until_another_comes() {
        let parties = Parties::new();
        let learn = |server: &str, nonce: &str| {
            parties.nonces.learn(&endpoint(server), nonce);
        };
        let nonce = |url: &str| parties.claims(url)["nonce"].clone();
        learn("https://a.example/token", "n1");
        assert_eq!(nonce("https://a.example/other?x"), "n1");
        for elsewhere in ["https://b.example/", "https://a.example:8443/"] {
            assert_eq!(nonce(elsewhere), Value::Null);
        }
        learn("https://a.example/", "n2~{}!#[]");
        assert_eq!(nonce("https://a.example/"), "n2~{}!#[]");
        for odd in ["", "a b", "a\"b", "a\\b", "é", &"x".repeat(5000)] {
            learn("https://a.example/", odd);
        }
        assert_eq!(nonce("https://a.example/"), "n2~{}!#[]");
        for other in 0..Nonces::MOST - 1 {
            learn(&format!("https://s{other}.example/"), "n");
        }
        assert_eq!(nonce("https://a.example/"), "n2~{}!#[]");
        learn("https://one-more.example/", "n");
        assert_eq!(nonce("https://a.example/"), Value::Null);
        assert_eq!(nonce("https://one-more.example/"), "n");
    }

    #[tokio::test(start_paused = true)]
    async fn asked_for_a_nonce_the_request_is_repeated_once_with_it() {
        let parties = Parties::new();
        let http = ScriptedClient::new()
            .respond(wants_nonce("n1"))
            .respond(with_nonce("n2", response(200, "{}")))
            .answer(200, "{}");
        assert_eq!(parties.ask(&http).await.status, 200);
        parties.ask(&http).await;
        assert_eq!(sent_nonces(&http), [json!(null), json!("n1"), json!("n2")]);
        for request in http.received() {
            assert_eq!(request.parameter("refresh_token"), Some("canary"));
            assert_eq!(request.parameter("client_id"), Some("my-client"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_goes_on_asking_gets_no_third_request() {
        let parties = Parties::new();
        let http = ScriptedClient::new()
            .respond(wants_nonce("n1"))
            .respond(wants_nonce("n2"));
        assert_eq!(parties.ask(&http).await.status, 400);
        // Without a nonce there is nothing to repeat it with.
        let http = ScriptedClient::new().answer(400, r#"{"error":"use_dpop_nonce"}"#);
        assert_eq!(parties.ask(&http).await.status, 400);
        assert_eq!(sent_nonces(&http), [json!("n2")]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_repetition_shares_the_time_of_the_request() {
        let parties = Parties::new();
        let after = |seconds| {
            ScriptedClient::new()
                .reply_after(Duration::from_secs(seconds), |_| Ok(wants_nonce("n1")))
                .answer(200, "{}")
        };
        let http = after(10);
        assert_eq!(parties.ask(&http).await.status, 200);
        assert_eq!(http.received()[1].timeout, Duration::from_secs(20));
        // An answer that came late would be lost, and the refresh token with it.
        let http = after(20);
        assert_eq!(parties.ask(&http).await.status, 400);
        assert_eq!(http.received().len(), 1);
    }
}
