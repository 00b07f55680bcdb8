//! The real client: reqwest over rustls, with the machine's trust and proxies.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::content_coding::{Unreadable, gunzip, is_gzip};
use super::crypto_provider::crypto_provider;
use super::proxy::{NoProxy, Proxy, only_for_http};
use super::running_time::within;
use super::tls_failure::TlsFailure;
use super::{
    Body, BoxFuture, Endpoint, Failure, FailureKind, HttpClient, Request, Response, retry_after,
};
use crate::secret::Secret;
use crate::time::{BootInstant, Clock as _, SystemClock, UnixMillis};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// RFC 9449 §4.1
const DPOP: HeaderName = HeaderName::from_static("dpop");
const MAX_BODY: usize = 1024 * 1024;

/// The process's HTTP client. Making one does nothing; its halves are built by their first request.
#[derive(Default)]
pub(crate) struct NativeClient {
    no_proxy: OnceLock<NoProxy>,
    /// For the network, through the proxy that the environment names, or else the system's, if there is one.
    proxied: OnceLock<Connector>,
    /// For what is to be reached without a proxy.
    direct: OnceLock<Connector>,
    /// For loopback, never through a proxy.
    loopback: OnceLock<Connector>,
    /// What to trust on a machine that has no certificates of its own.
    brought: OnceLock<Vec<CertificateDer<'static>>>,
}

impl NativeClient {
    /// A client that has neither read nor opened anything yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn connector(&self, endpoint: &Endpoint) -> Result<&Connector, Failure> {
        let no_proxy = || NoProxy::from_environment(&variable);
        let (cell, route) = if endpoint.is_loopback() {
            (&self.loopback, Route::Loopback)
        } else if self.no_proxy.get_or_init(no_proxy).covers(endpoint) {
            (&self.direct, Route::Direct)
        } else {
            (&self.proxied, Route::Proxied)
        };
        if let Some(connector) = cell.get() {
            return Ok(connector);
        }
        // A failure is not kept: the next request tries again.
        let brought = self.brought.get().map_or(&[][..], Vec::as_slice);
        let built = Connector::build(route, &TrustSources::from_environment(), brought)?;
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
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Failure>> {
        Box::pin(async move { self.connector(&request.url)?.send(request).await })
    }

