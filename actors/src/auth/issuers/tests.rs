use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::approval::tests::idle_desk;
use crate::auth::keys::JWKS_BYTES_MAX;
use crate::auth::keys::SignatureAlgorithm;
use crate::auth::mint::{LocalIssuer, TokenRequest};
use crate::auth::source::PlainHttp;
use crate::runtime::{Control, ControlPlaneConfiguration};
use crate::session::tests::idle_sources;

/// An issuer's web server on loopback: one thread, one request at a time.
struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
}

impl KeyServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(String::new()));
        let requests = Arc::new(AtomicUsize::new(0));
        let server = Self { address, answer: Arc::clone(&answer), requests: Arc::clone(&requests) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                requests.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => request.extend_from_slice(&buffer[..count]),
                    }
                }
                let answer = answer.lock().unwrap().clone();
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        server
    }

    fn serve(&self, keys: &[&LocalIssuer]) {
        let keys: Vec<&Value> = keys.iter().map(|key| key.public_jwk()).collect();
        self.serve_text("200 OK", "", &json!({ "keys": keys }).to_string());
    }

    fn serve_text(&self, status: &str, headers: &str, body: &str) {
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
            body.len()
        );
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn source(&self) -> KeySource {
        let url = format!("http://{}/keys", self.address);
        KeySource::new(&url, Path::new("/"), PlainHttp::LoopbackOnly, None).unwrap()
    }
}

/// The issuers of one configuration, under a clock that moves only when a test says so.
struct World {
    control: Control,
    clock: Clock,
    /// While a blocking task runs, tokio's paused clock does not run ahead of real I/O.
    _frozen: std::sync::mpsc::Sender<()>,
}

impl World {
    async fn start(source: KeySource) -> Self {
        Self::try_start(source).await.unwrap()
    }

    async fn try_start(source: KeySource) -> Result<Self, crate::runtime::ControlPlaneError> {
        let (frozen, thaw) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || thaw.recv());
        let began = Instant::now();
        let clock: Clock = Arc::new(move || {
            UnixMillis(1_800_000_000_000 + i64::try_from(began.elapsed().as_millis()).unwrap())
        });
        let configuration = ControlPlaneConfiguration {
            issuers: vec![IssuerConfiguration { settings: settings(), source }],
            sources: idle_sources(),
            approvals: idle_desk(),
            sessions_max: 1,
            clock: Arc::clone(&clock),
            failed: Arc::new(|name| panic!("{name} failed")),
        };
        let (control, _) = Control::start(configuration).await?;
        Ok(Self { control, clock, _frozen: frozen })
    }

    /// The cause of refusal of a token of this key, minted now.
    async fn login(&self, key: &LocalIssuer) -> Result<(), &'static str> {
        self.present(&key.mint(&request(), (self.clock)()).unwrap()).await
    }

    async fn present(&self, token: &str) -> Result<(), &'static str> {
        let accepted: Arc<[String]> = Arc::new(["acme".to_owned()]);
        let answer = self.control.issuers.authenticate(token.to_owned().into(), accepted);
        answer.await.unwrap().map(|_| ()).map_err(|error| error.cause())
    }

    fn state(&self) -> IssuerState {
        self.control.issuers.snapshot().issuers()[0].clone()
    }

    /// Waits until the actor has published what `holds`.
    async fn until(&self, what: &str, holds: impl Fn(&IssuerState) -> bool) {
        let began = std::time::Instant::now();
        while !holds(&self.state()) {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}", self.state());
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock, and waits for a reading that ends from then on.
    async fn advance_and_read(&self, time: Duration) {
        let before = self.state();
        tokio::time::advance(time).await;
        self.until("a reading", |now| {
            now.read_at != before.read_at || now.failure.is_some() && before.failure.is_none()
        })
        .await;
    }
}

fn settings() -> IssuerSettings {
    IssuerSettings {
        name: "acme".to_owned(),
        issuer: "https://idp".to_owned(),
        audiences: vec!["kafka".to_owned()],
        algorithms: vec!["ES256".to_owned()],
        groups_claim: "groups".to_owned(),
        groups_prefix: String::new(),
    }
}

fn request() -> TokenRequest {
    TokenRequest {
        issuer: "https://idp".to_owned(),
        subject: "alice".to_owned(),
        audiences: vec!["kafka".to_owned()],
        groups_claim: "groups".to_owned(),
        groups: vec![],
        ttl_ms: 3_600_000,
        extra: serde_json::Map::new(),
    }
}

