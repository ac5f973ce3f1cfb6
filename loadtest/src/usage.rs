//! What a process has used so far, as the kernel tells it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// A reading of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// CPU time of all its threads, in user space and in the kernel, in seconds; the clock ticks every 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
}

impl Usage {
    /// Reads `/proc/<pid>/stat` and `/proc/<pid>/status`.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("no process {pid}"))
        };
        let ticks = ticks(&read("stat")?, OWN).context("a line of stat that is not one")?;
        let resident = resident_kib(&read("status")?).context("a status without VmRSS")?;
        Ok(Self { cpu_seconds: seconds(ticks), resident_bytes: resident * 1024 })
    }
}

/// CPU seconds of this process.
///
/// # Errors
/// Where the kernel does not tell.
pub fn own_cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(seconds(ticks(&stat, OWN).context("a line of stat that is not one")?))
}

/// CPU seconds of all children of this process that have ended, and of theirs.
///
/// # Errors
/// Where the kernel does not tell.
pub fn children_cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(seconds(ticks(&stat, CHILDREN).context("a line of stat that is not one")?))
}

/// One process over some time.
#[derive(Debug)]
pub struct Watch {
    pid: Option<u32>,
    before: Option<Usage>,
    shards_before: Shards,
    resident_bytes_max: Option<u64>,
}

/// What a process used while it was watched.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// CPU seconds, where there is a process.
    pub cpu_seconds: Option<f64>,
    /// The most memory seen, in bytes.
    pub resident_bytes_max: Option<u64>,
    /// The busiest shard's part of the CPU time of all shards, where the process has more than one.
    pub busiest_shard_share: Option<f64>,
}

/// CPU ticks of each shard of the gateway, by its thread's name. (Threads that a shard starts inherit the name.)
type Shards = BTreeMap<String, u64>;

impl Watch {
    /// Begins to watch; nothing where there is no process.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn begin(pid: Option<u32>) -> anyhow::Result<Self> {
        let before = pid.map(Usage::of).transpose()?;
        let shards_before = pid.map(shards).transpose()?.unwrap_or_default();
        let resident_bytes_max = before.map(|usage| usage.resident_bytes);
        Ok(Self { pid, before, shards_before, resident_bytes_max })
    }

    /// Looks how much memory there is now.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn look(&mut self) -> anyhow::Result<()> {
        let resident = self.pid.map(Usage::of).transpose()?.map(|usage| usage.resident_bytes);
        self.resident_bytes_max = self.resident_bytes_max.max(resident);
        Ok(())
    }

    /// What was used since the beginning.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn end(mut self) -> anyhow::Result<Used> {
        self.look()?;
        let after = self.pid.map(Usage::of).transpose()?;
        let cpu = self.before.zip(after);
        let shards = self.pid.map(shards).transpose()?.unwrap_or_default();
        Ok(Used {
            cpu_seconds: cpu.map(|(before, after)| after.cpu_seconds - before.cpu_seconds),
            resident_bytes_max: self.resident_bytes_max,
            busiest_shard_share: busiest_share(&self.shards_before, &shards),
        })
    }
}

fn busiest_share(before: &Shards, after: &Shards) -> Option<f64> {
    let used = after.iter().map(|(shard, ticks)| {
        seconds(ticks.saturating_sub(before.get(shard).copied().unwrap_or(0)))
    });
    let used: Vec<f64> = used.collect();
    let all: f64 = used.iter().sum();
    let busiest = used.iter().copied().fold(0.0, f64::max);
    (used.len() > 1 && all > 0.0).then(|| busiest / all)
}

/// Reads `/proc/<pid>/task`; a thread that ends meanwhile is none.
fn shards(pid: u32) -> anyhow::Result<Shards> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("no process {pid}"))?;
    let mut shards = Shards::new();
    for thread in threads {
        let folder = thread?.path();
        let read = |file| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let name = read("comm");
        // As `src/gateway.rs` names them.
        if name.starts_with("shard-")
            && let Some(ticks) = ticks(&read("stat"), OWN)
        {
            *shards.entry(name).or_default() += ticks;
        }
    }
    Ok(shards)
}

/// Where utime and stime stand, counted behind the name (proc(5)): fields 14 and 15.
const OWN: usize = 11;
/// The same of the children that ended: fields 16 and 17.
const CHILDREN: usize = 13;

/// Two fields behind the name, which may hold blanks and brackets.
fn ticks(stat: &str, skip: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(skip);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn seconds(ticks: u64) -> f64 {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Duration::from_millis(ticks * 1000 / ticks_per_second).as_secs_f64()
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_behind_the_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 9 0 100 1 2";
        assert_eq!(ticks(stat, OWN), Some(300));
        assert_eq!(ticks(stat, CHILDREN), Some(15));
        assert_eq!(ticks("42 (a) S 1", OWN), None);
        assert_eq!(resident_kib("Name:\ta\nVmRSS:\t    1234 kB\n"), Some(1234));
    }

    #[test]
    fn the_busiest_shard_is_found_where_there_are_several() {
        for (before, after, wanted) in [
            (vec![], vec![], None),
            (vec![(1, 5)], vec![(1, 10)], None),
            (vec![(1, 5), (2, 0)], vec![(1, 5), (2, 0)], None),
            (vec![(1, 100), (2, 0)], vec![(1, 200), (2, 300)], Some(0.75)),
        ] {
            let named = |rows: Vec<(u32, u64)>| {
                rows.into_iter().map(|(index, ticks)| (format!("shard-{index}"), ticks)).collect()
            };
            let [before, after]: [Shards; 2] = [before, after].map(named);
            assert_eq!(busiest_share(&before, &after), wanted, "{after:?}");
        }
        let thread = std::thread::Builder::new().name("shard-7".to_owned());
        let names = || shards(std::process::id()).unwrap().into_keys().collect::<Vec<_>>();
        let running = thread.spawn(move || std::thread::spawn(names).join().unwrap()).unwrap();
        assert_eq!(running.join().unwrap(), ["shard-7\n"]);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 100_000, "{usage:?}");
        assert!(Usage::of(u32::MAX).is_err());
        assert_eq!(Watch::begin(None).unwrap().end().unwrap(), Used::default());
        let used = Watch::begin(Some(std::process::id())).unwrap().end().unwrap();
        assert!(used.cpu_seconds.is_some() && used.resident_bytes_max > Some(100_000), "{used:?}");
    }
}
