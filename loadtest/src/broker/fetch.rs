//! The null broker's answer to Fetch: the same batch over and over, as many as the request allows.
//!
//! A client asks for the same partitions again and again, at other offsets. So the last answer of a connection is kept
//! as encoded; where the next request is the same in shape, only its correlation id and the base offset of each batch
//! are written anew. (The CRC of a batch does not cover its base offset.)

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use uuid::Uuid;

use super::Broker;

/// The end of every partition: no run reads so far.
pub(super) const END_OFFSET: i64 = 1 << 60;

/// The last answer of one connection.
#[derive(Debug, Default)]
pub(super) struct FetchMemory {
    shape: Option<Shape>,
    frame: BytesMut,
    /// Where each batch begins in `frame`, in the order of `Shape::partitions`.
    batches: Vec<Vec<usize>>,
}

/// What an answer's bytes depend on, apart from offsets.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    version: i16,
    bytes_max: i32,
    /// Topic name or id, partition, and its most bytes.
    partitions: Vec<(String, Uuid, i32, i32)>,
}

impl Broker {
    pub(super) fn fetch<'a>(
        &self,
        correlation_id: i32,
        version: i16,
        request: &mut Bytes,
        memory: &'a mut FetchMemory,
    ) -> anyhow::Result<&'a [u8]> {
        let request = FetchRequest::decode(request, version)?;
        let shape = Shape::of(version, &request);
        if memory.shape.as_ref() != Some(&shape) {
            self.encode(version, &request, memory)?;
            memory.shape = Some(shape);
        }
        let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
        memory.renumber(correlation_id, asked, self.contents.batch_records)?;
        Ok(&memory.frame)
    }

    fn encode(
        &self,
        version: i16,
        request: &FetchRequest,
        memory: &mut FetchMemory,
    ) -> anyhow::Result<()> {
        let mut left = request.max_bytes;
        let mut counts = Vec::new();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let known = self.topic(&topic.topic, topic.topic_id).is_some();
            let unknown = if topic.topic.is_empty() { UNKNOWN_TOPIC_ID } else { UNKNOWN_TOPIC };
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let mut answer = PartitionData::default().with_partition_index(asked.partition);
                let mut count = 0;
                if known && self.holds(asked.partition) {
                    count = self.batches_within(asked.partition_max_bytes.min(left), &counts);
                    answer = answer
                        .with_high_watermark(END_OFFSET)
                        .with_last_stable_offset(END_OFFSET)
                        .with_log_start_offset(0)
                        .with_records(Some(self.batch.repeat(count).into()));
                } else {
                    answer = answer.with_error_code(unknown).with_high_watermark(-1);
                }
                left = left.saturating_sub(i32::try_from(count * self.batch.len())?);
                counts.push(count);
                partitions.push(answer);
            }
            topics.push(
                FetchableTopicResponse::default()
                    .with_topic(topic.topic.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions),
            );
        }
        let response = FetchResponse::default().with_responses(topics);
        memory.frame.clear();
        memory.frame.put_i32(0);
        let header_version = FetchResponse::header_version(version);
        ResponseHeader::default().encode(&mut memory.frame, header_version)?;
        response.encode(&mut memory.frame, version)?;
        let length = i32::try_from(memory.frame.len() - 4)?;
        memory.frame.get_mut(..4).context("no room for the length")?.put_i32(length);
        memory.batches = self.find_batches(&memory.frame, &counts)?;
        Ok(())
    }

    /// As many batches as fit; the first partition gets one in any case, as Kafka has it.
    fn batches_within(&self, bytes_max: i32, before: &[usize]) -> usize {
        let fit = usize::try_from(bytes_max).unwrap_or(0) / self.batch.len();
        if before.iter().all(|count| *count == 0) { fit.max(1) } else { fit }
    }

    /// Finds each partition's batches by searching for the batch itself, which no other field can hold.
    fn find_batches(&self, frame: &[u8], counts: &[usize]) -> anyhow::Result<Vec<Vec<usize>>> {
        let mut from = 0;
        let mut found = Vec::new();
        for count in counts {
            let mut positions = Vec::new();
            for _ in 0..*count {
                let rest = frame.get(from..).unwrap_or_default();
                let at = rest
                    .windows(self.batch.len())
                    .position(|window| window == self.batch)
                    .context("a batch is not in its own answer")?;
                positions.push(from + at);
                from += at + self.batch.len();
            }
            found.push(positions);
        }
        Ok(found)
    }
}

impl Shape {
    fn of(version: i16, request: &FetchRequest) -> Self {
        let partitions = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|asked| {
                let name = topic.topic.to_string();
                (name, topic.topic_id, asked.partition, asked.partition_max_bytes)
            })
        });
        Self { version, bytes_max: request.max_bytes, partitions: partitions.collect() }
    }
}

impl FetchMemory {
    /// Writes correlation id and base offsets into the kept answer.
    fn renumber<'a>(
        &mut self,
        correlation_id: i32,
        asked: impl Iterator<Item = &'a FetchPartition>,
        batch_records: usize,
    ) -> anyhow::Result<()> {
        self.frame.get_mut(4..8).context("a frame without header")?.put_i32(correlation_id);
        let step = i64::try_from(batch_records)?;
        for (asked, positions) in asked.zip(&self.batches) {
            // An offset within a batch is answered with the whole batch, as Kafka does.
            let mut offset = asked.fetch_offset - asked.fetch_offset.rem_euclid(step);
            for position in positions {
                let place = self.frame.get_mut(*position..*position + 8);
                place.context("a batch outside of its frame")?.put_i64(offset);
                offset += step;
            }
        }
        Ok(())
    }
}

const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;
