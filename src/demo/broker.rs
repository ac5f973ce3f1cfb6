//! The embedded broker: krafka's, which lives in memory and speaks enough of Kafka's protocol for current clients.

use std::net::SocketAddr;

use krafka::testing::FakeBroker;
use krafka::{KrafkaError, Record};
use tokio::runtime::{Builder, Runtime};

use crate::demo::DemoError;
use crate::demo::payments::{self, Payment};
use crate::limits;

/// The id of the one broker.
pub const BROKER_ID: i32 = 0;

/// A broker on loopback, on a runtime of its own. It ends when it is dropped, and what it holds with it.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    /// The broker's tasks live as long as this.
    _runtime: Runtime,
}

impl EmbeddedBroker {
    /// Starts it on a free port, and produces the payments into it.
    ///
    /// # Errors
    ///
    /// [`DemoError::Runtime`], [`DemoError::Broker`], or [`DemoError::BrokerLate`].
    pub fn start(payments: Vec<Payment>) -> Result<Self, DemoError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("demo-broker")
            .enable_all()
            .build()
            .map_err(DemoError::Runtime)?;
        let filled =
            async { tokio::time::timeout(limits::DEMO_BROKER_MS_MAX, fill(payments)).await };
        let broker = runtime.block_on(filled).map_err(|_| DemoError::BrokerLate)??;
        let address = broker.broker_addr(BROKER_ID).ok_or(DemoError::BrokerLate)?;
        runtime.spawn(forget_requests(broker));
        Ok(Self { address, _runtime: runtime })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A broker with one topic of one partition: readers see the payments in their order.
async fn fill(payments: Vec<Payment>) -> Result<FakeBroker, KrafkaError> {
    let broker = FakeBroker::start().await?;
    broker.create_topic(payments::TOPIC, 1);
    let client = broker.kafka().connect().await?;
    let producer = client.producer().build().await?;
    for payment in payments {
        let record = Record::new(payments::TOPIC, payment.value).key(payment.key);
        // Where it was written is of no interest: one after the other, they stand in their order.
        drop(producer.send(record).await?);
    }
    producer.close().await?;
    Ok(broker)
}

/// The broker notes every request for the assertions of tests, for ever; here nobody asks. It holds the broker too.
async fn forget_requests(broker: FakeBroker) {
    let mut interval = tokio::time::interval(limits::DEMO_FORGET_EVERY);
    loop {
        interval.tick().await;
        broker.clear_requests();
    }
}
