//! The targets on their committed corpus and on mutations of it: what a fuzzer does, without one and in seconds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what failed, and fails where its own files do"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use sluicegate::kafka::found::Found;
use sluicegate::kafka::{self, walk};
use sluicegate_fuzz::seeds::{self, Seed};
use sluicegate_fuzz::{TARGETS, Target, canary};

/// How often each input is mutated: a few seconds in all.
const MUTATIONS: usize = 200;

/// How many messages of each API and version there are.
const SEEDS: u32 = 4;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs one input, and prints it where it fails.
fn run(target: Target, input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        println!("{what} fails: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Runs a target on its corpus, and on each file changed here and there.
fn run_corpus(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let files = corpus(name);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (path, input) in &files {
        run(target, input, &path.display().to_string());
        for round in 0..MUTATIONS {
            let other = &files[random.below(files.len())].1;
            let mutated = mutate(input, other, &mut random);
            run(target, &mutated, &format!("{}, mutation {round}", path.display()));
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

/// A few bytes changed, cut, repeated, or taken from another input.
fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // The last byte of the seed: another policy, other pieces.
    bytes.iter_mut().skip(3).take(1).for_each(|byte| *byte = random.below(256).to_le_bytes()[0]);
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(24)).min(bytes.len());
        match random.below(6) {
            0 | 1 => {
                let value = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)];
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
            }
            2 => {
                let bit = 1 << random.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let from = random.below(other.len());
                let until = (from + random.below(64)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn requests() {
    run_corpus("request");
}

#[test]
fn responses() {
    run_corpus("response");
}

#[test]
fn values() {
    run_corpus("value");
}

#[test]
fn batches() {
    run_corpus("batch");
}

#[test]
fn logins() {
    run_corpus("sasl");
}

#[test]
fn the_canary_fails_on_its_fault_and_on_nothing_before() {
    for (path, input) in corpus("canary") {
        run(canary, &input, &path.display().to_string());
    }
    let planted = b"\0\0\0\0\0eggs\0eyJ";
    assert!(catch_unwind(|| canary(planted)).is_err());
}

/// Where `SLUICEGATE_SEEDS` names a folder, the seeds are written there: `docs/FUZZING.md`.
fn run_seeds<S: Iterator<Item = Seed>>(name: &str, seeds: fn(u32) -> S) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let folder =
        std::env::var_os("SLUICEGATE_SEEDS").map(|folder| PathBuf::from(folder).join(name));
    for choice in 0..SEEDS {
        for Seed { name: seed, input } in seeds(choice) {
            run(target, &input, &format!("{name}, {seed} by {choice}"));
            if let Some(folder) = &folder {
                std::fs::create_dir_all(folder).unwrap();
                std::fs::write(folder.join(format!("{seed}-{choice}")), input).unwrap();
            }
        }
    }
}

#[test]
fn requests_of_every_api_and_version() {
    run_seeds("request", seeds::requests);
}

#[test]
fn responses_of_every_api_and_version() {
    run_seeds("response", seeds::responses);
}

#[test]
fn batches_of_every_codec() {
    run_seeds("batch", seeds::batches);
}

#[test]
fn logins_by_every_mechanism() {
    run_seeds("sasl", seeds::logins);
}

/// Seeds are messages: what a target refuses at its door tests nothing.
#[test]
fn seeds_walk() {
    let framed = |content: &[u8]| {
        let size = i32::try_from(content.len()).unwrap();
        [&size.to_be_bytes()[..], content].concat()
    };
    let mut found = Found::default();
    for choice in 0..SEEDS {
        for Seed { name, input } in seeds::requests(choice) {
            let frame = framed(&input[4..]);
            let header = walk::request_header(&frame).unwrap();
            let exchange = kafka::exchange(header.key, header.version).unwrap();
            let walked = walk::request(exchange, &frame, header.body, &mut found);
            assert_eq!((walked, found.trailing), (Ok(()), 0), "{name} by {choice}");
        }
        for Seed { name, input } in seeds::responses(choice) {
            let number = [[input[4], input[5]], [input[6], input[7]]].map(i16::from_be_bytes);
            let exchange = kafka::exchange(number[0], number[1]).unwrap();
            let frame = framed(&input[8..]);
            let (_, body) = walk::response_header(exchange, &frame).unwrap();
            let walked = walk::response(exchange, &frame, body, &mut found);
            assert_eq!(walked, Ok(()), "{name} by {choice}");
        }
    }
}
