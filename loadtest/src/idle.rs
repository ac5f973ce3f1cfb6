//! Many idle connections: how long they take to be accepted, what they cost the gateway, whether those that work feel
//! them, and what is left when they are gone.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::client::Connection;
use crate::drive::{self, Load, Work};
use crate::plan::{IdlePlan, Output};
use crate::report::{Figures, MIB, float};
use crate::requests::{METADATA_VERSION, metadata};
use crate::stage::{Gateway, GatewayPlan, NullBroker, free_address, gateway_program};
use crate::target::Access;
use crate::usage::Usage;

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Idle {
    /// Connections that were held.
    pub connections: u32,
    /// Identities among which they were divided.
    pub sessions: u32,
    /// From the first connect to the last login and answer.
    pub accept_seconds: f64,
    /// Resident memory of the gateway for each connection, in bytes.
    pub resident_bytes_per_connection: f64,
    /// CPU of the gateway while all idle, as a part of one core.
    pub idle_cpu_share: f64,
    /// A small paced load without them.
    pub active_before: Figures,
    /// The same load beside them.
    pub active_beside: Figures,
    /// Files that the gateway has open: before, while they idle, and after they are closed.
    pub open_files: [u64; 3],
    /// Resident memory of the gateway, in MiB: before, while they idle, and after they are closed.
    pub resident_mib: [f64; 3],
}

/// Starts null broker and gateway, holds the connections, and ends everything.
///
/// # Errors
/// Where the machine's limit of open files is too low, or anything fails.
pub fn run(plan: &IdlePlan) -> anyhow::Result<Idle> {
    ensure!(plan.connections > 0 && plan.sessions > 0, "no connections at all");
    check_files(plan.connections, files_max())?;
    let load = active(plan)?;
    let broker_address = free_address()?;
    let broker = NullBroker {
        topic: &load.topic,
        partitions: load.partitions,
        record_bytes: 1024,
        batch_records: 1,
        value_file: None,
    };
    let _broker = broker.start(broker_address, broker_address)?;
    let gateway = Gateway::start(&GatewayPlan {
        program: &gateway_program(plan.gateway.as_deref())?,
        broker: broker_address,
        topic: &load.topic,
        shards: plan.shards,
        masks: "",
        payload: "delivered",
        encrypted: plan.tls,
    })?;
    let active = gateway.target("active", "active")?;
    let active_before = drive::run(&active, &load)?.figures();

    let pid = gateway.process.pid();
    let before = Reading::of(pid)?;
    let sessions = (0..plan.sessions)
        .map(|session| gateway.target("idle", &format!("idle-{session}"))?.access());
    let sessions = sessions.collect::<anyhow::Result<Vec<_>>>()?;
    let started = Instant::now();
    let connections = connect(&sessions, plan.connections, &load.topic)?;
    let accept_seconds = started.elapsed().as_secs_f64();
    // What the logins left to do ends first.
    std::thread::sleep(SETTLING);
    let idle = Reading::of(pid)?;
    std::thread::sleep(load.duration);
    let later = Reading::of(pid)?;
    let active_beside = drive::run(&active, &load)?.figures();
    drop(connections);
    let after = Reading::after_close(pid, before)?;
    let grown = idle.usage.resident_bytes.saturating_sub(before.usage.resident_bytes);
    let cpu_seconds = later.usage.cpu_seconds - idle.usage.cpu_seconds;
    Ok(Idle {
        connections: plan.connections,
        sessions: plan.sessions,
        accept_seconds,
        resident_bytes_per_connection: float(grown) / f64::from(plan.connections),
        idle_cpu_share: cpu_seconds / load.duration.as_secs_f64(),
        active_before,
        active_beside,
        open_files: [before, idle, after].map(|reading| reading.files),
        resident_mib: [before, idle, after]
            .map(|reading| float(reading.usage.resident_bytes) / MIB),
    })
}

/// The load that is to feel the idle connections: small requests, far below any limit.
fn active(plan: &IdlePlan) -> anyhow::Result<Load> {
    let duration = Duration::try_from_secs_f64(plan.seconds).context("--seconds")?;
    Ok(Load {
        work: Work::ListOffsets,
        connections: 2,
        depth: 1,
        rate: Some(plan.rate),
        warm_up: Duration::from_secs(1),
        duration,
        topic: "load".to_owned(),
        partitions: 4,
        record_bytes: 1024,
        batch_records: 1,
        fetch_bytes: 1 << 20,
        acks: -1,
        value: None,
    })
}

