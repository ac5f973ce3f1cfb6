use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use super::super::entry::{EntryKind, Instants, Origin};
use super::super::samples;
use super::*;

thread_local! {
    /// How many bytes the disk still takes before it fails; `None` is a sound disk.
    static ROOM: Cell<Option<usize>> = const { Cell::new(None) };
    /// Whether cutting and syncing fail.
    static BROKEN: Cell<bool> = const { Cell::new(false) };
    /// The most bytes that one write takes.
    static SHORT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A file on a disk that fails when told to.
struct FaultyFile(File);

impl SegmentFile for FaultyFile {
    fn create(path: &Path) -> io::Result<Self> {
        <File as SegmentFile>::create(path).map(Self)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else { return Ok(0) };
        let room = ROOM.get().unwrap_or(usize::MAX);
        if room == 0 {
            // The system's own word for a full disk.
            let full = OpenOptions::new().write(true).open("/dev/full")?;
            return SegmentFile::write_at(&full, &[IoSlice::new(first)], 0);
        }
        let size = first.len().min(room).min(SHORT.get());
        let written = SegmentFile::write_at(&self.0, &[IoSlice::new(&first[..size])], position)?;
        ROOM.set(ROOM.get().map(|room| room - written));
        Ok(written)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if BROKEN.get() {
            Err(io::ErrorKind::Other.into())
        } else {
            SegmentFile::truncate(&self.0, length)
        }
    }

    fn sync(&self) -> io::Result<()> {
        if BROKEN.get() { Err(io::ErrorKind::Other.into()) } else { SegmentFile::sync(&self.0) }
    }

    fn reserve(&self, from: u64, bytes: u64) -> io::Result<()> {
        if ROOM.get().is_some() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.reserve(from, bytes)
    }

    fn share(&self) -> io::Result<Self> {
        self.0.share().map(Self)
    }
}

fn ordinals(directory: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for name in SegmentName::list(directory).unwrap() {
        let (entries, _) = samples::read_all(directory, name);
        for entry in entries {
            assert_eq!(entry.number, EntryNumber(wide(found.len())));
            found.push(entry.ordinal);
        }
    }
    found
}

fn append_ordinal<F: SegmentFile>(writer: &mut SegmentWriter<F>, ordinal: u64) {
    let entry = samples::sample(1, 1, ordinal);
    samples::append(writer, &entry, &[&[1; 10], &[2; 3_000], &[3; 10]]).unwrap();
}

#[test]
fn pieces_large_and_small_lie_in_order() {
    let data = tempfile::tempdir().unwrap();
    let options = samples::options(data.path(), 0);
    for short in [1, 7, 4_096, usize::MAX] {
        SHORT.set(short);
        let (mut writer, recovery) = SegmentWriter::<FaultyFile>::open(SegmentOptions {
            directory: options.directory.join(short.to_string()),
            ..options.clone()
        })
        .unwrap();
        let entry = samples::sample(1, 1, 0);
        let pieces: Vec<_> = [5_000, 1, 0, 9_000, 4_096, 4_097]
            .iter()
            .map(|size| vec![u8::try_from(size % 251).unwrap(); *size])
            .collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        for _ in 0..40 {
            samples::append(&mut writer, &entry, &pieces).unwrap();
        }
        writer.flush().unwrap();
        let directory = options.directory.join(short.to_string());
        let (entries, _) = samples::read_all(&directory, recovery.segment);
        assert_eq!(entries.len(), 40);
        for entry in entries {
            assert_eq!(entry.payload, pieces.concat());
        }
    }
    SHORT.set(usize::MAX);
}

#[test]
fn a_full_disk_refuses_and_recovers_wherever_it_ran_out() {
    for (room, broken) in (0..8_000).step_by(47).flat_map(|room| [(room, false), (room, true)]) {
        let data = tempfile::tempdir().unwrap();
        let options = samples::options(data.path(), 0);
        let (mut writer, recovery) = SegmentWriter::<FaultyFile>::open(options.clone()).unwrap();
        append_ordinal(&mut writer, 0);
        writer.flush().unwrap();
        append_ordinal(&mut writer, 1);
        append_ordinal(&mut writer, 2);
        ROOM.set(Some(room));
        BROKEN.set(broken);
        let outcome = writer.flush();
        ROOM.set(None);
        BROKEN.set(false);
        match outcome {
            Ok(()) => assert!(room > 6_000),
            Err(error) => {
                assert!(error.to_string().contains("No space left on device"), "{error}");
                let (frames, _) = samples::read_all(&options.directory, recovery.segment);
                assert!(broken || frames.len() == 1);
                let draft_refused = samples::append(&mut writer, &samples::sample(1, 1, 3), &[]);
                assert!(matches!(draft_refused, Err(RecordError::Failed { shard: 0 })));
                assert!(writer.is_failed());
                writer.flush().unwrap();
            }
        }
        assert!(!writer.is_failed());
        append_ordinal(&mut writer, 3);
        writer.flush().unwrap();
        assert_eq!(ordinals(&options.directory), [0, 1, 2, 3]);
    }
}

#[test]
fn a_large_payload_that_the_disk_refuses_takes_nothing_else_with_it() {
    for room in (0..8_000).step_by(53) {
        let data = tempfile::tempdir().unwrap();
        let options = samples::options(data.path(), 0);
        let (mut writer, _) = SegmentWriter::<FaultyFile>::open(options.clone()).unwrap();
        append_ordinal(&mut writer, 0);
        ROOM.set(Some(room));
        let large = [7; 5_000];
        let refused = samples::append(&mut writer, &samples::sample(1, 1, 9), &[&large]);
        ROOM.set(None);
        assert!(matches!(refused, Err(RecordError::Write { .. })), "{room}: {refused:?}");
        writer.flush().unwrap();
        samples::append(&mut writer, &samples::sample(1, 1, 1), &[&large]).unwrap();
        append_ordinal(&mut writer, 2);
        writer.flush().unwrap();
        assert_eq!(ordinals(&options.directory), [0, 1, 2], "{room}");
    }
}

#[test]
fn a_sync_that_fails_acknowledges_nothing() {
    let data = tempfile::tempdir().unwrap();
    let options =
        SegmentOptions { durability: Durability::Always, ..samples::options(data.path(), 0) };
    let (mut writer, _) = SegmentWriter::<FaultyFile>::open(options.clone()).unwrap();
    append_ordinal(&mut writer, 0);
    BROKEN.set(true);
    assert!(matches!(writer.flush(), Err(RecordError::Write { .. })));
    BROKEN.set(false);
    // The kernel may have forgotten what it could not write: a second sync would say nothing of it.
    assert!(matches!(writer.flush(), Err(RecordError::Failed { shard: 0 })));
    drop(writer);
    let (mut writer, _) = SegmentWriter::<FaultyFile>::open(options.clone()).unwrap();
    append_ordinal(&mut writer, 1);
    writer.flush().unwrap();
    assert_eq!(ordinals(&options.directory), [0, 1]);
}

#[test]
fn a_sync_takes_what_was_written_before_it_over_several_segments() {
    let data = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        durability: Durability::Always,
        roll_bytes: 1,
        ..samples::options(data.path(), 0)
    };
    let (mut writer, _) = SegmentWriter::<FaultyFile>::open(options.clone()).unwrap();
    assert!(writer.begin_sync().unwrap().is_none(), "nothing is written");
    for ordinal in 0..3 {
        append_ordinal(&mut writer, ordinal);
        writer.write().unwrap();
    }
    let job = writer.begin_sync().unwrap().unwrap();
    assert_eq!((job.files.len(), job.directory.is_some()), (4, true));
    assert!(writer.begin_sync().unwrap().is_none(), "all of it is in the job");
    append_ordinal(&mut writer, 3);
    writer.write().unwrap();
    writer.end_sync(job.run()).unwrap();
    let job = writer.begin_sync().unwrap().unwrap();
    BROKEN.set(true);
    assert!(matches!(writer.end_sync(job.run()), Err(RecordError::Write { .. })));
    BROKEN.set(false);
    assert!(matches!(writer.write(), Err(RecordError::Failed { shard: 0 })));
    assert_eq!(ordinals(&options.directory), [0, 1, 2, 3]);
}

