//! Kafka with ACLs for an identity, and the gateway with the same rights by policy: whatever both are asked, they answer the
//! same, and nothing that the identity may not see is in any byte of what the gateway answers.
//!
//! The requests are made from Kafka's own definitions of its messages: every API and version that the broker offers, each
//! with every way to name topics, groups, transactional ids and resources that its fields allow.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, GroupId, InitProducerIdRequest, MetadataRequest, OffsetCommitRequest,
    TransactionalId,
};
use kafka_protocol::protocol::Encodable;
use serde_json::Value;
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{METADATA_VERSION, batch, metadata, produce, topic_name};

use crate::support::definitions::{Api, Definitions, Field, Fill, Filler};
use crate::support::front::is_direct;
use crate::support::kafka::{self, HIDDEN_HOST, Kafka};
use crate::support::tokens::{ALICE, BOB};
use crate::support::unique;
use crate::support::world::{World, text};

/// APIs that are compared elsewhere, or cannot be, and why.
const LEFT_OUT: [(i16, &str); 8] = [
    (17, "the login itself"),
    (18, "it offers what the gateway carries"),
    (36, "the login itself"),
    (38, "the test broker gives no tokens"),
    (39, "the test broker gives no tokens"),
    (40, "the test broker gives no tokens"),
    (41, "the test broker gives no tokens"),
    (50, "Kafka does not answer a refused one that names nobody"),
];

/// APIs that change nothing but a topic's records: what who may do everything is answered must not lack anything.
const HARMLESS: [i16; 27] = [
    0, 1, 2, 3, 8, 9, 10, 15, 16, 23, 32, 35, 46, 48, 50, 55, 60, 61, 65, 66, 69, 71, 74, 75, 77,
    89, 90,
];

/// How a request names what it is about.
#[derive(Clone, Debug)]
struct Case {
    /// `None` is null, where a field may be that.
    topics: Option<Vec<String>>,
    by_id: bool,
    groups: Vec<String>,
    writers: Vec<String>,
    /// Resources with their kind.
    resources: Vec<(i64, String)>,
    key_type: i64,
}

/// Fills a request as a case says, and notes what of the case it used.
struct Filled<'a> {
    /// Key and version.
    api: (i16, i16),
    case: &'a Case,
    ids: &'a BTreeMap<String, [u8; 16]>,
    used: BTreeSet<&'static str>,
}

impl Filler for Filled<'_> {
    fn fill(&mut self, field: &Field<'_>, places: &[usize]) -> Fill {
        if field.kind.starts_with("[]") {
            return self.elements(field);
        }
        let place = places.last().copied().unwrap_or_default();
        let named = |names: &[String]| names.get(place).or(names.first()).cloned();
        match (field.entity, field.name) {
            ("topicName", _) => {
                self.used.insert("topics");
                if self.case.by_id && field.nullable {
                    // Java's client leaves the name empty beside an id.
                    let is_java = self.api == (METADATA, 13);
                    return if is_java { Fill::Text(String::new()) } else { Fill::Null };
                }
                let names = self.case.topics.as_deref().unwrap_or_default();
                return Fill::Text(named(names).unwrap_or_default());
            }
            (_, "TopicId") => {
                self.used.insert("ids");
                let is_named =
                    matches!(self.api, (METADATA | DELETE_TOPICS, _)) && !self.case.by_id;
                if is_named || (self.api.0 == METADATA && self.api.1 < 12) {
                    return Fill::Id([0; 16]);
                }
                let names = self.case.topics.as_deref().unwrap_or_default();
                let id = named(names).and_then(|name| self.ids.get(&name)).copied();
                return Fill::Id(id.unwrap_or_default());
            }
            ("groupId", _) => {
                self.used.insert("groups");
                return Fill::Text(named(&self.case.groups).unwrap_or_default());
            }
            ("transactionalId", _) => {
                self.used.insert("writers");
                return match named(&self.case.writers) {
                    Some(writer) => Fill::Text(writer),
                    None if field.nullable => Fill::Null,
                    None => Fill::Text(String::new()),
                };
            }
            (_, "Key") if field.around.is_empty() => return Fill::Text(self.key(place)),
            (_, "CoordinatorKeys") => return Fill::Text(self.key(place)),
            (_, "ResourceName") => {
                return Fill::Text(self.case.resources.get(place).cloned().unwrap_or_default().1);
            }
            (_, "ResourceType") => {
                self.used.insert("resources");
                let resource = self.case.resources.get(place);
                return Fill::Number(resource.map_or(2, |(kind, _)| *kind));
            }
            _ => {}
        }
        match field.kind {
            "string" if matches!(field.name, "MemberId" | "ProtocolType" | "ProtocolName") => {
                Fill::Text("AAAAAAAAAAAAAAAAAAAAAQ".to_owned())
            }
            "string" if field.name == "EntityType" => Fill::Text("user".to_owned()),
            "string" if field.nullable => Fill::Null,
            "string" => Fill::Text(String::new()),
            "records" if self.api.0 == PRODUCE => Fill::Bytes(batch([&b"value"[..]]).unwrap()),
            "bytes" if field.nullable => Fill::Null,
            "bytes" | "records" => Fill::Bytes(Bytes::new()),
            "uuid" => Fill::Id([0; 16]),
            kind if is_number(kind) => Fill::Number(self.number(field)),
            _ if field.nullable && field.name != "Topology" => Fill::Null,
            _ => Fill::There,
        }
    }
}

