use std::net::TcpListener;

use super::*;
use crate::broker::{self, Contents};
use crate::requests::batch;

fn load(work: Work) -> Load {
    Load {
        work,
        connections: 2,
        depth: 3,
        rate: None,
        warm_up: Duration::from_millis(20),
        duration: Duration::from_millis(200),
        topic: "load".to_owned(),
        partitions: 2,
        record_bytes: 100,
        batch_records: 10,
        fetch_bytes: 10_000,
        acks: 1,
    }
}

fn null_broker() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let contents = Contents {
        topics: vec!["load".to_owned()],
        partitions: 2,
        record_bytes: 100,
        batch_records: 10,
        value: None,
        batch: None,
        advertised: address,
    };
    std::thread::spawn(move || broker::run(&listener, contents));
    let login = PlainLogin { username: "u".to_owned(), password: "p".to_owned() };
    Target { name: "null".to_owned(), address, login: Some(login), pid: Some(std::process::id()) }
}

#[test]
fn every_kind_of_work_runs_against_the_null_broker() {
    let target = null_broker();
    for work in [Work::Produce, Work::Consume, Work::ListOffsets, Work::Metadata] {
        let run = run(&target, &load(work)).unwrap();
        assert!(run.requests > 0, "{work:?}");
        assert_eq!(run.latency_ns.len(), run.requests, "{work:?}");
        assert!(run.bytes / run.requests >= 20, "{work:?}: {run:?}");
        assert!(run.resident_bytes_max.unwrap() > 0, "{work:?}");
    }
}

#[test]
fn a_refused_request_ends_the_run_with_its_error() {
    let target = null_broker();
    let refused = Load { topic: "other".to_owned(), ..load(Work::Produce) };
    let error = run(&target, &refused).unwrap_err();
    assert!(error.to_string().contains("error 3"), "{error:#}");
}

#[test]
fn a_rate_is_kept() {
    let target = null_broker();
    let paced = Load {
        rate: Some(500),
        depth: 1,
        duration: Duration::from_secs(1),
        ..load(Work::ListOffsets)
    };
    let run = run(&target, &paced).unwrap();
    // A busy machine may bring fewer, never more than were due (and those of the warm-up that it caught up with).
    assert!((100..=520).contains(&run.requests), "{run:?}");
}

#[test]
fn the_next_offset_is_behind_the_last_whole_batch() {
    let one = batch([vec![1], vec![2], vec![3]]).unwrap();
    let mut second = one.to_vec();
    second[..8].copy_from_slice(&3_i64.to_be_bytes());
    let both = [&one[..], &second[..]].concat();
    for (records, wanted) in [
        (&[][..], None),
        (&one[..], Some(3)),
        (&both[..], Some(6)),
        (&both[..both.len() - 1], Some(3)),
        (&one[..20], None),
    ] {
        assert_eq!(lane::next_offset(records), wanted);
    }
}
