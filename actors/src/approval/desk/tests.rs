use proptest::prelude::*;

use super::*;
use crate::vocabulary::{Action, Resource, ResourceName, SessionId};

const POLICY: PolicyHash = PolicyHash([7; 32]);
const OTHER_POLICY: PolicyHash = PolicyHash([8; 32]);
const NOW: UnixMillis = UnixMillis(1_000_000);

fn person(subject: &str, groups: &[&str]) -> Identity {
    Identity {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        expires_at: UnixMillis(i64::MAX),
    }
}

fn owner() -> Identity {
    person("olga", &["data-owners"])
}

fn rule(policy: &str, approvers: &[&str]) -> HeldBy {
    let approvers = approvers.iter().map(|group| (*group).to_owned()).collect();
    HeldBy { policy: policy.to_owned(), approvers }
}

fn request(principal: &str, topic: &str) -> ApprovalRequest {
    ApprovalRequest {
        principal: format!("https://idp|{principal}"),
        session: SessionId([1; 16]),
        listener: "kafka".to_owned(),
        actions: vec![Action::Read],
        resources: vec![ResourceName::Topic(topic.to_owned())],
        labels: Vec::new(),
        rules: vec![rule("ask-first", &["data-owners", "security"])],
        grant_ttl_ms: 3_600_000,
        reason: String::new(),
        policy: POLICY,
    }
}

