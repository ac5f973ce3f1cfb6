//! The tables against Kafka's own message definitions, where a Kafka is at hand.
//!
//! `SLUICEGATE_KAFKA_HOME` names an unpacked Apache Kafka; its clients' jar holds the definitions,
//! which `unzip` reads.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::*;
use crate::kafka::APIS;

#[test]
fn tables_match_kafkas_definitions() {
    let Some(jar) = clients_jar() else {
        println!("skipped: SLUICEGATE_KAFKA_HOME does not name an unpacked Apache Kafka");
        return;
    };
    let mut fields = 0;
    for api in &APIS {
        for (direction, table) in [("Request", api.request), ("Response", api.response)] {
            let definition = definition(&jar, &format!("{}{direction}", api.name));
            let what = format!("{}{direction}", api.name);
            assert_eq!(definition["apiKey"], api.key, "{what}");
            let valid = versions(&definition["validVersions"]);
            assert_eq!(valid.to, api.known.to, "{what}: last version");
            assert!(valid.from <= api.carried.from, "{what}: first version");
            let flexible = versions(&definition["flexibleVersions"]);
            let flexible = if flexible.is_empty() { i16::MAX } else { flexible.from };
            assert_eq!(flexible, api.flexible_from, "{what}: first flexible version");
            let common = definition["commonStructs"].as_array().cloned().unwrap_or_default();
            fields += compare(&what, table, &definition["fields"], &common, valid);
        }
    }
    println!("{fields} fields of {} apis match {}", APIS.len(), jar.display());
    assert!(fields > 400, "{fields}");
}

/// Compares fields one by one, within the versions that exist; how many there were.
fn compare(
    what: &str,
    table: &[Field],
    fields: &Value,
    common: &[Value],
    valid: Versions,
) -> usize {
    let fields = fields.as_array().unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(table.iter().map(|field| field.name).collect::<Vec<_>>(), names, "{what}");
    let mut count = fields.len();
    for (ours, theirs) in table.iter().zip(fields) {
        let what = format!("{what}.{}", ours.name);
        let present = versions(&theirs["versions"]).intersect(valid);
        assert_eq!(ours.versions.intersect(valid), present, "{what}: versions");
        let same = |ours: Versions, theirs: Versions, which: &str| {
            let (ours, theirs) = (ours.intersect(present), theirs.intersect(present));
            assert!(ours == theirs || ours.is_empty() && theirs.is_empty(), "{what}: {which}");
        };
        same(ours.nullable, versions(&theirs["nullableVersions"]), "nullable");
        same(ours.tagged, versions(&theirs["taggedVersions"]), "tagged");
        assert_eq!(ours.tag.map(i64::from), theirs["tag"].as_i64(), "{what}: tag");
        let kind = theirs["type"].as_str().unwrap();
        let (is_array, element) = match kind.strip_prefix("[]") {
            Some(element) => (true, element),
            None => (false, kind),
        };
        let nested = match ours.kind {
            Kind::Array(_, fields) if is_array => Some(fields),
            Kind::Structure(fields) if !is_array => Some(fields),
            ours => {
                assert_eq!(type_name(ours), kind, "{what}: type");
                None
            }
        };
        if let Some(nested) = nested {
            let shared = common.iter().find(|shape| shape["name"] == element);
            let fields = if theirs["fields"].is_array() {
                &theirs["fields"]
            } else {
                &shared.unwrap_or_else(|| panic!("{what}: no structure {element}"))["fields"]
            };
            count += compare(&what, nested, fields, common, present);
        }
    }
    count
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Uint16 => "uint16",
        Kind::Int32 => "int32",
        Kind::Uint32 => "uint32",
        Kind::Int64 => "int64",
        Kind::Float64 => "float64",
        Kind::Uuid => "uuid",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Records => "records",
        Kind::Int32s(_) => "[]int32",
        Kind::Numbers(1) => "[]int8",
        Kind::Numbers(2) => "[]int16",
        Kind::Numbers(_) => "[]int64",
        Kind::Strings(_) => "[]string",
        Kind::Structure(_) => "structure",
        Kind::Array(..) => "[]structure",
    }
}

/// Kafka writes `3+`, `0-12`, `7` or `none`; what is absent is none.
fn versions(text: &Value) -> Versions {
    let text = text.as_str().unwrap_or("none");
    let number = |text: &str| text.parse::<i16>().unwrap();
    if text == "none" {
        Versions::NONE
    } else if let Some(from) = text.strip_suffix('+') {
        Versions::new(number(from), i16::MAX)
    } else if let Some((from, to)) = text.split_once('-') {
        Versions::new(number(from), number(to))
    } else {
        Versions::new(number(text), number(text))
    }
}

fn clients_jar() -> Option<PathBuf> {
    let home = std::env::var_os("SLUICEGATE_KAFKA_HOME")?;
    let libraries = std::fs::read_dir(PathBuf::from(home).join("libs")).ok()?;
    libraries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("kafka-clients-") && name.ends_with(".jar")
    })
}

fn definition(jar: &PathBuf, name: &str) -> Value {
    let inside = format!("common/message/{name}.json");
    let output = Command::new("unzip").arg("-p").arg(jar).arg(&inside).output().unwrap();
    assert!(output.status.success(), "{inside} in {}", jar.display());
    let text = String::from_utf8(output.stdout).unwrap();
    // The definitions carry comments, each on its own line or behind a field.
    let lines = text.lines().map(|line| match line.split_once("//") {
        Some((before, _)) if !before.contains("\"about\"") => before,
        _ => line,
    });
    let text: String = lines.collect::<Vec<_>>().join("\n");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{inside}: {error}"))
}
