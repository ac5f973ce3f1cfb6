//! JSON Schema: what documents behind an id, or of a topic's rules, must be.

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use super::{Reference, SchemaError, weigh};

/// What documents must be.
#[derive(Debug)]
pub struct JsonSchema {
    validator: Validator,
    text_bytes: usize,
    /// How many schemas a document may be held against, where that is bounded.
    weight: usize,
}

/// What a schema refers to, by the names that it has for it. Nothing else is fetched from anywhere.
struct References(Vec<(String, Value)>);

impl JsonSchema {
    /// Reads a schema of a registry: anybody's, so that what it may cost is bounded.
    pub(super) fn registered(text: &str, references: &[Reference]) -> Result<Self, SchemaError> {
        let weight = weigh::weigh(text, references)?;
        Ok(Self { weight, ..Self::parse(text, references)? })
    }

    /// Whether a document is not too large for a schema of a registry.
    ///
    /// # Errors
    /// Where it is.
    pub(super) fn affords(&self, document: &[u8]) -> Result<(), String> {
        // Each value takes two bytes at least.
        if (document.len() / 2).saturating_mul(self.weight) > CHECKS_MAX {
            return Err("it is too large for a schema as large as its own".to_owned());
        }
        Ok(())
    }

    /// Reads a schema. Patterns are held against values in linear time, because the values are anybody's.
    pub(in crate::masking) fn parse(
        text: &str,
        references: &[Reference],
    ) -> Result<Self, SchemaError> {
        let texts = references.iter().map(|reference| reference.text.len());
        let text_bytes = texts.fold(text.len(), usize::saturating_add);
        let no_json = |error: serde_json::Error| failed(&format!("it is no JSON: {error}"));
        let schema: Value = serde_json::from_str(text).map_err(no_json)?;
        let references = references.iter().map(|reference| {
            let value = serde_json::from_str(&reference.text).map_err(no_json)?;
            Ok((reference.name.clone(), value))
        });
        let references = References(references.collect::<Result<_, SchemaError>>()?);
        let options = jsonschema::options()
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(PATTERN_BYTES_MAX)
                    .dfa_size_limit(PATTERN_BYTES_MAX),
            )
            .with_retriever(references);
        let validator = options.build(&schema).map_err(|error| failed(&error.to_string()))?;
        Ok(Self { validator, text_bytes, weight: 0 })
    }

    /// Whether a document is valid.
    ///
    /// # Errors
    /// Where it is not, and why; nothing of the document is in it but names of fields.
    pub(in crate::masking) fn check(&self, document: &Value) -> Result<(), String> {
        let Err(error) = self.validator.validate(document) else { return Ok(()) };
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "/".to_owned() } else { place };
        Err(format!("{place}: {}", error.masked()))
    }

    /// About how many bytes it takes.
    pub(super) fn size_bytes(&self) -> usize {
        self.text_bytes.saturating_mul(BYTES_PER_TEXT_BYTE)
    }
}

impl Retrieve for References {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        // A reference is resolved against the schema's `$id`, if it has one, before it comes here.
        let uri = uri.as_str();
        let is_named = |name: &str| {
            uri.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        let named = self.0.iter().find(|(name, _)| is_named(name));
        named
            .map(|(_, schema)| schema.clone())
            .ok_or_else(|| "the schema does not come with it".into())
    }
}

pub(super) fn failed(reason: &str) -> SchemaError {
    SchemaError::Json { reason: reason.to_owned() }
}

/// A guess: a compiled schema is larger than its text.
const BYTES_PER_TEXT_BYTE: usize = 10;
/// How many schemas a document's values may be held against, all together: a guess, about a second.
const CHECKS_MAX: usize = 100_000_000;
/// How large a pattern may be once it is compiled, and what finding it may take.
const PATTERN_BYTES_MAX: usize = 256 << 10;
