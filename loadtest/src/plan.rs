//! The command line: what to run, against whom, how much.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Parser, ValueEnum};

use crate::drive::{Load, Work};
use crate::relay;
use crate::target::Target;

/// Load for a Kafka gateway, and what to compare it with.
#[derive(Debug, Parser)]
#[command(name = "sluicegate-loadtest", version, args_override_self = true)]
pub enum Plan {
    /// A TCP relay that knows no protocol: the floor to compare a gateway with.
    Relay(RelayPlan),
    /// A broker that keeps nothing and answers every fetch from memory.
    Broker(BrokerPlan),
    /// Create a topic on a real broker and fill it.
    Fill(FillPlan),
    /// Drive one target and print its figures.
    Drive(DrivePlan),
    /// Drive several targets in turns, another first in each round, and print medians and ratios.
    Compare(ComparePlan),
    /// Start a broker, relays and gateways on this machine, and compare them.
    Beside(BesidePlan),
    /// Start null broker and gateway on this machine, and hold many connections that do nothing.
    Idle(IdlePlan),
}

/// Options of `relay`.
#[derive(Args, Debug)]
pub struct RelayPlan {
    /// Where to listen.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where to relay to.
    #[arg(long)]
    pub to: SocketAddr,
    /// Bytes of one read at most.
    #[arg(long, default_value_t = relay::BUFFER_BYTES)]
    pub buffer_bytes: usize,
    /// Speak TLS to clients, with this certificate chain (PEM).
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

/// Options of `broker`.
#[derive(Args, Debug)]
pub struct BrokerPlan {
    /// Where to listen.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The address to advertise, where it is another.
    #[arg(long)]
    pub advertise: Option<SocketAddr>,
    /// A topic that it holds; may be repeated.
    #[arg(long = "topic", default_value = "load")]
    pub topics: Vec<String>,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    /// Size of each record's value in bytes.
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Records in each batch that a fetch brings.
    #[arg(long, default_value_t = 15)]
    pub batch_records: usize,
    /// A file whose content is the value of every record.
    #[arg(long)]
    pub value_file: Option<PathBuf>,
}

/// What each request is and how many there are.
#[derive(Args, Clone, Debug)]
pub struct LoadPlan {
    /// What each request does.
    #[arg(long, value_enum, default_value = "consume")]
    pub work: Work,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    pub connections: u32,
    /// Requests under way on each connection (closed loop).
    #[arg(long, default_value_t = 1, conflicts_with = "rate")]
    pub depth: u32,
    /// Requests per second over all connections, sent when they are due, however many are under way; latency counts
    /// from then (open loop, no coordinated omission).
    #[arg(long)]
    pub rate: Option<u32>,
    /// Seconds that are not measured.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// The topic.
    #[arg(long, default_value = "load")]
    pub topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    /// Size of a produced record's value in bytes.
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Records in a produced batch; the default makes batches of 16 KiB.
    #[arg(long, default_value_t = 15)]
    pub batch_records: usize,
    /// The most bytes that a fetch brings.
    #[arg(long, default_value_t = 1 << 20)]
    pub fetch_bytes: i32,
    /// Acknowledgements that a produce waits for: 1 or -1.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub acks: i16,
    /// A file whose content is the value of every record.
    #[arg(long)]
    pub value_file: Option<PathBuf>,
}

/// Options of `fill`.
#[derive(Args, Debug)]
pub struct FillPlan {
    /// As for `compare`.
    pub target: Target,
    /// How much to write to the topic, in MiB.
    #[arg(long, default_value_t = 1024)]
    pub mebibytes: u64,
    /// Topic, partitions and batches.
    #[command(flatten)]
    pub load: LoadPlan,
}

/// Options of `drive`.
#[derive(Args, Debug)]
pub struct DrivePlan {
    /// As for `compare`.
    pub target: Target,
    /// The load.
    #[command(flatten)]
    pub load: LoadPlan,
    /// How to print the figures.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Options of `compare`.
#[derive(Args, Debug)]
pub struct ComparePlan {
    /// `name=host:port[,pid=N][,property=value…]`: a pid to measure a process on this machine, and properties of a Kafka
    /// client under their standard names: security.protocol, sasl.mechanism, sasl.username, sasl.password,
    /// ssl.ca.location (PEM); and sasl.password.file, a file that holds the password, such as a token. The others are
    /// told beside the first.
    #[arg(required = true)]
    pub targets: Vec<Target>,
    /// The load.
    #[command(flatten)]
    pub load: LoadPlan,
    /// The comparison.
    #[command(flatten)]
    pub comparison: ComparisonPlan,
}

/// How targets are compared: the same for `compare` and `beside`.
#[derive(Args, Clone, Debug)]
pub struct ComparisonPlan {
    /// How often each target has its turn.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Fail where a target needs more than this many times the CPU of the first target, in the median of the rounds:
    /// per GiB, or per request where the work is small requests.
    #[arg(long)]
    pub cpu_ratio_max: Option<f64>,
    /// Kafka's programs and real clients.
    #[command(flatten)]
    pub tools: ToolPlan,
    /// How to print the figures.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Options of `beside`.
#[derive(Args, Debug)]
pub struct BesidePlan {
    /// The gateway's program; the one beside this program without it.
    #[arg(long)]
    pub gateway: Option<PathBuf>,
    /// What to compare, in a list with commas; the others are told beside the first.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "relay,gateway,gateway-payload"
    )]
    pub targets: Vec<Kind>,
    /// What stands behind them.
    #[arg(long, value_enum, default_value = "null")]
    pub broker: BrokerKind,
    /// Shards of the gateway.
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Mask rules for the gateway, as a YAML file; the clients see no label in clear then.
    #[arg(long)]
    pub masks: Option<PathBuf>,
    /// The load.
    #[command(flatten)]
    pub load: LoadPlan,
    /// The comparison.
    #[command(flatten)]
    pub comparison: ComparisonPlan,
}

/// Options of `idle`.
#[derive(Args, Debug)]
pub struct IdlePlan {
    /// The gateway's program; the one beside this program without it.
    #[arg(long)]
    pub gateway: Option<PathBuf>,
    /// Connections to hold.
    #[arg(long, default_value_t = 10_000)]
    pub connections: u32,
    /// Identities among which they are divided, with a token each.
    #[arg(long, default_value_t = 100)]
    pub sessions: u32,
    /// Connect by TLS.
    #[arg(long)]
    pub tls: bool,
    /// Shards of the gateway; one for each core without it.
    #[arg(long)]
    pub shards: Option<u32>,
    /// Seconds of idling, and of the active load before and beside it.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Requests per second of the active load.
    #[arg(long, default_value_t = 500)]
    pub rate: u32,
    /// How to print the figures.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For the terminal.
    Table,
    /// An array of targets.
    Json,
}

/// Options for Kafka's own programs and for real clients.
#[derive(Args, Clone, Debug)]
pub struct ToolPlan {
    /// Who moves the records. A real client is one client that moves `--mebibytes`: `--connections`, `--depth`, `--rate`
    /// and `--seconds` are the driver's, and it warms up in one round more unless `--warm-up` is 0.
    #[arg(long, value_enum, default_value = "driver")]
    pub client: Client,
    /// The folder whose `libs` holds Kafka's jars.
    #[arg(long, env = "SLUICEGATE_KAFKA_HOME")]
    pub kafka_home: Option<PathBuf>,
    /// How much a real client moves in a run, and how much `beside --broker kafka` fills the topic with, in MiB.
    #[arg(long, default_value_t = 1024)]
    pub mebibytes: u64,
    /// How long Java's producer waits for more records, in milliseconds; the default is its own.
    #[arg(long, default_value_t = 5)]
    pub linger_ms: u32,
}

/// Who moves the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// This program.
    Driver,
    /// kcat, which stands on librdkafka; it consumes.
    Kcat,
    /// The performance tools of Kafka's Java client, of `--kafka-home`; they consume (in a group, which the null broker
    /// does not speak) and produce.
    Java,
}