fn is_number(kind: &str) -> bool {
    kind == "bool" || kind.starts_with("int") || kind.starts_with("uint") || kind == "float64"
}

impl<'a> Filled<'a> {
    fn new(api: (i16, i16), case: &'a Case, ids: &'a BTreeMap<String, [u8; 16]>) -> Self {
        Self { api, case, ids, used: BTreeSet::new() }
    }

    fn elements(&mut self, field: &Field<'_>) -> Fill {
        let or_null = |count: Option<usize>| match count {
            None if field.nullable => Fill::Null,
            count => Fill::Elements(count.unwrap_or_default()),
        };
        let topics = self.case.topics.as_ref().map(Vec::len);
        match (field.entity, field.holds, field.name) {
            (_, _, "ForgottenTopicsData" | "TopicPartitions" | "OwnedPartitions")
                if field.inside.contains(&"TopicId") || field.name == "ForgottenTopicsData" =>
            {
                Fill::Elements(0)
            }
            (
                _,
                _,
                "RepartitionSinkTopics" | "RepartitionSourceTopics" | "StateChangelogTopics",
            ) => Fill::Elements(0),
            ("topicName", ..) | (_, "topicName", _) => {
                self.used.insert("topics");
                or_null(topics)
            }
            ("groupId", ..) | (_, "groupId", _) => {
                self.used.insert("groups");
                Fill::Elements(self.case.groups.len())
            }
            ("transactionalId", ..) | (_, "transactionalId", _) => {
                self.used.insert("writers");
                Fill::Elements(self.case.writers.len())
            }
            (_, _, "CoordinatorKeys") => {
                self.used.insert("key types");
                Fill::Elements(self.keys().len())
            }
            (_, _, "Resources") => Fill::Elements(self.case.resources.len()),
            (_, _, "Partitions" | "PartitionIndexes" | "PartitionData") => Fill::Elements(1),
            (
                _,
                _,
                "Dirs" | "Entries" | "Entity" | "Components" | "Markers" | "Subtopologies"
                | "Members",
            ) => Fill::Elements(1),
            _ if field.nullable => Fill::Null,
            _ => Fill::Elements(0),
        }
    }

    fn keys(&self) -> &[String] {
        if self.case.key_type == 1 { &self.case.writers } else { &self.case.groups }
    }

    fn key(&mut self, place: usize) -> String {
        self.used.insert("key types");
        self.keys().get(place).cloned().unwrap_or_default()
    }

