//! Figures: of one run, of several rounds, and of one target beside another; as a table or as JSON.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What one run has seen.
#[derive(Clone, Debug)]
pub struct Run {
    /// The target's name.
    pub target: String,
    /// How long it was measured.
    pub seconds: f64,
    /// Requests answered in that time.
    pub requests: u64,
    /// Bytes in the direction that carries the records.
    pub bytes: u64,
    /// How long each request took.
    pub latency_ns: Histogram<u64>,
    /// What the process under test used of the CPU, in seconds, where it is known.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the process under test was seen to hold, in bytes.
    pub resident_bytes_max: Option<u64>,
}

/// The same in the units that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Requests per second.
    pub requests_per_second: f64,
    /// MiB per second in the direction that carries the records.
    pub mib_per_second: f64,
    /// Latency of the faster half, in microseconds.
    pub p50_us: f64,
    /// Latency of all but one of 100.
    pub p99_us: f64,
    /// Latency of all but one of 1,000.
    pub p999_us: f64,
    /// CPU seconds of the process under test per GiB, where its pid is known.
    pub cpu_seconds_per_gib: Option<f64>,
    /// CPU microseconds of the process under test per request.
    pub cpu_us_per_request: Option<f64>,
    /// The most memory of the process under test, in MiB.
    pub resident_mib: Option<f64>,
}

/// One target over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The target's name.
    pub target: String,
    /// The median of each figure.
    pub median: Figures,
    /// The median over the rounds of each figure divided by that of the first target in the same round.
    pub ratio: Figures,
    /// The rounds themselves.
    pub rounds: Vec<Figures>,
}

impl Run {
    /// The run's figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let quantile = |quantile| float(self.latency_ns.value_at_quantile(quantile)) / 1_000.0;
        let gib = float(self.bytes) / (MIB * 1_024.0);
        let per = |cpu: Option<f64>, amount: f64| {
            cpu.filter(|_| amount > 0.0).map(|seconds| seconds / amount)
        };
        Figures {
            requests_per_second: float(self.requests) / self.seconds,
            mib_per_second: float(self.bytes) / MIB / self.seconds,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            cpu_seconds_per_gib: per(self.cpu_seconds, gib),
            cpu_us_per_request: per(self.cpu_seconds, float(self.requests) / 1e6),
            resident_mib: self.resident_bytes_max.map(|bytes| float(bytes) / MIB),
        }
    }
}

/// Sums up rounds, each with a run per target in the targets' order; the first target is the one to compare with.
#[must_use]
pub fn summarize(targets: &[&str], rounds: &[Vec<Figures>]) -> Vec<Summary> {
    let summary = |(index, target): (usize, &&str)| {
        let own: Vec<Figures> =
            rounds.iter().filter_map(|round| round.get(index)).copied().collect();
        let ratios: Vec<Figures> = rounds
            .iter()
            .filter_map(|round| Some(round.get(index)?.over(round.first()?)))
            .collect();
        Summary {
            target: (*target).to_owned(),
            median: Figures::median(&own),
            ratio: Figures::median(&ratios),
            rounds: own,
        }
    };
    targets.iter().enumerate().map(summary).collect()
}

impl Figures {
    /// Each figure's own median; of an even number, the mean of the middle two.
    #[must_use]
    pub fn median(rows: &[Self]) -> Self {
        let always = |figure: fn(&Self) -> f64| {
            median(rows.iter().map(figure).collect()).unwrap_or_default()
        };
        let known =
            |figure: fn(&Self) -> Option<f64>| median(rows.iter().filter_map(figure).collect());
        Self {
            requests_per_second: always(|row| row.requests_per_second),
            mib_per_second: always(|row| row.mib_per_second),
            p50_us: always(|row| row.p50_us),
            p99_us: always(|row| row.p99_us),
            p999_us: always(|row| row.p999_us),
            cpu_seconds_per_gib: known(|row| row.cpu_seconds_per_gib),
            cpu_us_per_request: known(|row| row.cpu_us_per_request),
            resident_mib: known(|row| row.resident_mib),
        }
    }

