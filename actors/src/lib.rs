//! Session control for Sluicegate: the shared vocabulary, and the actors that decide what a session may do.
//!
//! Nothing in this crate knows Kafka's bytes or the executor of the data plane. Each of [`auth`], [`policy`],
//! [`approval`], [`masking`] and [`recorder`] is a folder in which `mod.rs` is the actor and its siblings are pure.

pub mod approval;
pub mod auth;
pub mod masking;
pub mod policy;
pub mod recorder;
pub mod runtime;
pub mod session;
pub mod supervisor;
pub mod vocabulary;
