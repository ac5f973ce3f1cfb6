//! Reads the text of Avro schemas, as the specification of Avro 1.12 has it. What does not change
//! how values are written (documentation, defaults, aliases, order) is not looked at.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::typed::{INT_BELOW, SECONDS_BELOW, SIGNED_BELOW};
use super::super::{NODES_MAX, SchemaError, quotable};
use super::{Field, Leaf, Node, NodeIndex};

type Object = Map<String, Value>;

/// Reads texts one behind the other; later ones know the types of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Parser {
    nodes: Vec<Node>,
    /// Types by their full names.
    names: HashMap<String, NodeIndex>,
    /// How many nodes and fields there are.
    count: usize,
}

impl Parser {
    /// Reads one text: the type that it describes. `serde_json` reads no text that nests deeper
    /// than 128 levels, which bounds how this recurs.
    pub(super) fn parse(&mut self, text: &str) -> Result<NodeIndex, SchemaError> {
        let value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        self.read(&value, "")
    }

    pub(super) fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// Reads a type within `namespace`, which is empty where there is none.
    fn read(&mut self, value: &Value, namespace: &str) -> Result<NodeIndex, SchemaError> {
        match value {
            Value::String(name) => match primitive(name) {
                Some(node) => self.add(node),
                None => self.named(name, namespace),
            },
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.complex(object, namespace),
            _ => Err(wrong("a type is a name, a list or an object".to_owned())),
        }
    }

    fn complex(&mut self, object: &Object, namespace: &str) -> Result<NodeIndex, SchemaError> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(inner @ (Value::Object(_) | Value::Array(_))) => {
                return self.read(inner, namespace);
            }
            _ => return Err(wrong("an object has no `type`".to_owned())),
        };
        match kind {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = list(object, "symbols")?;
                if !symbols.iter().all(Value::is_string) {
                    return Err(wrong("a symbol is no text".to_owned()));
                }
                self.define(object, namespace, Node::Enum { symbols: symbols.len() })
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.ok_or_else(|| wrong("a fixed has no `size`".to_owned()))?;
                self.define(object, namespace, Node::Fixed { leaf: fixed(object, size), size })
            }
            "array" => {
                let items = self.read(part(object, "items")?, namespace)?;
                self.add(Node::Array(items))
            }
            "map" => {
                let values = self.read(part(object, "values")?, namespace)?;
                self.add(Node::Map(values))
            }
            name => match primitive(name) {
                Some(node) => self.add(logical(node, object)),
                None => self.named(name, namespace),
            },
        }
    }

    fn record(&mut self, object: &Object, namespace: &str) -> Result<NodeIndex, SchemaError> {
        // Its name is known to its own fields.
        let index = self.define(object, namespace, Node::Null)?;
        let (_, namespace) = full_name(object, namespace)?;
        let mut fields: Vec<Field> = Vec::new();
        for field in list(object, "fields")? {
            let field =
                field.as_object().ok_or_else(|| wrong("a field is no object".to_owned()))?;
            let name = text(field, "name")?;
            let node = self.read(part(field, "type")?, &namespace)?;
            self.count()?;
            fields.push(Field { name: name.as_bytes().into(), node });
        }
        let mut names: Vec<&[u8]> = fields.iter().map(|field| &*field.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(wrong("a record has two fields of the same name".to_owned()));
        }
        if let Some(node) = self.nodes.get_mut(index.0) {
            *node = Node::Record(fields.into());
        }
        Ok(index)
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<NodeIndex, SchemaError> {
        let mut nodes = Vec::new();
        for branch in branches {
            let node = self.read(branch, namespace)?;
            if let Some(Node::Union(_)) = self.nodes.get(node.0) {
                return Err(wrong("a union lies in a union".to_owned()));
            }
            nodes.push(node);
        }
        self.add(Node::Union(nodes.into()))
    }

    /// The type of that name: of the namespace, or else of none.
    fn named(&self, name: &str, namespace: &str) -> Result<NodeIndex, SchemaError> {
        let known = if name.contains('.') || namespace.is_empty() {
            self.names.get(name)
        } else {
            self.names.get(&format!("{namespace}.{name}")).or_else(|| self.names.get(name))
        };
        known.copied().ok_or_else(|| SchemaError::UnknownType { name: quotable(name) })
    }

    /// Adds a type that has a name.
    fn define(
        &mut self,
        object: &Object,
        namespace: &str,
        node: Node,
    ) -> Result<NodeIndex, SchemaError> {
        let (name, _) = full_name(object, namespace)?;
        let index = self.add(node)?;
        match self.names.insert(name, index) {
            None => Ok(index),
            Some(_) => Err(wrong("a name is defined twice".to_owned())),
        }
    }

    fn add(&mut self, node: Node) -> Result<NodeIndex, SchemaError> {
        self.count()?;
        let index = NodeIndex(self.nodes.len());
        self.nodes.push(node);
        Ok(index)
    }

    fn count(&mut self) -> Result<(), SchemaError> {
        self.count = self.count.saturating_add(1);
        if self.count > NODES_MAX { Err(SchemaError::TooManyTypes) } else { Ok(()) }
    }
}

