//! Records that were written by a schema of a registry: Avro, Protobuf, and JSON behind an id.
//!
//! ```text
//! text, references ─▶ Schema ──────────┐
//! value, header ─▶ Framed ─▶ id        ▼
//!                       └───▶ avro | protobuf | json walk ─▶ masked value, framed as it was
//!                                      ▲
//!                              MaskPlan┘
//! ```
//!
//! As with JSON there is no tree and no second form of a value: it is walked and validated in its
//! bytes, masks are spliced in, and the lengths around them are written again. What is masked stays
//! a value of its type.

mod avro;
pub mod frame;
pub(super) mod json;
mod protobuf;
mod splice;
mod typed;
mod walk;
mod weigh;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use super::demand;
use super::json::{self as document, Sheet, Unreadable};
use super::plan::{self, MaskPlan, Masked, Scratch, VALUE_BYTES_MAX};
use crate::auth::token::quotable;
use avro::Avro;
use frame::Framed;
use json::JsonSchema;
use protobuf::Protobuf;
pub(super) use splice::Splices;
use walk::Walk;

/// How many bytes the texts of a schema and all that it refers to may have together.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// How many types and fields a schema may have, with all that it refers to. A guess; the largest
/// that was seen in public has a tenth of it.
pub const NODES_MAX: usize = 50_000;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Avro's binary encoding.
    Avro,
    /// A JSON document.
    Json,
    /// Protobuf's wire format.
    Protobuf,
}

/// A schema as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaText {
    /// The format.
    pub format: Format,
    /// Its text.
    pub text: String,
    /// What it refers to, each behind what it refers to itself.
    pub references: Vec<Reference>,
}

/// A schema that another refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name by which it is referred to: the file that is imported, in Protobuf.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A schema, ready to walk values by.
#[derive(Debug)]
pub struct Schema(Kind);

#[derive(Debug)]
enum Kind {
    Avro(Avro),
    /// Or why documents cannot be held against it: they are masked without it.
    Json(Box<Result<JsonSchema, SchemaError>>),
    Protobuf(Protobuf),
}

/// Why a schema cannot be used. Blame: whoever registered it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Its texts are too long.
    #[error("the texts of the schema have {bytes} bytes, and {TEXT_BYTES_MAX} are the most")]
    TooLarge {
        /// How many bytes they have.
        bytes: usize,
    },
    /// It has too many types and fields.
    #[error("the schema has more than {NODES_MAX} types and fields")]
    TooManyTypes,
    /// It is no schema of Avro.
    #[error("no schema of Avro: {reason}")]
    Avro {
        /// What is wrong.
        reason: String,
    },
    /// A type is named that nobody has defined.
    #[error("the type `{name}` is not defined in the schema or in what it refers to")]
    UnknownType {
        /// Its name.
        name: String,
    },
    /// It is no JSON Schema.
    #[error("no JSON Schema: {reason}")]
    Json {
        /// What is wrong.
        reason: String,
    },
    /// It is no file of Protobuf, or one that cannot be resolved.
    #[error("no schema of Protobuf: {reason}")]
    Protobuf {
        /// What is wrong.
        reason: String,
    },
}

impl Schema {
    /// Reads a schema. Takes milliseconds for large ones: nothing for the data path.
    ///
    /// # Errors
    /// The texts are no schema of their format, refer to what is not there, or are out of bounds.
    pub fn compile(schema: &SchemaText) -> Result<Self, SchemaError> {
        let references = schema.references.iter().map(|reference| reference.text.len());
        let bytes = references.fold(schema.text.len(), usize::saturating_add);
        if bytes > TEXT_BYTES_MAX {
            return Err(SchemaError::TooLarge { bytes });
        }
        Ok(Self(match schema.format {
            Format::Avro => {
                let references = schema.references.iter().map(|reference| &*reference.text);
                Kind::Avro(Avro::parse(&schema.text, references)?)
            }
            Format::Json => {
                Kind::Json(Box::new(JsonSchema::registered(&schema.text, &schema.references)))
            }
            Format::Protobuf => Kind::Protobuf(Protobuf::parse(&schema.text, &schema.references)?),
        }))
    }

