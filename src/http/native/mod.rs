//! The real client: reqwest over rustls, with the machine's trust and proxies.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(not(any(windows, target_vendor = "apple", target_os = "android")))]
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{AlertDescription, RootCertStore};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::content_coding::{Unreadable, decode};
use super::crypto_provider::crypto_provider;
use super::line::{self, Line};
use super::proxy::{Lookup, NoProxy, Proxy, only_for_http};
use super::running_time::within;
use super::tls_failure::TlsFailure;
use super::{
    Body, BoxFuture, Endpoint, Failure, FailureKind, HttpClient, Request, Response, retry_after,
};
use crate::environment::Environment;
use crate::secret::Secret;
use crate::time::{BootInstant, SharedClock, UnixMillis};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// RFC 9449 §4.1
const DPOP: HeaderName = HeaderName::from_static("dpop");
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// The process's HTTP client. Making one does nothing; its halves are built by their first request.
pub(crate) struct NativeClient {
    clock: SharedClock,
    environment: Box<dyn Environment>,
    no_proxy: OnceLock<NoProxy>,
    /// For the network, through the proxy that the environment names, or else the system's, if there is one.
    proxied: OnceLock<Connector>,
    /// For what is to be reached without a proxy: such hosts, and those of `allowHttp`, on a network of the plugin's own.
    direct: OnceLock<Connector>,
    /// For loopback, never through a proxy.
    loopback: OnceLock<Connector>,
    /// The certificates to trust on a machine that has none.
    brought: OnceLock<Vec<CertificateDer<'static>>>,
}

impl NativeClient {
    /// A client that has neither read nor opened anything yet.
    pub(crate) fn new(clock: SharedClock, environment: Box<dyn Environment>) -> Self {
        Self {
            clock,
            environment,
            no_proxy: OnceLock::new(),
            proxied: OnceLock::new(),
            direct: OnceLock::new(),
            loopback: OnceLock::new(),
            brought: OnceLock::new(),
        }
    }

    /// The settings of the process.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_system() -> Self {
        let environment = Box::new(crate::environment::ProcessEnvironment);
        Self::new(SharedClock::of_system(), environment)
    }

    fn connector(&self, endpoint: &Endpoint) -> Result<&Connector, Failure> {
        let variable = variables(&*self.environment);
        let no_proxy = || NoProxy::from_environment(&variable);
        let (cell, route) = if endpoint.is_loopback() {
            (&self.loopback, Route::Loopback)
        } else if endpoint.is_unencrypted() || self.no_proxy.get_or_init(no_proxy).covers(endpoint)
        {
            (&self.direct, Route::Direct)
        } else {
            (&self.proxied, Route::Proxied)
        };
        if let Some(connector) = cell.get() {
            return Ok(connector);
        }
        // A failure is not kept: the next request tries again.
        let brought = self.brought.get().map_or(&[][..], Vec::as_slice);
        let sources = TrustSources::from_environment(&*self.environment);
        let clock = self.clock.clone();
        let built = Connector::build(route, &sources, brought, (clock, &variable))?;
        Ok(cell.get_or_init(|| built))
    }

    /// Takes the certificates, in PEM, that are trusted where the machine has none. Only what comes before the first
    /// request counts.
    pub(crate) fn bring_certificates(&self, pem: &str) {
        self.brought.get_or_init(|| {
            CertificateDer::pem_slice_iter(pem.as_bytes())
                .filter_map(Result::ok)
                .collect()
        });
    }
}

