//! What a topic demands of the values that are written to it.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::json::DEPTH_MAX;

/// How many characters of a reason are told.
const REASON_CHARS_MAX: usize = 240;

/// What values must be: one JSON document each, and valid by all schemas.
#[derive(Debug, Default)]
pub struct Demand {
    schemas: Vec<Validator>,
}

/// A schema that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SchemaError {
    reason: String,
}

impl Demand {
    /// Demands that values are valid by a JSON Schema, too. It stands for itself: nothing that it refers to is fetched.
    ///
    /// # Errors
    /// [`SchemaError`] where it is no JSON Schema.
    pub fn add_schema(&mut self, text: &str) -> Result<(), SchemaError> {
        let failed = |reason: String| SchemaError { reason };
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| failed(format!("it is no JSON: {error}")))?;
        // Patterns in linear time: the values that they are held against are anybody's.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| failed(error.to_string()))?;
        self.schemas.push(validator);
        Ok(())
    }

    /// Whether a value is what is demanded. Null is: it deletes, and says nothing.
    ///
    /// # Errors
    /// Why it is not, for whoever wrote it; nothing of the value is in it but names of fields.
    pub fn check(&self, value: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(value)
            .map_err(|error| format!("it is no UTF-8 from byte {} on", error.valid_up_to()))?;
        let no_json = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            format!(
                "it is not one JSON document (line {line}, column {column}; at most {DEPTH_MAX} deep)"
            )
        };
        if self.schemas.is_empty() {
            return serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(no_json);
        }
        let document: Value = serde_json::from_str(text).map_err(no_json)?;
        for schema in &self.schemas {
            if let Err(error) = schema.validate(&document) {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "/".to_owned() } else { place };
                let reason = format!("{place}: {}", error.masked());
                return Err(reason.chars().take(REASON_CHARS_MAX).collect());
            }
        }
        Ok(())
    }
}
