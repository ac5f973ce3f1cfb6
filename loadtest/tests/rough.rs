//! Partial writes, short reads, slow peers and cut connections, on both sides of the gateway, from a printed seed: every
//! byte that arrives is the right one (rows F13 and F23 of the faults; the gateway's buffers are poisoned).

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use kafka_protocol::records::RecordBatchDecoder;
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, METADATA_VERSION, PRODUCE_VERSION, batch, fetch, metadata, produce,
};

use crate::support::clients::{FAMILIES, Record};
use crate::support::front::{Front, is_direct};
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::Kafka;
use crate::support::rough::{Random, Rough, Roughness, seed};
use crate::support::tokens::{ALICE, BOB};
use crate::support::{PATIENCE, skip, unique};

/// Cycles of cut connections; `SLUICEGATE_TEST_CYCLES` for more.
const CYCLES: u64 = 60;

/// A gateway with poisoned buffers between two rough networks.
struct Stage {
    front: Front,
    /// Before the gateway's port for the broker.
    before: Rough,
    /// Between the gateway and Kafka.
    behind: Rough,
    seed: u64,
    _turn: MutexGuard<'static, ()>,
}

/// There is one address at which a relay can stand before the broker, so the tests with one take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    fn set(setup: Setup, cut_after: Option<RangeInclusive<u64>>) -> Option<Self> {
        let kafka = Kafka::shared()?;
        if is_direct() {
            skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
            return None;
        }
        let turn = turn();
        let seed = seed();
        let (broker, at) = kafka.relayed();
        let behind = Rough::start(at, broker, seed ^ 1, Roughness::default());
        let setup = Setup {
            broker: Some(at),
            broker_login: None,
            advertised_host: Some(OTHER_HOST),
            more: format!("{}diagnostics: {{ poison.buffers: true }}\n", setup.more),
            ..setup
        };
        let gateway = Gateway::start(kafka, setup);
        let port = gateway.broker_addresses[0];
        // What the gateway advertises: its own port on another address.
        let advertised = SocketAddr::new(OTHER_HOST.parse().unwrap(), port.port());
        let roughness = Roughness { cut_after, ..Roughness::default() };
        let before = Rough::start(advertised, port, seed, roughness);
        let front = Front { kafka, gateway: Some(gateway) };
        Some(Self { front, before, behind, seed, _turn: turn })
    }

    /// A connection through both rough networks.
    fn connect(&self, login: &PlainLogin) -> anyhow::Result<Connection> {
        let mut connection = Connection::open(self.before.address, PATIENCE)?;
        connection.login(login)?;
        Ok(connection)
    }
}

/// A loopback address that nothing else uses.
const OTHER_HOST: &str = "127.0.0.3";

/// A value that tells what it must be: its number, then bytes that follow from it.
fn value(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let size = random.within(&(0..=3_000)) as usize;
    let rest = std::iter::repeat_with(|| random.number().to_le_bytes()[0]).take(size);
    number.to_be_bytes().into_iter().chain(rest).collect()
}

/// The number of a value; fails the test where any byte of it is not what the number says.
fn checked(bytes: &[u8]) -> u64 {
    let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes == value(number), "a value of {} bytes that nobody sent", bytes.len());
    number
}

/// Sends values in batches, several requests ahead, with others in between; the offsets must be the numbers.
fn produce_all(connection: &mut Connection, topic: &str, sizes: &[u64], random: &mut Random) {
    let mut next = 0;
    let mut unanswered: Vec<(i32, u64, bool)> = Vec::new();
    for count in sizes {
        let numbers = next..next + count;
        let request = produce(-1, &[(topic, 0, batch(numbers.map(value)).unwrap())]);
        let asks_too = random.one_in(3);
        unanswered.push((connection.send(PRODUCE_VERSION, &request).unwrap(), next, asks_too));
        if asks_too {
            connection.send(METADATA_VERSION, &metadata(Some(&[topic]))).unwrap();
        }
        next += count;
        while unanswered.len() > random.within(&(0..=6)) as usize {
            let (sent, first, asked_too) = unanswered.remove(0);
            let (id, answer) = connection.receive::<ProduceRequest>(PRODUCE_VERSION).unwrap();
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!((id, partition.error_code, partition.base_offset), (sent, 0, first as i64));
            if asked_too {
                let (_, answer) = connection.receive::<MetadataRequest>(METADATA_VERSION).unwrap();
                assert_eq!(&*answer.topics[0].name.clone().unwrap().0, topic);
            }
        }
    }
    for (sent, first, asked_too) in unanswered {
        let (id, answer) = connection.receive::<ProduceRequest>(PRODUCE_VERSION).unwrap();
        assert_eq!(id, sent);
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, first as i64));
        if asked_too {
            connection.receive::<MetadataRequest>(METADATA_VERSION).unwrap();
        }
    }
}

/// Bytes of one fetch, some larger than one read.
const SIZES: RangeInclusive<u64> = 100..=200_000;

