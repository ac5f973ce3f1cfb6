//! Real Apache Kafka: one broker in KRaft mode with Kafka's own authorizer, from the jars of `make setup`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    CreateAclsRequest, CreateTopicsRequest, DeleteTopicsRequest, FindCoordinatorRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rustix::process::Signal;
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::kafka;
use sluicegate_loadtest::process::Process;
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata, topic_name};
use tempfile::TempDir;

use super::{PATIENCE, START_PATIENCE, free_addresses};

/// Where a listener that clients must never learn of lives: another loopback address than everything else here.
pub const HIDDEN_HOST: &str = "127.0.0.2";

/// Who may log in to the broker itself, with `password_of`. The first two pass every check; the others have only
/// the rights that [`Kafka::permit`] gives them.
const USERS: [&str; 5] = [GATEWAY_USER, "alice", "bob", "carol", MODEST_USER];

/// The account that the gateway uses.
pub const GATEWAY_USER: &str = "gateway";

/// An account for a gateway that can do little.
pub const MODEST_USER: &str = "modest-gateway";

/// A running cluster of one broker, which others may join.
pub struct Kafka {
    node: Node,
    controller: SocketAddr,
}

/// One running broker.
pub struct Node {
    process: Process,
    addresses: Addresses,
    home: PathBuf,
    directory: TempDir,
    id: i32,
}

/// Where one broker listens.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    /// Without login, for tests themselves and between brokers.
    open: SocketAddr,
    /// With login.
    guarded: SocketAddr,
    /// Without login; it advertises `relay`, where a test may place a relay to it.
    relayed: SocketAddr,
    relay: SocketAddr,
    controller: SocketAddr,
}

