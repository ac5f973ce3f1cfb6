//! The null broker, in a thread of the tests.

use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use sluicegate_loadtest::broker::{self, Contents};

use super::gateway::Setup;

/// The topic that every null broker has, with two partitions that never end.
pub const TOPIC: &str = "load";

/// Starts one with batches of this size that is known by `advertised`, or else by its own address, which is returned.
pub fn start(batch: (usize, usize), advertised: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    let (batch_records, record_bytes) = batch;
    let contents = Contents {
        topics: vec![TOPIC.to_owned()],
        partitions: 2,
        record_bytes,
        batch_records,
        value: None,
        batch: None,
        advertised: advertised.unwrap_or(own),
    };
    std::thread::spawn(move || broker::run(&listener, contents));
    own
}

/// A gateway in front of it that keeps no payloads.
pub fn setup(broker: SocketAddr) -> Setup {
    Setup { broker: Some(broker), broker_login: None, payload: "none", ..Setup::default() }
}

/// One record of so many bytes in a batch, as Bytes for a produce request.
pub fn large_batch(bytes: usize) -> Bytes {
    sluicegate_loadtest::requests::batch([vec![7; bytes]]).unwrap()
}
