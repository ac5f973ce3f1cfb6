//! Avro: a schema as a graph to walk by.
//!
//! The schema's text is read here, and not by a library, because it comes from whoever may register
//! schemas: reading it takes no more memory than a few times its size, the same texts always give
//! the same graph, and what a graph may have is bounded.

mod parse;
mod walk;

use super::SchemaError;
pub(super) use super::typed::Leaf;
pub(super) use walk::walk;

/// A schema of Avro with all that it refers to.
#[derive(Debug)]
pub(in crate::masking) struct Avro {
    nodes: Vec<Node>,
    root: NodeIndex,
}

/// A type: where it stands among the nodes of its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeIndex(usize);

/// A type.
#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    /// 32 bits; masks are below `below`.
    Int {
        below: u64,
    },
    /// 64 bits; masks are below `below`.
    Long {
        below: u64,
    },
    Float,
    Double,
    /// Bytes behind their length.
    Bytes(Leaf),
    Fixed {
        leaf: Leaf,
        size: u64,
    },
    Enum {
        symbols: usize,
    },
    Array(NodeIndex),
    Map(NodeIndex),
    Union(Box<[NodeIndex]>),
    Record(Box<[Field]>),
}

#[derive(Debug)]
struct Field {
    name: Box<[u8]>,
    node: NodeIndex,
}

impl Avro {
    /// Reads a schema; `references` are the texts of those that it refers to, each behind those
    /// that it refers to itself.
    pub(super) fn parse<'t>(
        text: &str,
        references: impl IntoIterator<Item = &'t str>,
    ) -> Result<Self, SchemaError> {
        let mut parser = parse::Parser::default();
        for reference in references {
            parser.parse(reference)?;
        }
        let root = parser.parse(text)?;
        Ok(Self { nodes: parser.into_nodes(), root })
    }

    /// About how many bytes it takes.
    pub(super) fn size_bytes(&self) -> usize {
        let own = self.nodes.len().saturating_mul(size_of::<Node>());
        self.nodes.iter().fold(own, |sum, node| sum.saturating_add(node.size_bytes()))
    }
}

impl Node {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Union(branches) => size_of_val(&**branches),
            Self::Record(fields) => fields
                .iter()
                .fold(size_of_val(&**fields), |sum, field| sum.saturating_add(field.name.len())),
            _ => 0,
        }
    }
}