#[test]
fn what_is_too_large_takes_no_number() {
    let data = tempfile::tempdir().unwrap();
    let (mut writer, _) = SegmentWriter::<File>::open(samples::options(data.path(), 0)).unwrap();
    let origin = Origin::control();
    let draft = EntryDraft::new(EntryKind::Produced, &origin, 0, Instants::default());
    let megabytes = vec![0; 52 << 20];
    let twice: [&[u8]; 2] = [&megabytes; 2];
    let thrice: [&[u8]; 3] = [&megabytes; 3];
    assert!(matches!(writer.append(&draft, &thrice), Err(RecordError::TooLarge { .. })));
    let text = "x".repeat(FIELDS_BYTES_MAX);
    let long = EntryDraft { text: &text, ..draft };
    assert!(matches!(writer.append(&long, &[]), Err(RecordError::TooLarge { .. })));
    assert_eq!(writer.append(&draft, &twice).unwrap(), EntryNumber(0));
    // Begun and given up, it never was.
    assert!(writer.begin(&draft).is_ok());
    assert_eq!(writer.append(&draft, &[]).unwrap(), EntryNumber(1));
    writer.flush().unwrap();
    assert_eq!(ordinals(&data.path().join("segments")).len(), 2);
}

#[test]
fn segments_roll_and_numbers_go_on_across_restarts() {
    let data = tempfile::tempdir().unwrap();
    let options = SegmentOptions { roll_bytes: 20_000, ..samples::options(data.path(), 0) };
    let mut ordinal = 0;
    for torn in [0, 1, 11, 12, 50, 300] {
        let (mut writer, recovery) = SegmentWriter::<File>::open(options.clone()).unwrap();
        assert_eq!(recovery.first, EntryNumber(ordinal));
        for _ in 0..10 {
            append_ordinal(&mut writer, ordinal);
            writer.flush().unwrap();
            ordinal += 1;
        }
        let (name, end) = writer.written();
        assert!(name.sequence > recovery.segment.sequence);
        // The process dies inside of a write.
        append_ordinal(&mut writer, 99);
        let path = options.directory.join(name.file_name());
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&writer.buffer[..torn], end).unwrap();
        drop(writer);
        let (_, recovery) = SegmentWriter::<File>::open(options.clone()).unwrap();
        assert_eq!(recovery.torn_bytes, wide(torn));
    }
    assert_eq!(ordinals(&options.directory), (0..ordinal).collect::<Vec<_>>());
}

