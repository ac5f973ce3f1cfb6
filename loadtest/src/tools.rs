//! Real clients in the place of the driver: kcat (librdkafka), and the performance tools of Kafka's Java client.
//!
//! Each is one client that moves a given amount. Throughput and latency are what the tool itself reports where it does
//! (so a JVM's start does not count); what the target and the client used of the CPU is of the whole run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::NamedTempFile;

use crate::drive::{self, Load, Work};
use crate::kafka;
use crate::plan::{Client, ToolPlan};
use crate::process::Process;
use crate::report::{Latency, MIB, Run, float};
use crate::target::Target;
use crate::usage::{Used, Watch, children_cpu_seconds};

/// Moves `load` through `target` with the client that `tools` names.
///
/// # Errors
/// Where the client cannot do this work, fails, or finds fewer records than it is to move.
pub fn run(target: &Target, load: &Load, tools: &ToolPlan) -> anyhow::Result<Run> {
    if tools.client != Client::Driver {
        ensure!(load.rate.is_none(), "--rate is for the driver: real clients have their own pace");
    }
    let with_name = || format!("target `{}`", target.name);
    match (tools.client, load.work) {
        (Client::Driver, _) => drive::run(target, load),
        (Client::Kcat, Work::Consume) => kcat(target, load, tools).with_context(with_name),
        (Client::Java, Work::Consume) => java_consume(target, load, tools).with_context(with_name),
        (Client::Java, Work::Produce) => java_produce(target, load, tools).with_context(with_name),
        (client, work) => bail!("{client:?} is no client for {work:?}"),
    }
}

fn kcat(target: &Target, load: &Load, tools: &ToolPlan) -> anyhow::Result<Run> {
    let amount = Amount::of(load, tools)?;
    let settings = settings(&target.client_properties()?, str::to_owned)?;
    // Not quiet, because how it says that the topic ended before the amount was reached is the only sign of it.
    let mut command =
        ["sh", "-c", "exec kcat \"$@\" >/dev/null", "kcat"].map(OsString::from).to_vec();
    command.extend(["-F".into(), settings.path().as_os_str().to_owned()]);
    let records = amount.records.to_string();
    let arguments = ["-b", &target.address, "-C", "-t", &load.topic, "-o", "beginning", "-e"];
    command.extend(arguments.map(OsString::from));
    command.extend(["-c".into(), records.into()]);
    let ran = watch("kcat", &command, target)?;
    ensure!(!ran.log.contains(": exiting"), "{}", amount.short(&load.topic));
    Ok(ran.run(ran.seconds, amount.bytes, [None; 3]))
}

fn java_consume(target: &Target, load: &Load, tools: &ToolPlan) -> anyhow::Result<Run> {
    let amount = Amount::of(load, tools)?;
    let settings = java_settings(target)?;
    let mut command = java(tools, "org.apache.kafka.tools.ConsumerPerformance")?;
    let records = amount.records.to_string();
    let arguments = ["--bootstrap-server", &target.address, "--topic", &load.topic];
    command.extend(arguments.map(OsString::from));
    command.extend(["--num-records", &records, "--hide-header"].map(OsString::from));
    command.extend(["--command-config".into(), settings.path().as_os_str().to_owned()]);
    let ran = watch("ConsumerPerformance", &command, target)?;
    let report = Consumed::parse(&ran.log)
        .with_context(|| format!("ConsumerPerformance reports nothing:\n{}", ran.log))?;
    ensure!(report.records >= amount.records, "{}", amount.short(&load.topic));
    Ok(ran.run(report.seconds, report.bytes, [None; 3]))
}

fn java_produce(target: &Target, load: &Load, tools: &ToolPlan) -> anyhow::Result<Run> {
    let amount = Amount::of(load, tools)?;
    let settings = java_settings(target)?;
    let value = NamedTempFile::new()?;
    std::fs::write(&value, load.value())?;
    let mut command = java(tools, "org.apache.kafka.tools.ProducerPerformance")?;
    let records = amount.records.to_string();
    let arguments = ["--bootstrap-server", &target.address, "--topic", &load.topic];
    command.extend(arguments.map(OsString::from));
    command.extend(["--num-records", &records, "--throughput", "-1"].map(OsString::from));
    command.extend(["--payload-file".into(), value.path().as_os_str().to_owned()]);
    command.extend(["--command-config".into(), settings.path().as_os_str().to_owned()]);
    let linger = format!("linger.ms={}", tools.linger_ms);
    let acks = format!("acks={}", load.acks);
    command.extend(["--command-property", &acks, &linger, "batch.size=16384"].map(OsString::from));
    let ran = watch("ProducerPerformance", &command, target)?;
    let report = Produced::parse(&ran.log)
        .with_context(|| format!("ProducerPerformance reports nothing:\n{}", ran.log))?;
    ensure!(report.records == amount.records, "{} records were sent", report.records);
    Ok(ran.run(report.seconds, amount.bytes, report.quantiles_us.map(Some)))
}

