//! Rows for batches: walking, summing up, rewriting with every codec. Hostile ones have a file of
//! their own.

mod hostile;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as crate_records;
use proptest::prelude::*;

use super::codec::{Codecs, DECOMPRESSED_BYTES_MAX};
use super::record::Record;
use super::rewrite::{BatchRewrite, Edit, Edited, Output, Part, Step};
use super::write::{NewBatch, NewRecord, SnappyForm};
use super::*;

pub(super) const CODECS: [Codec; 5] =
    [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Leaves everything as it is.
pub(super) struct Keep;

impl Edit for Keep {
    fn edit(&mut self, _: Part<'_>, _: &[u8]) -> Edited<'_> {
        Edited::Kept
    }
}

/// Writes parts that hold `x` in capitals, doubled; keeps what it has seen.
#[derive(Default)]
pub(super) struct Shout {
    out: Vec<u8>,
    pub(super) seen: Vec<(String, Vec<u8>)>,
}

impl Edit for Shout {
    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        self.seen.push((format!("{part:?}"), bytes.to_vec()));
        if !bytes.contains(&b'x') {
            return Edited::Kept;
        }
        self.out = shouted(bytes);
        Edited::Bytes(&self.out)
    }
}

/// Leaves out headers whose names begin with `b`; makes other parts that hold `x` null, but values short.
struct Clip;

impl Edit for Clip {
    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        match part {
            Part::HeaderName if bytes.starts_with(b"b") => Edited::Null,
            Part::Value if bytes.contains(&b'x') => Edited::Bytes(b"short"),
            Part::Key | Part::HeaderValue { .. } if bytes.contains(&b'x') => Edited::Null,
            _ => Edited::Kept,
        }
    }
}

fn clipped(mut record: NewRecord) -> NewRecord {
    let holds = |part: &Option<Vec<u8>>| part.as_ref().is_some_and(|part| part.contains(&b'x'));
    record.key = record.key.take_if(|key| !key.contains(&b'x'));
    if holds(&record.value) {
        record.value = Some(b"short".to_vec());
    }
    record.headers.retain(|(name, _)| !name.starts_with(b"b"));
    for (_, value) in &mut record.headers {
        *value = value.take_if(|value| !value.contains(&b'x'));
    }
    record
}

fn shouted(bytes: &[u8]) -> Vec<u8> {
    [bytes.to_ascii_uppercase(), bytes.to_ascii_uppercase()].concat()
}

pub(super) fn first(bytes: &Bytes) -> Batch<'_> {
    Batches::new(bytes).next().unwrap().unwrap()
}

/// Runs a batch through an edit to its end; counts the steps. `None` where it is unchanged.
pub(super) fn rewrite(
    codecs: &mut Codecs,
    batch: &Bytes,
    edit: &mut impl Edit,
    budget: usize,
) -> Result<(Option<Bytes>, usize), BatchError> {
    let mut rewrite = BatchRewrite::start(codecs, &first(batch), budget)?;
    let (before, ahead) = (b"what was written before", b"and what belongs in front");
    let mut written = before.to_vec();
    for steps in 1.. {
        let mut output = Output { written: &mut written, ahead };
        match rewrite.step(codecs, edit, &mut output)? {
            Step::More => {}
            Step::Unchanged => {
                assert_eq!(written, before);
                return Ok((None, steps));
            }
            Step::Changed => {
                let written = written.strip_prefix(before).unwrap();
                let batch = Bytes::copy_from_slice(written.strip_prefix(ahead).unwrap());
                return Ok((Some(batch), steps));
            }
        }
    }
    panic!("a rewrite ends");
}

