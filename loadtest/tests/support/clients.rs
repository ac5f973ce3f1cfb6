//! Real clients, driven through `clients/java` and `clients/python`: one process of each family serves all tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sluicegate_loadtest::client::PlainLogin;

/// A family of clients: one implementation of the protocol that many languages build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Kafka's own.
    Java,
    /// librdkafka, through confluent-kafka for Python.
    Python,
}

/// Both families, for tests that must hold for each.
pub const FAMILIES: [Family; 2] = [Family::Java, Family::Python];

/// Where and as whom a client connects.
#[derive(Clone, Debug)]
pub struct Access {
    pub bootstrap: SocketAddr,
    pub login: Login,
    /// PEM file of the authority to trust; with one, the connection is encrypted.
    pub authority: Option<PathBuf>,
}

/// How a client logs in.
#[derive(Clone, Debug)]
pub enum Login {
    None,
    Plain(PlainLogin),
    Bearer(String),
}

/// What a client says when it fails. `code` is Kafka's, or negative for what the client found out by itself.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct ClientError {
    pub name: String,
    pub code: i32,
    pub message: String,
    pub retriable: bool,
}

/// A record as sent or received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: Option<i64>,
    /// Only in records received.
    pub offset: Option<i64>,
}

impl Record {
    /// A record with a value alone, for partition 0.
    pub fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { partition: Some(0), value: Some(value.into()), ..Self::default() }
    }

    /// The value as text; fails the test where there is none or it is not text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap()).unwrap()
    }
}

/// What a poll brought.
#[derive(Debug)]
pub struct Polled {
    pub records: Vec<Record>,
    pub error: Option<ClientError>,
}

/// What counting the values of [`Producer::generate`] brought.
#[derive(Debug, serde::Deserialize)]
pub struct Counted {
    pub records: u64,
    pub different: u64,
    pub bytes: u64,
    pub error: Option<ClientError>,
}

/// What [`Producer::generate`] did: how many were acknowledged, and the errors of the others by name.
#[derive(Debug, serde::Deserialize)]
pub struct Generated {
    pub acknowledged: u64,
    pub errors: HashMap<String, u64>,
}

type Answer = Result<Value, ClientError>;

/// The process that runs the clients of one family.
struct Server {
    family: Family,
    stdin: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, Sender<Answer>>>>,
    next_id: AtomicU64,
}

/// One client: an open handle in the server of its family.
struct Handle {
    server: &'static Server,
    kind: &'static str,
    number: u64,
}

pub struct Producer(Handle);
pub struct Consumer(Handle);
pub struct Admin(Handle);
pub struct Serdes(Handle);

impl Family {
    /// Opens a producer; `config` is in the names that both families share, or in this one's.
    pub fn producer(self, access: &Access, config: &[(&str, &str)]) -> Producer {
        Producer(self.open("producer", access, config).unwrap())
    }

    pub fn consumer(self, access: &Access, config: &[(&str, &str)]) -> Consumer {
        Consumer(self.open("consumer", access, config).unwrap())
    }

    /// The serialiser and the deserialiser of confluent-kafka for one schema.
    pub fn serdes(self, request: Value) -> Serdes {
        assert_eq!(self, Self::Python, "no other family has them");
        let mut request = request;
        request["op"] = json!("serdes.open");
        let server = self.server();
        let number = server.call(request).unwrap()["handle"].as_u64().unwrap();
        Serdes(Handle { server, kind: "serdes", number })
    }

    pub fn admin(self, access: &Access, config: &[(&str, &str)]) -> Admin {
        Admin(self.open("admin", access, config).unwrap())
    }

    fn open(
        self,
        kind: &'static str,
        access: &Access,
        config: &[(&str, &str)],
    ) -> Result<Handle, ClientError> {
        let mut settings: Map<String, Value> =
            config.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        settings.insert("bootstrap.servers".to_owned(), json!(access.bootstrap.to_string()));
        let login = match &access.login {
            Login::None => Value::Null,
            Login::Plain(PlainLogin { username, password }) => {
                json!({"mechanism": "PLAIN", "username": username, "password": password})
            }
            Login::Bearer(token) => json!({"mechanism": "OAUTHBEARER", "token": token}),
        };
        let request = json!({
            "op": format!("{kind}.open"),
            "config": settings,
            "login": login,
            "ca": access.authority,
        });
        let server = self.server();
        let result = server.call(request)?;
        Ok(Handle { server, kind, number: result["handle"].as_u64().unwrap() })
    }

    fn server(self) -> &'static Server {
        static JAVA: OnceLock<Server> = OnceLock::new();
        static PYTHON: OnceLock<Server> = OnceLock::new();
        match self {
            Self::Java => JAVA.get_or_init(|| Server::start(self)),
            Self::Python => PYTHON.get_or_init(|| Server::start(self)),
        }
    }
}

