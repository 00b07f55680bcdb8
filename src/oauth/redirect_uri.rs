//! Where the server sends the browser with its answer (RFC 6749 §3.1.2), for a native app (RFC 8252 §7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::http::callback_listener::LoopbackAddress;

/// A redirect URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedirectUri {
    /// The URI in the form for registration and requests; without a port where any port will do.
    text: String,
    /// Nothing: the answer cannot be caught here, only brought by the person.
    loopback: Option<LoopbackAddress>,
}

impl RedirectUri {
    /// Reads a redirect URI; the error is a part of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_graphic();
        let url = Url::parse(text)
            .ok()
            .filter(|_| text.chars().all(is_plain))
            .ok_or_else(|| "must be an absolute URI".to_owned())?;
        // RFC 6749 §3.1.2: "The endpoint URI MUST NOT include a fragment component."
        if url.fragment().is_some() {
            return Err("must not contain a fragment (#)".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user name or password".to_owned());
        }
        if url.scheme() != "http" {
            return Ok(Self {
                text: text.to_owned(),
                loopback: None,
            });
        }
        let addresses: Vec<IpAddr> = match url.host() {
            Some(Host::Domain("localhost")) => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Some(Host::Ipv4(address)) if address.is_loopback() => vec![address.into()],
            Some(Host::Ipv6(address)) if address.is_loopback() => vec![address.into()],
            // RFC 8252 §8.3: http only where "the request never leaves the device".
            _ => {
                return Err(
                    "may be http only on 127.0.0.1, [::1] or localhost: give an https URL"
                        .to_owned(),
                );
            }
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let (_, after) = text.split_once("://").unwrap_or_default();
        let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        // The parser takes the usual port for none.
        let port = match url.port() {
            None if authority.ends_with(":80") => Some(80),
            port => port.filter(|port| *port != 0),
        };
        Ok(Self {
            text: match port {
                Some(_) => text.to_owned(),
                None => format!("http://{host}{rest}"),
            },
            loopback: Some(LoopbackAddress {
                host,
                addresses,
                port,
                path: url.path().to_owned(),
            }),
        })
    }

    /// RFC 8252 §7.3, on any free port.
    pub(crate) fn on_a_free_port() -> Self {
        Self {
            text: "http://127.0.0.1/callback".to_owned(),
            loopback: Some(LoopbackAddress {
                host: "127.0.0.1".to_owned(),
                addresses: vec![Ipv4Addr::LOCALHOST.into()],
                port: None,
                path: "/callback".to_owned(),
            }),
        }
    }

    /// The URI.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where to wait for the browser.
    pub(crate) fn loopback(&self) -> Option<&LoopbackAddress> {
        self.loopback.as_ref()
    }

    /// Adds that port, unless the URI has one.
    pub(crate) fn at_port(&self, port: u16) -> Self {
        let mut uri = self.clone();
        if let Some(place) = uri.loopback.as_mut().filter(|place| place.port.is_none()) {
            let origin = format!("http://{}", place.host);
            let rest = self.text.strip_prefix(&origin).unwrap_or_default();
            uri.text = format!("{origin}:{port}{rest}");
            place.port = Some(port);
        }
        uri
    }

    /// The URI that a client has registered, if it serves where this one is configured: it is this one, with a port.
    /// RFC 8252 §7.3 has servers "allow any port", but many compare the text.
    pub(crate) fn served_by(&self, registered: &str) -> Option<Self> {
        let registered = Self::parse(registered).ok()?;
        let wanted = match &registered.loopback {
            Some(place) => self.at_port(place.port?),
            None => self.clone(),
        };
        (wanted == registered).then_some(registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_told_by_host_port_and_path() {
        for (text, registered, sent, port, path) in [
            (
                "http://127.0.0.1/callback",
                "http://127.0.0.1/callback",
                "http://127.0.0.1:5000/callback",
                None,
                "/callback",
            ),
            (
                "http://127.0.0.1:0/cb?a=1",
                "http://127.0.0.1/cb?a=1",
                "http://127.0.0.1:5000/cb?a=1",
                None,
                "/cb",
            ),
            (
                "http://localhost:8912",
                "http://localhost:8912",
                "http://localhost:8912",
                Some(8912),
                "/",
            ),
            (
                "http://localhost",
                "http://localhost",
                "http://localhost:5000",
                None,
                "/",
            ),
            (
                "http://[::1]/x",
                "http://[::1]/x",
                "http://[::1]:5000/x",
                None,
                "/x",
            ),
            (
                "http://127.0.0.1:80/x",
                "http://127.0.0.1:80/x",
                "http://127.0.0.1:80/x",
                Some(80),
                "/x",
            ),
        ] {
            let uri = RedirectUri::parse(text).unwrap();
            let place = uri.loopback().unwrap();
            assert_eq!(uri.as_str(), registered);
            assert_eq!(uri.at_port(5000).as_str(), sent);
            assert_eq!(RedirectUri::parse(sent), Ok(uri.at_port(5000)));
            assert_eq!(uri.served_by(sent), Some(uri.at_port(5000)));
            assert_eq!((place.port, place.path.as_str()), (port, path), "{text}");
        }
        assert_eq!(
            RedirectUri::parse("http://127.0.0.1/callback"),
            Ok(RedirectUri::on_a_free_port())
        );
    }

    #[test]
    fn others_are_for_the_person_to_bring_back() {
        for text in [
            "https://console.example.com/oauth/code/callback",
            "urn:ietf:wg:oauth:2.0:oob",
            "com.example.app:/callback",
            "https://localhost/callback",
        ] {
            let uri = RedirectUri::parse(text).unwrap();
            assert_eq!(uri.loopback(), None);
            assert_eq!(uri.at_port(5000), uri);
            assert_eq!(uri.served_by(text), Some(uri));
        }
    }

    #[test]
    fn a_registration_serves_with_its_port_and_without_any_difference() {
        let any = RedirectUri::on_a_free_port();
        assert!(any.served_by("http://127.0.0.1:5000/callback").is_some());
        for other in [
            // A registration without the port, by an earlier version: servers may compare the text.
            "http://127.0.0.1/callback",
            "http://127.0.0.1:5000/callback?x",
            "http://127.0.0.1:5000/",
            "http://localhost:5000/callback",
            "https://127.0.0.1:5000/callback",
            "nothing",
        ] {
            assert_eq!(any.served_by(other), None, "{other}");
        }
        let fixed = RedirectUri::parse("http://localhost:5000/cb").unwrap();
        assert_eq!(fixed.served_by("http://localhost:5001/cb"), None);
    }

    #[test]
    fn what_is_no_redirect_uri_is_refused() {
        for text in [
            "",
            "callback",
            "/callback",
            "http://example.com/callback",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/callback",
            "http://127.0.0.1/callback#x",
            "http://a@127.0.0.1/callback",
            "http://127.0.0.1/call back",
            "http://127.0.0.1/\r\nX: y",
        ] {
            assert!(RedirectUri::parse(text).is_err(), "{text:?}");
        }
    }
}