fn key() -> LocalIssuer {
    LocalIssuer::generate(SignatureAlgorithm::Es256).unwrap().0
}

#[tokio::test(start_paused = true)]
async fn rotation_with_overlap_then_removal() {
    let (server, old, new) = (KeyServer::start(), key(), key());
    server.serve(&[&old]);
    let world = World::start(server.source()).await;
    world.until("the first keys", |issuer| issuer.read_at.is_some()).await;
    assert_eq!(world.login(&old).await, Ok(()));

    // Within 10 s of a reading nobody causes another one; it follows by itself as soon as it may.
    server.serve(&[&old, &new]);
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(world.login(&new).await, Err("unknown_key"));
    assert_eq!(server.requests(), 1);
    world.advance_and_read(Duration::from_secs(6)).await;
    assert_eq!(server.requests(), 2);
    assert_eq!(world.login(&new).await, Ok(()));
    assert_eq!(world.login(&old).await, Ok(()));

    // Later than that, the first login with a new key waits for the reading that it causes.
    let newest = key();
    server.serve(&[&old, &new, &newest]);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(world.login(&newest).await, Ok(()));
    assert_eq!(server.requests(), 3);

    server.serve(&[&new]);
    world.advance_and_read(REFRESH_INTERVAL).await;
    assert_eq!(world.login(&old).await, Err("unknown_key"));
    assert_eq!(world.login(&new).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_for_six_hours() {
    let (server, known, unknown) = (KeyServer::start(), key(), key());
    server.serve(&[&known]);
    let world = World::start(server.source()).await;
    world.until("the first keys", |issuer| issuer.read_at.is_some()).await;
    let read_at = world.state().read_at.unwrap();

    server.serve_text("503 Service Unavailable", "", "");
    world.advance_and_read(REFRESH_INTERVAL).await;
    assert!(world.state().failure.unwrap().contains("503"));
    assert_eq!(world.login(&known).await, Ok(()));
    let began = std::time::Instant::now();
    assert_eq!(world.login(&unknown).await, Err("unknown_key"));
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());

    let left = read_at.0 + KEYS_AGE_MS_MAX - (world.clock)().0;
    tokio::time::advance(Duration::from_millis(u64::try_from(left - 1).unwrap())).await;
    assert_eq!(world.login(&known).await, Ok(()));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(world.login(&known).await, Err("keys_unavailable"));

    server.serve(&[&known]);
    world.advance_and_read(REFRESH_INTERVAL_MIN).await;
    assert_eq!(world.login(&known).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_bogus_key_ids_cause_six_fetches_a_minute() {
    let (server, known) = (KeyServer::start(), key());
    server.serve(&[&known]);
    let world = World::start(server.source()).await;
    world.until("the first keys", |issuer| issuer.read_at.is_some()).await;
    tokio::time::advance(Duration::from_millis(9_500)).await;
    let before = server.requests();
    let claims = Value::Object(request().claims((world.clock)()));
    for second in 0..60 {
        for number in 0..167 {
            let header = json!({ "alg": "ES256", "kid": format!("{second}-{number}") });
            let token = known.sign(&header, &claims).unwrap();
            assert_eq!(world.present(&token).await, Err("unknown_key"));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let caused = server.requests() - before;
    assert!((5..=6).contains(&caused), "{caused} fetches");
    assert_eq!(world.login(&known).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_url_may_answer_later_than_the_start() {
    let (server, known) = (KeyServer::start(), key());
    server.serve_text("500 Internal Server Error", "", "");
    let world = World::start(server.source()).await;
    world.until("a failure", |issuer| issuer.failure.is_some()).await;
    assert_eq!(world.login(&known).await, Err("keys_unavailable"));
    server.serve(&[&known]);
    world.advance_and_read(REFRESH_INTERVAL_MIN).await;
    assert_eq!(world.login(&known).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_login_before_the_first_answer_waits_for_it() {
    let (server, known) = (KeyServer::start(), key());
    server.serve(&[&known]);
    let world = World::start(server.source()).await;
    assert_eq!(world.login(&known).await, Ok(()));
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn hostile_answers_are_failures() {
    let elsewhere = KeyServer::start();
    elsewhere.serve(&[&key()]);
    let location = format!("location: http://{}/keys\r\n", elsewhere.address);
    let long = " ".repeat(JWKS_BYTES_MAX + 1);
    let many = json!({ "keys": vec![0; 101] }).to_string();
    let rows: Vec<(&str, &str, &str, &str)> = vec![
        ("302 Found", &location, "", "redirects are not followed"),
        ("200 OK", "", &long, "more than 1048576 bytes"),
        ("200 OK", "", &many, "101 keys"),
        ("200 OK", "", "<html>", "not a JSON object"),
        ("204 No Content", "", "", "204"),
    ];
    for (status, headers, body, expected) in rows {
        let server = KeyServer::start();
        server.serve_text(status, headers, body);
        let world = World::start(server.source()).await;
        world.until("a failure", |issuer| issuer.failure.is_some()).await;
        let failure = world.state().failure.unwrap();
        assert!(failure.contains(expected), "{status}: {failure}");
        assert_eq!(world.login(&key()).await, Err("keys_unavailable"));
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_five_seconds_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let source = KeySource::new(&url, Path::new("/"), PlainHttp::LoopbackOnly, None).unwrap();
    let world = World::start(source).await;
    let accepted = tokio::task::spawn_blocking(move || listener.accept());
    let _silent = accepted.await.unwrap().unwrap();
    world.advance_and_read(crate::auth::source::FETCH_TIMEOUT).await;
    let failure = world.state().failure.unwrap();
    assert!(failure.contains("no answer"), "{failure}");
    assert_eq!(world.login(&key()).await, Err("keys_unavailable"));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_required_at_the_start_and_read_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let source =
        || KeySource::new("keys.json", directory.path(), PlainHttp::LoopbackOnly, None).unwrap();
    let refusal = async |expected: &str| {
        let error = World::try_start(source()).await.err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refusal("keys.json").await;
    std::fs::write(&path, "[]").unwrap();
    refusal("not a JSON object").await;
    std::fs::write(&path, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#).unwrap();
    refusal("a symmetric key has no place").await;

    let (old, new) = (key(), key());
    std::fs::write(&path, old.jwks()).unwrap();
    let world = World::start(source()).await;
    assert_eq!(world.login(&old).await, Ok(()));
    let snapshot = world.control.issuers.snapshot();
    assert!(snapshot.check_listener(&["acme".to_owned()]).is_ok());
    let error = snapshot.check_listener(&["acm".to_owned()]).unwrap_err().to_string();
    assert_eq!(error, "issuer `acm` is not configured");
    std::fs::write(&path, new.jwks()).unwrap();
    world.advance_and_read(TICK).await;
    assert_eq!(world.login(&old).await, Err("unknown_key"));
    assert_eq!(world.login(&new).await, Ok(()));

    std::fs::remove_file(&path).unwrap();
    world.advance_and_read(TICK).await;
    assert!(world.state().failure.is_some());
    assert_eq!(world.login(&new).await, Ok(()));
    std::fs::write(&path, old.jwks()).unwrap();
    world.advance_and_read(TICK).await;
    assert_eq!(world.login(&old).await, Ok(()));
}

#[test]
fn sources_that_are_refused() {
    let new = |text: &str, plain| KeySource::new(text, Path::new("/etc"), plain, None);
    let refused = |text: &str, plain| new(text, plain).err().unwrap().to_string();
    let strict = PlainHttp::LoopbackOnly;
    assert!(
        matches!(new("a/b.json", strict), Ok(KeySource::File(path)) if path == Path::new("/etc/a/b.json"))
    );
    for loopback in ["http://127.0.0.1/k", "http://[::1]:8080/k", "http://localhost/k"] {
        assert!(matches!(new(loopback, strict), Ok(KeySource::Url { .. })), "{loopback}");
    }
    assert!(matches!(new("http://idp.internal/k", PlainHttp::Allow), Ok(KeySource::Url { .. })));
    for plain in
        ["http://idp.internal/k", "http://127.0.0.1.example/k", "http://localhost.example/k"]
    {
        assert!(refused(plain, strict).contains("plain HTTP"), "{plain}");
    }
    for wrong in ["file:///etc/passwd", "ftp://idp/k", "gopher://x"] {
        assert!(refused(wrong, PlainHttp::Allow).contains("scheme must be https"), "{wrong}");
    }
    assert!(refused("https://user:secret@idp/k", strict).contains("user or a password"));
    assert!(refused("https://", strict).contains("neither a file nor a URL"));
}
