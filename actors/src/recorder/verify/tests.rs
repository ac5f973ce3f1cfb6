use std::fs;

use proptest::prelude::*;

use super::super::drain::{Store, StoreOptions};
use super::super::keys::RecordKey;
use super::super::samples;
use super::super::writer::{Durability, SegmentWriter};
use super::*;
use crate::vocabulary::UnixMillis;

/// A sealed log, and its files' bytes.
struct Sealed {
    data: tempfile::TempDir,
    key: RecordPublicKey,
    segments: Vec<(PathBuf, Vec<u8>)>,
}

fn sealed_log(seed: u64) -> Sealed {
    let data = tempfile::tempdir().unwrap();
    samples::write_log(data.path(), seed);
    let mut store = Store::open(StoreOptions {
        data: data.path().to_owned(),
        gateway: [7; 16],
        durability: Durability::Process,
    })
    .unwrap();
    while store.drain_once().unwrap().more {}
    store.seal(UnixMillis(1)).unwrap();
    let key = store.public_key();
    let directory = data.path().join(SEGMENTS_DIRECTORY);
    let segments = SegmentName::list(&directory).unwrap().into_iter().map(|name| {
        let path = directory.join(name.file_name());
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    });
    let segments = segments.collect();
    Sealed { data, key, segments }
}

impl Sealed {
    fn report(&self) -> Report {
        verify(self.data.path(), &self.key, Scope::All).unwrap()
    }
}

#[test]
fn a_sealed_log_is_sound() {
    let log = sealed_log(1);
    let report = log.report();
    assert!(report.sound, "{report}");
    assert_eq!((report.entries, report.heads, report.unsealed_entries), (400, 2, 0));
    assert_eq!(report.findings, []);
    assert!(report.to_string().starts_with("the record log is sound\n"));
    assert_eq!(serde_json::to_value(&report).unwrap()["sound"], true);
    let recent = verify(log.data.path(), &log.key, Scope::Recent).unwrap();
    assert!(recent.sound, "{recent}");
}

