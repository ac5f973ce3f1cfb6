//! Kafka's wire protocol: bytes and their meaning. No socket, no clock, no policy.
