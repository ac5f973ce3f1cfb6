//! Record batches byte by byte: what the gateway may change in them, and batches that no producer would make.

/// The header of a record batch with magic 2.
pub const HEADER_BYTES: usize = 61;

/// Where a batch's fields begin.
const LENGTH_AT: usize = 8;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const COUNT_AT: usize = 57;

/// Cuts a response's records into whole batches.
pub fn batches(mut records: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while records.len() >= HEADER_BYTES {
        let length = i32::from_be_bytes(records[LENGTH_AT..LENGTH_AT + 4].try_into().unwrap());
        let end = LENGTH_AT + 4 + usize::try_from(length).unwrap();
        if end > records.len() {
            break;
        }
        found.push(&records[..end]);
        records = &records[end..];
    }
    found
}

/// A batch's header without its length and CRC: what must stay where records are masked.
pub fn lasting_header(batch: &[u8]) -> Vec<u8> {
    let parts =
        [&batch[..LENGTH_AT], &batch[LENGTH_AT + 4..CRC_AT], &batch[CRC_AT + 4..HEADER_BYTES]];
    parts.concat()
}

/// Whether the CRC is that of what it covers.
pub fn has_right_crc(batch: &[u8]) -> bool {
    let stored = u32::from_be_bytes(batch[CRC_AT..CRC_AT + 4].try_into().unwrap());
    stored == crc32c(&batch[ATTRIBUTES_AT..])
}

/// A batch that says it holds one record, with these bytes as what the codec made of it.
pub fn batch_of(codec: i16, compressed: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; HEADER_BYTES];
    batch.extend_from_slice(compressed);
    let length = i32::try_from(batch.len() - LENGTH_AT - 4).unwrap();
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&codec.to_be_bytes());
    // No producer id, epoch, sequence.
    batch[43..COUNT_AT].fill(255);
    batch[COUNT_AT..HEADER_BYTES].copy_from_slice(&1_i32.to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The number of zstd in a batch's attributes.
pub const ZSTD: i16 = 4;

/// A zstd frame (RFC 8878) of `blocks` blocks, each of which stands for 128 KiB of zeros in four bytes.
pub fn zstd_bomb(blocks: usize) -> Vec<u8> {
    // Magic, a frame header without content size, a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 0..blocks {
        let last = u32::from(block + 1 == blocks);
        // Size, type 1 (one byte, repeated), last.
        let header = (128 * 1024) << 3 | 1 << 1 | last;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// CRC-32C, bit by bit: slow, and written here so that the gateway's own is held against something else.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
        crc
    })
}

#[test]
fn the_checksum_is_castagnoli_s() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

/// The same batch from the producer with this id, epoch and first sequence number.
pub fn numbered(batch: &[u8], id: i64, epoch: i16, sequence: i32) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}
