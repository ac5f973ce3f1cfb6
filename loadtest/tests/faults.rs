//! A broker that lies (row F20 of the faults): what it sends amiss never reaches the client, whose connection ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
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

/// What the liar does to the answer of a fetch of two partitions, which is larger than one read; it stays as long. Where
/// the partitions begin is told.
type LongLie = fn(&mut [u8], [usize; 2]);

/// Late lies, behind much that is true.
const LONG_LIES: [(&str, LongLie); 10] = [
    ("a topic that nobody asked for", |body, [first, _]| body[first - 2] = b'f'),
    ("more partitions than a frame can hold", |body, [first, _]| body[first - 1] = 127),
    ("a partition that nobody asked for", |body, [_, second]| body[second + 3] = 7),
    ("more aborted transactions than a frame can hold", |body, [_, second]| {
        body[second + 30] = 127;
    }),
    ("records beyond the frame", |body, [_, second]| {
        // The last byte of a varint of three: 2 MiB.
        body[second + RECORDS_AT + 2] = 127;
    }),
    ("a batch with a negative length", |body, [_, second]| {
        body[second + RECORDS_AT + 3 + 8] = 255;
    }),
    ("a batch that is shorter than its header", |body, [_, second]| {
        let at = second + RECORDS_AT + 3 + 8;
        body[at..at + 4].copy_from_slice(&10_i32.to_be_bytes());
    }),
    ("a batch of a version that nobody knows", |body, [_, second]| {
        body[second + RECORDS_AT + 3 + 16] = 77;
    }),
    ("the same amid others", |body, [_, second]| {
        let at = late_batch(body, second);
        body[at + 16] = 77;
    }),
    ("a batch with a negative length amid others", |body, [_, second]| {
        let at = late_batch(body, second);
        body[at + 8] = 255;
    }),
];

/// Where the thirtieth batch of a partition begins; all of them are alike.
fn late_batch(body: &[u8], partition: usize) -> usize {
    let first = partition + RECORDS_AT + 3;
    let length = i32::from_be_bytes(body[first + 8..first + 12].try_into().unwrap());
    first + 29 * (12 + usize::try_from(length).unwrap())
}

/// Where the size of a partition's records stands: behind index, error, three offsets, no aborted transactions, replica.
const RECORDS_AT: usize = 4 + 2 + 24 + 1 + 4;

/// The beginnings of both partitions in the body of a fetch's answer, whose records are not empty.
fn partitions_at(body: &[u8]) -> [usize; 2] {
    let name = body.windows(5).position(|window| window == b"\x05load").unwrap();
    let first = name + 5 + 1;
    let size = body[first + RECORDS_AT..].iter().take(3).zip([0, 7, 14]);
    let size = size.fold(0, |sum, (byte, shift)| sum | usize::from(byte & 127) << shift) - 1;
    let second = first + RECORDS_AT + 3 + size + 1;
    assert_eq!(body[second..second + 4], [0, 0, 0, 1], "this is not how answers look");
    [first, second]
}

#[test]
fn nothing_of_a_lie_late_in_a_long_answer_reaches_the_client() {
    let Some(kafka) = Kafka::shared() else { return };
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    // Where payloads are not recorded, records go from socket to socket.
    let lies = ["delivered", "none"]
        .into_iter()
        .flat_map(|payload| LONG_LIES.into_iter().map(move |(name, lie)| (payload, name, lie)));
    for (payload, name, lie) in lies {
        let told = Told::default();
        let notes = Arc::clone(&told);
        let broker = lying_broker(1, 10_000, move |body| {
            let mut spoilt = body.clone();
            lie(&mut spoilt, partitions_at(&body));
            *notes.lock().unwrap() = (framed(&body), framed(&spoilt));
            framed(&spoilt)
        });
        let setup = Setup { broker: Some(broker), broker_login: None, payload, ..Setup::default() };
        let gateway = Gateway::start(kafka, setup);
        let front = Front { kafka, gateway: Some(gateway) };
        let mut connection = front.connect_as(&ALICE);
        let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 400_000 };
        let mut request = fetch(bounds, &[("load", 0, 0), ("load", 1, 0)]);
        request.max_bytes = 1 << 20;
        // Both partitions in one entry of the topic.
        let second = request.topics.pop().unwrap().partitions;
        request.topics[0].partitions.extend(second);
        connection.send(FETCH_VERSION, &request).unwrap();
        let mut received = Vec::new();
        let end = connection.stream().read_to_end(&mut received);
        let hangs = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!hangs, "{name}: the connection stays open");
        let (honest, sent) = told.lock().unwrap().clone();
        let lie_at = honest.iter().zip(&sent).position(|(one, other)| one != other).unwrap();
        assert!(sent.len() > 700_000, "{name}: {} bytes are no long answer", sent.len());
        // What went before it may have been delivered; it is true then, behind length and correlation id.
        let (delivered, true_part) = (received.len(), &honest[..lie_at]);
        assert!(delivered <= lie_at, "{name}: {delivered} bytes, the lie begins at {lie_at}");
        assert!(
            received.get(8..).is_none_or(|bytes| bytes == &true_part[8..delivered]),
            "{name}: other bytes than the broker's"
        );
        front.connect_as(&ALICE);
    }
}

/// The frame that an honest broker would have sent, and what the liar sent.
type Told = Arc<Mutex<(Vec<u8>, Vec<u8>)>>;

#[test]
fn what_a_lying_broker_sends_never_reaches_the_client() {
    let Some(kafka) = Kafka::shared() else { return };
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    for (name, key, lie) in LIES {
        let broker = lying_broker(key, 100, lie);
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
fn lying_broker(
    key: i16,
    record_bytes: usize,
    lie: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> SocketAddr {
    let lie = Arc::new(lie);
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    let behind = TcpListener::bind("127.0.0.1:0").unwrap();
    let honest = behind.local_addr().unwrap();
    let contents = Contents {
        topics: vec!["load".to_owned()],
        partitions: 2,
        record_bytes,
        batch_records: 1,
        value: None,
        batch: None,
        advertised: address,
    };
    std::thread::spawn(move || broker::run(&behind, contents));
    std::thread::spawn(move || {
        while let Ok((client, _)) = front.accept() {
            let lie = Arc::clone(&lie);
            std::thread::spawn(move || carry(client, honest, key, &*lie));
        }
    });
    address
}

/// One request, one answer, until either side ends.
fn carry(
    mut client: TcpStream,
    honest: SocketAddr,
    key: i16,
    lie: &dyn Fn(Vec<u8>) -> Vec<u8>,
) -> Option<()> {
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
