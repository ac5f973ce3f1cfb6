//! TLS over a transport that reads and writes in parts, against rustls's own client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use proptest::prelude::*;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::records::TlsError;
use super::tls::TlsStream;
use crate::buffers::{Pool, ReadBuffer};
use crate::limits;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Bytes that are on their way to one side at most: what a socket's buffer is.
const WIRE_BYTES_MAX: usize = 100_000;

/// More turns than any case needs.
const TURNS_MAX: usize = 2_000_000;

static CERTIFICATE: LazyLock<rcgen::CertifiedKey<rcgen::KeyPair>> =
    LazyLock::new(|| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[derive(Default)]
struct Wire {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    client_gone: bool,
}

/// The server's end: at most `part` bytes at once, and often none.
struct Faulty {
    wire: Rc<RefCell<Wire>>,
    random: Random,
    part: usize,
}

impl Faulty {
    fn part(&mut self, most: usize) -> Option<usize> {
        (most > 0 && self.random.below(3) > 0).then(|| (1 + self.random.below(self.part)).min(most))
    }
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!buffer.is_empty(), "a read of nothing looks like the end");
        let wire = Rc::clone(&self.wire);
        let mut wire = wire.borrow_mut();
        if wire.to_server.is_empty() && wire.client_gone {
            return Poll::Ready(Ok(0));
        }
        match self.part(buffer.len().min(wire.to_server.len())) {
            Some(part) => Poll::Ready(wire.to_server.read(&mut buffer[..part])),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = Rc::clone(&self.wire);
        let mut wire = wire.borrow_mut();
        match self.part(bytes.len().min(WIRE_BYTES_MAX - wire.to_client.len())) {
            Some(part) => Poll::Ready(wire.to_client.write(&bytes[..part])),
            None => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A server and a client with a wire between them.
struct Both {
    server: TlsStream<Faulty>,
    /// What the server read.
    served: ReadBuffer,
    client: ClientConnection,
    /// What the client read.
    received: Vec<u8>,
    wire: Rc<RefCell<Wire>>,
}

fn server(wire: &Rc<RefCell<Wire>>, pool: &Rc<Pool>, seed: u64, part: usize) -> TlsStream<Faulty> {
    let key = PrivateKeyDer::try_from(CERTIFICATE.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.cert.der().clone()], key)
        .unwrap();
    let random = Random(seed | 1);
    let transport = Faulty { wire: Rc::clone(wire), random, part };
    TlsStream::new(transport, Arc::new(config), Rc::clone(pool)).unwrap()
}

fn client(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(CERTIFICATE.cert.der().to_vec())).unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

fn polled<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl Both {
    fn new(version: &'static SupportedProtocolVersion, seed: u64, part: usize) -> Self {
        let (wire, pool) = (Rc::<RefCell<Wire>>::default(), Rc::<Pool>::default());
        Self {
            server: server(&wire, &pool, seed, part),
            served: ReadBuffer::new(pool),
            client: client(version),
            received: Vec::new(),
            wire,
        }
    }

    fn with_handshake(version: &'static SupportedProtocolVersion, seed: u64, part: usize) -> Self {
        let mut both = Self::new(version, seed, part);
        both.until(|both| both.handshake());
        both.until(|both| (!both.client.is_handshaking()).then_some(()));
        both
    }

    /// Turns until there is something.
    fn until<T>(&mut self, mut poll: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..TURNS_MAX {
            self.turn_client();
            if let Some(value) = poll(self) {
                return value;
            }
        }
        panic!("it hangs");
    }

    fn handshake(&mut self) -> Option<()> {
        polled(|context| self.server.poll_handshake(context)).map(Result::unwrap)
    }

    /// Whether the server sent all that it took.
    fn flush(&mut self) -> Option<()> {
        polled(|context| self.server.poll_flush(context)).map(Result::unwrap)
    }

    fn fill(&mut self) -> Option<io::Result<usize>> {
        let read = polled(|context| self.server.poll_fill(context, &mut self.served, 0));
        self.served.release();
        read
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.server.take(rest).unwrap();
            rest = &rest[taken..];
            self.until(Self::flush);
        }
    }

    /// What the client wants to send and can read now.
    fn turn_client(&mut self) {
        let mut wire = self.wire.borrow_mut();
        while self.client.wants_write() && wire.to_server.len() < WIRE_BYTES_MAX {
            self.client.write_tls(&mut wire.to_server).unwrap();
        }
        if !wire.to_client.is_empty() {
            self.client.read_tls(&mut wire.to_client).unwrap();
            self.client.process_new_packets().unwrap();
        }
        drop(wire);
        // An error of this kind means no more than that nothing is there.
        if let Err(error) = self.client.reader().read_to_end(&mut self.received) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    fn assert_idle(&mut self) {
        while !self.wire.borrow().to_server.is_empty() {
            assert!(self.fill().is_none(), "nothing but TLS's own");
        }
        assert!(self.fill().is_none());
        assert_eq!(self.server.held_bytes() + self.served.held_bytes(), 0);
    }
}

fn pattern(bytes: usize, from: usize) -> Vec<u8> {
    (from..from + bytes).map(|number| u8::try_from(number * 31 / 7 % 251).unwrap()).collect()
}

fn carry_both_ways(version: &'static SupportedProtocolVersion, seed: u64, part: usize) {
    let mut random = Random(seed | 1);
    // Small parts make many turns of few bytes.
    let bytes = (part * 2_000).clamp(100_000, 3_000_000);
    let (upward, downward) = (pattern(bytes, 0), pattern(bytes, 100));
    let mut both = Both::new(version, seed, part);
    // A client may send at once behind its handshake: some of it arrives with that.
    let mut up = both.client.writer().write(&upward[..20_000]).unwrap();
    both.until(|both| both.handshake());
    let (mut read, mut down) = (0, 0);
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "it hangs");
        both.turn_client();
        if up < upward.len() {
            let piece = (1 + random.below(30_000)).min(upward.len() - up);
            let written = both.client.writer().write(&upward[up..up + piece]).unwrap();
            up += written;
            if written > 0 && version == &TLS13 && random.below(5) == 0 {
                both.client.refresh_traffic_keys().unwrap();
            }
        }
        if both.flush().is_some() && down < downward.len() {
            let piece = (1 + random.below(200_000)).min(downward.len() - down);
            down += both.server.take(&downward[down..down + piece]).unwrap();
        }
        if let Some(filled) = both.fill() {
            assert!(filled.unwrap() > 0);
            // A reader that leaves something now and then.
            let consumed = both.served.bytes().len() - random.below(2) * random.below(5);
            assert_eq!(both.served.bytes()[..consumed], upward[read..read + consumed]);
            both.served.consume(consumed);
            read += consumed;
        }
        let all_read = read + both.served.bytes().len() == upward.len();
        if all_read && both.received.len() == downward.len() {
            break;
        }
    }
    assert_eq!(both.served.bytes(), &upward[read..]);
    both.served.consume(usize::MAX);
    assert!(both.received == downward);
    both.until(|both| both.flush());
    both.assert_idle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_come_out_as_they_went_in(
        seed: u64,
        part in prop_oneof![Just(1_usize), 2_usize..100, 100_usize..20_000, Just(100_000)],
    ) {
        for version in VERSIONS {
            carry_both_ways(version, seed, part);
        }
    }

    #[test]
    fn any_bytes_end_in_an_error(seed: u64, mut noise: Vec<u8>, first in 0_u8..=255) {
        noise.insert(0, first);
        let (wire, pool) = (Rc::<RefCell<Wire>>::default(), Rc::<Pool>::default());
        let mut server = server(&wire, &pool, seed, 50);
        wire.borrow_mut().to_server.extend(&noise);
        wire.borrow_mut().client_gone = true;
        let ended = (0..TURNS_MAX).find_map(|_| polled(|context| server.poll_handshake(context)));
        prop_assert!(ended.unwrap().is_err());
    }
}

