//! The walker against the oracle, and against what peers must not do.

use proptest::prelude::*;

use super::*;
use crate::kafka::exchange;
use crate::kafka::oracle;
use crate::kafka::samples::{
    Direction, Named, NamedTopic, Random, exchanges, frame, message, named,
};
use crate::kafka::schema::Meaning;

const DIRECTIONS: [Direction; 2] = [Direction::Request, Direction::Response];

/// Walks a frame from its header on, as a caller does.
fn walk(
    exchange: &'static Exchange,
    direction: Direction,
    frame: &[u8],
    found: &mut Found,
) -> Result<(), WalkError> {
    match direction {
        Direction::Request => {
            let header = request_header(frame)?;
            assert_eq!((header.key, header.version), (exchange.api.key, exchange.version));
            request(exchange, frame, header.body, found)
        }
        Direction::Response => {
            let (_, body) = response_header(exchange, frame)?;
            response(exchange, frame, body, found)
        }
    }
}

/// What was found, in the words of the samples.
fn found_names(frame: &[u8], found: &Found) -> Named {
    let text = |place: &Prefixed| place.text(frame).unwrap_or_default().to_owned();
    let topics = found.topics.iter().map(|topic| NamedTopic {
        list: Some(found.list_of(topic)),
        name: topic.name(frame).map(str::to_owned),
        id: topic.id(frame),
        error: i64::from(topic.error.0),
        partitions: found
            .partitions_of(topic)
            .iter()
            .map(|partition| {
                let records = &partition.records;
                let records = (!records.null).then(|| records.bytes(frame).to_vec());
                (i64::from(partition.index), i64::from(partition.error.0), records)
            })
            .collect(),
    });
    let endpoints = found.endpoints.iter();
    Named {
        topics: topics.collect(),
        groups: found.groups.iter().map(|group| text(&group.name)).collect(),
        keys: found.keys.iter().map(|key| text(&key.name)).collect(),
        endpoints: endpoints
            .map(|it| (i64::from(it.node), text(&it.host), i64::from(it.port)))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_the_oracle_reads(seed: u64) {
        let mut random = Random::new(seed);
        let mut found = Found::default();
        for (exchange, direction) in
            exchanges().flat_map(|exchange| DIRECTIONS.map(|direction| (exchange, direction)))
        {
            let what = format!("{} {} {direction:?}", exchange.api.name, exchange.version);
            let tree = message(exchange, direction, &mut random);
            let (bytes, body) = frame(exchange, direction, &tree);
            if oracle::knows(exchange) {
                let again = oracle::round_trip(exchange, direction, &bytes[body..]);
                prop_assert_eq!(again.as_deref(), Ok(&bytes[body..]), "the oracle on {}", &what);
            }
            let walked = walk(exchange, direction, &bytes, &mut found);
            prop_assert_eq!(walked, Ok(()), "the walk of {}", &what);
            prop_assert_eq!(found_names(&bytes, &found), named(&tree), "what {} names", &what);
            check_spans(&bytes, &found);
        }
    }

    #[test]
    fn reads_the_same_piece_by_piece(seed: u64) {
        let mut random = Random::new(seed);
        let (mut found, mut pieces) = (Found::default(), Found::default());
        for (exchange, direction) in
            exchanges().flat_map(|exchange| DIRECTIONS.map(|direction| (exchange, direction)))
        {
            let tree = message(exchange, direction, &mut random);
            let (bytes, body) = frame(exchange, direction, &tree);
            prop_assert_eq!(walk(exchange, direction, &bytes, &mut found), Ok(()));
            let mut walk = match direction {
                Direction::Request => Walk::request(exchange, bytes.len(), body),
                Direction::Response => Walk::response(exchange, bytes.len(), body),
            };
            pieces.clear();
            let (mut base, mut here) = (body, body);
            loop {
                here = (here + 1 + random.below(40)).min(bytes.len());
                // What was consumed is gone; records may be passed over before they are here.
                base = base.min(here);
                match walk.resume(base, &bytes[base..here], &mut pieces) {
                    Ok(Progress::Done) => break,
                    Ok(Progress::More { at }) => base = at,
                    Err(error) => prop_assert!(false, "{error}"),
                }
                prop_assert!(here < bytes.len() || base < bytes.len());
            }
            prop_assert_eq!(found_names(&bytes, &pieces), found_names(&bytes, &found));
            prop_assert_eq!(&pieces.lists, &found.lists);
            prop_assert_eq!(&pieces.topics, &found.topics);
        }
    }

    #[test]
    fn any_bytes_end_in_a_result(seed: u64, noise: Vec<u8>) {
        let mut random = Random::new(seed);
        let mut found = Found::default();
        for (exchange, direction) in
            exchanges().flat_map(|exchange| DIRECTIONS.map(|direction| (exchange, direction)))
        {
            let tree = message(exchange, direction, &mut random);
            let (mut bytes, body) = frame(exchange, direction, &tree);
            for byte in &noise {
                let at = body + random.below(u64::try_from(bytes.len() - body).unwrap().max(1));
                if let Some(place) = bytes.get_mut(at) {
                    *place = *byte;
                }
            }
            // Whatever it says, it returns, within its budget.
            let ended = walk(exchange, direction, &bytes, &mut found);
            prop_assert!(ended.is_ok() || ended.is_err());
            prop_assert!(found_bytes(&found) <= bytes.len() * 16 + 64 * 1024);
        }
    }
}

/// Elements lie in their lists, partitions in their topics, and all in the frame.
fn check_spans(frame: &[u8], found: &Found) {
    for topic in &found.topics {
        let list = found.lists[index(topic.list)];
        assert!(list.first <= topic.element.start && topic.element.end <= list.end);
        for partition in found.partitions_of(topic) {
            let list = topic.partition_list;
            assert!(list.first <= partition.element.start && partition.element.end <= list.end);
            assert!(topic.element.start <= list.at && list.end <= topic.element.end);
        }
        assert_eq!(topic.partition_list.count, topic.partitions.end - topic.partitions.first);
    }
    for list in &found.lists {
        assert!(list.at < list.first && list.first <= list.end && index(list.end) <= frame.len());
    }
    for tag in &found.tags {
        assert!(tag.at < tag.body.start && index(tag.body.end) <= frame.len());
    }
}

fn found_bytes(found: &Found) -> usize {
    found.topics.len() * size_of::<Topic>()
        + found.partitions.len() * size_of::<Partition>()
        + found.groups.len() * size_of::<Group>()
        + found.keys.len() * size_of::<Key>()
        + found.endpoints.len() * size_of::<Endpoint>()
        + found.lists.len() * size_of::<ListSpan>()
        + (found.texts.len() + found.blobs.len()) * size_of::<Text>()
}

#[test]
fn every_truncation_is_refused() {
    let mut random = Random::new(11);
    let mut found = Found::default();
    for (exchange, direction) in
        exchanges().flat_map(|exchange| DIRECTIONS.map(|direction| (exchange, direction)))
    {
        let tree = message(exchange, direction, &mut random);
        let (bytes, body) = frame(exchange, direction, &tree);
        let step = if bytes.len() > 2_000 { 37 } else { 1 };
        for end in (4..bytes.len()).step_by(step) {
            let mut cut = bytes[..end].to_vec();
            let what = || format!("{} {} at {end}", exchange.api.name, exchange.version);
            let declared = WalkError::FrameSize {
                actual: end - 4,
                declared: i32::try_from(bytes.len() - 4).unwrap(),
            };
            assert_eq!(walk(exchange, direction, &cut, &mut found), Err(declared), "{}", what());
            let size = i32::try_from(end - 4).unwrap();
            cut[..4].copy_from_slice(&size.to_be_bytes());
            if end >= body {
                assert!(walk(exchange, direction, &cut, &mut found).is_err(), "{}", what());
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        let size = i32::try_from(longer.len() - 4).unwrap();
        longer[..4].copy_from_slice(&size.to_be_bytes());
        let walked = walk(exchange, direction, &longer, &mut found);
        let expected = match direction {
            Direction::Request => Ok(()),
            Direction::Response => Err(WalkError::Trailing { count: 1 }),
        };
        assert_eq!((walked, found.trailing), (expected, 1), "{}", exchange.api.name);
    }
}

/// Walks a body behind a well-made request header and says how it ended.
fn body(key: i16, version: i16, body: &[u8]) -> String {
    let exchange = exchange(key, version).unwrap();
    let mut bytes = vec![0; 4];
    bytes.extend(key.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend(b"\0\x01c");
    if exchange.is_flexible() {
        bytes.push(0);
    }
    bytes.extend(body);
    let size = i32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    let mut found = Found::default();
    match walk(exchange, Direction::Request, &bytes, &mut found) {
        Ok(()) => format!("ok {} {}", found.topics.len(), found.unknown_tags),
        Err(WalkError::Wire(error)) => {
            format!("{error:?}").split([' ', '{']).next().unwrap().to_owned()
        }
        Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap().to_owned(),
    }
}

#[test]
fn hostile_bodies() {
    let rows: &[(&str, i16, i16, &[u8], &str)] = &[
        ("no topics", 3, 1, b"\0\0\0\0", "ok 0 0"),
        ("all topics", 3, 1, b"\xff\xff\xff\xff", "ok 0 0"),
        ("null where not allowed", 3, 0, b"\xff\xff\xff\xff", "Null"),
        ("one topic", 3, 1, b"\0\0\0\x01\0\x01a", "ok 1 0"),
        ("count of -2", 3, 1, b"\xff\xff\xff\xfe", "Length"),
        ("the largest count", 3, 1, b"\x7f\xff\xff\xff", "Count"),
        ("the largest count, compact", 3, 9, b"\xff\xff\xff\xff\x0f", "Count"),
        ("a varint of six bytes", 3, 9, b"\xff\xff\xff\xff\xff\x01", "Varint"),
        ("a varint beyond 32 bits", 3, 9, b"\xff\xff\xff\xff\x1f", "Varint"),
        ("name of length -2", 3, 1, b"\0\0\0\x01\xff\xfea", "Length"),
        ("name of length -1", 3, 1, b"\0\0\0\x01\xff\xffa", "Null"),
        ("name beyond the end", 3, 1, b"\0\0\0\x01\0\x02a", "Truncated"),
        ("name that is not utf-8", 3, 1, b"\0\0\0\x01\0\x01\xff", "Utf8"),
        ("trailing byte", 3, 1, b"\0\0\0\x01\0\x01aa", "ok 1 0"),
        ("bool of 2", 3, 4, b"\0\0\0\0\x02", "Bool"),
        ("unknown tag", 3, 12, b"\x01\x00\x00\x01\x07\x02ab", "ok 0 1"),
        ("two unknown tags", 3, 12, b"\x01\x00\x00\x02\x07\x00\x08\x00", "ok 0 2"),
        ("the same tag twice", 3, 12, b"\x01\x00\x00\x02\x07\x00\x07\x00", "TagOrder"),
        ("tags out of order", 3, 12, b"\x01\x00\x00\x02\x07\x00\x06\x00", "TagOrder"),
        ("more tags than bytes", 3, 12, b"\x01\x00\x00\xff\x7f", "Count"),
        ("a tag beyond the end", 3, 12, b"\x01\x00\x00\x01\x07\x03ab", "Truncated"),
        (
            "a known tag that is too short",
            1,
            15,
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x01\x01\x01\x02\0\0",
            "Truncated",
        ),
        (
            "a known tag with more than its field",
            1,
            15,
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x01\x01\x01\x0e\
              \0\0\0\x05\0\0\0\0\0\0\0\0\0\0",
            "TagSize",
        ),
        (
            "a replica in its tagged field",
            1,
            15,
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x01\x01\x01\x0d\
              \0\0\0\x05\0\0\0\0\0\0\0\0\0",
            "ok 0 0",
        ),
        ("records beyond the end", 0, 3, &produce(b"\x7f\xff\xff\xff"), "Truncated"),
        ("records of length -2", 0, 3, &produce(b"\xff\xff\xff\xfe"), "Length"),
        ("null records", 0, 3, &produce(b"\xff\xff\xff\xff"), "ok 1 0"),
    ];
    for (name, key, version, bytes, expected) in rows {
        assert_eq!(body(*key, *version, bytes), *expected, "{name}");
    }
}

/// A Produce v3 body with one partition whose records start with their length.
fn produce(records: &[u8]) -> Vec<u8> {
    let mut body = b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0".to_vec();
    body.extend(records);
    body
}

#[test]
fn hostile_structure_marks() {
    let exchange = exchange(68, 0).unwrap();
    let ended = |mark: &[u8]| {
        let mut bytes = b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x05".to_vec();
        bytes.extend(mark);
        let size = i32::try_from(bytes.len() - 4).unwrap();
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        walk(exchange, Direction::Response, &bytes, &mut Found::default())
    };
    assert_eq!(ended(b"\xff\0"), Ok(()));
    assert_eq!(ended(b"\x01\x01\0\0"), Ok(()));
    assert!(matches!(ended(b"\x02\x01\0\0"), Err(WalkError::Mark { mark: 2, .. })));
    assert!(matches!(ended(b"\0\0"), Err(WalkError::Mark { mark: 0, .. })));
    assert!(matches!(ended(b"\x01\0\0\0"), Err(WalkError::Null { .. })));
}

#[test]
fn hostile_headers() {
    let rows: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "Truncated"),
        ("half a prefix", b"\0\0", "Truncated"),
        ("prefix of 0", b"\0\0\0\0", "Truncated"),
        ("prefix of -1", b"\xff\xff\xff\xff", "FrameSize"),
        ("prefix of 2^31-1", b"\x7f\xff\xff\xff\0\x03", "FrameSize"),
        ("only a key", b"\0\0\0\x02\0\x03", "Truncated"),
        ("null client id", b"\0\0\0\x0a\0\x03\0\x00\0\0\0\x07\xff\xff", "ok"),
        ("client id of -2", b"\0\0\0\x0a\0\x03\0\x00\0\0\0\x07\xff\xfe", "Length"),
        ("unknown key", b"\0\0\0\x0a\x7f\xff\0\x00\0\0\0\x07\xff\xff", "ok"),
        ("flexible without tags", b"\0\0\0\x0a\0\x03\0\x09\0\0\0\x07\xff\xff", "Truncated"),
        ("flexible with tags", b"\0\0\0\x0b\0\x03\0\x09\0\0\0\x07\xff\xff\0", "ok"),
    ];
    for (name, bytes, expected) in rows {
        let ended = match request_header(bytes) {
            Ok(header) => {
                assert_eq!(header.correlation_id, 7, "{name}");
                "ok".to_owned()
            }
            Err(WalkError::Wire(error)) => format!("{error:?}"),
            Err(error) => format!("{error:?}"),
        };
        assert!(ended.starts_with(expected), "{name}: {ended}");
    }
    let mut long = b"\0\0\x01\x0b\0\x03\0\0\0\0\0\x07\x01\x01".to_vec();
    long.extend([b'c'; 257]);
    assert!(matches!(request_header(&long), Err(WalkError::ClientId { size: 257, .. })));
}

#[test]
fn work_is_bounded() {
    // 2,500,000 one-byte topic names in a frame of 5 MB; 60,000 partitions in 240 KB.
    let mut names = b"\xff\xff\xff\xff".to_vec();
    names[..4].copy_from_slice(&2_500_000_i32.to_be_bytes());
    names.extend(b"\0\x00".repeat(2_500_000));
    assert_eq!(body(3, 1, &names), "TooMany");
    let mut partitions = b"\0\x01g\0\0\0\x01\0\x01t".to_vec();
    partitions.extend(60_000_i32.to_be_bytes());
    partitions.extend([0; 240_000]);
    assert_eq!(body(9, 1, &partitions), "TooMany");
    // The largest honest request: 50,000 partitions of one topic, by index.
    let mut partitions = b"\0\x01g\0\0\0\x01\0\x01t".to_vec();
    partitions.extend(50_000_i32.to_be_bytes());
    partitions.extend([0; 200_000]);
    assert_eq!(body(9, 1, &partitions), "ok 1 0");
}

#[test]
fn finds_the_numbers_of_a_request() {
    let exchange = exchange(1, 12).unwrap();
    let mut random = Random::new(5);
    let tree = message(exchange, Direction::Request, &mut random);
    let (bytes, _) = frame(exchange, Direction::Request, &tree);
    let mut found = Found::default();
    walk(exchange, Direction::Request, &bytes, &mut found).unwrap();
    for meaning in [
        Meaning::ReplicaId,
        Meaning::MaxWaitMs,
        Meaning::MinBytes,
        Meaning::MaxBytes,
        Meaning::SessionId,
        Meaning::SessionEpoch,
    ] {
        let number = found.number(meaning).unwrap();
        let at = index(number.at);
        let there = i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(i64::from(there), number.value, "{meaning:?}");
    }
}

#[test]
fn the_oracle_knows_nearly_everything() {
    let unknown = exchanges().filter(|exchange| !oracle::knows(exchange));
    let unknown: Vec<_> = unknown.map(|it| (it.api.name, it.version)).collect();
    assert_eq!(unknown, ORACLE_IS_BEHIND);
}

/// What `kafka-protocol` 0.18 lacks; Kafka's own definitions cover it, where they are at hand.
const ORACLE_IS_BEHIND: [(&str, i16); 13] = [
    ("ListOffsets", 11),
    ("OffsetCommit", 10),
    ("OffsetFetch", 10),
    ("WriteTxnMarkers", 2),
    ("DescribeLogDirs", 5),
    ("ShareFetch", 2),
    ("ShareAcknowledge", 2),
    ("AddRaftVoter", 1),
    ("WriteShareGroupState", 1),
    ("ReadShareGroupStateSummary", 1),
    ("StreamsGroupHeartbeat", 0),
    ("StreamsGroupDescribe", 0),
    ("DescribeShareGroupOffsets", 1),
];

#[test]
fn tables_fit_the_walker() {
    let deepest = |exchange: &Exchange| {
        [&exchange.request, &exchange.response].into_iter().map(nesting).max().unwrap()
    };
    let depth = exchanges().map(deepest).max().unwrap();
    assert!(depth < limits::NESTING_MAX, "{depth}");
}

/// Arrays and tag sections that are open at once, at most.
fn nesting(plan: &Plan) -> usize {
    let mut open: Vec<usize> = Vec::new();
    let mut deepest = 0;
    for (at, op) in plan.ops.iter().enumerate() {
        open.retain(|end| *end > at);
        match op {
            Op::Array { after, .. } => open.push(*after),
            // The section and one tagged field in it.
            Op::NextTag { after, .. } => open.extend([*after, *after]),
            _ => {}
        }
        deepest = deepest.max(open.len() + 1);
    }
    deepest
}
