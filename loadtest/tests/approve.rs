//! What a policy holds waits for an approver, flows while the grant lasts, and stops with it.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::record::{replay, sessions_of};
use crate::support::clients::{FAMILIES, Record};
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::tokens::{ALICE, CAROL, Person};
use crate::support::{PATIENCE, unique};

const OWNER: Person = Person { name: "dora", groups: &["data-owners"] };

/// Contractors ask before they read or write `topic`; everybody else may do everything.
fn setup(topic: &str) -> Setup {
    let policy = format!(
        r#"
@id("all") permit (principal, action in [Action::"Read", Action::"Write", Action::"Describe"], resource);
@id("idempotent") permit (principal, action == Action::"IdempotentWrite", resource);
@id("ask") @approvers("data-owners") @ttl("1h")
forbid (principal in Group::"contractors", action in [Action::"Read", Action::"Write"], resource in Topic::"{topic}")
unless {{ context.approved }};
"#
    );
    let more = "approvals:\n  approvers: [data-owners]\n".to_owned();
    Setup { policy, more, ..Setup::default() }
}

/// Runs `sluicegate approvals …` as a person; the output and the exit code.
fn approvals(front: &Front, person: &Person, arguments: &[&str]) -> (String, i32) {
    let gateway = front.gateway();
    let file = gateway.folder().join(format!("{}.token", person.name));
    std::fs::write(&file, gateway.issuer.token(person)).unwrap();
    let mut line = vec!["approvals"];
    line.extend(arguments);
    let file: &Path = &file;
    line.extend(["--token-file", file.to_str().unwrap()]);
    gateway.run(&line)
}

