//! Random messages for tests: trees made from the field tables, their bytes, and what they name.

use crate::kafka::schema::{Field, Kind, List, Meaning};
use crate::kafka::{APIS, Exchange, exchange};

/// A request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Direction {
    Request,
    Response,
}

/// A message as a tree.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::kafka) enum Node {
    Number { size: usize, value: i64, meaning: Meaning },
    Id { id: [u8; 16], meaning: Meaning },
    Text { text: Option<String>, meaning: Meaning },
    Blob { bytes: Option<Vec<u8>>, meaning: Meaning },
    Structure { fields: Vec<Node>, tagged: Vec<(u32, Node)> },
    Optional(Option<Box<Node>>),
    Array { list: List, elements: Option<Vec<Node>> },
}

/// What a message names, in wire order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Named {
    pub(in crate::kafka) topics: Vec<NamedTopic>,
    pub(in crate::kafka) groups: Vec<String>,
    pub(in crate::kafka) keys: Vec<String>,
    pub(in crate::kafka) endpoints: Vec<(i64, String, i64)>,
}

/// One topic with its partitions: index, error code, records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kafka) struct NamedTopic {
    pub(in crate::kafka) list: Option<List>,
    pub(in crate::kafka) name: Option<String>,
    pub(in crate::kafka) id: Option<[u8; 16]>,
    pub(in crate::kafka) error: i64,
    pub(in crate::kafka) partitions: Vec<(i64, i64, Option<Vec<u8>>)>,
}

/// A deterministic source of randomness (xorshift64*).
pub(in crate::kafka) struct Random(u64);

/// Every exchange of the table.
pub(in crate::kafka) fn exchanges() -> impl Iterator<Item = &'static Exchange> {
    APIS.iter()
        .flat_map(|api| (0..=api.carried.to).filter_map(|version| exchange(api.key, version)))
}

/// A random message.
pub(in crate::kafka) fn message(
    exchange: &Exchange,
    direction: Direction,
    random: &mut Random,
) -> Node {
    let fields = match direction {
        Direction::Request => exchange.api.request,
        Direction::Response => exchange.api.response,
    };
    structure(fields, exchange, random)
}

/// The frame around a message, and where the body starts.
pub(in crate::kafka) fn frame(
    exchange: &Exchange,
    direction: Direction,
    node: &Node,
) -> (Vec<u8>, usize) {
    let mut out = vec![0; 4];
    match direction {
        Direction::Request => {
            out.extend(exchange.api.key.to_be_bytes());
            out.extend(exchange.version.to_be_bytes());
            out.extend(7_i32.to_be_bytes());
            out.extend(b"\0\x06client");
            if exchange.is_flexible() {
                // An unknown tagged field, which has to be passed over.
                out.extend(b"\x01\x05\x02ab");
            }
        }
        Direction::Response => {
            out.extend(7_i32.to_be_bytes());
            if exchange.response_header_flexible() {
                out.push(0);
            }
        }
    }
    let body = out.len();
    encode(node, exchange.is_flexible(), &mut out);
    let size = i32::try_from(out.len() - 4).unwrap();
    out[..4].copy_from_slice(&size.to_be_bytes());
    (out, body)
}

/// The bytes of a tree.
pub(in crate::kafka) fn encode(node: &Node, flexible: bool, out: &mut Vec<u8>) {
    match node {
        Node::Number { size, value, .. } => out.extend(&value.to_be_bytes()[8 - size..]),
        Node::Id { id, .. } => out.extend(id),
        Node::Text { text, .. } => {
            let size = text.as_ref().map(String::len);
            if flexible {
                varint(out, size.map_or(0, |size| size + 1));
            } else {
                let size = size.map_or(-1, |size| i16::try_from(size).unwrap());
                out.extend(size.to_be_bytes());
            }
            out.extend(text.as_deref().unwrap_or_default().as_bytes());
        }
        Node::Blob { bytes, .. } => {
            count(out, flexible, bytes.as_ref().map(Vec::len));
            out.extend(bytes.as_deref().unwrap_or_default());
        }
        Node::Structure { fields, tagged } => {
            for field in fields {
                encode(field, flexible, out);
            }
            if flexible {
                varint(out, tagged.len());
                for (tag, node) in tagged {
                    let mut body = Vec::new();
                    encode(node, flexible, &mut body);
                    varint(out, usize::try_from(*tag).unwrap());
                    varint(out, body.len());
                    out.extend(body);
                }
            }
        }
        Node::Optional(node) => {
            out.push(if node.is_some() { 1 } else { 0xff });
            if let Some(node) = node {
                encode(node, flexible, out);
            }
        }
        Node::Array { elements, .. } => {
            count(out, flexible, elements.as_ref().map(Vec::len));
            for element in elements.iter().flatten() {
                encode(element, flexible, out);
            }
        }
    }
}

/// What a tree names, found by walking the tree and not its bytes.
pub(in crate::kafka) fn named(node: &Node) -> Named {
    let mut named = Named::default();
    collect(node, None, &mut named);
    named
}