    /// The format of its values.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.0 {
            Kind::Avro(_) => Format::Avro,
            Kind::Json(_) => Format::Json,
            Kind::Protobuf(_) => Format::Protobuf,
        }
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let below = match &self.0 {
            Kind::Avro(avro) => avro.size_bytes(),
            Kind::Json(json) => json.as_ref().as_ref().map_or(0, JsonSchema::size_bytes),
            Kind::Protobuf(protobuf) => protobuf.size_bytes(),
        };
        below.saturating_add(size_of::<Self>())
    }

    /// Whether a value is what its schema says.
    ///
    /// # Errors
    /// Why it is not, for whoever wrote it; nothing of the value is in it but names of fields.
    pub fn check(&self, framed: &Framed<'_>) -> Result<(), String> {
        let unreadable = |format: &str| format!("it is no {format} by the schema that it names");
        match &self.0 {
            Kind::Json(schema) => {
                let document = self.document(framed).ok_or_else(|| unreadable("JSON"))?;
                let document = demand::within_bounds(document)?;
                match &**schema {
                    Ok(schema) => {
                        schema.affords(document)?;
                        demand::check_document(document, schema)
                    }
                    Err(error) => Err(format!("its schema cannot be used: {error}")),
                }
            }
            kind => {
                static NOTHING: OnceLock<Option<MaskPlan>> = OnceLock::new();
                let plan = NOTHING.get_or_init(MaskPlan::nothing).as_ref();
                let name = if let Kind::Avro(_) = kind { "Avro" } else { "Protobuf" };
                let walked =
                    plan.map(|plan| plan.walk_framed(framed, self, None, &mut Sheet::default()));
                walked.and_then(Result::ok).ok_or_else(|| unreadable(name))
            }
        }
    }

    /// The document of a value that is one.
    pub(super) fn document<'v>(&self, framed: &Framed<'v>) -> Option<&'v [u8]> {
        let (value, start) = framed.payload()?;
        value.get(start..).filter(|_| self.format() == Format::Json)
    }
}

impl MaskPlan {
    /// Masks a value that was written by `schema`, which is the one that it names. What it says of
    /// its schema stays in front of it.
    ///
    /// Nothing is allocated where nothing is masked and `scratch` is warm.
    pub fn mask_framed<'s>(
        &self,
        framed: &Framed<'_>,
        schema: &Schema,
        scratch: &'s mut Scratch,
    ) -> Masked<'s> {
        self.mask_framed_under(framed, schema, None, scratch)
    }

    /// As [`Self::mask_framed`], for a record's key: all of it, where a rule says so.
    pub fn mask_framed_key<'s>(
        &self,
        framed: &Framed<'_>,
        schema: &Schema,
        scratch: &'s mut Scratch,
    ) -> Masked<'s> {
        self.mask_framed_under(framed, schema, self.key_site(), scratch)
    }

    fn mask_framed_under<'s>(
        &self,
        framed: &Framed<'_>,
        schema: &Schema,
        whole: Option<u16>,
        scratch: &'s mut Scratch,
    ) -> Masked<'s> {
        match self.walk_framed(framed, schema, whole, &mut scratch.sheet) {
            Ok(()) => self.walked(scratch),
            Err(Unreadable) => plan::withheld(scratch),
        }
    }

    /// Walks a value, of which all is masked by `whole`, if there is one.
    fn walk_framed(
        &self,
        framed: &Framed<'_>,
        schema: &Schema,
        whole: Option<u16>,
        sheet: &mut Sheet,
    ) -> Result<(), Unreadable> {
        if let Kind::Protobuf(protobuf) = &schema.0 {
            let (path, value, start) = framed.message().ok_or(Unreadable)?;
            let message = protobuf.message(&path).ok_or(Unreadable)?;
            within_bounds(value)?;
            return protobuf::walk(protobuf, message, Walk::new(self, value, start, whole, sheet));
        }
        let (value, start) = framed.payload().ok_or(Unreadable)?;
        within_bounds(value)?;
        if let Kind::Avro(avro) = &schema.0 {
            return avro::walk(avro, Walk::new(self, value, start, whole, sheet));
        }
        let (head, document) = value.split_at_checked(start).ok_or(Unreadable)?;
        document::walk(self, document, sheet)?;
        if let Some(site) = whole {
            document::replace_whole(self, document, site, sheet);
        }
        if !sheet.hits.is_empty() {
            sheet.out.splice(..0, head.iter().copied());
        }
        Ok(())
    }
}

fn within_bounds(value: &[u8]) -> Result<(), Unreadable> {
    if value.len() > VALUE_BYTES_MAX { Err(Unreadable) } else { Ok(()) }
}
