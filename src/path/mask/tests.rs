//! Rows for the records of a partition under a plan.

use bytes::Bytes;
use sluicegate_actors::masking::{Direction, Keys, RulesFile, compile};

use super::*;
use crate::kafka::batch::record::{self, Record};
use crate::kafka::batch::write::{NewBatch, NewRecord};
use crate::kafka::batch::{Codec, HEADER_BYTES, summarise};

const RULES: &str = "
labels:
  pci: { method: keep-last, n: 4 }
  pii: { method: redact }
rules:
  - topics: [payments]
    fields: { card.number: pci }
    detect: { pii: [email] }
";

fn plan() -> Screen {
    let files = [RulesFile { name: "masks.yaml", text: RULES }];
    compile(&files, &Keys::default())
        .unwrap()
        .plan("payments", Direction::Read, |_| false)
        .unwrap()
        .into()
}

fn batch(base_offset: i64, codec: Codec, values: &[Option<&str>]) -> Bytes {
    let records: Vec<NewRecord> = values
        .iter()
        .zip(0..)
        .map(|(value, offset_delta)| NewRecord {
            offset_delta,
            value: value.map(|value| value.as_bytes().to_vec()),
            ..NewRecord::default()
        })
        .collect();
    NewBatch { base_offset, codec, ..NewBatch::default() }
        .write(&records, &mut Codecs::new())
        .unwrap()
}

fn values(records: &[u8]) -> Vec<Option<String>> {
    let mut values = Vec::new();
    for batch in Batches::new(records) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.header.codec, Codec::None);
        let mut rest = batch.payload();
        while let Some((start, end)) = record::frame(rest).unwrap() {
            let record = Record::read(&rest[start..end]).unwrap();
            values.push(record.value.map(|value| String::from_utf8(value.to_vec()).unwrap()));
            rest = &rest[end..];
            if rest.is_empty() {
                break;
            }
        }
    }
    values
}

const CARD: &str = r#"{"card":{"number":"4111111111111111"},"n":1}"#;
const CARD_MASKED: &str = r#"{"card":{"number":"************1111"},"n":1}"#;
const CLEAN: &str = r#"{"n":1}"#;
const WITHHELD_TEXT: &str = r#"{"x-masked":"withheld"}"#;

#[test]
fn values_are_masked_and_what_surrounds_them_stays() {
    let plan = plan();
    let clean = batch(10, Codec::None, &[Some(CLEAN), None]);
    let mixed = batch(20, Codec::None, &[Some(CARD), None, Some("no json"), Some(CLEAN)]);
    let records = Bytes::from([clean.clone(), clean.clone(), mixed, clean.clone()].concat());
    let masked = mask_records(&records, &plan, &mut MaskBuffers::new()).unwrap();
    let whole = masked.written.clone();
    assert!(whole.starts_with(&clean.repeat(2)) && whole.ends_with(&clean));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        values(&whole),
        [
            some(CLEAN),
            None,
            some(CLEAN),
            None,
            some(CARD_MASKED),
            None,
            some(WITHHELD_TEXT),
            some(CLEAN),
            some(CLEAN),
            None,
        ]
    );
    assert_eq!(masked.counts, MaskCounts { labels: vec![1], withheld: 1 });
    assert_eq!((masked.batches_changed, masked.dropped_bytes, masked.error), (1, 0, None));
    let (before, after) =
        (summarise(&records).unwrap().unwrap(), summarise(&whole).unwrap().unwrap());
    assert_eq!((before.first_offset, before.last_offset, before.records), (10, 23, 10));
    assert_eq!((after.first_offset, after.last_offset, after.records), (10, 23, 10));
}

