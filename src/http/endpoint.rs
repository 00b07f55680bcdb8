//! Where a request may go: https, or http on loopback.

use std::fmt;

use url::{Host, Url};

const LONGEST: usize = 2048;

/// Origins on other machines that may be spoken to without TLS, because the plugin names them (`allowHttp`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowHttp(Vec<String>);

impl AllowHttp {
    /// Takes origins as [`AllowHttp::check`] accepts them.
    pub(crate) fn new(mut origins: Vec<String>) -> Self {
        for origin in &mut origins {
            origin.truncate(origin.trim_end_matches('/').len());
        }
        Self(origins)
    }

    /// Whether that is one origin, and no pattern; the error is the rest of a sentence about an entry.
    pub(crate) fn check(text: &str) -> Result<(), &'static str> {
        let origin = text.strip_suffix('/').unwrap_or(text);
        match Url::parse(text) {
            Ok(url)
                if url.scheme() == "http"
                    && !text.contains('*')
                    && url.origin().ascii_serialization() == origin =>
            {
                Ok(())
            }
            _ => Err("is no http origin, such as \"http://auth:8080\"; name them one by one"),
        }
    }

    /// Reads an endpoint, as [`Endpoint::parse`] does, that may be on one of these origins.
    pub(crate) fn endpoint(&self, text: &str) -> Result<Endpoint, String> {
        let url = Url::parse(text).map_err(|_| "must be an absolute https URL".to_owned())?;
        // RFC 6749 §3.1, §3.2: "the authorization server MUST require the use of TLS".
        // RFC 8252 §8.3: http is safe where "the request never leaves the device".
        if url.scheme() != "https"
            && !(url.scheme() == "http" && (is_loopback(&url) || self.names(&url)))
        {
            return Err(
                "must be an https URL (http on loopback, or where `allowHttp` names it)".to_owned(),
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user name or password".to_owned());
        }
        // RFC 6335 §6: port 0 is reserved; nobody can listen on it.
        if url.port() == Some(0) {
            return Err("must not have the port 0".to_owned());
        }
        // RFC 6749 §3.1, §3.2: "The endpoint URI MUST NOT include a fragment component."
        if url.fragment().is_some() {
            return Err("must not contain a fragment (#)".to_owned());
        }
        // The URL is named in messages, and kept in the credential file.
        if url.as_str().len() > LONGEST {
            return Err("must not be longer than 2048 characters".to_owned());
        }
        Ok(Endpoint(url))
    }

    fn names(&self, url: &Url) -> bool {
        self.0.contains(&url.origin().ascii_serialization())
    }
}

/// The URL of an OAuth endpoint. `Debug` and `Display` leave its query out, so that it can be named in messages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    /// Reads an endpoint; the error is a part of a sentence, such as "must be an absolute https URL".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        AllowHttp::default().endpoint(text)
    }

    /// Another one of the same origin.
    pub(crate) fn at(&self, path: &str, query: Option<&str>) -> Self {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query(query);
        Self(url)
    }

    /// Whether it is on this machine, or on a network of the plugin's own.
    pub(crate) fn is_unencrypted(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The whole URL, query included.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The parsed URL.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// Host and, where it is not the usual one, port.
    pub(crate) fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // RFC 6761 §6.3: "localhost." and any name that falls within ".localhost." are loopback.
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme(), self.host(), self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_on_loopback_only() {
        for good in [
            "https://auth.example.com/token",
            "https://auth.example.com:8443/token?tenant=1",
            "http://localhost:1234/token",
            "http://LOCALHOST/token",
            "http://localhost./token",
            "http://app.localhost/token",
            "http://127.0.0.1:9/token",
            "http://127.8.9.1/token",
            "http://[::1]:9/token",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://auth.example.com/token",
            "http://localhost.example.com/token",
            "http://notlocalhost/token",
            "http://10.0.0.1/token",
            "http://[::2]/token",
            "ftp://localhost/token",
            "https://user@example.com/token",
            "https://:pass@example.com/token",
            "https://example.com/token#here",
            "https://example.com:0/token",
            "https://example.com:65536/token",
            "http://[::ffff:127.0.0.1]/token",
            "http://0.0.0.0/token",
            "https:///",
            "/token",
            "token",
            "",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn http_on_another_machine_where_its_origin_is_named() {
        let allowed = AllowHttp::new(vec!["http://auth:8080".into(), "http://10.0.0.1/".into()]);
        for good in [
            "http://auth:8080/token",
            "http://AUTH:8080",
            "http://10.0.0.1:80/x",
        ] {
            assert!(allowed.endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://auth/token",
            "http://auth:8081/",
            "http://auth.lan:8080/",
            "ftp://auth:8080/",
        ] {
            assert!(allowed.endpoint(bad).is_err(), "{bad}");
        }
        for entry in [
            "http://auth:8080",
            "http://auth:8080/",
            "http://[fd00::1]:80/",
        ] {
            let is_canonical = !entry.contains(":80/");
            assert_eq!(AllowHttp::check(entry).is_ok(), is_canonical, "{entry}");
        }
        for entry in [
            "auth:8080",
            "https://auth",
            "http://auth/x",
            "http://*.lan",
            "http://u@auth",
            "",
        ] {
            assert!(AllowHttp::check(entry).is_err(), "{entry}");
        }
    }

    #[test]
    fn a_url_that_would_fill_a_terminal_is_refused() {
        let of = |length| Endpoint::parse(&format!("https://a.example/{}", "x".repeat(length)));
        assert!(of(2000).is_ok() && of(3000).is_err());
    }

    #[test]
    fn loopback_is_told_apart() {
        let is_loopback = |text: &str| Endpoint::parse(text).unwrap().is_loopback();
        assert!(is_loopback("https://localhost/t"));
        assert!(is_loopback("http://127.0.0.2/t"));
        assert!(!is_loopback("https://example.com/t"));
    }

    #[test]
    fn printing_leaves_the_query_out() {
        let endpoint = Endpoint::parse("https://h.example:8443/token?key=canary").unwrap();
        assert_eq!(endpoint.to_string(), "https://h.example:8443/token");
        assert_eq!(format!("{endpoint:?}"), "https://h.example:8443/token");
        assert_eq!(endpoint.host(), "h.example:8443");
        assert!(endpoint.as_str().ends_with("?key=canary"));
    }
}