/// How much a client moves.
struct Amount {
    records: u64,
    bytes: u64,
}

impl Amount {
    fn of(load: &Load, tools: &ToolPlan) -> anyhow::Result<Self> {
        let value_bytes = u64::try_from(load.value().len())?;
        ensure!(value_bytes > 0, "records of no bytes");
        let records = tools.bytes() / value_bytes;
        ensure!(records > 0, "--mebibytes is less than one record");
        Ok(Self { records, bytes: records * value_bytes })
    }

    fn short(&self, topic: &str) -> String {
        format!(
            "`{topic}` holds fewer than {} records: fill it, or lower --mebibytes",
            self.records
        )
    }
}

/// A client that has ended well.
struct Ran {
    seconds: f64,
    used: Used,
    client_cpu_seconds: f64,
    log: String,
}

impl Ran {
    fn run(&self, seconds: f64, bytes: u64, quantiles: [Option<f64>; 3]) -> Run {
        Run {
            seconds,
            requests: None,
            bytes,
            latency: Latency::Reported(quantiles),
            used: self.used,
            client_cpu_seconds: self.client_cpu_seconds,
        }
    }
}

/// Runs a client to its end and looks at the target meanwhile.
fn watch(name: &str, command: &[OsString], target: &Target) -> anyhow::Result<Ran> {
    let mut watch = Watch::begin(target.pid)?;
    let cpu_before = children_cpu_seconds()?;
    let started = Instant::now();
    let process = Process::start(name, command, None)?;
    let code = loop {
        if let Some(code) = process.await_exit(LOOK_EVERY) {
            break code;
        }
        watch.look()?;
        ensure!(started.elapsed() < PATIENCE, "{name} does not end:\n{}", process.last_lines());
    };
    let seconds = started.elapsed().as_secs_f64();
    ensure!(code == 0, "{name} ended with {code}:\n{}", process.last_lines());
    let client_cpu_seconds = children_cpu_seconds()? - cpu_before;
    Ok(Ran { seconds, used: watch.end()?, client_cpu_seconds, log: process.log() })
}

/// What ConsumerPerformance reports at its end.
#[derive(Debug, PartialEq)]
struct Consumed {
    records: u64,
    bytes: u64,
    /// While it fetched: without joining the group.
    seconds: f64,
}

impl Consumed {
    /// start, end, MiB, MiB/s, records, records/s, ms of rebalance, ms of fetching, and the rates while fetching.
    fn parse(log: &str) -> Option<Self> {
        log.lines().rev().find_map(|line| {
            let fields: Vec<&str> = line.split(", ").collect();
            let number = |index: usize| fields.get(index)?.trim().parse::<f64>().ok();
            (fields.len() == 10).then_some(())?;
            Some(Self {
                records: fields.get(4)?.parse().ok()?,
                bytes: whole(number(2)? * MIB),
                seconds: number(7)? / 1000.0,
            })
        })
    }
}

/// What ProducerPerformance reports at its end.
#[derive(Debug, PartialEq)]
struct Produced {
    records: u64,
    seconds: f64,
    /// p50, p99 and p99.9.
    quantiles_us: [f64; 3],
}

impl Produced {
    /// The last line, which alone has quantiles.
    fn parse(log: &str) -> Option<Self> {
        log.lines().rev().find_map(|line| {
            let before = |unit: &str| {
                let part = line.split(", ").find(|part| part.contains(unit))?;
                part.split(' ').next()?.parse::<f64>().ok()
            };
            let quantiles = [before(" 50th")?, before(" 99th")?, before(" 99.9th")?];
            let records = line.split(' ').next()?.parse::<u64>().ok()?;
            let per_second = before("records/sec").filter(|rate| *rate > 0.0)?;
            let quantiles_us = quantiles.map(|milliseconds| milliseconds * 1000.0);
            Some(Self { records, seconds: float(records) / per_second, quantiles_us })
        })
    }
}

fn java(tools: &ToolPlan, main: &str) -> anyhow::Result<Vec<OsString>> {
    let home = tools.kafka_home.as_deref().context("Java's client needs --kafka-home")?;
    ensure!(home.join("libs").is_dir(), "no libs folder with jars in {}", home.display());
    // English, because the reports are read here.
    let options = ["-Xmx512m", "-Duser.language=en"].map(OsString::from);
    Ok(kafka::java(home, &options, main))
}

