//! `sluicegate replay SESSION`: a session as it happened, from the record log.

use std::process::ExitCode;

use serde_json::{Value, json};
use sluicegate_actors::recorder::entry::EntryResource;
use sluicegate_actors::recorder::replay::{RecordLog, Timeline, printable};
use sluicegate_actors::vocabulary::SessionId;

use crate::cli::{LogFile, Output, print, refuse};
use crate::kafka::batch::Batches;
use crate::kafka::batch::codec::{Codecs, DECOMPRESSED_BYTES_MAX};
use crate::kafka::batch::record::Record;

/// Replays a session. `speed` is a factor: 1 is the original timing, 0 (the default) as fast as it prints.
#[must_use]
pub fn run(log: &LogFile, session: &str, speed: f64, output: Output) -> ExitCode {
    let Some(id) = SessionId::parse(session) else {
        return refuse(2, &format!("`{session}` is no session id; see `sluicegate sessions list`"));
    };
    let timeline = log
        .data_dir()
        .and_then(|data| RecordLog::open(&data).map_err(|error| error.to_string()))
        .and_then(|log| {
            log.session(id).map_err(|error| error.to_string())?;
            log.timeline(id).map_err(|error| error.to_string())
        });
    match timeline {
        Ok(timeline) => show(timeline, speed, output),
        Err(error) => refuse(2, &error),
    }
}

fn show(timeline: Timeline, speed: f64, output: Output) -> ExitCode {
    let mut is_first = true;
    for entry in timeline {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return refuse(1, &error),
        };
        let pause = entry.pause(speed);
        if !pause.is_zero() {
            std::thread::park_timeout(pause);
        }
        match output {
            Output::Table => {
                for line in entry.to_lines(&mut |_, payload| records(payload, record_line)) {
                    print(&line);
                }
            }
            Output::Json => {
                print(&if is_first { "[" } else { "," });
                print(
                    &entry.to_json(&mut |_: &EntryResource, payload| records(payload, record_json)),
                );
            }
        }
        is_first = false;
    }
    if let Output::Json = output {
        print(&if is_first { "[]" } else { "]" });
    }
    ExitCode::SUCCESS
}

/// The records of a payload, each made into a `T`; what cannot be read ends them.
fn records<T>(payload: &[u8], make: fn(i64, i64, &Record<'_>) -> T) -> Vec<T> {
    let mut codecs = Codecs::default();
    let mut made = Vec::new();
    for batch in Batches::new(payload).map_while(Result::ok) {
        let (base, timestamp) = (batch.header.base_offset, batch.header.base_timestamp);
        let read = codecs.each_record(&batch, DECOMPRESSED_BYTES_MAX, |record| {
            made.push(make(base, timestamp, record));
        });
        if read.is_err() {
            break;
        }
    }
    made
}

fn record_line(base: i64, _timestamp: i64, record: &Record<'_>) -> String {
    let text = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => printable(&String::from_utf8_lossy(bytes)),
        None => "null".to_owned(),
    };
    let offset = base.saturating_add(i64::from(record.offset_delta));
    format!("{offset}  {}  {}", text(record.key), text(record.value))
}

fn record_json(base: i64, timestamp: i64, record: &Record<'_>) -> Value {
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let headers: Vec<Value> = record
        .headers()
        .map_while(Result::ok)
        .map(|header| json!([text(Some(header.name)), text(header.value)]))
        .collect();
    json!({
        "offset": base.saturating_add(i64::from(record.offset_delta)),
        "timestamp": timestamp.saturating_add(record.timestamp_delta),
        "key": text(record.key),
        "value": text(record.value),
        "headers": headers,
    })
}