fn later(ms: i64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

/// A desk with one ticket, of carl for payments.
fn desk() -> (Desk, String) {
    let mut desk = Desk::default();
    let opening = desk.open(request("carl", "payments"), NOW).unwrap();
    assert!(matches!(opening.event, Some(DeskEvent::Opened(_))));
    let name = opening.ticket.as_str().to_owned();
    (desk, name)
}

#[test]
fn a_grant_covers_what_was_asked_and_nothing_else() {
    let (mut desk, ticket) = desk();
    assert!(desk.grants_of("https://idp|carl").is_empty());
    let event = desk.grant(&ticket, &owner(), POLICY, later(5)).unwrap();
    let DeskEvent::Granted { ticket: answered, grant } = event else { panic!("{event:?}") };
    assert_eq!(answered.state, TicketState::Granted { grant: grant.id.clone() });
    assert_eq!(grant.granted_by, "https://idp|olga");
    assert_eq!(grant.ends_at, later(5 + 3_600_000));
    assert_eq!(desk.grants_of("https://idp|carl"), [Arc::clone(&grant)]);
    assert!(desk.grants_of("https://idp|dora").is_empty());

    let payments = Resource::Topic("payments");
    let partition = Resource::Partition { topic: "payments", index: 3 };
    let rows = [
        (Action::Read, payments, POLICY, later(6), true),
        (Action::Read, partition, POLICY, later(6), true),
        (Action::Read, payments, POLICY, later(5 + 3_599_999), true),
        (Action::Read, payments, POLICY, later(5 + 3_600_000), false),
        (Action::Write, payments, POLICY, later(6), false),
        (Action::Read, Resource::Topic("payments-eu"), POLICY, later(6), false),
        (Action::Read, Resource::ConsumerGroup("payments"), POLICY, later(6), false),
        (Action::Read, Resource::Cluster, POLICY, later(6), false),
        (Action::Read, payments, OTHER_POLICY, later(6), false),
    ];
    for (action, resource, policy, now, expected) in rows {
        assert_eq!(grant.covers(action, resource, policy, now), expected, "{action:?} {resource}");
    }
    assert!(!grant.shows("pci", "payments", POLICY, later(6)), "a grant to read unmasks nothing");
}

#[test]
fn a_granted_partition_is_not_its_topic_and_a_label_is_its_own_grant() {
    let mut desk = Desk::default();
    let asked = ApprovalRequest {
        resources: vec![ResourceName::Partition { topic: "payments".to_owned(), index: 3 }],
        labels: vec!["pci".to_owned()],
        ..request("carl", "-")
    };
    let ticket = desk.open(asked, NOW).unwrap().ticket;
    desk.grant(ticket.as_str(), &owner(), POLICY, NOW).unwrap();
    let grant = &desk.grants_of("https://idp|carl")[0];
    let read = |resource| grant.covers(Action::Read, resource, POLICY, NOW);
    assert!(read(Resource::Partition { topic: "payments", index: 3 }));
    assert!(!read(Resource::Partition { topic: "payments", index: 4 }));
    assert!(!read(Resource::Topic("payments")));
    assert!(!grant.shows("pci", "payments", POLICY, NOW));

    let whole = ApprovalRequest { labels: vec!["pci".to_owned()], ..request("carl", "orders") };
    let ticket = desk.open(whole, NOW).unwrap().ticket;
    let event = desk.grant(ticket.as_str(), &owner(), POLICY, NOW).unwrap();
    let DeskEvent::Granted { grant, .. } = event else { panic!("{event:?}") };
    assert!(grant.shows("pci", "orders", POLICY, NOW));
    assert!(!grant.shows("pii", "orders", POLICY, NOW));
    assert!(!grant.shows("pci", "payments", POLICY, NOW));
    assert!(!grant.shows("pci", "orders", OTHER_POLICY, NOW));
}

#[test]
fn the_same_question_joins_the_open_ticket() {
    let (mut desk, ticket) = desk();
    let mut again = request("carl", "payments");
    again.session = SessionId([2; 16]);
    again.reason = "please".to_owned();
    again.rules.push(rule("ask-first", &["data-owners", "security"]));
    let joined = desk.open(again, later(1)).unwrap();
    assert_eq!((joined.ticket.as_str(), joined.event), (ticket.as_str(), None));
    for other in [
        request("dora", "payments"),
        request("carl", "orders"),
        ApprovalRequest { actions: vec![Action::Write], ..request("carl", "payments") },
        ApprovalRequest { listener: "internal".to_owned(), ..request("carl", "payments") },
        ApprovalRequest { labels: vec!["pci".to_owned()], ..request("carl", "payments") },
        ApprovalRequest { policy: OTHER_POLICY, ..request("carl", "payments") },
    ] {
        let opening = desk.open(other.clone(), later(1)).unwrap();
        assert!(opening.event.is_some(), "{other:?}");
        desk.grant(opening.ticket.as_str(), &owner(), other.policy, later(1)).unwrap();
    }
    assert_eq!(desk.tickets().count(), 7);
    // The order of what is asked does not make another question.
    let two = |topics: [&str; 2]| ApprovalRequest {
        resources: topics.map(|topic| ResourceName::Topic(topic.to_owned())).to_vec(),
        ..request("eve", "-")
    };
    let first = desk.open(two(["a", "b"]), NOW).unwrap().ticket;
    assert_eq!(desk.open(two(["b", "a"]), NOW).unwrap().ticket, first);
}

#[test]
fn answers_that_do_not_count() {
    let (mut desk, ticket) = desk();
    let own = DeskError::OwnTicket { ticket: ticket.clone() };
    let not_one = DeskError::NotAnApprover {
        policy: "ask-first".to_owned(),
        approvers: "data-owners, security".to_owned(),
    };
    let carl = person("carl", &["data-owners"]);
    let stranger = person("eve", &["analysts"]);
    let namesake = Identity { issuer: "https://other".to_owned(), ..carl.clone() };
    assert_eq!(desk.grant(&ticket, &carl, POLICY, NOW), Err(own.clone()));
    assert_eq!(desk.refuse(&ticket, &carl, NOW), Err(own));
    assert_eq!(desk.grant(&ticket, &stranger, POLICY, NOW), Err(not_one.clone()));
    assert_eq!(desk.refuse(&ticket, &stranger, NOW), Err(not_one));
    assert_eq!(
        desk.grant(&ticket, &owner(), OTHER_POLICY, NOW),
        Err(DeskError::OtherPolicies { ticket: ticket.clone() })
    );
    assert_eq!(
        desk.grant("t-000000000000", &owner(), POLICY, NOW),
        Err(DeskError::Unknown { name: "t-000000000000".to_owned() })
    );
    let late = Err(DeskError::Late { ticket: ticket.clone() });
    assert_eq!(desk.grant(&ticket, &owner(), POLICY, later(TICKET_LIFE_MS)), late);
    assert_eq!(desk.refuse(&ticket, &owner(), later(TICKET_LIFE_MS)), late);
    assert_eq!(desk.grants().count(), 0, "none of them granted anything");
    // Somebody of the same name with another issuer is somebody else.
    assert!(desk.grant(&ticket, &namesake, POLICY, later(TICKET_LIFE_MS - 1)).is_ok());
    // An approval counts once.
    let granted = DeskError::Answered { ticket: ticket.clone(), state: "granted" };
    assert_eq!(desk.grant(&ticket, &owner(), POLICY, later(1)), Err(granted.clone()));
    assert_eq!(desk.refuse(&ticket, &owner(), later(1)), Err(granted));
    assert_eq!(desk.grants().count(), 1);
}

#[test]
fn every_rule_needs_an_approver_of_its_own_groups() {
    let mut desk = Desk::default();
    let asked = ApprovalRequest {
        rules: vec![rule("a", &["data-owners"]), rule("b", &["security"])],
        ..request("carl", "payments")
    };
    let ticket = desk.open(asked, NOW).unwrap().ticket;
    let missing = |policy: &str, approvers: &str| {
        let (policy, approvers) = (policy.to_owned(), approvers.to_owned());
        Err(DeskError::NotAnApprover { policy, approvers })
    };
    let grant = |desk: &mut Desk, groups: &[&str]| {
        desk.grant(ticket.as_str(), &person("olga", groups), POLICY, NOW)
    };
    assert_eq!(grant(&mut desk, &["data-owners"]), missing("b", "security"));
    assert_eq!(grant(&mut desk, &["security"]), missing("a", "data-owners"));
    assert!(grant(&mut desk, &["data-owners", "security"]).is_ok());

    let nobody = ApprovalRequest { rules: Vec::new(), ..request("carl", "orders") };
    assert_eq!(desk.open(nobody, NOW), Err(DeskError::NothingHeld));
    let no_group = ApprovalRequest { rules: vec![rule("a", &[])], ..request("carl", "orders") };
    assert_eq!(desk.open(no_group, NOW), Err(DeskError::NothingHeld));
}

#[test]
fn a_refusal_is_final_for_a_while() {
    let (mut desk, ticket) = desk();
    let event = desk.refuse(&ticket, &owner(), later(10)).unwrap();
    let DeskEvent::Refused(refused) = event else { panic!("{event:?}") };
    assert_eq!(
        refused.state,
        TicketState::Refused { by: "https://idp|olga".to_owned(), at: later(10) }
    );
    assert_eq!(
        desk.open(request("carl", "payments"), later(11)),
        Err(DeskError::RefusedLately { ticket, wait_ms: REFUSAL_QUIET_MS - 1 })
    );
    assert!(desk.open(request("carl", "orders"), later(11)).is_ok());
    assert!(desk.open(request("dora", "payments"), later(11)).is_ok());
    assert!(desk.open(request("carl", "payments"), later(10 + REFUSAL_QUIET_MS)).is_ok());
}

#[test]
fn grants_are_taken_back_by_approvers_and_holders() {
    for (by, allowed) in [
        (owner(), true),
        (person("sam", &["security"]), true),
        (person("carl", &[]), true),
        (person("eve", &["analysts"]), false),
    ] {
        for by_ticket in [true, false] {
            let (mut desk, ticket) = desk();
            let event = desk.grant(&ticket, &owner(), POLICY, NOW).unwrap();
            let DeskEvent::Granted { grant, .. } = event else { panic!("{event:?}") };
            let name = if by_ticket { ticket.as_str() } else { grant.id.as_str() };
            let revoked = desk.revoke(name, &by, NOW);
            if allowed {
                let by = by.principal();
                assert_eq!(revoked, Ok(DeskEvent::Revoked { grant: Arc::clone(&grant), by }));
                assert!(desk.grants_of("https://idp|carl").is_empty());
                let gone = desk.revoke(name, &owner(), NOW);
                assert_eq!(gone, Err(DeskError::Unknown { name: name.to_owned() }));
            } else {
                assert!(matches!(revoked, Err(DeskError::NotAnApprover { .. })), "{revoked:?}");
                assert_eq!(desk.grants().count(), 1);
            }
        }
    }
}

#[test]
fn what_is_over_ends_by_itself() {
    let (mut desk, first) = desk();
    let second = desk.open(request("dora", "payments"), later(1_000)).unwrap().ticket;
    assert_eq!(desk.next_deadline(), Some(later(TICKET_LIFE_MS)));
    desk.grant(second.as_str(), &owner(), POLICY, later(2_000)).unwrap();
    assert_eq!(desk.expire(later(TICKET_LIFE_MS - 1)), []);
    let events = desk.expire(later(TICKET_LIFE_MS));
    let [DeskEvent::Expired(ticket)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(ticket.id.as_str(), first);
    assert_eq!(
        desk.grant(&first, &owner(), POLICY, later(TICKET_LIFE_MS)),
        Err(DeskError::Late { ticket: first })
    );
    assert_eq!(desk.next_deadline(), Some(later(2_000 + 3_600_000)));
    let events = desk.expire(later(2_000 + 3_600_000));
    assert!(matches!(events.as_slice(), [DeskEvent::Ended(_)]), "{events:?}");
    assert_eq!((desk.next_deadline(), desk.grants().count()), (None, 0));
    // What was asked and expired may be asked again at once.
    assert!(desk.open(request("carl", "payments"), later(TICKET_LIFE_MS)).unwrap().event.is_some());
}

#[test]
fn other_policies_end_tickets_and_grants() {
    let (mut desk, _) = desk();
    let second = desk.open(request("dora", "payments"), NOW).unwrap().ticket;
    desk.grant(second.as_str(), &owner(), POLICY, NOW).unwrap();
    assert_eq!(desk.policies_changed(POLICY, NOW), []);
    let events = desk.policies_changed(OTHER_POLICY, NOW);
    assert!(
        matches!(events.as_slice(), [DeskEvent::Expired(_), DeskEvent::Ended(_)]),
        "{events:?}"
    );
    assert_eq!(desk.next_deadline(), None);
}

#[test]
fn the_desk_is_bounded() {
    let mut desk = Desk::default();
    for n in 0..PENDING_PER_PRINCIPAL_MAX {
        desk.open(request("carl", &format!("t{n}")), NOW).unwrap();
    }
    let limit = PENDING_PER_PRINCIPAL_MAX;
    assert_eq!(
        desk.open(request("carl", "more"), NOW),
        Err(DeskError::TooManyPending { pending: limit, limit })
    );
    assert!(desk.open(request("carl", "t0"), NOW).unwrap().event.is_none(), "joining goes on");

    let long = "x".repeat(TICKET_BYTES_MAX);
    let error = desk.open(request("dora", &long), NOW).unwrap_err();
    assert!(matches!(error, DeskError::TooLarge { .. }), "{error}");

    for n in PENDING_PER_PRINCIPAL_MAX..PENDING_MAX {
        desk.open(request(&format!("p{n}"), "t"), NOW).unwrap();
    }
    let error = desk.open(request("eve", "t"), NOW).unwrap_err();
    assert!(matches!(error, DeskError::Full { pending: PENDING_MAX, .. }), "{error}");
    assert_eq!(desk.expire(later(TICKET_LIFE_MS)).len(), PENDING_MAX);
    assert_eq!(desk.pending_bytes, 0);
    assert!(desk.open(request("eve", "t"), later(TICKET_LIFE_MS)).is_ok());
    assert!(desk.answered.len() <= ANSWERED_KEPT_MAX);

    // A few hundred large ones fill it as well.
    let mut desk = Desk::default();
    let large = "x".repeat(7_000);
    let opened = (0..PENDING_MAX)
        .take_while(|n| desk.open(request(&format!("p{n}"), &large), NOW).is_ok())
        .count();
    assert!((100..200).contains(&opened), "{opened}");
    assert!(desk.pending_bytes <= PENDING_BYTES_MAX);
}

#[test]
fn a_desk_survives_a_restart() {
    let (mut desk, first) = desk();
    let second = desk.open(request("dora", "payments"), NOW).unwrap().ticket;
    desk.grant(second.as_str(), &owner(), POLICY, NOW).unwrap();
    let tickets = serde_json::to_string(&desk.tickets().collect::<Vec<_>>()).unwrap();
    let grants: Vec<&Grant> = desk.grants().map(|grant| &**grant).collect();
    let grants = serde_json::to_string(&grants).unwrap();
    let mut again = Desk::restore(
        serde_json::from_str(&tickets).unwrap(),
        serde_json::from_str(&grants).unwrap(),
    );
    assert!(desk.tickets().eq(again.tickets()));
    assert_eq!(desk.pending_bytes, again.pending_bytes);
    assert!(again.grants_of("https://idp|dora")[0].covers(
        Action::Read,
        Resource::Topic("payments"),
        POLICY,
        NOW
    ));
    assert!(again.grant(&first, &owner(), POLICY, NOW).is_ok());
}

#[test]
fn tickets_as_json() {
    let (desk, name) = desk();
    let ticket = serde_json::to_value(desk.tickets().next().unwrap()).unwrap();
    let expected = serde_json::json!({
        "ticket": name,
        "principal": "https://idp|carl",
        "session": "01010101010101010101010101010101",
        "listener": "kafka",
        "actions": ["Read"],
        "resources": [{ "topic": "payments" }],
        "labels": [],
        "rules": [{ "policy": "ask-first", "approvers": ["data-owners", "security"] }],
        "grantTtlMs": 3_600_000,
        "reason": "",
        "policy": "07".repeat(32),
        "openedAt": NOW.0,
        "expiresAt": NOW.0 + TICKET_LIFE_MS,
        "state": "pending",
    });
    assert_eq!(ticket, expected);
    assert_eq!(name.len(), 14);
    let digits = name.strip_prefix("t-").unwrap();
    assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

proptest! {
    /// Whatever is done in whatever order: the limits hold, nobody grants to themselves, and what
    /// is granted was granted by an approver of every rule.
    #[test]
    fn the_rules_of_the_desk_hold_in_any_order(
        steps in proptest::collection::vec((0_u8..6, 0_usize..6, 0_usize..8, 0_i64..400_000), 0..80),
    ) {
        let people = ["ann", "bob", "olga", "sam", "eve", "carl"];
        let groups = |who: usize| -> &[&str] {
            match who { 2 => &["data-owners"], 3 => &["security"], 5 => &["data-owners"], _ => &[] }
        };
        let mut desk = Desk::default();
        let mut now = NOW;
        let mut names: Vec<String> = Vec::new();
        for (step, who, what, wait) in steps {
            now = UnixMillis(now.0 + wait);
            let by = person(people[who], groups(who));
            let name = names.get(what).cloned().unwrap_or_default();
            match step {
                0 | 1 => {
                    if let Ok(opening) = desk.open(request(people[who], &format!("t{what}")), now) {
                        names.push(opening.ticket.as_str().to_owned());
                    }
                }
                2 => if let Ok(event) = desk.grant(&name, &by, POLICY, now) {
                    let DeskEvent::Granted { ticket, grant } = event else { panic!("{event:?}") };
                    prop_assert_ne!(&grant.principal, &by.principal());
                    prop_assert!(!by.groups.is_empty());
                    prop_assert!(now < ticket.expires_at);
                },
                3 => drop(desk.refuse(&name, &by, now)),
                4 => drop(desk.revoke(&name, &by, NOW)),
                _ => drop(desk.expire(now)),
            }
            for person in people {
                let principal = format!("https://idp|{person}");
                let pending = desk
                    .tickets()
                    .filter(|ticket| ticket.is_pending() && ticket.principal == principal)
                    .count();
                prop_assert!(pending <= PENDING_PER_PRINCIPAL_MAX);
            }
            let bytes: usize = desk.pending.values().map(Ticket::size_bytes).sum();
            prop_assert_eq!(bytes, desk.pending_bytes);
        }
    }
}