#[test]
fn a_write_fills_one_buffer_and_leaves_in_one_send() {
    for version in VERSIONS {
        let mut both = Both::with_handshake(version, 1, 200_000);
        let bytes = pattern(200_000, 0);
        assert_eq!(both.server.take(&bytes).unwrap(), limits::TLS_WRITE_BYTES);
        assert_eq!(both.server.held_bytes(), 2 * limits::READ_BYTES);
        both.until(Both::flush);
        assert_eq!(both.server.held_bytes(), 0);
        both.until(|both| (both.received.len() == limits::TLS_WRITE_BYTES).then_some(()));
        assert!(both.received == bytes[..limits::TLS_WRITE_BYTES]);
    }
}

#[test]
fn a_part_of_a_record_holds_only_itself() {
    for version in VERSIONS {
        let mut both = Both::with_handshake(version, 3, 200_000);
        both.client.writer().write_all(&[7; 1_000]).unwrap();
        let mut record = Vec::new();
        both.client.write_tls(&mut record).unwrap();
        both.wire.borrow_mut().to_server.extend(&record[..600]);
        for _ in 0..100 {
            assert!(both.fill().is_none());
        }
        assert_eq!(both.server.held_bytes() + both.served.held_bytes(), 600);
        both.wire.borrow_mut().to_server.extend(&record[600..]);
        let filled = both.until(Both::fill).unwrap();
        assert_eq!((filled, both.served.bytes()), (1_000, &[7; 1_000][..]));
        both.served.consume(filled);
        both.assert_idle();
    }
}

