//! Who may not see a field reads it masked; everything else of a record batch stays what it was.

use std::io::Write;

use kafka_protocol::messages::FetchRequest;
use serde_json::Value;
use sluicegate_loadtest::broker::{self, Contents};
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, METADATA_VERSION, fetch, metadata,
};

use crate::support::clients::{FAMILIES, Family, Record};
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::records::{ZSTD, batch_of, batches, has_right_crc, lasting_header, zstd_bomb};
use crate::support::tokens::{ALICE, Person};
use crate::support::{PATIENCE, START_PATIENCE, unique};

const ANALYST: Person = Person { name: "anna", groups: &["analysts"] };
const AUDITOR: Person = Person { name: "otto", groups: &["auditors"] };

const CARD: &str = "4111111111111111";
const EMAIL: &str = "anna@example.com";
const WITHHELD: &str = r#"{"x-masked":"withheld"}"#;

/// Cards and e-mails of one topic: nobody sees e-mails, auditors see cards.
fn setup(topic: &str) -> Setup {
    let policy = format!(
        r#"
@id("use") permit (principal, action in [Action::"Read", Action::"Write", Action::"Describe"], resource);
@id("idempotent") permit (principal, action == Action::"IdempotentWrite", resource);
@id("cards") permit (principal in Group::"auditors", action == Action::"unmask", resource == Label::"pci")
  when {{ context.topic == "{topic}" }};
"#
    );
    let masks = format!(
        "labels:
  pci: {{ method: keep-last, n: 4 }}
  pii: {{ method: hash }}
rules:
  - topics: [{topic}]
    format: json
    fields: {{ card.number: pci, customer.email: pii }}
    detect: {{ pci: [payment-card], pii: [email] }}
"
    );
    Setup { policy, masks, ..Setup::default() }
}

fn document(number: usize) -> String {
    // Spaces, order, a number that no float holds and a duplicate key must survive.
    format!(
        r#"{{ "id":{number}.10000000000000000001,"card": {{"number":"{CARD}","month":7}}, "customer":{{"email":"{EMAIL}"}},
 "note":"paid with {CARD} by bob@example.org", "a":1,"a":2 }}"#
    )
}

#[test]
fn every_codec_is_masked_for_whom_it_must_be() {
    let topic = unique("payments");
    let Some(front) = Front::start(setup(&topic)) else { return };
    front.kafka.create_topic(&topic, 1);
    let sent: Vec<Record> = (0..200)
        .map(|number| Record {
            partition: Some(0),
            key: Some(format!("key {number}").into_bytes()),
            value: Some(document(number).into_bytes()),
            headers: vec![
                ("trace".to_owned(), Some(b"one".to_vec())),
                ("trace".to_owned(), Some(b"two".to_vec())),
            ],
            timestamp: Some(1_700_000_000_000 + i64::try_from(number).unwrap()),
            offset: None,
        })
        .collect();
    let mut expected = 0;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for family in FAMILIES {
            let config = [("compression.type", codec), ("linger.ms", "50")];
            let producer = family.producer(&front.access(&ALICE), &config);
            assert!(producer.send(&topic, &sent).iter().all(Result::is_ok), "{family:?} {codec}");
            expected += sent.len();
        }
    }
    for family in FAMILIES {
        for (person, sees_cards) in [(&ANALYST, false), (&AUDITOR, true)] {
            let consumer = family.consumer(&front.access(person), &[("check.crcs", "true")]);
            consumer.assign(&topic, 0);
            let polled = consumer.poll(expected, PATIENCE);
            assert_eq!(polled.records.len(), expected, "{family:?}: {:?}", polled.error);
            for (offset, received) in polled.records.iter().enumerate() {
                let original = &sent[offset % sent.len()];
                assert_eq!(received.offset, i64::try_from(offset).ok());
                assert_eq!(received.key, original.key);
                assert_eq!(received.headers, original.headers);
                assert_eq!(received.timestamp, original.timestamp);
                check_document(original.text(), received.text(), sees_cards);
            }
        }
    }
}

