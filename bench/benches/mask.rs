//! The masker: three fields in documents of 1 KB, documents without candidates, and what they are
//! held against.

use std::hint::black_box;

use aho_corasick::AhoCorasick;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use secrecy::SecretSlice;
use simd_json::prelude::*;
use sluicegate_actors::masking::detect::DETECTORS;
use sluicegate_actors::masking::{Direction, Keys, MaskPlan, Masked, RulesFile, Scratch, compile};

const LABELS: &str = "
labels:
  pci: { method: keep-last, n: 4 }
  pii: { method: redact }
  id: { method: hash }
rules:
  - topics: [fields]
    fields: { card.number: pci, customer.email: pii, customer.name: pii }
  - topics: [hashed]
    fields: { card.number: id, customer.email: id, customer.name: id }
  - topics: [detected]
    fields: { card.number: pci, customer.email: pii, customer.name: pii }
    detect: { pci: [payment-card], pii: [email] }
";

fn plan(topic: &str) -> MaskPlan {
    plan_of(LABELS, topic)
}

fn plan_of(rules: &str, topic: &str) -> MaskPlan {
    let files = [RulesFile { name: "bench.yaml", text: rules }];
    Keys::new(vec![("bench".to_owned(), SecretSlice::from(vec![7; 32]))])
        .ok()
        .and_then(|keys| compile(&files, &keys).ok())
        .and_then(|rules| rules.plan(topic, Direction::Read, |_| false))
        .unwrap_or_else(|| std::process::abort())
}

/// A payment as services write them; the three fields are in different places.
fn document(with_fields: bool) -> Vec<u8> {
    let (number, email, name) =
        if with_fields { ("number", "email", "name") } else { ("token", "mailbox", "alias") };
    let at = if with_fields { "@" } else { " at " };
    let items: Vec<String> = (0..6)
        .map(|index| {
            format!(
                r#"{{"sku":"SKU-{index}81","title":"Something of middling length {index}","quantity":{index},"price":{}.99}}"#,
                index * 7 + 3
            )
        })
        .collect();
    format!(
        r#"{{"id":"pay_7f3a9c","type":"payment.captured","created":"2026-11-21T21:43:26Z","amount":12999,"currency":"EUR","customer":{{"id":"cus_19","{name}":"Ann Example","{email}":"ann{at}example.com","locale":"de-AT"}},"card":{{"brand":"visa","{number}":"4111111111111111","month":11,"year":2029,"country":"AT"}},"items":[{}],"shipping":{{"street":"Somewhere 17","city":"Graz","postal":"8010","express":false,"notes":null}},"risk":{{"score":0.173,"rules":["velocity","geo"],"review":false}}}}"#,
        items.join(",")
    )
    .into_bytes()
}

fn masks(criterion: &mut Criterion) {
    let document = document(true);
    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Bytes(u64::try_from(document.len()).unwrap_or(0)));
    for topic in ["fields", "hashed", "detected"] {
        let plan = plan(topic);
        let mut scratch = Scratch::new();
        group.bench_function(format!("three fields, {topic}"), |bencher| {
            bencher.iter(|| match plan.mask_value(black_box(&document), &mut scratch) {
                Masked::Changed(masked) => masked.len(),
                _ => std::process::abort(),
            });
        });
    }
    let mut buffers = simd_json::Buffers::new(document.len());
    let mut copy = document.clone();
    group.bench_function("floor: simd-json parses to its tape", |bencher| {
        bencher.iter(|| {
            copy.clone_from(&document);
            simd_json::to_tape(black_box(&mut copy)).map(|tape| tape.0.len()).unwrap_or_default()
        });
    });
    group.bench_function("floor: simd-json parses to a value", |bencher| {
        bencher.iter(|| {
            copy.clone_from(&document);
            simd_json::to_borrowed_value_with_buffers(black_box(&mut copy), &mut buffers).is_ok()
        });
    });
    group.bench_function("floor: serde_json, there and back", |bencher| {
        bencher.iter(|| {
            let mut value: serde_json::Value =
                serde_json::from_slice(black_box(&document)).unwrap_or_default();
            for (object, field) in FIELDS {
                if let Some(field) = value.get_mut(object).and_then(|it| it.get_mut(field)) {
                    *field = serde_json::Value::from("[masked]");
                }
            }
            serde_json::to_vec(&value).map(|bytes| bytes.len()).unwrap_or_default()
        });
    });
    group.bench_function("floor: simd-json, there and back", |bencher| {
        bencher.iter(|| {
            copy.clone_from(&document);
            let read =
                simd_json::to_borrowed_value_with_buffers(black_box(&mut copy), &mut buffers);
            let Ok(mut value) = read else { std::process::abort() };
            for (object, field) in FIELDS {
                if let Some(field) = value.get_mut(object).and_then(|it| it.get_mut(field)) {
                    *field = simd_json::BorrowedValue::from("[masked]");
                }
            }
            value.encode().len()
        });
    });
    group.finish();
}

/// What each detector costs alone, over a document in which it finds nothing, and what it costs where its clue is there: an
/// address, a number of a card.
fn detectors(criterion: &mut Criterion) {
    let (without, with) = (document(false), document(true));
    let mut group = criterion.benchmark_group("detectors");
    group.throughput(Throughput::Bytes(u64::try_from(with.len()).unwrap_or(0)));
    let mut scratch = Scratch::new();
    for detector in DETECTORS {
        let name = detector.name;
        let rules = format!(
            "labels: {{ all: {{ method: redact }} }}\nrules:\n  - {{ topics: [t], detect: {{ all: [{name}] }} }}"
        );
        let plan = plan_of(&rules, "t");
        for (which, document) in [("no clue", &without), ("clues", &with)] {
            group.bench_function(format!("{name}, {which}"), |bencher| {
                bencher.iter(|| plan.mask_value(black_box(document), &mut scratch) == Masked::Null);
            });
        }
    }
    group.finish();
}

fn passes(criterion: &mut Criterion) {
    let document = document(false);
    let mut group = criterion.benchmark_group("mask without candidates");
    group.throughput(Throughput::Bytes(u64::try_from(document.len()).unwrap_or(0)));
    let plan = plan("fields");
    let mut scratch = Scratch::new();
    group.bench_function("three fields", |bencher| {
        bencher.iter(|| plan.mask_value(black_box(&document), &mut scratch) == Masked::Unchanged);
    });
    group.bench_function("floor: memchr finds no backslash", |bencher| {
        bencher.iter(|| memchr::memchr(b'\\', black_box(&document)).is_none());
    });
    let keys = AhoCorasick::new(["number", "email", "name"]);
    let keys = keys.unwrap_or_else(|_| std::process::abort());
    group.bench_function("floor: aho-corasick finds no key", |bencher| {
        bencher.iter(|| keys.find(black_box(&document)).is_none());
    });
    group.bench_function("floor: UTF-8 is checked", |bencher| {
        bencher.iter(|| std::str::from_utf8(black_box(&document)).is_ok());
    });
    group.finish();
}

/// The fields of the plan, one by one.
const FIELDS: [(&str, &str); 3] = [("card", "number"), ("customer", "email"), ("customer", "name")];

criterion_group!(benches, masks, passes, detectors);
criterion_main!(benches);