#[test]
fn keys_and_headers_are_masked_too() {
    let plan = plan();
    let record = NewRecord {
        key: Some(b"ann@example.com".to_vec()),
        value: Some(CLEAN.as_bytes().to_vec()),
        headers: vec![
            (b"from".to_vec(), Some(b"ann@example.com".to_vec())),
            (b"from".to_vec(), None),
            (b"bob@example.com".to_vec(), Some(b"\xff\x00".to_vec())),
        ],
        ..NewRecord::default()
    };
    let records = NewBatch::default().write(&[record], &mut Codecs::new()).unwrap();
    let masked = mask_records(&records, &plan, &mut MaskBuffers::new()).unwrap();
    let whole = masked.written;
    let (start, end) = record::frame(&whole[HEADER_BYTES..]).unwrap().unwrap();
    let read = Record::read(&whole[HEADER_BYTES..][start..end]).unwrap();
    assert_eq!(read.key, Some(b"[masked]".as_slice()));
    let headers: Vec<_> = read
        .headers()
        .map(|header| header.unwrap())
        .map(|header| (header.name, header.value))
        .collect();
    assert_eq!(
        headers,
        [
            (b"from".as_slice(), Some(b"[masked]".as_slice())),
            (b"from", None),
            (b"[masked]", Some(b"\xff\x00")),
        ]
    );
    let labels: Vec<_> =
        plan.mask.as_ref().unwrap().labels().iter().map(|label| &**label).collect();
    assert_eq!((labels, masked.counts.labels), (vec!["pci", "pii"], vec![0, 3]));
}

#[test]
fn every_codec_is_masked() {
    let plan = plan();
    let mut buffers = MaskBuffers::new();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let card = batch(1, codec, &[Some(CARD), Some(CLEAN)]);
        let clean = batch(3, codec, &[Some(CLEAN); 3]);
        let records = Bytes::from([card, clean.clone()].concat());
        let masked = mask_records(&records, &plan, &mut buffers).unwrap();
        assert_eq!(masked.counts, MaskCounts { labels: vec![1], withheld: 0 }, "{codec}");
        assert!(masked.written.ends_with(&clean), "{codec}: an untouched batch keeps its bytes");
        // Masking the masked changes it again to itself: the rest of it was read as it should be.
        let again = mask_records(&masked.written, &plan, &mut buffers).unwrap();
        assert_eq!(again.written, masked.written);
    }
}

#[test]
fn what_cannot_be_read_is_not_delivered() {
    let plan = plan();
    let mut buffers = MaskBuffers::new();
    let good = batch(1, Codec::None, &[Some(CARD)]);
    // An incomplete batch at the end.
    for cut in 0..good.len() {
        let records = Bytes::from([&good[..], &good[..cut]].concat());
        let masked = mask_records(&records, &plan, &mut buffers).unwrap();
        assert_eq!(values(masked.bytes(&records)), [Some(CARD_MASKED.to_owned())]);
        assert_eq!((masked.dropped_bytes, masked.error), (cut, None));
        let masked = mask_records(&good[..cut], &plan, &mut buffers).unwrap();
        assert_eq!((masked.bytes(&good[..cut]).len(), masked.dropped_bytes), (0, cut));
    }
    // A batch of an old format, and one whose checksum is wrong: alone, and behind a good one.
    let with = |at: usize, byte: u8| {
        let mut bad = good.to_vec();
        bad[at] = byte;
        bad
    };
    for bad in [with(16, 1), with(40, 0x55), with(22, 7), with(22, 4)] {
        let error = mask_records(&bad, &plan, &mut buffers).unwrap_err();
        let records = Bytes::from([&good[..], &bad].concat());
        let masked = mask_records(&records, &plan, &mut buffers).unwrap();
        assert_eq!(values(masked.bytes(&records)), [Some(CARD_MASKED.to_owned())]);
        assert_eq!(masked.dropped_bytes, bad.len());
        assert_eq!(masked.counts, MaskCounts { labels: vec![1], withheld: 0 });
        let behind = masked.error.unwrap();
        // The one names a place, which is another.
        assert_eq!(std::mem::discriminant(&behind), std::mem::discriminant(&error));
    }
}