impl Node {
    /// The elements of the first array of that kind.
    pub(in crate::kafka) fn elements_mut(&mut self, wanted: List) -> Option<&mut Vec<Node>> {
        match self {
            Node::Array { list, elements } => {
                if *list == wanted {
                    return elements.as_mut();
                }
                elements.iter_mut().flatten().find_map(|node| node.elements_mut(wanted))
            }
            Node::Structure { fields, tagged } => {
                let tagged = tagged.iter_mut().map(|(_, node)| node);
                fields.iter_mut().chain(tagged).find_map(|node| node.elements_mut(wanted))
            }
            Node::Optional(Some(node)) => node.elements_mut(wanted),
            _ => None,
        }
    }

    /// Every string with that meaning.
    pub(in crate::kafka) fn texts_mut<'a>(
        &'a mut self,
        wanted: Meaning,
        out: &mut Vec<&'a mut Option<String>>,
    ) {
        match self {
            Node::Text { text, meaning } if *meaning == wanted => out.push(text),
            Node::Structure { fields, tagged } => {
                fields.iter_mut().for_each(|node| node.texts_mut(wanted, out));
                tagged.iter_mut().for_each(|(_, node)| node.texts_mut(wanted, out));
            }
            Node::Array { elements, .. } => {
                elements.iter_mut().flatten().for_each(|node| node.texts_mut(wanted, out));
            }
            Node::Optional(Some(node)) => node.texts_mut(wanted, out),
            _ => {}
        }
    }

    /// Every blob with that meaning.
    pub(in crate::kafka) fn blobs_mut<'a>(
        &'a mut self,
        wanted: Meaning,
        out: &mut Vec<&'a mut Option<Vec<u8>>>,
    ) {
        match self {
            Node::Blob { bytes, meaning } if *meaning == wanted => out.push(bytes),
            Node::Structure { fields, tagged } => {
                fields.iter_mut().for_each(|node| node.blobs_mut(wanted, out));
                tagged.iter_mut().for_each(|(_, node)| node.blobs_mut(wanted, out));
            }
            Node::Array { elements, .. } => {
                elements.iter_mut().flatten().for_each(|node| node.blobs_mut(wanted, out));
            }
            Node::Optional(Some(node)) => node.blobs_mut(wanted, out),
            _ => {}
        }
    }
}

impl Random {
    pub(in crate::kafka) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(in crate::kafka) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(in crate::kafka) fn below(&mut self, limit: u64) -> usize {
        usize::try_from((self.next() >> 20) % limit).unwrap()
    }

