//! What the policies say and what the brokers would allow, asked of the command line.

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::kafka::{Kind, MODEST_USER, Operation, login_of};

const POLICY: &str = r#"
@id("read") permit (principal in Group::"analysts", action == Action::"Read", resource in Topic::"payments");
@id("others") permit (principal in Group::"others", action, resource);
@id("no-delete") forbid (principal, action == Action::"Delete", resource is Topic);
@id("may-delete") permit (principal in Group::"analysts", action == Action::"Delete", resource in Topic::"payments");
"#;

const EXPECTATIONS: &str = r#"
- name: analysts read
  subject: anna
  groups: [analysts]
  action: Read
  resource: topic:payments
  expect: allow
  policies: [read]
- name: nobody deletes
  subject: anna
  groups: [analysts, others]
  action: Delete
  resource: topic:payments
  expect: deny
"#;

#[test]
fn a_decision_is_explained_and_expected_ones_are_tested() {
    let setup = Setup { policy: POLICY.to_owned(), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let gateway = front.gateway();
    let ask = ["policy", "explain", "--subject", "anna", "--groups", "analysts", "--action"];
    let explain = |rest: &[&str]| gateway.run(&[&ask[..], rest].concat());
    let (text, code) = explain(&["Read", "--resource", "partition:payments-3", "-o", "json"]);
    assert_eq!(code, 0, "{text}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["decision"], "allow");
    assert_eq!(found["policies"][0]["id"], "read");
    let slice: Vec<_> = found["slice"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(slice, ["read", "no-delete", "may-delete"]);
    let (text, _) = explain(&["Delete", "--resource", "topic:payments"]);
    assert!(text.contains("decision   deny") && text.contains("no-delete ("), "{text}");
    let (text, _) = explain(&["Write", "--resource", "topic:payments"]);
    assert!(text.contains("no policy permits it"), "{text}");
    for (wrong, named) in [
        (["Reed", "--resource", "cluster"], "no action `Reed`"),
        (["Read", "--resource", "topics"], "topic:NAME"),
    ] {
        let (text, code) = explain(&wrong);
        assert!(code == 2 && text.contains(named), "{code}: {text}");
    }

    let file = gateway.folder().join("expectations.yaml");
    let test = |text: &str| {
        std::fs::write(&file, text).unwrap();
        gateway.run(&["policy", "test", file.to_str().unwrap()])
    };
    assert_eq!(test(EXPECTATIONS), ("2 of 2 decisions are as expected\n".to_owned(), 0));
    let (text, code) = test(&EXPECTATIONS.replace("expect: deny", "expect: allow"));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("FAILED nobody deletes: allow is expected, deny is decided by no-delete"),
        "{text}"
    );
    let (text, code) = test(&EXPECTATIONS.replace("expect: deny", "expects: deny"));
    assert_eq!(code, 2, "{text}");

    let (text, code) = gateway.run(&["check"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("`may-delete` never permits anything: `no-delete` forbids it"), "{text}");
}

#[test]
fn what_the_gateway_s_own_login_should_not_do_is_said_by_name() {
    // The gateway of the tests logs in as a super user; this one has a few rights.
    let setup = Setup { broker_login: Some(login_of(MODEST_USER)), ..Setup::default() };
    let Some(front) = Front::start(Setup::default()) else { return };
    let gateway = front.gateway();
    let (text, code) = gateway.run(&["doctor"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("lets `gateway` do what it should not: everything"), "{text}");
    assert!(gateway.process.await_line("what it should not", PATIENCE).is_some());

    for operation in [Operation::Describe, Operation::ClusterAction] {
        front.kafka.permit(MODEST_USER, Kind::Cluster, "kafka-cluster", operation);
    }
    let front = Front::start(setup).unwrap();
    let (text, code) = front.gateway().run(&["doctor"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("`modest-gateway` do what it should not: ClusterAction on the cluster"),
        "{text}"
    );
    assert!(!text.contains("Alter on the cluster"), "{text}");
}
