//! The gateway under test: its own folder, configuration, issuer and process.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluicegate_loadtest::client::PlainLogin;
use sluicegate_loadtest::config::{self, PERMIT_ALL};
use sluicegate_loadtest::process::Process;
use sluicegate_loadtest::tls;
use tempfile::TempDir;

use super::kafka::{GATEWAY_USER, Kafka, login_of};
use super::tokens::Issuer;
use super::{PATIENCE, free_addresses};

/// How a gateway is configured; the rest is the same for all tests.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The Cedar policies.
    pub policy: String,
    /// The mask rules, as YAML; empty for none.
    pub masks: String,
    /// The URL of a schema registry, where the rules need one.
    pub registry: Option<String>,
    /// `delivered` or `none`.
    pub payload: &'static str,
    /// Whether clients connect by TLS.
    pub encrypted: bool,
    /// The broker; the shared Kafka's guarded listener where none is named.
    pub broker: Option<SocketAddr>,
    /// The gateway's own login there; none where the broker wants none.
    pub broker_login: Option<PlainLogin>,
    /// Its logins for the groups of some identities, which come before that one.
    pub group_logins: Vec<(&'static str, PlainLogin)>,
    /// The brokers that have a port, by id.
    pub broker_ids: Vec<i32>,
    /// More lines for the configuration, at its top level.
    pub more: String,
    /// `recording.sync`, where it is not the default.
    pub sync: Option<&'static str>,
    /// The host that clients are told, where it is not the gateway's own: that of a relay on the same ports.
    pub advertised_host: Option<&'static str>,
    /// More lines for the listener, without their indentation.
    pub listener: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: PERMIT_ALL.to_owned(),
            masks: String::new(),
            registry: None,
            payload: "delivered",
            encrypted: false,
            broker: None,
            broker_login: Some(login_of(GATEWAY_USER)),
            group_logins: Vec::new(),
            broker_ids: vec![1],
            more: String::new(),
            sync: None,
            advertised_host: None,
            listener: Vec::new(),
        }
    }
}

/// A running gateway.
pub struct Gateway {
    pub process: Process,
    /// The bootstrap address.
    pub address: SocketAddr,
    /// The port that stands for each broker, in the order of `Setup::broker_ids`.
    pub broker_addresses: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub issuer: Issuer,
    setup: Setup,
    directory: TempDir,
}

impl Gateway {
    /// Starts a gateway in front of `kafka` and waits until it serves.
    pub fn start(kafka: &Kafka, setup: Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("sluicegate-test-").tempdir().unwrap();
        let [address, admin, first, second, third] = free_addresses("127.0.0.1");
        let broker_ports: Vec<(i32, SocketAddr)> =
            setup.broker_ids.iter().copied().zip([first, second, third]).collect();
        let broker_addresses = broker_ports.iter().map(|(_, address)| *address).collect();
        let issuer = Issuer::new();
        let folder = directory.path();
        if setup.encrypted {
            tls::write_certificates(folder).unwrap();
        }
        let written = config::Setup {
            broker: setup.broker.unwrap_or(kafka.guarded()),
            broker_login: setup.broker_login.clone(),
            group_logins: setup.group_logins.clone(),
            bind: address,
            broker_ports,
            admin,
            encrypted: setup.encrypted,
            shards: Some(2),
            policy: setup.policy.clone(),
            masks: setup.masks.clone(),
            registry: setup.registry.clone(),
            payload: setup.payload,
            more: setup.more.clone(),
        };
        config::write(folder, &written, &issuer.0).unwrap();
        amend(folder, &setup);
        let process = launch(folder, admin);
        Self { process, address, broker_addresses, admin, issuer, setup, directory }
    }

    /// Starts it again in its old folder, after it ended.
    pub fn restart(&mut self) {
        self.process = launch(self.directory.path(), self.admin);
    }

    /// The folder that holds configuration and data.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The PEM file of the authority that signed its certificate, where it speaks TLS.
    pub fn authority(&self) -> Option<PathBuf> {
        self.setup.encrypted.then(|| self.folder().join(tls::AUTHORITY_FILE))
    }

    /// Replaces the policies, at once and whole.
    pub fn replace_policy(&self, policy: &str) {
        let fresh = self.folder().join("policy.new");
        std::fs::write(&fresh, policy).unwrap();
        std::fs::rename(fresh, self.folder().join("policy.cedar")).unwrap();
    }

    /// Runs another command of the same program on this gateway's configuration; its output and exit code.
    pub fn run(&self, arguments: &[&str]) -> (String, i32) {
        let output = std::process::Command::new(program())
            .args(arguments)
            .env("SLUICEGATE_CONFIG", self.folder().join("sluicegate.yaml"))
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (text, output.status.code().unwrap_or(-1))
    }

    /// The inodes of its sockets. Its files are another matter: the index opens and closes them as it likes.
    pub fn sockets(&self) -> HashSet<u64> {
        let folder = format!("/proc/{}/fd", self.process.pid());
        let links = std::fs::read_dir(folder).unwrap().filter_map(|entry| {
            let link = std::fs::read_link(entry.ok()?.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        });
        links.collect()
    }

    /// Waits until it has no more than `count` sockets.
    pub fn await_sockets(&self, count: usize, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let open = self.sockets().len();
            if open <= count {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{open} sockets are open after {within:?}, not {count}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its resident memory now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn resident_bytes_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()));
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// The gateway's program: beside the tests' own, as Cargo places it.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("sluicegate");
    assert!(program.is_file(), "no {}: run cargo build --release first", program.display());
    program
}

fn launch(folder: &Path, admin: SocketAddr) -> Process {
    let command = vec![
        program().into_os_string(),
        "serve".into(),
        "--config".into(),
        folder.join("sluicegate.yaml").into_os_string(),
    ];
    let process = Process::start("sluicegate", &command, Some(folder)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Its log says `ready`; where its log level hides that, the admin port does.
    while process.await_line("ready", Duration::from_millis(100)).is_none() && !is_ready(admin) {
        let ended = process.await_exit(Duration::ZERO);
        assert!(ended.is_none(), "the gateway ended with {ended:?}:\n{}", process.log());
        assert!(Instant::now() < deadline, "the gateway is not ready:\n{}", process.log());
    }
    process
}

/// What only tests have in their listeners.
fn amend(folder: &Path, setup: &Setup) {
    let file = folder.join("sluicegate.yaml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    if let Some(host) = setup.advertised_host {
        text = text.replace("advertised.host: 127.0.0.1", &format!("advertised.host: {host}"));
    }
    if let Some(sync) = setup.sync {
        text = text.replace("recording:\n", &format!("recording:\n  sync: {sync}\n"));
    }
    let lines: String = setup.listener.iter().map(|line| format!("    {line}\n")).collect();
    text = text.replace("    issuers: [test]\n", &format!("    issuers: [test]\n{lines}"));
    std::fs::write(file, text).unwrap();
}

fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
