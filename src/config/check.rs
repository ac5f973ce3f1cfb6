//! `RawConfig` → [`Config`]: every value is checked once, and names its key when it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use secrecy::{SecretSlice, SecretString};
use sluicegate_actors::auth::source::PlainHttp;
use sluicegate_actors::masking::Keys;
use sluicegate_actors::masking::registry::{Credentials, Registry, RegistryConfig};
use sluicegate_actors::recorder::RecordLevel;

use super::load::{BadValue, files, interpolate};
use super::raw::{
    RawConfig, RawCredential, RawIssuer, RawListener, RawMasking, RawPorts, RawRecording,
    RawRegistry, RawShards,
};
use super::{
    BrokerLogin, BrokerPorts, Cluster, Config, ConnectionLimits, Credential, Diagnostics, HostPort,
    Issuer, Jwks, Listener, Masking, Mechanism, RecordSync, Recording, TlsFiles,
};
use crate::limits;

/// Algorithms that an issuer may list: never a symmetric one, never `none`.
const ALGORITHMS: &[&str] =
    &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

pub(super) fn checked(raw: RawConfig, base: &Path) -> Result<Config, BadValue> {
    let issuers = raw
        .issuers
        .into_iter()
        .map(|(name, issuer)| Ok((name.clone(), checked_issuer(&name, issuer, base)?)))
        .collect::<Result<BTreeMap<_, _>, BadValue>>()?;
    let mut clusters = BTreeMap::new();
    for (name, cluster) in raw.clusters {
        let key = format!("clusters.{name}");
        clusters.insert(name, checked_cluster(&key, cluster, base)?);
    }
    let mut listeners = Vec::new();
    for (name, listener) in raw.listeners {
        listeners.push(checked_listener(name, listener, &clusters, &issuers, base)?);
    }
    if listeners.is_empty() {
        return Err(BadValue::new("listeners", "needs at least one listener"));
    }
    let admin_bind = raw.admin.map(|admin| checked_admin(&admin.bind)).transpose()?;
    if admin_bind.is_none() && !raw.approvals.approvers.is_empty() {
        let reason = "needs `admin.bind` too: tickets are answered over the admin API";
        return Err(BadValue::new("approvals.approvers", reason));
    }
    if admin_bind.is_some() {
        // Approvers of every listener come to it, so it takes all of their issuers together.
        let all: BTreeSet<String> =
            listeners.iter().flat_map(|listener| listener.issuers.clone()).collect();
        check_issuers("admin.bind", &Vec::from_iter(all), &issuers)?;
    }
    Ok(Config {
        data_dir: base.join(raw.data_dir),
        shards: shard_count(&raw.shards)?,
        shutdown_timeout: Duration::from_millis(raw.shutdown_timeout_ms),
        clusters,
        listeners,
        issuers,
        policy_files: files("policy.files", &raw.policy.files, base)?,
        masking: raw.masking.map(|masking| checked_masking(&masking, base)).transpose()?,
        recording: checked_recording(&raw.recording)?,
        approvers: raw.approvals.approvers,
        diagnostics: Diagnostics { poison_buffers: raw.diagnostics.poison_buffers },
        admin_bind,
    })
}

/// Tokens go over it in clear, so it stays on this machine.
fn checked_admin(bind: &str) -> Result<SocketAddr, BadValue> {
    let bind = address("admin.bind", bind)?;
    if !bind.ip().is_loopback() {
        let reason = format!("`{bind}` is not on loopback: write `127.0.0.1:{}`", bind.port());
        return Err(BadValue::new("admin.bind", reason));
    }
    Ok(bind)
}

fn shard_count(raw: &RawShards) -> Result<usize, BadValue> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = match raw {
        RawShards::Absent => cores,
        RawShards::Word(word) if word == "auto" => cores,
        RawShards::Word(word) => {
            return Err(BadValue::new("shards", format!("`{word}`: write `auto` or a number")));
        }
        RawShards::Count(count) => usize::try_from(*count).unwrap_or(usize::MAX),
    };
    if count == 0 || count > cores {
        return Err(BadValue::new(
            "shards",
            format!("{count}: each shard needs a core, and there are {cores}; write `auto`"),
        ));
    }
    Ok(count)
}

