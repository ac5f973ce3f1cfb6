use std::io::Write;
use std::net::TcpListener;

use bytes::BytesMut;
use hdrhistogram::Histogram;
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::protocol::Encodable;

use super::*;
use crate::broker::{self, Contents};
use crate::requests::batch;
use crate::{relay, tls};

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
        value: None,
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
    let mut target = Target::new("null", address);
    target.pid = Some(std::process::id());
    for (property, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
    ] {
        target.set(property, value);
    }
    target
}

fn count(run: &Run) -> u64 {
    run.requests.unwrap()
}

fn latency(run: &Run) -> &Histogram<u64> {
    let Latency::Measured(latency_ns) = &run.latency else { panic!("{run:?}") };
    latency_ns
}

#[test]
fn every_kind_of_work_runs_against_the_null_broker() {
    let target = null_broker();
    for work in [Work::Produce, Work::Consume, Work::ListOffsets, Work::Metadata] {
        let run = run(&target, &load(work)).unwrap();
        assert!(count(&run) > 0, "{work:?}");
        assert_eq!(latency(&run).len(), count(&run), "{work:?}");
        assert!(run.bytes / count(&run) >= 20, "{work:?}: {run:?}");
        assert!(run.used.resident_bytes_max.unwrap() > 0, "{work:?}");
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
    assert!((100..=520).contains(&count(&run)), "{run:?}");
}

#[test]
fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
    // A broker that answers Metadata with `frame`, and once, half a second after the first request, not for a while.
    let stall = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new("stalls", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = stream.try_clone().unwrap();
        let mut buffer = BytesMut::new();
        let (started, mut stalled) = (Instant::now(), false);
        while let Ok(Some(request)) = crate::frame::read(&mut reader, &mut buffer) {
            if !stalled && started.elapsed() > Duration::from_millis(500) {
                std::thread::sleep(stall);
                stalled = true;
            }
            let topic = MetadataResponseTopic::default().with_name(Some(topic_name("load")));
            let response = MetadataResponse::default().with_topics(vec![topic]);
            let mut answer = BytesMut::from(&[0; 4][..]);
            // The correlation id, then no tagged fields.
            answer.extend_from_slice(&request[4..8]);
            answer.extend_from_slice(&[0]);
            response.encode(&mut answer, METADATA_VERSION).unwrap();
            let length = u32::try_from(answer.len() - 4).unwrap();
            answer[..4].copy_from_slice(&length.to_be_bytes());
            if stream.write_all(&answer).is_err() {
                break;
            }
        }
    });
    let paced = Load {
        rate: Some(1000),
        connections: 1,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(1),
        ..load(Work::Metadata)
    };
    let run = run(&target, &paced).unwrap();
    assert!((990..=1010).contains(&count(&run)), "{}", count(&run));
    // 200 were due while it stalled, one a millisecond: 100 of them waited for longer than 100 ms. A loop that waits
    // for its answers would have seen one.
    let late = |above: u64| {
        latency(&run).iter_recorded().fold(0, |count, step| {
            let counts = step.value_iterated_to() > above * 1_000_000;
            count + if counts { step.count_at_value() } else { 0 }
        })
    };
    assert!((95..=250).contains(&late(100)), "{} of {}", late(100), count(&run));
    assert!((10..=150).contains(&late(180)), "{} of {}", late(180), count(&run));
}

#[test]
fn tls_is_driven_through_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name| folder.path().join(name);
    tls::write_certificates(folder.path()).unwrap();
    let config = tls::server(&file(tls::CERTIFICATE_FILE), &file(tls::KEY_FILE)).unwrap();
    let broker = null_broker();
    let to = broker.address.parse().unwrap();
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = front.local_addr().unwrap().port();
    std::thread::spawn(move || relay::run(&front, to, relay::BUFFER_BYTES, Some(config)));
    let mut target = Target { address: format!("localhost:{port}"), ..broker };
    target.set("security.protocol", "SASL_SSL");
    target.set("ssl.ca.location", file(tls::AUTHORITY_FILE).to_str().unwrap());
    let large = |work| Load { fetch_bytes: 1 << 20, batch_records: 300, ..load(work) };
    for work in [Work::Produce, Work::Consume, Work::ListOffsets] {
        let run = run(&target, &large(work)).unwrap();
        assert!(count(&run) > 0, "{work:?}");
    }
    // Another authority than the one that signed.
    tls::write_certificates(folder.path()).unwrap();
    assert!(run(&target, &load(Work::Produce)).is_err());
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
