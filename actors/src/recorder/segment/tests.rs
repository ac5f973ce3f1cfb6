use std::sync::atomic::{AtomicBool, Ordering};

use super::super::samples;
use super::super::writer::SegmentWriter;
use super::*;

/// A segment of `count` sample entries with payloads that imitate frames, and its bytes.
fn segment_of(data: &Path, count: u64) -> (SegmentName, Vec<u8>) {
    let options = samples::options(data, 0);
    let (mut writer, recovery) = SegmentWriter::<File>::open(options.clone()).unwrap();
    for ordinal in 0..count {
        let entry = samples::sample(1, 1, ordinal);
        samples::append(&mut writer, &entry, &[&entry.payload]).unwrap();
    }
    writer.flush().unwrap();
    let path = options.directory.join(recovery.segment.file_name());
    (recovery.segment, std::fs::read(path).unwrap())
}

fn write_segment(data: &Path, name: SegmentName, bytes: &[u8]) -> PathBuf {
    let directory = data.join("segments");
    std::fs::write(directory.join(name.file_name()), bytes).unwrap();
    directory
}

/// How many whole frames there are before an end, a tail or an error.
fn walk(directory: &Path, name: SegmentName) -> (usize, Result<Step, SegmentError>) {
    let mut reader = match SegmentReader::open(directory, name, Check::Whole) {
        Ok(reader) => reader,
        Err(error) => return (0, Err(error)),
    };
    let mut frames = 0;
    loop {
        match reader.step() {
            Ok(Step::Frame(_)) => frames += 1,
            end => return (frames, end),
        }
    }
}

#[test]
fn the_header_is_as_drawn_and_comes_back() {
    let header = SegmentHeader {
        marker: 0x0102_0304,
        gateway: [1; 16],
        run: [2; 16],
        name: SegmentName { shard: 3, sequence: 4 },
        created_micros: 5,
        first: EntryNumber(6),
        previous_end: 7,
    };
    let bytes = header.to_bytes();
    assert_eq!(&bytes[..8], b"SLUICSEG");
    assert_eq!(bytes[8..12], [2, 0, 128, 0]);
    assert_eq!(bytes[12..16], [4, 3, 2, 1]);
    assert_eq!((bytes[48], bytes[56], bytes[64], bytes[72], bytes[80]), (3, 4, 5, 6, 7));
    assert_eq!(SegmentHeader::parse(&bytes), Ok(header));
}

#[test]
fn names_of_files_are_exact() {
    let name = SegmentName { shard: 2, sequence: 17 };
    assert_eq!(name.file_name(), "00002-0000000017.seg");
    assert_eq!(SegmentName::parse("00002-0000000017.seg"), Some(name));
    for other in
        ["2-17.seg", "00002-0000000017.seg~", "00002-0000000017", "x-y.seg", "+0002-0000000017.seg"]
    {
        assert_eq!(SegmentName::parse(other), None, "{other}");
    }
}

