//! `sluicegate demo`: broker, issuer, sample data and gateway in one process, until it is told to end.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::serve::Signals;
use crate::cli::{print, refuse};
use crate::demo::folder::Folder;
use crate::demo::payments::{RECORDS, TOPIC};
use crate::demo::{Demo, DemoError};
use crate::limits;

/// Runs the demo, in `folder` or in a temporary one. Exit code 0 after a drain, 2 where the folder cannot be used, 1
/// where something cannot start.
#[must_use]
pub fn run(folder: Option<&Path>) -> ExitCode {
    let folder = folder.map_or_else(Folder::temporary, Folder::named);
    let demo = match folder.and_then(Demo::start) {
        Ok(demo) => demo,
        Err(error @ DemoError::File { .. }) => return refuse(2, &error),
        Err(error) => return refuse(1, &error),
    };
    let signals = match Signals::watch(demo.gateway()) {
        Ok(signals) => signals,
        Err(error) => return refuse(1, &error),
    };
    for line in introduction(&demo) {
        print(&line);
    }
    signals.wait(demo.gateway());
    demo.stop();
    ExitCode::SUCCESS
}

fn introduction(demo: &Demo) -> Vec<String> {
    let (places, folder) = (demo.places(), demo.folder().display());
    let hours = limits::DEMO_TOKEN_MS / 3_600_000;
    let text = format!(
        "\
broker     {broker}, in memory: topic `{TOPIC}`, {RECORDS} records
gateway    {gateway}, SASL_PLAINTEXT: OAUTHBEARER, or PLAIN with the token as password
admin API  http://{admin}/api/v1
folder     {folder}
           clients/    settings for librdkafka of analyst, auditor, contractor and owner
           tokens/     their tokens, good for {hours} hours
           policies/   Cedar; edit them: loaded again within a second
           masks/      what is masked
           data/       the record
           consume.py  reads a topic with confluent-kafka (kcat with librdkafka 2.0 is too old for
                       this broker)

try:       cd {folder}
           python3 consume.py clients/analyst.properties {TOPIC}      # masked
           python3 consume.py clients/auditor.properties {TOPIC}      # in clear
           python3 consume.py clients/owner.properties {TOPIC}        # refused
           python3 consume.py clients/contractor.properties {TOPIC}   # waits for a grant
           sluicegate approvals list --token-file tokens/owner
           sluicegate approvals grant TICKET --token-file tokens/owner
           sluicegate approvals revoke TICKET --token-file tokens/owner
           sluicegate sessions list
           sluicegate replay SESSION

ready      Ctrl-C ends it",
        broker = places.broker,
        gateway = places.gateway,
        admin = places.admin,
    );
    text.lines().map(str::to_owned).collect()
}
