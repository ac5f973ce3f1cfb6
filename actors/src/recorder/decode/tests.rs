use proptest::prelude::*;

use super::super::encode::{kind_code, outcome_code};
use super::super::entry::{EntryDraft, Instants, Origin};
use super::super::samples;
use super::super::segment::Step;
use super::super::writer::SegmentWriter;
use super::*;

/// What an entry becomes when it is written and read back.
fn through_the_log(entry: &Entry) -> Entry {
    let data = tempfile::tempdir().unwrap();
    let options = samples::options(data.path(), 0);
    let (mut writer, recovery) = SegmentWriter::<std::fs::File>::open(options.clone()).unwrap();
    samples::append(&mut writer, entry, &[&entry.payload]).unwrap();
    writer.flush().unwrap();
    let (mut entries, end) = samples::read_all(&options.directory, recovery.segment);
    assert!(matches!(end, Step::End), "{end:?}");
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

#[test]
fn every_field_comes_back() {
    let mut entry = samples::sample(1, 2, 3);
    assert_eq!(through_the_log(&entry), entry);
    entry.payload = Bytes::from(vec![7; 100_000]);
    assert_eq!(through_the_log(&entry), entry);
}

#[test]
fn payload_parts_follow_the_resources() {
    let mut entry = samples::sample(1, 2, 3);
    let mut second = entry.resources[0].clone();
    second.partition = Some(4);
    second.payload_bytes = Some(5);
    let mut beyond = second.clone();
    beyond.payload_bytes = Some(1_000);
    entry.resources.extend([second, beyond]);
    entry.payload = Bytes::from([vec![1; 20], vec![2; 5]].concat());
    let parts: Vec<_> =
        entry.payload_parts().map(|(resource, part)| (resource.partition, part)).collect();
    assert_eq!(parts, [(Some(3), Bytes::from(vec![1; 20])), (Some(4), Bytes::from(vec![2; 5]))]);
}

#[test]
fn codes_and_names_agree() {
    for (index, kind) in KINDS.iter().enumerate() {
        assert_eq!(usize::from(kind_code(*kind)), index + 1);
        assert_eq!(kind_of(kind_code(*kind)), Some(*kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    for (index, action) in ACTIONS.iter().enumerate() {
        assert_eq!(usize::from(super::super::encode::action_code(*action)), index + 1);
    }
    for code in 0..5 {
        let outcome = outcome_of(code).unwrap();
        assert_eq!(outcome_code(outcome), code);
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
    }
    assert_eq!((kind_of(0), kind_of(25), outcome_of(5)), (None, None, None));
}

#[test]
fn json_has_the_session_as_text_and_the_payload_as_size() {
    let value = serde_json::to_value(samples::sample(0xAB, 2, 3)).unwrap();
    assert_eq!(value["session"], "ab".repeat(16));
    assert_eq!(value["payload_bytes"], 20);
    assert_eq!(value["kind"], "delivered");
    assert_eq!(value["resources"][0]["positions"]["last"], 109);
}

/// The body of the smallest entry, to be spoilt.
fn smallest_body() -> Vec<u8> {
    let origin = Origin::control();
    let draft = EntryDraft::new(EntryKind::LogOpened, &origin, 0, Instants::default());
    let mut buffer = Vec::new();
    super::super::encode::put_draft(&mut buffer, EntryNumber(5), &draft);
    buffer.split_off(super::super::encode::FRAME_HEAD_BYTES)
}

#[test]
fn spoilt_bodies_are_refused_by_name() {
    let body = smallest_body();
    assert_eq!(body.len(), BODY_HEAD_BYTES);
    let spoil = |at: usize, byte: u8| {
        let mut spoilt = body.clone();
        spoilt[at] = byte;
        Entry::decode(&Bytes::from(spoilt)).err()
    };
    let rows = [
        (spoil(8, 2), DecodeError::Version(2)),
        (spoil(9, 0), DecodeError::Unknown("kind")),
        (spoil(10, 9), DecodeError::Unknown("outcome")),
        (spoil(80, 1), DecodeError::Short("fields")),
        (spoil(84, 1), DecodeError::Short("payload")),
        (Entry::decode(&Bytes::copy_from_slice(&body[..87])).err(), DecodeError::Short("head")),
    ];
    for (found, wanted) in rows {
        assert_eq!(found, Some(wanted));
    }
}

proptest! {
    #[test]
    fn any_entry_comes_back(entry in samples::any_entry()) {
        let found = through_the_log(&entry);
        prop_assert_eq!(found, entry);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut body = smallest_body();
        let fields = u32::try_from(bytes.len()).unwrap();
        body[80..84].copy_from_slice(&fields.to_le_bytes());
        body.extend_from_slice(&bytes);
        let view = EntryView::parse(&body).unwrap();
        drop(view.without_payload());
        drop(EntryView::parse(&bytes).map(|view| view.without_payload()));
    }
}
