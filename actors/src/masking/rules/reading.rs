//! What a rule says of the records of its topics, whatever is masked in them.

use super::super::demand::Demand;
use super::super::formats::Formats;
use super::super::yaml::{Located, Node};
use super::reader::Reader;
use super::{Direction, RulesError};

/// How the records of a topic are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What values may be.
    pub values: Formats,
    /// What keys may be.
    pub keys: Formats,
    /// What is delivered of a value that is none of these, where a rule says so.
    pub unreadable: Option<Unreadable>,
}

/// What is delivered of a value that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A marker, [`super::super::method::WITHHELD`]: no reader takes it for a value.
    Withhold,
    /// Null, which deletes what the key stands for.
    Nullify,
}

impl Reading {
    /// What all rules of a topic say together: any of their formats; null only where none says otherwise.
    pub(super) fn of<'r>(rules: impl Iterator<Item = (&'r Self, Option<&'r Demand>)>) -> Self {
        let mut all = Self::default();
        let mut is_registered = false;
        for (rule, demand) in rules {
            all.values = all.values.or(rule.values);
            all.keys = all.keys.or(rule.keys);
            all.unreadable = match (all.unreadable, rule.unreadable) {
                (Some(Unreadable::Withhold), _) | (_, Some(Unreadable::Withhold)) => {
                    Some(Unreadable::Withhold)
                }
                (before, now) => before.or(now),
            };
            is_registered |= matches!(demand, Some(Demand::Registered));
        }
        if is_registered && !all.values.have_schemas() {
            all.values = all.values.or(Formats::REGISTERED);
        }
        all
    }

    /// Whether schemas must be had for it.
    pub(super) fn needs_registry(&self, demand: Option<&Demand>) -> bool {
        let is_registered = matches!(demand, Some(Demand::Registered));
        is_registered || self.values.have_schemas() || self.keys.have_schemas()
    }
}

/// A format with a schema, or `plain`: what there is without one.
pub(super) fn read_format(
    reader: &Reader<'_>,
    value: Located,
    plain: &'static str,
) -> Result<Formats, RulesError> {
    let (line, format) = reader.text(value)?;
    let [first, second, third] = Formats::NAMES;
    let format = reader.choose(line, "format", &format, &[plain, first, second, third])?;
    Ok(Formats::named(format))
}

pub(super) fn read_unreadable(
    reader: &Reader<'_>,
    value: Located,
) -> Result<Unreadable, RulesError> {
    let (line, outcome) = reader.text(value)?;
    Ok(match reader.choose(line, "outcome", &outcome, &["withhold", "nullify"])? {
        "nullify" => Unreadable::Nullify,
        _ => Unreadable::Withhold,
    })
}

/// Which ways a rule holds.
pub(super) fn read_directions(
    reader: &Reader<'_>,
    value: Located,
) -> Result<Vec<Direction>, RulesError> {
    let line = value.line;
    let mut on = Vec::new();
    for way in reader.list(value)? {
        let (line, way) = reader.text(way)?;
        on.push(match reader.choose(line, "way", &way, &["read", "write"])? {
            "read" => Direction::Read,
            _ => Direction::Write,
        });
    }
    if on.is_empty() {
        return Err(reader.error(line, "a rule holds on no way; say `on: [read, write]`"));
    }
    Ok(on)
}

/// What a topic demands: `json`, `registered`, or a schema.
pub(super) fn read_demand(reader: &Reader<'_>, value: Located) -> Result<Demand, RulesError> {
    let line = value.line;
    if let Node::Text(_) = value.node {
        let (line, format) = reader.text(value)?;
        return Ok(match reader.choose(line, "format", &format, &["json", "registered"])? {
            "registered" => Demand::Registered,
            _ => Demand::Json,
        });
    }
    let mut demand = None;
    for (key, schema) in reader.map(value)? {
        reader.known(&key, &["json-schema"])?;
        let (line, text) = reader.text(schema)?;
        let read = Demand::json_schema(&text);
        demand = Some(read.map_err(|error| reader.error(line, format!("`json-schema`: {error}")))?);
    }
    demand
        .ok_or_else(|| reader.error(line, "`validate` is `json`, `registered` or a `json-schema`"))
}