/// The full name of what an object defines, and the namespace of what is in there.
fn full_name(object: &Object, namespace: &str) -> Result<(String, String), SchemaError> {
    let name = text(object, "name")?;
    if let Some((namespace, last)) = name.rsplit_once('.') {
        // A point in front of a name says that it has no namespace.
        let full = if namespace.is_empty() { last } else { name };
        return Ok((full.to_owned(), namespace.to_owned()));
    }
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    if namespace.is_empty() {
        return Ok((name.to_owned(), String::new()));
    }
    Ok((format!("{namespace}.{name}"), namespace.to_owned()))
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int { below: INT_BELOW },
        "long" => Node::Long { below: SIGNED_BELOW },
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes(Leaf::Bytes),
        "string" => Node::Bytes(Leaf::Text),
        _ => return None,
    })
}

/// The primitive type with what its logical type says of its values. One that does not fit is left
/// out, as the specification says.
fn logical(node: Node, object: &Object) -> Node {
    let logical = object.get("logicalType").and_then(Value::as_str).unwrap_or_default();
    let int = |below: u64| Node::Int { below };
    let long = |below: u64| Node::Long { below };
    match (node, logical) {
        (Node::Int { .. }, "date") => int(SECONDS_BELOW / DAY_SECONDS),
        (Node::Int { .. }, "time-millis") => int(DAY_SECONDS * 1_000),
        (Node::Long { .. }, "time-micros") => long(DAY_SECONDS * 1_000_000),
        (Node::Long { .. }, "timestamp-millis" | "local-timestamp-millis") => {
            long(SECONDS_BELOW * 1_000)
        }
        (Node::Long { .. }, "timestamp-micros" | "local-timestamp-micros") => {
            long(SECONDS_BELOW * 1_000_000)
        }
        (Node::Bytes(Leaf::Text), "uuid") => Node::Bytes(Leaf::UuidText),
        (Node::Bytes(Leaf::Bytes), "decimal") => {
            Node::Bytes(precision(object).map_or(Leaf::Bytes, |digits| Leaf::Decimal { digits }))
        }
        (Node::Bytes(Leaf::Bytes), "big-decimal") => Node::Bytes(Leaf::BigDecimal),
        (node, _) => node,
    }
}

fn fixed(object: &Object, size: u64) -> Leaf {
    match object.get("logicalType").and_then(Value::as_str) {
        Some("uuid") if size == 16 => Leaf::UuidBytes,
        Some("decimal") => {
            precision(object).map_or(Leaf::Fixed, |digits| Leaf::DecimalFixed { digits })
        }
        _ => Leaf::Fixed,
    }
}

/// How many digits a decimal has at most.
fn precision(object: &Object) -> Option<u32> {
    let digits = object.get("precision").and_then(Value::as_u64).filter(|digits| *digits > 0);
    digits.map(|digits| u32::try_from(digits).unwrap_or(u32::MAX))
}

fn part<'o>(object: &'o Object, key: &str) -> Result<&'o Value, SchemaError> {
    object.get(key).ok_or_else(|| wrong(format!("an object has no `{key}`")))
}

fn text<'o>(object: &'o Object, key: &str) -> Result<&'o str, SchemaError> {
    let text = part(object, key)?.as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| wrong(format!("`{key}` is no text")))
}

fn list<'o>(object: &'o Object, key: &str) -> Result<&'o [Value], SchemaError> {
    let list = part(object, key)?.as_array();
    list.map(Vec::as_slice).ok_or_else(|| wrong(format!("`{key}` is no list")))
}

fn wrong(reason: String) -> SchemaError {
    SchemaError::Avro { reason }
}

const DAY_SECONDS: u64 = 86_400;