#[test]
fn a_header_torn_at_its_creation_is_stepped_over() {
    let data = tempfile::tempdir().unwrap();
    let options = samples::options(data.path(), 0);
    let (mut writer, _) = SegmentWriter::<File>::open(options.clone()).unwrap();
    append_ordinal(&mut writer, 0);
    writer.flush().unwrap();
    let torn = SegmentName { shard: 0, sequence: 1 };
    std::fs::write(options.directory.join(torn.file_name()), b"SLUICSEG").unwrap();
    let (_, recovery) = SegmentWriter::<File>::open(options).unwrap();
    assert_eq!((recovery.segment.sequence, recovery.first.0, recovery.torn_bytes), (2, 1, 8));
}

#[test]
fn a_damaged_segment_is_not_continued() {
    let data = tempfile::tempdir().unwrap();
    let options = samples::options(data.path(), 0);
    let (mut writer, recovery) = SegmentWriter::<File>::open(options.clone()).unwrap();
    append_ordinal(&mut writer, 0);
    append_ordinal(&mut writer, 1);
    writer.flush().unwrap();
    let path = options.directory.join(recovery.segment.file_name());
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"x", 3_000).unwrap();
    let error = SegmentWriter::<File>::open(options).unwrap_err();
    assert!(matches!(error, RecordError::Unsound(SegmentError::Damaged { position: 128, .. })));
}

