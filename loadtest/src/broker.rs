//! The null broker: one node that takes every record, keeps none, and answers every fetch from memory.
//!
//! Its topics never end: whatever offset a fetch asks for, it gets full batches from there on. So the cost of a run is
//! that of the client and of what stands between. It takes any login, speaks no groups and no transactions, and reads
//! its requests with a decoder that trusts them.

mod answers;
mod fetch;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::Decodable;
use uuid::Uuid;

use crate::{frame, requests};
use fetch::FetchMemory;

/// What the null broker pretends to hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its topics; any other is unknown.
    pub topics: Vec<String>,
    /// Partitions of each topic.
    pub partitions: i32,
    /// Size of each record's value, in bytes.
    pub record_bytes: usize,
    /// Records in each batch.
    pub batch_records: usize,
    /// The value of every record; bytes of `record_bytes` that do not compress to nothing where there is none.
    pub value: Option<Bytes>,
    /// The very batch to answer fetches with, of `batch_records` records, instead of one made of values: also one that
    /// no producer would make.
    pub batch: Option<Bytes>,
    /// The host and port that it advertises: where clients shall connect next.
    pub advertised: SocketAddr,
}

/// What all connections share.
#[derive(Debug)]
struct Broker {
    contents: Contents,
    /// One encoded batch, with base offset 0.
    batch: Bytes,
    topic_ids: HashMap<Uuid, String>,
    next_producer_id: AtomicI64,
    next_offset: AtomicI64,
}

/// Serves every connection that `listener` accepts, for ever.
///
/// # Errors
/// Where the batch cannot be made, or no connection can be accepted any more.
pub fn run(listener: &TcpListener, contents: Contents) -> anyhow::Result<()> {
    let broker = Arc::new(Broker::new(contents)?);
    loop {
        let (stream, _) = listener.accept().context("cannot accept")?;
        let broker = Arc::clone(&broker);
        // A connection that fails costs itself alone; what went wrong is for whoever watches.
        let serve = move || {
            if let Err(error) = broker.serve(&stream) {
                let line = format!("null broker: connection ended: {error:#}\n");
                std::io::stderr().write_all(line.as_bytes()).ok();
            }
        };
        // A small stack, because there may be ten thousand of them.
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        thread.spawn(serve).context("cannot start a thread")?;
    }
}

impl Broker {
    fn new(contents: Contents) -> anyhow::Result<Self> {
        ensure!(contents.batch_records > 0, "a batch needs at least one record");
        let batch = match (&contents.batch, &contents.value) {
            (Some(batch), _) => batch.clone(),
            (None, Some(value)) => batch_of(value.clone(), contents.batch_records)?,
            (None, None) => batch_of(filler(contents.record_bytes), contents.batch_records)?,
        };
        let topic_ids = contents.topics.iter().map(|topic| (topic_id(topic), topic.clone()));
        Ok(Self {
            topic_ids: topic_ids.collect(),
            contents,
            batch,
            next_producer_id: AtomicI64::new(1),
            next_offset: AtomicI64::new(0),
        })
    }

    /// Answers requests in order until the client closes.
    fn serve(&self, stream: &TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::with_capacity(64 * 1024, stream);
        let mut writer = stream;
        let mut memory = FetchMemory::default();
        let mut incoming = BytesMut::new();
        let mut outgoing = BytesMut::new();
        while let Some(request) = frame::read(&mut reader, &mut incoming)? {
            outgoing.clear();
            if let Some(answer) = self.answer(request, &mut memory, &mut outgoing)? {
                writer.write_all(answer)?;
            }
        }
        Ok(())
    }

    /// The answer to one request, as a whole frame: in `outgoing`, or one that `memory` keeps for the next time.
    fn answer<'a>(
        &self,
        mut frame: Bytes,
        memory: &'a mut FetchMemory,
        outgoing: &'a mut BytesMut,
    ) -> anyhow::Result<Option<&'a [u8]>> {
        let key = frame.get(..4).context("a frame without header")?;
        let (key, version) = key.split_at(2);
        let key = i16::from_be_bytes(key.try_into()?);
        let version = i16::from_be_bytes(version.try_into()?);
        let api = ApiKey::try_from(key)
            .map_err(|()| anyhow::anyhow!("API {key} version {version} is unknown"))?;
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version))?;
        if api == ApiKey::Fetch {
            return self.fetch(header.correlation_id, version, &mut frame, memory).map(Some);
        }
        // The length goes in front when it is known.
        outgoing.put_i32(0);
        let answered = self.answer_to(api, version, header.correlation_id, &mut frame, outgoing)?;
        if !answered {
            return Ok(None);
        }
        let length = i32::try_from(outgoing.len() - 4)?;
        outgoing.get_mut(..4).context("no room for the length")?.put_i32(length);
        Ok(Some(outgoing))
    }

    /// The topic's name, where it is one of ours, by name or else by id.
    fn topic<'a>(&'a self, name: &'a str, id: Uuid) -> Option<&'a str> {
        if name.is_empty() {
            return self.topic_ids.get(&id).map(String::as_str);
        }
        self.contents.topics.iter().any(|topic| topic == name).then_some(name)
    }

    fn holds(&self, partition: i32) -> bool {
        (0..self.contents.partitions).contains(&partition)
    }

    fn take_offsets(&self, count: i64) -> i64 {
        self.next_offset.fetch_add(count, Ordering::Relaxed)
    }
}

fn batch_of(value: Bytes, records: usize) -> anyhow::Result<Bytes> {
    requests::batch(std::iter::repeat_n(value, records))
}

/// The id of its only node.
pub const NODE_ID: i32 = 1;

/// The id of a topic: the same in every run, and never zero.
fn topic_id(name: &str) -> Uuid {
    // FNV-1a; it only has to differ between the few topics of a run.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Uuid::from_u64_pair(hash, 1)
}

/// Bytes without a short period, so that no codec makes them vanish.
fn filler(size_bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size_bytes).map(|_| next()).collect()
}

#[cfg(test)]
mod tests;
