//! The load: connections that each keep a number of requests under way (a closed loop), or that send each request when
//! it is due (an open one).
//!
//! Every response is decoded and its error code looked at: a run through a gateway that refuses is not a fast run.

mod lane;
mod pipe;
mod worker;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::protocol::StrBytes;

use crate::report::{Latency, Run};
use crate::requests::{METADATA_VERSION, PRODUCE_VERSION, batch, metadata, produce, topic_name};
use crate::target::Target;
use crate::usage::{Used, Watch, own_cpu_seconds};
use worker::{Seen, work};

/// What each request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// One record batch to one partition.
    Produce,
    /// A fetch of one partition, on and on through it, and from its beginning again.
    Consume,
    /// The end offset of one partition: a small request that a broker answers from memory.
    ListOffsets,
    /// Metadata of the topic.
    Metadata,
}

/// How much of it.
#[derive(Clone, Debug)]
pub struct Load {
    /// What each request does.
    pub work: Work,
    /// Connections, each with a thread of its own.
    pub connections: u32,
    /// Requests under way on each connection, where there is no rate.
    pub depth: u32,
    /// Requests per second over all connections, however many are under way; as fast as they are answered where there
    /// is none.
    pub rate: Option<u32>,
    /// Not measured: caches and compilers warm up.
    pub warm_up: Duration,
    /// Measured.
    pub duration: Duration,
    /// The topic, which must exist.
    pub topic: String,
    /// Its partitions, among which requests go round.
    pub partitions: i32,
    /// Size of a record's value, in bytes.
    pub record_bytes: usize,
    /// Records in a produced batch.
    pub batch_records: usize,
    /// The most that a fetch brings, in bytes.
    pub fetch_bytes: i32,
    /// Acknowledgements that a produce waits for: 1 or -1.
    pub acks: i16,
    /// The value of every record that is produced; text of `record_bytes` where there is none.
    pub value: Option<Bytes>,
}

impl Load {
    /// The value of every record that is produced: what it is told, or text with some repetition, as documents have it.
    pub(crate) fn value(&self) -> Bytes {
        let text = || (0_u32..).flat_map(|number| format!("{number:x} ").into_bytes());
        self.value.clone().unwrap_or_else(|| text().take(self.record_bytes).collect())
    }
}

/// Drives `target` with `load` and returns what was measured.
///
/// # Errors
/// Where a connection, a login or a request fails, or the process under test is gone.
pub fn run(target: &Target, load: &Load) -> anyhow::Result<Run> {
    ensure!(load.connections > 0 && load.depth > 0, "no load at all");
    let access = target.access()?;
    let phase = Arc::new(AtomicU8::new(WARMING));
    let ready = Arc::new(Barrier::new(usize::try_from(load.connections)? + 1));
    let mut workers = Vec::new();
    for number in 0..load.connections {
        // Connected here, so that a login that is refused ends the run instead of leaving others at the barrier.
        let connection = access.connect(PATIENCE)?;
        let (load, phase, ready) = (load.clone(), Arc::clone(&phase), Arc::clone(&ready));
        workers.push(std::thread::Builder::new().spawn(move || {
            ready.wait();
            let seen = work(connection, &load, number, &phase);
            // A connection that failed has nothing to add, and its error is told at once.
            if seen.is_err() {
                phase.store(STOPPED, Ordering::Relaxed);
            }
            seen
        })?);
    }
    ready.wait();
    let measured = measure(target, load, &phase);
    match measured {
        // What was due in the time that was measured is waited for, or the slowest would be left out.
        Ok(_) => advance(&phase, MEASURING, DRAINING),
        Err(_) => phase.store(STOPPED, Ordering::Relaxed),
    }
    let seen = join(workers)?;
    let (seconds, used, client_cpu_seconds) = measured?;
    Ok(Run {
        seconds,
        requests: Some(seen.requests),
        bytes: seen.bytes,
        latency: Latency::Measured(seen.latency_ns),
        used,
        client_cpu_seconds,
    })
}

