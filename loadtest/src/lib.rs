//! What Sluicegate is measured with, beside it and against it.
//!
//! ```text
//! drive ──▶ process under test (gateway | relay) ──▶ broker (null broker | real Kafka)
//! ```
//!
//! [`plan`] is the command line, [`target`] what is driven, [`client`] one Kafka connection, [`broker`] a broker that
//! answers from memory, [`relay`] the floor that no gateway can beat by much, [`drive`] the load, [`tools`] real clients
//! in its place, [`compare`] several targets in rounds, [`report`] the figures, [`stage`] all of them as processes on one
//! machine, for [`beside`] and [`idle`]. The end-to-end tests under `tests/` use [`client`], [`requests`], [`token`],
//! [`config`], [`tls`], [`process`] and [`kafka`] too. What comes over the wire is read with the `kafka-protocol` crate, which trusts its input: nothing
//! here belongs in front of strangers.

pub mod beside;
pub mod broker;
pub mod client;
pub mod compare;
pub mod config;
pub mod drive;
pub mod frame;
pub mod idle;
pub mod kafka;
pub mod plan;
pub mod process;
pub mod registry;
pub mod relay;
pub mod report;
pub mod requests;
pub mod stage;
pub mod target;
pub mod tls;
pub mod token;
pub mod tools;
pub mod usage;

use std::io::Write;
use std::net::TcpListener;

use anyhow::Context;

use crate::plan::{BrokerPlan, Plan};

/// Does what the command line says; figures go to `out`.
///
/// # Errors
/// Whatever ends it before its time.
pub fn run(plan: Plan, out: &mut impl Write) -> anyhow::Result<()> {
    idle::raise_files_max()?;
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
            let summaries = report::summarize(&[&plan.target.name], &[figures]);
            compare::print(out, &summaries, plan.output)
        }
        Plan::Compare(plan) => {
            compare::run(&plan.targets, &plan.load.load()?, &plan.comparison, out)
        }
        Plan::Beside(plan) => {
            let load = plan.load.load()?;
            let beside = beside::start(&plan, &load)?;
            compare::run(&beside.targets, &load, &plan.comparison, out)
        }
        Plan::Idle(plan) => idle::print(out, &idle::run(&plan)?, plan.output),
    }
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
