//! A broker that lies (row F20 of the faults): what it sends amiss never reaches the client, whose connection ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use sluicegate_loadtest::broker::{self, Contents};
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, LIST_OFFSETS_VERSION, fetch, list_offsets,
};

use crate::support::front::{Front, is_direct};
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::Kafka;
use crate::support::tokens::ALICE;
use crate::support::{PATIENCE, skip};

/// What the liar does to the answer of one request: the answer's frame, without its length, becomes what is sent.
type Lie = fn(Vec<u8>) -> Vec<u8>;

fn framed(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

/// Answers to ListOffsets and to Fetch, spoilt.
const LIES: [(&str, i16, Lie); 9] = [
    ("another correlation id", 2, |mut body| {
        body[0] ^= 1;
        framed(&body)
    }),
    ("an answer that nobody asked for", 2, |body| {
        let mut extra = body.clone();
        extra[..4].copy_from_slice(&[255; 4]);
        [framed(&extra), framed(&body)].concat()
    }),
    ("a count far beyond the frame", 2, |mut body| {
        // Behind correlation id, tagged fields and throttle time stands the compact count of topics.
        body.splice(9..10, [255, 255, 255, 255, 7]);
        framed(&body)
    }),
    ("half an answer", 2, |body| framed(&body)[..body.len() / 2].to_vec()),
    ("a body that ends early", 2, |body| framed(&body[..body.len() - 5])),
    ("bytes behind the body", 2, |body| framed(&[&body[..], &[0; 9]].concat())),
    ("a negative length", 2, |_| vec![255, 255, 255, 255, 1, 2, 3]),
    ("a length of 2 GiB", 2, |_| vec![127, 255, 255, 255, 1, 2, 3]),
    ("a partition that nobody asked for", 1, |mut body| {
        // Correlation id, tags, throttle time, error, session, count, name "load" and count, then the index.
        let name = body.windows(5).position(|window| window == b"\x05load").unwrap();
        body[name + 5 + 1 + 3] = 1;
        framed(&body)
    }),
];

#[test]
fn what_a_lying_broker_sends_never_reaches_the_client() {
    let Some(kafka) = Kafka::shared() else { return };
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    for (name, key, lie) in LIES {
        let broker = lying_broker(key, lie);
        let setup = Setup { broker: Some(broker), broker_login: None, ..Setup::default() };
        let gateway = Gateway::start(kafka, setup);
        let front = Front { kafka, gateway: Some(gateway) };
        let mut connection = front.connect_as(&ALICE);
        if key == 1 {
            let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 };
            connection.send(FETCH_VERSION, &fetch(bounds, &[("load", 0, 0)])).unwrap();
        } else {
            connection.send(LIST_OFFSETS_VERSION, &list_offsets("load", 0)).unwrap();
        }
        let mut received = Vec::new();
        let end = connection.stream().read_to_end(&mut received);
        let hangs = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!hangs, "{name}: the connection stays open");
        assert!(received.is_empty(), "{name}: the client got {}", received.escape_ascii());
        // The gateway lives, and another connection finds it.
        front.connect_as(&ALICE);
    }
}

/// A null broker behind a man in the middle who spoils the first answer to API `key` on each connection.
fn lying_broker(key: i16, lie: Lie) -> SocketAddr {
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    let behind = TcpListener::bind("127.0.0.1:0").unwrap();
    let honest = behind.local_addr().unwrap();
    let contents = Contents {
        topics: vec!["load".to_owned()],
        partitions: 2,
        record_bytes: 100,
        batch_records: 1,
        value: None,
        batch: None,
        advertised: address,
    };
    std::thread::spawn(move || broker::run(&behind, contents));
    std::thread::spawn(move || {
        while let Ok((client, _)) = front.accept() {
            std::thread::spawn(move || carry(client, honest, key, lie));
        }
    });
    address
}

/// One request, one answer, until either side ends.
fn carry(mut client: TcpStream, honest: SocketAddr, key: i16, lie: Lie) -> Option<()> {
    let mut broker = TcpStream::connect(honest).ok()?;
    // A gateway that waits for the rest of a frame must not wait for this test as well.
    client.set_read_timeout(Some(PATIENCE)).ok()?;
    loop {
        let request = read_frame(&mut client)?;
        let is_spoilt = request[..2] == key.to_be_bytes();
        broker.write_all(&framed(&request)).ok()?;
        let answer = read_frame(&mut broker)?;
        if is_spoilt {
            client.write_all(&lie(answer)).ok()?;
            // Where it is only half an answer, its end is what tells.
            std::thread::sleep(Duration::from_millis(200));
            client.shutdown(Shutdown::Both).ok();
            return None;
        }
        client.write_all(&framed(&answer)).ok()?;
    }
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}
