//! The load: connections that each keep a number of requests under way, in a closed loop or at a given rate.
//!
//! Every response is decoded and its error code looked at: a run through a gateway that refuses is not a fast run.

mod lane;

use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use bytes::BytesMut;
use hdrhistogram::Histogram;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;

use crate::client::{Connection, PlainLogin};
use crate::report::Run;
use crate::requests::{METADATA_VERSION, PRODUCE_VERSION, metadata, produce, topic_name};
use crate::usage::Usage;
use crate::{frame, requests};
use lane::Lane;

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
    /// Requests under way on each connection.
    pub depth: u32,
    /// Requests per second over all connections; as fast as they are answered where there is none.
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
}

/// What is driven.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in the report.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// How to log in, where it wants that.
    pub login: Option<PlainLogin>,
    /// The process under test, where its use of the machine is wanted.
    pub pid: Option<u32>,
}

/// What one connection has seen.
struct Seen {
    latency_ns: Histogram<u64>,
    requests: u64,
    bytes: u64,
}

/// Drives `target` with `load` and returns what was measured.
///
/// # Errors
/// Where a connection, a login or a request fails, or the process under test is gone.
pub fn run(target: &Target, load: &Load) -> anyhow::Result<Run> {
    ensure!(load.connections > 0 && load.depth > 0, "no load at all");
    let phase = Arc::new(AtomicU8::new(WARMING));
    let ready = Arc::new(Barrier::new(usize::try_from(load.connections)? + 1));
    let mut workers = Vec::new();
    for number in 0..load.connections {
        // Connected here, so that a login that is refused ends the run instead of leaving others at the barrier.
        let connection = connect(target)?;
        let (load, phase, ready) = (load.clone(), Arc::clone(&phase), Arc::clone(&ready));
        workers.push(std::thread::Builder::new().spawn(move || {
            ready.wait();
            let seen = work(&connection, &load, number, &phase);
            // A connection that failed has nothing to add, and its error is told at once.
            if seen.is_err() {
                phase.store(STOPPED, Ordering::Relaxed);
            }
            seen
        })?);
    }
    ready.wait();
    let measured = measure(target, load, &phase);
    phase.store(STOPPED, Ordering::Relaxed);
    let seen = join(workers)?;
    let (seconds, before, after, resident_bytes_max) = measured?;
    let cpu_seconds = before.zip(after).map(|(before, after)| after - before);
    Ok(Run {
        target: target.name.clone(),
        seconds,
        requests: seen.requests,
        bytes: seen.bytes,
        latency_ns: seen.latency_ns,
        cpu_seconds,
        resident_bytes_max,
    })
}

type Measured = (f64, Option<f64>, Option<f64>, Option<u64>);