#[test]
fn a_turn_is_bounded_and_small_batches_share_one() {
    let plan = plan();
    let mut buffers = MaskBuffers::new();
    let steps = |records: Bytes, buffers: &mut MaskBuffers| {
        let (mut mask, mut schemas) = (RecordsMask::new(&records, Vec::new()), Schemas::default());
        let mut step = || mask.step(&plan, buffers, &mut schemas).unwrap();
        (1..).find(|_| matches!(step(), Progress::Done(_))).unwrap()
    };
    let small = batch(1, Codec::None, &[Some(CARD)]);
    assert_eq!(steps(small.clone(), &mut buffers), 1);
    assert_eq!(steps(Bytes::from(small.repeat(100)), &mut buffers), 1);
    let thousands = steps(Bytes::from(small.repeat(10_000)), &mut buffers);
    assert!((20..200).contains(&thousands), "{thousands}");
    let long = batch(1, Codec::Zstd, &vec![Some(CARD); 40_000]);
    let steps = steps(long, &mut buffers);
    assert!((10..200).contains(&steps), "{steps}");
}

#[test]
fn records_that_are_masked_while_they_arrive_come_to_the_same() {
    let plan = plan();
    let long = format!(r#"{{"text":"{}"}}"#, "long ".repeat(60_000));
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let clean = batch(9, codec, &[Some(CLEAN); 9]);
        let mixed = batch(18, codec, &[Some(CLEAN), Some(CARD), Some("no json"), None]);
        let turns = batch(22, codec, &[Some(CARD), Some(&long), Some(CARD)]);
        let mut bad = mixed.to_vec();
        bad[60] ^= 0x55;
        let rows: [&[&[u8]]; 7] = [
            &[&clean, &mixed, &clean, &mixed, &clean],
            &[&clean, &clean],
            &[&turns, &mixed, &turns],
            &[&mixed, &mixed[..mixed.len() - 1]],
            &[&clean, &bad, &mixed],
            &[&bad, &mixed],
            &[&mixed, &[0; 70]],
        ];
        for (row, batches) in rows.iter().enumerate() {
            let came = batches.concat();
            let expected = mask_records(&came, &plan, &mut MaskBuffers::new());
            for piece in [1, 7, 61, 1_000, 100_000] {
                // Some pieces of one byte are enough.
                let first = if piece == 1 { came.len().saturating_sub(600) } else { 0 };
                let (mut begun, mut buffers) = (Begun::new(vec![POISON; 99]), MaskBuffers::new());
                for here in (first..came.len()).step_by(piece) {
                    let mut mask = begun.on(&came[..here], false);
                    while let Progress::More =
                        mask.step(&plan, &mut buffers, &mut Schemas::default()).unwrap()
                    {
                        buffers.codecs.spoil(POISON);
                    }
                    begun = mask.pause();
                    // Other records have their turn.
                    mask_records(&mixed, &plan, &mut buffers).unwrap();
                }
                let mut mask = begun.on(&came, true);
                let found = loop {
                    match mask.step(&plan, &mut buffers, &mut Schemas::default()) {
                        Ok(Progress::Done(masked)) => break Ok(masked),
                        Ok(Progress::More) => {}
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => break Err(error),
                    }
                };
                assert!(found == expected, "{codec}, row {row}, pieces of {piece}");
            }
        }
    }
}

/// What buffers hold where nothing was written to them.
const POISON: u8 = 0xa5;

/// The records of `came` masked by buffers and storage that were used before.
fn mask_again(came: &[u8], plan: &Screen, buffers: &mut MaskBuffers, used: Vec<u8>) -> Vec<u8> {
    let mut mask = RecordsMask::new(came, used);
    loop {
        buffers.codecs.spoil(POISON);
        match mask.step(plan, buffers, &mut Schemas::default()).unwrap() {
            Progress::Done(masked) => return masked.bytes(came).to_vec(),
            Progress::More | Progress::Waits | Progress::Behind => {}
        }
    }
}

