//! Figures: of one run, of several rounds, and of one target beside another; as a table or as JSON.

use std::fmt::Write;

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::usage::Used;

/// What one run has seen.
#[derive(Clone, Debug)]
pub struct Run {
    /// How long it was measured.
    pub seconds: f64,
    /// Requests answered in that time, where the client counts them.
    pub requests: Option<u64>,
    /// Bytes in the direction that carries the records; of a real client those of the records' values.
    pub bytes: u64,
    /// How long requests took.
    pub latency: Latency,
    /// What the process under test used.
    pub used: Used,
    /// What the client itself used of the CPU, in seconds.
    pub client_cpu_seconds: f64,
}

/// How long requests took.
#[derive(Clone, Debug)]
pub enum Latency {
    /// Each of them, in nanoseconds.
    Measured(Histogram<u64>),
    /// As a client reports it: p50, p99 and p99.9 in microseconds.
    Reported([Option<f64>; 3]),
}

/// The same in the units that are compared. What is not known is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Requests per second.
    pub requests_per_second: Option<f64>,
    /// MiB per second in the direction that carries the records.
    pub mib_per_second: Option<f64>,
    /// Latency of the faster half, in microseconds.
    pub p50_us: Option<f64>,
    /// Latency of all but one of 100.
    pub p99_us: Option<f64>,
    /// Latency of all but one of 1,000.
    pub p999_us: Option<f64>,
    /// CPU seconds of the process under test per GiB.
    pub cpu_seconds_per_gib: Option<f64>,
    /// CPU microseconds of the process under test per request.
    pub cpu_us_per_request: Option<f64>,
    /// The most memory of the process under test, in MiB.
    pub resident_mib: Option<f64>,
    /// CPU seconds of the client itself per GiB: small reads and writes cost it too.
    pub client_cpu_seconds_per_gib: Option<f64>,
    /// The busiest shard's part of the CPU time of all shards, where there is more than one.
    pub busiest_shard_share: Option<f64>,
}

/// One kind of figures over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// Each figure's own median; of an even number, the mean of the middle two.
    pub median: Figures,
    /// Each figure's least.
    pub least: Figures,
    /// Each figure's greatest.
    pub greatest: Figures,
    /// The rounds themselves.
    pub rounds: Vec<Figures>,
}

/// One target over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The target's name.
    pub target: String,
    /// Its figures.
    pub figures: Spread,
    /// Its figures, each divided by that of the first target in the same round.
    pub ratios: Spread,
}

impl Run {
    /// The run's figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let [p50_us, p99_us, p999_us] = match &self.latency {
            Latency::Reported(quantiles) => *quantiles,
            Latency::Measured(latency_ns) => [0.5, 0.99, 0.999]
                .map(|quantile| Some(float(latency_ns.value_at_quantile(quantile)) / 1_000.0)),
        };
        let gib = float(self.bytes) / (MIB * 1_024.0);
        let requests = self.requests.map(float);
        let per = |cpu: Option<f64>, amount: Option<f64>| {
            let (cpu, amount) = cpu.zip(amount.filter(|amount| *amount > 0.0))?;
            Some(cpu / amount)
        };
        let used = &self.used;
        Figures {
            requests_per_second: requests.map(|requests| requests / self.seconds),
            mib_per_second: Some(float(self.bytes) / MIB / self.seconds),
            p50_us,
            p99_us,
            p999_us,
            cpu_seconds_per_gib: per(used.cpu_seconds, Some(gib)),
            cpu_us_per_request: per(used.cpu_seconds, requests.map(|requests| requests / 1e6)),
            resident_mib: used.resident_bytes_max.map(|bytes| float(bytes) / MIB),
            client_cpu_seconds_per_gib: per(Some(self.client_cpu_seconds), Some(gib)),
            busiest_shard_share: used.busiest_shard_share,
        }
    }
}

/// Sums up rounds, each with a run per target in the targets' order; the first target is the one to compare with.
#[must_use]
pub fn summarize(targets: &[&str], rounds: &[Vec<Figures>]) -> Vec<Summary> {
    let summary = |(index, target): (usize, &&str)| {
        let own = rounds.iter().filter_map(|round| round.get(index)).copied();
        let ratios = rounds.iter().filter_map(|round| Some(round.get(index)?.over(round.first()?)));
        Summary {
            target: (*target).to_owned(),
            figures: Spread::of(own.collect()),
            ratios: Spread::of(ratios.collect()),
        }
    };
    targets.iter().enumerate().map(summary).collect()
}

