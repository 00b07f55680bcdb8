use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::Form;
use crate::time::{Clock, SystemClock};

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
    NativeClient::of_system().send(post_to(&url, timeout)).await
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
    let client = NativeClient::of_system();
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
    let failure = NativeClient::of_system()
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
    // The kernel may or may not have taken the request already; either outcome is right.
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
        assert!(
            NativeClient::of_system().send(request).await.is_ok(),
            "{address}"
        );
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
    let failure = NativeClient::of_system().send(request).await.unwrap_err();
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
    let failure = NativeClient::of_system().send(request).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent);
    let told = "what answers there does not speak TLS (the port of plain HTTP, ";
    assert!(failure.detail.starts_with(told), "{failure:?}");
}

#[tokio::test]
async fn bodies_over_a_mebibyte_are_refused() {
    let announced = answering("HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n").await;
    assert_eq!(
        failure_of(announced, SECOND).await.kind,
        FailureKind::Unreadable
    );
    let endless = serve(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b' '; 8192]).await.is_ok() {}
    })
    .await;
    let failure = failure_of(endless, Duration::from_secs(10)).await;
    assert_eq!(failure.kind, FailureKind::Unreadable);
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

/// Answers every request of a connection with the number of the connection, counted from 1; after `requests` of them
/// the server closes it. What it reports of each connection is that its end has come.
async fn numbering(requests: usize) -> (u16, tokio::sync::mpsc::UnboundedReceiver<usize>) {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (ended, ends) = tokio::sync::mpsc::unbounded_channel();
    let port = serve(move |mut stream| {
        let (number, ended) = (1 + count.fetch_add(1, Ordering::Relaxed), ended.clone());
        async move {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            for _ in 0..requests {
                let mut next = [0];
                if stream.peek(&mut next).await.unwrap() == 0 {
                    break;
                }
                read_request(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            drop(stream);
            ended.send(number).unwrap();
        }
    })
    .await;
    (port, ends)
}

/// The system's clock, which a test turns on.
#[derive(Default)]
struct TurnedClock(Mutex<Duration>);

impl Clock for TurnedClock {
    fn now(&self) -> UnixMillis {
        SystemClock.now()
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot().plus(*self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn the_requests_of_a_line_share_a_connection_and_nobody_elses_do() {
    let (port, mut ends) = numbering(usize::MAX).await;
    let clock = Arc::new(TurnedClock::default());
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let environment = Box::new(crate::environment::ProcessEnvironment);
    let client = NativeClient::new(shared.into(), environment);
    let url = format!("http://127.0.0.1:{port}/token");
    let (line, other) = (Line::default(), Line::default());
    let number = async |sent: BoxFuture<'_, Result<Response, Failure>>| {
        String::from_utf8(sent.await.unwrap().body.to_vec()).unwrap()
    };
    let on = async |line| number(client.send_on(Some(line), post_to(&url, SECOND))).await;
    let first = loop {
        let first = on(&line).await;
        // On a crowded machine a second may have passed.
        if on(&line).await == first {
            break first;
        }
    };
    let others = [
        on(&other).await,
        number(client.send(post_to(&url, SECOND))).await,
    ];
    assert!(!others.contains(&first));
    // Even where this process did not run meanwhile.
    *clock.0.lock().unwrap() += line::OPEN;
    let last = on(&line).await;
    assert_ne!(last, first);
    // As at a logout; and the other one is closed by itself.
    drop(line);
    let mut open: Vec<usize> = (1..=last.parse().unwrap()).collect();
    while !open.is_empty() {
        let ended = ends.recv().await.unwrap();
        open.retain(|number| *number != ended);
    }
}

#[tokio::test]
async fn a_line_that_the_server_has_closed_is_opened_again() {
    let (port, mut ends) = numbering(1).await;
    let client = NativeClient::of_system();
    let url = format!("http://127.0.0.1:{port}/token");
    let line = Line::default();
    for connection in 1..=3 {
        let response = client
            .send_on(Some(&line), post_to(&url, SECOND))
            .await
            .unwrap();
        assert_eq!(*response.body, connection.to_string().into_bytes());
        assert_eq!(ends.recv().await, Some(connection));
    }
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
    // The library's own provider cannot sign.
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
    let connector = Connector::build(
        Route::Loopback,
        sources,
        &[],
        (SharedClock::of_system(), &|_| None),
    )?;
    connector.send(connector.client()?, request).await
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
        assert!(failure.detail.contains("NODE_EXTRA_CA_CERTS") && failure.detail.contains(reason));
    }
}

#[test]
fn without_a_store_what_node_brought_is_trusted_unless_the_user_chose_others() {
    let brought = NativeClient::of_system();
    brought.bring_certificates("none\n");
    assert!(brought.brought.get().is_some_and(Vec::is_empty));
    let chosen = TrustSources {
        ssl_cert_file: Some("/none".into()),
        ..TrustSources::default()
    };
    assert!(chosen.machine_roots().is_empty());
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
    let value = crate::environment::ProcessEnvironment.var(name);
    value.unwrap().into_string().unwrap()
}

#[tokio::test]
#[ignore = "run by proxies_serve_the_network_but_never_loopback"]
async fn child_behind_a_proxy() {
    let port = variable("TEST_PORT").parse().unwrap();
    assert_eq!(post(port, SECOND).await.unwrap().status, 200);
    let failure = NativeClient::of_system()
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
    let outcome = send_over_tls(
        "localhost",
        &TrustSources::from_environment(&crate::environment::ProcessEnvironment),
    )
    .await;
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
