//! Masking: rules of data owners, compiled to plans that the path applies.
//!
//! ```text
//! masks/*.yaml ─▶ rules ─▶ (policy: which labels are clear?) ─▶ plan
//!                                                               │
//!                    value ─▶ json, detect, fold, method, text ◀┘ ─▶ masked value
//! ```
//!
//! Everything below is pure: it knows no session, no policy and no Kafka.

pub mod detect;
mod fold;
pub mod json;
pub mod method;
pub mod plan;
pub mod registry;
pub mod rules;
pub mod schema;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

pub use plan::{MaskCounts, MaskPlan, Masked, Scratch};
pub use rules::{Rules, RulesError, RulesFile};

/// Reads and checks mask rules: the one call from configuration to [`Rules`].
///
/// # Errors
/// As [`Rules::compile`].
pub fn compile(
    files: &[RulesFile<'_>],
    key: Option<&secrecy::SecretSlice<u8>>,
) -> Result<Rules, RulesError> {
    Rules::compile(files, key)
}
