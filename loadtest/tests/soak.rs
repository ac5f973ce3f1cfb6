//! Random batches through real Kafka and the gateway that masks them: every offset, CRC, timestamp, key, header and value of
//! every record, as both families of clients and Kafka's own dump of its logs read them.
//!
//! `make soak` runs it for ten minutes; else it takes a few rounds. `SLUICEGATE_SOAK_SECONDS` and `SLUICEGATE_SEED` say how
//! long and which rounds; the seed of a round that fails is printed.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::kafka::java;
use sluicegate_loadtest::requests::{FETCH_VERSION, FetchBounds, PRODUCE_VERSION, fetch, produce};

use crate::support::clients::{FAMILIES, Family, Record};
use crate::support::front::{Front, end_of};
use crate::support::gateway::Setup;
use crate::support::records::{batches, crc32c, has_right_crc, lasting_header};
use crate::support::tokens::{ALICE, Person};
use crate::support::{PATIENCE, unique};

const CARD: &str = "4111111111111111";
const STARRED: &str = "************1111";
const WITHHELD: &[u8] = br#"{"x-masked":"withheld"}"#;
const ANALYST: Person = Person { name: "anna", groups: &["analysts"] };

/// Numbers that follow from a seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    fn count(&mut self, sides: u64) -> usize {
        usize::try_from(self.roll(sides)).unwrap()
    }

    fn words(&mut self, count: usize) -> String {
        const WORDS: [&str; 6] = ["ledger", "café", "x", "日本語", "\\u00e9", "and so on"];
        (0..count).map(|_| format!("{} ", WORDS[self.count(6)])).collect()
    }
}

/// A part of a record as it is written, and as whoever may see no card must read it.
type Part = (Option<Vec<u8>>, Option<Vec<u8>>);

fn same(bytes: impl Into<Vec<u8>>) -> Part {
    let bytes = bytes.into();
    (Some(bytes.clone()), Some(bytes))
}

/// A text with cards, which are masked.
fn carded(text: &str) -> Part {
    (Some(text.as_bytes().to_vec()), Some(text.replace(CARD, STARRED).into_bytes()))
}