impl Server {
    fn start(family: Family) -> Self {
        let mut child = match family {
            Family::Java => java(),
            Family::Python => python(),
        }
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let waiting: Arc<Mutex<HashMap<u64, Sender<Answer>>>> = Arc::default();
        let senders = Arc::clone(&waiting);
        let output = BufReader::new(child.stdout.take().unwrap());
        let stdin = Mutex::new(child.stdin.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut answer: Value = serde_json::from_str(&line).unwrap();
                let sender = senders.lock().unwrap().remove(&answer["id"].as_u64().unwrap());
                let answer = match answer.get_mut("error") {
                    Some(error) => Err(serde_json::from_value(error.take()).unwrap()),
                    None => Ok(answer["result"].take()),
                };
                // A test that gave up waiting is gone.
                sender.map(|sender| sender.send(answer).ok());
            }
            // Whoever still waits learns that nothing will come.
            senders.lock().unwrap().clear();
            child.wait().ok();
        });
        Self { family, stdin, waiting, next_id: AtomicU64::new(1) }
    }

    fn call(&self, request: Value) -> Answer {
        self.begin(request)
            .recv_timeout(CALL_PATIENCE)
            .unwrap_or_else(|error| panic!("the {:?} clients do not answer: {error}", self.family))
    }

    fn begin(&self, mut request: Value) -> Receiver<Answer> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        request["id"] = json!(id);
        let (sender, receiver) = channel();
        self.waiting.lock().unwrap().insert(id, sender);
        writeln!(self.stdin.lock().unwrap(), "{request}").unwrap();
        receiver
    }
}

impl Handle {
    fn call(&self, operation: &str, request: Value) -> Answer {
        self.server.call(self.request(operation, request))
    }

    fn request(&self, operation: &str, mut request: Value) -> Value {
        request["op"] = json!(format!("{}.{operation}", self.kind));
        request["handle"] = json!(self.number);
        request
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Its closing is nobody's concern any more; a second close after an explicit one is answered with an error.
        drop(self.server.begin(self.request("close", json!({"timeout_ms": 1000}))));
    }
}

impl Producer {
    /// Sends all records to `topic` and waits for their answers: offset or error each, in order.
    pub fn send(&self, topic: &str, records: &[Record]) -> Vec<Result<i64, ClientError>> {
        let records: Vec<Value> = records.iter().map(to_json).collect();
        let result = self.0.call("send", json!({"topic": topic, "records": records})).unwrap();
        let rows = result["records"].as_array().unwrap().iter();
        rows.map(|row| match row.get("error") {
            Some(error) => Err(serde_json::from_value(error.clone()).unwrap()),
            None => Ok(row["offset"].as_i64().unwrap()),
        })
        .collect()
    }

    /// Sends `count` numbered values of `size_bytes` (at least 8) to partition 0 of `topic`.
    pub fn generate(&self, topic: &str, count: u64, size_bytes: u32) -> Generated {
        let request = json!({"topic": topic, "count": count, "size": size_bytes, "partition": 0});
        serde_json::from_value(self.0.call("generate", request).unwrap()).unwrap()
    }

    pub fn init_transactions(&self) -> Result<(), ClientError> {
        self.0.call("init", json!({})).map(drop)
    }

    pub fn begin_transaction(&self) -> Result<(), ClientError> {
        self.0.call("begin", json!({})).map(drop)
    }

    pub fn commit_transaction(&self) -> Result<(), ClientError> {
        self.0.call("commit", json!({})).map(drop)
    }

    pub fn abort_transaction(&self) -> Result<(), ClientError> {
        self.0.call("abort", json!({})).map(drop)
    }

    /// Makes `consumer`'s position in a partition part of the transaction.
    pub fn send_offset(
        &self,
        consumer: &Consumer,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), ClientError> {
        let offsets = json!([{"topic": topic, "partition": partition, "offset": offset}]);
        let request = json!({"offsets": offsets, "consumer": consumer.0.number});
        self.0.call("offsets", request).map(drop)
    }

    pub fn close(self) -> Result<(), ClientError> {
        self.0.call("close", json!({})).map(drop)
    }
}

impl Consumer {
    /// Reads one partition from its beginning.
    pub fn assign(&self, topic: &str, partition: i32) {
        self.0.call("assign", json!({"partitions": [[topic, partition]]})).unwrap();
    }

    /// Subscribes to topics by name, or by one regular expression, which begins with `^` and is evaluated by the other side.
    pub fn subscribe(&self, topics: &[&str]) -> Result<(), ClientError> {
        self.0.call("subscribe", json!({"topics": topics})).map(drop)
    }

    /// Waits until `count` records are there, the client gives up, or the time is up.
    pub fn poll(&self, count: usize, within: Duration) -> Polled {
        let request = json!({"count": count, "timeout_ms": milliseconds(within)});
        let result = self.0.call("poll", request).unwrap();
        let records = result["records"].as_array().unwrap().iter().map(from_json).collect();
        let error = result.get("error").map(|error| serde_json::from_value(error.clone()).unwrap());
        Polled { records, error }
    }

