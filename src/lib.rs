//! Sluicegate, an identity-aware gateway for Apache Kafka: one shard per core.
//!
//! ```text
//! client ─▶ socket ─▶ frame ─▶ decide ─▶ (hold) ─▶ mask ─▶ record ─▶ upstream ─▶ broker
//! client ◀─ reply  ◀─ record ◀─ mask ◀─ filter ◀─ advertise ◀─ frame ◀─ upstream ◀─ broker
//! ```
//!
//! Invariants, each tested:
//!
//! - A request whose key and version are not in [`kafka`]'s table never reaches a broker.
//! - No request is forwarded, and no record batch delivered, before its entry is in the record log.
//! - No broker's host or port reaches a client.
//! - What policy and masking leave alone is forwarded byte for byte, in order, once.
//! - Nothing on a shard takes a lock, and no request touches a shared counter.

pub mod acceptor;
pub mod admission;
pub mod buffers;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod console;
pub mod control;
pub mod demo;
pub mod error;
pub mod gateway;
pub mod kafka;
pub mod life;
pub mod limits;
pub mod login;
pub mod path;
pub mod probe;
pub mod shard;
pub mod store;
pub mod tls;