#[test]
fn a_close_notify_ends_reading_and_not_writing() {
    for version in VERSIONS {
        let mut both = Both::with_handshake(version, 5, 3_000);
        both.client.writer().write_all(b"last words").unwrap();
        both.client.send_close_notify();
        assert_eq!(both.until(Both::fill).unwrap(), 10);
        assert_eq!(both.served.bytes(), b"last words");
        assert_eq!(both.until(Both::fill).unwrap(), 0);
        // What follows is ignored (RFC 8446 §6.1).
        both.wire.borrow_mut().to_server.extend([22; 100]);
        assert_eq!(both.until(Both::fill).unwrap(), 0);
        let owed = pattern(300_000, 0);
        both.send(&owed);
        both.until(|both| (both.received.len() == owed.len()).then_some(()));
        assert!(both.received == owed);
    }
}

#[test]
fn our_end_is_told() {
    for version in VERSIONS {
        let mut both = Both::with_handshake(version, 7, 200_000);
        both.send(b"all");
        both.server.end();
        both.until(Both::flush);
        both.until(|both| {
            let state = both.client.process_new_packets().unwrap();
            state.peer_has_closed().then_some(())
        });
        assert_eq!(both.received, b"all");
        assert_eq!(both.server.held_bytes(), 0);
        // Once is enough, and nothing follows.
        both.server.end();
        assert!(matches!(both.server.take(b"more"), Err(TlsError::Ended)));
        assert_eq!(both.server.held_bytes(), 0);
    }
}

#[test]
fn a_stream_that_is_cut_off_is_an_error() {
    for version in VERSIONS {
        let mut both = Both::with_handshake(version, 9, 3_000);
        both.client.writer().write_all(&[7; 5_000]).unwrap();
        both.turn_client();
        let cut = both.wire.borrow().to_server.len() - 1;
        both.wire.borrow_mut().to_server.truncate(cut);
        both.wire.borrow_mut().client_gone = true;
        let error = both.until(Both::fill).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        assert_eq!(both.served.bytes().len(), 0, "half a record is nothing");
    }
}

