//! The requests to one partition: made, and their answers checked.

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Load, Work};
use crate::client::{decode, encode};
use crate::requests::{
    FETCH_VERSION, FetchBounds, LIST_OFFSETS_VERSION, METADATA_VERSION, PRODUCE_VERSION, batch,
    fetch, list_offsets, metadata, produce,
};

/// What one connection asks of one partition.
pub(super) struct Lane {
    work: Work,
    topic: String,
    partition: i32,
    bounds: FetchBounds,
    client_id: StrBytes,
    /// The request, but for its correlation id; empty where it is a fetch, which differs each time.
    frame: BytesMut,
    /// Where the next fetch begins.
    offset: i64,
}

impl Lane {
    pub(super) fn new(load: &Load, partition: i32) -> anyhow::Result<Self> {
        let client_id = StrBytes::from_static_str("sluicegate-loadtest");
        let mut frame = BytesMut::new();
        match load.work {
            Work::Produce => {
                let batch = batch(std::iter::repeat_n(load.value(), load.batch_records))?;
                let request = produce(load.acks, &[(&load.topic, partition, batch)]);
                encode(&mut frame, 0, &client_id, PRODUCE_VERSION, &request)?;
            }
            Work::ListOffsets => {
                let request = list_offsets(&load.topic, partition);
                encode(&mut frame, 0, &client_id, LIST_OFFSETS_VERSION, &request)?;
            }
            Work::Metadata => {
                let request = metadata(Some(&[&load.topic]));
                encode(&mut frame, 0, &client_id, METADATA_VERSION, &request)?;
            }
            Work::Consume => {}
        }
        Ok(Self {
            work: load.work,
            topic: load.topic.clone(),
            partition,
            bounds: FetchBounds { wait_ms_max: 500, bytes_min: 1, bytes_max: load.fetch_bytes },
            client_id,
            frame,
            offset: 0,
        })
    }

    /// Appends the next request, as a frame. A fetch that is made before the last one is answered reads the same again.
    pub(super) fn request(
        &mut self,
        correlation_id: i32,
        outgoing: &mut BytesMut,
    ) -> anyhow::Result<()> {
        if self.work == Work::Consume {
            let request = fetch(self.bounds, &[(&self.topic, self.partition, self.offset)]);
            return encode(outgoing, correlation_id, &self.client_id, FETCH_VERSION, &request);
        }
        // Behind length, API key and version.
        let mut place = self.frame.get_mut(8..12).context("a frame without header")?;
        place.put_i32(correlation_id);
        outgoing.extend_from_slice(&self.frame);
        Ok(())
    }

    /// Checks the response and returns the bytes that count: those of the direction that carries records, or of the
    /// response.
    pub(super) fn check(
        &mut self,
        correlation_id: i32,
        mut response: Bytes,
    ) -> anyhow::Result<u64> {
        let received = response.len();
        let (id, error, counted) = match self.work {
            Work::Produce => {
                let (id, response) = decode::<ProduceRequest>(&mut response, PRODUCE_VERSION)?;
                let topic = response.responses.first().context("no topic in the response")?;
                let partition = topic.partition_responses.first().context("no partition")?;
                (id, partition.error_code, self.frame.len())
            }
            Work::Consume => {
                let (id, response) = decode::<FetchRequest>(&mut response, FETCH_VERSION)?;
                let topic = response.responses.first().context("no topic in the response")?;
                let partition = topic.partitions.first().context("no partition")?;
                let records = partition.records.as_deref().unwrap_or_default();
                self.advance(records, partition.high_watermark)?;
                (id, response.error_code.max(partition.error_code), received)
            }
            Work::ListOffsets => {
                let (id, response) =
                    decode::<ListOffsetsRequest>(&mut response, LIST_OFFSETS_VERSION)?;
                let topic = response.topics.first().context("no topic in the response")?;
                let partition = topic.partitions.first().context("no partition")?;
                (id, partition.error_code, received)
            }
            Work::Metadata => {
                let (id, response) = decode::<MetadataRequest>(&mut response, METADATA_VERSION)?;
                let topic = response.topics.first().context("no topic in the response")?;
                (id, topic.error_code, received)
            }
        };
        ensure!(id == correlation_id, "answer {id} instead of {correlation_id}");
        ensure!(error == 0, "{:?} refused with error {error}", self.work);
        Ok(u64::try_from(counted)?)
    }

    /// Goes on behind the last whole batch, and from the beginning again at the end of the topic.
    fn advance(&mut self, records: &[u8], high_watermark: i64) -> anyhow::Result<()> {
        ensure!(high_watermark != 0, "topic `{}` is empty: fill it first", self.topic);
        self.offset = next_offset(records).unwrap_or(self.offset);
        if self.offset >= high_watermark {
            self.offset = 0;
        }
        Ok(())
    }
}

/// The offset behind the last whole batch; `None` where there is none.
pub(super) fn next_offset(mut records: &[u8]) -> Option<i64> {
    let mut next = None;
    // Base offset, length of what follows, …, last offset delta at 23 (the layout of batches with magic 2).
    while let (Some(base), Some(length), Some(delta)) =
        (integer::<8>(records, 0), integer::<4>(records, 8), integer::<4>(records, 23))
    {
        let end = 12 + usize::try_from(i32::from_be_bytes(length)).ok()?;
        let Some(rest) = records.get(end..) else { break };
        next = Some(i64::from_be_bytes(base) + i64::from(i32::from_be_bytes(delta)) + 1);
        records = rest;
    }
    next
}

fn integer<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
