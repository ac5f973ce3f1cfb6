//! `sluicegate.yaml` → `RawConfig` → the checked [`Config`]; units are converted once, here.

mod check;
mod load;
mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sluicegate_actors::masking::Keys;
use sluicegate_actors::masking::registry::RegistryConfig;
use sluicegate_actors::recorder::RecordLevel;

pub use load::ConfigError;

/// What the gateway runs with: every name resolved, every path absolute or relative to the working directory.
#[derive(Debug)]
pub struct Config {
    /// The record log and its keys live here.
    pub data_dir: PathBuf,
    /// Number of shards; each is pinned to a core.
    pub shards: usize,
    /// From SIGTERM to the exit, at most.
    pub shutdown_timeout: Duration,
    /// Kafka clusters by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// Where clients connect, in the order of their names.
    pub listeners: Vec<Listener>,
    /// Who may mint tokens, by name.
    pub issuers: BTreeMap<String, Issuer>,
    /// Policy files, after globbing; never empty.
    pub policy_files: Vec<PathBuf>,
    /// Mask rules and their key, where masking is configured.
    pub masking: Option<Masking>,
    /// What is recorded, and how surely.
    pub recording: Recording,
    /// Groups that a policy may name in `@approvers`.
    pub approvers: Vec<String>,
    /// Aids for tests.
    pub diagnostics: Diagnostics,
    /// The admin API's address, where configured; on loopback.
    pub admin_bind: Option<SocketAddr>,
}

/// One Kafka cluster and the gateway's own logins to it.
#[derive(Debug)]
pub struct Cluster {
    /// `host:port` of some brokers, resolved by the control plane.
    pub bootstrap_servers: Vec<HostPort>,
    /// The first whose groups match is used; the last one matches everybody.
    pub credentials: Vec<Credential>,
    /// Settings of topics that clients with the right to it may change; of the others nobody may.
    pub alterable_topic_configs: Arc<[String]>,
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// As written; not resolved.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// A login to brokers.
#[derive(Debug)]
pub struct Credential {
    /// Groups of identities that use it; empty for everybody.
    pub groups: Vec<String>,
    /// How it logs in.
    pub login: BrokerLogin,
}

/// How the gateway logs in to a broker.
#[derive(Debug)]
pub enum BrokerLogin {
    /// `PLAINTEXT`: the broker asks for nothing.
    Plaintext,
    /// `SASL_PLAINTEXT` with mechanism PLAIN.
    SaslPlain {
        /// User name.
        username: String,
        /// Password; in memory only.
        password: SecretString,
    },
}

impl BrokerLogin {
    /// Who it is, for logs; never a secret.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plaintext => "without a login",
            Self::SaslPlain { username, .. } => username,
        }
    }
}

/// A listener: one bootstrap address and one port for each broker.
#[derive(Debug)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// The cluster behind it.
    pub cluster: String,
    /// The bootstrap address.
    pub bind: SocketAddr,
    /// The host that clients are told.
    pub advertised_host: String,
    /// The port of each broker.
    pub broker_ports: BrokerPorts,
    /// TLS certificate and key, where the listener speaks TLS.
    pub tls: Option<TlsFiles>,
    /// SASL mechanisms that are offered.
    pub mechanisms: Vec<Mechanism>,
    /// Names of the issuers whose tokens are taken.
    pub issuers: Vec<String>,
    /// What is closed at the door.
    pub connections: ConnectionLimits,
}

/// How many connections a listener takes, all of its ports together; nothing is limited where nothing is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open ones of one address.
    pub per_address: Option<NonZeroU32>,
    /// New ones in a second.
    pub per_second: Option<NonZeroU32>,
    /// New ones of one address in a second.
    pub per_address_and_second: Option<NonZeroU32>,
}

/// Aids for tests, off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// Read buffers hold 0xA5 wherever they hold nothing, so that a byte that is shown by mistake is seen.
    pub poison_buffers: bool,
}

/// PEM files of a listener's certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// SASL mechanisms of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 7628.
    OauthBearer,
    /// RFC 4616 with the token as password.
    Plain,
}

/// Which port stands for which broker id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerPorts {
    /// Broker id n at `first` + n.
    Range {
        /// The port of broker 0.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// As listed.
    Map(BTreeMap<i32, u16>),
}

/// An issuer of tokens: without any of these it could not be trusted, so all are required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The exact `iss`.
    pub issuer: String,
    /// One of them must be in `aud`.
    pub audience: Vec<String>,
    /// Where its keys are.
    pub jwks: Jwks,
    /// Signature algorithms that are accepted.
    pub algorithms: Vec<String>,
    /// A dotted path into the claims.
    pub groups_claim: String,
    /// Put before each group.
    pub groups_prefix: String,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// A file, read again when it changes.
    File(PathBuf),
    /// A URL, fetched again every 5 minutes.
    Url(String),
}

/// Mask rules and the keys of keyed methods.
#[derive(Debug)]
pub struct Masking {
    /// The keys of keyed methods, by id.
    pub keys: Keys,
    /// Rule files, after globbing.
    pub files: Vec<PathBuf>,
    /// Where schemas of records are, where rules need them.
    pub registry: Option<RegistryConfig>,
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whether the record batches themselves are recorded.
    pub payload: RecordLevel,
    /// When an entry counts as written.
    pub sync: RecordSync,
}

/// When an entry counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSync {
    /// Handed to the kernel: survives a kill of the process.
    Process,
    /// Synced once a second: survives the machine but for the last second.
    Interval,
    /// Synced before it is answered: survives the machine.
    Always,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line where there is one, the key, and the fix.
    pub fn load(path: &std::path::Path) -> Result<Self, ConfigError> {
        let (raw, base) = load::read(path)?;
        check::checked(raw, &base).map_err(|error| error.in_file(path))
    }
}

impl BrokerPorts {
    /// The port of a broker, if it has one.
    #[must_use]
    pub fn port(&self, broker: i32) -> Option<u16> {
        match self {
            Self::Range { first, last } => {
                let port = u16::try_from(broker).ok()?.checked_add(*first)?;
                (port <= *last).then_some(port)
            }
            Self::Map(ports) => ports.get(&broker).copied(),
        }
    }
}

impl Mechanism {
    /// The IANA name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OauthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
        }
    }
}

#[cfg(test)]
mod tests;
