//! End to end: real Apache Kafka behind the gateway, real clients and hostile ones in front of it.
//!
//! `make test` runs it; without `SLUICEGATE_KAFKA_HOME` every test says that it is skipped. One file per promise; what
//! they stand on is `support`. `SLUICEGATE_TEST_LOGS=1` prints what each process printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::as_conversions,
    clippy::let_underscore_must_use,
    clippy::print_stderr,
    clippy::too_many_lines,
    unreachable_pub,
    dead_code,
    reason = "tests: a panic is how they fail, and what stands ready need not be used by each of them"
)]

mod support;

mod admin;
mod approve;
mod brokers;
mod crash;
mod disk;
mod drain;
mod ecosystem;
mod equivalence;
mod explain;
mod faults;
mod flips;
mod flood;
mod hostile;
mod login;
mod mask;
mod moves;
mod older;
mod path;
mod patterns;
mod producers;
mod record;
mod refuse;
mod revoke;
mod rough;
mod schemas;
mod screen;
mod share;
mod slow;
mod soak;
