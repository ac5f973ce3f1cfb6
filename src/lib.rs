//! Sluicegate, an identity-aware gateway for Apache Kafka.

pub mod kafka;