fn value(dice: &mut Dice, number: usize) -> Part {
    let length = if dice.roll(40) == 0 { 5_000 } else { dice.count(12) };
    let words = dice.words(length);
    match dice.roll(8) {
        0 => (None, None),
        1 | 2 => same(format!(r#"{{ "id":{number}.50, "text":"{words}" }}"#)),
        3 => (Some(format!("no json {words}").into_bytes()), Some(WITHHELD.to_vec())),
        4 => same("{}"),
        5 => carded(&format!(r#"{{"text":"{words} by {CARD}, {words}","id":{number}}}"#)),
        _ => {
            carded(&format!(r#"{{"id":{number}, "card": {{"number":"{CARD}"}},"text":"{words}"}}"#))
        }
    }
}

fn key(dice: &mut Dice, number: usize) -> Part {
    match dice.roll(6) {
        0 | 1 => (None, None),
        2 => same(""),
        3 => carded(&format!("{CARD} of key {number}")),
        4 => carded(&format!(r#"{{"card":{{"number":"{CARD}"}}}}"#)),
        _ => same(format!("key {number}")),
    }
}

/// A record with what must be read of it: the offset is not known yet.
fn record(dice: &mut Dice, number: usize, now: i64) -> (Record, Record) {
    let ((key, key_masked), (value, value_masked)) = (key(dice, number), value(dice, number));
    let (mut headers, mut headers_masked) = (Vec::new(), Vec::new());
    for header in 0..dice.roll(4) {
        // Names repeat.
        let name = format!("h{}", header % 2);
        let (original, masked) = match dice.roll(3) {
            0 => (None, None),
            1 => same(dice.words(2)),
            _ => carded(&format!("{CARD} in a header")),
        };
        headers.push((name.clone(), original));
        headers_masked.push((name, masked));
    }
    let timestamp = Some(now - i64::try_from(dice.roll(100_000)).unwrap());
    let written = Record { partition: Some(0), key, value, headers, timestamp, offset: None };
    let read =
        Record { key: key_masked, value: value_masked, headers: headers_masked, ..written.clone() };
    (written, read)
}

/// The number of a codec in a batch's attributes, and what it makes of bytes in one of the forms that writers have for it.
///
/// librdkafka reads gzip no further than its first member, so a batch that goes on as it is (`is_masked` is false) has one.
fn compressed(dice: &mut Dice, plain: &[u8], is_masked: bool) -> (i16, &'static str, Vec<u8>) {
    let half = plain.len() / 2;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
    let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let lz4 = |checksums: bool| {
        let info = lz4_flex::frame::FrameInfo::new()
            .content_checksum(checksums)
            .block_checksums(checksums)
            .block_size(lz4_flex::frame::BlockSize::Max64KB);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    match dice.roll(9) {
        0 => (0, "none", plain.to_vec()),
        1 => (1, "gzip", gzip(plain)),
        2 if !is_masked => (1, "gzip", gzip(plain)),
        2 => (1, "gzip of two members", [gzip(&plain[..half]), gzip(&plain[half..])].concat()),
        3 => (2, "raw snappy", snappy(plain)),
        4 => {
            let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for chunk in plain.chunks(32 << 10) {
                let chunk = snappy(chunk);
                framed.extend_from_slice(&u32::try_from(chunk.len()).unwrap().to_be_bytes());
                framed.extend_from_slice(&chunk);
            }
            (2, "xerial's snappy", framed)
        }
        5 => (3, "lz4", lz4(false)),
        6 => (3, "lz4 with checksums", lz4(true)),
        7 => (4, "zstd", zstd(plain)),
        _ => (4, "zstd of two frames", [zstd(&plain[..half]), zstd(&plain[half..])].concat()),
    }
}

/// A batch of these records, written here so that the gateway's own writer is held against something else.
fn batch(dice: &mut Dice, records: &[Record], is_masked: bool) -> (&'static str, Bytes) {
    let base = records[0].timestamp.unwrap();
    let mut plain = Vec::new();
    for (offset, record) in records.iter().enumerate() {
        let mut body = vec![0];
        varint(record.timestamp.unwrap() - base, &mut body);
        varint(i64::try_from(offset).unwrap(), &mut body);
        nullable(record.key.as_deref(), &mut body);
        nullable(record.value.as_deref(), &mut body);
        varint(i64::try_from(record.headers.len()).unwrap(), &mut body);
        for (name, value) in &record.headers {
            nullable(Some(name.as_bytes()), &mut body);
            nullable(value.as_deref(), &mut body);
        }
        nullable(Some(&body), &mut plain);
    }
    let (codec, form, payload) = compressed(dice, &plain, is_masked);
    let latest = records.iter().map(|record| record.timestamp.unwrap()).max().unwrap();
    let count = i32::try_from(records.len()).unwrap();
    let mut covered = codec.to_be_bytes().to_vec();
    covered.extend((count - 1).to_be_bytes());
    covered.extend(base.to_be_bytes());
    covered.extend(latest.to_be_bytes());
    // No producer id, epoch, sequence.
    covered.extend([255; 14]);
    covered.extend(count.to_be_bytes());
    covered.extend(payload);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend(i32::try_from(covered.len() + 9).unwrap().to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&covered).to_be_bytes());
    batch.extend(covered);
    (form, batch.into())
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

fn nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    varint(bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap()), out);
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// What a topic must hold, by offset, for whoever may see no card.
struct Round {
    topic: String,
    is_append_time: bool,
    expected: BTreeMap<i64, Record>,
}

impl Round {
    /// Writes random batches, straight to Kafka and through the gateway, and through clients with transactions.
    fn write(front: &Front, dice: &mut Dice, now: i64) -> Self {
        let topic = unique("soak");
        let is_append_time = dice.roll(2) == 0;
        let kind = if is_append_time { "LogAppendTime" } else { "CreateTime" };
        front.kafka.create_topic_with(&topic, 1, &[("message.timestamp.type", kind)]);
        let mut round = Self { topic, is_append_time, expected: BTreeMap::new() };
        let (mut straight, mut gateway) = (front.kafka.connect(), front.connect_as(&ANALYST));
        for _ in 0..20 + dice.roll(20) {
            let count = 1 + if dice.roll(5) == 0 { dice.count(400) } else { dice.count(8) };
            let (written, read): (Vec<Record>, Vec<Record>) =
                (0..count).map(|number| record(dice, number, now)).unzip();
            let (form, batch) = batch(dice, &written, written != read);
            let connection = if dice.roll(2) == 0 { &mut straight } else { &mut gateway };
            let request = produce(-1, &[(&round.topic, 0, batch)]);
            let answer = connection.call(PRODUCE_VERSION, &request).unwrap();
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "{form}: {:?}", answer.error_message);
            round.expected.extend((answer.base_offset..).zip(read));
        }
        for family in FAMILIES {
            round.transact(front, dice, family, now);
        }
        round
    }

    /// Two transactions of a client, one of which is aborted: who reads what is committed never sees it.
    fn transact(&mut self, front: &Front, dice: &mut Dice, family: Family, now: i64) {
        const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
        let identity = unique("soaking");
        let config = [
            ("transactional.id", identity.as_str()),
            ("compression.type", CODECS[dice.count(5)]),
            ("linger.ms", "20"),
        ];
        let producer = family.producer(&front.access(&ALICE), &config);
        producer.init_transactions().unwrap();
        for commits in [dice.roll(2) == 0, dice.roll(2) == 0] {
            producer.begin_transaction().unwrap();
            let (written, read): (Vec<Record>, Vec<Record>) =
                (0..1 + dice.count(30)).map(|number| record(dice, number, now)).unzip();
            let offsets = producer.send(&self.topic, &written);
            let offsets = offsets.into_iter().map(Result::unwrap);
            if commits {
                self.expected.extend(offsets.zip(read));
                producer.commit_transaction().unwrap();
            } else {
                offsets.for_each(drop);
                producer.abort_transaction().unwrap();
            }
        }
        producer.close().unwrap();
    }

    /// Reads it all in every way there is.
    fn read(&self, front: &Front) {
        for family in FAMILIES {
            let config = [("isolation.level", "read_committed"), ("check.crcs", "true")];
            let consumer = family.consumer(&front.access(&ANALYST), &config);
            consumer.assign(&self.topic, 0);
            let polled = consumer.poll(self.expected.len(), PATIENCE);
            let number = polled.records.len();
            let last = polled.records.last().and_then(|record| record.offset);
            let told = format!("{family:?} {} up to {last:?}: {:?}", self.topic, polled.error);
            assert_eq!(number, self.expected.len(), "{told}");
            for (read, (offset, expected)) in polled.records.iter().zip(&self.expected) {
                assert_eq!(read.offset, Some(*offset), "{family:?} {}", self.topic);
                let told = format!("{family:?} {} {offset}", self.topic);
                assert_eq!(read.key, expected.key, "{told}");
                assert_eq!(read.value, expected.value, "{told}");
                assert_eq!(read.headers, expected.headers, "{told}");
                if !self.is_append_time {
                    assert_eq!(read.timestamp, expected.timestamp, "{told}");
                }
            }
        }
        let original = whole(&mut front.kafka.connect(), &self.topic);
        let masked = whole(&mut front.connect_as(&ANALYST), &self.topic);
        let (original, masked_batches) = (batches(&original), batches(&masked));
        assert_eq!(original.len(), masked_batches.len(), "{}", self.topic);
        for (original, masked) in original.iter().zip(&masked_batches) {
            assert!(has_right_crc(masked), "{}", self.topic);
            assert_eq!(lasting_header(original), lasting_header(masked), "{}", self.topic);
        }
        dump(&masked, masked_batches.len(), self.expected.len());
    }
}

/// All records of a topic, fetch by fetch.
fn whole(connection: &mut Connection, topic: &str) -> Vec<u8> {
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
    let mut records = Vec::new();
    let end = end_of(connection, topic);
    let mut at = 0;
    while at < end {
        let answer = connection.call(FETCH_VERSION, &fetch(bounds, &[(topic, 0, at)])).unwrap();
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{topic} at {at}");
        let bytes = partition.records.clone().unwrap();
        let whole = batches(&bytes);
        let last = whole.last().unwrap_or_else(|| panic!("nothing of {topic} at {at}"));
        let base = i64::from_be_bytes(last[..8].try_into().unwrap());
        at = base + i64::from(i32::from_be_bytes(last[23..27].try_into().unwrap())) + 1;
        records.extend_from_slice(&whole.concat());
    }
    records
}

/// Kafka's own dump of a segment reads every batch and every record in it.
fn dump(segment: &[u8], batch_count: usize, records_at_least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("00000000000000000000.log");
    std::fs::write(&file, segment).unwrap();
    let home = crate::support::kafka::home().unwrap();
    let options = ["-XX:TieredStopAtLevel=1".into(), "-Xmx256m".into()];
    let mut command = java(&home, &options, "org.apache.kafka.tools.DumpLogSegments");
    command.extend(["--deep-iteration", "--print-data-log", "--files"].map(Into::into));
    command.push(file.into_os_string());
    let output = Command::new(&command[0]).args(&command[1..]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let valid =
        text.lines().filter(|line| line.contains("baseOffset:") && line.contains("isvalid: true"));
    let told = || text.lines().take(20).collect::<Vec<_>>().join("\n");
    assert_eq!(valid.count(), batch_count, "{}", told());
    assert!(!text.contains("isvalid: false") && !text.contains("Found"), "{}", told());
    let records = text.lines().filter(|line| line.starts_with("| offset:")).count();
    assert!(records >= records_at_least, "{records} of {records_at_least}: {}", told());
    assert!(!text.contains(CARD) && text.contains(STARRED), "{}", told());
}

/// A gateway whose topics `soak…` have cards, and whose buffers are poisoned: a byte of one that held something else shows.
fn setup() -> Setup {
    let policy = r#"
@id("use") permit (principal, action in [Action::"Read", Action::"Write", Action::"Describe"], resource);
@id("idempotent") permit (principal, action == Action::"IdempotentWrite", resource);
"#;
    let masks = "labels:
  pci: { method: keep-last, n: 4 }
rules:
  - { topics: [\"soak*\"], fields: { card.number: pci }, detect: { pci: [payment-card] } }
";
    Setup {
        policy: policy.to_owned(),
        masks: masks.to_owned(),
        more: "diagnostics: { poison.buffers: true }\n".to_owned(),
        ..Setup::default()
    }
}

#[test]
fn compacted_batches_keep_their_gaps() {
    let Some(front) = Front::start(setup()) else { return };
    let topic = unique("soak-compacted");
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    front.kafka.create_topic_with(&topic, 1, &configs);
    let producer = Family::Java
        .producer(&front.access(&ALICE), &[("compression.type", "zstd"), ("linger.ms", "100")]);
    let sent: Vec<Record> = (0..200)
        .map(|number| Record {
            key: Some(format!("key {}", if number % 3 == 0 { number } else { 1 }).into_bytes()),
            ..Record::of(format!(r#"{{"id":{number},"card":{{"number":"{CARD}"}}}}"#))
        })
        .collect();
    assert!(producer.send(&topic, &sent).iter().all(Result::is_ok));
    // A segment is compacted once another has begun; nobody tells when that is done.
    let deadline = Instant::now() + PATIENCE;
    let consumed = |person: &Person, family: Family, count: usize| {
        let consumer = family.consumer(&front.access(person), &[("check.crcs", "true")]);
        consumer.assign(&topic, 0);
        consumer.poll(count, PATIENCE / 12).records
    };
    let has_gaps = || {
        let records = whole(&mut front.kafka.connect(), &topic);
        let counted = |batch: &[u8]| i32::from_be_bytes(batch[57..61].try_into().unwrap());
        let last_delta = |batch: &[u8]| i32::from_be_bytes(batch[23..27].try_into().unwrap());
        let batches = batches(&records);
        batches.iter().any(|batch| counted(batch) > 1 && last_delta(batch) + 1 > counted(batch))
    };
    while !has_gaps() {
        assert!(Instant::now() < deadline, "Kafka does not compact");
        producer.send(&topic, &[Record { key: Some(b"more".to_vec()), ..Record::of("{}") }]);
        std::thread::sleep(Duration::from_millis(300));
    }
    let end = end_of(&mut front.kafka.connect(), &topic);
    for family in FAMILIES {
        let records = consumed(&ANALYST, family, usize::try_from(end).unwrap());
        let of_first: Vec<&Record> =
            records.iter().filter(|record| record.offset < Some(200)).collect();
        assert!((60..200).contains(&of_first.len()), "{family:?}: {}", of_first.len());
        for record in of_first {
            let number = record.offset.unwrap();
            assert!(number % 3 == 0 || number == 199, "{number} was compacted away");
            let expected = format!(r#"{{"id":{number},"card":{{"number":"{STARRED}"}}}}"#);
            assert_eq!(record.text(), expected, "{family:?}");
        }
    }
    let masked = whole(&mut front.connect_as(&ANALYST), &topic);
    dump(&masked, batches(&masked).len(), 60);
}

#[test]
fn random_batches_come_through_whole() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("SLUICEGATE_SOAK_SECONDS").unwrap_or(15);
    let Some(front) = Front::start(setup()) else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let began = Instant::now();
    let mut seed = number("SLUICEGATE_SEED").unwrap_or(now.unsigned_abs());
    let (mut rounds, mut records) = (0, 0);
    while rounds == 0 || began.elapsed() < Duration::from_secs(seconds) {
        eprintln!("soak: SLUICEGATE_SEED={seed}");
        let round = Round::write(&front, &mut Dice(seed), now);
        round.read(&front);
        records += round.expected.len();
        rounds += 1;
        seed = seed.wrapping_add(1);
        front.kafka.delete_topic(&round.topic);
    }
    eprintln!("soak: {rounds} rounds, {records} records, {} s", began.elapsed().as_secs());
    let (text, code) = front.gateway().run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}