#[test]
fn an_altered_record_is_an_error_with_an_alert() {
    for version in VERSIONS {
        let mut both = Both::with_handshake(version, 11, 200_000);
        both.client.writer().write_all(&[7; 5_000]).unwrap();
        both.turn_client();
        both.wire.borrow_mut().to_server[2_000] ^= 1;
        let error = (0..TURNS_MAX).find_map(|_| both.fill()).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        let mut wire = both.wire.borrow_mut();
        drop(both.server);
        if wire.to_client.is_empty() {
            continue; // The transport did not take it at once.
        }
        both.client.read_tls(&mut wire.to_client).unwrap();
        let alert = both.client.process_new_packets().unwrap_err();
        assert!(alert.to_string().contains("BadRecordMac"), "{alert}");
    }
}

#[test]
fn who_speaks_no_tls_is_named_and_gets_an_alert() {
    let kafka = [&[0, 0, 0, 20, 0, 18, 0, 3][..], &[0; 16]].concat();
    for (bytes, name) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "the client speaks HTTP, not TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "the client speaks HTTP, not TLS"),
        (&kafka, "the client speaks Kafka, not TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "the client speaks another protocol, not TLS"),
        (&[22, 3, 1, 0, 4, 99, 0, 0, 0], "TLS failed: "),
    ] {
        let (wire, pool) = (Rc::<RefCell<Wire>>::default(), Rc::<Pool>::default());
        let mut server = server(&wire, &pool, 8, 200_000);
        wire.borrow_mut().to_server.extend(bytes);
        let ended = (0..100).find_map(|_| polled(|context| server.poll_handshake(context)));
        let error = ended.unwrap().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
        while polled(|context| server.poll_flush(context)).is_none() {}
        assert_eq!(wire.borrow().to_client[0], 21, "{name}");
        assert_eq!(server.held_bytes(), 0);
    }
}

#[test]
fn a_handshake_is_bounded() {
    let (wire, pool) = (Rc::<RefCell<Wire>>::default(), Rc::<Pool>::default());
    let mut server = server(&wire, &pool, 3, 4_000);
    // A ClientHello of 60,000 bytes in records of 1,000.
    let mut sent = 0;
    let error = (0..TURNS_MAX).find_map(|number| {
        let header = [1, 0, 234, 96];
        let payload = if number == 0 { [&header[..], &[0; 996]].concat() } else { vec![0; 1_000] };
        let record = [&[22, 3, 1, 3, 232][..], &payload].concat();
        if wire.borrow().to_server.len() < 4_000 {
            sent += record.len();
            wire.borrow_mut().to_server.extend(record);
        }
        let ended = polled(|context| server.poll_handshake(context));
        assert!(server.held_bytes() <= limits::READ_BYTES, "{}", server.held_bytes());
        ended.map(Result::unwrap_err)
    });
    assert!(error.unwrap().to_string().contains("more than 32768 bytes"));
    assert!(sent < 50_000, "{sent}");
}

/// A handshake message may come in parts, and rustls counts from the front of the bytes that hold them.
#[test]
fn a_write_between_the_parts_of_a_handshake_message_is_a_write() {
    let mut both = Both::with_handshake(&TLS13, 13, 200_000);
    let Some(SupportedCipherSuite::Tls13(suite)) = both.client.negotiated_cipher_suite() else {
        panic!("no suite of TLS 1.3");
    };
    let client = std::mem::replace(&mut both.client, client(&TLS13));
    let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("unknown secrets"),
    };
    let mut encrypter: Box<dyn MessageEncrypter> = suite.aead_alg.encrypter(key, iv);
    // A KeyUpdate that asks for none in return.
    for (number, part) in [&[24, 0][..], &[0], &[1, 0]].into_iter().enumerate() {
        let message = OutboundPlainMessage {
            typ: ContentType::Handshake,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(part),
        };
        let number = sequence + u64::try_from(number).unwrap();
        let record = encrypter.encrypt(message, number).unwrap().encode();
        both.wire.borrow_mut().to_server.extend(record);
        for _ in 0..100 {
            assert!(both.fill().is_none());
        }
        assert_eq!(both.server.take(b"beside it").unwrap(), 9);
        while both.flush().is_none() {}
    }
    both.assert_idle();
}