impl Kafka {
    /// The broker that all tests of this run share, or `None`, with a printed line, where the jars are not named.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| home().map(|home| Self::start(&home)));
        if shared.is_none() {
            super::skip("SLUICEGATE_KAFKA_HOME is not set (make test sets it)");
        }
        shared.as_ref()
    }

    /// As [`Kafka::shared`], of Kafka 3.4.1.
    pub fn older() -> Option<&'static Self> {
        static OLDER: OnceLock<Option<Kafka>> = OnceLock::new();
        let older = OLDER.get_or_init(|| {
            // The clients are the other one's. Its formatter knows no SCRAM users yet.
            home()
                .and(named_home("SLUICEGATE_OLDER_KAFKA_HOME"))
                .map(|home| Self::start_with(&home, &[]))
        });
        if older.is_none() {
            super::skip(
                "SLUICEGATE_OLDER_KAFKA_HOME, or the other, is not set (make test sets it)",
            );
        }
        older.as_ref()
    }

    /// Starts a cluster of one node, which is broker 1 and its controller, and waits until it serves.
    pub fn start(home: &Path) -> Self {
        Self::start_with(home, &["SCRAM-SHA-256", "SCRAM-SHA-512"])
    }

    fn start_with(home: &Path, mechanisms: &[&str]) -> Self {
        let [controller] = free_addresses("127.0.0.1");
        let kafka = Self { node: Node::start(home, 1, controller, mechanisms), controller };
        kafka.await_coordinators();
        kafka
    }

    /// Adds a broker to the cluster and waits until it serves. It ends with the returned value.
    pub fn join(&self, home: &Path, id: i32) -> Node {
        // Users are part of the controller's first snapshot.
        Node::start(home, id, self.controller, &[])
    }

    /// Waits for the coordinators of groups and of transactions: asking for one makes the broker create its topic.
    fn await_coordinators(&self) {
        let deadline = Instant::now() + SETTLING;
        let mut connection = self.connect();
        for kind in [0, 1] {
            let keys = vec![StrBytes::from_static_str("any")];
            let request =
                FindCoordinatorRequest::default().with_key_type(kind).with_coordinator_keys(keys);
            while connection.call(4, &request).unwrap().coordinators[0].error_code != 0 {
                assert!(Instant::now() < deadline, "no coordinator of kind {kind}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// SASL_PLAINTEXT (PLAIN and SCRAM) on [`HIDDEN_HOST`]: what the gateway connects to.
    pub fn guarded(&self) -> SocketAddr {
        self.node.addresses.guarded
    }

    /// A listener without login, and the address that it advertises: for a relay between the gateway and it.
    pub fn relayed(&self) -> (SocketAddr, SocketAddr) {
        (self.node.addresses.relayed, self.node.addresses.relay)
    }

    /// One connection to each broker, as [`Kafka::connect`] makes them: what each says of itself.
    pub fn connect_to_each(&self, others: &[Node]) -> Vec<Connection> {
        let addresses = std::iter::once(&self.node).chain(others).map(|node| node.addresses.open);
        addresses.map(|address| Connection::open(address, PATIENCE).unwrap()).collect()
    }

    /// As [`Node::kill_and_restart`], for the first broker.
    pub fn kill_and_restart(&mut self, down: Duration) {
        self.node.kill_and_restart(down);
    }

    /// A connection without login that may do everything: for the tests themselves.
    pub fn connect(&self) -> Connection {
        Connection::open(self.node.addresses.open, PATIENCE).unwrap()
    }

    /// A connection to the listener that wants a login.
    pub fn connect_as(&self, user: &str) -> Connection {
        let mut connection = Connection::open(self.node.addresses.guarded, PATIENCE).unwrap();
        connection.login(&login_of(user)).unwrap();
        connection
    }

    /// Creates a topic and returns when the broker leads all of its partitions.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// As [`Kafka::create_topic`], with topic configuration.
    pub fn create_topic_with(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        self.request_topic(name, partitions, 1, configs);
        super::front::await_leaders(&mut self.connect(), name, partitions);
    }

    /// As [`Kafka::create_topic`], in a cluster of several brokers: their clients wait for the leaders.
    pub fn create_topic_anywhere(&self, name: &str, partitions: i32) {
        self.request_topic(name, partitions, 1, &[]);
    }

    /// Creates a topic with a copy on each of three brokers, two of which must have what is acknowledged.
    pub fn create_topic_thrice(&self, name: &str, partitions: i32) {
        // Some tests' records are as old as can be, and must stay.
        let configs = [("min.insync.replicas", "2"), ("retention.ms", "-1")];
        self.request_topic(name, partitions, 3, &configs);
    }

    /// Deletes a topic; brokers learn of it a moment later.
    pub fn delete_topic(&self, name: &str) {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request =
            DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = self.connect().call(6, &request).unwrap();
        assert_eq!(response.responses[0].error_code, 0, "{response:?}");
    }

    /// What the first broker knows of a topic: its error, its id, its partitions.
    pub fn topic(&self, name: &str) -> MetadataResponseTopic {
        let answer = self.connect().call(METADATA_VERSION, &metadata(Some(&[name]))).unwrap();
        answer.topics[0].clone()
    }

    fn request_topic(&self, name: &str, partitions: i32, copies: i16, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*name).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        });
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(partitions)
            .with_replication_factor(copies)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = self.connect().call(7, &request).unwrap();
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0]);
    }

    /// Gives a user of the broker itself a right, as `kafka-acls` would.
    pub fn permit(&self, user: &str, kind: Kind, name: &str, operation: Operation) {
        self.permit_pattern(user, kind, name, operation, 3);
    }

    /// The same on everything whose name begins with `prefix`.
    pub fn permit_prefix(&self, user: &str, kind: Kind, prefix: &str, operation: Operation) {
        self.permit_pattern(user, kind, prefix, operation, 4);
    }

    fn permit_pattern(
        &self,
        user: &str,
        kind: Kind,
        name: &str,
        operation: Operation,
        pattern: i8,
    ) {
        let acl = AclCreation::default()
            .with_resource_type(kind as i8)
            .with_resource_name(StrBytes::from_string(name.to_owned()))
            .with_resource_pattern_type(pattern)
            .with_principal(StrBytes::from_string(format!("User:{user}")))
            .with_host(StrBytes::from_static_str("*"))
            .with_operation(operation as i8)
            .with_permission_type(3);
        let request = CreateAclsRequest::default().with_creations(vec![acl]);
        let response = self.connect().call(3, &request).unwrap();
        assert_eq!(response.results[0].error_code, 0, "{:?}", response.results[0]);
    }
}

impl Node {
    /// The gateway's user can log in by these mechanisms of SCRAM, too.
    fn start(home: &Path, id: i32, controller: SocketAddr, mechanisms: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("sluicegate-kafka-").tempdir().unwrap();
        let [open] = free_addresses("127.0.0.1");
        let [guarded, relayed, relay] = free_addresses(HIDDEN_HOST);
        let addresses = Addresses { open, guarded, relayed, relay, controller };
        let mut node = node(home, directory.path(), id, addresses);
        for mechanism in mechanisms {
            let password = password_of(GATEWAY_USER);
            let user = format!("{mechanism}=[name={GATEWAY_USER},password={password}]");
            node.format_arguments.extend(["--add-scram".to_owned(), user]);
        }
        let process = node.start(START_PATIENCE).unwrap();
        Self { process, addresses, home: home.to_owned(), directory, id }
    }