/// Lets the connections warm up, then measures: seconds, CPU seconds before and after, the most memory seen.
fn measure(target: &Target, load: &Load, phase: &AtomicU8) -> anyhow::Result<Measured> {
    let usage = || target.pid.map(Usage::of).transpose();
    pass(load.warm_up, phase, || Ok(()))?;
    let before = usage()?;
    let started = Instant::now();
    // A connection that failed meanwhile has stopped the run; that must stay.
    phase.compare_exchange(WARMING, MEASURING, Ordering::Relaxed, Ordering::Relaxed).ok();
    let mut resident = before.map(|usage| usage.resident_bytes);
    pass(load.duration, phase, || {
        resident = resident.max(usage()?.map(|usage| usage.resident_bytes));
        Ok(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let after = usage()?;
    let cpu = |usage: Option<Usage>| usage.map(|usage| usage.cpu_seconds);
    Ok((seconds, cpu(before), cpu(after), resident))
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

fn connect(target: &Target) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(target.address, PATIENCE)
        .with_context(|| format!("target `{}`", target.name))?;
    if let Some(login) = &target.login {
        connection.login(login).with_context(|| format!("target `{}`", target.name))?;
    }
    Ok(connection)
}

/// One connection: fills its lanes, then each response makes room for the next request.
fn work(
    connection: &Connection,
    load: &Load,
    number: u32,
    phase: &AtomicU8,
) -> anyhow::Result<Seen> {
    let mut stream = connection.stream();
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut buffer = BytesMut::new();
    let mut seen = Seen::new()?;
    let mut pace = Pace::new(load);
    let mut lanes = (0..load.depth)
        .map(|depth| Lane::new(load, number * load.depth + depth))
        .collect::<anyhow::Result<Vec<Lane>>>()?;
    for lane in &mut lanes {
        let started = pace.wait();
        stream.write_all(lane.request(started)?)?;
    }
    loop {
        for lane in &mut lanes {
            let response = frame::read(&mut reader, &mut buffer)?.context("connection closed")?;
            let ended = Instant::now();
            let bytes = lane.check(response)?;
            match phase.load(Ordering::Relaxed) {
                WARMING => {}
                MEASURING => seen.add(ended.duration_since(lane.started()), bytes)?,
                _ => return Ok(seen),
            }
            let started = pace.wait();
            stream.write_all(lane.request(started)?)?;
        }
    }
}

impl Seen {
    fn new() -> anyhow::Result<Self> {
        // One minute at most, three digits.
        let latency_ns = Histogram::new_with_max(60_000_000_000, 3)?;
        Ok(Self { latency_ns, requests: 0, bytes: 0 })
    }

    fn add(&mut self, latency: Duration, bytes: u64) -> anyhow::Result<()> {
        self.latency_ns.saturating_record(u64::try_from(latency.as_nanos())?);
        self.requests += 1;
        self.bytes += bytes;
        Ok(())
    }
}

/// When the next request of a connection is due.
struct Pace {
    interval: Option<Duration>,
    due: Instant,
}

impl Pace {
    fn new(load: &Load) -> Self {
        let rate = load.rate.filter(|rate| *rate > 0);
        let interval = rate.map(|rate| Duration::from_secs(1) * load.connections / rate);
        Self { interval, due: Instant::now() }
    }

    /// Waits until the next request is due, and says from when on its latency counts: from now where it is in time
    /// (the sleep's own lateness is not the target's), from when it was due where an earlier answer was late.
    fn wait(&mut self) -> Instant {
        let Some(interval) = self.interval else { return Instant::now() };
        let due = self.due;
        self.due += interval;
        match due.checked_duration_since(Instant::now()) {
            Some(early) => {
                std::thread::sleep(early);
                Instant::now()
            }
            None => due,
        }
    }
}

/// Creates the load's topic where it does not exist, and fills each partition with `bytes` bytes of batches.
///
/// # Errors
/// Where the topic cannot be created or written.
pub fn fill(target: &Target, load: &Load, bytes: u64) -> anyhow::Result<()> {
    let mut connection = connect(target)?;
    let topic = CreatableTopic::default()
        .with_name(topic_name(&load.topic))
        .with_num_partitions(load.partitions)
        .with_replication_factor(1);
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
    let batch = requests::batch(std::iter::repeat_n(lane::filler(load), load.batch_records))?;
    let rounds = bytes.div_ceil(u64::try_from(batch.len())?);
    for _ in 0..rounds {
        for partition in 0..load.partitions {
            let request = produce(1, &[(&load.topic, partition, batch.clone())]);
            let answer = connection.call(PRODUCE_VERSION, &request)?;
            let topic = answer.responses.first().context("no answer for the topic")?;
            let partition = topic.partition_responses.first().context("no partition")?;
            ensure!(partition.error_code == 0, "produce failed: error {}", partition.error_code);
        }
    }
    Ok(())
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// How often memory is looked at; a guess, short against any run.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longer than any request takes in good health.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kafka's TOPIC_ALREADY_EXISTS.
const TOPIC_EXISTS: i16 = 36;

#[cfg(test)]
mod tests;