#[test]
fn a_data_directory_has_one_gateway() {
    let data = tempfile::tempdir().unwrap();
    let held = LogLock::take(data.path()).unwrap();
    assert!(matches!(LogLock::take(data.path()), Err(RecordError::InUse { .. })));
    drop(held);
    LogLock::take(data.path()).unwrap();
}

/// Not a test of its own: the process that [`a_kill_takes_nothing_acknowledged`] starts and kills.
#[test]
fn write_until_killed() {
    let Some(data) = std::env::var_os(CHILD_DATA) else { return };
    let (mut writer, recovery) =
        SegmentWriter::<File>::open(samples::options(Path::new(&data), 0)).unwrap();
    let mut out = io::stdout();
    for ordinal in recovery.first.0.. {
        append_ordinal(&mut writer, ordinal);
        if ordinal % 3 == 0 {
            writer.flush().unwrap();
            writeln!(out, "acknowledged {ordinal}").unwrap();
        }
    }
}

#[test]
fn a_kill_takes_nothing_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let seed: u64 = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(4711);
    let mut random = seed;
    for run in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recorder::writer::tests::write_until_killed", "--nocapture"])
            .env(CHILD_DATA, data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = None;
        let acks =
            |line: &str| line.rsplit_once("acknowledged ").map(|(_, n)| n.parse::<u64>().unwrap());
        for _ in 0..(random >> 33) % 300 + 1 {
            while let Some(line) = lines.next().transpose().unwrap() {
                if let Some(ordinal) = acks(&line) {
                    acknowledged = Some(ordinal);
                    break;
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in
            lines.map_while(Result::ok).filter(|line| line.ends_with(|c: char| c.is_ascii_digit()))
        {
            acknowledged = acks(&line).or(acknowledged);
        }
        let found = ordinals(&data.path().join("segments"));
        let acknowledged = acknowledged.unwrap();
        assert!(
            wide(found.len()) > acknowledged,
            "seed {seed}, run {run}: {acknowledged} is missing"
        );
        assert_eq!(found, (0..wide(found.len())).collect::<Vec<_>>(), "seed {seed}, run {run}");
    }
}

const CHILD_DATA: &str = "SLUICEGATE_TEST_CHILD_DATA";

#[test]
fn a_segment_that_grows_fast_has_room_ahead_and_gives_it_back() {
    use std::os::unix::fs::MetadataExt;

    let data = tempfile::tempdir().unwrap();
    let options = samples::options(data.path(), 0);
    let (mut writer, recovery) = SegmentWriter::<File>::open(options.clone()).unwrap();
    let path = options.directory.join(recovery.segment.file_name());
    let on_disk = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let entry = samples::sample(1, 1, 0);
    samples::append(&mut writer, &entry, &[&[1; 100]]).unwrap();
    writer.flush().unwrap();
    assert!(on_disk() < RESERVED_BYTES / 2, "a slow segment takes {}", on_disk());
    samples::append(&mut writer, &entry, &[&[1; 100_000]]).unwrap();
    let (_, written) = writer.written();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), written);
    let ahead = on_disk();
    drop(writer);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), written);
    let (entries, _) = samples::read_all(&options.directory, recovery.segment);
    assert_eq!(entries.len(), 2);
    // Not every file system can.
    if ahead >= written + RESERVED_BYTES / 2 {
        assert!(on_disk() < ahead - RESERVED_BYTES / 2, "{} of {ahead} are still taken", on_disk());
    }
}