/// Whether no target needs more CPU than `ratio_max` of what the first needs, in the median of the rounds' ratios: for
/// each GiB where `by_bytes`, else for each request.
///
/// # Errors
/// Names the target that needs more, or whose need is not known.
pub fn check_cpu(summaries: &[Summary], ratio_max: f64, by_bytes: bool) -> anyhow::Result<()> {
    for Summary { target, ratios, .. } in summaries.iter().skip(1) {
        let (ratio, per) = if by_bytes {
            (ratios.median.cpu_seconds_per_gib, "GiB")
        } else {
            (ratios.median.cpu_us_per_request, "request")
        };
        let ratio = ratio.with_context(|| {
            format!("`{target}` and the first target cannot be compared by CPU: name their pids")
        })?;
        ensure!(
            ratio <= ratio_max,
            "`{target}` needs {ratio:.3} times the CPU of the first target per {per}, more than {ratio_max}"
        );
    }
    Ok(())
}

impl Spread {
    fn of(rounds: Vec<Figures>) -> Self {
        let each = |choose: fn(&mut [f64]) -> Option<f64>| {
            let columns = rounds.iter().map(|round| round.to_array());
            let mut all: [Vec<f64>; COLUMNS] = Default::default();
            for row in columns {
                for (column, figure) in all.iter_mut().zip(row) {
                    column.extend(figure);
                }
            }
            Figures::from_array(all.map(|mut column| choose(&mut column)))
        };
        Self {
            median: each(median),
            least: each(|values| values.iter().copied().reduce(f64::min)),
            greatest: each(|values| values.iter().copied().reduce(f64::max)),
            rounds,
        }
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let above = *values.get(values.len() / 2)?;
    let below = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(below, above))
}

impl Figures {
    /// Each figure divided by the other's.
    fn over(&self, other: &Self) -> Self {
        let (own, mut ratios) = (self.to_array(), other.to_array());
        for (ratio, own) in ratios.iter_mut().zip(own) {
            let both = ratio.filter(|other| *other > 0.0).zip(own);
            *ratio = both.map(|(other, own)| own / other);
        }
        Self::from_array(ratios)
    }

    /// In the order of [`HEADS`].
    fn to_array(self) -> [Option<f64>; COLUMNS] {
        [
            self.requests_per_second,
            self.mib_per_second,
            self.p50_us,
            self.p99_us,
            self.p999_us,
            self.cpu_seconds_per_gib,
            self.cpu_us_per_request,
            self.resident_mib,
            self.client_cpu_seconds_per_gib,
            self.busiest_shard_share,
        ]
    }

    fn from_array(figures: [Option<f64>; COLUMNS]) -> Self {
        let [
            requests_per_second,
            mib_per_second,
            p50_us,
            p99_us,
            p999_us,
            cpu_seconds_per_gib,
            cpu_us_per_request,
            resident_mib,
            client_cpu_seconds_per_gib,
            busiest_shard_share,
        ] = figures;
        Self {
            requests_per_second,
            mib_per_second,
            p50_us,
            p99_us,
            p999_us,
            cpu_seconds_per_gib,
            cpu_us_per_request,
            resident_mib,
            client_cpu_seconds_per_gib,
            busiest_shard_share,
        }
    }
}

const COLUMNS: usize = 10;

const HEADS: [&str; COLUMNS] = [
    "req/s",
    "MiB/s",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
    "CPU s/GiB",
    "CPU µs/req",
    "RSS MiB",
    "client s/GiB",
    "busiest shard",
];

/// A table for the terminal: of each target the medians and their spread over the rounds, and of all but the first the
/// ratios to it and their spread. A column that nobody fills is left out.
#[must_use]
pub fn table(summaries: &[Summary]) -> String {
    let mut rows: Vec<(String, [String; COLUMNS])> =
        vec![("target".to_owned(), HEADS.map(str::to_owned))];
    for (index, summary) in summaries.iter().enumerate() {
        rows.push((summary.target.clone(), summary.figures.median.cells()));
        rows.extend(summary.figures.spread_row());
        if index > 0 {
            rows.push(("  over the first".to_owned(), summary.ratios.median.cells()));
            rows.extend(summary.ratios.spread_row());
        }
    }
    let width = |cell: &str| cell.chars().count();
    let names = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let columns: [Option<usize>; COLUMNS] = std::array::from_fn(|index| {
        let cells = || rows.iter().filter_map(move |(_, cells)| cells.get(index));
        let filled = cells().skip(1).any(|cell| cell != ABSENT);
        cells().map(|cell| width(cell)).max().filter(|_| filled)
    });
    let mut text = String::new();
    for (name, cells) in &rows {
        // Writing to a string does not fail.
        write!(text, "{name:<names$}").ok();
        for (cell, width) in cells.iter().zip(columns) {
            if let Some(width) = width {
                write!(text, "  {cell:>width$}").ok();
            }
        }
        text.push('\n');
    }
    text
}

impl Spread {
    fn spread_row(&self) -> Option<(String, [String; COLUMNS])> {
        (self.rounds.len() > 1).then_some(())?;
        let mut cells = self.least.cells();
        for (least, greatest) in cells.iter_mut().zip(self.greatest.cells()) {
            if greatest != ABSENT {
                least.push('–');
                least.push_str(&greatest);
            }
        }
        Some(("  least–greatest".to_owned(), cells))
    }
}

