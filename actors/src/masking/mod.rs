//! Masking: rules of data owners, compiled to plans that the path applies.
//!
//! ```text
//! masks/*.yaml ─▶ rules ─▶ (policy: which labels are clear?) ─▶ plan
//!                                                               │
//!                    value ─▶ json, detect, fold, method, text ◀┘ ─▶ masked value
//! ```
//!
//! Everything below is pure: it knows no session, no policy and no Kafka.

mod demand;
pub mod detect;
mod encoded;
mod fold;
mod formats;
pub mod json;
pub mod method;
mod places;
pub mod plan;
pub mod registry;
pub mod rules;
pub mod schema;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

pub use demand::{Content, Demand};
pub use formats::{Formats, Written};
pub use method::{Keys, KeysError};
pub use plan::{MaskCounts, MaskPlan, Masked, Scratch};
pub use rules::{Direction, Reading, Rules, RulesError, RulesFile, Unreadable};

/// Reads and checks mask rules: the one call from configuration to [`Rules`].
///
/// # Errors
/// As [`Rules::compile`].
pub fn compile(files: &[RulesFile<'_>], keys: &Keys) -> Result<Rules, RulesError> {
    Rules::compile(files, keys)
}
