//! What Sluicegate is measured with, beside it and against it.
//!
//! ```text
//! drive ──▶ process under test (gateway | relay) ──▶ broker (null broker | real Kafka)
//! ```
//!
//! [`plan`] is the command line, [`client`] one Kafka connection, [`broker`] a broker that answers from memory,
//! [`relay`] the floor that no gateway can beat by much, [`drive`] the load, [`report`] the figures, [`beside`] all of
//! them started on one machine. The end-to-end tests under `tests/` use [`client`], [`requests`], [`token`] and
//! [`config`] too. What comes over the wire is read with the `kafka-protocol` crate, which trusts its input: nothing
//! here belongs in front of strangers.

pub mod beside;
pub mod broker;
pub mod client;
pub mod config;
pub mod drive;
pub mod frame;
pub mod plan;
pub mod relay;
pub mod report;
pub mod requests;
pub mod token;
pub mod usage;

use std::io::Write;
use std::net::TcpListener;

use anyhow::Context;

use crate::plan::{BrokerPlan, Output, Plan};
use crate::report::{Figures, Summary};

/// Does what the command line says; figures go to `out`.
///
/// # Errors
/// Whatever ends it before its time.
pub fn run(plan: Plan, out: &mut impl Write) -> anyhow::Result<()> {
    match plan {
        Plan::Relay(plan) => {
            let listener = TcpListener::bind(plan.listen).context("cannot listen")?;
            relay::run(&listener, plan.to, plan.buffer_bytes)
        }
        Plan::Broker(plan) => {
            let listener = TcpListener::bind(plan.listen).context("cannot listen")?;
            broker::run(&listener, contents(plan)?)
        }
        Plan::Fill(plan) => {
            let bytes = plan.mebibytes * 1024 * 1024;
            drive::fill(&plan.target.resolve()?, &plan.load.load()?, bytes)
        }
        Plan::Drive(plan) => {
            let target = plan.target.resolve()?;
            let figures = vec![drive::run(&target, &plan.load.load()?)?.figures()];
            print(out, &report::summarize(&[&target.name], &[figures]), plan.output)
        }
        Plan::Compare(plan) => {
            let targets = plan.targets.iter().map(plan::TargetPlan::resolve);
            let targets = targets.collect::<anyhow::Result<Vec<_>>>()?;
            let summaries = compare(&targets, &plan.load.load()?, plan.rounds)?;
            print(out, &summaries, plan.output)
        }
        Plan::Beside(plan) => {
            let summaries = beside::run(&plan)?;
            print(out, &summaries, plan.output)
        }
    }
}

/// Drives all targets in each round, another first each time, so that what the machine does meanwhile hits all alike.
fn compare(
    targets: &[drive::Target],
    load: &drive::Load,
    rounds: usize,
) -> anyhow::Result<Vec<Summary>> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut figures = vec![Figures::default(); targets.len()];
        for turn in 0..targets.len() {
            let index = (round + turn) % targets.len();
            if let (Some(target), Some(place)) = (targets.get(index), figures.get_mut(index)) {
                *place = drive::run(target, load)?.figures();
            }
        }
        all.push(figures);
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    Ok(report::summarize(&names, &all))
}

fn contents(plan: BrokerPlan) -> anyhow::Result<broker::Contents> {
    let value = plan.value_file.map(std::fs::read).transpose().context("cannot read the value")?;
    Ok(broker::Contents {
        topics: plan.topics,
        partitions: plan.partitions,
        record_bytes: plan.record_bytes,
        batch_records: plan.batch_records,
        value: value.map(Into::into),
        batch: None,
        advertised: plan.advertise.unwrap_or(plan.listen),
    })
}

fn print(out: &mut impl Write, summaries: &[Summary], output: Output) -> anyhow::Result<()> {
    match output {
        Output::Table => write!(out, "{}", report::table(summaries))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(summaries)?)?,
    }
    Ok(())
}
