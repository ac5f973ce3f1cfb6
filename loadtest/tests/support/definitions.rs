//! Kafka's own definitions of its messages, as its clients' jar has them, and messages written and read by them: independent
//! of the gateway's tables, and of every client.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;

use bytes::{Buf, BufMut, Bytes};
use serde_json::{Map, Value, json};

/// All APIs by key.
pub struct Definitions(BTreeMap<i16, Api>);

/// One API.
pub struct Api {
    pub key: i16,
    pub name: String,
    pub versions: RangeInclusive<i16>,
    flexible_from: i16,
    request: Message,
    response: Message,
}

struct Message {
    fields: Vec<Value>,
    common: BTreeMap<String, Vec<Value>>,
}

/// One field of a request, as it is filled.
pub struct Field<'a> {
    pub name: &'a str,
    /// `topicName`, `groupId`, …, where Kafka says it.
    pub entity: &'a str,
    pub kind: &'a str,
    pub default: Option<&'a str>,
    pub nullable: bool,
    /// What its elements name: as `entity`, of the fields inside.
    pub holds: &'a str,
    /// Names of the fields inside, where it is an array of structures or a structure.
    pub inside: Vec<&'a str>,
    /// The array around it.
    pub around: &'a str,
}

/// What stands in a field.
pub enum Fill {
    Null,
    Number(i64),
    Text(String),
    Id([u8; 16]),
    Bytes(Bytes),
    /// An array with so many elements; each is filled by itself, with its place.
    Elements(usize),
    /// A structure that is there.
    There,
}

/// Fills a request: a field, and the place of each array element around it.
pub trait Filler {
    fn fill(&mut self, field: &Field<'_>, places: &[usize]) -> Fill;
}

impl Definitions {
    /// Reads those of all APIs of brokers' listeners, from an unpacked Kafka.
    pub fn read(home: &Path) -> Self {
        let libraries = std::fs::read_dir(home.join("libs")).unwrap();
        let jar = libraries.map(|entry| entry.unwrap().path()).find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("kafka-clients-") && name.ends_with(".jar")
        });
        let jar = jar.unwrap();
        let output = Command::new("unzip")
            .args(["-p".as_ref(), jar.as_os_str(), "common/message/*.json".as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "unzip {}", jar.display());
        let text = String::from_utf8(output.stdout).unwrap();
        // Comments stand on lines of their own, or behind a field.
        let lines = text.lines().map(|line| match line.split_once("//") {
            Some((before, _)) if !before.contains("\"about\"") => before,
            _ => line,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let (mut requests, mut responses) = (BTreeMap::new(), BTreeMap::new());
        for definition in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let definition = definition.unwrap();
            let Some(key) = definition["apiKey"].as_i64() else { continue };
            if definition["validVersions"] == "none" {
                continue;
            }
            let into = match definition["type"].as_str().unwrap() {
                "request" => &mut requests,
                "response" => &mut responses,
                _ => continue,
            };
            into.insert(i16::try_from(key).unwrap(), definition);
        }
        let apis = requests.into_iter().filter_map(|(key, request)| {
            let response = responses.remove(&key)?;
            let name = request["name"].as_str().unwrap().trim_end_matches("Request").to_owned();
            let flexible = versions(request["flexibleVersions"].as_str());
            let flexible_from = flexible.map_or(i16::MAX, |(from, _)| from);
            let (from, to) = versions(request["validVersions"].as_str()).unwrap();
            let (request, response) = (Message::of(&request), Message::of(&response));
            Some((key, Api { key, name, versions: from..=to, flexible_from, request, response }))
        });
        Self(apis.collect())
    }

    pub fn api(&self, key: i16) -> &Api {
        &self.0[&key]
    }

    /// `None` for an API that this Kafka does not have.
    pub fn find(&self, key: i16) -> Option<&Api> {
        self.0.get(&key)
    }
}

impl Api {
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// A whole frame of a request.
    pub fn request(&self, version: i16, correlation: i32, filler: &mut dyn Filler) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.put_i16(self.key);
        out.put_i16(version);
        out.put_i32(correlation);
        out.put_i16(4);
        out.put_slice(b"test");
        let flexible = self.is_flexible(version);
        if flexible {
            out.put_u8(0);
        }
        let mut writer =
            Writer { message: &self.request, version, flexible, places: Vec::new(), filler };
        writer.structure(&mut out, &self.request.fields, "");
        let size = i32::try_from(out.len() - 4).unwrap();
        out[..4].copy_from_slice(&size.to_be_bytes());
        out
    }