/// The pending tickets, once there is one.
fn await_ticket(front: &Front) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (text, code) = approvals(front, &OWNER, &["list", "-o", "json"]);
        assert_eq!(code, 0, "{text}");
        let tickets: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let pending = tickets.into_iter().find(|ticket| ticket.to_string().contains("ending"));
        if let Some(ticket) = pending {
            return ticket;
        }
        assert!(Instant::now() < deadline, "no ticket: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The ticket whose grant is live.
fn granted_ticket(front: &Front) -> Value {
    let (text, code) = approvals(front, &OWNER, &["list", "-o", "json"]);
    assert_eq!(code, 0, "{text}");
    let tickets: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let is_live = |ticket: &Value| ticket["grantedUntil"].is_i64();
    tickets.into_iter().find(is_live).unwrap_or_else(|| panic!("no grant: {text}"))
}

fn ticket_id(ticket: &Value) -> &str {
    ticket["ticket"].as_str().unwrap_or_else(|| panic!("{ticket}"))
}

#[test]
fn a_consumer_idles_until_the_grant_and_again_after_it() {
    for family in FAMILIES {
        let topic = unique("held");
        let Some(front) = Front::start(setup(&topic)) else { return };
        front.kafka.create_topic(&topic, 1);
        let producer = family.producer(&front.access(&ALICE), &[]);
        let write = |value: &str| producer.send(&topic, &[Record::of(value)]).remove(0).unwrap();
        write("before");

        let consumer = family.consumer(&front.access(&CAROL), &[]);
        consumer.assign(&topic, 0);
        // Held is not failed: nothing comes, and no error either.
        let polled = consumer.poll(1, Duration::from_secs(3));
        assert!(polled.records.is_empty(), "{family:?}: {polled:?}");
        assert!(polled.error.is_none(), "{family:?}: {polled:?}");
        let ticket = await_ticket(&front);
        assert!(ticket.to_string().contains(&topic), "{family:?}: {ticket}");
        let id = ticket_id(&ticket);

        // The one who asks cannot answer, nor can somebody who is no approver.
        for person in [&CAROL, &ALICE] {
            let (text, code) = approvals(&front, person, &["grant", id]);
            assert_ne!(code, 0, "{family:?}: {} granted: {text}", person.name);
        }
        let (text, code) = approvals(&front, &OWNER, &["grant", id]);
        assert_eq!(code, 0, "{family:?}: {text}");
        let granted = Instant::now();
        let polled = consumer.poll(1, PATIENCE);
        assert_eq!(polled.records.len(), 1, "{family:?}: {polled:?}");
        assert_eq!(polled.records[0].text(), "before", "{family:?}");
        assert!(granted.elapsed() < Duration::from_secs(2), "{family:?}: {:?}", granted.elapsed());

        let (text, code) = approvals(&front, &OWNER, &["revoke", id]);
        assert_eq!(code, 0, "{family:?}: {text}");
        let revoked = Instant::now();
        // A second is the bound; what is written after it must not arrive.
        std::thread::sleep(Duration::from_secs(1).saturating_sub(revoked.elapsed()));
        write("after");
        let polled = consumer.poll(1, Duration::from_secs(4));
        assert!(polled.records.is_empty(), "{family:?}: {polled:?}");

        // The record of the session that asked tells who let it, and until when.
        let gateway = front.gateway();
        let of_ticket = |sessions: &[Value]| -> Vec<Value> {
            let all = sessions.iter().flat_map(|session| replay(gateway, session));
            all.filter(|entry| entry["ticket"] == id).collect()
        };
        let sessions = sessions_of(gateway, &CAROL, |sessions| of_ticket(sessions).len() >= 3);
        let entries = of_ticket(&sessions);
        let kinds: Vec<&Value> = entries.iter().map(|entry| &entry["kind"]).collect();
        // The revoked topic is asked for again, under another ticket.
        assert_eq!(kinds, ["ticket-opened", "grant-opened", "grant-closed"], "{family:?}");
        assert!(entries[1].to_string().contains("|dora"), "{family:?}: {}", entries[1]);
    }
}

#[test]
fn what_is_not_held_flows_beside_it() {
    for family in FAMILIES {
        let (topic, open) = (unique("held"), unique("open"));
        let Some(front) = Front::start(setup(&topic)) else { return };
        let producer = family.producer(&front.access(&ALICE), &[]);
        for (name, value) in [(&topic, "held"), (&open, "open")] {
            front.kafka.create_topic(name, 1);
            producer.send(name, &[Record::of(value)]).remove(0).unwrap();
        }
        let group = unique("beside");
        let config = [("group.id", group.as_str()), ("auto.offset.reset", "earliest")];
        let consumer = family.consumer(&front.access(&CAROL), &config);
        consumer.subscribe(&[&topic, &open]).unwrap();
        let polled = consumer.poll(2, Duration::from_secs(8));
        let values: Vec<&str> = polled.records.iter().map(Record::text).collect();
        assert_eq!(values, ["open"], "{family:?}: {polled:?}");
        let ticket = await_ticket(&front);
        let (text, code) = approvals(&front, &OWNER, &["grant", ticket_id(&ticket)]);
        assert_eq!(code, 0, "{family:?}: {text}");
        let polled = consumer.poll(1, PATIENCE);
        let values: Vec<&str> = polled.records.iter().map(Record::text).collect();
        assert_eq!(values, ["held"], "{family:?}: {polled:?}");
    }
}

#[test]
fn a_ticket_outlives_a_restart_and_ends_with_the_policies() {
    let topic = unique("held");
    let Some(mut front) = Front::start(setup(&topic)) else { return };
    front.kafka.create_topic(&topic, 1);
    let family = FAMILIES[0];
    let consumer = family.consumer(&front.access(&CAROL), &[]);
    consumer.assign(&topic, 0);
    // On a busy machine the first poll may be over before its fetch is sent.
    consumer.poll(1, Duration::from_secs(5));
    let ticket = await_ticket(&front);
    let gateway = front.gateway.as_mut().unwrap();
    gateway.process.signal(Signal::TERM);
    assert_eq!(gateway.process.await_exit(PATIENCE), Some(0));
    gateway.restart();
    let (text, code) = approvals(&front, &OWNER, &["grant", ticket_id(&ticket)]);
    assert_eq!(code, 0, "{text}");
    let producer = family.producer(&front.access(&ALICE), &[]);
    producer.send(&topic, &[Record::of("granted")]).remove(0).unwrap();
    assert_eq!(consumer.poll(1, PATIENCE).records.len(), 1);

    let policy = setup(&topic).policy
        + "@id(\"more\") permit (principal, action == Action::\"Create\", resource);\n";
    front.gateway().replace_policy(&policy);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (text, _) = approvals(&front, &OWNER, &["list", "-o", "json"]);
        let tickets: Vec<Value> = serde_json::from_str(&text).unwrap();
        let ended = tickets.iter().find(|other| other["ticket"] == ticket["ticket"]).unwrap();
        if ended["grantedUntil"].is_null() {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
    producer.send(&topic, &[Record::of("after")]).remove(0).unwrap();
    let polled = consumer.poll(1, Duration::from_secs(2));
    assert!(polled.records.is_empty(), "{polled:?}");
}

#[test]
fn a_producer_is_told_to_wait_and_succeeds_after_the_grant() {
    for family in FAMILIES {
        let topic = unique("held");
        let Some(front) = Front::start(setup(&topic)) else { return };
        front.kafka.create_topic(&topic, 1);
        let config =
            // Small batches, so that several requests are in flight when the grant comes.
            [
                ("retries", "1000"),
                ("delivery.timeout.ms", "60000"),
                ("enable.idempotence", "true"),
                ("batch.size", "64"),
                ("linger.ms", "0"),
            ];
        let producer = family.producer(&front.access(&CAROL), &config);
        let records: Vec<Record> = (0..20).map(|number| Record::of(format!("{number}"))).collect();
        let outcomes = std::thread::scope(|scope| {
            let sending = scope.spawn(|| producer.send(&topic, &records));
            let ticket = await_ticket(&front);
            let (text, code) = approvals(&front, &OWNER, &["grant", ticket_id(&ticket)]);
            assert_eq!(code, 0, "{family:?}: {text}");
            sending.join().unwrap()
        });
        // Once each, in order: the client retried until the grant.
        let offsets: Vec<i64> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(offsets, (0..20).collect::<Vec<i64>>(), "{family:?}");

        let ticket = granted_ticket(&front);
        let (text, code) = approvals(&front, &OWNER, &["revoke", ticket_id(&ticket)]);
        assert_eq!(code, 0, "{family:?}: {text}");
        std::thread::sleep(Duration::from_secs(1));
        // A producer of its own, so that the other's patience does not count.
        let config =
            [("delivery.timeout.ms", "3000"), ("request.timeout.ms", "1500"), ("linger.ms", "0")];
        let late = family.producer(&front.access(&CAROL), &config);
        assert!(late.send(&topic, &[Record::of("late")]).remove(0).is_err(), "{family:?}");
    }
}

#[test]
fn a_refused_ticket_lets_nothing_through_and_is_not_asked_again() {
    for family in FAMILIES {
        let topic = unique("held");
        let Some(front) = Front::start(setup(&topic)) else { return };
        front.kafka.create_topic(&topic, 2);
        let config =
            [("delivery.timeout.ms", "4000"), ("request.timeout.ms", "2000"), ("linger.ms", "0")];
        let producer = family.producer(&front.access(&CAROL), &config);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| producer.send(&topic, &[Record::of("x")]).remove(0));
            let ticket = await_ticket(&front);
            let (text, code) = approvals(&front, &OWNER, &["refuse", ticket_id(&ticket)]);
            assert_eq!(code, 0, "{family:?}: {text}");
            assert!(sending.join().unwrap().is_err(), "{family:?}");
        });
        let (text, _) = approvals(&front, &OWNER, &["list", "-o", "json"]);
        let tickets: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(tickets.len(), 1, "{family:?}: {text}");
        assert_eq!(tickets[0]["state"], "refused", "{family:?}: {text}");
        for partition in 0..2 {
            let request = sluicegate_loadtest::requests::list_offsets(&topic, partition);
            let version = sluicegate_loadtest::requests::LIST_OFFSETS_VERSION;
            let answer = front.kafka.connect().call(version, &request).unwrap();
            assert_eq!(answer.topics[0].partitions[0].offset, 0, "{family:?}");
        }
    }
}