/// The values in a fetched partition from `offset` on, with their offsets.
fn values_of(records: &Bytes, offset: i64) -> Vec<(i64, Bytes)> {
    let mut rest = records.clone();
    let mut found = Vec::new();
    // What the bounds of the fetch cut off is not a whole batch.
    for whole in crate::support::records::batches(records) {
        let mut whole = rest.split_to(whole.len());
        let set = RecordBatchDecoder::decode(&mut whole).unwrap();
        found.extend(set.records.into_iter().map(|record| (record.offset, record.value.unwrap())));
    }
    found.retain(|(at, _)| *at >= offset);
    found
}

/// Fetches a topic to `end` from many positions, several requests ahead, and hands each value to `check`.
fn fetch_all(
    connection: &mut Connection,
    topic: &str,
    end: i64,
    sizes: RangeInclusive<u64>,
    random: &mut Random,
    mut check: impl FnMut(i64, &[u8]),
) {
    let mut position = 0;
    while position < end {
        let sizes: Vec<u64> = (0..3).map(|_| random.within(&sizes)).collect();
        for bytes_max in &sizes {
            let bounds = FetchBounds {
                wait_ms_max: 100,
                bytes_min: 1,
                bytes_max: i32::try_from(*bytes_max).unwrap(),
            };
            connection.send(FETCH_VERSION, &fetch(bounds, &[(topic, 0, position)])).unwrap();
        }
        let mut reached = position;
        for _ in sizes {
            let (_, answer) = connection.receive::<FetchRequest>(FETCH_VERSION).unwrap();
            let partition = &answer.responses[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            let mut expected = position;
            for (offset, value) in values_of(partition.records.as_ref().unwrap(), position) {
                assert_eq!(offset, expected, "a gap");
                check(offset, &value);
                expected += 1;
            }
            reached = reached.max(expected);
        }
        assert!(reached > position, "nothing at {position}");
        position = reached;
    }
}

#[test]
fn every_byte_is_the_right_one_in_both_directions() {
    let Some(stage) = Stage::set(Setup::default(), None) else { return };
    let topic = unique("rough");
    stage.front.kafka.create_topic(&topic, 1);
    let mut random = Random(stage.seed ^ 2);
    let mut connection = stage.connect(&stage.front.login(&ALICE)).unwrap();
    let sizes: Vec<u64> = (0..40).map(|_| random.within(&(1..=60))).collect();
    let end = sizes.iter().sum::<u64>() as i64;
    produce_all(&mut connection, &topic, &sizes, &mut random);
    fetch_all(&mut connection, &topic, end, SIZES, &mut random, |offset, value| {
        assert_eq!(checked(value), offset as u64);
    });
    assert!(stage.behind.carried() > 2_000_000, "{} bytes", stage.behind.carried());
}

/// Records that are not recorded with their payloads go from socket to socket, in fetches of up to 3 MB.
#[test]
fn every_byte_that_nobody_copies_is_the_right_one() {
    let setup = Setup { payload: "none", ..Setup::default() };
    let Some(stage) = Stage::set(setup, None) else { return };
    let topic = unique("rough-unseen");
    stage.front.kafka.create_topic(&topic, 1);
    let mut random = Random(stage.seed ^ 5);
    let mut connection = stage.connect(&stage.front.login(&ALICE)).unwrap();
    let sizes: Vec<u64> = (0..80).map(|_| random.within(&(20..=60))).collect();
    let end = sizes.iter().sum::<u64>() as i64;
    produce_all(&mut connection, &topic, &sizes, &mut random);
    for _ in 0..3 {
        let sizes = 100_000..=3_000_000;
        fetch_all(&mut connection, &topic, end, sizes, &mut random, |offset, value| {
            assert_eq!(checked(value), offset as u64);
        });
    }
}

#[test]
fn every_masked_byte_is_the_right_one() {
    let topic = unique("rough-payments");
    let policy = "@id(\"use\") permit (principal, action in [Action::\"Read\", Action::\"Write\", \
                  Action::\"Describe\", Action::\"IdempotentWrite\"], resource);\n";
    let masks = format!(
        "labels:\n  pci: {{ method: keep-last, n: 4 }}\nrules:\n  - topics: [{topic}]\n    \
         format: json\n    fields: {{ card: pci }}\n"
    );
    let setup = Setup { policy: policy.to_owned(), masks, ..Setup::default() };
    let Some(stage) = Stage::set(setup, None) else { return };
    stage.front.kafka.create_topic(&topic, 1);
    let document = |offset: i64, card: &str| {
        let text: String =
            value(offset as u64)[8..].iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        format!("{{\"at\":{offset}, \"card\":\"{card}\",\"text\":\"{text}\"}}")
    };
    let mut connection = stage.connect(&stage.front.login(&BOB)).unwrap();
    let end = 1_000;
    for first in (0..end).step_by(50) {
        let values = (first..first + 50).map(|offset| document(offset, "5500000000000004"));
        let request = produce(-1, &[(&topic, 0, batch(values).unwrap())]);
        let answer = connection.call(PRODUCE_VERSION, &request).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, first);
    }
    let mut random = Random(stage.seed ^ 3);
    fetch_all(&mut connection, &topic, end, SIZES, &mut random, |offset, value| {
        let expected = document(offset, "************0004");
        assert!(value == expected.as_bytes(), "offset {offset} is not what it must be");
    });
}

