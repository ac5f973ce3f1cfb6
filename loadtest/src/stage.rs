//! What a comparison on this machine needs, each a process of its own: null broker, real Kafka, relays, gateways.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::client::Connection;
use crate::config::{self, AUDIENCE, ISSUER_URL, PERMIT_ALL, Setup};
use crate::process::Process;
use crate::requests::{METADATA_VERSION, metadata};
use crate::target::Target;
use crate::token::Issuer;
use crate::{broker, kafka, tls};

/// What the null broker holds, and for whom it stands.
#[derive(Clone, Debug)]
pub struct NullBroker<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Size of each record's value, in bytes.
    pub record_bytes: usize,
    /// Records in each batch.
    pub batch_records: usize,
    /// A file whose content is the value of every record instead.
    pub value_file: Option<&'a Path>,
}

impl NullBroker<'_> {
    /// Starts it on `listen`; clients are told `advertised`.
    ///
    /// # Errors
    /// Where it does not serve.
    pub fn start(&self, listen: SocketAddr, advertised: SocketAddr) -> anyhow::Result<Process> {
        let mut command = this_program("broker")?;
        let mut option = |name: &str, value: String| {
            command.extend([OsString::from(name), OsString::from(value)]);
        };
        option("--listen", listen.to_string());
        option("--advertise", advertised.to_string());
        option("--topic", self.topic.to_owned());
        option("--partitions", self.partitions.to_string());
        option("--record-bytes", self.record_bytes.to_string());
        option("--batch-records", self.batch_records.to_string());
        if let Some(file) = self.value_file {
            command.extend(["--value-file".into(), file.as_os_str().to_owned()]);
        }
        let process = Process::start("null broker", &command, None)?;
        process.await_accept(PATIENCE, listen)?;
        Ok(process)
    }
}

/// Starts a relay from `listen` to `to`; with TLS where `certificates` is a folder that holds some, for it alone.
///
/// # Errors
/// Where it does not serve.
pub fn relay(
    listen: SocketAddr,
    to: SocketAddr,
    certificates: Option<&Path>,
) -> anyhow::Result<Process> {
    let mut command = this_program("relay")?;
    command.extend(["--listen".into(), listen.to_string().into()]);
    command.extend(["--to".into(), to.to_string().into()]);
    if let Some(folder) = certificates {
        command.extend(["--tls-certificate".into(), folder.join(tls::CERTIFICATE_FILE).into()]);
        command.extend(["--tls-key".into(), folder.join(tls::KEY_FILE).into()]);
    }
    let process = Process::start("relay", &command, certificates)?;
    process.await_accept(PATIENCE, listen)?;
    Ok(process)
}

/// Starts Kafka in `folder`: on `open`, and with one more listener for each pair of an address to listen on and the
/// address of a relay that stands for it, since a relay rewrites no answer.
///
/// # Errors
/// Where it does not start.
pub fn kafka(
    home: &Path,
    folder: &Path,
    open: SocketAddr,
    relayed: &[(SocketAddr, SocketAddr)],
) -> anyhow::Result<Process> {
    ensure!(home.join("libs").is_dir(), "no libs folder with jars in {}", home.display());
    let controller = free_address()?;
    let mut listeners = format!("OPEN://{open},CONTROLLER://{controller}");
    let mut advertised = format!("OPEN://{open}");
    let mut protocols = "OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    for (index, (listen, relay)) in relayed.iter().enumerate() {
        listeners.push_str(&format!(",RELAY{index}://{listen}"));
        advertised.push_str(&format!(",RELAY{index}://{relay}"));
        protocols.push_str(&format!(",RELAY{index}:PLAINTEXT"));
    }
    let properties = BTreeMap::from([
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", broker::NODE_ID.to_string()),
        ("controller.quorum.voters", format!("{}@{controller}", broker::NODE_ID)),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", listeners),
        ("advertised.listeners", advertised),
        ("listener.security.protocol.map", protocols),
        ("inter.broker.listener.name", "OPEN".to_owned()),
    ]);
    let format_arguments = Vec::new();
    kafka::Node { home, folder, heap: "-Xmx1g", properties, format_arguments }.start(JVM_PATIENCE)
}

/// How a gateway is started.
#[derive(Clone, Debug)]
pub struct GatewayPlan<'a> {
    /// Its program.
    pub program: &'a Path,
    /// The broker behind it, whose id is [`broker::NODE_ID`].
    pub broker: SocketAddr,
    /// A topic that must be served before it counts as ready.
    pub topic: &'a str,
    /// Shards, one for each core where it is not said.
    pub shards: Option<u32>,
    /// The mask rules, as YAML; empty for none.
    pub masks: &'a str,
    /// What is recorded of payloads: `delivered` or `none`.
    pub payload: &'static str,
    /// Whether clients connect by TLS.
    pub encrypted: bool,
}

