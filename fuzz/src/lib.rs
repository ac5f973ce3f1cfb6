//! What must hold of any bytes that a peer sends. Each target is one function, defined once: `fuzz_targets/` gives it to
//! libFuzzer, `tests/corpus.rs` runs it on the committed corpus and on mutations of it. `docs/FUZZING.md` says how.
//!
//! ```text
//! input   seed u32 │ request frame without its size                        (request)
//!         seed u32 │ key i16 │ version i16 │ response frame without it     (response)
//!         seed u32 │ records of one partition                              (batch)
//!         seed u32 │ a record's value                                      (value)
//!         seed u32 │ SASL token, or a request of a login without its size  (sasl, canary)
//! ```
//!
//! The seed chooses what else there is to choose: where a message is cut into pieces, by which policy it is filtered. A
//! target returns nothing: it panics where something does not hold.

#![expect(
    clippy::expect_used,
    reason = "what is fixed here cannot fail, and what a peer sent is asserted upon"
)]

mod batch;
mod budget;
mod canary;
mod input;
mod message;
mod request;
mod response;
mod sasl;
pub mod seeds;
mod value;
mod world;

pub use batch::batch;
pub use canary::canary;
pub use request::request;
pub use response::response;
pub use sasl::sasl;
pub use value::value;

/// A function that panics where something does not hold of an input.
pub type Target = fn(&[u8]);

/// The targets by name, but for [`canary()`], which must fail.
pub const TARGETS: [(&str, Target); 5] = [
    ("request", request),
    ("response", response),
    ("batch", batch),
    ("value", value),
    ("sasl", sasl),
];
