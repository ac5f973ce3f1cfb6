//! An older broker behind the gateway, Kafka 3.4.1: what it lacks is neither offered nor forwarded, and what it has is
//! enforced.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use sluicegate_loadtest::client::Connection;

use crate::support::counting::Counting;
use crate::support::definitions::{Definitions, Field, Fill, Filler};
use crate::support::front::{Front, is_direct};
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::{self, Kafka};
use crate::support::skip;
use crate::support::tokens::ALICE;
use crate::support::world::World;
use crate::{equivalence, path};

/// The login, and what is answered by the gateway itself.
const OWN: [i16; 3] = [17, 18, 36];

#[test]
fn both_families_do_at_an_older_broker_what_they_do_at_any() {
    let Some(kafka) = Kafka::older() else { return };
    let front = Front::before(kafka, Setup::default());
    path::assert_arrive_as_sent(&front);
    path::assert_groups_resume(&front, &["classic"]);
    path::assert_acknowledged(&front);
    path::assert_transactions(&front);
    path::assert_offsets_in_transactions(&front);
    path::assert_admins_see_only(&front);
}

#[test]
fn an_older_broker_answers_through_the_gateway_as_it_would_itself() {
    let Some(kafka) = Kafka::older() else { return };
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    let compared = equivalence::compare_all(&World::before(kafka));
    assert!(compared > 1_000, "{compared}");
}

#[test]
fn what_an_older_broker_lacks_is_refused_and_never_reaches_it() {
    let (Some(older), Some(current)) = (Kafka::older(), Front::shared()) else { return };
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    let (listener, advertised) = older.relayed();
    let relay = Counting::on(TcpListener::bind(advertised).unwrap(), listener);
    let setup = Setup { broker: Some(advertised), broker_login: None, ..Setup::default() };
    let front = Front { kafka: older, gateway: Some(Gateway::start(older, setup)) };

    // What both have is offered: the table is Kafka 4.3.1's.
    let table = versions(&mut current.connect_as(&ALICE));
    let theirs = versions(&mut older.connect());
    let offered = versions(&mut front.connect_as(&ALICE));
    let both = table.iter().filter_map(|(key, ours)| {
        let theirs = if OWN.contains(key) { ours } else { theirs.get(key)? };
        let both = *ours.start().max(theirs.start())..=*ours.end().min(theirs.end());
        (!both.is_empty()).then_some((*key, both))
    });
    assert_eq!(offered, both.collect());
    // Produce, Fetch, Metadata; members of KIP-848 and of share groups, topics in pages.
    let known = [0, 1, 3].map(|key| *offered[&key].end());
    assert_eq!(known, [9, 13, 12], "{offered:?}");
    assert!([68, 75, 76, 78].iter().all(|key| table.contains_key(key)), "{table:?}");
    assert!(![68, 75, 76, 78].iter().any(|key| offered.contains_key(key)), "{offered:?}");

    let is_offered = |key: i16, version| {
        offered.get(&key).is_some_and(|versions: &RangeInclusive<i16>| versions.contains(&version))
    };
    let definitions = Definitions::read(&kafka::home().unwrap());
    let mut connection = front.connect_as(&ALICE);
    let (mut refused, mut unsaid) = (0, BTreeSet::new());
    for (key, versions) in &table {
        let api = definitions.api(*key);
        for version in versions.clone().filter(|version| !is_offered(*key, *version)) {
            connection.send_bytes(&api.request(version, 7, &mut Least)).unwrap();
            let answer = connection.read_frame().unwrap();
            assert_eq!(answer[..4], 7_i32.to_be_bytes(), "{} v{version}", api.name);
            let tree = api.response(version, answer).unwrap();
            if tree.to_string().contains("\"ErrorCode\":35") {
                refused += 1;
            } else {
                unsaid.insert(api.name.as_str());
            }
        }
    }
    eprintln!("{refused} requests were refused");
    assert!(refused > 70, "{refused}");
    // It has no place for an error but beside what nobody gets.
    assert_eq!(unsaid, BTreeSet::from(["WriteTxnMarkers"]));
    // The gateway's own look at the cluster has, at least.
    let counts = relay.counts();
    let stray = counts.keys().filter(|(key, version)| !is_offered(*key, *version));
    assert_eq!(stray.count(), 0, "{counts:?}");
    assert!(counts.contains_key(&(3, 12)), "{counts:?}");
}

/// What is offered, by key.
fn versions(connection: &mut Connection) -> BTreeMap<i16, RangeInclusive<i16>> {
    let answer = connection.call(2, &ApiVersionsRequest::default()).unwrap();
    let ranges = answer.api_keys.iter();
    ranges.map(|api| (api.api_key, api.min_version..=api.max_version)).collect()
}

/// Of each list one, of everything else as little as can be.
struct Least;

impl Filler for Least {
    fn fill(&mut self, field: &Field<'_>, _: &[usize]) -> Fill {
        match field.kind {
            array if array.starts_with("[]") => Fill::Elements(1),
            "string" => Fill::Text("x".to_owned()),
            "bytes" | "records" => Fill::Bytes(Bytes::new()),
            "uuid" => Fill::Id([0; 16]),
            "bool" | "float64" => Fill::Number(0),
            // Otherwise nobody would wait for an answer.
            _ if field.name == "Acks" => Fill::Number(-1),
            number if number.starts_with("int") || number.starts_with("uint") => Fill::Number(0),
            _ if field.nullable => Fill::Null,
            _ => Fill::There,
        }
    }
}
