//! Edits against messages that were made without the removed, or with the added.

use proptest::prelude::*;

use super::*;
use crate::kafka::oracle;
use crate::kafka::samples::{Direction, Node, Random, encode, exchanges, frame, message};
use crate::kafka::schema::{List, Meaning};
use crate::kafka::walk;
use crate::kafka::{Exchange, exchange};

const LISTS: [List; 6] = [
    List::Topics,
    List::ForgottenTopics,
    List::Groups,
    List::Keys,
    List::Endpoints,
    List::SubscribedTopics,
];

fn walked(exchange: &'static Exchange, direction: Direction, frame: &[u8], body: usize) -> Found {
    let mut found = Found::default();
    match direction {
        Direction::Request => walk::request(exchange, frame, body, &mut found).unwrap(),
        Direction::Response => walk::response(exchange, frame, body, &mut found).unwrap(),
    }
    found
}

/// Applies edits and checks that the pieces are one frame.
fn applied(edits: &mut Edits, bytes: &Bytes, found: &Found) -> Bytes {
    let mut rope = Rope::default();
    edits.apply(bytes, found, &mut rope).unwrap();
    assert!(edits.is_empty());
    assert!(rope.pieces().iter().all(|piece| !piece.bytes(bytes).is_empty()));
    let whole = rope.to_bytes(bytes);
    assert_eq!(whole.len(), rope.size());
    assert_eq!(
        i32::from_be_bytes(whole[..4].try_into().unwrap()),
        i32::try_from(whole.len() - 4).unwrap()
    );
    whole
}

