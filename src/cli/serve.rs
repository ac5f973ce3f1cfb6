//! `sluicegate serve`: the gateway, until it is told to end.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{check, refuse};
use crate::config::Config;
use crate::gateway::Gateway;

/// Runs the gateway. Exit code 0 after a drain, 2 where the configuration is wrong, 1 where it cannot start.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return refuse(2, &error),
    };
    if let Err(problems) = check::machine(&config) {
        return refuse(1, &problems.join("\n"));
    }
    let gateway = match Gateway::start(config) {
        Ok(gateway) => gateway,
        Err(error) => return refuse(1, &error),
    };
    tracing::info!("ready");
    let signal = wait_for_signal(&gateway);
    tracing::info!(signal, "draining");
    gateway.stop();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// Returns once the process is told to end, with the signal's name.
pub(super) fn wait_for_signal(gateway: &Gateway) -> &'static str {
    gateway.runtime().block_on(async {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return "no signals";
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
