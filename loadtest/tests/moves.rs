//! What moves while clients go on (row F7 of the faults): leaders, copies, brokers that stop in order, and topics that are
//! deleted and made again under their name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, DescribeClusterRequest, ElectLeadersRequest,
    FetchRequest, FindCoordinatorRequest, MetadataRequest,
};
use rustix::process::Signal;
use serde_json::Value;
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, METADATA_VERSION, PRODUCE_VERSION, batch, fetch, metadata, produce,
    topic_name,
};
use uuid::Uuid;

use crate::crash::{EndsWhenDropped, await_copies, three_brokers, write_and_read};
use crate::record::{replay, sessions_of};
use crate::refuse::TOPIC_DENIED;
use crate::support::clients::{Access, FAMILIES, Family, Login, Record};
use crate::support::front::{Front, is_direct};
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::{Kafka, Node};
use crate::support::tokens::{ALICE, BOB};
use crate::support::world::text;
use crate::support::{PATIENCE, skip, unique};

const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// The first version of Fetch that tells the brokers' addresses beside a partition that has moved (KIP-951), and of those
/// that name topics by id.
const FETCH_BY_ID: i16 = 16;

/// The only version of Produce that names topics by id.
const PRODUCE_BY_ID: i16 = 13;

/// Three brokers, and the gateway before them.
struct Stage {
    kafka: Kafka,
    others: [Node; 2],
    gateway: Gateway,
    login: PlainLogin,
}

#[test]
fn leaders_and_copies_that_move_cost_clients_nothing() {
    if Kafka::shared().is_none() {
        return;
    }
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    let mut stage = Stage::set();
    let access = stage.access();
    let moving = FAMILIES.map(|family| (family, unique("moving")));
    let told = unique("told");
    let names = [&moving[0].1, &moving[1].1, &told].map(String::as_str);
    names.iter().for_each(|topic| stage.kafka.create_topic_thrice(topic, 1));
    await_copies(&stage.kafka, &names);
    let (ports, login) = (stage.ports(), stage.login.clone());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where an assertion here fails: the others would go on for ever.
        let _end = EndsWhenDropped(&ended);
        for (family, topic) in &moving {
            let (access, ended) = (&access, &ended);
            scope.spawn(move || write_and_read(*family, access, topic, ended));
        }
        scope.spawn(|| watch_addresses(&ports, &login, &ended));
        let mut leader = stage.kafka.topic(&told).partitions[0].leader_id.0;
        for _ in 0..4 {
            leader = leader % 3 + 1;
            stage.move_leaders(&names, leader, &told);
        }
        // Two copies of three, each time others: one is made anew and one is given up.
        for copies in [&[1, 2][..], &[2, 3], &[3, 1], &[2, 3, 1]] {
            names.iter().for_each(|topic| stage.move_copies(topic, copies));
            eprintln!("copies on {copies:?}");
        }
        stage.others[0].stop_and_restart();
        await_copies(&stage.kafka, &names);
        eprintln!("broker 2 is back");
        ended.store(true, Ordering::SeqCst);
    });
    for family in FAMILIES {
        stage.make_again(family);
    }
    stage.gateway.process.signal(Signal::TERM);
    assert_eq!(stage.gateway.process.await_exit(PATIENCE), Some(0));
    let (text, code) = stage.gateway.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}

impl Stage {
    fn set() -> Self {
        let (kafka, others) = three_brokers();
        let setup = Setup { broker_ids: vec![1, 2, 3], ..Setup::default() };
        let gateway = Gateway::start(&kafka, setup);
        let password = gateway.issuer.token(&ALICE);
        let login = PlainLogin { username: ALICE.name.to_owned(), password };
        Self { kafka, others, gateway, login }
    }

    fn access(&self) -> Access {
        let login = Login::Plain(self.login.clone());
        Access { bootstrap: self.gateway.address, login, authority: None }
    }

    /// The gateway's address for each broker.
    fn ports(&self) -> BTreeMap<i32, SocketAddr> {
        (1..).zip(self.gateway.broker_addresses.iter().copied()).collect()
    }

    fn connect(&self) -> Connection {
        log_in(self.gateway.address, &self.login).unwrap()
    }