    /// Reads a response's frame, without its length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn response(&self, version: i16, mut frame: Bytes) -> Result<Value, String> {
        if frame.len() < 4 {
            return Err("no header".to_owned());
        }
        frame.advance(4);
        let flexible = self.is_flexible(version);
        if flexible && self.key != 18 {
            frame.advance(1);
        }
        let mut reader = Reader { message: &self.response, version, flexible, bytes: frame };
        let tree = reader.structure(&self.response.fields)?;
        if reader.bytes.is_empty() { Ok(tree) } else { Err("bytes are left over".to_owned()) }
    }
}

impl Message {
    fn of(definition: &Value) -> Self {
        let structures = definition["commonStructs"].as_array().cloned().unwrap_or_default();
        let common = structures.into_iter().map(|shape| {
            (
                shape["name"].as_str().unwrap().to_owned(),
                shape["fields"].as_array().unwrap().clone(),
            )
        });
        Self { fields: definition["fields"].as_array().unwrap().clone(), common: common.collect() }
    }

    fn inside<'a>(&'a self, field: &'a Value, kind: &str) -> Option<&'a [Value]> {
        match field["fields"].as_array() {
            Some(fields) => Some(fields),
            None => self.common.get(kind).map(Vec::as_slice),
        }
    }
}

/// `3+`, `0-12`, `7` or `none`.
fn versions(text: Option<&str>) -> Option<(i16, i16)> {
    let text = text?;
    if text == "none" {
        return None;
    }
    if let Some(from) = text.strip_suffix('+') {
        return Some((from.parse().unwrap(), i16::MAX));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some((from.parse().unwrap(), to.parse().unwrap()))
}

/// What structures of these fields name.
fn holds(fields: &[Value]) -> &str {
    let entities = ["topicName", "groupId", "transactionalId"];
    let named = |entity: &&str| fields.iter().any(|field| field["entityType"] == **entity);
    let by_id = fields.iter().any(|field| field["name"] == "TopicId");
    entities.into_iter().find(named).unwrap_or(if by_id { "topicName" } else { "" })
}

fn has(field: &Value, which: &str, version: i16) -> bool {
    versions(field[which].as_str()).is_some_and(|(from, to)| (from..=to).contains(&version))
}

struct Writer<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    places: Vec<usize>,
    filler: &'a mut dyn Filler,
}

impl Writer<'_> {
    fn structure(&mut self, out: &mut Vec<u8>, fields: &[Value], around: &str) {
        for field in fields {
            // Tagged fields keep their defaults.
            if has(field, "versions", self.version) && !has(field, "taggedVersions", self.version) {
                self.field(out, field, around);
            }
        }
        if self.flexible {
            out.put_u8(0);
        }
    }

    fn field(&mut self, out: &mut Vec<u8>, field: &Value, around: &str) {
        let message = self.message;
        let kind = field["type"].as_str().unwrap();
        let element = kind.strip_prefix("[]");
        let fields = message.inside(field, element.unwrap_or(kind));
        let name = field["name"].as_str().unwrap();
        let told = Field {
            name,
            entity: field["entityType"].as_str().unwrap_or_default(),
            kind,
            default: field["default"].as_str(),
            nullable: has(field, "nullableVersions", self.version),
            holds: fields.map(holds).unwrap_or_default(),
            inside: fields
                .unwrap_or_default()
                .iter()
                .filter_map(|it| it["name"].as_str())
                .collect(),
            around,
        };
        let fill = self.filler.fill(&told, &self.places);
        let Some(element) = element else {
            return match (fields, fill) {
                (Some(_), Fill::Null) => out.put_i8(-1),
                (Some(fields), _) => {
                    if told.nullable {
                        out.put_i8(1);
                    }
                    self.structure(out, fields, name);
                }
                (None, fill) => self.value(out, kind, fill),
            };
        };
        let Fill::Elements(count) = fill else { return self.count(out, None, 4) };
        self.count(out, Some(count), 4);
        for place in 0..count {
            self.places.push(place);
            match fields {
                Some(fields) => self.structure(out, fields, name),
                None => {
                    let told = Field {
                        name,
                        entity: told.entity,
                        holds: "",
                        around,
                        kind: element,
                        inside: Vec::new(),
                        default: None,
                        nullable: false,
                    };
                    let fill = self.filler.fill(&told, &self.places);
                    self.value(out, element, fill);
                }
            }
            self.places.pop();
        }
    }

    fn value(&self, out: &mut Vec<u8>, kind: &str, fill: Fill) {
        match (kind, fill) {
            ("bool" | "int8", Fill::Number(number)) => out.put_i8(number as i8),
            ("int16" | "uint16", Fill::Number(number)) => out.put_i16(number as i16),
            ("int32" | "uint32", Fill::Number(number)) => out.put_i32(number as i32),
            ("int64", Fill::Number(number)) => out.put_i64(number),
            ("float64", Fill::Number(number)) => out.put_f64(number as f64),
            ("uuid", Fill::Id(id)) => out.put_slice(&id),
            ("string", Fill::Text(text)) => {
                self.count(out, Some(text.len()), 2);
                out.put_slice(text.as_bytes());
            }
            ("string", Fill::Null) => self.count(out, None, 2),
            ("bytes" | "records", Fill::Bytes(bytes)) => {
                self.count(out, Some(bytes.len()), 4);
                out.put_slice(&bytes);
            }
            ("bytes" | "records", Fill::Null) => self.count(out, None, 4),
            (kind, _) => panic!("what a {kind} is filled with is none"),
        }
    }

    fn count(&self, out: &mut Vec<u8>, count: Option<usize>, classic: usize) {
        if self.flexible {
            let mut rest = count.map_or(0, |count| count + 1);
            while rest >= 0x80 {
                out.put_u8(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.put_u8(rest as u8);
        } else if classic == 2 {
            out.put_i16(count.map_or(-1, |count| count as i16));
        } else {
            out.put_i32(count.map_or(-1, |count| count as i32));
        }
    }
}

struct Reader<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    bytes: Bytes,
}