#[test]
fn real_clients_get_every_byte_over_a_rough_network() {
    let Some(stage) = Stage::set(Setup::default(), None) else { return };
    for family in FAMILIES {
        let topic = unique("rough-clients");
        stage.front.kafka.create_topic(&topic, 1);
        let mut access = stage.front.access(&ALICE);
        access.bootstrap = stage.before.address;
        let sent: Vec<Record> = (0..500).map(|number| Record::of(value(number))).collect();
        let before = stage.before.carried();
        let results = family.producer(&access, &[("linger.ms", "5")]).send(&topic, &sent);
        assert!(results.iter().all(Result::is_ok), "{family:?}: {results:?}");
        let consumer = family.consumer(&access, &[("check.crcs", "true")]);
        consumer.assign(&topic, 0);
        let polled = consumer.poll(500, PATIENCE);
        assert_eq!(polled.records.len(), 500, "{family:?}: {:?}", polled.error);
        for (number, record) in polled.records.iter().enumerate() {
            assert_eq!(checked(record.value.as_ref().unwrap()), number as u64, "{family:?}");
        }
        assert!(stage.before.carried() - before > 1_000_000, "it went another way");
    }
}

/// Connections that are cut at random, by resets and half-closes, in the login, in requests and in responses: 60 of
/// them, or `SLUICEGATE_TEST_CYCLES` (row F13 asks for 10,000).
#[test]
fn cut_connections_deliver_nothing_wrong_and_leave_nothing_behind() {
    cut_connections(Setup::default(), 1..=300_000, 100_000);
}

/// The same with records that go from socket to socket: nothing of them is left in a pipe for another connection.
#[test]
fn cut_connections_leave_nothing_in_pipes() {
    let setup = Setup { payload: "none", ..Setup::default() };
    cut_connections(setup, 100_000..=1_500_000, 1_000_000);
}

fn cut_connections(setup: Setup, cut_after: RangeInclusive<u64>, bytes_max: i32) {
    let Some(stage) = Stage::set(setup, Some(cut_after)) else { return };
    let gateway = stage.front.gateway();
    let topic = unique("rough-cut");
    stage.front.kafka.create_topic(&topic, 1);
    let cycles =
        std::env::var("SLUICEGATE_TEST_CYCLES").map_or(CYCLES, |text| text.parse().unwrap());
    let login = stage.front.login(&ALICE);
    // One that is not cut, so that what the first connection of a session opens is open before.
    drop(stage.front.connect_as(&ALICE));
    std::thread::sleep(Duration::from_millis(500));
    let open_before = gateway.sockets().len();
    let mut memory_before = 0;
    let mut random = Random(stage.seed ^ 4);
    let mut number = 0;
    for cycle in 0..cycles {
        let ended = use_until_cut(&stage, &login, (&topic, bytes_max), &mut random, &mut number);
        let ended = ended.expect_err("it was never cut");
        assert_eq!(stage.before.cuts(), cycle + 1, "it was not cut and ended: {ended:#}");
        if cycle == cycles / 2 {
            memory_before = gateway.resident_bytes();
        }
    }
    gateway.await_sockets(open_before, Duration::from_secs(5));
    let grown = gateway.resident_bytes().saturating_sub(memory_before);
    assert!(grown < 32 << 20, "it has grown by {} KiB", grown >> 10);
    // It goes on, and what was acknowledged or not is whole where it arrived.
    let mut connection = stage.front.connect_as(&ALICE);
    let end = crate::support::front::end_of(&mut connection, &topic);
    assert!(end > 0, "nothing ever arrived");
    fetch_all(&mut connection, &topic, end, SIZES, &mut random, |_, value| {
        checked(value);
    });
}

/// Produces and fetches over one connection until it fails. All that arrives is checked.
fn use_until_cut(
    stage: &Stage,
    login: &PlainLogin,
    (topic, bytes_max): (&str, i32),
    random: &mut Random,
    number: &mut u64,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut connection = stage.connect(login)?;
    let mut position = 0;
    while Instant::now() < deadline {
        let count = random.within(&(1..=20));
        let values = (*number..*number + count).map(value);
        *number += count;
        let request = produce(-1, &[(topic, 0, batch(values)?)]);
        let produced = connection.send(PRODUCE_VERSION, &request)?;
        let bounds = FetchBounds { wait_ms_max: 100, bytes_min: 1, bytes_max };
        let fetched = connection.send(FETCH_VERSION, &fetch(bounds, &[(topic, 0, position)]))?;
        let (id, answer) = connection.receive::<ProduceRequest>(PRODUCE_VERSION)?;
        assert_eq!(id, produced);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        let (id, answer) = connection.receive::<FetchRequest>(FETCH_VERSION)?;
        assert_eq!(id, fetched);
        let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        for (offset, value) in values_of(&records, position) {
            checked(&value);
            position = offset + 1;
        }
    }
    Ok(())
}
