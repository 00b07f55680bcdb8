//! The proxy that the environment names for https, and what it leaves out.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::{Endpoint, Failure, FailureKind};

/// The usable values of environment variables.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The first of these variables that is set and not empty. Small letters win, as in Node and curl.
fn first<'a>(names: &[&'a str], lookup: Lookup<'_>) -> Option<(&'a str, String)> {
    let value = |name: &&'a str| {
        let value = lookup(name)?.trim().to_owned();
        (!value.is_empty()).then_some((*name, value))
    };
    names.iter().find_map(value)
}

/// A proxy. Printing it leaves its credentials out.
pub(super) struct Proxy {
    variable: String,
    url: Url,
}

impl Proxy {
    /// The proxy that the environment names, if any.
    ///
    /// # Errors
    /// The named proxy is unusable. Going without it would send traffic past a proxy that somebody wanted.
    pub(super) fn from_environment(lookup: Lookup<'_>) -> Result<Option<Self>, Failure> {
        let names = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let Some((variable, value)) = first(&names, lookup) else {
            return Ok(None);
        };
        let url = parse(&value).map_err(|problem| Failure {
            kind: FailureKind::Proxy,
            detail: format!("{variable} {problem}"),
        })?;
        Ok(Some(Self {
            variable: variable.to_owned(),
            url,
        }))
    }

    /// For reqwest, credentials included.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{}: {host}", self.variable)?;
        match self.url.port_or_known_default() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The error completes "`HTTPS_PROXY` …"; nothing of the value is in it, since any part may be of the password.
fn parse(value: &str) -> Result<Url, &'static str> {
    const NO_URL: &str = "is no URL such as http://proxy.example.com:3128. Percent-encode reserved characters in its user name and password";
    // As in other programs, a bare host:port means http.
    let scheme = if value.contains("://") { "" } else { "http://" };
    let url = Url::parse(&format!("{scheme}{value}")).map_err(|_| NO_URL)?;
    if url.scheme().starts_with("socks") {
        return Err("names a SOCKS proxy, which is not supported. Name an http proxy");
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err("names neither an http nor an https proxy");
    }
    // An unencoded reserved character in a password makes what follows a path, a query or a fragment.
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(NO_URL);
    }
    Ok(url)
}

/// A hint for people who set `HTTP_PROXY` alone: everywhere it is for http, and http never leaves this machine.
pub(super) fn only_for_http(lookup: Lookup<'_>) -> bool {
    first(&["http_proxy", "HTTP_PROXY"], lookup).is_some()
}

/// The hosts that are reached without the proxy.
pub(super) struct NoProxy(String);

impl NoProxy {
    /// Reads `no_proxy` or `NO_PROXY`.
    pub(super) fn from_environment(lookup: Lookup<'_>) -> Self {
        let listed = first(&["no_proxy", "NO_PROXY"], lookup);
        Self(listed.map_or_else(String::new, |(_, list)| list.to_ascii_lowercase()))
    }

    /// Whether the list has this endpoint: names with all names below them, with or without a leading dot or `*.`;
    /// addresses and networks; `*`; each with a port or without.
    pub(super) fn covers(&self, endpoint: &Endpoint) -> bool {
        let url = endpoint.url();
        let port = url.port_or_known_default();
        self.0
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .any(|entry| {
                let (name, wanted_port) = split_port(entry);
                (wanted_port.is_none() || wanted_port == port)
                    && url.host().is_some_and(|host| matches(name, &host))
            })
    }
}

/// `host:8443` and `[::1]:8443`; a bare IPv6 address has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn matches(entry: &str, host: &Host<&str>) -> bool {
    if entry == "*" {
        return true;
    }
    match host {
        Host::Domain(name) => {
            let entry = entry.strip_prefix('*').unwrap_or(entry);
            let entry = entry.strip_prefix('.').unwrap_or(entry);
            let entry = entry.strip_suffix('.').unwrap_or(entry);
            let name = name.strip_suffix('.').unwrap_or(name);
            let above = name.strip_suffix(entry);
            !entry.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        }
        Host::Ipv4(address) => contains(entry, IpAddr::V4(*address)),
        Host::Ipv6(address) => contains(entry, IpAddr::V6(*address)),
    }
}