/// Lets the connections warm up, then measures: seconds, what the target used, CPU seconds of this process.
fn measure(target: &Target, load: &Load, phase: &AtomicU8) -> anyhow::Result<(f64, Used, f64)> {
    pass(load.warm_up, phase, || Ok(()))?;
    let mut watch = Watch::begin(target.pid)?;
    let cpu_before = own_cpu_seconds()?;
    let started = Instant::now();
    advance(phase, WARMING, MEASURING);
    pass(load.duration, phase, || watch.look())?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((seconds, watch.end()?, own_cpu_seconds()? - cpu_before))
}

/// The next phase; but where a connection that failed has stopped the run meanwhile, that stays.
fn advance(phase: &AtomicU8, from: u8, to: u8) {
    phase.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).ok();
}

/// Waits for `time`, or until the run is stopped, and looks around meanwhile.
fn pass(
    time: Duration,
    phase: &AtomicU8,
    mut look: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if phase.load(Ordering::Relaxed) == STOPPED {
            break;
        }
        std::thread::sleep(left.min(LOOK_EVERY));
        look()?;
    }
    Ok(())
}

fn join(workers: Vec<JoinHandle<anyhow::Result<Seen>>>) -> anyhow::Result<Seen> {
    let mut all = Seen::new()?;
    for worker in workers {
        let seen = worker.join().map_err(|_| anyhow!("a connection's thread panicked"))??;
        all.latency_ns.add(&seen.latency_ns)?;
        all.requests += seen.requests;
        all.bytes += seen.bytes;
    }
    Ok(all)
}

/// Creates the load's topic where it does not exist, and fills its partitions evenly with at least `bytes` bytes of
/// values.
///
/// # Errors
/// Where the topic cannot be created or written.
pub fn fill(target: &Target, load: &Load, bytes: u64) -> anyhow::Result<()> {
    let mut connection = target.access()?.connect(PATIENCE)?;
    // The records bear an old timestamp; without this the broker would delete them within the minute.
    let keep = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("retention.ms"))
        .with_value(Some(StrBytes::from_static_str("-1")));
    let topic = CreatableTopic::default()
        .with_name(topic_name(&load.topic))
        .with_num_partitions(load.partitions)
        .with_replication_factor(1)
        .with_configs(vec![keep]);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let answer = connection.call(7, &create)?;
    let code = answer.topics.first().map_or(0, |topic| topic.error_code);
    ensure!(code == 0 || code == TOPIC_EXISTS, "cannot create `{}`: error {code}", load.topic);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = connection.call(METADATA_VERSION, &metadata(Some(&[&load.topic])))?;
        let leaders = answer.topics.first().map_or(0, |topic| {
            topic.partitions.iter().filter(|partition| partition.error_code == 0).count()
        });
        if i32::try_from(leaders)? == load.partitions {
            break;
        }
        ensure!(Instant::now() < deadline, "`{}` has no leaders", load.topic);
        std::thread::sleep(Duration::from_millis(20));
    }
    let value = load.value();
    let batch = batch(std::iter::repeat_n(value.clone(), load.batch_records))?;
    let batches: Vec<_> =
        (0..load.partitions).map(|index| (load.topic.as_str(), index, batch.clone())).collect();
    let request = produce(1, &batches);
    let round_bytes = u64::try_from(value.len() * load.batch_records * batches.len())?;
    let mut left = bytes.div_ceil(round_bytes.max(1));
    while left > 0 {
        let answer = connection.call(PRODUCE_VERSION, &request)?;
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        match partitions.map(|partition| partition.error_code).find(|code| *code != 0) {
            None => left -= 1,
            // Metadata may name the leader of a new topic before the leader knows.
            Some(NOT_LEADER) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Some(code) => bail!("cannot fill `{}`: error {code}", load.topic),
        }
    }
    Ok(())
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
/// Nothing more is due; what was measured is waited for.
const DRAINING: u8 = 2;
/// Somebody failed.
const STOPPED: u8 = 3;

/// How often memory is looked at; a guess, short against any run.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longer than any request takes in good health.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kafka's NOT_LEADER_OR_FOLLOWER.
const NOT_LEADER: i16 = 6;

/// Kafka's TOPIC_ALREADY_EXISTS.
const TOPIC_EXISTS: i16 = 36;

#[cfg(test)]
mod tests;
