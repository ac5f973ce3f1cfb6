use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::heads::{HeadsRead, read_heads};
use super::super::index::SessionSummary;
use super::super::samples;
use super::super::verify::{Scope, verify};
use super::super::writer::SegmentWriter;
use super::*;
use crate::vocabulary::SessionId;

fn open(data: &Path) -> Store {
    Store::open(StoreOptions {
        data: data.to_owned(),
        gateway: [7; 16],
        durability: Durability::Process,
    })
    .unwrap()
}

fn drain_all(store: &mut Store) -> Drained {
    let mut sum = Drained::default();
    loop {
        let drained = store.drain_once().unwrap();
        sum.entries += drained.entries;
        sum.bytes += drained.bytes;
        sum.damage = drained.damage;
        if !drained.more {
            return sum;
        }
    }
}

/// All that an index holds, in a form that two indexes can be compared by.
fn contents(index: &Index) -> String {
    let mut sessions = index.sessions().unwrap();
    sessions.sort_by(|one, other| one.session.cmp(&other.session));
    let postings: Vec<_> = (1..=4)
        .map(|session| {
            let mut postings = index.postings(SessionId([session; 16])).unwrap();
            postings.sort();
            postings
        })
        .collect();
    let ticket = index.ticket("t-1").unwrap();
    let (places, segments) = (index.places().unwrap(), index.segments().unwrap());
    format!("{sessions:?} {postings:?} {ticket:?} {places:?} {segments:?}")
}

#[test]
fn every_entry_is_found_once_however_often_it_is_drained() {
    let data = tempfile::tempdir().unwrap();
    let counts = samples::write_log(data.path(), 1);
    let mut store = open(data.path());
    assert_eq!(drain_all(&mut store).entries, counts[0] + counts[1]);
    assert_eq!(drain_all(&mut store), Drained::default());
    drop(store);
    let mut store = open(data.path());
    assert_eq!((drain_all(&mut store), store.rebuilt()), (Drained::default(), None));
    let sessions: Vec<SessionSummary> = store.index().sessions().unwrap();
    assert_eq!(sessions.len(), 4);
    assert_eq!(sessions.iter().map(|session| session.entries).sum::<u64>(), 400);
    assert_eq!(store.index().ticket("t-1").unwrap().len(), 8);
    let session = &sessions[0];
    assert_eq!(session.principal, "https://idp.example.com|ada");
    assert_eq!((session.masked, session.withheld), (10 * session.entries, session.entries));
    assert_eq!(session.topics["payments"].delivered_records, 10 * session.entries);
    assert!(store.check().unwrap() > 10);
}

#[test]
fn a_lost_or_spoilt_index_is_made_again_the_same() {
    let data = tempfile::tempdir().unwrap();
    samples::write_log(data.path(), 2);
    let mut store = open(data.path());
    drain_all(&mut store);
    store.seal(UnixMillis(1)).unwrap();
    let before = contents(store.index());
    drop(store);
    let directory = data.path().join("store");
    // 1: all of it is gone; 2: the manifest is gone; 3: the manifest is spoilt; 4: the write-ahead log is gone.
    for fault in 1..=4 {
        let files: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
        let named = |part: &str| {
            files
                .iter()
                .find(|path| path.file_name().unwrap().to_string_lossy().contains(part))
                .unwrap()
        };
        match fault {
            1 => fs::remove_dir_all(&directory).unwrap(),
            2 => fs::remove_file(named("MANIFEST")).unwrap(),
            3 => fs::write(named("MANIFEST"), b"spoilt").unwrap(),
            _ => fs::remove_file(named(".log")).unwrap(),
        }
        let mut store = open(data.path());
        assert_eq!(drain_all(&mut store).damage, [], "fault {fault}");
        assert_eq!(contents(store.index()), before, "fault {fault}");
        assert_eq!(store.rebuilt().is_some(), fault == 2 || fault == 3, "fault {fault}");
    }
}

#[test]
fn entries_are_drained_while_they_are_written_and_heads_cover_them() {
    let data = tempfile::tempdir().unwrap();
    let mut store = open(data.path());
    let (mut writer, _) =
        SegmentWriter::<fs::File>::open(samples::options(data.path(), 0)).unwrap();
    let mut now = 0;
    assert!(store.seal_if_due(UnixMillis(now)).unwrap().is_some());
    for ordinal in 0..20 {
        samples::append(&mut writer, &samples::sample(1, 1, ordinal), &[&[]]).unwrap();
        assert_eq!(store.drain_once().unwrap().entries, 0, "not flushed, so not there");
        writer.flush().unwrap();
        assert_eq!(store.drain_once().unwrap().entries, 1);
        now += 600;
        let sealed = store.seal_if_due(UnixMillis(now)).unwrap();
        assert_eq!(sealed.is_some(), ordinal % 2 == 1);
        if let Some((head, line)) = sealed {
            assert_eq!(head.shards[0].entries, ordinal + 1);
            assert!(line.ends_with('\n'));
        }
    }
    assert!(store.seal_if_due(UnixMillis(now + 9_999)).unwrap().is_none());
    let (idle, _) = store.seal_if_due(UnixMillis(now + 10_000)).unwrap().unwrap();
    assert_eq!(idle.shards, []);
    let (heads, _) = read_heads(data.path(), &store.public_key(), HeadsRead::All).unwrap();
    assert_eq!(heads.len(), 12);
    let report = verify(data.path(), &store.public_key(), Scope::All).unwrap();
    assert_eq!((report.sound, report.unsealed_entries), (true, 0), "{report}");
}