/// Whether the address is this one or of this network, such as 10.0.0.0/8.
fn contains(entry: &str, address: IpAddr) -> bool {
    let (network, length) = match entry.split_once('/') {
        Some((network, length)) => (network, length.parse().ok()),
        None => (entry, Some(128)),
    };
    let network = network.trim_start_matches('[').trim_end_matches(']');
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else {
        return false;
    };
    // From the left, so that a length means the same for both.
    let bits = |address| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let differing = bits(network) ^ bits(address);
    network.is_ipv4() == address.is_ipv4() && differing.leading_zeros() >= u32::min(length, 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        }
    }

    fn proxy(variables: &'static [(&str, &str)]) -> Option<String> {
        let proxy = Proxy::from_environment(&environment(variables)).unwrap()?;
        Some(format!("{proxy} {}", proxy.url()))
    }

    #[test]
    fn the_first_variable_that_is_set_and_not_empty() {
        assert_eq!(proxy(&[]), None);
        assert_eq!(proxy(&[("HTTP_PROXY", "http://p:1")]), None);
        assert_eq!(
            proxy(&[
                ("ALL_PROXY", "http://p:4"),
                ("all_proxy", "http://p:3"),
                ("HTTPS_PROXY", "http://p:2"),
                ("https_proxy", "http://p:1"),
            ])
            .unwrap(),
            "https_proxy: p:1 http://p:1/"
        );
        assert_eq!(
            proxy(&[
                ("ALL_PROXY", "http://p:4"),
                ("HTTPS_PROXY", " "),
                ("https_proxy", "")
            ])
            .unwrap(),
            "ALL_PROXY: p:4 http://p:4/"
        );
    }

    #[test]
    fn a_proxy_is_printed_without_its_credentials() {
        for (value, printed, whole) in [
            (
                "proxy.corp:3128",
                "proxy.corp:3128",
                "http://proxy.corp:3128/",
            ),
            ("http://proxy.corp", "proxy.corp:80", "http://proxy.corp/"),
            (
                "https://proxy.corp/",
                "proxy.corp:443",
                "https://proxy.corp/",
            ),
            ("http://[::1]:8080", "[::1]:8080", "http://[::1]:8080/"),
            (
                "ada:can%40ary@proxy:1",
                "proxy:1",
                "http://ada:can%40ary@proxy:1/",
            ),
            // Spellings that curl and browsers accept.
            (
                "http://ada:can@ary@proxy:1",
                "proxy:1",
                "http://ada:can%40ary@proxy:1/",
            ),
        ] {
            let lookup = |name: &str| (name == "HTTPS_PROXY").then(|| value.to_owned());
            let proxy = Proxy::from_environment(&lookup).unwrap().unwrap();
            assert_eq!(proxy.to_string(), format!("HTTPS_PROXY: {printed}"));
            assert_eq!(proxy.url().as_str(), whole);
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_quoting_it() {
        for value in [
            "socks5://canary@p:1080",
            "socks5h://p:1080/canary",
            "ftp://canary:1",
            "http://",
            "http://ada:canary/x@proxy:3128",
            "http://ada:1canary#2@proxy:3128",
            "http://ada:1?canary@proxy:3128",
            "http://ada:1/canary@proxy:3128",
            "ada:1#canary@proxy:3128",
        ] {
            let lookup = |name: &str| (name == "all_proxy").then(|| value.to_owned());
            let failure = Proxy::from_environment(&lookup).err().unwrap();
            assert_eq!(failure.kind, FailureKind::Proxy, "{value}");
            assert!(failure.detail.starts_with("all_proxy "), "{failure:?}");
            assert!(!failure.detail.contains("canary"), "{failure:?}");
        }
    }

    #[test]
    fn no_proxy_knows_names_ports_addresses_and_networks() {
        let covers = |list: &str, url: &str| {
            let lookup = |name: &str| (name == "NO_PROXY").then(|| list.to_owned());
            NoProxy::from_environment(&lookup).covers(&Endpoint::parse(url).unwrap())
        };
        for (list, url) in [
            ("example.com", "https://example.com/t"),
            ("example.com", "https://auth.example.com/t"),
            (".example.com", "https://auth.example.com/t"),
            (".example.com", "https://example.com/t"),
            ("*.example.com", "https://auth.example.com/t"),
            ("EXAMPLE.com.", "https://auth.Example.COM./t"),
            ("other, example.com", "https://example.com/t"),
            ("other example.com", "https://example.com/t"),
            ("example.com:443", "https://example.com/t"),
            ("example.com:8443", "https://auth.example.com:8443/t"),
            ("*", "https://example.com/t"),
            ("*", "https://192.0.2.1/t"),
            ("*:8443", "https://192.0.2.1:8443/t"),
            ("192.0.2.1", "https://192.0.2.1/t"),
            ("192.0.2.1:8443", "https://192.0.2.1:8443/t"),
            ("192.0.2.0/24", "https://192.0.2.255/t"),
            ("0.0.0.0/0", "https://192.0.2.255/t"),
            ("2001:db8::1", "https://[2001:db8::1]/t"),
            ("[2001:db8::1]", "https://[2001:db8::1]/t"),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443/t"),
            ("2001:db8::/32", "https://[2001:db8:ffff::1]/t"),
            ("[2001:db8::]/32", "https://[2001:db8:ffff::1]/t"),
        ] {
            assert!(covers(list, url), "{list} {url}");
        }
        for (list, url) in [
            ("", "https://example.com/t"),
            (" , ", "https://example.com/t"),
            ("example.com", "https://notexample.com/t"),
            (".example.com", "https://notexample.com/t"),
            ("auth.example.com", "https://example.com/t"),
            (".", "https://example.com/t"),
            ("*.", "https://example.com/t"),
            ("example.com:8443", "https://example.com/t"),
            ("*:8443", "https://example.com/t"),
            ("example.com:x", "https://example.com/t"),
            ("192.0.2.1", "https://192.0.2.11/t"),
            ("2.1", "https://192.0.2.1/t"),
            ("192.0.2.0/25", "https://192.0.2.255/t"),
            ("192.0.2.0/x", "https://192.0.2.1/t"),
            ("0.0.0.0/0", "https://[2001:db8::1]/t"),
            ("::/0", "https://192.0.2.1/t"),
            ("192.0.2.0/24", "https://192.0.2.1.example.com/t"),
            ("2001:db8::/32", "https://[2001:db9::1]/t"),
            ("2001:db8::1", "https://[2001:db8::2]/t"),
        ] {
            assert!(!covers(list, url), "{list} {url}");
        }
    }
}
