//! Any record batches: surveyed, read, masked.

use bytes::Bytes;
use sluicegate::kafka::batch::arriving::Arriving;
use sluicegate::kafka::batch::codec::{Codecs, DECOMPRESSED_BYTES_MAX};
use sluicegate::kafka::batch::{
    Batch, BatchError, Batches, HEADER_BYTES, PREFIX_BYTES, Summary, summarise,
};
use sluicegate::path::mask::{MaskBuffers, MaskedRecords, mask_records};
use sluicegate_actors::masking::method::WITHHELD;
use sluicegate_actors::masking::{Masked, Scratch};

use crate::budget;
use crate::input::{Choices, seeded};
use crate::world::{MASK, SCREEN};

/// Records of any content. A survey of them is the same whole and in pieces; reading them stays within its budget; masked,
/// they are batches of the same records at the same offsets, and each part is what the plan alone makes of it.
pub fn batch(data: &[u8]) {
    let Some((seed, records)) = seeded(data) else { return };
    let mut choices = Choices::new(seed);
    // What lies behind a checksum would hardly ever be reached by chance.
    let records = if seed & 3 == 0 { records.to_vec() } else { sealed(records) };
    survey(&records, &mut choices);
    let limit = reading_bytes_max(records.len());
    let plain = budget::within("reading", limit, || plain_bytes(&records));
    let limit = masking_bytes_max(records.len(), plain);
    let all = Bytes::from(records);
    let mut buffers = MaskBuffers::new();
    let masked = budget::within("masking", limit, || mask_records(&all, &SCREEN, &mut buffers));
    let Ok(masked) = masked else { return };
    let delivered = assert_same_records(&all, &masked);
    let came = all.get(..all.len() - masked.dropped_bytes).unwrap_or_default();
    let expected = parts(came, |part, bytes| {
        let mut scratch = Scratch::new();
        let masked = match part {
            Part::Value => MASK.mask_value(bytes, &mut scratch),
            Part::Text => MASK.mask_text(bytes, &mut scratch),
        };
        match masked {
            Masked::Unchanged => bytes.to_vec(),
            Masked::Changed(masked) => masked.to_vec(),
            Masked::Withheld => WITHHELD.to_vec(),
            // No rule of these leaves anything out.
            Masked::Null => Vec::new(),
        }
    });
    let delivered = parts(&delivered, |_, bytes| bytes.to_vec());
    if let (Some(expected), Some(delivered)) = (expected, delivered) {
        assert!(expected == delivered, "{expected:?} was delivered as {delivered:?}");
    }
}

/// The same bytes as batches whose lengths, formats and checksums are right.
fn sealed(records: &[u8]) -> Vec<u8> {
    let mut records = records.to_vec();
    let mut rest = records.as_mut_slice();
    while rest.len() >= HEADER_BYTES {
        let declared = rest.get(LENGTH_AT..).and_then(|rest| rest.first_chunk().copied());
        let declared = usize::try_from(i32::from_be_bytes(declared.unwrap_or_default()));
        let declared = declared.unwrap_or(usize::MAX).saturating_add(PREFIX_BYTES);
        let size = if declared < HEADER_BYTES { rest.len() } else { declared.min(rest.len()) };
        let (batch, others) = rest.split_at_mut(size);
        let length = i32::try_from(size - PREFIX_BYTES).unwrap_or(i32::MAX);
        put(batch, LENGTH_AT, &length.to_be_bytes());
        put(batch, MAGIC_AT, &[2]);
        let crc = crc_fast::crc32_iscsi(batch.get(CRC_FROM..).unwrap_or_default());
        put(batch, CRC_AT, &crc.to_be_bytes());
        rest = others;
    }
    records
}

fn put(batch: &mut [u8], at: usize, bytes: &[u8]) {
    let place = batch.get_mut(at..at + bytes.len());
    place.expect("a batch has a header").copy_from_slice(bytes);
}

/// The survey of whole records, and of records as they arrive.
fn survey(records: &[u8], choices: &mut Choices) {
    let whole = budget::within("a survey", 0, || summarise(records));
    for needs_whole in [false, true] {
        let arrived =
            budget::within("a survey of pieces", 0, || arrive(records, needs_whole, choices));
        assert_eq!(arrived, whole, "a survey of pieces comes to another end");
    }
}

fn arrive(
    records: &[u8],
    needs_whole: bool,
    choices: &mut Choices,
) -> Result<Option<Summary>, BatchError> {
    let mut arriving = Arriving::new(0, records.len());
    let mut summary = None;
    let step = 1 + choices.below(256);
    let (mut base, mut here) = (0, 0);
    while !arriving.is_read() {
        here = (here + 1 + choices.below(step)).min(records.len());
        let window = records.get(base..here).unwrap_or_default();
        let reached = arriving.read(base, window, needs_whole, &mut summary)?;
        assert!(base <= reached.upto && reached.upto <= here, "{reached:?} of {base}..{here}");
        assert!(here < records.len() || arriving.is_read(), "{reached:?} of all");
        base = reached.upto;
    }
    Ok(summary)
}