impl ToolPlan {
    /// `mebibytes` in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.mebibytes.saturating_mul(1024 * 1024)
    }
}

/// What `beside` can start and compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The broker itself.
    Direct,
    /// A relay that knows no protocol.
    Relay,
    /// The same with TLS to the client.
    RelayTls,
    /// The gateway, which records who read and wrote what.
    Gateway,
    /// The gateway as it is by default: it records the record batches too.
    GatewayPayload,
    /// The gateway with TLS to the client.
    GatewayTls,
    /// The gateway with TLS to the client, recording record batches.
    GatewayTlsPayload,
}

impl Kind {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A broker that `beside` can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BrokerKind {
    /// The null broker.
    Null,
    /// Real Apache Kafka, one node.
    Kafka,
}

impl LoadPlan {
    /// The load in checked units.
    ///
    /// # Errors
    /// Where a time is negative or no number, or the value cannot be read.
    pub fn load(&self) -> anyhow::Result<Load> {
        let time = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).with_context(|| format!("`{seconds}` seconds"))
        };
        Ok(Load {
            work: self.work,
            connections: self.connections,
            depth: self.depth,
            rate: self.rate,
            warm_up: time(self.warm_up)?,
            duration: time(self.seconds)?,
            topic: self.topic.clone(),
            partitions: self.partitions,
            record_bytes: self.record_bytes,
            batch_records: self.batch_records,
            fetch_bytes: self.fetch_bytes,
            acks: self.acks,
            value: read_value(self.value_file.as_deref())?,
        })
    }
}

/// The content of a file that is the value of every record.
///
/// # Errors
/// Where it cannot be read.
pub fn read_value(file: Option<&Path>) -> anyhow::Result<Option<Bytes>> {
    let Some(file) = file else { return Ok(None) };
    let value = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Plan::command().debug_assert();
        let line = ["x", "compare", "a=127.0.0.1:1", "b=127.0.0.1:2,pid=1", "--acks", "-1"];
        let Plan::Compare(plan) = Plan::try_parse_from(line).unwrap() else { panic!() };
        assert_eq!(plan.targets.len(), 2);
        assert_eq!(plan.load.load().unwrap().acks, -1);
        let line = ["x", "beside", "--targets", "relay-tls,gateway-tls", "--client", "java"];
        let Plan::Beside(plan) = Plan::try_parse_from(line).unwrap() else { panic!() };
        assert_eq!(plan.targets, [Kind::RelayTls, Kind::GatewayTls]);
        assert_eq!(
            plan.targets.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(","),
            line[3]
        );
        for refused in [
            ["x", "compare", "a=127.0.0.1:1,username=b"].as_slice(),
            &["x", "drive", "a=127.0.0.1:1", "--rate", "10", "--depth", "2"],
            &["x", "relay", "--listen", "127.0.0.1:1", "--to", "127.0.0.1:2", "--tls-key", "k"],
        ] {
            assert!(Plan::try_parse_from(refused).is_err(), "{refused:?}");
        }
    }
}