#[test]
fn no_byte_of_other_records_shows_in_buffers_that_are_used_again() {
    let plan = plan();
    let secret = format!(r#"{{"card":{{"number":"{}"}}}}"#, "5EC2E7".repeat(8_000));
    let secret = secret.as_str();
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let big = batch(0, codec, &[Some(secret); 8]);
        let broken = {
            let mut bad = big.to_vec();
            bad[40] ^= 0x55;
            Bytes::from([&big[..], &bad].concat())
        };
        let (clean, mixed) = (
            batch(9, codec, &[Some(CLEAN); 9]),
            batch(18, codec, &[Some(CLEAN), Some(CARD), Some("no json"), None, Some(CARD)]),
        );
        let rows = [
            mixed.to_vec(),
            [&clean[..], &mixed, &clean, &mixed, &clean].concat(),
            [&mixed[..], &mixed[..mixed.len() - 1]].concat(),
            [&clean[..], &clean[..70]].concat(),
        ];
        let fresh = rows.clone().map(|came| {
            let masked = mask_records(&came, &plan, &mut MaskBuffers::new()).unwrap();
            masked.bytes(&came).to_vec()
        });
        let mut buffers = MaskBuffers::new();
        for round in 0..5 {
            // Before it the buffers masked other records, failed in them, or were taken away in the
            // middle of them; with what was written by then, all of it is used again.
            let mut used = Vec::new();
            let mut schemas = Schemas::default();
            match round {
                0 => used = mask_records(&big, &plan, &mut buffers).unwrap().written,
                1 => {
                    let masked = mask_records(&broken, &plan, &mut buffers).unwrap();
                    assert!(masked.error.is_some());
                    used = masked.written;
                }
                2 | 3 => {
                    let mut given_up = RecordsMask::new(&big, used);
                    for _ in 0..round {
                        let step = given_up.step(&plan, &mut buffers, &mut schemas);
                        assert!(matches!(step, Ok(Progress::More)), "{codec}: {step:?}");
                    }
                    used = given_up.pause().into_written();
                }
                _ => used = vec![POISON; 1 << 20],
            }
            for (came, fresh) in rows.iter().zip(&fresh) {
                let masked = mask_again(came, &plan, &mut buffers, used.clone());
                assert!(masked == *fresh, "{codec}, round {round}");
            }
        }
    }
}

#[test]
fn what_is_written_is_masked_or_refused_and_never_withheld() {
    let rules = "
labels:
  pci: { method: keep-last, n: 4 }
rules:
  - { topics: [t], on: [write], fields: { card: pci } }
  - { topics: [t], validate: { json-schema: '{\"required\":[\"id\"]}' } }
";
    let rules = compile(&[RulesFile { name: "t.yaml", text: rules }], &Keys::default()).unwrap();
    let screen = Screen {
        mask: rules.plan("t", Direction::Write, |_| false).map(Arc::new),
        demands: rules.demands("t"),
        refuses: true,
        ..Screen::default()
    };
    let good = [Some(r#"{"id":1,"card":"12345678"}"#), None, Some(r#"{"id":2}"#)];
    let bad = [Some(r#"{"id":1}"#), Some("{}"), None, Some("no json")];
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut buffers = MaskBuffers::new();
        let records = batch(7, codec, &good);
        let masked = mask_records(&records, &screen, &mut buffers).unwrap();
        assert!(masked.invalid.is_empty() && masked.batches_changed == 1, "{codec:?}");
        let masked = mask_records(&batch(0, codec, &bad), &screen, &mut buffers).unwrap();
        let told: Vec<(u32, &str)> =
            masked.invalid.iter().map(|it| (it.index, it.reason.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "/: \"id\" is a required property"),
                (3, "it is not one JSON document (line 1, column 2; at most 128 deep)"),
            ]
        );
        assert_eq!(masked.batches_changed, 0, "the batch is untouched");
    }
    // What the schema takes, and the mask cannot read.
    let only_mask = Screen { demands: Vec::new(), ..screen };
    let masked =
        mask_records(&batch(0, Codec::None, &bad), &only_mask, &mut MaskBuffers::new()).unwrap();
    let told: Vec<u32> = masked.invalid.iter().map(|it| it.index).collect();
    assert_eq!(told, [3]);
    assert!(masked.invalid[0].reason.starts_with("the value is masked"), "{masked:?}");
}

/// A record with a value, a key and headers.
fn full(value: &[u8], key: &[u8], headers: &[(&str, &[u8])]) -> NewRecord {
    NewRecord {
        value: Some(value.to_vec()),
        key: Some(key.to_vec()),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), Some(value.to_vec())))
            .collect(),
        ..NewRecord::default()
    }
}

