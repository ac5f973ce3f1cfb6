//! Several targets under the same load, in rounds.

use std::io::Write;

use crate::drive::{Load, Work};
use crate::plan::{Client, ComparisonPlan, Output};
use crate::report::{self, Figures, Summary};
use crate::target::Target;
use crate::tools;

/// Compares, prints to `out`, and says where a target needs more CPU than it may.
///
/// # Errors
/// Where a run fails, or a target needs more of the CPU than `--cpu-ratio-max` lets it.
pub fn run(
    targets: &[Target],
    load: &Load,
    plan: &ComparisonPlan,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let tools = &plan.tools;
    // The driver warms up in each run; real clients, which do not say when they are warm, do so in a round of their own.
    if tools.client != Client::Driver && !load.warm_up.is_zero() {
        for target in targets {
            tools::run(target, load, tools)?;
        }
    }
    let run = |target: &Target| Ok(tools::run(target, load, tools)?.figures());
    let summaries = in_rounds(targets, plan.rounds, run)?;
    print(out, &summaries, plan.output)?;
    if let Some(ratio_max) = plan.cpu_ratio_max {
        let by_bytes = matches!(load.work, Work::Produce | Work::Consume);
        report::check_cpu(&summaries, ratio_max, by_bytes)?;
    }
    Ok(())
}

/// Runs all targets in each round, another first each time, so that what the machine does meanwhile hits all alike.
fn in_rounds(
    targets: &[Target],
    rounds: usize,
    run: impl Fn(&Target) -> anyhow::Result<Figures>,
) -> anyhow::Result<Vec<Summary>> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut figures = vec![Figures::default(); targets.len()];
        for turn in 0..targets.len() {
            let index = (round + turn) % targets.len();
            if let (Some(target), Some(place)) = (targets.get(index), figures.get_mut(index)) {
                *place = run(target)?;
            }
        }
        all.push(figures);
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    Ok(report::summarize(&names, &all))
}

/// Prints summaries as asked for.
///
/// # Errors
/// As `out`'s.
pub fn print(out: &mut impl Write, summaries: &[Summary], output: Output) -> anyhow::Result<()> {
    match output {
        Output::Table => write!(out, "{}", report::table(summaries))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(summaries)?)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn another_target_is_first_in_each_round() {
        let targets = ["a", "b", "c"].map(|name| Target::new(name, "127.0.0.1:1"));
        let order = RefCell::new(String::new());
        let run = |target: &Target| {
            order.borrow_mut().push_str(&target.name);
            let count = order.borrow().len();
            Ok(Figures { p50_us: Some(report::float(count.try_into()?)), ..Figures::default() })
        };
        let summaries = in_rounds(&targets, 3, run).unwrap();
        assert_eq!(*order.borrow(), "abcbcacab");
        let of_a: Vec<_> = summaries[0].figures.rounds.iter().map(|round| round.p50_us).collect();
        assert_eq!(of_a, [Some(1.0), Some(6.0), Some(8.0)]);
    }
}
