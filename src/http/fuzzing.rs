//! The rules that hold for any bytes on a connection, and for any text taken as the URL of an endpoint.

#![expect(clippy::panic, reason = "tests, which fuzz targets run as well")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::native::{MAX_BODY, NativeClient};
use super::{Body, Endpoint, Form, HttpClient as _, Request, retry_after};
use crate::secret::Secret;
use crate::time::UnixMillis;

/// The real client, and a server that is asked at another address each time: a port is not free again at once.
struct Wire {
    runtime: Runtime,
    listener: TcpListener,
    port: u16,
    client: NativeClient,
    next: std::cell::Cell<u32>,
}

impl Wire {
    fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let listener = runtime.block_on(TcpListener::bind(any))?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            runtime,
            listener,
            client: NativeClient::of_system(),
            next: std::cell::Cell::new(0),
        })
    }

    fn address(&self) -> Ipv4Addr {
        let next = (self.next.get() + 1) % 0xfe_0000;
        self.next.set(next);
        Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + next)
    }
}

pub(crate) fn answer(input: &[u8]) {
    thread_local! {
        static WIRE: Wire = Wire::new().unwrap_or_else(|error| panic!("{error}"));
    }
    WIRE.with(|wire| wire.runtime.block_on(answered(wire, input)));
}

/// Checks the answer to any bytes that a port may send, RFC 9112 or not.
async fn answered(wire: &Wire, input: &[u8]) {
    let url = format!("http://{}:{}/token", wire.address(), wire.port);
    let Ok(url) = Endpoint::parse(&url) else {
        return;
    };
    let mut form = Form::new();
    form.append("refresh_token", "canary-refresh");
    let asked = wire.client.send(Request {
        url,
        body: Body::Form(form),
        authorization: Some(Secret::from("Basic canary")),
        dpop: None,
        timeout: Duration::from_secs(20),
    });
    let answering = async {
        let (mut stream, _) = wire.listener.accept().await?;
        let mut request = [0; 1024];
        let mut read = 0;
        // The whole request is head and a short form.
        while !request
            .get(..read)
            .is_some_and(|r| r.ends_with(b"canary-refresh"))
        {
            match stream
                .read(request.get_mut(read..).unwrap_or_default())
                .await?
            {
                0 => break,
                more => read += more,
            }
        }
        // A reader that has enough may have closed the connection.
        drop(stream.write_all(input).await);
        drop(stream.shutdown().await);
        // Until the client goes, so that the port of neither side stays taken.
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
        drop(stream.set_zero_linger());
        std::io::Result::Ok(())
    };
    let (outcome, ()) = tokio::join!(asked, async { drop(answering.await) });
    match outcome {
        Ok(response) => {
            assert!((100..1000).contains(&response.status));
            // RFC 9110 §8.4: a content coding makes a body smaller on the way.
            assert!(response.body.len() <= MAX_BODY);
            // RFC 9112 §2.2: empty lines before it are ignored.
            assert!(input.trim_ascii_start().starts_with(b"HTTP/"));
        }
        Err(failure) => {
            assert!(!failure.detail.contains("canary"), "{failure:?}");
            assert!(!failure.detail.chars().any(char::is_control), "{failure:?}");
            assert!(failure.detail.len() < 300, "{failure:?}");
        }
    }
    // Redirects are not followed: nobody has come a second time.
    let second = std::future::poll_fn(|context| match wire.listener.poll_accept(context) {
        std::task::Poll::Ready(accepted) => std::task::Poll::Ready(accepted.is_ok()),
        std::task::Poll::Pending => std::task::Poll::Ready(false),
    });
    assert!(!second.await, "a second connection");
}

pub(crate) fn retry_after(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (value, date) = text.split_once('|').unwrap_or((&text, ""));
    let now = UnixMillis(1_700_000_000_000);
    for date in [None, Some(date)] {
        let Some(wait) = retry_after::parse(value, date, now) else {
            continue;
        };
        // A date names a year of four digits.
        let is_number = value.trim().bytes().all(|byte| byte.is_ascii_digit());
        assert!(is_number || wait < Duration::from_hours(24 * 366 * 10_000));
        assert!(now.plus(wait) >= now);
    }
    let Some(bytes) = input.first_chunk() else {
        return;
    };
    // Every instant that can be written is read back.
    let seconds = u64::from_le_bytes(*bytes) % 253_402_300_800;
    let wait = retry_after::parse(&imf_fixdate(seconds), None, UnixMillis(0));
    assert_eq!(wait, Some(Duration::from_secs(seconds)));
}

/// RFC 9110 §5.6.7 IMF-fixdate, reckoned year by year.
fn imf_fixdate(seconds: u64) -> String {
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let mut days = seconds / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // The calendar repeats itself every 400 years.
    year += 400 * (days / 146_097);
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut name = "";
    for (month, length) in MONTHS {
        name = month;
        let length = length + u64::from(month == "Feb" && is_leap(year));
        if days < length {
            break;
        }
        days -= length;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "Xyz, {:02} {name} {year} {hour:02}:{minute:02}:{second:02} GMT",
        days + 1
    )
}

/// Whether a request, and what it carries, may go there, and whether a message may name it.
pub(crate) fn is_safe_endpoint(endpoint: &Endpoint) -> bool {
    let url = endpoint.url();
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => {
            matches!(
                name.trim_end_matches('.').rsplit('.').next(),
                Some("localhost")
            )
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && url.has_host()
        && endpoint
            .as_str()
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
        && Endpoint::parse(endpoint.as_str()).as_ref() == Ok(endpoint)
}

pub(crate) fn endpoint(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Endpoint::parse(&text) {
        Ok(endpoint) => {
            assert!(is_safe_endpoint(&endpoint), "{}", endpoint.as_str());
            let shown = format!("{endpoint}");
            assert!(!shown.contains(['?', '#', '@']) || endpoint.url().path().contains('@'));
            assert!(shown.len() <= endpoint.as_str().len() + 1);
            assert!(shown.len() < 2100, "{shown}");
        }
        // The reason completes a sentence, and quotes nothing.
        Err(reason) => assert!(reason.starts_with("must ") && reason.len() < 80),
    }
}