    /// Numbers that ask for much and change nothing.
    fn number(&mut self, field: &Field<'_>) -> i64 {
        match field.name {
            "KeyType" => self.case.key_type,
            "ReplicaId"
            | "CurrentLeaderEpoch"
            | "LastFetchedEpoch"
            | "SessionEpoch"
            | "GenerationId"
            | "GenerationIdOrMemberEpoch"
            | "ProducerId"
            | "ProducerEpoch"
            | "ShareSessionEpoch"
            | "VoterId"
            | "BrokerId" => -1,
            "LeaderEpoch" => 0,
            "Acks" => -1,
            "MemberEpoch" => 5,
            "MaxBytes" | "PartitionMaxBytes" => 1 << 20,
            "TimeoutMs" | "timeoutMs" | "TransactionTimeoutMs" => 5_000,
            "NumPartitions" | "ReplicationFactor" => 1,
            "Count" => 3,
            "ResponsePartitionLimit" => 2_000,
            "ElectionType" => 0,
            name if name.starts_with("Include") || name.eq_ignore_ascii_case("validateOnly") => 1,
            // Metadata's; before version 4 it is as if it were true.
            "AllowAutoTopicCreation" => 0,
            "ResourceTypeFilter" | "PatternTypeFilter" | "Operation" | "PermissionType" => 1,
            _ => field.default.and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    }
}

/// What a request is about, in every way.
fn cases(world: &World, uses: &BTreeSet<&str>) -> Vec<Case> {
    let owned = |names: &[&String]| names.iter().map(|name| (*name).clone()).collect::<Vec<_>>();
    let World {
        open, seen, closed, absent, own_group, other_group, own_writer, other_writer, ..
    } = world;
    let base = Case {
        topics: Some(owned(&[open])),
        by_id: false,
        groups: owned(&[own_group]),
        writers: owned(&[own_writer]),
        resources: vec![(2, open.clone())],
        key_type: 0,
    };
    let mut cases = vec![base];
    let vary = |cases: &mut Vec<Case>, change: &dyn Fn(&Case) -> Vec<Case>| {
        *cases = cases.iter().flat_map(change).collect();
    };
    if uses.contains("topics") || uses.contains("ids") {
        let lists = [
            Some(owned(&[open])),
            Some(owned(&[seen])),
            Some(owned(&[closed])),
            Some(owned(&[absent])),
            Some(owned(&[closed, open, absent, seen])),
            Some(owned(&[open, closed])),
            Some(owned(&[open, open])),
            Some(owned(&[closed, open, closed])),
            Some(Vec::new()),
            None,
        ];
        vary(&mut cases, &|case| {
            lists.iter().map(|list| Case { topics: list.clone(), ..case.clone() }).collect()
        });
    }
    if uses.contains("ids") && uses.contains("topics") {
        vary(&mut cases, &|case| [false, true].map(|by_id| Case { by_id, ..case.clone() }).into());
    }
    if uses.contains("groups") || uses.contains("key types") {
        let lists = [
            owned(&[own_group]),
            owned(&[other_group]),
            owned(&[other_group, own_group]),
            owned(&[own_group, own_group]),
            Vec::new(),
        ];
        vary(&mut cases, &|case| {
            lists.iter().map(|list| Case { groups: list.clone(), ..case.clone() }).collect()
        });
    }
    if uses.contains("writers") || uses.contains("key types") {
        let lists = [
            owned(&[own_writer]),
            owned(&[other_writer]),
            owned(&[other_writer, own_writer]),
            Vec::new(),
        ];
        vary(&mut cases, &|case| {
            lists.iter().map(|list| Case { writers: list.clone(), ..case.clone() }).collect()
        });
    }
    if uses.contains("key types") {
        vary(&mut cases, &|case| {
            [0, 1, 2].map(|key_type| Case { key_type, ..case.clone() }).into()
        });
    }
    if uses.contains("resources") {
        let of = |names: &[(i64, &String)]| -> Vec<(i64, String)> {
            names.iter().map(|(kind, name)| (*kind, (*name).clone())).collect()
        };
        let broker = "1".to_owned();
        let lists = [
            of(&[(2, open)]),
            of(&[(2, closed), (2, open), (2, absent)]),
            of(&[(32, own_group), (32, other_group)]),
            of(&[(4, &broker)]),
            of(&[(8, &broker)]),
            of(&[(16, &broker)]),
            of(&[(2, closed), (32, own_group), (4, &broker)]),
            Vec::new(),
        ];
        vary(&mut cases, &|case| {
            lists.iter().map(|list| Case { resources: list.clone(), ..case.clone() }).collect()
        });
    }
    cases
}

/// To Kafka and to the gateway, as the same identity.
type Connect<'a> = &'a dyn Fn() -> [Connection; 2];

/// Both connections, made again where one was closed.
struct Pair<'a> {
    connect: Connect<'a>,
    connections: Option<[Connection; 2]>,
}