/// Settings of topics whose change deletes nothing and makes nothing less safe.
const ALTERABLE_TOPIC_CONFIGS: [&str; 9] = [
    "compression.type",
    "max.message.bytes",
    "message.timestamp.type",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "segment.bytes",
    "segment.ms",
    "segment.index.bytes",
    "index.interval.bytes",
];

fn checked_cluster(
    key: &str,
    raw: super::raw::RawCluster,
    base: &Path,
) -> Result<Cluster, BadValue> {
    let servers_key = format!("{key}.bootstrap.servers");
    let bootstrap_servers = raw
        .bootstrap_servers
        .iter()
        .map(|server| host_port(&servers_key, server))
        .collect::<Result<Vec<_>, _>>()?;
    if bootstrap_servers.is_empty() {
        return Err(BadValue::new(servers_key, "needs at least one `host:port`"));
    }
    let credentials = raw
        .credentials
        .into_iter()
        .enumerate()
        .map(|(index, credential)| {
            checked_credential(&format!("{key}.credentials[{index}]"), credential, base)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if !credentials.last().is_some_and(|last| last.groups.is_empty()) {
        return Err(BadValue::new(
            format!("{key}.credentials"),
            "the last one must have no `groups`: it serves everyone else and the gateway itself",
        ));
    }
    let alterable_topic_configs = raw
        .alterable_topic_configs
        .unwrap_or_else(|| ALTERABLE_TOPIC_CONFIGS.map(str::to_owned).to_vec())
        .into();
    Ok(Cluster { bootstrap_servers, credentials, alterable_topic_configs })
}

fn checked_credential(key: &str, raw: RawCredential, base: &Path) -> Result<Credential, BadValue> {
    let login = match raw.security_protocol.as_str() {
        "PLAINTEXT" => BrokerLogin::Plaintext,
        "SASL_PLAINTEXT" => {
            let mechanism = raw.sasl_mechanism.as_deref().unwrap_or("");
            if mechanism != "PLAIN" {
                return Err(BadValue::new(
                    format!("{key}.sasl.mechanism"),
                    format!("`{mechanism}` is not supported towards brokers yet; use PLAIN"),
                ));
            }
            let required = |name: &str, value: Option<String>| {
                let key = format!("{key}.{name}");
                let text = value.ok_or_else(|| BadValue::new(&key, "is required for PLAIN"))?;
                interpolate(&key, &text, base)
            };
            BrokerLogin::SaslPlain {
                username: required("sasl.username", raw.sasl_username)?,
                password: SecretString::from(required("sasl.password", raw.sasl_password)?),
            }
        }
        other => {
            return Err(BadValue::new(
                format!("{key}.security.protocol"),
                format!("`{other}`: write PLAINTEXT or SASL_PLAINTEXT"),
            ));
        }
    };
    Ok(Credential { groups: raw.groups, login })
}

fn checked_listener(
    name: String,
    raw: RawListener,
    clusters: &BTreeMap<String, Cluster>,
    issuers: &BTreeMap<String, Issuer>,
    base: &Path,
) -> Result<Listener, BadValue> {
    let key = |field: &str| format!("listeners.{name}.{field}");
    let connections = connection_limits(&raw, &key)?;
    if !clusters.contains_key(&raw.cluster) {
        return Err(BadValue::new(key("cluster"), unknown(&raw.cluster, clusters.keys())));
    }
    check_issuers(&key("issuers"), &raw.issuers, issuers)?;
    let tls = match raw.security_protocol.as_str() {
        "SASL_PLAINTEXT" => None,
        "SASL_SSL" => match (raw.ssl_certificate, raw.ssl_key) {
            (Some(certificate), Some(file)) => {
                Some(TlsFiles { certificate: base.join(certificate), key: base.join(file) })
            }
            _ => {
                return Err(BadValue::new(
                    key("security.protocol"),
                    "SASL_SSL needs `ssl.certificate` and `ssl.key`",
                ));
            }
        },
        other => {
            return Err(BadValue::new(
                key("security.protocol"),
                format!("`{other}`: write SASL_SSL or SASL_PLAINTEXT"),
            ));
        }
    };
    let mechanisms = raw
        .sasl_enabled_mechanisms
        .iter()
        .map(|mechanism| match mechanism.as_str() {
            "OAUTHBEARER" => Ok(Mechanism::OauthBearer),
            "PLAIN" => Ok(Mechanism::Plain),
            other => Err(BadValue::new(
                key("sasl.enabled.mechanisms"),
                format!("`{other}`: write OAUTHBEARER or PLAIN"),
            )),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if mechanisms.is_empty() {
        return Err(BadValue::new(key("sasl.enabled.mechanisms"), "needs at least one"));
    }
    Ok(Listener {
        connections,
        bind: address(&key("bind"), &raw.bind)?,
        broker_ports: broker_ports(&key("broker.ports"), raw.broker_ports)?,
        cluster: raw.cluster,
        advertised_host: raw.advertised_host,
        tls,
        mechanisms,
        issuers: raw.issuers,
        name,
    })
}

fn connection_limits(
    raw: &RawListener,
    key: &impl Fn(&str) -> String,
) -> Result<ConnectionLimits, BadValue> {
    let limit = |field: &str, value: Option<u32>| match value.map(NonZeroU32::new) {
        Some(None) => {
            let reason = "0 would let nobody in; leave it out for no limit";
            Err(BadValue::new(key(field), reason))
        }
        other => Ok(other.flatten()),
    };
    let per_address_and_second = "max.connection.creation.rate.per.ip";
    Ok(ConnectionLimits {
        per_address: limit("max.connections.per.ip", raw.max_connections_per_ip)?,
        per_second: limit("max.connection.creation.rate", raw.max_connection_creation_rate)?,
        per_address_and_second: limit(
            per_address_and_second,
            raw.max_connection_creation_rate_per_ip,
        )?,
    })
}

/// Every issuer must exist, and all but one need a distinct prefix: a weaker issuer must not mint a stronger one's
/// groups.
fn check_issuers(
    key: &str,
    names: &[String],
    issuers: &BTreeMap<String, Issuer>,
) -> Result<(), BadValue> {
    if names.is_empty() {
        return Err(BadValue::new(key, "needs at least one issuer"));
    }
    let mut prefixes = BTreeSet::new();
    for name in names {
        let issuer =
            issuers.get(name).ok_or_else(|| BadValue::new(key, unknown(name, issuers.keys())))?;
        if !prefixes.insert(issuer.groups_prefix.as_str()) {
            return Err(BadValue::new(
                key,
                format!("`{name}` needs a `groups.prefix` of its own beside the other issuers"),
            ));
        }
    }
    Ok(())
}

fn checked_issuer(name: &str, raw: RawIssuer, base: &Path) -> Result<Issuer, BadValue> {
    let key = |field: &str| format!("issuers.{name}.{field}");
    if raw.issuer.is_empty() {
        return Err(BadValue::new(key("issuer"), "must not be empty"));
    }
    if raw.audience.is_empty() || raw.audience.iter().any(String::is_empty) {
        return Err(BadValue::new(key("audience"), "needs at least one name"));
    }
    if raw.algorithms.is_empty() {
        return Err(BadValue::new(key("algorithms"), "needs at least one"));
    }
    for algorithm in &raw.algorithms {
        if !ALGORITHMS.contains(&algorithm.as_str()) {
            return Err(BadValue::new(
                key("algorithms"),
                format!("`{algorithm}` is not one of {}", ALGORITHMS.join(", ")),
            ));
        }
    }
    let jwks = if raw.jwks.starts_with("https://") || raw.jwks.starts_with("http://") {
        Jwks::Url(raw.jwks)
    } else {
        Jwks::File(base.join(raw.jwks))
    };
    Ok(Issuer {
        issuer: raw.issuer,
        audience: raw.audience,
        jwks,
        algorithms: raw.algorithms,
        groups_claim: raw.groups_claim,
        groups_prefix: raw.groups_prefix,
    })
}

fn checked_masking(raw: &RawMasking, base: &Path) -> Result<Masking, BadValue> {
    let mut keys = Vec::new();
    for (id, key) in &raw.keys {
        let key = interpolate(&format!("masking.keys.{id}"), key, base)?;
        keys.push((id.clone(), SecretSlice::from(key.into_bytes())));
    }
    let keys = Keys::new(keys).map_err(|error| BadValue::new("masking.keys", error.to_string()))?;
    let registry = raw.registry.as_ref().map(|raw| checked_registry(raw, base)).transpose()?;
    Ok(Masking { keys, files: files("masking.files", &raw.files, base)?, registry })
}

fn checked_registry(raw: &RawRegistry, base: &Path) -> Result<RegistryConfig, BadValue> {
    const KEY: &str = "masking.registry";
    let secret = |name: &str, value: &str| interpolate(&format!("{KEY}.{name}"), value, base);
    let credentials = match (&raw.basic_auth_user_info, &raw.bearer_auth_token) {
        (None, None) => Credentials::None,
        (Some(user), None) => {
            let user = secret("basic.auth.user.info", user)?;
            let reason =
                "write `user:password`; `${env:NAME}` or `${file:PATH}` keep it out of here";
            let (user, password) = user
                .split_once(':')
                .ok_or_else(|| BadValue::new(format!("{KEY}.basic.auth.user.info"), reason))?;
            Credentials::Basic { user: user.to_owned(), password: password.into() }
        }
        (None, Some(token)) => Credentials::Bearer(secret("bearer.auth.token", token)?.into()),
        (Some(_), Some(_)) => {
            let reason = "write `basic.auth.user.info` or `bearer.auth.token`, not both";
            return Err(BadValue::new(KEY, reason));
        }
    };
    let limit_ms = u64::try_from(limits::ASK_MS_MAX.as_millis()).unwrap_or(u64::MAX);
    if !(1..=limit_ms).contains(&raw.request_timeout_ms) {
        let reason = format!("{}: write 1 to {limit_ms}", raw.request_timeout_ms);
        return Err(BadValue::new(format!("{KEY}.request.timeout.ms"), reason));
    }
    let config = RegistryConfig {
        url: raw.url.clone(),
        credentials,
        authorities: raw.ssl_ca_location.as_ref().map(|path| base.join(path)),
        plain_http: PlainHttp::LoopbackOnly,
        timeout: Duration::from_millis(raw.request_timeout_ms),
    };
    Registry::new(config.clone()).map_err(|error| BadValue::new(KEY, error.to_string()))?;
    Ok(config)
}

fn checked_recording(raw: &RawRecording) -> Result<Recording, BadValue> {
    let payload = match raw.payload.as_deref() {
        None | Some("delivered") => RecordLevel::Delivered,
        Some("none") => RecordLevel::None,
        Some(other) => {
            return Err(BadValue::new(
                "recording.payload",
                format!("`{other}`: write `delivered` or `none`"),
            ));
        }
    };
    let sync = match raw.sync.as_deref() {
        None | Some("process") => RecordSync::Process,
        Some("interval") => RecordSync::Interval,
        Some("always") => RecordSync::Always,
        Some(other) => {
            return Err(BadValue::new(
                "recording.sync",
                format!("`{other}`: write `process`, `interval` or `always`"),
            ));
        }
    };
    Ok(Recording { payload, sync })
}

fn broker_ports(key: &str, raw: RawPorts) -> Result<BrokerPorts, BadValue> {
    match raw {
        RawPorts::Map(ports) if ports.is_empty() => {
            Err(BadValue::new(key, "needs a port for each broker"))
        }
        RawPorts::Map(ports) => Ok(BrokerPorts::Map(ports)),
        RawPorts::Range(text) => text
            .split_once('-')
            .and_then(|(first, last)| {
                Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
            })
            .filter(|(first, last)| 0 < *first && first <= last)
            .map(|(first, last)| BrokerPorts::Range { first, last })
            .ok_or_else(|| {
                BadValue::new(key, format!("`{text}`: write `9093-9192`, or a map {{1001: 9093}}"))
            }),
    }
}

fn address(key: &str, text: &str) -> Result<SocketAddr, BadValue> {
    text.to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| BadValue::new(key, format!("`{text}` is not `address:port`")))
}

fn host_port(key: &str, text: &str) -> Result<HostPort, BadValue> {
    text.rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .filter(|(host, port)| !host.is_empty() && *port > 0)
        .map(|(host, port)| HostPort {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
        })
        .ok_or_else(|| BadValue::new(key, format!("`{text}` is not `host:port`")))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    format!("`{name}` is not configured; there are: {}", known.join(", "))
}