/// The masked text differs from the original in the masked places alone.
fn check_document(original: &str, masked: &str, sees_cards: bool) {
    assert!(!masked.contains(EMAIL) && !masked.contains("bob@"), "{masked}");
    assert_eq!(masked.contains(CARD), sees_cards, "{masked}");
    let value: Value = serde_json::from_str(masked).unwrap();
    let hash = value["customer"]["email"].as_str().unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{masked}");
    let stars = "************1111";
    let rebuilt = original.replace(EMAIL, hash);
    let rebuilt = if sees_cards { rebuilt } else { rebuilt.replace(CARD, stars) };
    // What a detector found in free text is replaced within its string; the rest of the string stays.
    let note = value["note"].as_str().unwrap();
    assert!(note.starts_with("paid with "), "{masked}");
    let original_note =
        format!("paid with {} by bob@example.org", if sees_cards { CARD } else { stars });
    assert_eq!(rebuilt.replace(&original_note, note), masked);
}

#[test]
fn what_cannot_be_read_is_withheld_and_tombstones_stay() {
    let topic = unique("payments");
    let Some(front) = Front::start(setup(&topic)) else { return };
    front.kafka.create_topic(&topic, 1);
    let rows: [(Option<&[u8]>, Option<&str>); 9] = [
        (None, None),
        (Some(b"{\"plain\":true}"), Some("{\"plain\":true}")),
        (Some(b"{\"card\":{\"number\":\"4111"), Some(WITHHELD)),
        (Some(b"no json 4111111111111111"), Some(WITHHELD)),
        (Some(b"\xff\xfe{\"a\":1}"), Some(WITHHELD)),
        (Some(b"{\"c\\u0061rd\":{\"number\":\"4111111111111111\"}}"), None),
        (Some(b"{\"note\":\"4111-1111-1111-1111\"}"), None),
        (Some(b"{\"card\":{\"number\":\"x\",\"number\":\"4111111111111111\"}}"), None),
        (Some(b"{\"note\":\"4111111111111112\"}"), Some("{\"note\":\"4111111111111112\"}")),
    ];
    let sent: Vec<Record> = rows
        .iter()
        .map(|(value, _)| Record {
            partition: Some(0),
            value: value.map(<[u8]>::to_vec),
            ..Record::default()
        })
        .collect();
    let producer = Family::Java.producer(&front.access(&ALICE), &[]);
    assert!(producer.send(&topic, &sent).iter().all(Result::is_ok));
    for family in FAMILIES {
        let consumer = family.consumer(&front.access(&ANALYST), &[]);
        consumer.assign(&topic, 0);
        let polled = consumer.poll(sent.len(), PATIENCE);
        assert_eq!(polled.records.len(), sent.len(), "{family:?}: {:?}", polled.error);
        for ((value, wanted), received) in rows.iter().zip(&polled.records) {
            let sent = String::from_utf8_lossy(value.unwrap_or_default());
            if value.is_none() {
                assert_eq!(received.value, None, "{family:?}");
                continue;
            }
            let text = received.text();
            match wanted {
                Some(wanted) => assert_eq!(text, *wanted, "{family:?}: {sent}"),
                // How the mask looks is the masker's; that the number is gone is the promise.
                None => {
                    assert!(!text.replace('-', "").contains(CARD), "{family:?}: {sent} → {text}")
                }
            }
        }
    }
}