type Nullable = Option<Vec<u8>>;

/// The parts of the only record of the only batch: key, value, values of headers.
fn parts_of(masked: &MaskedRecords) -> (Nullable, Nullable, Vec<Nullable>) {
    let batch = Batches::new(&masked.written).next().unwrap().unwrap();
    let (start, end) = record::frame(batch.payload()).unwrap().unwrap();
    let record = Record::read(&batch.payload()[start..end]).unwrap();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let headers = record.headers().map(|header| owned(header.unwrap().value)).collect();
    (owned(record.key), owned(record.value), headers)
}

#[test]
fn what_names_a_schema_stays_and_what_names_none_is_withheld() {
    use sluicegate_actors::masking::schema::frame::SchemaId;
    use sluicegate_actors::masking::schema::{Format, Schema, SchemaText};
    let rules = "
labels:
  pci: { method: keep-last, n: 4 }
  all: { method: drop }
rules:
  - { topics: [t], format: avro, key-format: avro, fields: { card: pci }, key: pci }
  - { topics: [t], only: { label: all, fields: [card], key: true } }
";
    let rules = compile(&[RulesFile { name: "t.yaml", text: rules }], &Keys::default()).unwrap();
    assert_eq!(rules.registry_place(), Some("t.yaml:6"));
    let mask = rules.plan("t", Direction::Read, |_| false).map(Arc::new);
    let screen = Screen { mask, reading: rules.reading("t"), ..Screen::default() };
    let text = r#"{"type":"record","name":"R","fields":[{"name":"card","type":"string"}]}"#;
    let text = SchemaText { format: Format::Avro, text: text.to_owned(), references: Vec::new() };
    let schema = Arc::new(Schema::compile(&text).unwrap());
    let guid = *b"4111111111111111";
    let json = SchemaText { format: Format::Json, text: "{}".to_owned(), references: Vec::new() };
    let found = vec![
        (SchemaId::Number(7), Arc::clone(&schema)),
        (SchemaId::Guid(guid), schema),
        (SchemaId::Number(8), Arc::new(Schema::compile(&json).unwrap())),
    ];
    let named = |id: u8, rest: &[u8]| [&[0, 0, 0, 0, id], rest].concat();
    let by_guid = [&[1], &guid[..]].concat();
    let withheld = || Some(WITHHELD.to_vec());
    type Row<'r> = (Vec<u8>, Vec<(&'r str, &'r [u8])>, Nullable, Vec<Nullable>);
    let (clear, starred) = (b"\x1012345678".as_slice(), b"\x10****5678".as_slice());
    let rows: [Row<'_>; 8] = [
        (named(7, clear), vec![], Some(named(7, starred)), vec![]),
        (named(9, clear), vec![], withheld(), vec![]),
        (named(8, b"{}"), vec![], withheld(), vec![]),
        (named(7, b"\x10123"), vec![], withheld(), vec![]),
        (b"{\"card\":\"12345678\"}".to_vec(), vec![], withheld(), vec![]),
        // The list of what may pass names no header; without this one nobody could read the value.
        (
            clear.to_vec(),
            vec![("x", b"gone"), (VALUE_HEADER, b"another"), (VALUE_HEADER, &by_guid)],
            Some(starred.to_vec()),
            vec![None, Some(by_guid.clone())],
        ),
        // A header by which nothing can be read is a header as any other.
        (clear.to_vec(), vec![(VALUE_HEADER, &guid)], withheld(), vec![]),
        (named(7, clear), vec![(VALUE_HEADER, &by_guid)], withheld(), vec![]),
    ];
    let mut buffers = MaskBuffers::new();
    for (value, headers, expected, expected_headers) in rows {
        let records = [full(&value, &named(7, clear), &headers)];
        let batch = NewBatch::default().write(&records, &mut Codecs::new()).unwrap();
        let mut schemas = Schemas::with(found.clone());
        let mut mask = RecordsMask::new(&batch, Vec::new());
        let step = mask.step(&screen, &mut buffers, &mut schemas).unwrap();
        let Progress::Done(masked) = step else { panic!("one turn is enough") };
        let told = format!("{} {headers:?}", value.escape_ascii());
        let key = Some(named(7, starred));
        assert_eq!(parts_of(&masked), (key, expected, expected_headers), "{told}");
    }
    // The same header on a topic without schemas, by the same buffers: it is masked as any other.
    let named_so = |value: &[u8]| full(b"{}", b"key", &[(VALUE_HEADER, value)]);
    let records = [full(clear, &named(7, clear), &[(VALUE_HEADER, &by_guid)])];
    let first = NewBatch::default().write(&records, &mut Codecs::new()).unwrap();
    let mut schemas = Schemas::with(found);
    RecordsMask::new(&first, Vec::new()).step(&screen, &mut buffers, &mut schemas).unwrap();
    let second = NewBatch::default().write(&[named_so(b"4@b.example.com")], &mut Codecs::new());
    let masked = mask_records(&second.unwrap(), &plan(), &mut buffers).unwrap();
    assert_eq!(parts_of(&masked).2, [Some(b"[masked]".to_vec())]);
}