impl Pair<'_> {
    /// The answers of Kafka, unless only the gateway is asked, and of the gateway; `None` where there is none.
    fn ask(&mut self, frame: &[u8], gateway_alone: bool) -> [Option<Bytes>; 2] {
        let mut connections = self.connections.take().unwrap_or_else(self.connect);
        let answer = |connection: &mut Connection| {
            connection.send_bytes(frame).ok().and_then(|()| connection.read_frame().ok())
        };
        let [kafka, gateway] = &mut connections;
        let answers = [if gateway_alone { None } else { answer(kafka) }, answer(gateway)];
        if answers[1].is_some() && (gateway_alone || answers[0].is_some()) {
            self.connections = Some(connections);
        }
        answers
    }
}

/// Takes out what cannot be the same, and brings what has no order into one.
fn settle(tree: &mut Value, world: &BTreeSet<String>) {
    match tree {
        Value::Object(fields) => {
            for name in [
                "ThrottleTimeMs",
                "Host",
                "Port",
                "NodeEndpoints",
                "MemberId",
                "ErrorMessage",
                "ProducerId",
                "ProducerEpoch",
                "HeartbeatIntervalMs",
                "LogStartOffset",
                "BaseOffset",
                "UsableBytes",
                "TopicConfigErrorCode",
            ] {
                fields.remove(name);
            }
            fields.values_mut().for_each(|value| settle(value, world));
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(|value| settle(value, world));
            // Other tests of this run give the same user rights at the same broker.
            elements.retain(|element| {
                let named = ["Name", "TopicName", "GroupId", "TransactionalId"];
                let mut names = named.iter().filter_map(|name| element.get(name)?.as_str());
                element.get("ConfigSource").is_some()
                    || names.all(|name| world.contains(name) || name.is_empty())
            });
            elements.sort_by_key(Value::to_string);
            // Where a request names something twice, Kafka mostly answers once; the gateway refuses it twice.
            elements.dedup();
        }
        _ => {}
    }
}

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const CREATE_PARTITIONS: i16 = 37;
const WRITE_TXN_MARKERS: i16 = 27;
const DESCRIBE_GROUPS: i16 = 15;
const DESCRIBE_CONFIGS: i16 = 32;
const ALTER_CONFIGS: i16 = 33;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
const OFFSET_FETCH: i16 = 9;
const DESCRIBE_SHARE_GROUP_OFFSETS: i16 = 90;