    /// Waits until `count` different values of [`Producer::generate`] were there, or the time is up.
    pub fn count(&self, count: u64, within: Duration) -> Counted {
        let request = json!({"count": count, "timeout_ms": milliseconds(within)});
        serde_json::from_value(self.0.call("count", request).unwrap()).unwrap()
    }

    /// Commits the position of what was polled.
    pub fn commit(&self) -> Result<(), ClientError> {
        self.0.call("commit", json!({})).map(drop)
    }

    /// The committed offset of one partition in this consumer's group; -1 where there is none.
    pub fn committed(&self, topic: &str, partition: i32) -> Result<i64, ClientError> {
        let result = self.0.call("committed", json!({"partitions": [[topic, partition]]}))?;
        Ok(result["offsets"][0]["offset"].as_i64().unwrap())
    }

    pub fn close(self) -> Result<(), ClientError> {
        self.0.call("close", json!({})).map(drop)
    }
}

impl Serdes {
    /// Records for partition 0 of `topic`, with these documents as values; `keys` too, where there are any.
    pub fn serialise(&self, topic: &str, documents: &[Value], keys: &[Value]) -> Vec<Record> {
        let request = json!({"topic": topic, "documents": documents, "keys": keys});
        let result = self.0.call("serialise", request).unwrap();
        result["records"].as_array().unwrap().iter().map(from_json).collect()
    }

    /// The values of records as documents, and their keys; or why one cannot be read.
    pub fn deserialise(&self, topic: &str, records: &[Record]) -> Vec<Result<Value, String>> {
        let records: Vec<Value> = records.iter().map(to_json).collect();
        let result = self.0.call("deserialise", json!({"topic": topic, "records": records}));
        let read = |row: &Value| match row["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(row["document"].clone()),
        };
        result.unwrap()["documents"].as_array().unwrap().iter().map(read).collect()
    }
}

impl Admin {
    /// The names of all topics that it sees.
    pub fn topics(&self) -> Result<Vec<String>, ClientError> {
        let mut result = self.0.call("topics", json!({}))?;
        Ok(serde_json::from_value(result["topics"].take()).unwrap())
    }

    /// Topics with their leaders, as `[{"name", "id", "leaders": [{"id", "host", "port"}]}]`.
    pub fn describe(&self, topics: &[&str]) -> Result<Value, ClientError> {
        Ok(self.0.call("describe", json!({"topics": topics}))?["topics"].take())
    }

    /// The cluster, as `{"id", "nodes": [{"id", "host", "port"}]}`.
    pub fn cluster(&self) -> Answer {
        self.0.call("cluster", json!({}))
    }

    /// Groups, as `[{"name", "type", "state", "members", "coordinator": {"id", "host", "port"}}]`.
    pub fn groups(&self, groups: &[&str]) -> Result<Value, ClientError> {
        Ok(self.0.call("groups", json!({"groups": groups}))?["groups"].take())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

fn to_json(record: &Record) -> Value {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let headers: Vec<Value> =
        record.headers.iter().map(|(name, value)| json!([name, text(value)])).collect();
    json!({
        "partition": record.partition,
        "key": text(&record.key),
        "value": text(&record.value),
        "headers": headers,
        "timestamp": record.timestamp,
    })
}

fn from_json(row: &Value) -> Record {
    let bytes = |value: &Value| value.as_str().map(|text| STANDARD.decode(text).unwrap());
    let headers = row["headers"].as_array().unwrap().iter();
    Record {
        partition: row["partition"].as_i64().and_then(|number| number.try_into().ok()),
        key: bytes(&row["key"]),
        value: bytes(&row["value"]),
        headers: headers
            .map(|header| (header[0].as_str().unwrap().to_owned(), bytes(&header[1])))
            .collect(),
        timestamp: row["timestamp"].as_i64(),
        offset: row["offset"].as_i64(),
    }
}

fn java() -> Command {
    let libraries = super::kafka::home().unwrap().join("libs").join("*");
    let classes = clients_home().join("java");
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx384m", "-cp"]);
    command.arg(std::env::join_paths([classes, libraries]).unwrap());
    command.arg("Clients");
    command
}

fn python() -> Command {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/clients.py");
    let mut command = Command::new(clients_home().join("python/bin/python"));
    command.arg("-u").arg(program);
    command
}

/// The folder with what `make setup` has made of the test clients.
pub fn clients_home() -> PathBuf {
    let home = std::env::var_os("SLUICEGATE_CLIENTS_HOME");
    PathBuf::from(home.expect("SLUICEGATE_CLIENTS_HOME is not set (make test sets it)"))
}

/// Longer than any single operation that a test asks for.
const CALL_PATIENCE: Duration = Duration::from_secs(150);