#[test]
fn every_flipped_byte_under_a_head_is_an_alarm() {
    let log = sealed_log(2);
    let mut checked = 0;
    for (path, bytes) in &log.segments {
        for at in (0..bytes.len()).step_by(211) {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x10;
            fs::write(path, &spoilt).unwrap();
            let report = log.report();
            assert!(!report.sound, "byte {at} of {path:?}: {report}");
            checked += 1;
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(checked > 500 && log.report().sound);
}

#[test]
fn zeroed_cut_and_deleted_files_are_alarms() {
    let log = sealed_log(3);
    for (path, bytes) in &log.segments {
        let mut zeroed = bytes.clone();
        let from = bytes.len() / 2;
        let to = (from + 4096).min(bytes.len());
        zeroed[from..to].fill(0);
        for spoilt in [zeroed.as_slice(), &bytes[..bytes.len() - 1], &bytes[..128], &[]] {
            fs::write(path, spoilt).unwrap();
            assert!(!log.report().sound, "{path:?}, {} bytes", spoilt.len());
        }
        fs::remove_file(path).unwrap();
        assert!(!log.report().sound, "{path:?} deleted");
        fs::write(path, bytes).unwrap();
    }
    for (path, _) in &log.segments {
        fs::remove_file(path).unwrap();
    }
    let report = log.report();
    assert_eq!((report.sound, report.findings.len()), (false, 2), "{report}");
}

#[test]
fn a_shard_deleted_whole_is_an_alarm() {
    let log = sealed_log(4);
    for (path, _) in &log.segments {
        if path.file_name().unwrap().to_string_lossy().starts_with("00001-") {
            fs::remove_file(path).unwrap();
        }
    }
    let report = log.report();
    assert!(!report.sound, "{report}");
}

#[test]
fn a_log_written_anew_by_another_hand_is_an_alarm() {
    // Everything is consistent in itself, but the signed heads know another chain.
    let log = sealed_log(5);
    let other = sealed_log(6);
    for (path, _) in &log.segments {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in &other.segments {
        let target = log.data.path().join(SEGMENTS_DIRECTORY).join(path.file_name().unwrap());
        fs::write(target, bytes).unwrap();
    }
    assert!(!log.report().sound);
    // With the other hand's own heads, the key tells.
    let heads = other.data.path().join("heads.log");
    fs::copy(heads, log.data.path().join("heads.log")).unwrap();
    let report = log.report();
    assert!(
        !report.sound && report.to_string().contains("not signed by the record key"),
        "{report}"
    );
}

#[test]
fn heads_altered_reordered_or_missing_within_are_alarms() {
    let log = sealed_log(7);
    let path = log.data.path().join("heads.log");
    let key = RecordKey::open(log.data.path()).unwrap();
    let (mut heads, _) =
        super::super::heads::HeadLog::open(log.data.path(), &key.public()).unwrap();
    for at in 2..6 {
        heads.append(&key, [7; 16], UnixMillis(at), Vec::new(), Vec::new()).unwrap();
    }
    assert!(log.report().sound);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let rows = [
        text.replacen("\"made_at\":1", "\"made_at\":2", 1),
        [lines[0], lines[2], lines[3]].join("\n") + "\n",
        [lines[0], lines[2], lines[1]].join("\n") + "\n",
        format!("x{text}"),
    ];
    for row in rows {
        fs::write(&path, row).unwrap();
        assert!(!log.report().sound);
    }
    // A torn last line is what a kill leaves.
    fs::write(&path, &text.as_bytes()[..text.len() - 5]).unwrap();
    assert!(log.report().sound);
    let (_, recent) = super::super::heads::HeadLog::open(log.data.path(), &key.public()).unwrap();
    assert_eq!(recent.len(), 4);
    assert_eq!(fs::read_to_string(&path).unwrap(), lines[..4].join("\n") + "\n");
}

#[test]
fn a_torn_tail_behind_the_last_head_is_a_notice() {
    let log = sealed_log(8);
    let (path, bytes) = log.segments.last().unwrap();
    fs::write(path, [bytes.as_slice(), &bytes[128..160]].concat()).unwrap();
    let report = log.report();
    assert!(report.sound, "{report}");
    assert_eq!(report.findings[0].severity, Severity::Notice);
    // The gateway goes on behind it, and the tail stays known as torn.
    let (mut writer, recovery) =
        SegmentWriter::<fs::File>::open(samples::options(log.data.path(), 1)).unwrap();
    assert_eq!(recovery.torn_bytes, 32);
    samples::append(&mut writer, &samples::sample(9, 99, 0), &[]).unwrap();
    writer.flush().unwrap();
    let report = log.report();
    assert_eq!((report.sound, report.unsealed_entries), (true, 1), "{report}");
}

#[test]
fn a_connection_that_skips_or_repeats_a_number_is_an_alarm() {
    for (ordinals, sound) in
        [(vec![0, 1, 2], true), (vec![0, 2], false), (vec![1], false), (vec![0, 0], false)]
    {
        let data = tempfile::tempdir().unwrap();
        let key = RecordKey::open(data.path()).unwrap().public();
        let (mut writer, _) =
            SegmentWriter::<fs::File>::open(samples::options(data.path(), 0)).unwrap();
        for ordinal in &ordinals {
            samples::append(&mut writer, &samples::sample(1, 1, *ordinal), &[]).unwrap();
        }
        writer.flush().unwrap();
        let report = verify(data.path(), &key, Scope::All).unwrap();
        assert_eq!(report.sound, sound, "{ordinals:?}: {report}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn recent_verification_finds_damage_under_the_last_heads(seed in 0..1_000_u64, place in any::<prop::sample::Index>()) {
        let log = sealed_log(seed);
        let last = log.segments.iter().rposition(|(path, _)| path.to_string_lossy().contains("00000-"));
        let (path, bytes) = &log.segments[last.unwrap()];
        prop_assume!(bytes.len() > 1_000);
        // The only head lies at the end, so all that a recent check can see is behind it.
        let report = verify(log.data.path(), &log.key, Scope::Recent).unwrap();
        prop_assert!(report.sound);
        let keep = 128 + place.index(bytes.len() - 128);
        fs::write(path, &bytes[..keep]).unwrap();
        let report = verify(log.data.path(), &log.key, Scope::Recent).unwrap();
        prop_assert!(!report.sound);
    }
}