    fn text(&mut self) -> String {
        let sizes = [1, 3, 12, 40, 200];
        let size = sizes[self.below(5)];
        let letters = ['a', 'Z', '0', '.', '_', '-', 'é', '日'];
        (0..size).map(|_| letters[self.below(8)]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let sizes = [0, 1, 61, 127, 128, 900];
        let size = sizes[self.below(6)];
        (0..size).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

fn structure(fields: &[Field], exchange: &Exchange, random: &mut Random) -> Node {
    let version = exchange.version;
    let (mut plain, mut tagged) = (Vec::new(), Vec::new());
    for field in fields.iter().filter(|field| field.versions.contains(version)) {
        if !field.is_tagged(version) {
            plain.push(value(field, exchange, random, false));
        } else if random.below(2) == 0 {
            tagged.push((field.tag.unwrap(), value(field, exchange, random, true)));
        }
    }
    tagged.sort_by_key(|(tag, _)| *tag);
    Node::Structure { fields: plain, tagged }
}

/// A random value; of a tagged field never the default, which Kafka leaves out.
fn value(field: &Field, exchange: &Exchange, random: &mut Random, tagged: bool) -> Node {
    let null = field.nullable.contains(exchange.version) && !tagged && random.below(4) == 0;
    let meaning = field.meaning;
    let number = |size, value| Node::Number { size, value, meaning };
    let small = |random: &mut Random| i64::try_from(random.below(100)).unwrap() + 1;
    let array = |list, elements: Vec<Node>| Node::Array {
        list,
        elements: if null { None } else { Some(elements) },
    };
    let count = if null { 0 } else { random.below(3) + usize::from(tagged) };
    match field.kind {
        Kind::Bool => number(1, if tagged { 1 } else { small(random) % 2 }),
        Kind::Int8 => number(1, small(random)),
        Kind::Int16 | Kind::Uint16 => number(2, small(random)),
        Kind::Int32 | Kind::Uint32 => number(4, small(random)),
        Kind::Int64 | Kind::Float64 => number(8, small(random)),
        Kind::Uuid => {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&random.next().to_be_bytes());
            Node::Id { id, meaning }
        }
        Kind::String => Node::Text { text: if null { None } else { Some(random.text()) }, meaning },
        Kind::Bytes | Kind::Records => {
            Node::Blob { bytes: if null { None } else { Some(random.bytes()) }, meaning }
        }
        Kind::Structure(fields) if field.nullable.contains(exchange.version) => {
            let node = (!null).then(|| Box::new(structure(fields, exchange, random)));
            Node::Optional(node)
        }
        Kind::Structure(fields) => structure(fields, exchange, random),
        Kind::Array(list, fields) => {
            array(list, (0..count).map(|_| structure(fields, exchange, random)).collect())
        }
        Kind::Int32s(list) => {
            let meaning =
                if list == List::Partitions { Meaning::PartitionIndex } else { Meaning::Nothing };
            let element =
                |random: &mut Random| Node::Number { size: 4, value: small(random), meaning };
            array(list, (0..count).map(|_| element(random)).collect())
        }
        Kind::Numbers(size) => {
            let meaning = Meaning::Nothing;
            let element =
                |random: &mut Random| Node::Number { size, value: small(random), meaning };
            array(List::Plain, (0..count).map(|_| element(random)).collect())
        }
        Kind::Strings(list) => {
            let meaning = match list {
                List::Groups => Meaning::GroupId,
                List::Keys => Meaning::Key,
                List::Topics | List::SubscribedTopics => Meaning::TopicName,
                _ => Meaning::Nothing,
            };
            let element = |random: &mut Random| Node::Text { text: Some(random.text()), meaning };
            array(list, (0..count).map(|_| element(random)).collect())
        }
    }
}

fn collect(node: &Node, inside: Option<List>, named: &mut Named) {
    let partition = inside == Some(List::Partitions);
    match node {
        Node::Number { value, meaning, .. } => match (meaning, inside) {
            (Meaning::PartitionIndex, _) => {
                named.topics.last_mut().unwrap().partitions.last_mut().unwrap().0 = *value;
            }
            (Meaning::ErrorCode, _) if partition => {
                named.topics.last_mut().unwrap().partitions.last_mut().unwrap().1 = *value;
            }
            (Meaning::ErrorCode, Some(list)) if is_topic(list) => {
                named.topics.last_mut().unwrap().error = *value;
            }
            (Meaning::NodeId, None) => named.endpoints.push((*value, String::new(), 0)),
            (Meaning::NodeId, Some(List::Endpoints)) => {
                named.endpoints.last_mut().unwrap().0 = *value;
            }
            (Meaning::Port, None | Some(List::Endpoints)) => {
                named.endpoints.last_mut().unwrap().2 = *value;
            }
            _ => {}
        },
        Node::Id { id, meaning } => {
            if *meaning == Meaning::TopicId {
                named.topics.last_mut().unwrap().id = Some(*id);
            }
        }
        Node::Text { text, meaning } => match (meaning, inside) {
            (Meaning::TopicName, _) => named.topics.last_mut().unwrap().name.clone_from(text),
            (Meaning::GroupId, _) => named.groups.push(text.clone().unwrap_or_default()),
            (Meaning::Key, None) => named.keys.push(text.clone().unwrap()),
            (Meaning::Key, Some(List::Keys)) => {
                *named.keys.last_mut().unwrap() = text.clone().unwrap_or_default();
            }
            (Meaning::Host, _) => {
                named.endpoints.last_mut().unwrap().1 = text.clone().unwrap();
            }
            _ => {}
        },
        Node::Blob { bytes, meaning } => {
            if *meaning == Meaning::Records {
                let topic = named.topics.last_mut().unwrap();
                topic.partitions.last_mut().unwrap().2.clone_from(bytes);
            }
        }
        Node::Structure { fields, tagged } => {
            fields.iter().for_each(|node| collect(node, inside, named));
            tagged.iter().for_each(|(_, node)| collect(node, inside, named));
        }
        Node::Optional(node) => {
            node.iter().for_each(|node| collect(node, inside, named));
        }
        Node::Array { list, elements } => {
            for element in elements.iter().flatten() {
                if is_topic(*list) {
                    named.topics.push(NamedTopic { list: Some(*list), ..NamedTopic::default() });
                } else if *list == List::Partitions {
                    named.topics.last_mut().unwrap().partitions.push((0, 0, None));
                } else if *list == List::Endpoints {
                    named.endpoints.push((0, String::new(), 0));
                } else if *list == List::Keys {
                    named.keys.push(String::new());
                }
                collect(element, Some(*list), named);
            }
        }
    }
}

fn is_topic(list: List) -> bool {
    use List as L;
    matches!(
        list,
        L::Topics
            | L::ForgottenTopics
            | L::SubscribedTopics
            | L::OwnedTopics
            | L::AssignedTopics
            | L::TargetTopics
    )
}

fn count(out: &mut Vec<u8>, flexible: bool, count: Option<usize>) {
    if flexible {
        varint(out, count.map_or(0, |count| count + 1));
    } else {
        let count = count.map_or(-1, |count| i32::try_from(count).unwrap());
        out.extend(count.to_be_bytes());
    }
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}
