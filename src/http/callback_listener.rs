//! A page on this machine for one browser to come to (RFC 8252 §7.3). Knows HTTP, and nothing of what the visit means.
//!
//! Everything on this machine can connect, and every website can make a browser connect: nothing of a request is shown
//! again, and what it carries is for the caller to judge.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::BoxFuture;
use crate::secret::{Secret, random_secret};

/// A request's line and headers together: more than Node takes (16 KiB of names and values), since the cookies of every
/// program on this machine come along.
const LONGEST_HEAD: usize = 32 * 1024;
/// How much more is read of a longer one, so that its sender gets to read why it was refused.
const MOST_DISCARDED: usize = 256 * 1024;
/// For all of a request: browsers also open connections in advance that never send anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that have not sent their request yet; the oldest makes way for the next one.
const MOST_CONNECTIONS: usize = 32;
/// After the system refused a connection, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// With localhost a port has to be free for both families.
const MOST_PORTS: u32 = 16;

const STYLE: &str = ":root{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:#f6f7f9;color:#1c2024}\
main{max-width:26rem;margin:1rem;padding:2rem;border-radius:.8rem;background:#fff}h1{margin:0;font-size:1.4rem}p{margin:.8rem 0 0}\
@media(prefers-color-scheme:dark){body{background:#14171a;color:#e8eaed}main{background:#1f2328}}";
const STYLE_HASH: &str = "sha256-4nhbT8b+Nm4oow8GP/oFVKtpqwChrASr58lb0O5obgc=";

/// The address to listen on, as in a redirect URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoopbackAddress {
    /// A loopback IP address, or `localhost`.
    pub(crate) host: String,
    /// The loopback addresses to listen on. For localhost both families: a browser may take either, and no other
    /// program may listen on the other.
    pub(crate) addresses: Vec<IpAddr>,
    /// Nothing: any that is free.
    pub(crate) port: Option<u16>,
    /// The one path that there is, beginning with a slash.
    pub(crate) path: String,
}

/// The page that a visitor sees. All its text is part of the program: a request cannot put anything into it.
#[derive(Debug)]
pub(crate) struct Page {
    /// Such as "200 OK".
    pub(crate) status: &'static str,
    /// The title as well.
    pub(crate) heading: &'static str,
    /// One paragraph.
    pub(crate) text: &'static str,
}

/// A visitor has arrived.
pub(crate) enum Arrival {
    /// The visit is the expected one.
    Visit(Visit),
    /// At the address where a login begins.
    Start(Visit),
    /// A browser meant the path, and was refused for that reason, a part of a sentence.
    Refused(&'static str),
}

/// A request for the path.
pub(crate) struct Visit {
    /// The text after the `?`.
    pub(crate) query: Secret,
    stream: TcpStream,
}

impl Visit {
    /// Shows the page and hangs up.
    pub(crate) fn answer(self, page: &Page) {
        let Page {
            status,
            heading,
            text,
        } = page;
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{heading}</title><style>{STYLE}</style><main><h1>{heading}</h1><p>{text}</p></main></html>"
        );
        respond(self.stream, status, "text/html; charset=utf-8", "", &html);
    }
}

impl Visit {
    /// Sends the browser on, to a URL in ASCII.
    pub(crate) fn send_on(self, url: &str) {
        let location = format!("\r\nLocation: {url}");
        respond(self.stream, "303 See Other", "text/plain", &location, "");
    }
}

/// Listens until it is dropped, which closes every connection.
pub(crate) struct CallbackListener {
    sockets: Vec<TcpListener>,
    port: u16,
    site: Arc<Site>,
    arriving: Vec<BoxFuture<'static, Option<Arrival>>>,
}

/// The host and path that a request must ask for.
struct Site {
    /// The values that a `Host` header may have.
    authorities: Vec<String>,
    path: String,
    /// Where a login begins: nobody guesses it.
    start: String,
}

