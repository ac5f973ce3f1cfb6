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
pub mod kafka;
pub mod plan;
pub mod process;
pub mod relay;
pub mod report;
pub mod requests;
pub mod stage;
pub mod target;
pub mod tls;
pub mod token;
pub mod usage;

use std::io::Write;
use std::net::TcpListener;

use anyhow::Context;

use crate::plan::{BrokerPlan, Output, Plan};
use crate::report::{Figures, Summary};
use crate::target::Target;

/// Does what the command line says; figures go to `out`.
///
/// # Errors
/// Whatever ends it before its time.
pub fn run(plan: Plan, out: &mut impl Write) -> anyhow::Result<()> {
    match plan {
        Plan::Relay(plan) => {
            let listener = TcpListener::bind(plan.listen).context("cannot listen")?;
            let encryption = plan.tls_certificate.zip(plan.tls_key);
            let encryption = encryption.map(|(certificate, key)| tls::server(&certificate, &key));
            relay::run(&listener, plan.to, plan.buffer_bytes, encryption.transpose()?)
        }
        Plan::Broker(plan) => {
            let listener = TcpListener::bind(plan.listen).context("cannot listen")?;
            broker::run(&listener, contents(plan)?)
        }
        Plan::Fill(plan) => {
            let bytes = plan.mebibytes * 1024 * 1024;
            drive::fill(&plan.target, &plan.load.load()?, bytes)
        }
        Plan::Drive(plan) => {
            let figures = vec![drive::run(&plan.target, &plan.load.load()?)?.figures()];
            print(out, &report::summarize(&[&plan.target.name], &[figures]), plan.output)
        }
        Plan::Compare(plan) => {
            let summaries = compare(&plan.targets, &plan.load.load()?, plan.rounds)?;
            print(out, &summaries, plan.output)
        }
        Plan::Beside(plan) => {
            let load = plan.load.load()?;
            let beside = beside::start(&plan, &load)?;
            let summaries = compare(&beside.targets, &load, plan.rounds)?;
            print(out, &summaries, plan.output)
        }
    }
}

/// Drives all targets in each round, another first each time, so that what the machine does meanwhile hits all alike.
fn compare(targets: &[Target], load: &drive::Load, rounds: usize) -> anyhow::Result<Vec<Summary>> {
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
    let value = plan::read_value(plan.value_file.as_deref())?;
    Ok(broker::Contents {
        topics: plan.topics,
        partitions: plan.partitions,
        record_bytes: plan.record_bytes,
        batch_records: plan.batch_records,
        value,
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