#[test]
fn damage_stops_its_shard_alone_and_is_told_each_time() {
    let data = tempfile::tempdir().unwrap();
    let counts = samples::write_log(data.path(), 3);
    let name = SegmentName { shard: 1, sequence: 0 };
    let path = data.path().join("segments").join(name.file_name());
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"x", 5_000).unwrap();
    let mut store = open(data.path());
    let drained = drain_all(&mut store);
    assert!(drained.entries > counts[0] && drained.entries < counts[0] + counts[1]);
    assert_eq!(drained.damage.len(), 1);
    assert!(matches!(drained.damage[0].what, DamageKind::Altered(_)));
    assert_eq!(store.drain_once().unwrap().damage, drained.damage);
}

#[test]
fn a_log_shorter_than_its_last_head_is_not_drained_as_if_whole() {
    let data = tempfile::tempdir().unwrap();
    samples::write_log(data.path(), 4);
    let mut store = open(data.path());
    drain_all(&mut store);
    store.seal(UnixMillis(1)).unwrap();
    drop(store);
    let segments = data.path().join("segments");
    let last =
        SegmentName::list(&segments).unwrap().into_iter().filter(|name| name.shard == 0).max();
    fs::remove_file(segments.join(last.unwrap().file_name())).unwrap();
    // With the index the segment is known to be missing; without it the head still tells.
    let mut store = open(data.path());
    assert!(matches!(drain_all(&mut store).damage[0].what, DamageKind::Missing));
    drop(store);
    fs::remove_dir_all(data.path().join("store")).unwrap();
    let mut store = open(data.path());
    assert!(matches!(drain_all(&mut store).damage[0].what, DamageKind::Unsigned { head: 0 }));
}

#[test]
fn retention_drops_segments_and_their_rows_and_the_rest_still_verifies() {
    let data = tempfile::tempdir().unwrap();
    samples::write_log(data.path(), 5);
    let mut store = open(data.path());
    drain_all(&mut store);
    store.seal(UnixMillis(1)).unwrap();
    let segments = data.path().join("segments");
    let before = SegmentName::list(&segments).unwrap();
    let now = UnixMillis(super::super::writer::now_micros() / 1_000);
    let keep = Retention { bytes_max: Some(100_000), age_max_ms: None };
    let dropped = store.retain(&keep, now).unwrap();
    let after = SegmentName::list(&segments).unwrap();
    assert!(!dropped.is_empty() && after.len() + dropped.len() == before.len());
    let left: u64 =
        after.iter().map(|name| fs::metadata(segments.join(name.file_name())).unwrap().len()).sum();
    assert!(left <= 100_000, "{left}");
    for session in 1..=4 {
        for posting in store.index().postings(SessionId([session; 16])).unwrap() {
            assert!(after.contains(&posting.segment));
        }
    }
    let report = verify(data.path(), &store.public_key(), Scope::All).unwrap();
    assert!(report.sound, "{report}");
    assert!(store.retain(&keep, now).unwrap().is_empty());
    drop(store);
    // The index can be made again from what is left.
    fs::remove_dir_all(data.path().join("store")).unwrap();
    let mut store = open(data.path());
    assert_eq!(drain_all(&mut store).damage, []);
    // By age, all but the segments that are still written go.
    let old = Retention { bytes_max: None, age_max_ms: Some(-1_000_000) };
    store.retain(&old, now).unwrap();
    assert_eq!(SegmentName::list(&segments).unwrap().len(), 2);
    let report = verify(data.path(), &store.public_key(), Scope::All).unwrap();
    assert!(report.sound, "{report}");
    // A segment that was not dropped by retention is still missed.
    let kept = SegmentName::list(&segments).unwrap();
    fs::remove_file(segments.join(kept[0].file_name())).unwrap();
    assert!(!verify(data.path(), &store.public_key(), Scope::All).unwrap().sound);
}

#[test]
fn with_syncs_left_and_current_segments_are_synced_before_a_head() {
    for durability in [Durability::Interval, Durability::Always] {
        let data = tempfile::tempdir().unwrap();
        samples::write_log(data.path(), 6);
        let options = StoreOptions { data: data.path().to_owned(), gateway: [7; 16], durability };
        let mut store = Store::open(options).unwrap();
        drain_all(&mut store);
        assert!(store.walks.values().all(|shard| shard.left.len() > 2));
        store.seal(UnixMillis(1)).unwrap();
        assert!(store.walks.values().all(|shard| shard.left.is_empty()));
        let report = verify(data.path(), &store.public_key(), Scope::All).unwrap();
        assert!(report.sound, "{report}");
    }
}
