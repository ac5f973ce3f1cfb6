//! One connection under load: sends what is due, checks what comes, notes how long it took.
//!
//! At a rate the loop is open: a request is sent when it is due, however many are under way, and its latency counts
//! from when it was due. So a target that stalls is charged with every request that was due meanwhile, not with one.
//! One thing alone is excused: where nothing was to be done and the sleep until the next request took longer than
//! asked for, that request counts from the waking, because its lateness is this program's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;

use super::lane::Lane;
use super::pipe::Pipe;
use super::{DRAINING, Load, MEASURING, PATIENCE, STOPPED};
use crate::client::Connection;

/// What one connection has seen.
pub(super) struct Seen {
    pub(super) latency_ns: Histogram<u64>,
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

/// Drives one connection until the run is over and what was measured is answered.
pub(super) fn work(
    connection: Connection,
    load: &Load,
    number: u32,
    phase: &AtomicU8,
) -> anyhow::Result<Seen> {
    let mut pipe = Pipe::new(connection.into_stream())?;
    let mut talk = Talk::new(load, number)?;
    let mut overslept = false;
    loop {
        let now = Instant::now();
        let phase = phase.load(Ordering::Relaxed);
        if phase == STOPPED {
            return Ok(talk.seen);
        }
        if phase == DRAINING {
            talk.schedule.end(now);
        }
        while !pipe.is_behind()
            && let Some((lane, due)) = talk.schedule.take(now)
        {
            let started = if overslept { now } else { due };
            talk.send(lane, started, phase == MEASURING, &mut pipe.outgoing)?;
        }
        pipe.write()?;
        if phase == DRAINING && talk.is_over() {
            return Ok(talk.seen);
        }
        let timeout = if pipe.is_behind() { LOOK_EVERY } else { talk.schedule.wait(now) };
        let ready = pipe.wait(timeout)?;
        overslept = !ready && !pipe.is_behind();
        if ready {
            pipe.read(|frame| talk.receive(frame))?;
        } else {
            talk.check_patience()?;
        }
    }
}

/// Requests and answers of one connection.
struct Talk {
    lanes: Vec<Lane>,
    schedule: Schedule,
    /// In the order in which they are answered.
    under_way: VecDeque<UnderWay>,
    measured_under_way: usize,
    correlation_id: i32,
    seen: Seen,
}

struct UnderWay {
    correlation_id: i32,
    lane: usize,
    started: Instant,
    measured: bool,
}

impl Talk {
    fn new(load: &Load, number: u32) -> anyhow::Result<Self> {
        let partitions = u32::try_from(load.partitions.max(1))?;
        let (count, first) = match load.rate {
            None => (load.depth, number * load.depth),
            Some(_) => (partitions, number),
        };
        let lanes = (0..count)
            .map(|lane| Lane::new(load, i32::try_from((first + lane) % partitions)?))
            .collect::<anyhow::Result<Vec<Lane>>>()?;
        Ok(Self {
            schedule: Schedule::new(load, number, lanes.len())?,
            lanes,
            under_way: VecDeque::new(),
            measured_under_way: 0,
            correlation_id: 0,
            seen: Seen::new()?,
        })
    }

    fn send(
        &mut self,
        lane: usize,
        started: Instant,
        measured: bool,
        outgoing: &mut BytesMut,
    ) -> anyhow::Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let correlation_id = self.correlation_id;
        self.lanes.get_mut(lane).context("no lane")?.request(correlation_id, outgoing)?;
        self.under_way.push_back(UnderWay { correlation_id, lane, started, measured });
        self.measured_under_way += usize::from(measured);
        Ok(())
    }

    fn receive(&mut self, frame: Bytes) -> anyhow::Result<()> {
        let ended = Instant::now();
        let request = self.under_way.pop_front().context("an answer to nothing")?;
        let lane = self.lanes.get_mut(request.lane).context("no lane")?;
        let bytes = lane.check(request.correlation_id, frame)?;
        if request.measured {
            self.measured_under_way -= 1;
            self.seen.add(ended.duration_since(request.started), bytes)?;
        }
        self.schedule.answered(request.lane);
        Ok(())
    }

    /// Whether all is answered that was to be measured.
    fn is_over(&self) -> bool {
        self.measured_under_way == 0 && self.schedule.is_over()
    }

    fn check_patience(&self) -> anyhow::Result<()> {
        let Some(oldest) = self.under_way.front() else { return Ok(()) };
        let count = self.under_way.len();
        ensure!(oldest.started.elapsed() < PATIENCE, "{count} requests without answer");
        Ok(())
    }
}

impl Seen {
    pub(super) fn new() -> anyhow::Result<Self> {
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

/// Which lane sends next, and when.
enum Schedule {
    /// Each answer makes room for a request on its own lane; the lanes that have room.
    Closed { free: VecDeque<usize>, ended: bool },
    /// Lane after lane, whatever is under way.
    Open { lane: usize, lanes: usize, due: Instant, interval: Duration, end: Option<Instant> },
}

impl Schedule {
    fn new(load: &Load, number: u32, lanes: usize) -> anyhow::Result<Self> {
        let Some(rate) = load.rate else {
            return Ok(Self::Closed { free: (0..lanes).collect(), ended: false });
        };
        ensure!(rate > 0, "a rate of nothing");
        // Connections take turns, so that requests do not come in bursts of all of them.
        let due = Instant::now() + Duration::from_secs(1) * number / rate;
        let interval = Duration::from_secs(1) * load.connections / rate;
        Ok(Self::Open { lane: 0, lanes, due, interval, end: None })
    }

    /// Takes the next request that is due by now: its lane, and since when. (In a closed loop since now: what the last
    /// answer took to check is not the target's.)
    fn take(&mut self, now: Instant) -> Option<(usize, Instant)> {
        match self {
            Self::Closed { ended: true, .. } => None,
            Self::Closed { free, .. } => Some((free.pop_front()?, now)),
            Self::Open { due, end, .. } if *due > end.unwrap_or(now).min(now) => None,
            Self::Open { lane, lanes, due, interval, .. } => {
                let next = (*lane, *due);
                *lane = (*lane + 1) % *lanes;
                *due += *interval;
                Some(next)
            }
        }
    }

    fn answered(&mut self, lane: usize) {
        if let Self::Closed { free, .. } = self {
            free.push_back(lane);
        }
    }

    /// How long there is nothing to send, were there no answer meanwhile.
    fn wait(&self, now: Instant) -> Duration {
        match self {
            Self::Open { due, end: None, .. } => due.saturating_duration_since(now).min(LOOK_EVERY),
            _ => LOOK_EVERY,
        }
    }

    /// Nothing is due any more that was not due before `now`, or before what a former call said.
    fn end(&mut self, now: Instant) {
        match self {
            Self::Closed { ended, .. } => *ended = true,
            Self::Open { end, .. } => *end = Some(end.unwrap_or(now)),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Closed { ended, .. } => *ended,
            Self::Open { due, end, .. } => end.is_some_and(|end| *due > end),
        }
    }
}

/// How often a connection with nothing to do looks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