fn cases() -> impl Iterator<Item = (&'static Exchange, Direction)> {
    exchanges().flat_map(|exchange| {
        [Direction::Request, Direction::Response].map(|direction| (exchange, direction))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Removing, and appending, elements of each array gives the message that never had, or always
    /// had, them.
    #[test]
    fn arrays_are_cut_and_extended(seed: u64) {
        let mut random = Random::new(seed);
        let mut edits = Edits::default();
        for (exchange, direction) in cases() {
            let mut tree = message(exchange, direction, &mut random);
            let (bytes, body) = frame(exchange, direction, &tree);
            let found = walked(exchange, direction, &bytes, body);
            let first = random.below(6);
            let wanted = LISTS.iter().cycle().skip(first).take(6).copied();
            let list = |wanted| found.lists.iter().find(|it| it.list == wanted && !it.null);
            let Some(list) = wanted.filter_map(list).next() else { continue };
            let elements = tree.elements_mut(list.list).unwrap();
            let spans = spans(&found, list);
            assert_eq!(spans.len(), elements.len());
            let keep: Vec<bool> = spans.iter().map(|_| random.below(2) == 0).collect();
            for (span, _) in spans.iter().zip(&keep).filter(|(_, keep)| !**keep) {
                edits.remove(list, *span);
            }
            let mut keeping = keep.iter();
            elements.retain(|_| *keeping.next().unwrap());
            if let Some(copy) = elements.first().cloned() {
                let mut out = Vec::new();
                encode(&copy, exchange.is_flexible(), &mut out);
                edits.append(list, 1, &out);
                elements.push(copy);
            }
            if edits.is_empty() {
                continue;
            }
            let edited = applied(&mut edits, &Bytes::from(bytes), &found);
            let (expected, _) = frame(exchange, direction, &tree);
            let what = (exchange.api.name, exchange.version);
            prop_assert_eq!(&edited[..], &expected[..], "{:?}", what);
        }
    }

    /// Hosts and records of any size, and the sizes around them.
    #[test]
    fn strings_and_records_are_replaced(seed: u64) {
        let mut random = Random::new(seed);
        let mut edits = Edits::default();
        for (exchange, direction) in cases() {
            let mut tree = message(exchange, direction, &mut random);
            let (bytes, body) = frame(exchange, direction, &tree);
            let found = walked(exchange, direction, &bytes, body);
            let mut hosts = Vec::new();
            tree.texts_mut(Meaning::Host, &mut hosts);
            assert_eq!(hosts.len(), found.endpoints.len());
            for (host, endpoint) in hosts.into_iter().zip(&found.endpoints) {
                let text = "h".repeat(random.below(300));
                edits.set_string(&endpoint.host, Some(&text));
                *host = Some(text);
            }
            let mut records = Vec::new();
            tree.blobs_mut(Meaning::Records, &mut records);
            for (at, blob) in records.into_iter().enumerate() {
                let size = random.below(2_000);
                let new = (random.below(3) > 0).then(|| vec![at.to_le_bytes()[0]; size]);
                edits.set_bytes(&found.partitions[at].records, new.clone().map(Bytes::from));
                *blob = new;
            }
            if edits.is_empty() {
                continue;
            }
            let edited = applied(&mut edits, &Bytes::from(bytes), &found);
            let (expected, body) = frame(exchange, direction, &tree);
            let what = (exchange.api.name, exchange.version);
            prop_assert_eq!(&edited[..], &expected[..], "{:?}", what);
            if oracle::knows(exchange) {
                let again = oracle::round_trip(exchange, direction, &edited[body..]);
                prop_assert_eq!(again.as_deref(), Ok(&edited[body..]));
            }
        }
    }
}

/// The elements of one list.
fn spans(found: &Found, list: &ListSpan) -> Vec<Span> {
    let inside = |span: &Span| list.first <= span.start && span.end <= list.end;
    let spans: Vec<Span> = match list.list {
        List::Groups => found.groups.iter().map(|group| group.element).collect(),
        List::Keys => found.keys.iter().map(|key| key.element).collect(),
        List::Endpoints => found.endpoints.iter().map(|broker| broker.element).collect(),
        _ => {
            let topics = found.topics.iter();
            topics.filter(|topic| found.list_of(topic) == list.list).map(|it| it.element).collect()
        }
    };
    spans.into_iter().filter(|span| inside(span) && !span.is_empty()).collect()
}

/// A Fetch v11 response with two topics of two partitions each, the second with large records.
fn fetch() -> (&'static Exchange, Bytes, Found) {
    let exchange = exchange(1, 11).unwrap();
    let mut random = Random::new(3);
    let mut tree = message(exchange, Direction::Response, &mut random);
    let sizes = [0, 100_000];
    let topics = tree.elements_mut(List::Topics).unwrap();
    let mut topic = loop {
        let mut other = message(exchange, Direction::Response, &mut random);
        let Some(topic) = other.elements_mut(List::Topics).unwrap().first().cloned() else {
            continue;
        };
        let mut probe = topic.clone();
        if let Some(first) = probe.elements_mut(List::Partitions).unwrap().first().cloned() {
            let mut topic = topic;
            *topic.elements_mut(List::Partitions).unwrap() = vec![first.clone(), first];
            break topic;
        }
    };
    let mut records = Vec::new();
    topic.blobs_mut(Meaning::Records, &mut records);
    for (blob, size) in records.into_iter().zip(sizes) {
        *blob = Some(vec![7; size]);
    }
    *topics = vec![topic.clone(), topic];
    let (bytes, body) = frame(exchange, Direction::Response, &tree);
    let found = walked(exchange, Direction::Response, &bytes, body);
    (exchange, bytes.into(), found)
}

#[test]
fn untouched_records_are_not_copied() {
    let (_, bytes, found) = fetch();
    let mut edits = Edits::default();
    edits.remove(&found.list(List::Topics).unwrap(), found.topics[0].element);
    let mut rope = Rope::default();
    edits.apply(&bytes, &found, &mut rope).unwrap();
    let is_kept = |piece: &Piece| matches!(piece, Piece::Kept(range) if range.len() >= 100_000);
    assert!(rope.pieces().iter().any(is_kept));
}

#[test]
fn appends_at_one_place_keep_to_their_arrays() {
    let (exchange, bytes, found) = fetch();
    let topic = found.topics[1];
    let list = found.list(List::Topics).unwrap();
    // In the old forms the last partition, its topic and the array of topics end at the same byte.
    assert_eq!(topic.partition_list.end, list.end);
    let partition = found.partitions_of(&topic)[0].element.bytes(&bytes).to_vec();
    let element = found.topics[0].element.bytes(&bytes).to_vec();
    let mut edits = Edits::default();
    edits.append(&list, 1, &element);
    edits.append(&topic.partition_list, 1, &partition);
    let edited = applied(&mut edits, &bytes, &found);
    let (_, body) = walk::response_header(exchange, &edited).unwrap();
    let again = walked(exchange, Direction::Response, &edited, body);
    let counts: Vec<u32> = again.topics.iter().map(|topic| topic.partition_list.count).collect();
    assert_eq!(counts, [2, 3, 2]);
}

#[test]
fn edits_that_do_not_fit_are_refused() {
    let (_, bytes, found) = fetch();
    let list = found.list(List::Topics).unwrap();
    let element = found.topics[0].element;
    let apply = |edit: &dyn Fn(&mut Edits)| {
        let mut edits = Edits::default();
        edit(&mut edits);
        edits.apply(&bytes, &found, &mut Rope::default())
    };
    let twice = apply(&|edits| {
        edits.remove(&list, element);
        edits.remove(&list, element);
    });
    assert_eq!(twice, Err(EditError::Overlap { at: element.start }));
    let inside = apply(&|edits| {
        edits.remove(&list, element);
        edits.set_int32(element.start + 4, 1);
    });
    assert_eq!(inside, Err(EditError::Overlap { at: element.start + 4 }));
    let outside = apply(&|edits| edits.set_int64(u32::try_from(bytes.len()).unwrap() - 4, 0));
    let (size, end) = (bytes.len(), bytes.len() + 4);
    assert_eq!(outside, Err(EditError::Outside { end, size }));
    let fewer = apply(&|edits| {
        edits.remove_all(&list);
        edits.remove(&list, Span { start: list.end, end: list.end });
    });
    assert_eq!(fewer, Err(EditError::Count { at: list.at }));
}

#[test]
fn an_array_is_emptied() {
    let (exchange, bytes, found) = fetch();
    let mut edits = Edits::default();
    edits.remove_all(&found.list(List::Topics).unwrap());
    let edited = applied(&mut edits, &bytes, &found);
    let (_, body) = walk::response_header(exchange, &edited).unwrap();
    assert!(walked(exchange, Direction::Response, &edited, body).topics.is_empty());
}

#[test]
fn trees_are_what_the_helper_says() {
    // The comparisons above would say nothing if removal from the tree did nothing.
    let exchange = exchange(3, 12).unwrap();
    let mut random = Random::new(1);
    let mut tree = loop {
        let mut tree = message(exchange, Direction::Response, &mut random);
        if tree.elements_mut(List::Topics).is_some_and(|topics| !topics.is_empty()) {
            break tree;
        }
    };
    let before = frame(exchange, Direction::Response, &tree).0;
    tree.elements_mut(List::Topics).unwrap().clear();
    assert!(frame(exchange, Direction::Response, &tree).0.len() < before.len());
    assert!(matches!(tree, Node::Structure { .. }));
}