    /// Moves the leaders of all topics to one broker, and asks where one of them has gone.
    fn move_leaders(&self, topics: &[&str], leader: i32, told: &str) {
        let before = self.kafka.topic(told).partitions[0].clone();
        let copies: Vec<i32> = (0..3).map(|place| (leader - 1 + place) % 3 + 1).collect();
        topics.iter().for_each(|topic| self.move_copies(topic, &copies));
        let partition = |topic: &&str| {
            TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(vec![0])
        };
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(Some(topics.iter().map(partition).collect()))
            .with_timeout_ms(30_000);
        let answer = self.connect().call(2, &request).unwrap();
        assert_eq!(answer.error_code, 0, "{answer:?}");
        for topic in topics {
            self.await_everywhere(topic, |partition| partition.leader_id.0 == leader);
        }
        assert_ne!(before.leader_id.0, leader, "it has not moved");
        self.assert_told(told, &before);
        eprintln!("leaders on {leader}");
    }

    /// Moves the copies of a topic to these brokers, the first of which is to lead it, and waits until they are there.
    fn move_copies(&self, topic: &str, brokers: &[i32]) {
        let replicas = brokers.iter().map(|id| BrokerId(*id)).collect();
        let partition = ReassignablePartition::default().with_replicas(Some(replicas));
        let topics = ReassignableTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(30_000)
            .with_topics(vec![topics]);
        let answer = self.connect().call(0, &request).unwrap();
        assert_eq!(answer.error_code, 0, "{answer:?}");
        assert_eq!(answer.responses[0].partitions[0].error_code, 0, "{answer:?}");
        self.await_everywhere(topic, |partition| {
            let replicas: Vec<i32> = partition.replica_nodes.iter().map(|id| id.0).collect();
            replicas == brokers && partition.isr_nodes.len() == brokers.len()
        });
    }