#[test]
fn untouched_batches_keep_every_byte_and_rebuilt_ones_their_header() {
    let topic = unique("payments");
    let Some(front) = Front::start(setup(&topic)) else { return };
    front.kafka.create_topic(&topic, 1);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let config = [("compression.type", codec), ("linger.ms", "50")];
        let producer = Family::Java.producer(&front.access(&ALICE), &config);
        let clean: Vec<Record> =
            (0..50).map(|number| Record::of(format!("{{\"id\":{number}}}"))).collect();
        assert!(producer.send(&topic, &clean).iter().all(Result::is_ok));
        let dirty: Vec<Record> = (0..50).map(|number| Record::of(document(number))).collect();
        assert!(producer.send(&topic, &dirty).iter().all(Result::is_ok));
    }
    let fetch_all = |connection: &mut Connection| {
        let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 10 << 20 };
        let answer = connection.call(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
        answer.responses[0].partitions[0].records.clone().unwrap()
    };
    let original = fetch_all(&mut front.kafka.connect());
    let masked = fetch_all(&mut front.connect_as(&ANALYST));
    let (original, masked) = (batches(&original), batches(&masked));
    assert_eq!(original.len(), masked.len());
    let mut untouched = 0;
    for (original, masked) in original.iter().zip(&masked) {
        assert!(has_right_crc(masked));
        assert_eq!(lasting_header(original), lasting_header(masked));
        untouched += usize::from(original == masked);
    }
    // A client may split what it sends into more batches than one; half of them have nothing to mask.
    assert!(untouched >= 5 && untouched < original.len(), "{untouched} of {}", original.len());
}

#[test]
fn transactions_on_a_masked_topic_stay_transactions() {
    let topic = unique("payments");
    let Some(front) = Front::start(setup(&topic)) else { return };
    front.kafka.create_topic(&topic, 1);
    for family in FAMILIES {
        let identity = unique("writer");
        let producer = family.producer(&front.access(&ALICE), &[("transactional.id", &identity)]);
        producer.init_transactions().unwrap();
        for commit in [true, false, true] {
            producer.begin_transaction().unwrap();
            producer.send(&topic, &[Record::of(document(usize::from(commit)))]).remove(0).unwrap();
            if commit { producer.commit_transaction() } else { producer.abort_transaction() }
                .unwrap();
        }
    }
    for family in FAMILIES {
        let config = [("isolation.level", "read_committed"), ("check.crcs", "true")];
        let consumer = family.consumer(&front.access(&ANALYST), &config);
        consumer.assign(&topic, 0);
        let polled = consumer.poll(4, PATIENCE);
        assert_eq!(polled.records.len(), 4, "{family:?}: {:?}", polled.error);
        for record in &polled.records {
            check_document(&document(1), record.text(), false);
        }
    }
}

#[test]
fn a_fetch_keeps_its_bound_though_masks_are_longer() {
    let topic = unique("payments");
    let Some(front) = Front::start(setup(&topic)) else { return };
    front.kafka.create_topic(&topic, 1);
    let producer = Family::Java.producer(&front.access(&ALICE), &[("batch.size", "1")]);
    // A hash is longer than the address that it stands for.
    let sent: Vec<Record> = (0..40)
        .map(|number| Record::of(format!(r#"{{"id":{number},"customer":{{"email":"a@b.cd"}}}}"#)))
        .collect();
    assert!(producer.send(&topic, &sent).iter().all(Result::is_ok));
    let mut direct = front.kafka.connect();
    let mut masked = front.connect_as(&ANALYST);
    let read = |connection: &mut Connection, bytes_max: i32, at: i64| {
        let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max };
        let answer = connection.call(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, at)])).unwrap();
        answer.responses[0].partitions[0].records.clone().unwrap_or_default()
    };
    for bytes_max in [1, 150, 1_000, 2_000, 1 << 20] {
        let (mut at, mut rounds) = (0, 0);
        while at < 40 {
            let before = read(&mut direct, bytes_max, at);
            let records = read(&mut masked, bytes_max, at);
            let (came, delivered) = (batches(&before).len(), batches(&records).len());
            assert!(delivered >= 1 && delivered <= came, "{bytes_max}: {delivered} of {came}");
            let size: usize = batches(&records).iter().map(|batch| batch.len()).sum();
            assert!(size <= usize::try_from(bytes_max).unwrap() || delivered == 1, "{size}");
            at += i64::try_from(delivered).unwrap();
            rounds += 1;
        }
        assert!(rounds == 1 || bytes_max < 1 << 20);
    }
}

