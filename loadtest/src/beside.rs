//! The gateway beside the bare relay, in front of the null broker, all started here: the figures that every change can
//! be held against without preparing anything.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::client::{Connection, PlainLogin};
use crate::config::{self, AUDIENCE, ISSUER_URL, PERMIT_ALL, Setup};
use crate::plan::{BesidePlan, Payload};
use crate::report::Summary;
use crate::requests::{METADATA_VERSION, metadata};
use crate::target::Target;
use crate::token::Issuer;
use crate::{broker, compare};

/// Starts everything, compares, and ends everything.
///
/// # Errors
/// Where a program does not start, or a run fails.
pub fn run(plan: &BesidePlan) -> anyhow::Result<Vec<Summary>> {
    let load = plan.load.load()?;
    let this = std::env::current_exe().context("this program has no path")?;
    let gateway = match &plan.gateway {
        Some(gateway) => gateway.clone(),
        None => this.with_file_name("sluicegate"),
    };
    ensure!(gateway.is_file(), "no gateway at {}: build it first", gateway.display());

    // A process of its own, so that its threads do not run under this one's name.
    let broker_address = free_address()?;
    let mut arguments = vec!["broker".to_owned(), "--listen".to_owned()];
    arguments.extend([broker_address.to_string(), "--topic".to_owned(), load.topic.clone()]);
    arguments.extend(["--partitions".to_owned(), load.partitions.to_string()]);
    arguments.extend(["--record-bytes".to_owned(), load.record_bytes.to_string()]);
    arguments.extend(["--batch-records".to_owned(), load.batch_records.to_string()]);
    if let Some(file) = &plan.load.value_file {
        arguments.extend(["--value-file".to_owned(), file.display().to_string()]);
    }
    let _broker = Running::start(&this, &arguments, broker_address)?;

    let relay_address = free_address()?;
    let mut arguments = vec!["relay".to_owned(), "--listen".to_owned(), relay_address.to_string()];
    arguments.extend(["--to".to_owned(), broker_address.to_string()]);
    let relay = Running::start(&this, &arguments, relay_address)?;

    let mut targets = vec![relay.target("relay", None)];
    let mut gateways = Vec::new();
    for payload in &plan.payloads {
        let gateway = Gateway::start(&gateway, plan, *payload, broker_address)?;
        targets.push(gateway.running.target(gateway.name, Some(gateway.login.clone())));
        gateways.push(gateway);
    }
    compare(&targets, &load, plan.rounds)
}

/// A child process that ends with this value.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts a program and waits until it accepts connections.
    fn start(program: &Path, arguments: &[String], address: SocketAddr) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut running = Self { child, address };
        running.await_true(|| Ok(TcpStream::connect(address).is_ok()))?;
        Ok(running)
    }

    /// Asks until the answer is yes; the process has no other way to say so.
    fn await_true(&mut self, ask: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while !ask()? {
            if let Some(status) = self.child.try_wait()? {
                bail!("the process for {} ended: {status}", self.address);
            }
            ensure!(Instant::now() < deadline, "nothing serves on {}", self.address);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn target(&self, name: &str, login: Option<PlainLogin>) -> Target {
        let mut target = Target::new(name, self.address);
        target.pid = Some(self.child.id());
        if let Some(PlainLogin { username, password }) = login {
            target.set("security.protocol", "SASL_PLAINTEXT");
            target.set("sasl.mechanism", "PLAIN");
            target.set("sasl.username", &username);
            target.set("sasl.password", &password);
        }
        target
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A gateway with its folder. (Fields end in this order: the process before its folder.)
struct Gateway {
    name: &'static str,
    running: Running,
    login: PlainLogin,
    _folder: TempDir,
}

impl Gateway {
    fn start(
        program: &Path,
        plan: &BesidePlan,
        payload: Payload,
        broker: SocketAddr,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sluicegate-beside-").tempdir()?;
        let issuer = Issuer::new(ISSUER_URL)?;
        let masks = plan.masks.as_ref().map(std::fs::read_to_string).transpose();
        let setup = Setup {
            broker,
            broker_login: None,
            group_logins: Vec::new(),
            bind: free_address()?,
            broker_ports: vec![(broker::NODE_ID, free_address()?)],
            admin: free_address()?,
            encrypted: false,
            shards: Some(plan.shards),
            policy: permit_without_unmask(),
            masks: masks.context("cannot read the masks")?.unwrap_or_default(),
            payload: match payload {
                Payload::None => "none",
                Payload::Delivered => "delivered",
            },
            more: String::new(),
        };
        config::write(folder.path(), &setup, &issuer)?;
        let file = folder.path().join("sluicegate.yaml").display().to_string();
        let arguments = ["serve".to_owned(), "--config".to_owned(), file];
        let mut running = Running::start(program, &arguments, setup.bind)?;
        let claims = issuer.claims(AUDIENCE, "loadtest", &["load"], TOKEN_LIFE)?;
        let login = PlainLogin { username: "loadtest".to_owned(), password: issuer.sign(&claims)? };
        // It listens before it knows the cluster; it serves when it knows the topic.
        running.await_true(|| Ok(serves(setup.bind, &login, &plan.load.topic)))?;
        let name = match payload {
            Payload::None => "gateway",
            Payload::Delivered => "gateway+payload",
        };
        Ok(Self { name, running, login, _folder: folder })
    }
}

fn serves(address: SocketAddr, login: &PlainLogin, topic: &str) -> bool {
    let answer = Connection::open(address, START_PATIENCE).and_then(|mut connection| {
        connection.login(login)?;
        connection.call(METADATA_VERSION, &metadata(Some(&[topic])))
    });
    answer.is_ok_and(|answer| answer.topics.iter().all(|topic| topic.error_code == 0))
}

/// Everything but `unmask`, so that masks apply where there are some.
fn permit_without_unmask() -> String {
    format!(
        "{PERMIT_ALL}@id(\"masked\")\nforbid (principal, action == Action::\"unmask\", resource);\n"
    )
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Longer than any of them takes to start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any comparison.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