/// Where the gateway answers otherwise; `docs/PROTOCOL.md` has the same list, with the reasons.
fn is_known_difference(api: &Api, case: &Case, kafka: &Value, gateway: &Value) -> bool {
    let twice = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() < names.len();
    let is_twice = |case: &Case| twice(case.topics.as_deref().unwrap_or_default());
    let replaced = |from: &str, to: &str| {
        let told = gateway.to_string();
        kafka.to_string().replace(from, to) == told
    };
    match api.key {
        // What may not be seen is what does not exist.
        METADATA if case.by_id => {
            // Versions 10 and 11 have a place for an id, and no broker reads it.
            let unreadable = |tree: &Value, code: i64| {
                tree["Topics"].as_array().is_some_and(|topics| {
                    topics.iter().all(|topic| topic["ErrorCode"] == code && topic["Name"] == "")
                })
            };
            replaced("\"ErrorCode\":29", "\"ErrorCode\":100")
                || (unreadable(kafka, 42) && unreadable(gateway, 100))
        }
        // The name of a topic that was asked for by its id is not told beside a refusal.
        DELETE_TOPICS if case.by_id => {
            let nameless = |tree: &Value| {
                let mut tree = tree.clone();
                for topic in tree["Responses"].as_array_mut().into_iter().flatten() {
                    topic["Name"] = Value::Null;
                }
                tree["Responses"].as_array_mut().unwrap().sort_by_key(Value::to_string);
                tree
            };
            nameless(kafka) == nameless(gateway) || is_twice(case)
        }
        // What is named twice and refused is refused, and not a wrong request.
        CREATE_TOPICS | DELETE_TOPICS | CREATE_PARTITIONS => {
            is_twice(case) && replaced("\"ErrorCode\":42", "\"ErrorCode\":29")
        }
        OFFSET_FETCH | DESCRIBE_SHARE_GROUP_OFFSETS => twice(&case.groups),
        // A refusal without the markers, each of which is a producer with its topics.
        WRITE_TXN_MARKERS => *gateway == serde_json::json!({"Markers": []}),
        // A broker's logger is refused, and not a wrong request.
        ALTER_CONFIGS => {
            case.resources.iter().all(|(kind, _)| *kind == 8)
                && replaced("\"ErrorCode\":42", "\"ErrorCode\":31")
        }
        _ => false,
    }
}

/// Kinds of configuration that an older broker does not know make the whole request a wrong one (42) to it, or their part of
/// it; the gateway refuses them as it does before other brokers.
fn is_unknown_kind(api: &Api, kafka: &Value, gateway: &Value) -> bool {
    if api.key == DESCRIBE_GROUPS {
        // And so nobody has rights on configurations of groups there: bits 10 and 11.
        let [all, older] = [3400, 328].map(|bits| format!("\"AuthorizedOperations\":{bits}"));
        let (told, wanted) = (gateway.to_string(), kafka.to_string());
        return told.replace(&all, &older) == wanted;
    }
    let list = match api.key {
        DESCRIBE_CONFIGS => "Results",
        ALTER_CONFIGS | INCREMENTAL_ALTER_CONFIGS => "Responses",
        _ => return false,
    };
    let [kafka, gateway] = [kafka, gateway].map(|tree| {
        let mut elements = tree[list].as_array().cloned().unwrap_or_default();
        elements.sort_by_key(|it| (it["ResourceType"].as_i64(), it["ResourceName"].to_string()));
        elements
    });
    kafka.len() == gateway.len()
        && kafka.iter().zip(&gateway).all(|(kafka, gateway)| {
            let mut wrong = gateway.clone();
            wrong["ErrorCode"] = Value::from(42);
            let is_refused = [29, 30, 31].map(Value::from).contains(&gateway["ErrorCode"]);
            kafka == gateway || (is_refused && *kafka == wrong)
        })
}

