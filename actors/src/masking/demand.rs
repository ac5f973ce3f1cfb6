//! What a topic demands of the values that are written to it.

use serde_json::Value;

use super::json::DEPTH_MAX;
use super::plan::VALUE_BYTES_MAX;
use super::schema::frame::Framed;
use super::schema::json::JsonSchema;
use super::schema::{Schema, SchemaError};

/// How many characters of a reason are told.
const REASON_CHARS_MAX: usize = 240;

/// What values must be.
#[derive(Debug)]
pub enum Demand {
    /// One JSON document.
    Json,
    /// One that is valid by this schema.
    JsonSchema(Box<JsonSchema>),
    /// What a schema of the registry says that they are.
    Registered,
}

/// A value as it is written.
#[derive(Clone, Copy, Debug)]
pub enum Content<'v> {
    /// Without a schema.
    Plain(&'v [u8]),
    /// Behind the id of this schema.
    Framed(&'v Framed<'v>, &'v Schema),
}

impl Demand {
    /// Demands values that are valid by a JSON Schema. It stands for itself: nothing that it refers to is fetched.
    ///
    /// # Errors
    /// [`SchemaError`] where it is no JSON Schema.
    pub fn json_schema(text: &str) -> Result<Self, SchemaError> {
        Ok(Self::JsonSchema(Box::new(JsonSchema::parse(text, &[])?)))
    }

    /// Whether a value is what is demanded. Null is: it deletes, and says nothing.
    ///
    /// # Errors
    /// Why it is not, for whoever wrote it; nothing of the value is in it but names of fields.
    pub fn check(&self, value: Content<'_>) -> Result<(), String> {
        match (self, value) {
            (Self::Registered, Content::Framed(framed, schema)) => schema.check(framed),
            (Self::Registered, Content::Plain(_)) => {
                Err("it does not name a schema of the registry".to_owned())
            }
            (Self::Json, value) => is_document(document(value)?),
            (Self::JsonSchema(schema), value) => check_document(document(value)?, schema),
        }
    }
}

/// The bytes of the document that a value is.
fn document(value: Content<'_>) -> Result<&[u8], String> {
    match value {
        Content::Plain(document) => within_bounds(document),
        Content::Framed(framed, schema) => {
            let document = schema.document(framed);
            within_bounds(document.ok_or_else(|| "it is no JSON document".to_owned())?)
        }
    }
}

/// A document is read in one turn of a shard.
pub(super) fn within_bounds(document: &[u8]) -> Result<&[u8], String> {
    if document.len() > VALUE_BYTES_MAX {
        return Err(format!("it is larger than {VALUE_BYTES_MAX} bytes"));
    }
    Ok(document)
}

/// Whether bytes are one document.
fn is_document(bytes: &[u8]) -> Result<(), String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text(bytes)?).map(drop).map_err(no_document)
}

/// Whether bytes are one document that is valid by a schema.
pub(super) fn check_document(bytes: &[u8], schema: &JsonSchema) -> Result<(), String> {
    let document: Value = serde_json::from_str(text(bytes)?).map_err(no_document)?;
    schema.check(&document).map_err(|reason| reason.chars().take(REASON_CHARS_MAX).collect())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|error| format!("it is no UTF-8 from byte {} on", error.valid_up_to()))
}

fn no_document(error: serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("it is not one JSON document (line {line}, column {column}; at most {DEPTH_MAX} deep)")
}
