use std::fs;

use serde_json::json;

use super::super::drain::{Store, StoreOptions};
use super::super::samples;
use super::super::writer::{Durability, SegmentWriter};
use super::*;

fn store(data: &Path) -> Store {
    Store::open(StoreOptions {
        data: data.to_owned(),
        gateway: [7; 16],
        durability: Durability::Process,
    })
    .unwrap()
}

/// What a log says of itself, to be compared.
fn contents(log: &RecordLog) -> String {
    let sessions = log.sessions().unwrap();
    let mut text = format!("{sessions:?}");
    for session in sessions {
        for entry in log.timeline(SessionId::parse(&session.session).unwrap()).unwrap() {
            text.push_str(&format!("{:?}\n", entry.unwrap()));
        }
    }
    text
}

#[test]
fn a_session_reads_the_same_with_and_without_an_index_and_half_drained() {
    let data = tempfile::tempdir().unwrap();
    samples::write_log(data.path(), 1);
    let without = contents(&RecordLog::open(data.path()).unwrap());
    let mut store = store(data.path());
    while store.drain_once().unwrap().more {}
    // The gateway is running: the index is open elsewhere.
    assert_eq!(contents(&RecordLog::open(data.path()).unwrap()), without);
    let (mut writer, _) =
        SegmentWriter::<fs::File>::open(samples::options(data.path(), 2)).unwrap();
    samples::append(&mut writer, &samples::sample(1, 40, 0), &[]).unwrap();
    writer.flush().unwrap();
    let newest = RecordLog::open(data.path()).unwrap();
    let timeline = newest.timeline(SessionId([1; 16])).unwrap();
    assert!(timeline.map(Result::unwrap).any(|timed| timed.entry.connection.0 == 40));
    let half = contents(&newest);
    while store.drain_once().unwrap().more {}
    assert_eq!(contents(&RecordLog::open(data.path()).unwrap()), half);
    fs::remove_dir_all(data.path().join("store")).unwrap();
    assert_eq!(contents(&RecordLog::open(data.path()).unwrap()), half);
}

#[test]
fn a_timeline_is_in_order_and_keeps_its_distances() {
    let data = tempfile::tempdir().unwrap();
    let counts = samples::write_log(data.path(), 2);
    let log = RecordLog::open(data.path()).unwrap();
    let mut seen = 0;
    for session in 1..=4 {
        let mut timeline = log.timeline(SessionId([session; 16])).unwrap();
        let mut passed = Duration::ZERO;
        let mut ordinals = HashMap::new();
        while let Some(timed) = timeline.next().transpose().unwrap() {
            passed += timed.since_previous;
            assert_eq!(timed.since_start, passed);
            let ordinal = ordinals.entry(timed.entry.connection).or_insert(0);
            assert_eq!(timed.entry.ordinal, *ordinal);
            *ordinal += 1;
            seen += 1;
        }
    }
    assert_eq!(seen, counts[0] + counts[1]);
    assert!(matches!(log.timeline(SessionId([9; 16])), Err(ReplayError::NoSession(_))));
    assert!(matches!(log.session(SessionId([9; 16])), Err(ReplayError::NoSession(_))));
    assert_eq!(log.ticket("t-1").unwrap().count(), 8);
    assert_eq!(log.ticket("t-2").unwrap().count(), 0);
}

#[test]
fn a_clock_that_steps_back_does_not_reorder_a_shard() {
    let data = tempfile::tempdir().unwrap();
    let (mut writer, _) =
        SegmentWriter::<fs::File>::open(samples::options(data.path(), 0)).unwrap();
    for (ordinal, wall) in [(0, 5_000), (1, 9_000), (2, 1_000), (3, 10_000)] {
        let entry = Entry { wall_micros: wall, ..samples::sample(1, 1, ordinal) };
        samples::append(&mut writer, &entry, &[]).unwrap();
    }
    writer.flush().unwrap();
    let log = RecordLog::open(data.path()).unwrap();
    let timeline = log.timeline(SessionId([1; 16])).unwrap();
    let found: Vec<_> = timeline
        .map(|timed| timed.unwrap())
        .map(|timed| (timed.entry.ordinal, timed.since_previous.as_millis()))
        .collect();
    assert_eq!(found, [(0, 0), (1, 4), (2, 0), (3, 1)]);
}

fn timed(entry: Entry) -> TimedEntry {
    TimedEntry {
        entry,
        shard: 0,
        since_start: Duration::from_millis(1_500),
        since_previous: Duration::from_millis(500),
    }
}

#[test]
fn lines_name_what_happened_and_move_no_cursor() {
    let mut entry = samples::sample(1, 1, 0);
    entry.text = Some("odd\u{1b}[2J\u{202e}text".into());
    let lines = timed(entry)
        .to_lines(&mut |resource, part| vec![format!("{}: {} bytes\r", resource.name, part.len())]);
    assert_eq!(
        lines,
        [
            "2023-11-14T22:13:20.000000Z +1.500s delivered Fetch v17 allow payments-3@100..109(analysts-read-payments) \
             masked pci:10 withheld:1 \"odd\\u{1b}[2J\\u{202e}text\"",
            "    payments: 20 bytes\\u{d}",
        ]
    );
}

#[test]
fn json_has_what_the_decoder_made_of_each_part() {
    let value = timed(samples::sample(1, 1, 0))
        .to_json(&mut |resource, part| vec![json!({ "topic": resource.name, "size": part.len() })]);
    assert_eq!(value["resources"][0]["records"], json!([{ "topic": "payments", "size": 20 }]));
    assert_eq!(value["time"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(value["shard"], 0);
}

#[test]
fn pauses_follow_the_speed_and_are_bounded() {
    let timed = timed(samples::sample(1, 1, 0));
    assert_eq!(timed.pause(1.0), Duration::from_millis(500));
    assert_eq!(timed.pause(10.0), Duration::from_millis(50));
    for (speed, pause) in [(0.0, 0), (-1.0, 0), (f64::NAN, 0), (1e-300, 60)] {
        assert_eq!(timed.pause(speed), Duration::from_secs(pause));
    }
}
