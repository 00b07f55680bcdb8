//! The issuer identifier of an authorization server (RFC 8414 §2).

use std::fmt;

use url::Url;

use crate::http::{AllowHttp, Endpoint};

/// An issuer, exactly as it was written: comparing it is comparing characters (RFC 8414 §4).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Issuer {
    text: String,
    endpoint: Endpoint,
    allow_http: AllowHttp,
    /// Nobody wrote it into a config: a resource named it.
    is_found: bool,
}

impl Issuer {
    /// Reads an issuer; the error is a part of a sentence, such as "must be an absolute https URL".
    pub(crate) fn parse(text: &str, allow_http: &AllowHttp) -> Result<Self, String> {
        let endpoint = allow_http.endpoint(text)?;
        // RFC 8414 §2: 'a URL that uses the "https" scheme and has no query or fragment components'
        if endpoint.url().query().is_some() {
            return Err("must not contain a query (?)".to_owned());
        }
        // RFC 3986 §2: a URI is ASCII. The corrections of a URL parser would differ from the server's metadata, and
        // could hide something where the issuer is shown.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "must not contain spaces or anything else that a URL has to encode".to_owned(),
            );
        }
        Ok(Self {
            text: text.to_owned(),
            endpoint,
            allow_http: allow_http.clone(),
            is_found: false,
        })
    }

    /// Reads an issuer that a resource names, or that is taken to be the one of a resource.
    pub(crate) fn found(text: &str, allow_http: &AllowHttp) -> Result<Self, String> {
        let issuer = Self::parse(text, allow_http)?;
        Ok(Self {
            is_found: true,
            ..issuer
        })
    }

    /// The issuer of a document that says it is of that one, if it is this one. RFC 8414 §3.3: 'MUST be identical'.
    /// Libraries that keep URLs as objects add a slash on one of the two sides; it leads to the same document, and who
    /// has found the issuer cannot write it otherwise.
    pub(crate) fn identified(&self, told: &str) -> Option<Self> {
        if told == self.text {
            return Some(self.clone());
        }
        let bare = |text: &str| text.trim_end_matches('/').to_owned();
        let is_same = self.is_found && bare(told) == bare(&self.text);
        is_same
            .then(|| Self::found(told, &self.allow_http).ok())
            .flatten()
    }

    /// The text that was parsed.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Its URL as an endpoint.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The origins that its endpoints may be on without TLS.
    pub(crate) fn allow_http(&self) -> &AllowHttp {
        &self.allow_http
    }

    /// The parsed URL.
    pub(crate) fn url(&self) -> &Url {
        self.endpoint.url()
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.endpoint.is_loopback()
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_exact_text() {
        for text in [
            "https://a.example",
            "https://a.example/",
            "https://A.example:443/Tenant/",
            "http://localhost:8080/realms/x",
        ] {
            assert_eq!(
                Issuer::parse(text, &AllowHttp::default()).unwrap().as_str(),
                text
            );
        }
    }

    #[test]
    fn refuses_what_rfc_8414_excludes() {
        for text in [
            "http://a.example",
            "https://a.example/?tenant=1",
            "https://a.example/?",
            "https://a.example/#x",
            "https://user@a.example/",
            " https://a.example",
            "https://a.example/\n",
            "https://a.example/\u{202e}tnanet",
            "https://a.example/\u{e9}",
            "a.example",
        ] {
            assert!(
                Issuer::parse(text, &AllowHttp::default()).is_err(),
                "{text:?}"
            );
        }
    }
}