impl CallbackListener {
    /// Takes the port on the loopback interface alone.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) fn bind(place: &LoopbackAddress) -> io::Result<Self> {
        let mut tries = MOST_PORTS;
        let (sockets, port) = loop {
            match (bound(&place.addresses, place.port.unwrap_or(0)), place.port) {
                (Err(error), None) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {
                    tries -= 1;
                }
                (outcome, _) => break outcome?,
            }
        };
        let host = &place.host;
        let mut authorities = vec![format!("{host}:{port}")];
        if port == 80 {
            authorities.push(host.clone());
        }
        Ok(Self {
            sockets,
            port,
            site: Arc::new(Site {
                authorities,
                path: place.path.clone(),
                start: format!("/start/{}", random_name()?),
            }),
            arriving: Vec::new(),
        })
    }

    /// The port that it has.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where a login begins, on this machine.
    pub(crate) fn start_url(&self) -> String {
        let authority = self.site.authorities.first();
        let authority = authority.map(String::as_str).unwrap_or_default();
        format!("http://{authority}{}", self.site.start)
    }

    /// The next request for the path. All others are answered meanwhile.
    pub(crate) fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<Arrival> {
        for socket in &self.sockets {
            while let Poll::Ready(accepted) = socket.poll_accept(context) {
                let Ok((stream, _)) = accepted else {
                    self.arriving.push(Box::pin(async {
                        tokio::time::sleep(PAUSE).await;
                        None
                    }));
                    break;
                };
                if self.arriving.len() >= MOST_CONNECTIONS {
                    drop(self.arriving.remove(0));
                }
                self.arriving
                    .push(Box::pin(arrival(stream, Arc::clone(&self.site))));
            }
        }
        let mut arrival = None;
        self.arriving.retain_mut(|arriving| {
            if arrival.is_some() {
                return true;
            }
            match Pin::as_mut(arriving).poll(context) {
                Poll::Pending => true,
                Poll::Ready(arrived) => {
                    arrival = arrived;
                    false
                }
            }
        });
        arrival.map_or(Poll::Pending, Poll::Ready)
    }
}

/// One socket for each address, on the same port.
fn bound(addresses: &[IpAddr], port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut sockets = Vec::new();
    let mut chosen = port;
    for address in addresses {
        let socket = match std::net::TcpListener::bind((*address, chosen)) {
            Ok(socket) => socket,
            // There is no IPv6 here, so no browser takes it either.
            Err(error) if !sockets.is_empty() && error.kind() != io::ErrorKind::AddrInUse => {
                continue;
            }
            Err(error) => return Err(error),
        };
        chosen = socket.local_addr()?.port();
        socket.set_nonblocking(true)?;
        sockets.push(TcpListener::from_std(socket)?);
    }
    Ok((sockets, chosen))
}

async fn arrival(stream: TcpStream, site: Arc<Site>) -> Option<Arrival> {
    let mut head = Zeroizing::new(vec![0; LONGEST_HEAD]);
    let read = tokio::time::timeout(PATIENCE, read_head(&stream, &mut head)).await;
    let length = read.ok()??;
    match head.get(..length).map(|head| site.judge(head))? {
        Ok((query, is_start)) => {
            let visit = Visit { query, stream };
            Some(if is_start {
                Arrival::Start(visit)
            } else {
                Arrival::Visit(visit)
            })
        }
        Err(Rejected {
            status,
            more,
            reason,
        }) => {
            if length == LONGEST_HEAD {
                // Hanging up on what was not read resets the connection, and the answer with it.
                let rest = discard(&stream, &mut head);
                drop(tokio::time::timeout(PATIENCE, rest).await);
            }
            respond(stream, status, "text/plain", more, status);
            reason.map(Arrival::Refused)
        }
    }
}