#[test]
fn a_tail_torn_at_any_byte_hides_no_whole_entry() {
    let data = tempfile::tempdir().unwrap();
    let (name, bytes) = segment_of(data.path(), 3);
    let directory = data.path().join("segments");
    let frames = samples::frames(&directory, name);
    let ends: Vec<u64> = frames.iter().map(Frame::end).collect();
    for length in 0..bytes.len() {
        write_segment(data.path(), name, &bytes[..length]);
        let (whole, end) = walk(&directory, name);
        let length = wide(length);
        assert_eq!(whole, ends.iter().filter(|end| **end <= length).count(), "at {length}");
        match end {
            Err(SegmentError::Header { reason: "not whole", .. }) => assert!(length < 128),
            Ok(Step::End) => assert!(length == 128 || ends.contains(&length), "at {length}"),
            Ok(Step::Tail { position, size }) => assert_eq!(position + size, length),
            other => panic!("at {length}: {other:?}"),
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_before_the_last_entry_is_damage() {
    let data = tempfile::tempdir().unwrap();
    let (name, bytes) = segment_of(data.path(), 3);
    let directory = data.path().join("segments");
    let frames = samples::frames(&directory, name);
    for at in 0..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1 << (at % 8);
        write_segment(data.path(), name, &spoilt);
        let (whole, end) = walk(&directory, name);
        let before = frames.iter().filter(|frame| frame.end() <= wide(at)).count();
        match end {
            Err(SegmentError::Header { .. }) => assert!(at < 128, "at {at}"),
            Err(SegmentError::Damaged { position, .. }) => {
                assert_eq!((whole, position), (before, frames[before].position), "at {at}");
            }
            // Nothing whole follows the last entry, so only a signed head can tell damage from a torn write.
            Ok(Step::Tail { .. }) => assert_eq!(before, 2, "at {at}"),
            other => panic!("at {at}: {other:?}"),
        }
    }
}

#[test]
fn four_zeroed_kibibytes_are_damage() {
    let data = tempfile::tempdir().unwrap();
    let (name, bytes) = segment_of(data.path(), 100);
    for at in (128..bytes.len() - 8192).step_by(1111) {
        let mut spoilt = bytes.clone();
        spoilt[at..at + 4096].fill(0);
        let directory = write_segment(data.path(), name, &spoilt);
        let (_, end) = walk(&directory, name);
        assert!(matches!(end, Err(SegmentError::Damaged { .. })), "at {at}: {end:?}");
    }
}

#[test]
fn a_payload_that_imitates_a_frame_is_not_taken_for_one() {
    let data = tempfile::tempdir().unwrap();
    let (name, bytes) = segment_of(data.path(), 1);
    // A frame of another segment, sound in itself but for the marker, lies behind a torn entry.
    let other = tempfile::tempdir().unwrap();
    let (_, foreign) = segment_of(other.path(), 2);
    let spliced = [&bytes[..bytes.len() - 1], &foreign[128..]].concat();
    let directory = write_segment(data.path(), name, &spliced);
    assert!(matches!(walk(&directory, name), (0, Ok(Step::Tail { position: 128, .. }))));
}

#[test]
fn a_file_under_another_name_or_cut_while_read_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (name, bytes) = segment_of(data.path(), 2);
    let other = SegmentName { shard: 0, sequence: 9 };
    let directory = write_segment(data.path(), other, &bytes);
    let error = SegmentReader::open(&directory, other, Check::Whole).unwrap_err();
    assert!(error.to_string().ends_with("a header that is one of another segment"), "{error}");
    let mut reader = SegmentReader::open(&directory, name, Check::Whole).unwrap();
    while let Step::Frame(_) = reader.step().unwrap() {}
    write_segment(data.path(), name, &bytes[..200]);
    assert!(matches!(reader.step(), Err(SegmentError::Cut { length: 200, .. })));
}

#[test]
fn a_segment_is_read_while_it_is_written() {
    const ENTRIES: u64 = 4_000;
    let data = tempfile::tempdir().unwrap();
    let options = samples::options(data.path(), 0);
    let (mut writer, recovery) = SegmentWriter::<File>::open(options.clone()).unwrap();
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for ordinal in 0..ENTRIES {
                let entry = samples::sample(1, 1, ordinal);
                let size = usize::try_from(ordinal * 37 % 9_000).unwrap();
                let payload = Bytes::from(vec![3; size]);
                samples::append(&mut writer, &entry, &[&payload]).unwrap();
                if ordinal % 7 == 0 {
                    writer.flush().unwrap();
                }
            }
            writer.flush().unwrap();
            written.store(true, Ordering::Release);
        });
        let mut reader =
            SegmentReader::open(&options.directory, recovery.segment, Check::Whole).unwrap();
        let mut next = 0;
        while next < ENTRIES {
            let done = written.load(Ordering::Acquire);
            match reader.step().unwrap() {
                Step::Frame(frame) => {
                    let entry = samples::whole(&mut reader, &frame);
                    assert_eq!((entry.ordinal, entry.number.0), (next, next));
                    next += 1;
                }
                end => assert!(!done, "{next} of {ENTRIES} entries, then {end:?}"),
            }
        }
    });
}
