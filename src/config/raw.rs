//! The configuration as users write it: Kafka's spelling of names, strict, nothing checked yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sluicegate_actors::masking::registry::FETCH_TIMEOUT;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(rename = "data.dir")]
    pub(super) data_dir: PathBuf,
    #[serde(default)]
    pub(super) shards: RawShards,
    #[serde(rename = "shutdown.timeout.ms", default = "default_shutdown_timeout_ms")]
    pub(super) shutdown_timeout_ms: u64,
    pub(super) clusters: BTreeMap<String, RawCluster>,
    pub(super) listeners: BTreeMap<String, RawListener>,
    pub(super) issuers: BTreeMap<String, RawIssuer>,
    pub(super) policy: RawPolicy,
    pub(super) masking: Option<RawMasking>,
    #[serde(default)]
    pub(super) recording: RawRecording,
    #[serde(default)]
    pub(super) approvals: RawApprovals,
    pub(super) admin: Option<RawAdmin>,
    #[serde(default)]
    pub(super) diagnostics: RawDiagnostics,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum RawShards {
    Count(u32),
    Word(String),
    #[default]
    Absent,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCluster {
    #[serde(rename = "bootstrap.servers")]
    pub(super) bootstrap_servers: Vec<String>,
    pub(super) credentials: Vec<RawCredential>,
    #[serde(rename = "alterable.topic.configs")]
    pub(super) alterable_topic_configs: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCredential {
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(rename = "security.protocol")]
    pub(super) security_protocol: String,
    #[serde(rename = "sasl.mechanism")]
    pub(super) sasl_mechanism: Option<String>,
    #[serde(rename = "sasl.username")]
    pub(super) sasl_username: Option<String>,
    #[serde(rename = "sasl.password")]
    pub(super) sasl_password: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) cluster: String,
    pub(super) bind: String,
    #[serde(rename = "advertised.host")]
    pub(super) advertised_host: String,
    #[serde(rename = "broker.ports")]
    pub(super) broker_ports: RawPorts,
    #[serde(rename = "security.protocol")]
    pub(super) security_protocol: String,
    #[serde(rename = "ssl.certificate")]
    pub(super) ssl_certificate: Option<PathBuf>,
    #[serde(rename = "ssl.key")]
    pub(super) ssl_key: Option<PathBuf>,
    #[serde(rename = "sasl.enabled.mechanisms")]
    pub(super) sasl_enabled_mechanisms: Vec<String>,
    pub(super) issuers: Vec<String>,
    #[serde(rename = "max.connections.per.ip")]
    pub(super) max_connections_per_ip: Option<u32>,
    #[serde(rename = "max.connection.creation.rate")]
    pub(super) max_connection_creation_rate: Option<u32>,
    #[serde(rename = "max.connection.creation.rate.per.ip")]
    pub(super) max_connection_creation_rate_per_ip: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawPorts {
    Range(String),
    Map(BTreeMap<i32, u16>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIssuer {
    pub(super) issuer: String,
    pub(super) audience: Vec<String>,
    pub(super) jwks: String,
    pub(super) algorithms: Vec<String>,
    #[serde(rename = "groups.claim", default = "default_groups_claim")]
    pub(super) groups_claim: String,
    #[serde(rename = "groups.prefix", default)]
    pub(super) groups_prefix: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub(super) files: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMasking {
    #[serde(default)]
    pub(super) keys: BTreeMap<String, String>,
    pub(super) files: Vec<String>,
    pub(super) registry: Option<RawRegistry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegistry {
    pub(super) url: String,
    #[serde(rename = "basic.auth.user.info")]
    pub(super) basic_auth_user_info: Option<String>,
    #[serde(rename = "bearer.auth.token")]
    pub(super) bearer_auth_token: Option<String>,
    #[serde(rename = "ssl.ca.location")]
    pub(super) ssl_ca_location: Option<PathBuf>,
    #[serde(rename = "request.timeout.ms", default = "default_registry_timeout_ms")]
    pub(super) request_timeout_ms: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRecording {
    pub(super) payload: Option<String>,
    pub(super) sync: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApprovals {
    #[serde(default)]
    pub(super) approvers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDiagnostics {
    #[serde(rename = "poison.buffers", default)]
    pub(super) poison_buffers: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    pub(super) bind: String,
}

fn default_registry_timeout_ms() -> u64 {
    u64::try_from(FETCH_TIMEOUT.as_millis()).unwrap_or(u64::MAX)
}

fn default_shutdown_timeout_ms() -> u64 {
    10_000
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}
