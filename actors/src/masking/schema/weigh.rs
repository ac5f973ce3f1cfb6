//! What a JSON Schema of a registry may cost whoever holds documents against it.
//!
//! A schema is a graph: a few lines of `$ref`s, each to a schema that refers twice to the next, are as many schemas as two to
//! the power of their count. So all paths are counted before it is used, and one that refers to itself is refused: what that
//! costs depends on the document.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::json::failed;
use super::{NODES_MAX, Reference, SchemaError};

/// How many schemas a document is held against, with all that each refers to.
pub(super) fn weigh(text: &str, references: &[Reference]) -> Result<usize, SchemaError> {
    let read = |text: &str| {
        serde_json::from_str(text).map_err(|error| failed(&format!("it is no JSON: {error}")))
    };
    let mut files: Vec<(&str, Value)> = vec![("", read(text)?)];
    for reference in references {
        files.push((&reference.name, read(&reference.text)?));
    }
    let mut scale =
        Scale { files: &files, known: HashMap::new(), open: HashSet::new(), patterns: 0 };
    let Some((_, schema)) = files.first() else { return Ok(0) };
    scale.open.insert((0, String::new()));
    let weight = scale.weigh(schema, 0, 0)?;
    if weight > NODES_MAX { Err(SchemaError::TooManyTypes) } else { Ok(weight) }
}

struct Scale<'f> {
    /// The schema and what it refers to, by name.
    files: &'f [(&'f str, Value)],
    /// The weights of what was referred to, by file and pointer.
    known: HashMap<(usize, String), usize>,
    /// What is being weighed.
    open: HashSet<(usize, String)>,
    patterns: usize,
}

impl<'f> Scale<'f> {
    fn weigh(&mut self, value: &'f Value, file: usize, depth: usize) -> Result<usize, SchemaError> {
        if depth > DEPTH_MAX {
            return Err(failed("it refers to others too deep"));
        }
        let below = depth.saturating_add(1);
        let mut weight = 1_usize;
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    let more = self.member(key, member, file, depth)?;
                    weight = weight.saturating_add(more);
                }
            }
            Value::Array(elements) => {
                for element in elements {
                    weight = weight.saturating_add(self.weigh(element, file, below)?);
                }
            }
            _ => {}
        }
        Ok(weight)
    }

    /// The weight of a member of an object in a schema.
    fn member(
        &mut self,
        key: &str,
        member: &'f Value,
        file: usize,
        depth: usize,
    ) -> Result<usize, SchemaError> {
        let below = depth.saturating_add(1);
        match (key, member) {
            ("$ref", Value::String(reference)) => self.refer(reference, file, below),
            ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                Err(failed("`$dynamicRef` and `$recursiveRef` are not read"))
            }
            // By it a `$ref` could lead elsewhere than it seems to.
            ("$id", Value::String(_)) if depth > 0 => {
                Err(failed("an `$id` below the root is not read"))
            }
            ("id", Value::String(_)) if depth > 0 && self.is_old(file) => {
                Err(failed("an `id` below the root is not read"))
            }
            ("pattern", Value::String(_)) => self.pattern(1),
            ("patternProperties", Value::Object(patterns)) => {
                self.pattern(patterns.len())?;
                self.weigh(member, file, below)
            }
            _ => self.weigh(member, file, below),
        }
    }

    /// As [`Self::weigh`]; the root of a file may have an id of its own.
    fn weigh_root(
        &mut self,
        value: &'f Value,
        file: usize,
        depth: usize,
        is_root: bool,
    ) -> Result<usize, SchemaError> {
        let Value::Object(members) = value else { return self.weigh(value, file, depth) };
        let has_id = members.get("$id").or_else(|| members.get("id")).is_some_and(Value::is_string);
        if !is_root || !has_id {
            return self.weigh(value, file, depth);
        }
        let mut weight = 1_usize;
        for (key, member) in members.iter().filter(|(key, _)| !matches!(key.as_str(), "$id" | "id"))
        {
            weight = weight.saturating_add(self.member(key, member, file, depth)?);
        }
        Ok(weight)
    }

    /// The weight of what a `$ref` of a file leads to.
    fn refer(&mut self, reference: &str, file: usize, depth: usize) -> Result<usize, SchemaError> {
        let (name, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let is_named = |known: &str| {
            name.strip_suffix(known)
                .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        let unknown = || failed("a `$ref` leads to nothing that comes with it");
        let file = if name.is_empty() {
            file
        } else {
            let mut named = self.files.iter().enumerate().skip(1);
            let named = named.find(|(_, (known, _))| !known.is_empty() && is_named(known));
            named.map(|(at, _)| at).ok_or_else(unknown)?
        };
        let is_other = |at: usize, schema: &Value| {
            let id = schema.get("$id").or_else(|| schema.get("id")).and_then(Value::as_str);
            at != file && id.is_some_and(|id| id.trim_end_matches('#').ends_with(name))
        };
        let mut others = self.files.iter().enumerate();
        if !name.is_empty() && others.any(|(at, (_, schema))| is_other(at, schema)) {
            return Err(failed("a `$ref` may lead to either of two schemas"));
        }
        let place = (file, pointer.to_owned());
        if let Some(weight) = self.known.get(&place) {
            return Ok(*weight);
        }
        let (_, schema) = self.files.get(file).ok_or_else(unknown)?;
        let target = schema.pointer(pointer).ok_or_else(unknown)?;
        if !self.open.insert(place.clone()) {
            return Err(failed("it is recursive, so what it costs depends on the document"));
        }
        let weight = self.weigh_root(target, file, depth, pointer.is_empty())?;
        self.open.remove(&place);
        self.known.insert(place, weight);
        Ok(weight)
    }

    /// Whether `id` is what `$id` is since.
    fn is_old(&self, file: usize) -> bool {
        let schema = self.files.get(file).and_then(|(_, schema)| schema.get("$schema"));
        schema.and_then(Value::as_str).is_some_and(|draft| draft.contains("draft-04"))
    }

    fn pattern(&mut self, count: usize) -> Result<usize, SchemaError> {
        self.patterns = self.patterns.saturating_add(count);
        if self.patterns > PATTERNS_MAX {
            return Err(failed("it has too many patterns"));
        }
        Ok(count)
    }
}

/// How deep schemas may lie in one another, references counted.
const DEPTH_MAX: usize = 500;
/// How many patterns a schema may have: each may take some memory once it is compiled.
const PATTERNS_MAX: usize = 200;