fn java_settings(target: &Target) -> anyhow::Result<NamedTempFile> {
    settings(&java_properties(target.client_properties()?)?, |value| value.replace('\\', "\\\\"))
}

/// A file that only its owner reads, because it holds passwords; so they are on no command line either.
fn settings(
    properties: &BTreeMap<String, String>,
    escape: impl Fn(&str) -> String,
) -> anyhow::Result<NamedTempFile> {
    let mut text = String::new();
    for (name, value) in properties {
        writeln!(text, "{name}={}", escape(value))?;
    }
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}

/// Says the same in the terms of the Java client: its logins are JAAS, its authorities a trust store.
fn java_properties(
    mut properties: BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let password = properties.remove("sasl.password");
    let username = properties.remove("sasl.username");
    if let Some((username, password)) = username.zip(password) {
        let module = match properties.get("sasl.mechanism").map(String::as_str) {
            Some("PLAIN") => "plain.PlainLoginModule",
            Some(mechanism) if mechanism.starts_with("SCRAM-") => "scram.ScramLoginModule",
            other => bail!("no way to log in with sasl.mechanism {other:?} by name and password"),
        };
        let [username, password] =
            [username, password].map(|text| text.replace('\\', "\\\\").replace('"', "\\\""));
        let login = format!(
            "org.apache.kafka.common.security.{module} required username=\"{username}\" password=\"{password}\";"
        );
        properties.insert("sasl.jaas.config".to_owned(), login);
    }
    if let Some(file) = properties.remove("ssl.ca.location") {
        ensure!(Path::new(&file).is_file(), "no file {file}");
        properties.insert("ssl.truststore.type".to_owned(), "PEM".to_owned());
        properties.insert("ssl.truststore.location".to_owned(), file);
    }
    Ok(properties)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tool's report of bytes, which are neither negative nor beyond an integer"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// How often memory is looked at; a guess, short against any run.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longer than any sensible amount takes; a client that finds no broker would wait for ever.
const PATIENCE: Duration = Duration::from_secs(1800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let consumed = "WARNING: something, else\n\
            2026-01-02 03:04:05:678, 2026-01-02 03:04:09:678, 1024.0000, 256.0000, 1048576, 262144.0, 500, 2000, 512.0, 524288.0\n";
        let wanted = Consumed { records: 1 << 20, bytes: 1 << 30, seconds: 2.0 };
        assert_eq!(Consumed::parse(consumed), Some(wanted));
        assert_eq!(Consumed::parse("nothing, of, this\n"), None);
        let produced = "50000 records sent, 10000.0 records/sec (9.77 MB/sec), 4.0 ms avg latency, 9.0 ms max latency.\n\
            100000 records sent, 50000.000000 records/sec (48.83 MB/sec), 3.21 ms avg latency, 250.00 ms max latency, \
            1 ms 50th, 12 ms 95th, 50 ms 99th, 100 ms 99.9th.\n";
        let quantiles_us = [1_000.0, 50_000.0, 100_000.0];
        let wanted = Produced { records: 100_000, seconds: 2.0, quantiles_us };
        assert_eq!(Produced::parse(produced), Some(wanted));
        assert_eq!(Produced::parse(produced.split_once('\n').unwrap().0), None);
    }

    #[test]
    fn java_is_told_the_same_in_its_own_terms() {
        let file = NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let line = format!(
            "x=127.0.0.1:1,sasl.mechanism=PLAIN,sasl.username=a\"b,sasl.password=c,client.id=d,ssl.ca.location={path}"
        );
        let target: Target = line.parse().unwrap();
        let properties = java_properties(target.client_properties().unwrap()).unwrap();
        let login = &properties["sasl.jaas.config"];
        assert!(login.contains("PlainLoginModule required username=\"a\\\"b\" password=\"c\";"));
        assert_eq!(properties["ssl.truststore.type"], "PEM");
        assert_eq!(properties["ssl.truststore.location"], path);
        assert_eq!(properties["client.id"], "d");
        assert!(!properties.contains_key("sasl.password"));
        let written = settings(&properties, |value| value.replace('\\', "\\\\")).unwrap();
        let written = std::fs::read_to_string(written.path()).unwrap();
        assert!(written.contains("username=\"a\\\\\"b\""), "{written}");
        let odd: Target = "x=h:1,sasl.username=a,sasl.password=b".parse().unwrap();
        assert!(java_properties(odd.client_properties().unwrap()).is_err());
    }
}