/// Opens all connections from a few threads, each with a login and one answered request.
fn connect(sessions: &[Access], count: u32, topic: &str) -> anyhow::Result<Vec<Connection>> {
    let threads = THREADS.min(usize::try_from(count)?);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let numbers = (first..usize::try_from(count)?).step_by(threads);
                    let open = numbers.map(|number| {
                        let session =
                            sessions.get(number % sessions.len()).context("no session")?;
                        let mut connection = session.connect(PATIENCE)?;
                        connection.call(METADATA_VERSION, &metadata(Some(&[topic])))?;
                        Ok(connection)
                    });
                    open.collect::<anyhow::Result<Vec<_>>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(all)
    })
}

#[derive(Clone, Copy)]
struct Reading {
    usage: Usage,
    files: u64,
}

impl Reading {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self { usage: Usage::of(pid)?, files: u64::try_from(files)? })
    }

    /// Waits until the files are closed, or as long as that should take.
    fn after_close(pid: u32, before: Self) -> anyhow::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::of(pid)?;
            if now.files <= before.files || Instant::now() > deadline {
                return Ok(now);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Raises this process's limit of open files as far as it may, which its children inherit.
///
/// # Errors
/// As the kernel's.
pub fn raise_files_max() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot raise the limit of open files")
}

fn files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn check_files(connections: u32, files_max: u64) -> anyhow::Result<()> {
    let possible = files_max.saturating_sub(FILES_BESIDE) / FILES_PER_CONNECTION;
    ensure!(
        u64::from(connections) <= possible,
        "a process may open {files_max} files here, and each connection costs the gateway {FILES_PER_CONNECTION}: \
         raise the hard limit (ulimit -Hn), or ask for --connections {possible}"
    );
    Ok(())
}

/// Prints what was measured as asked for.
///
/// # Errors
/// As `out`'s.
pub fn print(out: &mut impl Write, idle: &Idle, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(idle)?)?;
        return Ok(());
    }
    let latency = |figures: &Figures| {
        let [p50, p99] = [figures.p50_us, figures.p99_us].map(Option::unwrap_or_default);
        format!("{p50:.0} / {p99:.0}")
    };
    let [files_before, files_idle, files_after] = idle.open_files;
    let [before, held, after] = idle.resident_mib;
    let rows = [
        ("connections, sessions", format!("{}, {}", idle.connections, idle.sessions)),
        ("seconds to accept them all", format!("{:.2}", idle.accept_seconds)),
        (
            "resident KiB per connection",
            format!("{:.1}", idle.resident_bytes_per_connection / 1024.0),
        ),
        ("CPU while they idle, of one core", format!("{:.2} %", idle.idle_cpu_share * 100.0)),
        ("active p50 / p99 µs, without them", latency(&idle.active_before)),
        ("active p50 / p99 µs, beside them", latency(&idle.active_beside)),
        ("open files before, with, after", format!("{files_before}, {files_idle}, {files_after}")),
        ("resident MiB before, with, after", format!("{before:.1}, {held:.1}, {after:.1}")),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<36}{value}")?;
    }
    Ok(())
}

/// The connection to the client and the one to the broker.
const FILES_PER_CONNECTION: u64 = 2;

/// What the gateway and the active load have open beside; generous.
const FILES_BESIDE: u64 = 300;

/// A few that open connections; they hold none alone.
const THREADS: usize = 4;

/// After it, a reading shows idleness. Guess, unmeasured.
const SETTLING: Duration = Duration::from_secs(2);

/// Longer than a login takes while all others log in.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_limit_of_files_allows_is_told() {
        for (connections, files_max, wanted) in [
            (10_000, 1 << 20, None),
            (1, u64::MAX, None),
            (10_000, 20_000, Some("--connections 9850")),
            (1, 100, Some("--connections 0")),
        ] {
            let error = check_files(connections, files_max).err().map(|error| error.to_string());
            match (&error, wanted) {
                (None, None) => {}
                (Some(error), Some(wanted)) => assert!(error.contains(wanted), "{error}"),
                _ => panic!("{connections} of {files_max}: {error:?}"),
            }
        }
    }
}