impl Figures {
    fn cells(&self) -> [String; COLUMNS] {
        self.to_array().map(|figure| match figure {
            None => ABSENT.to_owned(),
            Some(figure) if figure >= 100.0 => format!("{figure:.0}"),
            Some(figure) if figure >= 10.0 => format!("{figure:.1}"),
            Some(figure) => format!("{figure:.3}"),
        })
    }
}

const ABSENT: &str = "-";

#[expect(clippy::as_conversions, reason = "figures need no more than the 53 bits of a float")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Bytes in a MiB.
pub(crate) const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(figure: f64, cpu: Option<f64>) -> Figures {
        Figures {
            requests_per_second: Some(figure),
            p50_us: Some(figure * 2.0),
            cpu_seconds_per_gib: cpu,
            ..Figures::default()
        }
    }

    #[test]
    fn medians_are_of_each_figure() {
        for (mut values, wanted) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 5.0], Some(5.0)),
            (vec![1.0, 2.0, 10.0, 4.0], Some(3.0)),
        ] {
            assert_eq!(median(&mut values), wanted);
        }
        let rows = [of(1.0, None), of(5.0, Some(0.5)), of(3.0, Some(0.7))];
        let spread = Spread::of(rows.to_vec());
        assert_eq!(spread.median, of(3.0, Some(0.6)));
        assert_eq!(spread.least, of(1.0, Some(0.5)));
        assert_eq!(spread.greatest, of(5.0, Some(0.7)));
    }

    #[test]
    fn a_run_is_turned_into_units() {
        let mut latency_ns = Histogram::new_with_max(60_000_000_000, 3).unwrap();
        for microseconds in 1..=1000_u64 {
            latency_ns.record(microseconds * 1000).unwrap();
        }
        let run = Run {
            seconds: 2.0,
            requests: Some(1000),
            bytes: 1 << 29,
            latency: Latency::Measured(latency_ns),
            used: Used {
                cpu_seconds: Some(0.25),
                resident_bytes_max: Some(3 << 20),
                busiest_shard_share: Some(0.6),
            },
            client_cpu_seconds: 1.0,
        };
        let figures = run.figures();
        assert_eq!(figures.requests_per_second, Some(500.0));
        assert_eq!(figures.mib_per_second, Some(256.0));
        assert_eq!(figures.client_cpu_seconds_per_gib, Some(2.0));
        assert_eq!(figures.busiest_shard_share, Some(0.6));
        assert_eq!(figures.cpu_seconds_per_gib, Some(0.5));
        assert_eq!(figures.cpu_us_per_request, Some(250.0));
        assert_eq!(figures.resident_mib, Some(3.0));
        for (value, wanted) in
            [(figures.p50_us, 500.0), (figures.p99_us, 990.0), (figures.p999_us, 999.0)]
        {
            let value = value.unwrap();
            assert!((value - wanted).abs() / wanted < 0.002, "{value} for {wanted}");
        }
        let latency = Latency::Reported([Some(7.0), None, None]);
        let idle = Run { requests: None, bytes: 0, latency, ..run }.figures();
        assert_eq!((idle.cpu_seconds_per_gib, idle.cpu_us_per_request), (None, None));
        assert_eq!((idle.p50_us, idle.p99_us), (Some(7.0), None));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine halves its speed in the second round; the ratio does not see it.
        let rounds = [
            vec![of(100.0, Some(1.0)), of(80.0, Some(1.5))],
            vec![of(50.0, Some(2.0)), of(40.0, Some(3.0))],
        ];
        let summaries = summarize(&["relay", "gateway"], &rounds);
        assert_eq!(summaries[0].ratios.median.requests_per_second, Some(1.0));
        let ratios = &summaries[1].ratios;
        assert_eq!(ratios.median.requests_per_second, Some(0.8));
        assert_eq!(ratios.median.cpu_seconds_per_gib, Some(1.5));
        assert_eq!(summaries[1].figures.median.requests_per_second, Some(60.0));
        assert_eq!(summaries[1].figures.least.requests_per_second, Some(40.0));
        let table = table(&summaries);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 7, "{table}");
        assert!(lines[5].contains("0.800") && lines[5].contains("1.500"), "{table}");
        assert!(lines[4].contains("40.0–80.0"), "{table}");
        assert!(!table.contains("shard"), "{table}");
        let json = serde_json::to_value(&summaries).unwrap();
        assert_eq!(json[1]["figures"]["rounds"].as_array().unwrap().len(), 2);
        for (ratio_max, by_bytes, wanted) in
            [(1.5, true, None), (1.4, true, Some("1.500")), (9.0, false, Some("name their pids"))]
        {
            let error = check_cpu(&summaries, ratio_max, by_bytes).err();
            let error = error.map(|error| error.to_string());
            let as_wanted = match (&error, wanted) {
                (None, None) => true,
                (Some(error), Some(wanted)) => error.contains(wanted),
                _ => false,
            };
            assert!(as_wanted, "{ratio_max} {error:?}");
        }
    }
}
