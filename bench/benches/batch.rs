//! Batches under a plan: each codec masked, beside decompressing and compressing the same bytes
//! with it.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::kafka::batch::codec::Codecs;
use sluicegate::kafka::batch::rewrite::{BatchRewrite, Edit, Edited, Output, Part, Step};
use sluicegate::kafka::batch::write::{NewBatch, NewRecord};
use sluicegate::kafka::batch::{Batches, Codec};
use sluicegate::path::mask::{MaskBuffers, Progress, RecordsMask, Screen};
use sluicegate::path::schemas::Schemas;
use sluicegate_actors::masking::{Direction, Keys, MaskPlan, RulesFile, compile};

const RULES: &str = "
labels: { pci: { method: keep-last, n: 4 }, pii: { method: redact } }
rules:
  - topics: [t]
    fields: { card.number: pci, customer.email: pii, customer.name: pii }
";
const RECORDS: i32 = 64;

/// Replaces the first value by itself: a batch goes through its codec both ways, and nothing else
/// is done to it.
struct Touch {
    value: Vec<u8>,
    done: bool,
}

impl Edit for Touch {
    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        if self.done || part != Part::Value {
            return Edited::Kept;
        }
        self.done = true;
        self.value.clear();
        self.value.extend_from_slice(bytes);
        Edited::Bytes(&self.value)
    }
}

fn plan() -> MaskPlan {
    let files = [RulesFile { name: "bench.yaml", text: RULES }];
    compile(&files, &Keys::default())
        .ok()
        .and_then(|rules| rules.plan("t", Direction::Read, |_| false))
        .unwrap_or_else(|| std::process::abort())
}

fn batch(codec: Codec) -> Bytes {
    let records: Vec<NewRecord> = (0..RECORDS)
        .map(|index| {
            let value = format!(
                r#"{{"id":"pay_{index}","created":"2026-11-21T21:43:{:02}Z","amount":{},"customer":{{"name":"Ann {index}","email":"ann{index}@example.com"}},"card":{{"brand":"visa","number":"411111111111{:04}"}},"text":"{}"}}"#,
                index % 60,
                index * 1_317,
                index * 31,
                "Some words that repeat as words do, and others. ".repeat(16),
            );
            NewRecord {
                offset_delta: index,
                key: Some(format!("key-{index}").into_bytes()),
                value: Some(value.into_bytes()),
                ..NewRecord::default()
            }
        })
        .collect();
    NewBatch { codec, ..NewBatch::default() }
        .write(&records, &mut Codecs::new())
        .unwrap_or_else(|_| std::process::abort())
}

fn through(
    codecs: &mut Codecs,
    bytes: &Bytes,
    edit: &mut impl Edit,
    written: &mut Vec<u8>,
) -> usize {
    let batch =
        Batches::new(bytes).next().and_then(Result::ok).unwrap_or_else(|| std::process::abort());
    let mut rewrite =
        BatchRewrite::start(codecs, &batch, 32 << 20).unwrap_or_else(|_| std::process::abort());
    written.clear();
    let mut output = Output { written, ahead: &[] };
    loop {
        match rewrite.step(codecs, edit, &mut output) {
            Ok(Step::More) => {}
            Ok(Step::Changed) => return output.written.len(),
            Ok(Step::Unchanged) => return bytes.len(),
            Err(_) => std::process::abort(),
        }
    }
}

fn codecs(criterion: &mut Criterion) {
    let screen = Screen::from(plan());
    let mut group = criterion.benchmark_group("batch");
    let plain = batch(Codec::None).len();
    group.throughput(Throughput::Bytes(u64::try_from(plain).unwrap_or(0)));
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = batch(codec);
        let (mut codecs, mut written) = (Codecs::new(), Vec::new());
        let mut touch = Touch { value: Vec::new(), done: false };
        group.bench_function(format!("{codec}, through its codec"), |bencher| {
            bencher.iter(|| {
                touch.done = false;
                through(&mut codecs, black_box(&bytes), &mut touch, &mut written)
            });
        });
        let (mut buffers, mut storage) = (MaskBuffers::new(), Vec::new());
        group.bench_function(format!("{codec}, three fields masked"), |bencher| {
            bencher.iter(|| {
                // Storage goes round, as on the path.
                let mut mask = RecordsMask::new(black_box(&bytes), std::mem::take(&mut storage));
                let mut schemas = Schemas::default();
                storage = loop {
                    match mask.step(&screen, &mut buffers, &mut schemas) {
                        Ok(Progress::More) => {}
                        Ok(Progress::Done(masked)) => break masked.written,
                        Ok(Progress::Waits | Progress::Behind) | Err(_) => std::process::abort(),
                    }
                };
                storage.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codecs);
criterion_main!(benches);
