//! One identity with the same rights at Kafka itself, by ACLs, and at the gateway, by policy: what both are asked must be
//! answered the same.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{InitProducerIdRequest, TransactionalId};
use kafka_protocol::protocol::{Request, StrBytes};
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata};

use super::front::Front;
use super::gateway::Setup;
use super::kafka::{Kafka, Kind, Operation, SETTLING};
use super::tokens::BOB;
use super::unique;

/// Names with rights of [`BOB`], the same by ACL at Kafka and by policy at the gateway.
pub struct World {
    pub front: Front,
    /// Read and Write.
    pub open: String,
    /// Describe alone.
    pub seen: String,
    /// Everything but reading and writing.
    pub managed: String,
    /// Everything, but it does not exist.
    pub gone: String,
    /// Exists, and no right.
    pub closed: String,
    /// Does not exist, and no right.
    pub absent: String,
    /// Read.
    pub own_group: String,
    /// Delete.
    pub old_group: String,
    pub other_group: String,
    pub own_writer: String,
    pub other_writer: String,
    pub kafka: Connection,
    pub gateway: Connection,
}

impl World {
    /// Before the shared Kafka; `None`, with a printed line, where there is none.
    pub fn new() -> Option<Self> {
        Kafka::shared().map(Self::before)
    }

    pub fn before(kafka: &'static Kafka) -> Self {
        let [open, seen, closed, absent] = ["open", "seen", "closed", "absent"].map(unique);
        let [managed, gone] = ["managed", "gone"].map(unique);
        let [own_group, old_group, other_group] =
            ["own-group", "old-group", "other-group"].map(unique);
        let [own_writer, other_writer] = ["own-writer", "other-writer"].map(unique);
        let policy = format!(
            r#"
@id("all") permit (principal in Group::"everything", action, resource);
@id("open") permit (principal in Group::"restricted",
  action in [Action::"Read", Action::"Write", Action::"Describe"], resource in Topic::"{open}");
@id("seen") permit (principal in Group::"restricted", action == Action::"Describe", resource in Topic::"{seen}");
@id("managed") permit (principal in Group::"restricted",
  action in [Action::"Create", Action::"Delete", Action::"Alter", Action::"Describe"], resource in Topic::"{managed}");
@id("gone") permit (principal in Group::"restricted",
  action in [Action::"Create", Action::"Delete", Action::"Alter", Action::"Describe"], resource in Topic::"{gone}");
@id("old") permit (principal in Group::"restricted",
  action in [Action::"Delete", Action::"Describe"], resource == ConsumerGroup::"{old_group}");
@id("group") permit (principal in Group::"restricted",
  action in [Action::"Read", Action::"Describe"], resource == ConsumerGroup::"{own_group}");
@id("writer") permit (principal in Group::"restricted",
  action in [Action::"Write", Action::"Describe"], resource == TransactionalId::"{own_writer}");
"#
        );
        let front = Front::before(kafka, Setup { policy, ..Setup::default() });
        for topic in [&open, &seen, &managed, &closed] {
            kafka.create_topic(topic, 2);
        }
        kafka.permit(BOB.name, Kind::Topic, &open, Operation::Read);
        kafka.permit(BOB.name, Kind::Topic, &open, Operation::Write);
        kafka.permit(BOB.name, Kind::Topic, &seen, Operation::Describe);
        for topic in [&managed, &gone] {
            for operation in [Operation::Create, Operation::Delete, Operation::Alter] {
                kafka.permit(BOB.name, Kind::Topic, topic, operation);
            }
        }
        kafka.permit(BOB.name, Kind::Group, &own_group, Operation::Read);
        kafka.permit(BOB.name, Kind::Group, &old_group, Operation::Delete);
        kafka.permit(BOB.name, Kind::TransactionalId, &own_writer, Operation::Write);
        await_right(kafka, &seen, &own_writer);
        let connections = (kafka.connect_as(BOB.name), front.connect_as(&BOB));
        Self {
            front,
            open,
            seen,
            managed,
            gone,
            closed,
            absent,
            own_group,
            old_group,
            other_group,
            own_writer,
            other_writer,
            kafka: connections.0,
            gateway: connections.1,
        }
    }

    /// All topics, denied ones between allowed ones.
    pub fn topics(&self) -> [&str; 4] {
        [&self.closed, &self.open, &self.absent, &self.seen]
    }

    /// Sends the same request to both in each version, and compares what came back apart from what `forget` removes.
    pub fn compare<R: Request>(
        &mut self,
        versions: impl IntoIterator<Item = i16>,
        make: impl Fn(&Self, i16) -> R,
        forget: impl Fn(&mut R::Response),
    ) where
        R::Response: PartialEq + std::fmt::Debug,
    {
        for version in versions {
            let request = make(self, version);
            let mut wanted = self.kafka.call(version, &request).unwrap();
            let what = format!("API {} version {version}", R::KEY);
            let mut answer = self
                .gateway
                .call(version, &request)
                .unwrap_or_else(|error| panic!("{what}: {error:#}; Kafka says {wanted:?}"));
            forget(&mut wanted);
            forget(&mut answer);
            assert!(answer == wanted, "{what}:\n gateway {answer:#?}\n Kafka {wanted:#?}");
        }
    }
}

/// ACLs reach the broker's authorizer a moment after they are made; the last one made is the last to arrive.
fn await_right(kafka: &Kafka, topic: &str, writer: &str) {
    let deadline = Instant::now() + SETTLING;
    let mut connection = kafka.connect_as(BOB.name);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(writer))))
        .with_transaction_timeout_ms(10_000);
    loop {
        let seen = connection.call(METADATA_VERSION, &metadata(Some(&[topic]))).unwrap();
        let writes = connection.call(4, &request).unwrap();
        // Another error is a coordinator that is not there yet: the tests need that, too.
        if seen.topics[0].error_code == 0 && writes.error_code == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the ACLs do not arrive: {seen:?} {writes:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A string of Kafka's protocol.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
