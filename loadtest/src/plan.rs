//! The command line: what to run, against whom, how much.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, ValueEnum};

use crate::client::PlainLogin;
use crate::drive::{Load, Target, Work};
use crate::relay;

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
    /// Start null broker, relay and gateway on this machine, and compare them.
    Beside(BesidePlan),
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
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 1)]
    pub depth: u32,
    /// Requests per second over all connections; as fast as they are answered without it.
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
}

/// Options of `fill`.
#[derive(Args, Debug)]
pub struct FillPlan {
    /// `name=host:port`, with `,username=…,password=…` or `,token-file=…` where it wants a login.
    pub target: TargetPlan,
    /// How much to write to each partition, in MiB.
    #[arg(long, default_value_t = 64)]
    pub mebibytes: u64,
    /// Topic, partitions and batches.
    #[command(flatten)]
    pub load: LoadPlan,
}

/// Options of `drive`.
#[derive(Args, Debug)]
pub struct DrivePlan {
    /// `name=host:port`, with `,pid=…` to measure a process, `,username=…,password=…` or `,token-file=…` to log in.
    pub target: TargetPlan,
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
    /// Targets as for `drive`; the others are told beside the first.
    #[arg(required = true)]
    pub targets: Vec<TargetPlan>,
    /// How often each target has its turn.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// The load.
    #[command(flatten)]
    pub load: LoadPlan,
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
    /// What the gateway records of payloads; may be repeated, for a gateway each.
    #[arg(long = "payload", value_enum, default_values = ["none", "delivered"])]
    pub payloads: Vec<Payload>,
    /// Shards of the gateway.
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Mask rules for the gateway, as a YAML file; the clients see no label in clear then.
    #[arg(long)]
    pub masks: Option<PathBuf>,
    /// A file whose content is the value of every record that the null broker holds.
    #[arg(long)]
    pub value_file: Option<PathBuf>,
    /// How often each target has its turn.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// The load.
    #[command(flatten)]
    pub load: LoadPlan,
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

/// What a gateway keeps of the records that it delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payload {
    /// Who read what, without the records.
    None,
    /// The records too.
    Delivered,
}

/// A target as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    name: String,
    address: String,
    pid: Option<u32>,
    username: Option<String>,
    secret: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Secret {
    Password(String),
    TokenFile(PathBuf),
}

impl FromStr for TargetPlan {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = text.split(',');
        let (name, address) = parts
            .next()
            .and_then(|first| first.split_once('='))
            .with_context(|| format!("`{text}` does not begin with name=host:port"))?;
        let mut target = Self {
            name: name.to_owned(),
            address: address.to_owned(),
            pid: None,
            username: None,
            secret: None,
        };
        for part in parts {
            let (key, value) =
                part.split_once('=').with_context(|| format!("`{part}` is not key=value"))?;
            match key {
                "pid" => target.pid = Some(value.parse().context("pid is not a number")?),
                "username" => target.username = Some(value.to_owned()),
                "password" => target.secret = Some(Secret::Password(value.to_owned())),
                "token-file" => target.secret = Some(Secret::TokenFile(value.into())),
                _ => bail!("`{key}` is none of pid, username, password, token-file"),
            }
        }
        Ok(target)
    }
}

impl TargetPlan {
    /// Looks up the address and reads the token.
    ///
    /// # Errors
    /// Where the host has no address or the file cannot be read.
    pub fn resolve(&self) -> anyhow::Result<Target> {
        let mut addresses = self
            .address
            .to_socket_addrs()
            .with_context(|| format!("`{}` is not host:port", self.address))?;
        let address = addresses.next().ok_or_else(|| anyhow!("`{}` is nowhere", self.address))?;
        let password = match &self.secret {
            None => None,
            Some(Secret::Password(password)) => Some(password.clone()),
            Some(Secret::TokenFile(file)) => {
                let token = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                Some(token.trim().to_owned())
            }
        };
        let login = password.map(|password| {
            let username = self.username.clone().unwrap_or_else(|| "loadtest".to_owned());
            PlainLogin { username, password }
        });
        Ok(Target { name: self.name.clone(), address, login, pid: self.pid })
    }
}

impl LoadPlan {
    /// The load in checked units.
    ///
    /// # Errors
    /// Where a time is negative or no number.
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_or_refused() {
        for (text, wanted) in [
            ("relay=127.0.0.1:1", Ok(("relay", None))),
            ("gw=localhost:9092,pid=12,username=a,password=b=c", Ok(("gw", Some(("a", "b=c"))))),
            ("gw=127.0.0.1:1,password=p", Ok(("gw", Some(("loadtest", "p"))))),
            ("127.0.0.1:1", Err(())),
            ("x=127.0.0.1:1,pid=y", Err(())),
            ("x=127.0.0.1:1,what=y", Err(())),
            ("x=nowhere", Err(())),
            ("x=127.0.0.1:1,token-file=/no/such/file", Err(())),
        ] {
            let target = text.parse::<TargetPlan>().and_then(|plan| plan.resolve());
            let read = target.as_ref().map_err(|_| ()).map(|target| {
                let login = target.login.as_ref();
                let login = login.map(|login| (login.username.as_str(), login.password.as_str()));
                (target.name.as_str(), login)
            });
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Plan::command().debug_assert();
        let line = ["x", "compare", "a=127.0.0.1:1", "b=127.0.0.1:2,pid=1", "--acks", "-1"];
        let Plan::Compare(plan) = Plan::try_parse_from(line).unwrap() else { panic!() };
        assert_eq!(plan.targets.len(), 2);
        assert_eq!(plan.load.load().unwrap().acks, -1);
    }
}