impl Reader<'_> {
    fn structure(&mut self, fields: &[Value]) -> Result<Value, String> {
        let mut out = Map::new();
        let version = self.version;
        for field in fields.iter().filter(|field| has(field, "versions", version)) {
            if !has(field, "taggedVersions", self.version) {
                let name = field["name"].as_str().unwrap();
                out.insert(
                    name.to_owned(),
                    self.field(field).map_err(|it| format!("{name}: {it}"))?,
                );
            }
        }
        if self.flexible {
            for _ in 0..self.varint()? {
                let (tag, size) = (self.varint()?, self.varint()?);
                let content = self.take(size)?;
                let known = fields.iter().find(|field| {
                    field["tag"].as_u64() == Some(tag as u64)
                        && has(field, "taggedVersions", self.version)
                });
                let Some(field) = known else { return Err(format!("unknown tag {tag}")) };
                let bytes = std::mem::replace(&mut self.bytes, content);
                out.insert(field["name"].as_str().unwrap().to_owned(), self.field(field)?);
                self.bytes = bytes;
            }
        }
        Ok(Value::Object(out))
    }

    fn field(&mut self, field: &Value) -> Result<Value, String> {
        let message = self.message;
        let kind = field["type"].as_str().unwrap();
        let nullable = has(field, "nullableVersions", self.version);
        if let Some(element) = kind.strip_prefix("[]") {
            let Some(count) = self.count(4)? else { return Ok(Value::Null) };
            if count > self.bytes.len() {
                return Err(format!("{count} elements in {} bytes", self.bytes.len()));
            }
            let fields = message.inside(field, element);
            let elements = (0..count).map(|_| match fields {
                Some(fields) => self.structure(fields),
                None => self.value(element),
            });
            return Ok(Value::Array(elements.collect::<Result<_, _>>()?));
        }
        match message.inside(field, kind) {
            Some(fields) if nullable => match self.take(1)?[0] {
                1 => self.structure(fields),
                _ => Ok(Value::Null),
            },
            Some(fields) => self.structure(fields),
            None => self.value(kind),
        }
    }

    fn value(&mut self, kind: &str) -> Result<Value, String> {
        Ok(match kind {
            "bool" | "int8" => json!(self.take(1)?.get_i8()),
            "int16" => json!(self.take(2)?.get_i16()),
            "uint16" => json!(self.take(2)?.get_u16()),
            "int32" => json!(self.take(4)?.get_i32()),
            "uint32" => json!(self.take(4)?.get_u32()),
            "int64" => json!(self.take(8)?.get_i64()),
            "float64" => json!(self.take(8)?.get_f64()),
            "uuid" => json!(uuid::Uuid::from_slice(&self.take(16)?).unwrap().to_string()),
            "string" => match self.count(2)? {
                Some(size) => json!(String::from_utf8_lossy(&self.take(size)?)),
                None => Value::Null,
            },
            "bytes" | "records" => match self.count(4)? {
                Some(size) => json!(format!("{:?}", self.take(size)?)),
                None => Value::Null,
            },
            other => return Err(format!("no type {other}")),
        })
    }

    fn count(&mut self, classic: usize) -> Result<Option<usize>, String> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1));
        }
        let count = match classic {
            2 => i32::from(self.take(2)?.get_i16()),
            _ => self.take(4)?.get_i32(),
        };
        Ok(usize::try_from(count).ok())
    }

    fn varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn take(&mut self, size: usize) -> Result<Bytes, String> {
        if size > self.bytes.len() {
            return Err(format!("{size} bytes where {} are left", self.bytes.len()));
        }
        Ok(self.bytes.split_to(size))
    }
}