    /// Each figure divided by the other's.
    fn over(&self, other: &Self) -> Self {
        let both = |one: Option<f64>, other: Option<f64>| {
            one.zip(other).filter(|(_, other)| *other > 0.0).map(|(one, other)| one / other)
        };
        let ratio = |one: f64, other: f64| both(Some(one), Some(other)).unwrap_or_default();
        Self {
            requests_per_second: ratio(self.requests_per_second, other.requests_per_second),
            mib_per_second: ratio(self.mib_per_second, other.mib_per_second),
            p50_us: ratio(self.p50_us, other.p50_us),
            p99_us: ratio(self.p99_us, other.p99_us),
            p999_us: ratio(self.p999_us, other.p999_us),
            cpu_seconds_per_gib: both(self.cpu_seconds_per_gib, other.cpu_seconds_per_gib),
            cpu_us_per_request: both(self.cpu_us_per_request, other.cpu_us_per_request),
            resident_mib: both(self.resident_mib, other.resident_mib),
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let above = *values.get(values.len() / 2)?;
    let below = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(below, above))
}

/// A table for the terminal: a row of medians for each target and, beside a first one, a row of ratios.
#[must_use]
pub fn table(summaries: &[Summary]) -> String {
    let mut text = String::new();
    let heads =
        ["req/s", "MiB/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU s/GiB", "CPU µs/req", "RSS MiB"];
    line(&mut text, "target", &heads.map(str::to_owned));
    for (index, summary) in summaries.iter().enumerate() {
        line(&mut text, &summary.target, &summary.median.cells(1));
        if index > 0 {
            line(&mut text, "  over the first", &summary.ratio.cells(3));
        }
    }
    text
}

impl Figures {
    fn cells(&self, digits: usize) -> [String; 8] {
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        [
            cell(Some(self.requests_per_second), digits),
            cell(Some(self.mib_per_second), digits),
            cell(Some(self.p50_us), digits),
            cell(Some(self.p99_us), digits),
            cell(Some(self.p999_us), digits),
            // Near 1: it needs the digits that the others do not.
            cell(self.cpu_seconds_per_gib, 3),
            cell(self.cpu_us_per_request, digits),
            cell(self.resident_mib, digits),
        ]
    }
}

fn line(text: &mut String, name: &str, cells: &[String; 8]) {
    // Writing to a string does not fail.
    write!(text, "{name:<18}").ok();
    for cell in cells {
        write!(text, " {cell:>11}").ok();
    }
    text.push('\n');
}

#[expect(clippy::as_conversions, reason = "figures need no more than the 53 bits of a float")]
fn float(number: u64) -> f64 {
    number as f64
}

const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(figure: f64, cpu: Option<f64>) -> Figures {
        Figures {
            requests_per_second: figure,
            p50_us: figure * 2.0,
            cpu_seconds_per_gib: cpu,
            ..Figures::default()
        }
    }

    #[test]
    fn medians_are_of_each_figure() {
        for (values, wanted) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 5.0], Some(5.0)),
            (vec![1.0, 2.0, 10.0, 4.0], Some(3.0)),
        ] {
            assert_eq!(median(values), wanted);
        }
        let rows = [of(1.0, None), of(5.0, Some(0.5)), of(3.0, Some(0.7))];
        assert_eq!(Figures::median(&rows), of(3.0, Some(0.6)));
    }

    #[test]
    fn a_run_is_turned_into_units() {
        let mut latency_ns = Histogram::new_with_max(60_000_000_000, 3).unwrap();
        for microseconds in 1..=1000_u64 {
            latency_ns.record(microseconds * 1000).unwrap();
        }
        let run = Run {
            target: "x".to_owned(),
            seconds: 2.0,
            requests: 1000,
            bytes: 1 << 29,
            latency_ns,
            cpu_seconds: Some(0.25),
            resident_bytes_max: Some(3 << 20),
        };
        let figures = run.figures();
        assert_eq!(figures.requests_per_second, 500.0);
        assert_eq!(figures.mib_per_second, 256.0);
        assert_eq!(figures.cpu_seconds_per_gib, Some(0.5));
        assert_eq!(figures.cpu_us_per_request, Some(250.0));
        assert_eq!(figures.resident_mib, Some(3.0));
        for (value, wanted) in
            [(figures.p50_us, 500.0), (figures.p99_us, 990.0), (figures.p999_us, 999.0)]
        {
            assert!((value - wanted).abs() / wanted < 0.002, "{value} for {wanted}");
        }
        let idle = Run { requests: 0, bytes: 0, ..run };
        assert_eq!(idle.figures().cpu_seconds_per_gib, None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine halves its speed in the second round; the ratio does not see it.
        let rounds = [
            vec![of(100.0, Some(1.0)), of(80.0, Some(1.5))],
            vec![of(50.0, Some(2.0)), of(40.0, Some(3.0))],
        ];
        let summaries = summarize(&["relay", "gateway"], &rounds);
        assert_eq!(summaries[0].ratio.requests_per_second, 1.0);
        assert_eq!(summaries[1].ratio.requests_per_second, 0.8);
        assert_eq!(summaries[1].ratio.cpu_seconds_per_gib, Some(1.5));
        assert_eq!(summaries[1].median.requests_per_second, 60.0);
        let table = table(&summaries);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[3].contains("0.800") && lines[3].contains("1.500"), "{table}");
        let json = serde_json::to_value(&summaries).unwrap();
        assert_eq!(json[1]["rounds"].as_array().unwrap().len(), 2);
    }
}
