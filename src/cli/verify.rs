//! `sluicegate verify`: whether the record log is whole, and as it was written.

use std::process::ExitCode;

use sluicegate_actors::recorder::keys::RecordPublicKey;
use sluicegate_actors::recorder::verify::{Scope, verify};

use crate::cli::{LogFile, Output, print, print_json, refuse};

/// Checks CRCs, numbers, chains and signed heads of the whole log. Exit code 0 where it is sound, 1 where it is not.
#[must_use]
pub fn run(log: &LogFile, output: Output) -> ExitCode {
    let data = match log.data_dir() {
        Ok(data) => data,
        Err(error) => return refuse(2, &error),
    };
    let key = match RecordPublicKey::read(&data.join("keys/record.pub")) {
        Ok(key) => key,
        Err(error) => return refuse(2, &error),
    };
    match verify(&data, &key, Scope::All) {
        Ok(report) => {
            match output {
                Output::Table => print(&report),
                Output::Json => print_json(&report),
            }
            if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => refuse(2, &error),
    }
}
