//! The record step: entries appended to a shard's segment and handed to the kernel, as one turn of a shard does it.
//!
//! Segments lie in the temporary directory; set `TMPDIR` to a real disk where that is memory. A segment is removed as
//! soon as the writer has left it, so the bench needs little more than one segment's room.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluicegate_actors::recorder::drain::{Store, StoreOptions};
use sluicegate_actors::recorder::entry::{
    EntryDraft, EntryKind, Instants, MaskedDraft, Origin, OriginFacts, Outcome, Positions,
    RequestDraft, ResourceDraft,
};
use sluicegate_actors::recorder::segment::SegmentName;
use sluicegate_actors::recorder::writer::{Durability, SegmentOptions, SegmentWriter};
use sluicegate_actors::vocabulary::{Action, ConnectionId, Resource, SessionId};

/// A writer in a directory of its own that keeps the disk from filling.
struct Log {
    writer: SegmentWriter,
    directory: PathBuf,
    current: SegmentName,
    ordinal: u64,
    origin: Origin,
    policies: [Arc<str>; 1],
}

impl Log {
    fn open(name: &str) -> Self {
        let name = format!("sluicegate-bench-{}-{name}", std::process::id());
        Self::open_in(std::env::temp_dir().join(name))
    }

    fn open_in(directory: PathBuf) -> Self {
        let options = SegmentOptions {
            directory: directory.clone(),
            gateway: [1; 16],
            run: [2; 16],
            shard: 0,
            roll_bytes: 256 << 20,
            durability: Durability::Process,
        };
        let opened = SegmentWriter::open(options);
        let Ok((writer, recovery)) = opened else { std::process::abort() };
        let facts = OriginFacts {
            principal: "https://idp.example.com|ada",
            address: Some(([192, 0, 2, 7], 40_000).into()),
            listener: "kafka",
        };
        let origin = Origin::new(SessionId([3; 16]), ConnectionId(4), &facts);
        let policies = [Arc::from("analysts-read-payments")];
        Self { writer, directory, current: recovery.segment, ordinal: 0, origin, policies }
    }

    /// One entry of a fetch, as the path writes it: about 300 bytes beside its payload.
    fn append(&mut self, payload: &[&[u8]]) {
        let resource = ResourceDraft {
            action: Some(Action::Read),
            policies: &self.policies,
            positions: Some(Positions { first: 100, last: 163 }),
            records: Some(64),
            payload_bytes: Some(65_536),
            ..ResourceDraft::new(
                Resource::Partition { topic: "payments", index: 3 },
                Outcome::Allow,
            )
        };
        let at = Instants { wall_micros: 1_700_000_000_000_000, monotonic_nanos: self.ordinal };
        let request =
            RequestDraft { protocol: 1, operation: 1, version: 17, correlation: 9, name: "Fetch" };
        let draft = EntryDraft {
            request: Some(request),
            outcome: Outcome::Allow,
            client_id: "analytics-1",
            resources: &[resource],
            masked: &[MaskedDraft { label: "pci", count: 64 }],
            ..EntryDraft::new(EntryKind::Delivered, &self.origin, self.ordinal, at)
        };
        if black_box(self.writer.append(&draft, payload)).is_err() {
            std::process::abort();
        }
        self.ordinal += 1;
    }

    fn flush(&mut self) {
        if self.writer.flush().is_err() {
            std::process::abort();
        }
        let (name, _) = self.writer.written();
        if name != self.current {
            drop(fs::remove_file(self.directory.join(self.current.file_name())));
            self.current = name;
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (name, entries, payload) in [
        ("append one entry, no write", 0, 0),
        ("one entry of 300 B", 1, 0),
        ("32 entries of 300 B", 32, 0),
        ("one payload of 64 KiB", 1, 65_536),
    ] {
        let mut log = Log::open(&name.replace([' ', ','], "-"));
        let bytes = vec![7; payload];
        let pieces: &[&[u8]] = if payload == 0 { &[] } else { &[&bytes] };
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if entries == 0 {
                    log.append(pieces);
                    if log.writer.unwritten_bytes() > 200_000 {
                        log.flush();
                    }
                    return;
                }
                for _ in 0..entries {
                    log.append(pieces);
                }
                log.flush();
            });
        });
    }
    group.finish();
}

/// The table of `docs/RECORD_FORMAT.md`: percentiles of single turns, and the thread's time on a core, which other
/// load on the machine does not change.
#[expect(clippy::print_stdout, reason = "a table is what this function is for")]
fn table(_: &mut Criterion) {
    println!("turn, p50 / p99 / worst in microseconds, microseconds on a core");
    for (name, entries, payload, turns) in [
        ("one entry of 300 B", 1, 0, 100_000_u32),
        ("32 entries of 300 B", 32, 0, 10_000),
        ("one payload of 64 KiB", 1, 65_536, 16_384),
    ] {
        let mut log = Log::open(&format!("table-{entries}-{payload}"));
        let bytes = vec![7; payload];
        let pieces: &[&[u8]] = if payload == 0 { &[] } else { &[&bytes] };
        let mut spent = Vec::new();
        let before = on_core();
        for _ in 0..turns {
            let started = Instant::now();
            for _ in 0..entries {
                log.append(pieces);
            }
            log.flush();
            spent.push(started.elapsed());
        }
        let on_core = on_core().saturating_sub(before) / turns;
        spent.sort_unstable();
        let at = |part: usize| spent.get((spent.len() - 1) * part / 1_000).map(Duration::as_nanos);
        let micros = |nanos: u128| format!("{}.{:02}", nanos / 1_000, nanos % 1_000 / 10);
        let row: Vec<String> = [500, 990, 1_000].into_iter().filter_map(at).map(micros).collect();
        println!("{name}: {}, {}", row.join(" / "), micros(on_core.as_nanos()));
    }
}

/// How long this thread has been on a core.
fn on_core() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// The other end: the store takes what a shard wrote into chain and index. The time is the thread's own on a core.
fn drain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("drain");
    group.sample_size(10).warm_up_time(Duration::from_millis(100));
    for (name, entries, payload) in
        [("10,000 entries of 300 B", 10_000, 0), ("1,024 payloads of 64 KiB", 1_024, 65_536)]
    {
        let data =
            std::env::temp_dir().join(format!("sluicegate-bench-drain-{}", std::process::id()));
        let mut log = Log::open_in(data.join("segments"));
        let bytes = vec![7; payload];
        let pieces: &[&[u8]] = if payload == 0 { &[] } else { &[&bytes] };
        for _ in 0..entries {
            log.append(pieces);
            log.flush();
        }
        group.throughput(Throughput::Elements(entries));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    drop(fs::remove_dir_all(data.join("store")));
                    let options = StoreOptions {
                        data: data.clone(),
                        gateway: [1; 16],
                        durability: Durability::Process,
                    };
                    let Ok(mut store) = Store::open(options) else { std::process::abort() };
                    let started = on_core();
                    while store.drain_once().is_ok_and(|drained| drained.more) {}
                    spent += on_core().saturating_sub(started);
                }
                spent
            });
        });
        drop(log);
        drop(fs::remove_dir_all(&data));
    }
    group.finish();
}

criterion_group!(benches, table, record, drain);
criterion_main!(benches);
