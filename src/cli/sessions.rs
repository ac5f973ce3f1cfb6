//! `sluicegate sessions list|show`: who was there, from the record log.

use std::process::ExitCode;

use sluicegate_actors::recorder::index::SessionSummary;
use sluicegate_actors::recorder::replay::{RecordLog, printable, second_text};
use sluicegate_actors::vocabulary::SessionId;

use crate::cli::{LogFile, Output, print, print_json, refuse, table};

/// Lists all sessions, the oldest first.
#[must_use]
pub fn list(log: &LogFile, output: Output) -> ExitCode {
    let sessions = log
        .data_dir()
        .and_then(|data| RecordLog::open(&data).map_err(|error| error.to_string()))
        .and_then(|log| log.sessions().map_err(|error| error.to_string()));
    let sessions = match sessions {
        Ok(sessions) => sessions,
        Err(error) => return refuse(2, &error),
    };
    match output {
        Output::Json => print_json(&sessions),
        Output::Table => {
            let header = ["session", "first", "requests", "denials", "identity", "client"];
            let rows: Vec<_> = sessions.iter().map(row).collect();
            for line in table::lines(header, &rows) {
                print(&line);
            }
        }
    }
    ExitCode::SUCCESS
}

/// Shows one session's summary.
#[must_use]
pub fn show(log: &LogFile, session: &str, output: Output) -> ExitCode {
    let Some(id) = SessionId::parse(session) else {
        return refuse(2, &format!("`{session}` is no session id; see `sluicegate sessions list`"));
    };
    let summary = log
        .data_dir()
        .and_then(|data| RecordLog::open(&data).map_err(|error| error.to_string()))
        .and_then(|log| log.session(id).map_err(|error| error.to_string()));
    match (summary, output) {
        (Err(error), _) => return refuse(2, &error),
        (Ok(summary), Output::Json) => print_json(&summary),
        (Ok(summary), Output::Table) => {
            let json = serde_json::to_value(&summary).unwrap_or_default();
            for (name, value) in json.as_object().into_iter().flatten() {
                print(&format!("{name:<16} {}", printable(&value.to_string())));
            }
        }
    }
    ExitCode::SUCCESS
}

fn row(session: &SessionSummary) -> [String; 6] {
    [
        session.session.clone(),
        second_text(session.first_micros),
        session.requests.to_string(),
        session.denials.to_string(),
        printable(&session.principal),
        printable(&session.client_id),
    ]
}
