//! Writes batches from records: for tests, the demo, and what the gateway itself produces.

use bytes::Bytes;

use super::codec::Codecs;
use super::{BatchError, CRC_FROM, Codec, HEADER_BYTES, PREFIX_BYTES, record};

/// A record to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// From the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds from the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The key, or null.
    pub key: Option<Vec<u8>>,
    /// The value, or null.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order; names may repeat.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What a batch's header is to say beside what follows from its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBatch {
    /// The offset that deltas count from.
    pub base_offset: i64,
    /// The leader's epoch, or -1.
    pub leader_epoch: i32,
    /// The codec.
    pub codec: Codec,
    /// Bits beside the codec's: 0x08 append time, 0x10 transactional, 0x20 control, 0x40 delete
    /// horizon.
    pub flags: i16,
    /// Milliseconds that deltas count from.
    pub base_timestamp: i64,
    /// The producer id, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// The first sequence, or -1.
    pub base_sequence: i32,
    /// Whether snappy is to be framed as snappy-java does; other codecs do not ask.
    pub snappy: SnappyForm,
}

/// The two forms of snappy that clients write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnappyForm {
    /// xerial's framing, as the Java client writes.
    #[default]
    Xerial,
    /// One raw block, as librdkafka writes.
    Raw,
}

impl Default for NewBatch {
    /// Offset 0, no codec, no flags, no producer.
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            codec: Codec::None,
            flags: 0,
            base_timestamp: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            snappy: SnappyForm::Xerial,
        }
    }
}

impl NewBatch {
    /// Writes a batch of `records`.
    ///
    /// # Errors
    /// [`BatchError::Records`] where it would outgrow 2 GiB, [`BatchError::Compress`].
    pub fn write(&self, records: &[NewRecord], codecs: &mut Codecs) -> Result<Bytes, BatchError> {
        let mut plain = Vec::new();
        let mut body = Vec::new();
        for record in records {
            body.clear();
            record.write(&mut body)?;
            record::put_nullable(&mut plain, Some(&body))?;
        }
        let mut packed = Vec::with_capacity(plain.len().saturating_add(HEADER_BYTES));
        let like: &[u8] = match self.snappy {
            SnappyForm::Xerial => &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0],
            SnappyForm::Raw => &[],
        };
        let like = if self.codec == Codec::Snappy { like } else { &[] };
        codecs.start_encoding(self.codec, like)?;
        codecs.push(self.codec, &plain, &mut packed)?;
        let preamble = codecs.finish_encoding(self.codec, &mut packed)?;
        let last = records.last().map_or(-1, |record| record.offset_delta).max(0);
        let latest = records.iter().map(|record| record.timestamp_delta).max().unwrap_or(0);
        let count = i32::try_from(records.len())
            .map_err(|_| BatchError::Records { what: "there are more than 2^31" })?;
        let mut tail = Vec::with_capacity(packed.len().saturating_add(HEADER_BYTES));
        tail.extend((self.flags | i16::from(self.codec.id())).to_be_bytes());
        tail.extend(last.to_be_bytes());
        tail.extend(self.base_timestamp.to_be_bytes());
        tail.extend(self.base_timestamp.saturating_add(latest).to_be_bytes());
        tail.extend(self.producer_id.to_be_bytes());
        tail.extend(self.producer_epoch.to_be_bytes());
        tail.extend(self.base_sequence.to_be_bytes());
        tail.extend(count.to_be_bytes());
        tail.extend_from_slice(preamble.bytes());
        tail.append(&mut packed);
        self.front(&tail)
    }

    /// Puts what precedes the CRC's bytes in front of them.
    fn front(&self, tail: &[u8]) -> Result<Bytes, BatchError> {
        let length = tail.len().saturating_add(CRC_FROM).saturating_sub(PREFIX_BYTES);
        let length = i32::try_from(length)
            .map_err(|_| BatchError::Records { what: "a batch outgrows 2 GiB" })?;
        let mut batch = Vec::with_capacity(tail.len().saturating_add(CRC_FROM));
        batch.extend(self.base_offset.to_be_bytes());
        batch.extend(length.to_be_bytes());
        batch.extend(self.leader_epoch.to_be_bytes());
        batch.push(2);
        batch.extend(crc_fast::crc32_iscsi(tail).to_be_bytes());
        batch.extend_from_slice(tail);
        Ok(Bytes::from(batch))
    }
}

impl NewRecord {
    fn write(&self, body: &mut Vec<u8>) -> Result<(), BatchError> {
        body.push(0);
        record::put_varlong(body, self.timestamp_delta);
        record::put_varint(body, self.offset_delta);
        record::put_nullable(body, self.key.as_deref())?;
        record::put_nullable(body, self.value.as_deref())?;
        let count = i32::try_from(self.headers.len())
            .map_err(|_| BatchError::Records { what: "a record has more than 2^31 headers" })?;
        record::put_varint(body, count);
        for (name, value) in &self.headers {
            record::put_nullable(body, Some(name))?;
            record::put_nullable(body, value.as_deref())?;
        }
        Ok(())
    }
}