#[test]
fn what_outgrows_the_bound_of_a_fetch_ends_earlier() {
    use crate::kafka::found::Partition;
    use crate::path::masking::{Done, Outcome, fit};
    let one = batch(0, Codec::None, &[Some(CARD_MASKED)]);
    let partition = |size: usize| {
        let mut partition = Partition::default();
        partition.records.start = 100;
        partition.records.end = 100 + u32::try_from(size).unwrap();
        partition
    };
    let done = |partition: usize, batches: usize| Done {
        partition,
        outcome: Outcome::Rewritten(one.repeat(batches).into()),
        masked: Vec::new(),
        withheld: 0,
    };
    // What came, what it became, in batches; the bound, in bytes; what is left, in batches.
    let size = one.len();
    type Row<'r> = (&'r [usize], &'r [usize], usize, &'r [usize]);
    let rows: [Row<'_>; 6] = [
        (&[3 * size - 9], &[3], 3 * size, &[3]),
        (&[3 * size - 9], &[3], 3 * size - 1, &[2]),
        (&[size - 9], &[1], size - 9, &[1]),
        (&[size, size - 9], &[1, 1], 2 * size - 1, &[1, 0]),
        (&[2 * size - 9, 3 * size - 9], &[2, 3], size, &[1, 0]),
        (&[0, size - 9, size - 9], &[0, 1, 2], size, &[0, 1, 0]),
    ];
    for (came, became, bound, left) in rows {
        let partitions: Vec<Partition> = came.iter().map(|size| partition(*size)).collect();
        let mut masked: Vec<Done> =
            became.iter().enumerate().map(|(place, batches)| done(place, *batches)).collect();
        fit(&mut masked, &partitions, bound);
        let sizes: Vec<usize> = masked.iter().map(|done| done.delivers(&[]).len()).collect();
        let left: Vec<usize> = left.iter().map(|batches| batches * size).collect();
        assert_eq!(sizes, left, "{came:?} became {became:?} within {bound}");
    }
    // What was not masked stays, whatever else does.
    let kept = Done { outcome: Outcome::Kept, ..done(0, 0) };
    let mut masked = [kept, done(1, 1)];
    fit(&mut masked, &[partition(2 * size), partition(size - 9)], 2 * size);
    assert!(matches!(masked[0].outcome, Outcome::Kept) && masked[1].delivers(&[]).is_empty());
}