/// What the identity may not see: it is there, and must be in no answer to a request that does not name it itself.
struct Canaries(Vec<(&'static str, Vec<u8>)>);

impl Canaries {
    /// Puts them into the cluster.
    fn place(world: &World, id: [u8; 16]) -> Self {
        let World { closed, other_group, other_writer, .. } = world;
        let record = unique("canary-record");
        let mut connection = world.front.kafka.connect();
        let records: Bytes = batch([record.clone().into_bytes()]).unwrap();
        let answer = connection.call(9, &produce(-1, &[(closed, 0, records)])).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(closed))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(other_group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let answer = connection.call(8, &request).unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{answer:?}");
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(other_writer))))
            .with_transaction_timeout_ms(60_000);
        let answer = connection.call(4, &request).unwrap();
        assert_eq!(answer.error_code, 0, "{answer:?}");
        let named = |what, name: &str| (what, name.as_bytes().to_vec());
        Self(vec![
            named("topic", closed),
            named("group", other_group),
            named("transactional id", other_writer),
            named("record", &record),
            named("broker's host", HIDDEN_HOST),
            ("topic id", id.to_vec()),
        ])
    }

    /// Those in an answer that are not in its request.
    fn leaked<'a>(
        &'a self,
        request: &'a [u8],
        answer: &'a [u8],
    ) -> impl Iterator<Item = &'static str> {
        let within =
            |bytes: &[u8], canary: &[u8]| bytes.windows(canary.len()).any(|it| it == canary);
        self.0
            .iter()
            .filter(move |(_, canary)| within(answer, canary) && !within(request, canary))
            .map(|(what, _)| *what)
    }
}

/// What asking everything brought.
#[derive(Default)]
struct Sweep {
    asked: usize,
    compared: usize,
    keys: usize,
    pairs: usize,
    different: Vec<String>,
    leaks: Vec<String>,
}

/// What all requests are made from.
struct Material<'a> {
    world: &'a World,
    /// Whether the broker has the groups of KIP-848, and configurations of groups with them.
    knows_groups: bool,
    definitions: &'a Definitions,
    ids: &'a BTreeMap<String, [u8; 16]>,
    names: &'a BTreeSet<String>,
    canaries: &'a Canaries,
}

impl Sweep {
    /// Asks both every request of these versions of an API.
    fn api(
        &mut self,
        material: &Material<'_>,
        key: i16,
        versions: (i16, i16),
        pair: &mut Pair<'_>,
    ) {
        let gateway_alone = LEFT_OUT.iter().any(|(left_out, _)| *left_out == key);
        let Material { world, knows_groups, definitions, ids, names, canaries } = material;
        let Some(api) = definitions.find(key) else { return };
        self.keys += 1;
        for version in versions.0..=versions.1 {
            // Produce is offered in versions that are long gone.
            if !api.versions.contains(&version) && !gateway_alone {
                continue;
            }
            self.pairs += 1;
            let mut uses = BTreeSet::new();
            for case in cases(world, &BTreeSet::new()) {
                let mut filled = Filled::new((key, version), &case, ids);
                api.request(version, 0, &mut filled);
                uses = filled.used;
            }
            let mut frames = BTreeSet::new();
            for case in cases(world, &uses) {
                let correlation = i32::try_from(self.asked).unwrap();
                let mut filled = Filled::new((key, version), &case, ids);
                let frame = api.request(version, correlation, &mut filled);
                // Two cases may come to the same request, but for its number.
                if !frames.insert(frame[12..].to_vec()) {
                    continue;
                }
                // Kafka 3.4.1 never answers a list without groups.
                let is_list = api.key == OFFSET_FETCH && version >= 8;
                if !knows_groups && is_list && case.groups.is_empty() {
                    continue;
                }
                // Kafka 3.4.1 never answers a list without groups.
                let is_list = key == OFFSET_FETCH && version >= 8;
                if !knows_groups && is_list && case.groups.is_empty() {
                    continue;
                }
                let answers = pair.ask(&frame, gateway_alone);
                if let Some(answer) = &answers[1] {
                    for what in canaries.leaked(&frame, answer) {
                        self.leaks.push(format!("{} v{version} {case:?}: {what}", api.name));
                    }
                }
                self.asked += 1;
                if gateway_alone {
                    continue;
                }
                self.compared += 1;
                let [kafka, gateway] = &answers.map(|answer| readable(api, version, answer, names));
                let is_known = is_known_difference(api, &case, kafka, gateway)
                    || (!knows_groups && is_unknown_kind(api, kafka, gateway));
                if kafka != gateway && !is_known {
                    self.different.push(format!(
                        "{} v{version} {case:?}\n  Kafka   {kafka}\n  gateway {gateway}",
                        api.name
                    ));
                }
            }
        }
    }