    /// Ends the broker without a word and starts it again in its old folder, on its old ports.
    pub fn kill_and_restart(&mut self, down: Duration) {
        self.restart(Signal::KILL, down);
    }

    /// Stops the broker in order, so that it gives its leadership away first, and starts it again.
    pub fn stop_and_restart(&mut self) {
        self.restart(Signal::TERM, Duration::ZERO);
    }

    fn restart(&mut self, end: Signal, down: Duration) {
        self.process.signal(end);
        assert!(self.process.await_exit(PATIENCE).is_some(), "it does not end");
        std::thread::sleep(down);
        let Self { home, directory, id, addresses, .. } = &*self;
        let again = node(home, directory.path(), *id, *addresses).serve(START_PATIENCE);
        self.process = again.unwrap();
    }
}

/// A broker in its folder.
fn node<'a>(home: &'a Path, folder: &'a Path, id: i32, addresses: Addresses) -> kafka::Node<'a> {
    kafka::Node {
        home,
        folder,
        heap: "-Xmx512m",
        properties: server_properties(id, addresses),
        format_arguments: Vec::new(),
    }
}

/// Kinds of resource of Kafka's ACLs, by their numbers on the wire.
#[derive(Clone, Copy, Debug)]
#[repr(i8)]
pub enum Kind {
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
}

/// Operations of Kafka's ACLs, by their numbers on the wire.
#[derive(Clone, Copy, Debug)]
#[repr(i8)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
}

/// The password of one of the broker's own users.
pub fn password_of(user: &str) -> String {
    format!("{user}-password")
}

/// The login of one of the broker's own users.
pub fn login_of(user: &str) -> PlainLogin {
    PlainLogin { username: user.to_owned(), password: password_of(user) }
}

/// The folder with Kafka's jars, where it is named.
pub fn home() -> Option<PathBuf> {
    named_home("SLUICEGATE_KAFKA_HOME")
}

fn named_home(variable: &str) -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os(variable)?);
    assert!(home.join("libs").is_dir(), "no libs folder in {}: run make setup", home.display());
    Some(home)
}

fn server_properties(id: i32, addresses: Addresses) -> BTreeMap<&'static str, String> {
    let Addresses { open, guarded, relayed, relay, controller } = addresses;
    let (roles, controller_listener) = match id {
        1 => ("broker,controller", format!(",CONTROLLER://{controller}")),
        _ => ("broker", String::new()),
    };
    let mut users = String::new();
    for user in USERS {
        write!(users, " user_{user}=\"{}\"", password_of(user)).unwrap();
    }
    let login = "org.apache.kafka.common.security";
    BTreeMap::from([
        ("process.roles", roles.to_owned()),
        ("node.id", id.to_string()),
        ("controller.quorum.voters", format!("1@{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        (
            "listeners",
            format!("OPEN://{open},GUARDED://{guarded},RELAYED://{relayed}{controller_listener}"),
        ),
        ("advertised.listeners", format!("OPEN://{open},GUARDED://{guarded},RELAYED://{relay}")),
        (
            "listener.security.protocol.map",
            "OPEN:PLAINTEXT,GUARDED:SASL_PLAINTEXT,RELAYED:PLAINTEXT,CONTROLLER:PLAINTEXT"
                .to_owned(),
        ),
        ("inter.broker.listener.name", "OPEN".to_owned()),
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned()),
        (
            "listener.name.guarded.plain.sasl.jaas.config",
            format!("{login}.plain.PlainLoginModule required{users};"),
        ),
        (
            "listener.name.guarded.scram-sha-256.sasl.jaas.config",
            format!("{login}.scram.ScramLoginModule required;"),
        ),
        (
            "listener.name.guarded.scram-sha-512.sasl.jaas.config",
            format!("{login}.scram.ScramLoginModule required;"),
        ),
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        ),
        ("super.users", "User:ANONYMOUS;User:gateway;User:alice".to_owned()),
    ])
}

/// Patience for things that a broker does by itself, such as electing leaders.
pub const SETTLING: Duration = Duration::from_secs(20);
