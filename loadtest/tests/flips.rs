//! A thousand changes of policy under load (row F24 of the faults): each request is decided by one policy, which the record
//! names, and nobody else notices.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{FetchRequest, FetchResponse, MetadataRequest, ProduceRequest};
use rustix::process::Signal;
use serde_json::Value;
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, METADATA_VERSION, PRODUCE_VERSION, batch, fetch, metadata, produce,
};

use crate::crash::{EndsWhenDropped, write_and_read};
use crate::record::{replay, sessions_of};
use crate::refuse::TOPIC_DENIED;
use crate::support::clients::FAMILIES;
use crate::support::front::{Front, end_of};
use crate::support::gateway::Setup;
use crate::support::healthy::Healthy;
use crate::support::tokens::{ALICE, BOB};
use crate::support::{PATIENCE, unique};

/// The last one takes the right away.
const FLIPS: usize = 1_000;

/// How many flips pass between two newcomers: each is a session of its own, which lasts for half a minute.
const FLIPS_PER_NEWCOMER: usize = 20;

/// What the gateway may grow by from the hundredth flip on: far less than it would if each left a bundle behind.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

/// Where the version of Fetch tells who asked: a long poll is sent in this one.
const POLL_VERSION: i16 = FETCH_VERSION - 1;

/// What a client does all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Read,
    Write,
    Describe,
    /// A fetch that waits: it is decided under one policy, and often answered under the next.
    Poll,
}

/// Those whose answers are awaited at each flip.
const AWAITED: [Work; 3] = [Work::Read, Work::Write, Work::Describe];

/// What the flips and the clients tell each other.
struct Stage<'a> {
    front: &'a Front,
    /// The topic whose right comes and goes, and one whose right stays.
    topics: [&'a str; 2],
    /// Twice the flip that is under way, and one more once every awaited client has seen it.
    phase: AtomicUsize,
    /// The last answer to each awaited work, and the last phase in which one lay as a whole.
    seen: [AtomicI16; 3],
    whole: [AtomicUsize; 3],
    ended: AtomicBool,
    calls: Mutex<Vec<Call>>,
}

/// One request and its answer, as the client saw them.
#[derive(Debug)]
struct Call {
    key: Key,
    /// Its error for the topic whose right comes and goes, and whether records came.
    code: i16,
    has_records: bool,
    /// The phases when it was sent and when it was answered.
    phases: (usize, usize),
}

/// What tells a request from others in the record: its API, version and correlation id.
type Key = (String, i16, i32);

fn is_granted(flip: usize) -> bool {
    flip.is_multiple_of(2)
}

/// The policy after so many flips; its rules are named after it.
fn policy(flip: usize, [flipped, beside]: [&str; 2]) -> String {
    let rights = "action in [Action::\"Read\", Action::\"Write\", Action::\"Describe\"]";
    let restricted = "principal in Group::\"restricted\"";
    let (effect, id) = if is_granted(flip) { ("permit", "granted") } else { ("forbid", "taken") };
    format!(
        "@id(\"all\") permit (principal in Group::\"everything\", action, resource);\n\
         @id(\"beside\") permit ({restricted}, {rights}, resource in Topic::\"{beside}\");\n\
         @id(\"{id}-{flip}\") {effect} ({restricted}, {rights}, resource in Topic::\"{flipped}\");\n"
    )
}