/// A running gateway with its folder. (Fields end in this order: the process before its folder.)
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub process: Process,
    /// Where clients connect.
    pub address: SocketAddr,
    issuer: Issuer,
    encrypted: bool,
    folder: TempDir,
}

impl Gateway {
    /// Starts it and waits until it serves the topic.
    ///
    /// # Errors
    /// Where it does not come to that.
    pub fn start(plan: &GatewayPlan) -> anyhow::Result<Self> {
        let folder = folder()?;
        let issuer = Issuer::new(ISSUER_URL)?;
        let setup = Setup {
            broker: plan.broker,
            broker_login: None,
            group_logins: Vec::new(),
            bind: free_address()?,
            broker_ports: vec![(broker::NODE_ID, free_address()?)],
            admin: free_address()?,
            encrypted: plan.encrypted,
            shards: plan.shards,
            policy: permit_without_unmask(),
            masks: plan.masks.to_owned(),
            registry: None,
            payload: plan.payload,
            more: String::new(),
        };
        if plan.encrypted {
            tls::write_certificates(folder.path())?;
        }
        config::write(folder.path(), &setup, &issuer)?;
        let mut command = vec![plan.program.as_os_str().to_owned()];
        command.extend(["serve".into(), "--config".into()]);
        command.push(folder.path().join("sluicegate.yaml").into());
        let process = Process::start("gateway", &command, Some(folder.path()))?;
        let address = setup.bind;
        let gateway = Self { process, address, issuer, encrypted: plan.encrypted, folder };
        gateway.process.await_accept(PATIENCE, address)?;
        // It listens before it knows the cluster; it serves when it knows the topic.
        let access = gateway.target("gateway", "loadtest")?.access()?;
        gateway.process.await_true(PATIENCE, || {
            access.connect(PATIENCE).is_ok_and(|connection| serves(connection, plan.topic))
        })?;
        Ok(gateway)
    }

    /// The gateway as a target, with a token of `subject`.
    ///
    /// # Errors
    /// Where the token cannot be signed.
    pub fn target(&self, name: &str, subject: &str) -> anyhow::Result<Target> {
        let claims = self.issuer.claims(AUDIENCE, subject, &["load"], TOKEN_LIFE)?;
        let mut target = Target::new(name, self.address);
        target.pid = Some(self.process.pid());
        let protocol = if self.encrypted { "SASL_SSL" } else { "SASL_PLAINTEXT" };
        target.set("security.protocol", protocol);
        target.set("sasl.mechanism", "PLAIN");
        target.set("sasl.username", subject);
        target.set("sasl.password", &self.issuer.sign(&claims)?);
        if self.encrypted {
            target.set_authority(self.folder.path());
        }
        Ok(target)
    }
}

impl Target {
    /// Trusts the authority of the certificates in `folder`.
    pub fn set_authority(&mut self, folder: &Path) {
        let file = folder.join(tls::AUTHORITY_FILE);
        self.set("ssl.ca.location", &file.display().to_string());
    }
}

fn serves(mut connection: Connection, topic: &str) -> bool {
    let answer = connection.call(METADATA_VERSION, &metadata(Some(&[topic])));
    answer.is_ok_and(|answer| answer.topics.iter().all(|topic| topic.error_code == 0))
}

/// Everything but `unmask`, so that masks apply where there are some.
fn permit_without_unmask() -> String {
    format!(
        "{PERMIT_ALL}@id(\"masked\")\nforbid (principal, action == Action::\"unmask\", resource);\n"
    )
}

/// The gateway's program: as named, or beside this one.
///
/// # Errors
/// Where there is no such file.
pub fn gateway_program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match named {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()?.with_file_name("sluicegate"),
    };
    ensure!(program.is_file(), "no gateway at {}: build it first", program.display());
    Ok(program)
}

/// A process of its own, so that its threads do not run under this one's name.
fn this_program(command: &str) -> anyhow::Result<Vec<OsString>> {
    let program = std::env::current_exe().context("this program has no path")?;
    Ok(vec![program.into_os_string(), command.into()])
}

/// A folder that ends with the value.
///
/// # Errors
/// Where it cannot be made.
pub fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("sluicegate-load-").tempdir()?)
}

/// A loopback address that nothing listened on a moment ago.
///
/// # Errors
/// Where there is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Longer than any of them takes to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for a JVM, which may share a small machine with compilers.
const JVM_PATIENCE: Duration = Duration::from_secs(180);

/// Longer than any comparison.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