/// Bombs of about 1 MiB, by codec: each is far beyond what a batch may decompress to, but for snappy, which cannot be.
fn bombs() -> Vec<(&'static str, i16, Vec<u8>)> {
    let zeros = vec![0_u8; 16 << 20];
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let repeated = |bytes: &[u8]| bytes.repeat((1 << 20) / bytes.len() + 1);
    // One record of nothing but zeros, as large as what 1 MiB of snappy may hold.
    let record = [&[0xfe, 0xff, 0xff, 0x07, 0, 0, 0, 1][..], &vec![0; 20 << 20]].concat();
    vec![
        // 262,144 blocks of 128 KiB are 32 GiB.
        ("zstd", ZSTD, zstd_bomb(262_144)),
        ("gzip", 1, repeated(&gzip)),
        ("lz4", 3, repeated(&lz4)),
        ("snappy", 2, snap::raw::Encoder::new().compress_vec(&record).unwrap()),
    ]
}

#[test]
fn a_hundred_bombs_at_once_stay_within_their_budget() {
    let Some(kafka) = crate::support::kafka::Kafka::shared() else { return };
    if crate::support::front::is_direct() {
        return crate::support::skip("Kafka itself does not mask");
    }
    for (name, codec, bomb) in bombs() {
        let topic = unique("bombed");
        let quiet = unique("quiet");
        // A broker would look into the batch when it is produced; the null broker serves it as it is.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = bomb.len();
        let contents = Contents {
            topics: vec![topic.clone(), quiet.clone()],
            partitions: 1,
            record_bytes: 0,
            batch_records: 1,
            value: None,
            batch: Some(batch_of(codec, &bomb).into()),
            advertised: address,
        };
        std::thread::spawn(move || broker::run(&listener, contents));
        let setup = Setup { broker: Some(address), broker_login: None, ..setup(&topic) };
        let gateway = crate::support::gateway::Gateway::start(kafka, setup);
        let front = Front { kafka, gateway: Some(gateway) };
        let gateway = front.gateway();
        let before = gateway.resident_bytes();
        let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
        let connections: Vec<Connection> = (0..100).map(|_| front.connect_as(&ANALYST)).collect();
        let mut other = front.connect_as(&ANALYST);
        let asked = std::time::Instant::now();
        let fetches: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let topic = topic.clone();
                std::thread::spawn(move || {
                    connection.send(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
                    // Either is right: the batch withheld, or the connection ended; never the bomb itself.
                    let Ok((_, answer)) = connection.receive::<FetchRequest>(FETCH_VERSION) else {
                        return;
                    };
                    let partition = &answer.responses[0].partitions[0];
                    let bytes = partition.records.as_ref().map_or(0, bytes::Bytes::len);
                    assert!(bytes < 100_000, "{bytes} bytes were passed");
                })
            })
            .collect();
        // Somebody else's requests meanwhile.
        let mut latencies = Vec::new();
        while !fetches.iter().all(std::thread::JoinHandle::is_finished) {
            let began = std::time::Instant::now();
            other.call(METADATA_VERSION, &metadata(Some(&[&quiet]))).unwrap();
            latencies.push(began.elapsed());
        }
        let elapsed = asked.elapsed();
        fetches.into_iter().for_each(|fetch| fetch.join().unwrap());
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
        let grown = gateway.resident_bytes_peak().saturating_sub(before);
        eprintln!(
            "100 bombs of {name}, {bytes} bytes each: {elapsed:?}, grown by {} MiB at the most, {} requests beside them: \
             p50 {:?}, p99 {:?}, worst {:?}",
            grown >> 20,
            latencies.len(),
            at(50),
            at(99),
            latencies.last(),
        );
        // All frames at once, and on each of two shards what may be decompressed at a time (F18), twice for what is made of it.
        let limit = 100 * (2 << 20) + 2 * 2 * (128 << 20);
        assert!(grown < limit, "{name}: grown by {} MiB", grown >> 20);
        assert!(elapsed < START_PATIENCE / 3, "{name}: {elapsed:?}");
        // A turn takes milliseconds; the rest is other processes on two cores.
        assert!(at(99) < Some(PATIENCE / 120), "{name}: {:?}", at(99));
        front.connect_as(&ANALYST);
    }
}