#[test]
fn a_thousand_flips_of_a_policy_under_load() {
    let [flipped, beside] = ["flipped", "beside"].map(unique);
    let topics = [flipped.as_str(), beside.as_str()];
    let setup = Setup { policy: policy(0, topics), payload: "none", ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    for topic in topics {
        // Their records are as old as can be, and must stay.
        front.kafka.create_topic_with(topic, 1, &[("retention.ms", "-1")]);
        write(&mut front.connect_as(&ALICE), topic, b"first");
    }
    let stage = Stage {
        front: &front,
        topics,
        phase: AtomicUsize::new(1),
        seen: Default::default(),
        whole: Default::default(),
        ended: AtomicBool::new(false),
        calls: Mutex::default(),
    };
    let calm = FAMILIES.map(|family| (family, unique("calm")));
    calm.iter().for_each(|(_, topic)| front.kafka.create_topic(topic, 1));
    let mut healthy = Healthy::new(front.connect_as(&ALICE));
    std::thread::scope(|scope| {
        // Also where an assertion here fails: the others would go on for ever.
        let _end = EndsWhenDropped(&stage.ended);
        for (family, topic) in &calm {
            let (access, ended) = (front.access(&ALICE), &stage.ended);
            scope.spawn(move || write_and_read(*family, &access, topic, ended));
        }
        for work in [Work::Read, Work::Write, Work::Describe, Work::Poll] {
            let stage = &stage;
            scope.spawn(move || stage.go_on(work));
        }
        scope.spawn(|| stage.welcome());
        scope.spawn(|| healthy.assert_undisturbed("flips of a policy"));
        stage.flip_all();
    });
    stage.assert_nothing_leaks_after_the_last();
    let calls = stage.calls.into_inner().unwrap();
    assert_recorded(&front, topics, &calls);
}

fn write(connection: &mut Connection, topic: &str, value: &'static [u8]) {
    let request = produce(-1, &[(topic, 0, batch([value]).unwrap())]);
    let answer = connection.call(PRODUCE_VERSION, &request).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
}

impl Stage<'_> {
    /// All flips but the last, each once every awaited client has seen the one before and has asked again.
    fn flip_all(&self) {
        let started = Instant::now();
        let mut memory = 0;
        self.await_all(0, |work| self.whole[work].load(Ordering::SeqCst) == 1);
        for flip in 1..FLIPS - 1 {
            self.flip(flip);
            if flip == 100 {
                memory = self.front.gateway().resident_bytes();
            }
        }
        let grown = self.front.gateway().resident_bytes().saturating_sub(memory);
        let took = started.elapsed();
        eprintln!("{FLIPS} flips in {took:?}; grown by {} KiB", grown / 1024);
        assert!(grown < GROWTH_BYTES_MAX, "the gateway has grown by {} KiB", grown / 1024);
    }

    fn flip(&self, flip: usize) {
        self.phase.store(2 * flip, Ordering::SeqCst);
        self.replace_policy(flip);
        let wanted = if is_granted(flip) { 0 } else { TOPIC_DENIED };
        self.await_all(flip, |work| self.seen[work].load(Ordering::SeqCst) == wanted);
        let phase = 2 * flip + 1;
        self.phase.store(phase, Ordering::SeqCst);
        self.await_all(flip, |work| self.whole[work].load(Ordering::SeqCst) == phase);
    }

    fn replace_policy(&self, flip: usize) {
        let gateway = self.front.gateway();
        gateway.replace_policy(&policy(flip, self.topics));
        // Rather than wait for the gateway's next look at the file.
        gateway.process.signal(Signal::HUP);
    }

    fn await_all(&self, flip: usize, is_done: impl Fn(usize) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(work) = (0..AWAITED.len()).find(|work| !is_done(*work)) {
            let (work, seen) = (AWAITED[work], &self.seen);
            assert!(!self.ended.load(Ordering::SeqCst), "a client has ended");
            assert!(Instant::now() < deadline, "{work:?} does not see flip {flip}: {seen:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// One client: its answers within a flip that everybody has seen are that flip's.
    fn go_on(&self, work: Work) {
        let _end = EndsWhenDropped(&self.ended);
        let mut connection = self.front.connect_as(&BOB);
        let awaited = AWAITED.iter().position(|awaited| *awaited == work);
        let mut end = end_of(&mut self.front.connect_as(&ALICE), self.topics[0]);
        let mut calls = Vec::new();
        while !self.ended.load(Ordering::SeqCst) {
            let sent = self.phase.load(Ordering::SeqCst);
            let mut call = self.ask(work, &mut connection, &mut end);
            call.phases = (sent, self.phase.load(Ordering::SeqCst));
            self.assert_right(&call);
            if let Some(awaited) = awaited {
                self.seen[awaited].store(call.code, Ordering::SeqCst);
                if call.phases.0 == call.phases.1 {
                    self.whole[awaited].store(call.phases.0, Ordering::SeqCst);
                }
            }
            calls.push(call);
            // A thousand requests a second each: the record of them is read as a whole.
            std::thread::sleep(Duration::from_millis(1));
        }
        self.calls.lock().unwrap().extend(calls);
    }

    /// An answer may be the old policy's or the new one's while a flip is under way, and afterwards only the new one's.
    fn assert_right(&self, call: &Call) {
        assert!([0, TOPIC_DENIED].contains(&call.code), "{call:?}");
        let (sent, answered) = call.phases;
        if sent == answered && sent % 2 == 1 {
            assert_eq!(call.code == 0, is_granted(sent / 2), "{call:?}");
        }
        assert!(!call.has_records || call.code == 0, "{call:?}");
    }

    /// Sends one request about both topics, and reads its answer.
    fn ask(&self, work: Work, connection: &mut Connection, end: &mut i64) -> Call {
        let [flipped, beside] = self.topics;
        let (name, version, correlation, codes, has_records) = match work {
            Work::Read | Work::Poll => {
                let (version, wait_ms_max, offset) = match work {
                    Work::Poll => (POLL_VERSION, 40, *end),
                    _ => (FETCH_VERSION, 0, 0),
                };
                // More than there is: a long poll ends with its time.
                let bounds = FetchBounds { wait_ms_max, bytes_min: 1 << 20, bytes_max: 500 };
                let request = fetch(bounds, &[(flipped, 0, offset), (beside, 0, 1)]);
                let correlation = connection.send(version, &request).unwrap();
                let (_, answer) = connection.receive::<FetchRequest>(version).unwrap();
                let codes = [flipped, beside].map(|topic| partition(&answer, topic).0);
                let (code, size) = partition(&answer, flipped);
                if matches!(work, Work::Poll) && code == 0 {
                    *end = end_of(&mut self.front.kafka.connect(), flipped);
                }
                ("Fetch", version, correlation, codes, size > 0)
            }
            Work::Write => {
                let batches =
                    [flipped, beside].map(|topic| (topic, 0, batch([&b"x"[..]]).unwrap()));
                let request = produce(-1, &batches);
                let correlation = connection.send(PRODUCE_VERSION, &request).unwrap();
                let (_, answer) = connection.receive::<ProduceRequest>(PRODUCE_VERSION).unwrap();
                let code = |topic: &str| {
                    let mut topics = answer.responses.iter();
                    let found = topics.find(|answered| &*answered.name == topic).unwrap();
                    found.partition_responses[0].error_code
                };
                ("Produce", PRODUCE_VERSION, correlation, [flipped, beside].map(code), false)
            }
            Work::Describe => {
                let request = metadata(Some(&[flipped, beside]));
                let correlation = connection.send(METADATA_VERSION, &request).unwrap();
                let (_, answer) = connection.receive::<MetadataRequest>(METADATA_VERSION).unwrap();
                let code = |topic: &str| {
                    let is_it = |found: &&MetadataResponseTopic| {
                        found.name.as_ref().is_some_and(|name| &**name == topic)
                    };
                    // What may not be seen any more when the answer comes is left out of it.
                    answer.topics.iter().find(is_it).map_or(TOPIC_DENIED, |it| it.error_code)
                };
                ("Metadata", METADATA_VERSION, correlation, [flipped, beside].map(code), false)
            }
        };
        assert_eq!(codes[1], 0, "{name}: the right that stays");
        let key = (name.to_owned(), version, correlation);
        Call { key, code: codes[0], has_records, phases: (0, 0) }
    }

    /// A session of its own, whose requests are not taken for others' in the record.
    fn join(&self, client_id: &str) -> Connection {
        let connection = Connection::open(self.front.broker_address(), PATIENCE).unwrap();
        let mut connection = connection.named(client_id);
        connection.login(&self.front.login(&BOB)).unwrap();
        connection
    }

    /// Clients that come while policies change begin with the policy of then.
    fn welcome(&self) {
        let mut due = 0;
        while !self.ended.load(Ordering::SeqCst) {
            if self.phase.load(Ordering::SeqCst) / 2 < due {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let sent = self.phase.load(Ordering::SeqCst);
            let mut connection = self.join(&format!("newcomer-{due}"));
            let mut call = self.ask(Work::Read, &mut connection, &mut 0);
            call.phases = (sent, self.phase.load(Ordering::SeqCst));
            self.assert_right(&call);
            due += FLIPS_PER_NEWCOMER;
        }
    }

    /// A long poll from before the last flip, and every request after it, get nothing.
    fn assert_nothing_leaks_after_the_last(&self) {
        let [flipped, _] = self.topics;
        let front = self.front;
        // So little at once that an answer is one read: a longer one ends its connection where the right ends within it.
        let code_of = |connection: &mut Connection| {
            let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 500 };
            let answer =
                connection.call(FETCH_VERSION, &fetch(bounds, &[(flipped, 0, 0)])).unwrap();
            partition(&answer, flipped).0
        };
        let [mut polling, mut reading] = [(); 2].map(|()| self.join("last"));
        let end = end_of(&mut front.connect_as(&ALICE), flipped);
        assert_eq!(code_of(&mut reading), 0);
        let bounds = FetchBounds { wait_ms_max: 30_000, bytes_min: 1, bytes_max: 500 };
        polling.send(FETCH_VERSION, &fetch(bounds, &[(flipped, 0, end)])).unwrap();
        self.replace_policy(FLIPS - 1);
        let deadline = Instant::now() + PATIENCE;
        while code_of(&mut reading) == 0 {
            assert!(Instant::now() < deadline, "the last flip does not show");
        }
        const CANARY: &[u8] = b"written after the right was gone";
        write(&mut front.connect_as(&ALICE), flipped, CANARY);
        let polled = polling.read_frame().unwrap();
        let is_there = |frame: &[u8]| frame.windows(CANARY.len()).any(|bytes| bytes == CANARY);
        assert!(!is_there(&polled), "a long poll leaks");
        for offset in [0, end] {
            let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 500 };
            for _ in 0..100 {
                let request = fetch(bounds, &[(flipped, 0, offset)]);
                reading.send(FETCH_VERSION, &request).unwrap();
                assert!(!is_there(&reading.read_frame().unwrap()), "a fetch leaks");
                assert_eq!(code_of(&mut reading), TOPIC_DENIED);
            }
        }
        // It is there, for who may read it.
        let mut other = front.connect_as(&ALICE);
        other.send(FETCH_VERSION, &fetch(bounds, &[(flipped, 0, end)])).unwrap();
        assert!(is_there(&other.read_frame().unwrap()));
    }
}

/// A topic's error, and the bytes of records that came of it.
fn partition(answer: &FetchResponse, topic: &str) -> (i16, usize) {
    let found = answer.responses.iter().find(|answered| &*answered.topic == topic).unwrap();
    let partition = &found.partitions[0];
    (partition.error_code, partition.records.as_ref().map_or(0, bytes::Bytes::len))
}

/// Every entry about the topic is decided by the policy that its epoch names, and every call is in the record as it was
/// answered.
fn assert_recorded(front: &Front, [flipped, _]: [&str; 2], calls: &[Call]) {
    let gateway = front.gateway();
    // Each entry was written before its answer, so that all are there.
    let sessions = sessions_of(gateway, &BOB, |found| !found.is_empty());
    let busiest = sessions.iter().max_by_key(|session| session["entries"].as_u64()).unwrap();
    let (mut epochs, mut requests, mut delivered) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for entry in replay(gateway, busiest) {
        let about = entry["resources"].as_array().unwrap().iter();
        let Some(resource) = about.into_iter().find(|it| it["name"] == flipped) else { continue };
        let epoch = entry["policy_epoch"].as_u64().unwrap();
        let key = key_of(&entry);
        if entry["kind"] == "delivered" {
            delivered.insert(key, epoch);
        } else if resource["action"].is_string() {
            let (flip, is_allowed) = decided(&entry, resource);
            assert_eq!(*epochs.entry(epoch).or_insert(flip), flip, "two policies: {entry}");
            assert!(requests.insert(key, is_allowed).is_none(), "twice: {entry}");
        }
    }
    // Epochs count policies, and none was skipped.
    let flips: Vec<(u64, usize)> = epochs.into_iter().collect();
    let expected: Vec<_> = (1..).zip(0..FLIPS - 1).collect();
    assert!(flips == expected, "{} epochs: {:?}", flips.len(), &flips[..flips.len().min(20)]);
    for (key, epoch) in &delivered {
        assert!(is_granted(*epoch as usize - 1), "{key:?} is delivered under epoch {epoch}");
    }
    for call in calls {
        let is_allowed = requests.get(&call.key);
        let is_allowed = *is_allowed.unwrap_or_else(|| panic!("not in the record: {call:?}"));
        // What is shown or delivered is decided again when it is answered, and a flip may lie between.
        let (sent, answered) = call.phases;
        let is_later = call.key.0 != "Produce" && (sent != answered || sent.is_multiple_of(2));
        assert!((call.code == 0) == is_allowed || (is_later && is_allowed), "{call:?}");
        assert!(!call.has_records || delivered.contains_key(&call.key), "{call:?}");
    }
    let changes = replay(gateway, &serde_json::json!({"session": "0".repeat(32)}));
    let changes = changes.iter().filter(|entry| entry["kind"] == "policy-changed");
    let versions: Vec<_> = changes.map(|entry| entry["policy_epoch"].as_u64().unwrap()).collect();
    assert!(versions == (1..=FLIPS as u64).collect::<Vec<_>>(), "{versions:?}");
    let (text, code) = gateway.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
    eprintln!("{} calls, {} deliveries", calls.len(), delivered.len());
}

fn key_of(entry: &Value) -> Key {
    let request = &entry["request"];
    let number = |name: &str| request[name].as_i64().unwrap_or_default();
    let name = request["name"].as_str().unwrap_or_default().to_owned();
    (name, number("version") as i16, number("correlation") as i32)
}

/// After how many flips a resource was decided, by the rule that the entry names; it must be that rule's decision.
fn decided(entry: &Value, resource: &Value) -> (usize, bool) {
    let policies = resource["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{entry}");
    let (effect, flip) = policies[0].as_str().unwrap().rsplit_once('-').unwrap();
    let flip: usize = flip.parse().unwrap();
    let wanted = if effect == "granted" { "allow" } else { "deny" };
    assert_eq!(resource["outcome"], wanted, "{entry}");
    assert_eq!(effect == "granted", is_granted(flip), "{entry}");
    (flip, effect == "granted")
}