/// What of a record no mask changes.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    attributes: i8,
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
    has_value: bool,
    header_values: Vec<bool>,
}

/// The decompressed bytes of all whole batches; `None` where one of them is more than this target reads, or unreadable.
fn plain_bytes(records: &[u8]) -> Option<usize> {
    let mut codecs = Codecs::new();
    let mut all = 0;
    let mut readable = true;
    for batch in Batches::new(records).map_while(Result::ok) {
        let read = codecs.each_record(&batch, PLAIN_BYTES_MAX, |record| {
            let size = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
            let headers = record.headers().map_while(Result::ok);
            let headers = headers.map(|it| 2 + it.name.len() + size(it.value)).sum::<usize>();
            all += RECORD_BYTES_MIN + size(record.key) + size(record.value) + headers;
        });
        readable &= read.is_ok();
    }
    readable.then_some(all)
}

/// What of a batch's records no mask changes.
fn shapes(batch: &Batch<'_>, codecs: &mut Codecs) -> Result<Vec<Shape>, BatchError> {
    let mut shapes = Vec::new();
    codecs.each_record(batch, PLAIN_BYTES_MAX, |record| {
        let headers = record.headers().map_while(Result::ok);
        let header_values: Vec<bool> = headers.map(|header| header.value.is_some()).collect();
        assert_eq!(u32::try_from(header_values.len()), Ok(record.header_count));
        shapes.push(Shape {
            attributes: record.attributes,
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            has_key: record.key.is_some(),
            has_value: record.value.is_some(),
            header_values,
        });
    })?;
    Ok(shapes)
}

/// Holds what is delivered against what came, and returns it.
fn assert_same_records(came: &Bytes, masked: &MaskedRecords) -> Bytes {
    let delivered = Bytes::copy_from_slice(masked.bytes(came));
    let came = came.get(..came.len() - masked.dropped_bytes).expect("no more is dropped than came");
    let mut codecs = Codecs::new();
    let (mut before, mut after) = (Batches::new(came), Batches::new(&delivered));
    loop {
        let (before, after) = match (before.next(), after.next()) {
            (None, None) => break,
            (Some(Ok(before)), Some(Ok(after))) => (before, after),
            (before, after) => {
                assert!(before.is_none() && after.is_none(), "{before:?} became {after:?}");
                break;
            }
        };
        assert_eq!(after.check_crc(), Ok(()));
        let mut header = after.header;
        header.crc = before.header.crc;
        assert_eq!(header, before.header);
        // What is larger than this target reads was masked by the path's larger budget.
        if let (Ok(before), Ok(after)) = (shapes(&before, &mut codecs), shapes(&after, &mut codecs))
        {
            assert_eq!(before, after);
        }
    }
    assert_eq!(before.trailing_bytes(), 0, "a batch is delivered that is not whole");
    assert_eq!(after.trailing_bytes(), 0);
    delivered
}

/// What a mask is asked for.
#[derive(Clone, Copy)]
enum Part {
    Value,
    Text,
}

/// All parts of all records in order, each as `see` makes it; `None` where they are more than this target reads.
fn parts(records: &[u8], see: impl Fn(Part, &[u8]) -> Vec<u8>) -> Option<Vec<Option<Vec<u8>>>> {
    let mut codecs = Codecs::new();
    let mut parts = Vec::new();
    for batch in Batches::new(records) {
        let batch = batch.expect("what was masked reads as batches");
        let read = codecs.each_record(&batch, PLAIN_BYTES_MAX, |record| {
            parts.push(record.key.map(|key| see(Part::Text, key)));
            parts.push(record.value.map(|value| see(Part::Value, value)));
            for header in record.headers().map_while(Result::ok) {
                parts.push(Some(see(Part::Text, header.name)));
                parts.push(header.value.map(|value| see(Part::Text, value)));
            }
        });
        read.ok()?;
    }
    Some(parts)
}

/// The compressed bytes, contexts, and decompressed bytes that grow by doubling up to the budget, the old beside the new.
fn reading_bytes_max(records_bytes: usize) -> usize {
    CONTEXT_BYTES_MAX + 2 * PLAIN_BYTES_MAX + records_bytes
}

/// Beside that the tokens of a document, 32 bytes for each of its own, and the batch that is written; without `plain` only
/// the path's own budget is known, of which a rewritten batch may take twice as much.
fn masking_bytes_max(records_bytes: usize, plain: Option<usize>) -> usize {
    let plain = plain.map_or(4 * DECOMPRESSED_BYTES_MAX, |plain| 32 * plain);
    CONTEXT_BYTES_MAX + 4 * records_bytes + plain
}

/// What a batch may decompress to here: less than on the path, so that a bomb costs little time.
const PLAIN_BYTES_MAX: usize = 256 << 10;
/// Contexts of the codecs for reading and writing, and buffers of the mask.
const CONTEXT_BYTES_MAX: usize = 1 << 20;
const RECORD_BYTES_MIN: usize = 7;
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
