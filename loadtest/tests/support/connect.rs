//! A worker of Kafka Connect in distributed mode, as it comes: its settings, and its REST interface.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use sluicegate_loadtest::process::Process;
use tempfile::TempDir;

use super::clients::{Access, Login};
use super::programs::Program;
use super::{PATIENCE, START_PATIENCE, free_addresses};

/// A running worker, alone in its cluster.
pub struct Worker {
    process: Process,
    address: SocketAddr,
    access: Access,
    folder: TempDir,
}

impl Worker {
    /// Starts the cluster `own-NAME` of one worker, whose topics are `own-NAME-configs`, `-offsets` and `-status`, and waits
    /// until it serves. Its sources write exactly once.
    pub fn start(access: Access, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sluicegate-connect-").tempdir().unwrap();
        let [address] = free_addresses("127.0.0.1");
        std::fs::write(folder.path().join("worker.properties"), properties(&access, name, address))
            .unwrap();
        let process = launch(&access, &folder, address);
        Self { process, address, access, folder }
    }

    /// Asks it to end, waits for that, and starts another in its place.
    pub fn replace(&mut self) {
        self.process.signal(Signal::TERM);
        assert!(self.process.await_exit(PATIENCE).is_some(), "{}", self.process.log());
        self.process = launch(&self.access, &self.folder, self.address);
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Makes a connector of one task.
    pub fn configure(&self, connector: &str, mut settings: Value) {
        settings["tasks.max"] = json!("1");
        self.put(&format!("/connectors/{connector}/config"), &settings.to_string());
    }

    /// `pause` or `resume`.
    pub fn tell(&self, connector: &str, what: &str) {
        self.put(&format!("/connectors/{connector}/{what}"), "");
    }

    /// Waits until the task of a connector is in this state, and returns what it says of it.
    pub fn await_task(&self, connector: &str, state: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, body) = request(self.address, "GET", &path_of(connector), "").unwrap();
            let status: Value = serde_json::from_str(&body).unwrap_or_default();
            if status["tasks"][0]["state"] == state {
                return status["tasks"][0].clone();
            }
            assert!(Instant::now() < deadline, "`{connector}` is not {state}: {body}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Puts something, again where the worker says that it is busy with a rebalance (409).
    fn put(&self, path: &str, body: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, answer) = request(self.address, "PUT", path, body).unwrap();
            if (200..300).contains(&code) {
                return;
            }
            assert!(code == 409 && Instant::now() < deadline, "{path}: {code} {answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn path_of(connector: &str) -> String {
    format!("/connectors/{connector}/status")
}

fn launch(access: &Access, folder: &TempDir, address: SocketAddr) -> Process {
    let program = Program::java("connect", "org.apache.kafka.connect.cli.ConnectDistributed");
    let file = folder.path().join("worker.properties");
    let process = program.start(access, &[file.to_str().unwrap()]);
    let serves = || request(address, "GET", "/connectors", "").is_ok_and(|(code, _)| code == 200);
    process.await_true(START_PATIENCE, serves).unwrap();
    process
}

fn properties(access: &Access, name: &str, address: SocketAddr) -> String {
    let Login::Plain(login) = &access.login else { panic!("the worker logs in by PLAIN") };
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    let mut text = format!(
        "bootstrap.servers={}
group.id=own-{name}
exactly.once.source.support=enabled
key.converter={converter}
value.converter={converter}
plugin.discovery=service_load
listeners=http://{address}
offset.flush.interval.ms=500
",
        access.bootstrap
    );
    for (topic, stored) in [("configs", "config"), ("offsets", "offset"), ("status", "status")] {
        writeln!(text, "{stored}.storage.topic=own-{name}-{topic}").unwrap();
        writeln!(text, "{stored}.storage.replication.factor=1").unwrap();
        if stored != "config" {
            writeln!(text, "{stored}.storage.partitions=1").unwrap();
        }
    }
    for client in ["", "producer.", "consumer.", "admin."] {
        write!(
            text,
            "{client}security.protocol=SASL_PLAINTEXT
{client}sasl.mechanism=PLAIN
{client}sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             username=\"{}\" password=\"{}\";
",
            login.username, login.password
        )
        .unwrap();
    }
    text
}

/// One request, whose answer ends with its connection; the code and the body.
fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((code, body.to_owned()))
}
