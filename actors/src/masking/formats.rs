//! How values and keys of a topic are written, by what its rules say.

use super::schema::Format;
use super::schema::frame::Framed;

/// The formats that values, or keys, of a topic may have. Where nothing is said, they have no schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    /// Without a schema: a JSON document as a value, any text as a key.
    plain: bool,
    avro: bool,
    json_schema: bool,
    protobuf: bool,
}

/// How a value or key is written.
#[derive(Clone, Copy, Debug)]
pub enum Written<'v> {
    /// Without a schema.
    Plain,
    /// Behind the id of a schema.
    Framed(Framed<'v>),
    /// As none of the formats.
    Otherwise,
}

impl Formats {
    /// The names of formats with a schema in mask rules.
    pub const NAMES: [&str; 3] = ["avro", "json-schema", "protobuf"];
    /// All that a registry knows.
    pub(super) const REGISTERED: Self =
        Self { plain: false, avro: true, json_schema: true, protobuf: true };

    /// The one of this name; the plain one, where the name is none of [`Self::NAMES`].
    pub(super) fn named(name: &str) -> Self {
        let is = |it| name == it;
        let (avro, json_schema, protobuf) = (is("avro"), is("json-schema"), is("protobuf"));
        Self { plain: !(avro || json_schema || protobuf), avro, json_schema, protobuf }
    }

    /// Either these or those.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            plain: self.plain || others.plain,
            avro: self.avro || others.avro,
            json_schema: self.json_schema || others.json_schema,
            protobuf: self.protobuf || others.protobuf,
        }
    }

    /// Whether one of them has a schema.
    #[must_use]
    pub fn have_schemas(self) -> bool {
        self.avro || self.json_schema || self.protobuf
    }

    /// Whether values by a schema of this format are among them.
    #[must_use]
    pub fn include(self, format: Format) -> bool {
        match format {
            Format::Avro => self.avro,
            Format::Json => self.json_schema,
            Format::Protobuf => self.protobuf,
        }
    }

    /// How a value (or key) is written; `header` is the last header that may name its schema.
    #[must_use]
    pub fn read<'v>(self, value: &'v [u8], header: Option<&'v [u8]>) -> Written<'v> {
        // No text and no document begins with either byte by which a frame does.
        let is_framed = header.is_some() || matches!(value.first(), Some(0 | 1));
        if !self.have_schemas() || self.plain && !is_framed {
            return Written::Plain;
        }
        Framed::read(value, header).map_or(Written::Otherwise, Written::Framed)
    }
}