    /// Waits until each broker knows a topic's only partition to be so.
    fn await_everywhere(&self, topic: &str, is_so: impl Fn(&MetadataResponsePartition) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        for mut connection in self.kafka.connect_to_each(&self.others) {
            loop {
                let request = metadata(Some(&[topic]));
                let answer = connection.call(METADATA_VERSION, &request).unwrap();
                if answer.topics[0].partitions.first().is_some_and(&is_so) {
                    break;
                }
                assert!(Instant::now() < deadline, "{answer:?}");
                // Kafka has no event for this; its own clients ask again, too.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Whoever still believes in the leader of `before` is told so once, and where to go, and is served there.
    fn assert_told(&self, topic: &str, before: &MetadataResponsePartition) {
        let id = self.kafka.topic(topic).topic_id;
        let start = Leader { id: before.leader_id.0, epoch: before.leader_epoch };
        self.follow(start, |connection, _| {
            let request = produce(-1, &[(topic, 0, batch([&b"x"[..]]).unwrap())]);
            let answer = connection.call(PRODUCE_VERSION, &request).unwrap();
            let partition = &answer.responses[0].partition_responses[0];
            let leader = &partition.current_leader;
            Told {
                code: partition.error_code,
                leader: Leader { id: leader.leader_id.0, epoch: leader.leader_epoch },
                endpoints: answer.node_endpoints.iter().map(endpoint).collect(),
            }
        });
        self.follow(start, |connection, epoch| {
            let mut request = fetch_by_id(id, 0, 0);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            let answer = connection.call(FETCH_BY_ID, &request).unwrap();
            let partition = &answer.responses[0].partitions[0];
            let leader = &partition.current_leader;
            let address = |it: &kafka_protocol::messages::fetch_response::NodeEndpoint| {
                (it.node_id.0, format!("{}:{}", &*it.host, it.port))
            };
            Told {
                code: partition.error_code,
                leader: Leader { id: leader.leader_id.0, epoch: leader.leader_epoch },
                endpoints: answer.node_endpoints.iter().map(address).collect(),
            }
        });
    }

    fn follow(&self, start: Leader, ask: impl Fn(&mut Connection, i32) -> Told) {
        let ports = self.ports();
        let mut stale = Vec::new();
        let mut leader = start;
        loop {
            let mut connection = log_in(ports[&leader.id], &self.login).unwrap();
            let told = ask(&mut connection, leader.epoch);
            if told.code == 0 {
                break;
            }
            assert!([NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH].contains(&told.code), "{told:?}");
            assert!(told.leader.epoch > leader.epoch, "{told:?}");
            let address = ports[&told.leader.id].to_string();
            assert_eq!(told.endpoints, [(told.leader.id, address)], "{told:?}");
            leader = told.leader;
            stale.push(told);
            assert!(stale.len() < 2, "told more than once: {stale:?}");
        }
        assert_eq!(stale.len(), 1, "it was not told at all");
    }

    /// A topic is deleted and made again: who writes to it goes on, and who reads it begins again.
    fn make_again(&self, family: Family) {
        let topic = unique("again");
        let access = self.access();
        self.kafka.create_topic_thrice(&topic, 1);
        await_copies(&self.kafka, &[&topic]);
        let first_id = self.kafka.topic(&topic).topic_id;
        let config = [("enable.idempotence", "true"), ("acks", "all")];
        let producer = family.producer(&access, &config);
        let consumer = family.consumer(&access, &[("auto.offset.reset", "earliest")]);
        consumer.assign(&topic, 0);
        let records = |life: &str, count: i32| -> Vec<Record> {
            (0..count).map(|number| Record::of(format!("{life} {number}"))).collect()
        };
        let sent = producer.send(&topic, &records("first", 60));
        assert!(sent.iter().all(Result::is_ok), "{family:?}: {sent:?}");
        assert_eq!(consumer.poll(60, PATIENCE).records.len(), 60, "{family:?}");

        self.kafka.delete_topic(&topic);
        for mut connection in self.kafka.connect_to_each(&self.others) {
            await_gone(&mut connection, &topic);
        }
        let sent = std::thread::scope(|scope| {
            // Into nothing at first: a client tries again what it may.
            let sending = scope.spawn(|| producer.send(&topic, &records("second", 20)));
            self.kafka.create_topic_thrice(&topic, 1);
            sending.join().unwrap()
        });
        assert_ne!(self.kafka.topic(&topic).topic_id, first_id);
        let offsets: Vec<i64> = sent
            .into_iter()
            .map(|sent| sent.unwrap_or_else(|error| panic!("{family:?}: {error:?}")))
            .collect();
        assert_eq!(offsets, (0..20).collect::<Vec<_>>(), "{family:?}");
        // Where it goes on depends: the end of the new life by what KIP-320 knows of epochs, or its beginning.
        let mut written = 20;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let one = [Record::of(format!("second {written}"))];
            let sent = producer.send(&topic, &one).remove(0);
            assert_eq!(sent.ok(), Some(written), "{family:?}");
            written += 1;
            let polled = consumer.poll(1, Duration::from_secs(1));
            let mut lives = polled.records.iter().map(Record::text);
            assert!(lives.all(|text| text.starts_with("second ")), "{family:?}: {polled:?}");
            // librdkafka tells that the topic was gone, and goes on.
            let is_fatal = |code| code != i32::from(UNKNOWN_TOPIC_OR_PARTITION);
            let fatal = polled.error.filter(|error| !error.retriable && is_fatal(error.code));
            assert!(fatal.is_none(), "{family:?}: {fatal:?}");
            if !polled.records.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{family:?}: nothing comes any more");
        }
        let other = family.consumer(&access, &[]);
        other.assign(&topic, 0);
        let polled = other.poll(usize::try_from(written).unwrap(), PATIENCE);
        let received: Vec<&str> = polled.records.iter().map(Record::text).collect();
        let wanted: Vec<String> = (0..written).map(|number| format!("second {number}")).collect();
        assert_eq!(received, wanted, "{family:?}: {:?}", polled.error);
    }
}

/// Who leads a partition, as far as somebody knows.
#[derive(Clone, Copy, Debug)]
struct Leader {
    id: i32,
    epoch: i32,
}

/// What somebody is told who asked for a partition.
#[derive(Debug)]
struct Told {
    code: i16,
    leader: Leader,
    endpoints: Vec<(i32, String)>,
}

fn endpoint(it: &kafka_protocol::messages::produce_response::NodeEndpoint) -> (i32, String) {
    (it.node_id.0, format!("{}:{}", &*it.host, it.port))
}

fn log_in(address: SocketAddr, login: &PlainLogin) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(address, PATIENCE)?;
    connection.login(login)?;
    Ok(connection)
}

fn fetch_by_id(id: Uuid, offset: i64, wait_ms_max: i32) -> FetchRequest {
    let bounds = FetchBounds { wait_ms_max, bytes_min: 1, bytes_max: 1 << 20 };
    let mut request = fetch(bounds, &[("", 0, offset)]);
    request.topics[0].topic_id = id;
    request
}

/// Whatever any broker says of where brokers are, it is the gateway's port for them.
fn watch_addresses(ports: &BTreeMap<i32, SocketAddr>, login: &PlainLogin, ended: &AtomicBool) {
    let mut answers = BTreeMap::<i32, usize>::new();
    while !ended.load(Ordering::SeqCst) {
        for (asked, address) in ports {
            // The broker may be away just now.
            let Ok(told) = addresses(*address, login) else { continue };
            for (id, told) in told {
                assert_eq!(ports.get(&id).map(SocketAddr::to_string), Some(told), "of broker {id}");
            }
            *answers.entry(*asked).or_default() += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("answers about addresses: {answers:?}");
    assert!(
        answers.len() == ports.len() && answers.values().all(|count| *count > 20),
        "{answers:?}"
    );
}

/// Every broker with its address that three answers tell.
fn addresses(of: SocketAddr, login: &PlainLogin) -> anyhow::Result<Vec<(i32, String)>> {
    let mut connection = log_in(of, login)?;
    let known = connection.call(METADATA_VERSION, &metadata(None))?;
    let cluster = connection.call(0, &DescribeClusterRequest::default())?;
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("any")]);
    let coordinator = connection.call(4, &request)?;
    let at = |id: BrokerId, host: &str, port: i32| (id.0, format!("{host}:{port}"));
    let known = known.brokers.iter().map(|it| at(it.node_id, &it.host, it.port));
    let described = cluster.brokers.iter().map(|it| at(it.broker_id, &it.host, it.port));
    let found = coordinator.coordinators.iter().filter(|it| it.error_code == 0);
    let found = found.map(|it| at(it.node_id, &it.host, it.port));
    Ok(known.chain(described).chain(found).collect())
}

fn await_gone(connection: &mut Connection, topic: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = connection.call(METADATA_VERSION, &metadata(Some(&[topic]))).unwrap();
        if answer.topics[0].error_code == UNKNOWN_TOPIC_OR_PARTITION {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two topics, one of which an identity may use, and their ids before and after they are made again.
struct Twice {
    front: Front,
    open: String,
    closed: String,
    /// Of the first life, and of the second.
    ids: [[Uuid; 2]; 2],
}

/// What an identity was answered for one topic.
#[derive(Debug)]
struct Answered {
    correlation: i32,
    code: i16,
    /// Their values, as far as they are text.
    records: Bytes,
}

#[test]
fn a_topic_that_is_made_again_is_known_by_its_new_id_alone() {
    let [open, closed] = ["open", "closed"].map(unique);
    let policy = format!(
        "@id(\"all\") permit (principal in Group::\"everything\", action, resource);\n\
         @id(\"open\") permit (principal in Group::\"restricted\", action in [Action::\"Read\", \
         Action::\"Write\", Action::\"Describe\"], resource in Topic::\"{open}\");\n"
    );
    let Some(front) = Front::start(Setup { policy, ..Setup::default() }) else { return };
    let kafka = front.kafka;
    let create = |life: &str| {
        // The closed one first, so that it would be the one to take an old place.
        [&closed, &open].map(|topic| {
            // Its record is as old as can be, and must stay.
            kafka.create_topic_with(topic, 1, &[("retention.ms", "-1")]);
            let value = format!("{life} of {topic}");
            let records = batch([value.into_bytes()]).unwrap();
            let answer = kafka.connect().call(9, &produce(-1, &[(topic, 0, records)])).unwrap();
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
            kafka.topic(topic).topic_id
        })
    };
    let [closed_id, open_id] = create("first life");
    let mut bob = front.connect_as(&BOB);
    let first = read(&mut bob, open_id, 0);
    assert!(first.code == 0 && is_in(b"first life of open", &first.records), "{first:?}");
    // An id that nobody has, and one that may not be used.
    assert_eq!(read(&mut bob, Uuid::from_u128(7), 0).code, UNKNOWN_TOPIC_ID);
    let denied = read(&mut bob, closed_id, 0).code;
    assert!([TOPIC_DENIED, UNKNOWN_TOPIC_ID].contains(&denied), "{denied}");

    let mut polling = front.connect_as(&BOB);
    polling.send(FETCH_BY_ID, &fetch_by_id(open_id, 1, 30_000)).unwrap();
    for topic in [&open, &closed] {
        kafka.delete_topic(topic);
        await_gone(&mut kafka.connect(), topic);
    }
    let (_, polled) = polling.receive::<FetchRequest>(FETCH_BY_ID).unwrap();
    let partition = &polled.responses[0].partitions[0];
    assert_ne!(partition.error_code, 0, "{polled:?}");
    assert!(partition.records.as_ref().is_none_or(Bytes::is_empty), "{polled:?}");

    let [new_closed_id, new_open_id] = create("second life");
    let twice =
        Twice { ids: [[open_id, closed_id], [new_open_id, new_closed_id]], front, open, closed };
    let uses = twice.use_all(&mut bob, denied);
    twice.assert_recorded(&uses);
}

impl Twice {
    /// Everything by old ids, new ids and names; the fetches and produces by id that were answered.
    fn use_all(&self, bob: &mut Connection, denied: i16) -> BTreeMap<&'static str, i32> {
        let [[old_open, old_closed], [new_open, new_closed]] = self.ids;
        assert_eq!(BTreeSet::from([old_open, old_closed, new_open, new_closed]).len(), 4);
        let mut uses = BTreeMap::new();
        let mut fetched = |name, bob: &mut Connection, id, code: i16| {
            let answered = read(bob, id, 0);
            assert_eq!(answered.code, code, "{name}: {answered:?}");
            uses.insert(name, answered.correlation);
            answered.records
        };
        // The gateway has not heard of the new id yet: it asks.
        let records = fetched("new open", bob, new_open, 0);
        assert!(is_in(b"second life of open", &records) && !is_in(b"first life", &records));
        // And has forgotten the old ones with it.
        for (name, id, code) in [
            ("old open", old_open, UNKNOWN_TOPIC_ID),
            ("old closed", old_closed, UNKNOWN_TOPIC_ID),
            ("new closed", new_closed, denied),
        ] {
            assert!(fetched(name, bob, id, code).is_empty(), "{name}");
        }
        for (name, id, code) in [
            ("write old open", old_open, UNKNOWN_TOPIC_ID),
            ("write new closed", new_closed, TOPIC_DENIED),
            ("write new open", new_open, 0),
        ] {
            let (correlation, answered) = write(bob, id);
            assert_eq!(answered, code, "{name}");
            uses.insert(name, correlation);
        }
        self.assert_described(bob);
        for (topic, code) in [(&self.open, 0), (&self.closed, TOPIC_DENIED)] {
            let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
            let answer = bob.call(FETCH_VERSION, &fetch(bounds, &[(topic, 0, 0)])).unwrap();
            assert_eq!(answer.responses[0].partitions[0].error_code, code, "{answer:?}");
        }
        // Nothing was written but by who may.
        for (topic, end) in [(&self.open, 2), (&self.closed, 1)] {
            assert_eq!(crate::support::front::end_of(&mut self.front.kafka.connect(), topic), end);
        }
        uses
    }

    /// Metadata by id knows the new id of the topic that may be seen, and no other.
    fn assert_described(&self, bob: &mut Connection) {
        let [[old_open, old_closed], [new_open, new_closed]] = self.ids;
        for (id, name) in [
            (new_open, Some(self.open.as_str())),
            (old_open, None),
            (old_closed, None),
            (new_closed, None),
        ] {
            let topic = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
            let request = MetadataRequest::default()
                .with_topics(Some(vec![topic]))
                .with_allow_auto_topic_creation(false);
            let answer = bob.call(METADATA_VERSION, &request).unwrap();
            let found = &answer.topics[0];
            assert_eq!(found.name.as_ref().map(|name| &***name), name, "{answer:?}");
            let code = if name.is_some() { 0 } else { UNKNOWN_TOPIC_ID };
            assert_eq!(found.error_code, code, "{answer:?}");
        }
    }

    /// The record names what each id stood for when it was used, and nothing for one that stood for nothing.
    fn assert_recorded(&self, uses: &BTreeMap<&'static str, i32>) {
        let gateway = self.front.gateway();
        let last = uses.values().max().unwrap();
        let all = |sessions: &[Value]| -> Vec<Value> {
            sessions.iter().flat_map(|session| replay(gateway, session)).collect()
        };
        let is_whole = |sessions: &[Value]| {
            all(sessions)
                .iter()
                .any(|entry| entry["request"]["correlation"].as_i64() > Some(i64::from(*last)))
        };
        let entries = all(&sessions_of(gateway, &BOB, is_whole));
        let of = |what: &str| {
            let mut names = BTreeSet::new();
            let (key, correlation) = (if what.starts_with("write") { 0 } else { 1 }, uses[what]);
            let own = entries.iter().filter(|entry| {
                entry["request"]["operation"] == key
                    && entry["request"]["correlation"] == correlation
            });
            for entry in own {
                for resource in entry["resources"].as_array().unwrap() {
                    let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
                    names.insert((text("name"), text("outcome")));
                }
            }
            names.retain(|(name, _)| !name.is_empty());
            names.into_iter().filter(|(_, outcome)| outcome != "undecided").collect::<Vec<_>>()
        };
        let row = |name: &str, outcome: &str| vec![(name.to_owned(), outcome.to_owned())];
        assert_eq!(of("new open"), row(&self.open, "allow"));
        assert_eq!(of("write new open"), row(&self.open, "allow"));
        assert_eq!(of("new closed"), row(&self.closed, "deny"));
        assert_eq!(of("write new closed"), row(&self.closed, "deny"));
        for gone in ["old open", "old closed", "write old open"] {
            assert_eq!(of(gone), [], "{gone}");
        }
        // What was delivered and produced is of the open topic, in both lives.
        let moved =
            entries.iter().filter(|it| it["kind"] == "delivered" || it["kind"] == "produced");
        let resources = moved.flat_map(|entry| entry["resources"].as_array().unwrap());
        let names: BTreeSet<&str> = resources.filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(names, BTreeSet::from([self.open.as_str()]));
        let text = serde_json::to_string(&entries).unwrap();
        for life in ["first", "second"] {
            assert!(text.contains(&format!("{life} life of {}", self.open)), "{text}");
            assert!(!text.contains(&format!("{life} life of {}", self.closed)), "{text}");
        }
        let (text, code) = gateway.run(&["verify"]);
        assert_eq!(code, 0, "{text}");
    }
}

fn read(connection: &mut Connection, id: Uuid, offset: i64) -> Answered {
    let correlation = connection.send(FETCH_BY_ID, &fetch_by_id(id, offset, 0)).unwrap();
    let (_, answer) = connection.receive::<FetchRequest>(FETCH_BY_ID).unwrap();
    assert_eq!(answer.responses[0].topic_id, id, "{answer:?}");
    let partition = &answer.responses[0].partitions[0];
    let records = partition.records.clone().unwrap_or_default();
    Answered { correlation, code: partition.error_code, records }
}

fn write(connection: &mut Connection, id: Uuid) -> (i32, i16) {
    let mut request = produce(-1, &[("", 0, batch([&b"x"[..]]).unwrap())]);
    request.topic_data[0].topic_id = id;
    let correlation = connection.send(PRODUCE_BY_ID, &request).unwrap();
    let (_, answer) =
        connection.receive::<kafka_protocol::messages::ProduceRequest>(PRODUCE_BY_ID).unwrap();
    (correlation, answer.responses[0].partition_responses[0].error_code)
}

fn is_in(text: &[u8], bytes: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