/// Reads to the end of a head, or as far as that is worth while.
async fn discard(stream: &TcpStream, buffer: &mut [u8]) {
    let mut discarded = 0;
    while discarded < MOST_DISCARDED && stream.readable().await.is_ok() {
        match stream.try_read(buffer) {
            Ok(0) => return,
            Ok(read) => {
                discarded += read;
                if buffer.get(..read).is_some_and(|part| part.ends_with(END)) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// How much of it is the head of a request, the empty line left out; all of it where there was no end. Nothing where
/// the visitor has gone.
async fn read_head(stream: &TcpStream, head: &mut [u8]) -> Option<usize> {
    let mut filled = 0;
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(head.get_mut(filled..)?) {
            Ok(0) => return None,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        }
        let received = head.get(..filled)?;
        if let Some(length) = received.windows(END.len()).position(|part| part == END) {
            return Some(length);
        }
        if filled == head.len() {
            return Some(filled);
        }
    }
}

/// Ends the head of a request.
const END: &[u8] = b"\r\n\r\n";

/// Why a request is not heard.
struct Rejected {
    status: &'static str,
    /// Further headers, with a line break before each.
    more: &'static str,
    /// For the person, where a browser meant the path.
    reason: Option<&'static str>,
}

impl Site {
    /// The query of a request for the path, and whether it is for the beginning of a login.
    fn judge(&self, head: &[u8]) -> Result<(Secret, bool), Rejected> {
        const BAD: Rejected = rejected("400 Bad Request");
        // Some programs put more than ASCII into their cookies, and no cookie matters here.
        let head_text = String::from_utf8_lossy(head);
        let mut lines = head_text.split("\r\n");
        let mut request = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) = (
            request.next(),
            request.next(),
            request.next(),
            request.next(),
        ) else {
            return Err(BAD);
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_start = path == self.start;
        let is_meant = path == self.path || is_start;
        if head.len() == LONGEST_HEAD {
            let reason = "its headers are larger than 32 KiB: clear the cookies that the browser has for this host, or take another browser";
            return Err(Rejected {
                reason: is_meant.then_some(reason),
                ..rejected("431 Request Header Fields Too Large")
            });
        }
        let mut hosts = lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map(|(_, value)| value.trim());
        // RFC 9112 §3.2: 400 for "any HTTP/1.1 request message that lacks a Host header field and to any request
        // message that contains more than one".
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(BAD);
        };
        // A website that made its name mean 127.0.0.1 (DNS rebinding) sends that name.
        if !self
            .authorities
            .iter()
            .any(|authority| authority.eq_ignore_ascii_case(host))
        {
            let reason = "it names another host than the redirect URI";
            return Err(Rejected {
                reason: is_meant.then_some(reason),
                ..rejected("421 Misdirected Request")
            });
        }
        if !is_meant {
            return Err(rejected("404 Not Found"));
        }
        if method != "GET" {
            // RFC 6749 §4.1.2 adds the answer "to the query component of the redirection URI".
            let reason =
                "the server sent its answer by POST, which only `response_mode=form_post` asks for";
            return Err(Rejected {
                more: "\r\nAllow: GET",
                reason: (method == "POST").then_some(reason),
                ..rejected("405 Method Not Allowed")
            });
        }
        Ok((Secret::from(query), is_start))
    }
}

/// Short, since a person may have to copy it.
fn random_name() -> io::Result<String> {
    let secret = random_secret().map_err(|error| io::Error::other(error.message().to_owned()))?;
    Ok(secret.expose().chars().take(16).collect())
}

const fn rejected(status: &'static str) -> Rejected {
    Rejected {
        status,
        more: "",
        reason: None,
    }
}

/// Writes without waiting: the system's buffer of a connection that has sent nothing yet has room for so little.
fn respond(stream: TcpStream, status: &str, content_type: &str, more: &str, body: &str) {
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'{more}\r\n\r\n{body}",
        body.len()
    );
    // A visitor that went away misses a page, and nothing else.
    drop(
        stream
            .into_std()
            .and_then(|mut stream| stream.write_all(response.as_bytes())),
    );
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PAGE: Page = Page {
        status: "200 OK",
        heading: "Hello",
        text: "You may go.",
    };

    async fn visit(listener: &mut CallbackListener) -> Visit {
        match poll_fn(|context| listener.poll_arrival(context)).await {
            Arrival::Visit(visit) => visit,
            Arrival::Start(_) => panic!("the beginning"),
            Arrival::Refused(reason) => panic!("{reason}"),
        }
    }

    fn listening() -> CallbackListener {
        let place = LoopbackAddress {
            host: "127.0.0.1".to_owned(),
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            port: None,
            path: "/callback".to_owned(),
        };
        CallbackListener::bind(&place).unwrap()
    }

    async fn sends(port: u16, bytes: &str) -> TcpStream {
        let mut visitor = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        visitor.write_all(bytes.as_bytes()).await.unwrap();
        visitor
    }

    async fn answer(mut visitor: TcpStream) -> String {
        let mut text = String::new();
        visitor.read_to_string(&mut text).await.unwrap();
        text
    }

    #[test]
    fn the_policy_allows_this_style_and_no_other() {
        use base64::Engine as _;
        let hash = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        assert_eq!(STYLE_HASH, format!("sha256-{hash}"));
    }

    #[tokio::test]
    async fn a_visit_has_the_query_and_gets_the_page() {
        let mut listener = listening();
        let port = listener.port();
        let request = format!("GET /callback?a=1&b=%20 HTTP/1.1\r\nhOST: 127.0.0.1:{port}\r\n\r\n");
        let (head, tail) = request.split_at(17);
        // In two pieces, and after a connection that says nothing.
        let silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let visitor = async {
            let mut visitor = sends(port, head).await;
            tokio::task::yield_now().await;
            visitor.write_all(tail.as_bytes()).await.unwrap();
            answer(visitor).await
        };
        let serving = async {
            let visit = visit(&mut listener).await;
            assert_eq!(visit.query.expose(), "a=1&b=%20");
            visit.answer(&PAGE);
        };
        let (shown, ()) = tokio::join!(visitor, serving);
        let (head, body) = shown.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("<h1>Hello</h1><p>You may go.</p>"));
        drop((listener, silent));
        assert!(
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_silent_visitor_is_hung_up_on() {
        let mut listener = listening();
        let mut silent = sends(listener.port(), "GET /callback?").await;
        let waiting = async {
            let mut byte = [0; 1];
            silent.read(&mut byte).await
        };
        tokio::select! {
            _ = visit(&mut listener) => panic!("a visit"),
            read = waiting => assert_eq!(read.unwrap_or(0), 0),
        }
    }

    #[tokio::test]
    async fn a_port_that_one_family_has_taken_is_not_shared() {
        let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
            return;
        };
        let port = other.local_addr().unwrap().port();
        let place = |port| LoopbackAddress {
            host: "localhost".to_owned(),
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            port,
            path: "/".to_owned(),
        };
        let taken = CallbackListener::bind(&place(Some(port))).err().unwrap();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let free = CallbackListener::bind(&place(None)).unwrap();
        assert_eq!(free.sockets.len(), 2);
    }

    #[test]
    fn only_a_get_of_the_path_under_the_own_name_counts() {
        let site = Site {
            authorities: vec!["localhost:5000".to_owned()],
            path: "/callback".to_owned(),
            start: "/start/x".to_owned(),
        };
        let judge = |head: &str| {
            let judged = site.judge(head.as_bytes());
            judged.map_err(|rejected| (rejected.status, rejected.reason.is_some()))
        };
        let host = "Host: LOCALHOST:5000";
        assert_eq!(
            judge(&format!("GET /callback HTTP/1.1\r\n{host}")),
            Ok((Secret::from(""), false))
        );
        assert_eq!(
            judge(&format!("GET /start/x HTTP/1.1\r\n{host}")),
            Ok((Secret::from(""), true))
        );
        let long = |line: &str| {
            let head = format!("{line} HTTP/1.1\r\n{host}\r\nCookie: ");
            format!("{head:x<LONGEST_HEAD$}")
        };
        // A message to the person must be about this login.
        for (head, status, is_told) in [
            (
                format!("GET /callback?x HTTP/1.1\r\n{host}.evil"),
                "421",
                true,
            ),
            (format!("GET / HTTP/1.1\r\n{host}.evil"), "421", false),
            (
                format!("GET /callback?x HTTP/1.1\r\nX-{host}"),
                "400",
                false,
            ),
            (
                format!("GET /callback?x HTTP/1.1\r\n{host}\r\n{host}"),
                "400",
                false,
            ),
            (format!("GET  /callback?x HTTP/1.1\r\n{host}"), "400", false),
            (format!("GET /callback?x HTTP/3\r\n{host}"), "400", false),
            (format!("GET /callback/?x HTTP/1.1\r\n{host}"), "404", false),
            (format!("GET //callback?x HTTP/1.1\r\n{host}"), "404", false),
            (format!("HEAD /callback?x HTTP/1.1\r\n{host}"), "405", false),
            (format!("POST /callback HTTP/1.1\r\n{host}"), "405", true),
            (long("GET /callback?code=c"), "431", true),
            (long("GET /favicon.ico"), "431", false),
            (String::new(), "400", false),
        ] {
            let (judged, told) = judge(&head).unwrap_err();
            assert!(judged.starts_with(status), "{head}");
            assert_eq!(told, is_told, "{head}");
        }
        assert!(site.judge(&[0xff, 0xfe]).is_err());
        let latin = [
            format!("GET /callback?code=c HTTP/1.1\r\n{host}\r\nCookie: name=").as_bytes(),
            b"Jos\xe9",
        ]
        .concat();
        assert!(
            site.judge(&latin)
                .is_ok_and(|(query, is_start)| query.expose() == "code=c" && !is_start)
        );
    }
}