    fn tell(&self, who: &str) {
        let Self { asked, compared, keys, pairs, .. } = self;
        eprintln!(
            "{who}: {asked} requests of {keys} APIs in {pairs} versions, {compared} compared with Kafka"
        );
        let different = &self.different;
        assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    }
}

fn readable(api: &Api, version: i16, answer: Option<Bytes>, names: &BTreeSet<String>) -> Value {
    let Some(frame) = answer else { return Value::from("the connection was closed") };
    let mut tree = api.response(version, frame).unwrap_or_else(Value::from);
    settle(&mut tree, names);
    tree
}

#[test]
fn the_gateway_answers_as_kafka_would() {
    let Some(kafka) = Kafka::shared() else { return };
    if !is_direct() {
        let compared = compare_all(&World::before(kafka));
        assert!(compared > 2_900, "{compared}");
    }
}

/// Everything that Kafka offers and Kafka 4.3.1 still has is asked of both; how many requests were compared by somebody with
/// some rights.
pub fn compare_all(world: &World) -> usize {
    let mut connection = world.front.kafka.connect();
    let known = connection.call(METADATA_VERSION, &metadata(None)).unwrap().topics;
    let id_of = |name: &String| {
        let named = known.iter().find(|topic| topic.name == Some(topic_name(name)));
        (name.clone(), named.map_or([7; 16], |topic| *topic.topic_id.as_bytes()))
    };
    let World {
        open,
        seen,
        closed,
        absent,
        own_group,
        other_group,
        own_writer,
        other_writer,
        managed,
        ..
    } = world;
    let ids: BTreeMap<String, [u8; 16]> = [open, seen, closed, absent].map(id_of).into();
    let names =
        [open, seen, closed, absent, own_group, other_group, own_writer, other_writer, managed];
    let canaries = Canaries::place(world, ids[closed]);
    // They are seen by who may see them, so that not to find them means something.
    let all = MetadataRequest::default().with_topics(None);
    let mut everything = BytesMut::new();
    let seen_by_all = connection.call(METADATA_VERSION, &all).unwrap();
    seen_by_all.encode(&mut everything, METADATA_VERSION).unwrap();
    assert!(canaries.leaked(&[], &everything).count() >= 2, "{seen_by_all:?}");
    let offered = connection.call(2, &ApiVersionsRequest::default()).unwrap().api_keys;
    let material = Material {
        world,
        knows_groups: offered.iter().any(|offer| offer.api_key == CONSUMER_GROUP_HEARTBEAT),
        definitions: &Definitions::read(&kafka::home().unwrap()),
        ids: &ids,
        names: &names.map(Clone::clone).into(),
        canaries: &canaries,
    };
    let some_rights: Connect<'_> =
        &|| [world.front.kafka.connect_as(BOB.name), world.front.connect_as(&BOB)];
    let all_rights: Connect<'_> = &|| [world.front.kafka.connect(), world.front.connect_as(&ALICE)];
    let mut pair = Pair { connect: some_rights, connections: None };
    let mut pair_of_all = Pair { connect: all_rights, connections: None };
    let (mut some, mut all) = (Sweep::default(), Sweep::default());
    for offer in offered {
        if [17, 18, 36].contains(&offer.api_key) {
            continue;
        }
        let versions = (offer.min_version, offer.max_version);
        some.api(&material, offer.api_key, versions, &mut pair);
        if HARMLESS.contains(&offer.api_key) {
            all.api(&material, offer.api_key, versions, &mut pair_of_all);
        }
    }
    some.tell("with some rights");
    assert!(some.leaks.is_empty(), "{} leaks:\n{}", some.leaks.len(), some.leaks.join("\n"));
    all.tell("with all rights");
    assert!(all.compared > 500, "{}", all.compared);
    some.compared
}