pub(super) fn record(offset_delta: i32, key: Option<&str>, value: Option<&str>) -> NewRecord {
    NewRecord {
        offset_delta,
        timestamp_delta: i64::from(offset_delta) * 1_000 - 5,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// What the records of a batch are, read by the codecs.
pub(super) fn read_all(codecs: &mut Codecs, batch: &Bytes) -> Vec<NewRecord> {
    let plain = uncompressed(codecs, batch);
    let mut records = Vec::new();
    let mut rest = plain.as_slice();
    while !rest.is_empty() {
        let (start, end) = record::frame(rest).unwrap().unwrap();
        let read = Record::read(&rest[start..end]).unwrap();
        records.push(NewRecord {
            offset_delta: read.offset_delta,
            timestamp_delta: read.timestamp_delta,
            key: read.key.map(<[u8]>::to_vec),
            value: read.value.map(<[u8]>::to_vec),
            headers: read
                .headers()
                .map(|header| header.unwrap())
                .map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        });
        rest = &rest[end..];
    }
    records
}

fn uncompressed(codecs: &mut Codecs, batch: &Bytes) -> Vec<u8> {
    let batch = first(batch);
    if batch.header.codec == Codec::None {
        return batch.payload().to_vec();
    }
    codecs.start_decoding(batch.header.codec, batch.payload()).unwrap();
    let mut pull =
        || codecs.pull(batch.header.codec, batch.payload(), DECOMPRESSED_BYTES_MAX).unwrap();
    while pull() == codec::Pulled::More {}
    codecs.plain.bytes().to_vec()
}

fn sample() -> Vec<NewRecord> {
    let header = |name: &str, value: Option<&str>| {
        (name.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
    };
    let mut records = vec![
        record(0, Some("key"), Some("value")),
        record(1, None, Some("with x")),
        record(3, Some("x"), None),
        record(4, Some(""), Some("")),
        record(9, Some("key"), Some(&"long ".repeat(5_000))),
        record(10, Some("x"), Some(&"x and long ".repeat(3_000))),
    ];
    records[0].headers =
        vec![header("trace", Some("1")), header("trace", Some("2x")), header("trace", None)];
    records[3].headers = vec![header("x", None), header("", Some(""))];
    records[4].headers = vec![header("trace", Some("same")), header("trace", Some("same"))];
    records
}

fn shouted_sample() -> Vec<NewRecord> {
    let mut records = sample();
    let edit = |part: &mut Vec<u8>| {
        if part.contains(&b'x') {
            *part = shouted(part);
        }
    };
    for record in &mut records {
        record.key.iter_mut().chain(record.value.iter_mut()).for_each(edit);
        for (name, value) in &mut record.headers {
            edit(name);
            value.iter_mut().for_each(edit);
        }
    }
    records
}

pub(super) fn header_of(codec: Codec, snappy: SnappyForm) -> NewBatch {
    NewBatch {
        base_offset: 1_234_567_890_123,
        leader_epoch: 7,
        codec,
        flags: 0x18,
        base_timestamp: 1_763_764_800_000,
        producer_id: 4_711,
        producer_epoch: 3,
        base_sequence: 99,
        snappy,
    }
}

#[test]
fn every_codec_keeps_untouched_batches_and_rewrites_others() {
    let mut codecs = Codecs::new();
    let forms = CODECS.map(|codec| (codec, SnappyForm::Xerial));
    for (codec, snappy) in forms.into_iter().chain([(Codec::Snappy, SnappyForm::Raw)]) {
        // Twice on the same contexts.
        for _ in 0..2 {
            let new = header_of(codec, snappy);
            let batch = new.write(&sample(), &mut codecs).unwrap();
            let (step, _) = rewrite(&mut codecs, &batch, &mut Keep, 1 << 20).unwrap();
            assert_eq!(step, None, "{codec}");
            assert_eq!(read_all(&mut codecs, &batch), sample(), "{codec}");
            let (step, _) = rewrite(&mut codecs, &batch, &mut Shout::default(), 1 << 20).unwrap();
            let Some(changed) = step else { panic!("{codec} is not changed") };
            assert_eq!(read_all(&mut codecs, &changed), shouted_sample(), "{codec}");
            let (before, after) = (first(&batch), first(&changed));
            after.check_crc().unwrap();
            assert_eq!(after.span, 0..changed.len());
            assert_eq!(Header { crc: before.header.crc, ..after.header }, before.header, "{codec}");
            assert_eq!(before.header.producer_id, 4_711);
            assert_eq!(before.header.last_offset(), 1_234_567_890_133);
            assert!(before.header.is_transactional() && before.header.is_log_append_time());
            if codec == Codec::Snappy {
                let xerial = |batch: &Batch<'_>| batch.payload().starts_with(b"\x82SNAPPY\0");
                assert_eq!(xerial(&after), xerial(&before), "snappy stays in its form");
            }
        }
    }
}

#[test]
fn parts_are_shown_in_order_and_null_ones_are_not() {
    let mut records = vec![record(0, Some("k"), Some("v")), record(1, None, None)];
    records[0].headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)];
    let batch = NewBatch::default().write(&records, &mut Codecs::new()).unwrap();
    let mut shout = Shout::default();
    rewrite(&mut Codecs::new(), &batch, &mut shout, 0).unwrap();
    let seen: Vec<(&str, &[u8])> =
        shout.seen.iter().map(|(part, bytes)| (part.as_str(), bytes.as_slice())).collect();
    assert_eq!(
        seen,
        [
            ("Key", b"k".as_slice()),
            ("Value", b"v"),
            ("HeaderName", b"a"),
            ("HeaderValue { name: [97] }", b"1"),
            ("HeaderName", b"a"),
        ]
    );
}

/// `plain` as other writers compress it.
fn foreign(plain: &[u8]) -> [(Codec, &'static str, Vec<u8>); 9] {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::GzBuilder::new()
            .filename("name")
            .comment("c")
            .extra([1, 2])
            .write(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = |bytes: &[u8], info: lz4_flex::frame::FrameInfo| {
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    use lz4_flex::frame::{BlockMode, BlockSize, FrameInfo};
    let checked = FrameInfo::new()
        .content_checksum(true)
        .block_checksums(true)
        .block_size(BlockSize::Max256KB);
    let linked = FrameInfo::new()
        .block_mode(BlockMode::Linked)
        .content_size(u64::try_from(plain.len()).ok());
    let (front, back) = plain.split_at(plain.len() / 3);
    let xerial_twice = {
        let mut bytes = Vec::new();
        for part in [front, back] {
            bytes.extend_from_slice(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
            for block in part.chunks(10_000) {
                let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
                bytes.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(&block);
            }
        }
        bytes
    };
    [
        (Codec::Gzip, "one member with all fields", gzip(plain)),
        (
            Codec::Gzip,
            "two members and an empty one",
            [gzip(front), gzip(b""), gzip(back)].concat(),
        ),
        (Codec::Snappy, "raw", snap::raw::Encoder::new().compress_vec(plain).unwrap()),
        (Codec::Snappy, "xerial, begun twice", xerial_twice),
        (Codec::Lz4, "with checksums", lz4(plain, checked)),
        (Codec::Lz4, "linked blocks with their size", lz4(plain, linked)),
        (Codec::Zstd, "level 19", ::zstd::encode_all(plain, 19).unwrap()),
        (
            Codec::Zstd,
            "two frames",
            [::zstd::encode_all(front, 1).unwrap(), ::zstd::encode_all(back, 3).unwrap()].concat(),
        ),
        (Codec::Zstd, "one call", ::zstd::bulk::compress(plain, 3).unwrap()),
    ]
}

#[test]
fn what_other_writers_write_is_read() {
    let mut codecs = Codecs::new();
    for (codec, name, payload) in foreign(&plain_of(&sample())) {
        let batch = batch_of(codec, &payload, sample().len());
        assert_eq!(read_all(&mut codecs, &batch), sample(), "{codec}: {name}");
        let (step, _) = rewrite(&mut codecs, &batch, &mut Shout::default(), 1 << 20).unwrap();
        let Some(changed) = step else { panic!("{codec}: {name} is not changed") };
        assert_eq!(read_all(&mut codecs, &changed), shouted_sample(), "{codec}: {name}");
        // And what we write, others read.
        let payload = first(&changed).payload().to_vec();
        let read = match codec {
            Codec::Gzip => {
                let mut read = Vec::new();
                std::io::Read::read_to_end(
                    &mut flate2::read::GzDecoder::new(payload.as_slice()),
                    &mut read,
                )
                .unwrap();
                read
            }
            Codec::Lz4 => {
                let mut read = Vec::new();
                std::io::Read::read_to_end(
                    &mut lz4_flex::frame::FrameDecoder::new(payload.as_slice()),
                    &mut read,
                )
                .unwrap();
                assert_eq!(payload[4] & 0x20, 0x20, "blocks are independent");
                read
            }
            Codec::Zstd => ::zstd::decode_all(payload.as_slice()).unwrap(),
            Codec::Snappy if payload[0] != 0x82 => {
                snap::raw::Decoder::new().decompress_vec(&payload).unwrap()
            }
            _ => continue,
        };
        assert_eq!(read, plain_of(&shouted_sample()), "{codec}: {name}");
    }
}

/// Records as they are in an uncompressed batch.
pub(super) fn plain_of(records: &[NewRecord]) -> Vec<u8> {
    NewBatch::default().write(records, &mut Codecs::new()).unwrap()[HEADER_BYTES..].to_vec()
}

/// A batch around a payload that somebody else compressed.
pub(super) fn batch_of(codec: Codec, payload: &[u8], count: usize) -> Bytes {
    let empty = NewBatch { flags: i16::from(codec.id()), ..NewBatch::default() };
    let mut batch = empty.write(&[], &mut Codecs::new()).unwrap().to_vec();
    batch[57..61].copy_from_slice(&i32::try_from(count).unwrap().to_be_bytes());
    batch.extend_from_slice(payload);
    sealed(batch)
}

/// The same bytes with length and CRC that fit.
pub(super) fn sealed(mut batch: Vec<u8>) -> Bytes {
    let length = i32::try_from(batch.len() - PREFIX_BYTES).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

#[test]
fn batches_are_walked_and_summed_up() {
    let mut codecs = Codecs::new();
    let one = header_of(Codec::Zstd, SnappyForm::Xerial).write(&sample(), &mut codecs).unwrap();
    let two = NewBatch { base_offset: 1_234_567_890_140, flags: 0x20, ..NewBatch::default() }
        .write(&[record(0, Some("k"), Some("v"))], &mut codecs)
        .unwrap();
    let mut records = [one.as_ref(), &two].concat();
    let whole = records.len();
    records.extend_from_slice(&one[..one.len() - 1]);
    let mut batches = Batches::new(&records);
    let spans: Vec<_> = batches.by_ref().map(|batch| batch.unwrap().span).collect();
    assert_eq!(spans, [0..one.len(), one.len()..whole]);
    assert_eq!(batches.trailing_bytes(), one.len() - 1);
    let summary = summarise(&records).unwrap().unwrap();
    assert_eq!(
        summary,
        Summary {
            first_offset: 1_234_567_890_123,
            last_offset: 1_234_567_890_140,
            batches: 2,
            records: 7,
            bytes: whole,
            producer_id: 4_711,
            producer_epoch: 3,
            base_sequence: 99,
            transactional: true,
            control: true,
            codec: Codec::Zstd,
            max_timestamp: 1_763_764_800_000 + 9_995,
        }
    );
    for cut in 0..one.len() {
        assert_eq!(summarise(&one[..cut]).unwrap(), None, "cut at {cut}");
    }
    assert_eq!(summarise(b"").unwrap(), None);
}

#[test]
fn control_batches_and_empty_ones_stand() {
    let mut codecs = Codecs::new();
    let control = NewBatch { flags: 0x30, ..NewBatch::default() }
        .write(&[record(0, Some("x"), Some("x"))], &mut codecs)
        .unwrap();
    let empty = NewBatch { flags: 0x40, ..NewBatch::default() }.write(&[], &mut codecs).unwrap();
    let compressed = header_of(Codec::Zstd, SnappyForm::Raw).write(&[], &mut codecs).unwrap();
    for batch in [control, empty, compressed] {
        let mut shout = Shout::default();
        let (step, _) = rewrite(&mut codecs, &batch, &mut shout, 1 << 20).unwrap();
        assert_eq!(step, None);
        assert_eq!(shout.seen, []);
    }
}

#[test]
fn long_batches_take_many_short_steps() {
    let records: Vec<NewRecord> =
        (0..1_000).map(|index| record(index, Some("key"), Some(&"x1234567".repeat(256)))).collect();
    let mut codecs = Codecs::new();
    for codec in CODECS {
        let batch = header_of(codec, SnappyForm::Xerial).write(&records, &mut codecs).unwrap();
        let (step, steps) = rewrite(&mut codecs, &batch, &mut Shout::default(), 4 << 20).unwrap();
        let Some(changed) = step else { panic!("{codec} is not changed") };
        assert!((16..1_000).contains(&steps), "{codec} took {steps} steps for 2 MiB");
        let read = read_all(&mut codecs, &changed);
        assert_eq!(read.len(), 1_000);
        assert_eq!(read[999].value, Some(shouted(&b"x1234567".repeat(256))));
    }
}

#[test]
fn what_stays_is_compressed_in_turns_too() {
    /// Edits the last record but one.
    struct LateEdit(u32);
    impl Edit for LateEdit {
        fn begin(&mut self, index: u32, _: &Record<'_>) {
            self.0 = index;
        }
        fn edit(&mut self, part: Part<'_>, _: &[u8]) -> Edited<'_> {
            let is_late = self.0 == 999 && part == Part::Value;
            if is_late { Edited::Bytes(b"late") } else { Edited::Kept }
        }
    }
    let value = "x1234567".repeat(256);
    let records: Vec<NewRecord> =
        (0..1_001).map(|index| record(index, Some("key"), Some(&value))).collect();
    let mut codecs = Codecs::new();
    for codec in CODECS {
        let batch = header_of(codec, SnappyForm::Raw).write(&records, &mut codecs).unwrap();
        let mut rewrite = BatchRewrite::start(&mut codecs, &first(&batch), 4 << 20).unwrap();
        let (mut written, mut edit, mut steps) = (Vec::new(), LateEdit(0), 0);
        loop {
            let read = rewrite.bytes_read();
            let mut output = Output { written: &mut written, ahead: &[] };
            let step = rewrite.step(&mut codecs, &mut edit, &mut output).unwrap();
            steps += usize::from(rewrite.bytes_read() == read);
            if step == Step::Changed {
                break;
            }
        }
        // Once the last but one is read, the 2 MiB before it go to the encoder 128 KiB at a time.
        assert!(steps >= 12 || codec == Codec::None, "{codec}: {steps} steps for what stays");
        let read = read_all(&mut codecs, &Bytes::from(written));
        let mut expected = records.clone();
        expected[999].value = Some(b"late".to_vec());
        assert!(read == expected, "{codec}");
    }
}

#[test]
fn one_set_of_codecs_works_on_one_batch() {
    let mut codecs = Codecs::new();
    let batch = NewBatch::default().write(&sample(), &mut codecs).unwrap();
    let mut one = BatchRewrite::start(&mut codecs, &first(&batch), 0).unwrap();
    let mut two = BatchRewrite::start(&mut codecs, &first(&batch), 0).unwrap();
    let mut written = Vec::new();
    let mut output = Output { written: &mut written, ahead: &[] };
    let mixed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        one.step(&mut codecs, &mut Keep, &mut output)
    }));
    assert!(mixed.is_err(), "mixing two batches is a bug, and stops");
    let mut output = Output { written: &mut written, ahead: &[] };
    assert_eq!(two.step(&mut codecs, &mut Keep, &mut output), Ok(Step::Unchanged));
}

fn records() -> impl Strategy<Value = Vec<NewRecord>> {
    let bytes =
        || prop::option::of(prop::collection::vec(prop_oneof![Just(b'x'), any::<u8>()], 0..80));
    let header = ("[a-c]{1,3}", bytes()).prop_map(|(name, value)| (name.into_bytes(), value));
    let record =
        (any::<i32>(), any::<i32>(), bytes(), bytes(), prop::collection::vec(header, 0..4));
    prop::collection::vec(record, 1..20).prop_map(|records| {
        let mut offset = -1_i32;
        records
            .into_iter()
            .map(|(gap, time, key, value, headers)| {
                offset += 1 + (gap & 0x3);
                NewRecord {
                    offset_delta: offset,
                    timestamp_delta: i64::from(time),
                    key,
                    value,
                    headers,
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_crate_reads_what_we_write_and_we_what_it_writes(records in records(), base in 0_i64..1 << 40) {
        let mut codecs = Codecs::new();
        let new = NewBatch { base_offset: base, ..header_of(Codec::None, SnappyForm::Raw) };
        let batch = new.write(&records, &mut codecs).unwrap();
        let read = crate_records::RecordBatchDecoder::decode(&mut batch.clone()).unwrap().records;
        prop_assert_eq!(read.len(), records.len());
        for (theirs, ours) in read.iter().zip(&records) {
            prop_assert_eq!(theirs.offset, base + i64::from(ours.offset_delta));
            prop_assert_eq!(theirs.key.as_deref(), ours.key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), ours.value.as_deref());
            // It keeps one of headers with the same name; the last.
            for (name, value) in &theirs.headers {
                let last = ours.headers.iter().rev().find(|header| header.0 == name.as_bytes()).unwrap();
                prop_assert_eq!(value.as_deref(), last.1.as_deref());
            }
            prop_assert_eq!((theirs.producer_id, theirs.producer_epoch, theirs.transactional), (4_711, 3, true));
        }
        let mut written = BytesMut::new();
        let options = crate_records::RecordEncodeOptions { version: 2, compression: crate_records::Compression::None };
        crate_records::RecordBatchEncoder::encode(&mut written, &read, &options).unwrap();
        let written = written.freeze();
        let mut count = 0;
        for batch in Batches::new(&written) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let mut rest = batch.payload();
            while !rest.is_empty() {
                let (start, end) = record::frame(rest).unwrap().unwrap();
                let ours = Record::read(&rest[start..end]).unwrap();
                let theirs = &read[count];
                prop_assert_eq!(batch.header.base_offset + i64::from(ours.offset_delta), theirs.offset);
                prop_assert_eq!(ours.key, theirs.key.as_deref());
                prop_assert_eq!(ours.value, theirs.value.as_deref());
                prop_assert_eq!(usize::try_from(ours.header_count).unwrap(), theirs.headers.len());
                count += 1;
                rest = &rest[end..];
            }
        }
        prop_assert_eq!(count, read.len());
    }

    #[test]
    fn rewriting_edits_what_is_to_be_and_nothing_else(
        records in records(),
        codec in prop::sample::select(&CODECS[..]),
    ) {
        let mut codecs = Codecs::new();
        let batch = header_of(codec, SnappyForm::Raw).write(&records, &mut codecs).unwrap();
        let (step, _) = rewrite(&mut codecs, &batch, &mut Shout::default(), 1 << 20).unwrap();
        let mut expected = records;
        let mut edited = false;
        for record in &mut expected {
            let headers = record.headers.iter_mut().flat_map(|(name, value)| std::iter::once(name).chain(value));
            for part in record.key.iter_mut().chain(record.value.iter_mut()).chain(headers) {
                if part.contains(&b'x') {
                    *part = shouted(part);
                    edited = true;
                }
            }
        }
        match step {
            Some(changed) => prop_assert_eq!(read_all(&mut codecs, &changed), expected),
            None => prop_assert!(!edited),
        }
    }

    #[test]
    fn rewriting_leaves_out_what_is_to_be_and_nothing_else(
        records in records(),
        codec in prop::sample::select(&CODECS[..]),
    ) {
        let mut codecs = Codecs::new();
        let batch = header_of(codec, SnappyForm::Raw).write(&records, &mut codecs).unwrap();
        let (step, _) = rewrite(&mut codecs, &batch, &mut Clip, 1 << 20).unwrap();
        let expected: Vec<NewRecord> = records.iter().cloned().map(clipped).collect();
        match step {
            Some(changed) => prop_assert_eq!(read_all(&mut codecs, &changed), expected),
            None => prop_assert_eq!(records, expected),
        }
    }
}