    fn proxy_of(&self, endpoint: &Endpoint) -> Option<String> {
        if endpoint.is_loopback() || NoProxy::from_environment(&variable).covers(endpoint) {
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
    client: reqwest::Client,
    /// Where requests go by way of, for all that never left.
    proxy_note: String,
    /// For certificate failures.
    trust_notes: Vec<String>,
    /// The variable whose certificates are trusted.
    named: Option<&'static str>,
}

impl Connector {
    fn build(
        route: Route,
        sources: &TrustSources,
        brought: &[CertificateDer<'static>],
    ) -> Result<Self, Failure> {
        install_crypto_provider();
        let Trust {
            extra,
            notes: trust_notes,
            named,
        } = sources.extra_certificates();
        let proxy = match route {
            Route::Proxied => Proxy::from_environment(&variable)?,
            Route::Direct | Route::Loopback => None,
        };
        let proxy_note = match &proxy {
            Some(proxy) => format!(" ({proxy})"),
            None if route == Route::Proxied && only_for_http(&variable) => {
                " (HTTP_PROXY is for http URLs; the proxy for https is HTTPS_PROXY)".to_owned()
            }
            None => String::new(),
        };
        let proxy = proxy
            .map(|proxy| reqwest::Proxy::all(proxy.url().clone()))
            .transpose()
            .map_err(|error| failure(FailureKind::NotSent, &cause(&error)))?;
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .referer(false)
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(CONNECT_TIMEOUT)
                // Requests are seconds or hours apart: a kept connection would only be found dead while a refresh
                // token is on its way.
                .pool_max_idle_per_host(0);
            match (route, &proxy) {
                (Route::Proxied, Some(proxy)) => builder.proxy(proxy.clone()),
                (Route::Proxied, None) => builder,
                (Route::Direct, _) => builder.no_proxy(),
                (Route::Loopback, _) => builder.no_proxy().dns_resolver(Arc::new(LoopbackResolver)),
            }
        };
        // Without the extra certificates first: with them, a machine that has no store of its own would trust nothing else.
        let client = match (builder().build(), extra.is_empty()) {
            (Ok(client), true) => Ok(client),
            (Ok(_), false) => merge(builder(), &extra),
            (Err(_), _) => builder()
                .tls_backend_preconfigured(sources.fallback_tls(brought, &extra)?)
                .build(),
        };
        let client = client.map_err(|error| failure(FailureKind::NotSent, &cause(&error)))?;
        Ok(Self {
            client,
            proxy_note,
            trust_notes,
            named,
        })
    }

    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let is_get = matches!(request.body, Body::Get);
        let sent = Arc::new(AtomicBool::new(is_get));
        let limit = request.timeout;
        let arriving = Mutex::new(None);
        let outcome = within(limit, self.exchange(request, &sent, &arriving)).await;
        let arrived = arriving.into_inner().ok().flatten();
        let outcome = match (outcome.unwrap_or(Err(Trouble::TimedOut)), arrived) {
            (Ok(()), Some(arrived)) => arrived.response(),
            (Err(Trouble::Reqwest(_) | Trouble::TimedOut), Some(arrived)) if arrived.is_whole() => {
                arrived.response()
            }
            (Err(trouble), _) => Err(trouble),
            (Ok(()), None) => Err(Trouble::TimedOut),
        };
        outcome.map_err(|trouble| match trouble {
            Trouble::Unreadable => {
                failure(FailureKind::Broken, "its body is compressed, and damaged")
            }
            Trouble::TimedOut => self.timed_out(!sent.load(Ordering::Acquire)),
            Trouble::TooLarge => failure(FailureKind::TooLarge, "its body is over 1 MiB"),
            Trouble::Unsendable => failure(
                FailureKind::NotSent,
                "a credential cannot be put into a header",
            ),
            Trouble::Reqwest(error) => self.classify(&error, sent.load(Ordering::Acquire)),
        })
    }

    async fn exchange(
        &self,
        request: Request,
        sent: &Arc<AtomicBool>,
        arriving: &Mutex<Option<Arrived>>,
    ) -> Result<(), Trouble> {
        let url = request.url.url().clone();
        let (builder, body) = match request.body {
            Body::Get => (self.client.get(url), None),
            Body::Form(form) => (
                // Bare: some servers refuse a charset parameter, which RFC 6749 appendix B does not have either.
                self.client
                    .post(url)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
                Some(form.into_bytes()),
            ),
            Body::Json(json) => (
                self.client
                    .post(url)
                    .header(CONTENT_TYPE, "application/json"),
                Some(Zeroizing::new(json.into_bytes())),
            ),
        };
        // RFC 9110 §12.5.3: without this field "any content coding is considered acceptable by the user agent".
        let mut builder = builder
            .header(ACCEPT, "application/json")
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
        let asked = SystemClock.boot();
        let mut response = builder.send().await.map_err(Trouble::Reqwest)?;
        let head = Arrived::head(&response, asked)?;
        if let Ok(mut arriving) = arriving.lock() {
            *arriving = Some(head);
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

/// What has arrived of an answer. It outlives the connection: a body that is whole was received whole, though its end was
/// never marked.
struct Arrived {
    status: u16,
    retry_after: Option<Duration>,
    dpop_nonce: Option<String>,
    date: Option<UnixMillis>,
    /// When the request was about to be sent.
    asked: BootInstant,
    is_gzip: bool,
    body: Zeroizing<Vec<u8>>,
}

impl Arrived {
    fn head(response: &reqwest::Response, asked: BootInstant) -> Result<Self, Trouble> {
        const FIRST: usize = 8 * 1024;
        let announced = response.content_length().unwrap_or(0);
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > MAX_BODY {
            return Err(Trouble::TooLarge);
        }
        let headers = response.headers();
        let (now, date) = (SystemClock.now(), text(headers, DATE.as_str()));
        Ok(Self {
            status: response.status().as_u16(),
            retry_after: text(headers, RETRY_AFTER.as_str())
                .and_then(|value| retry_after::parse(value, date, now)),
            dpop_nonce: text(headers, "dpop-nonce").map(str::to_owned),
            date: date.and_then(retry_after::http_date),
            asked,
            is_gzip: text(headers, CONTENT_ENCODING.as_str()).is_some_and(is_gzip),
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

    /// Whether there can be no more of it: a JSON object that ends. Of anything else, more may be missing.
    fn is_whole(&self) -> bool {
        if self.is_gzip {
            return gunzip(&self.body, MAX_BODY).is_ok();
        }
        let is_object = self.body.trim_ascii_start().starts_with(b"{");
        is_object && serde_json::from_slice::<IgnoredAny>(&self.body).is_ok()
    }

    fn response(self) -> Result<Response, Trouble> {
        let body = if self.is_gzip && !self.body.is_empty() {
            gunzip(&self.body, MAX_BODY).map_err(|unreadable| match unreadable {
                Unreadable::TooLarge => Trouble::TooLarge,
                Unreadable::Broken => Trouble::Unreadable,
            })?
        } else {
            self.body
        };
        Ok(Response {
            status: self.status,
            retry_after: self.retry_after,
            dpop_nonce: self.dpop_nonce,
            date: self.date,
            age: SystemClock.boot().since(self.asked),
            body,
        })
    }
}

impl Connector {
    fn classify(&self, error: &reqwest::Error, sent: bool) -> Failure {
        let proxy_problem = proxy_problem(error);
        let tls_error = tls_error(error);
        // RFC 8446 §4.4.2.4: in TLS 1.3 the client has sent its request by the time that its missing certificate ends the
        // handshake, and the server has processed nothing.
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
/// never leaves this machine, whatever DNS says.
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

fn merge(
    builder: reqwest::ClientBuilder,
    extra: &[CertificateDer<'static>],
) -> reqwest::Result<reqwest::Client> {
    let certificates: reqwest::Result<Vec<_>> = extra
        .iter()
        .map(|certificate| reqwest::Certificate::from_der(certificate))
        .collect();
    builder.tls_certs_merge(certificates?).build()
}

/// What the environment adds to the machine's own trust.
#[derive(Debug, Default)]
struct Trust {
    /// The certificates to add.
    extra: Vec<CertificateDer<'static>>,
    /// What to say about files that gave none.
    notes: Vec<String>,
    /// The first variable whose file gave some.
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
    fn from_environment() -> Self {
        let path = |name| {
            environment(name)
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
        let verifier_ignores_it = cfg!(any(windows, target_vendor = "apple"));
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
                // Node ignores such a file with a warning; ours is the certificate failure that follows.
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

    /// For machines without a certificate store, such as slim containers: what Node brought. Not where the user has
    /// said by `SSL_CERT_FILE` or `SSL_CERT_DIR` which roots to trust instead.
    fn fallback_tls(
        &self,
        brought: &[CertificateDer<'static>],
        extra: &[CertificateDer<'static>],
    ) -> Result<ClientConfig, Failure> {
        let mut roots = RootCertStore::empty();
        if self.ssl_cert_file.is_none() && self.ssl_cert_dir.is_none() {
            roots.add_parsable_certificates(brought.iter().cloned());
        }
        roots.add_parsable_certificates(extra.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(crypto_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failure(FailureKind::NotSent, &format!("TLS: {error}")))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Whether this machine may have no certificates of its own: none of the usual bundles is there.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) fn may_lack_certificates() -> bool {
    let bundle = openssl_probe::probe().cert_file;
    !bundle.is_some_and(|path| path.metadata().is_ok_and(|bundle| bundle.len() > 0))
}

/// macOS and Windows always have some.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub(crate) fn may_lack_certificates() -> bool {
    false
}

/// The usable certificates of a PEM file; the error completes "the file …".
fn certificates_in(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a public certificate file that belongs to the user, not to the store"
    )]
    let pem = std::fs::read(path).map_err(|error| format!("cannot be read ({})", error.kind()))?;
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

#[expect(
    clippy::disallowed_methods,
    reason = "trust and proxies are the http layer's own business, and it may not import the store's Environment"
)]
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn variable(name: &str) -> Option<String> {
    environment(name)?.into_string().ok()
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

/// What hyper says of a proxy that wants other credentials.
const PROXY_AUTHENTICATION: &str = "proxy authorization required";

/// What went wrong between us and the proxy, or in its answer to CONNECT.
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
    // The words of some libraries are for their own users; what kind of failure it was says more.
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
mod tests {
    use std::io::{Read as _, Write as _};
    use std::path::Path;
    use std::process::Command;

    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::http::Form;

    const SECOND: Duration = Duration::from_secs(1);

    /// A server on loopback that treats each connection like that; gives its port.
    async fn serve<F, G>(treat: F) -> u16
    where
        F: Fn(TcpStream) -> G + Send + 'static,
        G: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(treat(stream));
            }
        });
        port
    }

    /// Reads one request with its body, to the last byte.
    async fn read_request(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        loop {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
    }

    async fn answering(answer: &'static str) -> u16 {
        serve(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await
    }

    fn post_to(url: &str, timeout: Duration) -> Request {
        let mut form = Form::new();
        form.append("refresh_token", "canary+/=");
        Request {
            url: Endpoint::parse(url).unwrap(),
            body: Body::Form(form),
            authorization: Some(Secret::from("Basic canary")),
            dpop: Some(Secret::from("canary.proof")),
            timeout,
        }
    }

    async fn post(port: u16, timeout: Duration) -> Result<Response, Failure> {
        let url = format!("http://127.0.0.1:{port}/token?q=canary");
        NativeClient::new().send(post_to(&url, timeout)).await
    }

    async fn failure_of(port: u16, timeout: Duration) -> Failure {
        let failure = post(port, timeout).await.unwrap_err();
        assert!(!failure.detail.contains("canary"), "{failure:?}");
        assert!(!failure.detail.contains("127.0.0.1"), "{failure:?}");
        failure
    }

    #[tokio::test]
    async fn sends_exactly_what_oauth_asks_for() {
        let port = serve(|mut stream| async move {
            let request = read_request(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nretry-after: 7\r\ndpop-nonce: n.1\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: {}\r\n\r\n{request}", request.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let response = post(port, SECOND).await.unwrap();
        assert_eq!(response.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(response.dpop_nonce.as_deref(), Some("n.1"));
        assert_eq!(
            response.date,
            Some(crate::time::UnixMillis(784_111_777_000))
        );
        let request = String::from_utf8(response.body.to_vec()).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /token?q=canary HTTP/1.1\r\n"),
            "{head}"
        );
        for header in [
            "content-type: application/x-www-form-urlencoded",
            "accept: application/json",
            "authorization: Basic canary",
            "dpop: canary.proof",
            concat!(
                "user-agent: clawdbot-plugin-auth/",
                env!("CARGO_PKG_VERSION")
            ),
            "content-length: 29",
        ] {
            assert!(
                head.lines().any(|line| line == header),
                "{header} is not in {head}"
            );
        }
        assert!(!head.contains("transfer-encoding") && !head.contains("cookie"));
        assert_eq!(body, "refresh_token=canary%2B%2F%3D");
    }

    #[tokio::test]
    async fn json_and_get() {
        let port = serve(|mut stream| async move {
            let request = read_request(&mut stream).await;
            let answer = format!(
                "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{request}",
                request.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let client = NativeClient::new();
        for (body, line, expected) in [
            (Body::Get, "GET /r HTTP/1.1", "\r\n\r\n"),
            (
                Body::Json("{\"a\":1}".into()),
                "POST /r HTTP/1.1",
                "{\"a\":1}",
            ),
        ] {
            let url = Endpoint::parse(&format!("http://app.localhost:{port}/r")).unwrap();
            let request = Request {
                url,
                body,
                authorization: None,
                dpop: None,
                timeout: SECOND,
            };
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status, 201);
            let echoed = String::from_utf8(response.body.to_vec()).unwrap();
            assert!(
                echoed.starts_with(line) && echoed.ends_with(expected),
                "{echoed}"
            );
        }
    }

    #[tokio::test]
    async fn refused_is_not_sent() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let failure = failure_of(port, SECOND).await;
        assert_eq!(failure.kind, FailureKind::NotSent);
        assert_eq!(failure.detail, "connection refused");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_not_sent() {
        let failure = NativeClient::new()
            .send(post_to(
                "https://nothing.invalid/token",
                Duration::from_secs(10),
            ))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSent, "{failure:?}");
    }

    #[tokio::test]
    async fn reset_after_sending_is_broken() {
        let port = serve(|mut stream| async move {
            read_request(&mut stream).await;
            stream.set_zero_linger().unwrap();
        })
        .await;
        let failure = failure_of(port, SECOND).await;
        assert_eq!(failure.kind, FailureKind::Broken, "{failure:?}");
    }

    #[tokio::test]
    async fn reset_before_the_request_is_read_is_no_answer() {
        let port = serve(|stream| async move {
            stream.set_zero_linger().unwrap();
        })
        .await;
        let failure = failure_of(port, SECOND).await;
        // Which one it is depends on whether the kernel had taken the request already.
        assert!(
            matches!(failure.kind, FailureKind::Broken | FailureKind::NotSent),
            "{failure:?}"
        );
    }

    #[tokio::test]
    async fn localhost_names_reach_either_family_of_addresses() {
        for address in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((address, 0)).await else {
                continue; // a machine without IPv6
            };
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            });
            let request = post_to(&format!("http://localhost:{port}/token"), SECOND);
            assert!(NativeClient::new().send(request).await.is_ok(), "{address}");
        }
    }

    #[tokio::test]
    async fn closed_without_an_answer_is_broken() {
        let port = serve(|mut stream| async move {
            read_request(&mut stream).await;
        })
        .await;
        let failure = failure_of(port, SECOND).await;
        assert_eq!(failure.kind, FailureKind::Broken);
        assert_eq!(failure.detail, "connection closed before message completed");
    }

    #[tokio::test]
    async fn a_body_cut_short_is_broken() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\":\"canary\"",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"can\r\n",
        ] {
            let port = answering(answer).await;
            assert_eq!(failure_of(port, SECOND).await.kind, FailureKind::Broken);
        }
    }

    #[tokio::test]
    async fn something_else_than_http_is_broken() {
        let port = answering("SSH-2.0-OpenSSH_9.9 canary\r\n\r\n").await;
        assert_eq!(failure_of(port, SECOND).await.kind, FailureKind::Broken);
    }

    #[tokio::test]
    async fn silence_times_out_after_sending() {
        let port = serve(|mut stream| async move {
            read_request(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let failure = failure_of(port, Duration::from_millis(200)).await;
        assert_eq!(failure.kind, FailureKind::TimedOut);
    }

    #[tokio::test]
    async fn the_time_limit_covers_the_body() {
        let port = serve(|mut stream| async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let failure = failure_of(port, Duration::from_millis(300)).await;
        assert_eq!(failure.kind, FailureKind::TimedOut);
    }

    #[tokio::test]
    async fn a_handshake_that_never_ends_is_not_sent() {
        let port = serve(|stream| async move {
            let _held = stream;
            std::future::pending::<()>().await;
        })
        .await;
        let request = post_to(
            &format!("https://127.0.0.1:{port}/token"),
            Duration::from_millis(200),
        );
        let failure = NativeClient::new().send(request).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSent);
        assert_eq!(failure.detail, "connecting took too long");
    }

    #[tokio::test]
    async fn plain_http_on_a_tls_port_is_not_sent() {
        let port = serve(|mut stream| async move {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let request = post_to(&format!("https://127.0.0.1:{port}/token"), SECOND);
        let failure = NativeClient::new().send(request).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSent);
        let told = "what answers there does not speak TLS (the port of plain HTTP, ";
        assert!(failure.detail.starts_with(told), "{failure:?}");
    }

    #[tokio::test]
    async fn bodies_over_a_mebibyte_are_refused() {
        let announced = answering("HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n").await;
        assert_eq!(
            failure_of(announced, SECOND).await.kind,
            FailureKind::TooLarge
        );
        let endless = serve(|mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b' '; 8192]).await.is_ok() {}
        })
        .await;
        let failure = failure_of(endless, Duration::from_secs(10)).await;
        assert_eq!(failure.kind, FailureKind::TooLarge);
        let largest = serve(|mut stream| async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(&vec![b'x'; MAX_BODY]).await.unwrap();
        })
        .await;
        let response = post(largest, Duration::from_secs(10)).await.unwrap();
        assert_eq!(response.body.len(), MAX_BODY);
    }

    #[tokio::test]
    async fn redirects_are_answers() {
        let port = answering(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        assert_eq!(post(port, SECOND).await.unwrap().status, 307);
    }

    #[tokio::test]
    async fn retry_after_as_a_date_counts_from_the_servers_date() {
        let port = answering(
            "HTTP/1.1 503 Service Unavailable\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             retry-after: Sun, 06 Nov 1994 08:50:00 GMT\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        let response = post(port, SECOND).await.unwrap();
        assert_eq!(response.retry_after, Some(Duration::from_secs(23)));
    }

    /// Answers one TLS connection with the fixture's certificate, on a thread of its own.
    fn serve_tls() -> u16 {
        let fixture = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("__test__/fixtures/tls")
                .join(name)
        };
        let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
        // Ours cannot sign.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).unwrap();
            }
        });
        port
    }

    fn sources_with_extra(name: &str) -> TrustSources {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("__test__/fixtures")
            .join(name);
        TrustSources {
            node_extra: Some(path),
            ..TrustSources::default()
        }
    }

    async fn send_over_tls(host: &str, sources: &TrustSources) -> Result<Response, Failure> {
        let request = post_to(&format!("https://{host}:{}/token", serve_tls()), 5 * SECOND);
        Connector::build(Route::Loopback, sources, &[])?
            .send(request)
            .await
    }

    #[tokio::test]
    async fn an_unknown_authority_is_told_apart() {
        let failure = send_over_tls("localhost", &TrustSources::default())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Certificate);
        let told = "its issuer is unknown. If a company proxy or a private authority signed it, name the authority's PEM file";
        assert!(failure.detail.starts_with(told), "{failure:?}");
    }

    #[tokio::test]
    async fn node_extra_ca_certs_is_trusted_too() {
        let sources = sources_with_extra("tls/authority.pem");
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(send_over_tls(host, &sources).await.unwrap().status, 200);
        }
        let failure = send_over_tls("other.localhost", &sources)
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Certificate);
        let told = "it was made for another host name. Check the host of the configured URL";
        assert!(failure.detail.starts_with(told), "{failure:?}");
    }

    #[tokio::test]
    async fn a_certificate_file_without_use_is_mentioned_with_the_failure() {
        for (name, reason) in [
            ("no-such-file.pem", "cannot be read"),
            ("provider-shapes.json", "holds no PEM certificate"),
        ] {
            let failure = send_over_tls("localhost", &sources_with_extra(name))
                .await
                .unwrap_err();
            assert_eq!(failure.kind, FailureKind::Certificate);
            assert!(
                failure.detail.contains("NODE_EXTRA_CA_CERTS") && failure.detail.contains(reason)
            );
        }
    }

    #[test]
    fn without_a_store_what_node_brought_is_trusted_unless_the_user_chose_others() {
        let brought = NativeClient::new();
        brought.bring_certificates("none\n");
        assert!(brought.brought.get().is_some_and(Vec::is_empty));
        let chosen = TrustSources {
            ssl_cert_file: Some("/none".into()),
            ..TrustSources::default()
        };
        assert!(chosen.fallback_tls(&[], &[]).is_ok());
        assert!(chosen.extra_certificates().notes[0].contains("SSL_CERT_FILE"));
    }

    /// Runs one ignored test of this binary in a process with another environment.
    fn in_environment(test: &str, variables: &[(&str, &str)]) -> std::process::Output {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("http::native::tests::{test}"),
                "--ignored",
                "--nocapture",
            ])
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    fn variable(name: &str) -> String {
        super::variable(name).unwrap()
    }

    #[tokio::test]
    #[ignore = "run by proxies_serve_the_network_but_never_loopback"]
    async fn child_behind_a_proxy() {
        let port = variable("TEST_PORT").parse().unwrap();
        assert_eq!(post(port, SECOND).await.unwrap().status, 200);
        let failure = NativeClient::new()
            .send(post_to("https://auth.example.com/token", 5 * SECOND))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Proxy);
        let expected = format!(
            "it wants a user name and password, or others than it got ({}: {})",
            variable("TEST_PROXY_NAME"),
            variable("TEST_PROXY"),
        );
        assert_eq!(failure.detail, expected);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn proxies_serve_the_network_but_never_loopback() {
        let direct = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        let proxy = serve(|mut stream| async move {
            let request = read_request(&mut stream).await;
            assert!(
                request.starts_with("CONNECT auth.example.com:443 "),
                "{request}"
            );
            let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let address = format!("127.0.0.1:{proxy}");
        let proxy = format!("http://ada:canary@{address}");
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            let variables = [
                (name, proxy.as_str()),
                ("HTTP_PROXY", "http://127.0.0.1:1"),
                ("http_proxy", "http://127.0.0.1:1"),
                ("NO_PROXY", ""),
                ("no_proxy", ""),
                ("TEST_PORT", &direct.to_string()),
                ("TEST_PROXY_NAME", name),
                ("TEST_PROXY", &address),
            ];
            let output =
                tokio::task::block_in_place(|| in_environment("child_behind_a_proxy", &variables));
            assert!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }

    #[tokio::test]
    #[ignore = "run by the_environment_names_certificate_files"]
    async fn child_with_certificate_files() {
        let outcome = send_over_tls("localhost", &TrustSources::from_environment()).await;
        assert_eq!(
            outcome.is_ok(),
            variable("TEST_TRUSTED") == "yes",
            "{outcome:?}"
        );
    }

    #[test]
    fn the_environment_names_certificate_files() {
        let authority = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/__test__/fixtures/tls/authority.pem"
        );
        for (variables, trusted) in [
            (vec![("NODE_EXTRA_CA_CERTS", authority)], "yes"),
            (vec![("SSL_CERT_FILE", authority)], "yes"),
            (
                vec![
                    ("SSL_CERT_FILE", "/none"),
                    ("NODE_EXTRA_CA_CERTS", authority),
                ],
                "yes",
            ),
            (vec![("SSL_CERT_FILE", "/none")], "no"),
            (vec![], "no"),
        ] {
            let mut variables = variables;
            variables.push(("TEST_TRUSTED", trusted));
            let output = in_environment("child_with_certificate_files", &variables);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{variables:?}: {text}");
        }
    }
}
