//! What clients connect to: the gateway, or Kafka itself.
//!
//! With `SLUICEGATE_TEST_TARGET=kafka` the tests that speak of nothing but Kafka's protocol run against Kafka itself,
//! with its own users in the place of tokens: what fails then is the test's fault, not the gateway's.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{
    LIST_OFFSETS_VERSION, METADATA_VERSION, list_offsets, metadata,
};

use super::clients::{Access, Login};
use super::gateway::{Gateway, Setup};
use super::kafka::{self, Kafka, SETTLING};
use super::tokens::Person;
use super::{PATIENCE, skip};

/// One address to connect to, and the logins that it takes.
pub struct Front {
    pub kafka: &'static Kafka,
    /// `None` where clients connect to Kafka itself.
    pub gateway: Option<Gateway>,
}

impl Front {
    /// The gateway that permits everything, shared by all tests that do not change it; `None`, with a printed line,
    /// where there is no Kafka.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Front> = OnceLock::new();
        let kafka = Kafka::shared()?;
        Some(SHARED.get_or_init(|| Self::before(kafka, Setup::default())))
    }

    /// A gateway of its own for one test; `None`, with a printed line, where there is no Kafka or no gateway.
    pub fn start(setup: Setup) -> Option<Self> {
        let front = Self::start_or_kafka(setup)?;
        if front.gateway.is_none() {
            skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
            return None;
        }
        Some(front)
    }

    /// As [`Front::start`], for tests that make sense at Kafka itself.
    pub fn start_or_kafka(setup: Setup) -> Option<Self> {
        Some(Self::before(Kafka::shared()?, setup))
    }

    /// Clients of this cluster: with a gateway before it, or as [`is_direct`] says.
    pub fn before(kafka: &'static Kafka, setup: Setup) -> Self {
        let gateway = (!is_direct()).then(|| Gateway::start(kafka, setup));
        Self { kafka, gateway }
    }

    /// The gateway of [`Front::start`].
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("a front with a gateway")
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.gateway.as_ref().map_or(self.kafka.guarded(), |gateway| gateway.address)
    }

    /// The only host and port that a client may learn of.
    pub fn broker_address(&self) -> SocketAddr {
        self.gateway.as_ref().map_or(self.kafka.guarded(), |gateway| gateway.broker_addresses[0])
    }

    /// The login of a person by SASL/PLAIN.
    pub fn login(&self, person: &Person) -> PlainLogin {
        match &self.gateway {
            Some(gateway) => {
                let password = gateway.issuer.token(person);
                PlainLogin { username: person.name.to_owned(), password }
            }
            None => kafka::login_of(person.name),
        }
    }

    /// How a real client connects as `person`.
    pub fn access(&self, person: &Person) -> Access {
        self.access_with(Login::Plain(self.login(person)))
    }

    /// How a real client connects with another login.
    pub fn access_with(&self, login: Login) -> Access {
        let authority = self.gateway.as_ref().and_then(Gateway::authority);
        Access { bootstrap: self.address(), login, authority }
    }

    /// A connection that has not logged in.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address(), PATIENCE).unwrap()
    }

    /// A connection to the broker's port (a gateway's bootstrap port is answered by any broker), logged in.
    pub fn connect_as(&self, person: &Person) -> Connection {
        let mut connection = Connection::open(self.broker_address(), PATIENCE).unwrap();
        connection.login(&self.login(person)).unwrap();
        connection
    }
}

/// Whether the tests run against Kafka itself.
pub fn is_direct() -> bool {
    std::env::var("SLUICEGATE_TEST_TARGET").is_ok_and(|target| target == "kafka")
}

/// The end of partition 0 of a topic.
pub fn end_of(connection: &mut Connection, topic: &str) -> i64 {
    let answer = connection.call(LIST_OFFSETS_VERSION, &list_offsets(topic, 0)).unwrap();
    answer.topics[0].partitions[0].offset
}

/// Waits until the broker leads all partitions of a new topic.
pub fn await_leaders(connection: &mut Connection, topic: &str, partitions: i32) {
    let deadline = Instant::now() + SETTLING;
    loop {
        let response = connection.call(METADATA_VERSION, &metadata(Some(&[topic]))).unwrap();
        let leaders = response.topics[0].partitions.iter();
        let leaders = leaders.filter(|partition| partition.error_code == 0).count();
        // The leader is known before it leads: only its own answer tells.
        let leads = |partition| {
            let request = list_offsets(topic, partition);
            let answer = connection.call(LIST_OFFSETS_VERSION, &request).unwrap();
            answer.topics[0].partitions[0].error_code == 0
        };
        if i32::try_from(leaders) == Ok(partitions) && (0..partitions).all(leads) {
            return;
        }
        assert!(Instant::now() < deadline, "`{topic}` has no leader: {response:?}");
        // Kafka has no event for this; its own clients ask again, too.
        std::thread::sleep(Duration::from_millis(20));
    }
}