impl HttpClient for NativeClient {
    fn send_on<'a>(
        &'a self,
        line: Option<&'a Line>,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Failure>> {
        Box::pin(async move {
            let connector = self.connector(&request.url)?;
            // A proxy that is named gets a tunnel for each request.
            let line = line.filter(|_| connector.proxy.is_none());
            let client = match line {
                Some(line) => match line.take(&request.url, self.clock.boot()) {
                    Some(open) => open,
                    None => connector.new_client(Some(line::OPEN))?,
                },
                None => connector.client()?.clone(),
            };
            let server = line::origin(&request.url).to_owned();
            let outcome = connector.send(&client, request).await;
            if let (Some(line), Ok(_)) = (line, &outcome) {
                line.leave(client, server, self.clock.boot());
            }
            outcome
        })
    }

    fn proxy_of(&self, endpoint: &Endpoint) -> Option<String> {
        let variable = variables(&*self.environment);
        if endpoint.is_unencrypted()
            || endpoint.is_loopback()
            || NoProxy::from_environment(&variable).covers(endpoint)
        {
            return None;
        }
        let proxy = Proxy::from_environment(&variable).ok()??;
        Some(proxy.to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Proxied,
    Direct,
    Loopback,
}

/// One reqwest client, and what its set-up wants to add to failures.
struct Connector {
    clock: SharedClock,
    route: Route,
    /// The one that is named.
    proxy: Option<Proxy>,
    tls: Tls,
    /// Opens a connection for each request.
    client: OnceLock<reqwest::Client>,
    /// Where requests go by way of, for all that never left.
    proxy_note: String,
    /// For certificate failures.
    trust_notes: Vec<String>,
    /// The environment variable that names the trusted certificates.
    named: Option<&'static str>,
}

impl Connector {
    fn build(
        route: Route,
        sources: &TrustSources,
        brought: &[CertificateDer<'static>],
        (clock, variable): (SharedClock, Lookup<'_>),
    ) -> Result<Self, Failure> {
        install_crypto_provider();
        let Trust {
            extra,
            notes: trust_notes,
            named,
        } = sources.extra_certificates();
        let proxy = match route {
            Route::Proxied => Proxy::from_environment(variable)?,
            Route::Direct | Route::Loopback => None,
        };
        let proxy_note = match &proxy {
            Some(proxy) => format!(" ({proxy})"),
            None if route == Route::Proxied && only_for_http(variable) => {
                " (HTTP_PROXY is for http URLs; the proxy for https is HTTPS_PROXY)".to_owned()
            }
            None => String::new(),
        };
        Ok(Self {
            clock,
            route,
            proxy,
            tls: sources.tls(brought, &extra)?,
            client: OnceLock::new(),
            proxy_note,
            trust_notes,
            named,
        })
    }

    /// The client that opens a connection for each request.
    fn client(&self) -> Result<&reqwest::Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = self.new_client(None)?;
        Ok(self.client.get_or_init(|| built))
    }

    /// A client that keeps a connection for that long without a request.
    fn new_client(&self, kept_for: Option<Duration>) -> Result<reqwest::Client, Failure> {
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .referer(false)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(usize::from(kept_for.is_some()))
            .pool_idle_timeout(kept_for);
        let broken = |error| failure(FailureKind::NotSent, &cause(&error));
        let builder = match (self.route, &self.proxy) {
            (Route::Proxied, Some(proxy)) => {
                builder.proxy(reqwest::Proxy::all(proxy.url().clone()).map_err(broken)?)
            }
            (Route::Proxied, None) => builder,
            (Route::Direct, _) => builder.no_proxy(),
            (Route::Loopback, _) => builder.no_proxy().dns_resolver(Arc::new(LoopbackResolver)),
        };
        self.tls.of(builder).build().map_err(broken)
    }

    async fn send(&self, client: &reqwest::Client, request: Request) -> Result<Response, Failure> {
        let is_get = matches!(request.body, Body::Get | Body::Probe);
        let sent = Arc::new(AtomicBool::new(is_get));
        let limit = request.timeout;
        let arriving = Mutex::new(None);
        let exchange = self.exchange(client, request, &sent, &arriving);
        let outcome = within(limit, exchange).await;
        let arrived = arriving.into_inner().ok().flatten();
        let outcome = match (outcome.unwrap_or(Err(Trouble::TimedOut)), arrived) {
            (Ok(()), Some(arrived)) => arrived.response(&self.clock),
            (Err(Trouble::Reqwest(_) | Trouble::TimedOut), Some(arrived)) if arrived.is_whole() => {
                arrived.response(&self.clock)
            }
            (Err(trouble), _) => Err(trouble),
            (Ok(()), None) => Err(Trouble::TimedOut),
        };
        outcome.map_err(|trouble| match trouble {
            Trouble::Unreadable => {
                failure(FailureKind::Broken, "its body is compressed, and damaged")
            }
            Trouble::TimedOut => self.timed_out(!sent.load(Ordering::Acquire)),
            Trouble::TooLarge => failure(FailureKind::Unreadable, "its body is over 1 MiB"),
            Trouble::Coded => failure(
                FailureKind::Unreadable,
                "it is compressed, though `Accept-Encoding: identity` was sent, which the server and all before it must heed",
            ),
            Trouble::Unsendable => failure(
                FailureKind::NotSent,
                "a credential cannot be put into a header",
            ),
            Trouble::Reqwest(error) => self.classify(&error, sent.load(Ordering::Acquire)),
        })
    }

    async fn exchange(
        &self,
        client: &reqwest::Client,
        request: Request,
        sent: &Arc<AtomicBool>,
        arriving: &Mutex<Option<Arrived>>,
    ) -> Result<(), Trouble> {
        let url = request.url.url().clone();
        let is_probe = matches!(request.body, Body::Probe | Body::ProbeByPost);
        let accepted = if is_probe {
            "application/json, text/event-stream"
        } else {
            "application/json"
        };
        let json = |json: String| {
            (
                client
                    .post(url.clone())
                    .header(CONTENT_TYPE, "application/json"),
                Some(Zeroizing::new(json.into_bytes())),
            )
        };
        let (builder, body) = match request.body {
            Body::Get | Body::Probe => (client.get(url), None),
            Body::Form(form) => (
                // Bare: some servers refuse a charset parameter, which RFC 6749 appendix B does not have either.
                client
                    .post(url.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
                Some(form.into_bytes()),
            ),
            Body::Json(text) => json(text),
            Body::ProbeByPost => json("{}".to_owned()),
        };
        // RFC 9110 §12.5.3: without this field "any content coding is considered acceptable by the user agent".
        let mut builder = builder
            .header(ACCEPT, accepted)
            .header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = request.authorization {
            builder = builder.header(AUTHORIZATION, sensitive(&authorization)?);
        }
        if let Some(proof) = request.dpop {
            builder = builder.header(DPOP, sensitive(&proof)?);
        }
        if let Some(body) = body {
            builder = builder.body(reqwest::Body::wrap(Outgoing {
                bytes: Some(Bytes::from_owner(body)),
                sent: Arc::clone(sent),
            }));
        }
        let asked = self.clock.boot();
        let mut response = builder.send().await.map_err(Trouble::Reqwest)?;
        let head = Arrived::head(&response, asked, &self.clock, is_probe)?;
        if let Ok(mut arriving) = arriving.lock() {
            *arriving = Some(head);
        }
        if is_probe {
            return Ok(());
        }
        while let Some(chunk) = response.chunk().await.map_err(Trouble::Reqwest)? {
            if let Ok(mut arriving) = arriving.lock()
                && let Some(arrived) = arriving.as_mut()
            {
                arrived.add(&chunk)?;
            }
        }
        Ok(())
    }
}

/// The part of an answer that has arrived. It outlives the connection: a complete body counts even if the connection
/// ended without marking its end.
struct Arrived {
    status: u16,
    retry_after: Option<Duration>,
    dpop_nonce: Option<String>,
    challenge: Option<String>,
    date: Option<UnixMillis>,
    /// When the request was about to be sent.
    asked: BootInstant,
    /// `Content-Encoding`
    coding: String,
    body: Zeroizing<Vec<u8>>,
}

impl Arrived {
    fn head(
        response: &reqwest::Response,
        asked: BootInstant,
        clock: &SharedClock,
        is_probe: bool,
    ) -> Result<Self, Trouble> {
        const FIRST: usize = 8 * 1024;
        let announced = response.content_length().filter(|_| !is_probe);
        let announced = usize::try_from(announced.unwrap_or(0)).unwrap_or(usize::MAX);
        if announced > MAX_BODY {
            return Err(Trouble::TooLarge);
        }
        let headers = response.headers();
        let (now, date) = (clock.now(), text(headers, DATE.as_str()));
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<&str> = challenges.filter_map(|line| line.to_str().ok()).collect();
        Ok(Self {
            status: response.status().as_u16(),
            retry_after: text(headers, RETRY_AFTER.as_str())
                .and_then(|value| retry_after::parse(value, date, now)),
            dpop_nonce: text(headers, "dpop-nonce").map(str::to_owned),
            // RFC 9110 §5.3: several lines are one, joined by commas.
            challenge: (!challenges.is_empty()).then(|| challenges.join(", ")),
            date: date.and_then(retry_after::http_date),
            asked,
            coding: text(headers, CONTENT_ENCODING.as_str())
                .unwrap_or_default()
                .to_owned(),
            body: Zeroizing::new(Vec::with_capacity(announced.max(FIRST))),
        })
    }

    fn add(&mut self, chunk: &[u8]) -> Result<(), Trouble> {
        let length = self.body.len() + chunk.len();
        if length > MAX_BODY {
            return Err(Trouble::TooLarge);
        }
        if length > self.body.capacity() {
            // Growing in place would leave a copy of the tokens behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * length));
            larger.extend_from_slice(&self.body);
            self.body = larger;
        }
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    /// Whether there can be no more of it: a JSON object that ends, or what was compressed and ends. Of anything else,
    /// more may be missing.
    fn is_whole(&self) -> bool {
        let Ok(decoded) = decode(&self.body, &self.coding, MAX_BODY) else {
            return false;
        };
        let body = decoded.as_ref().unwrap_or(&self.body);
        let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let is_object = text.trim_ascii_start().starts_with(b"{");
        if is_object {
            return serde_json::from_slice::<IgnoredAny>(text).is_ok();
        }
        decoded.is_some()
    }

    fn response(self, clock: &SharedClock) -> Result<Response, Trouble> {
        let decoded =
            decode(&self.body, &self.coding, MAX_BODY).map_err(|unreadable| match unreadable {
                Unreadable::TooLarge => Trouble::TooLarge,
                Unreadable::Broken => Trouble::Unreadable,
            })?;
        let body = decoded.unwrap_or(self.body);
        if !self.coding.is_empty() && std::str::from_utf8(&body).is_err() {
            return Err(Trouble::Coded);
        }
        Ok(Response {
            status: self.status,
            retry_after: self.retry_after,
            dpop_nonce: self.dpop_nonce,
            challenge: self.challenge,
            date: self.date,
            age: clock.boot().since(self.asked),
            body,
        })
    }
}

impl Connector {
    fn classify(&self, error: &reqwest::Error, sent: bool) -> Failure {
        let proxy_problem = proxy_problem(error);
        let tls_error = tls_error(error);
        // RFC 8446 §4.4.2.4: in TLS 1.3 the client has sent its request by the time that its missing certificate ends
        // the handshake, and the server has processed nothing.
        let has_ended_handshake = matches!(
            tls_error,
            Some(rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
            ))
        );
        let not_sent = error.is_connect() || error.is_builder() || !sent || has_ended_handshake;
        if not_sent && let Some(error) = tls_error {
            let TlsFailure { kind, what, next } = TlsFailure::read(error, self.named);
            let mut detail = what;
            if kind == FailureKind::Certificate {
                if proxy_problem.is_some() {
                    detail.insert_str(0, "it is the proxy's own, ");
                }
                for note in &self.trust_notes {
                    detail.push_str("; ");
                    detail.push_str(note);
                }
            }
            detail.push_str(&self.proxy_note);
            if !next.is_empty() {
                detail.push_str(". ");
                detail.push_str(&next);
            }
            return failure(kind, &detail);
        }
        match (error.is_timeout(), proxy_problem) {
            (true, _) => self.timed_out(not_sent),
            (false, Some(PROXY_AUTHENTICATION)) => {
                let what = "it wants a user name and password, or others than it got";
                self.not_sent(FailureKind::Proxy, what)
            }
            (false, _) if not_sent => self.not_sent(FailureKind::NotSent, &cause(error)),
            (false, _) => failure(FailureKind::Broken, &cause(error)),
        }
    }

    fn timed_out(&self, not_sent: bool) -> Failure {
        if not_sent {
            self.not_sent(FailureKind::NotSent, "connecting took too long")
        } else {
            failure(FailureKind::TimedOut, "the time for the request ran out")
        }
    }

    fn not_sent(&self, kind: FailureKind, detail: &str) -> Failure {
        failure(kind, &format!("{detail}{}", self.proxy_note))
    }
}

/// Why there is no response.
enum Trouble {
    Reqwest(reqwest::Error),
    TooLarge,
    /// Compressed by something that is not known here.
    Coded,
    Unreadable,
    Unsendable,
    TimedOut,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A header value that is zeroed when dropped and never printed.
fn sensitive(value: &Secret) -> Result<HeaderValue, Trouble> {
    let bytes = Zeroizing::new(value.expose().as_bytes().to_vec());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes))
        .map_err(|_| Trouble::Unsendable)?;
    header.set_sensitive(true);
    Ok(header)
}

/// A request body that is zeroed when dropped, and notes that hyper took it: until then nothing has left.
struct Outgoing {
    bytes: Option<Bytes>,
    sent: Arc<AtomicBool>,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.sent.store(true, Ordering::Release);
        Poll::Ready(
            self.bytes
                .take()
                .map(|bytes| Ok(http_body::Frame::data(bytes))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// RFC 6761 §6.3: name resolution "SHOULD always return the IP loopback address" for localhost names, so that http
/// never leaves this machine, even if DNS says otherwise.
struct LoopbackResolver;

impl reqwest::dns::Resolve for LoopbackResolver {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        let addresses: reqwest::dns::Addrs = Box::new(addresses.into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

fn install_crypto_provider() {
    if CryptoProvider::get_default().is_none() {
        // An error only says that another thread was faster.
        drop(crypto_provider().install_default());
    }
}

/// The certificates that environment variables add to the machine's own trust.
#[derive(Debug, Default)]
struct Trust {
    /// The certificates to add.
    extra: Vec<CertificateDer<'static>>,
    /// Warnings about files without a usable certificate.
    notes: Vec<String>,
    /// The first variable that names a usable file.
    named: Option<&'static str>,
}

/// Where trust comes from beside the machine's own store.
#[derive(Debug, Default)]
struct TrustSources {
    /// `NODE_EXTRA_CA_CERTS`: certificates that are trusted as well.
    node_extra: Option<PathBuf>,
    /// `SSL_CERT_FILE`: instead of the machine's store, as OpenSSL has it.
    ssl_cert_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: likewise.
    ssl_cert_dir: Option<PathBuf>,
}

impl TrustSources {
    fn from_environment(environment: &dyn Environment) -> Self {
        let path = |name| {
            environment
                .var(name)
                .filter(|value: &OsString| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            node_extra: path("NODE_EXTRA_CA_CERTS"),
            ssl_cert_file: path("SSL_CERT_FILE"),
            ssl_cert_dir: path("SSL_CERT_DIR"),
        }
    }

    fn extra_certificates(&self) -> Trust {
        // The verifier reads SSL_CERT_FILE itself except where the system's own API verifies.
        let verifier_ignores_it = cfg!(any(windows, target_vendor = "apple")) || NODES_TRUST;
        let mut trust = Trust::default();
        for (name, path, merged) in [
            ("NODE_EXTRA_CA_CERTS", &self.node_extra, true),
            ("SSL_CERT_FILE", &self.ssl_cert_file, verifier_ignores_it),
        ] {
            let Some(path) = path else { continue };
            match certificates_in(path) {
                Ok(found) => {
                    trust.named = trust.named.or(Some(name));
                    if merged {
                        trust.extra.extend(found);
                    }
                }
                // Node ignores such a file with a warning; here the certificate failure that follows says it.
                Err(reason) => trust
                    .notes
                    .push(format!("the file that {name} names {reason}")),
            }
        }
        // The verifier reads it itself.
        if let Some(folders) = &self.ssl_cert_dir
            && !std::env::split_paths(folders).any(|folder| folder.is_dir())
        {
            trust.notes.push("SSL_CERT_DIR names no folder".to_owned());
        }
        trust
    }

    /// Trust in what the system's own API verifies, and in the further certificates.
    #[cfg(any(windows, target_vendor = "apple"))]
    #[expect(clippy::unused_self, reason = "elsewhere the sources matter")]
    fn tls(
        &self,
        _brought: &[CertificateDer<'static>],
        extra: &[CertificateDer<'static>],
    ) -> Result<Tls, Failure> {
        let extra: reqwest::Result<Vec<_>> = extra
            .iter()
            .map(|certificate| reqwest::Certificate::from_der(certificate))
            .collect();
        let extra = extra.map_err(|error| failure(FailureKind::NotSent, &cause(&error)))?;
        Ok(Tls(extra))
    }

    /// Trust in the machine's certificates, and the further ones. Node's own on machines without a certificate store,
    /// such as slim containers; not where the user chose the roots by `SSL_CERT_FILE` or `SSL_CERT_DIR`.
    #[cfg(not(any(windows, target_vendor = "apple")))]
    fn tls(
        &self,
        brought: &[CertificateDer<'static>],
        extra: &[CertificateDer<'static>],
    ) -> Result<Tls, Failure> {
        let mut roots = self.machine_roots();
        let is_chosen = self.ssl_cert_file.is_some() || self.ssl_cert_dir.is_some();
        if roots.is_empty() && !is_chosen {
            roots.add_parsable_certificates(brought.iter().cloned());
        }
        roots.add_parsable_certificates(extra.iter().cloned());
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(crypto_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failure(FailureKind::NotSent, &format!("TLS: {error}")))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(config))
    }

    /// What OpenSSL trusts: the files that the environment names, or else the usual ones.
    #[cfg(not(any(windows, target_vendor = "apple", target_os = "android")))]
    fn machine_roots(&self) -> RootCertStore {
        let (file, folders) = match (&self.ssl_cert_file, &self.ssl_cert_dir) {
            (None, None) => {
                let usual = openssl_probe::probe();
                (usual.cert_file, usual.cert_dir)
            }
            (file, folders) => {
                let folders = folders.iter().flat_map(std::env::split_paths);
                (file.clone(), folders.collect())
            }
        };
        let mut paths: Vec<PathBuf> = file.into_iter().collect();
        for entries in folders.iter().flat_map(std::fs::read_dir) {
            // What is no regular file, or a link to one, may never end.
            let files = entries.flatten().map(|entry| entry.path());
            paths.extend(files.filter(|path| path.is_file()));
        }
        let mut roots = RootCertStore::empty();
        let mut seen = Vec::new();
        // One file at a time: together they are the most memory that a first refresh takes.
        for path in paths {
            let Ok(file) = std::fs::metadata(&path).map(|file| (file.dev(), file.ino())) else {
                continue;
            };
            // A folder has each file under two names, and the bundle as well.
            if seen.contains(&file) {
                continue;
            }
            seen.push(file);
            let pem = read(&path).unwrap_or_default();
            for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
                // One that cannot be read is left out, as others leave it out.
                if let Ok(root) = webpki::anchor_from_trusted_cert(&certificate)
                    && !roots.roots.contains(&root)
                {
                    roots.roots.push(root.to_owned());
                }
            }
        }
        roots
    }

    /// See [`NODES_TRUST`].
    #[cfg(target_os = "android")]
    fn machine_roots(&self) -> RootCertStore {
        RootCertStore::empty()
    }
}

/// How the clients of a connector speak TLS: the certificates that they trust beside the system's.
#[cfg(any(windows, target_vendor = "apple"))]
struct Tls(Vec<reqwest::Certificate>);

/// How the clients of a connector speak TLS. They resume each other's sessions.
#[cfg(not(any(windows, target_vendor = "apple")))]
struct Tls(rustls::ClientConfig);

impl Tls {
    fn of(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        #[cfg(any(windows, target_vendor = "apple"))]
        return builder.tls_certs_merge(self.0.clone());
        #[cfg(not(any(windows, target_vendor = "apple")))]
        builder.tls_backend_preconfigured(self.0.clone())
    }
}

/// Whether Node's certificates are trusted, whatever the machine has. Android's verifier is a part of Java, which a
/// Node in Termux has none of.
const NODES_TRUST: bool = cfg!(target_os = "android");

/// Whether this machine may have no certificates: none of the usual bundles exists.
#[cfg(all(unix, not(any(target_vendor = "apple", target_os = "android"))))]
pub(crate) fn may_lack_certificates() -> bool {
    let bundle = openssl_probe::probe().cert_file;
    !bundle.is_some_and(|path| path.metadata().is_ok_and(|bundle| bundle.len() > 0))
}

/// macOS and Windows always have some.
#[cfg(not(all(unix, not(any(target_vendor = "apple", target_os = "android")))))]
pub(crate) fn may_lack_certificates() -> bool {
    NODES_TRUST
}

#[expect(
    clippy::disallowed_methods,
    reason = "a public certificate file that belongs to the user, not to the store"
)]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The usable certificates of a PEM file; the error completes "the file …".
fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path).map_err(|error| format!("cannot be read ({})", error.kind()))?;
    let mut scratch = RootCertStore::empty();
    let usable: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .filter_map(Result::ok)
        // One that cannot be parsed would make the whole client fail.
        .filter(|certificate| scratch.add(certificate.clone()).is_ok())
        .collect();
    if usable.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    Ok(usable)
}

fn variables(environment: &dyn Environment) -> impl Fn(&str) -> Option<String> {
    |name| environment.var(name)?.into_string().ok()
}

fn failure(kind: FailureKind, detail: &str) -> Failure {
    Failure {
        kind,
        detail: detail.to_owned(),
    }
}

/// The error and what caused it, outermost first. `source()` of an `io::Error` skips the error inside it.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let inner = |error: &&'a (dyn StdError + 'static)| -> Option<&'a (dyn StdError + 'static)> {
        let error: &'a (dyn StdError + 'static) = *error;
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), inner)
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The text with which hyper reports that a proxy requires other credentials.
const PROXY_AUTHENTICATION: &str = "proxy authorization required";

/// The problem on the connection to the proxy, or in its answer to CONNECT.
fn proxy_problem(error: &reqwest::Error) -> Option<&'static str> {
    let told = chain(error).find_map(|error| {
        let told = error.to_string();
        Some(told.strip_prefix("tunnel error: ")?.to_owned())
    })?;
    Some(match told.as_str() {
        PROXY_AUTHENTICATION => PROXY_AUTHENTICATION,
        "unsuccessful" => {
            "it refused (wrong credentials, a host that it does not allow) or could not reach the server"
        }
        "unexpected end of file" => "it closed the connection",
        _ => "",
    })
}

/// The cause in words for a person. No link of the chain but reqwest's own, which is left out, prints a URL.
fn cause(error: &reqwest::Error) -> String {
    let mut text = root_cause(error);
    if error.is_dns() {
        let reason = text.rsplit(": ").next().unwrap_or_default();
        text = format!("dns: {}", reason.to_ascii_lowercase());
    }
    match proxy_problem(error) {
        None => text,
        Some("") => format!("proxy: {text}"),
        Some(problem) => format!("proxy: {problem}"),
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let Some(last) = chain(error)
        .filter(|error| !error.is::<reqwest::Error>())
        .last()
    else {
        return "the request could not be made".to_owned();
    };
    if let Some(error) = tls_error(error) {
        return TlsFailure::read(error, None).what;
    }
    // Some libraries word their errors for their own users; the kind of failure says more.
    if let Some(words) = chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .find_map(|error| usual(error.kind()))
    {
        return words.to_owned();
    }
    let Some(error) = last.downcast_ref::<io::Error>() else {
        let told = last.to_string();
        // reqwest leaves the brackets on.
        if told == "Invalid Server Name" {
            return "no IPv6 address is reached by TLS through a proxy: use a name, or list it in NO_PROXY".to_owned();
        }
        return told;
    };
    error.to_string()
}

fn usual(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => "connection closed",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::HostUnreachable => "host unreachable",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
