//! `sluicegate serve`: the gateway, until it is told to end.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

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
    let signals = match Signals::watch(&gateway) {
        Ok(signals) => signals,
        Err(error) => return refuse(1, &error),
    };
    if let Err(error) = reload_at_hangup(&gateway) {
        return refuse(1, &error);
    }
    tracing::info!("ready");
    let signal = signals.wait(&gateway);
    tracing::info!(signal, "draining");
    gateway.stop();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// SIGHUP has the policies loaded again, without waiting for the next look at their files.
fn reload_at_hangup(gateway: &Gateway) -> io::Result<()> {
    let _entered = gateway.runtime().enter();
    let mut hangup = signal(SignalKind::hangup())?;
    let policies = gateway.policy_asks();
    gateway.runtime().spawn(async move {
        while hangup.recv().await.is_some() {
            policies.notify_one();
        }
    });
    Ok(())
}

/// The signals that tell the process to end. From [`Signals::watch`] on they no longer end it by themselves.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Asks the system for them; to be done before anybody is told that the process is ready.
    pub(super) fn watch(gateway: &Gateway) -> io::Result<Self> {
        let _entered = gateway.runtime().enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns once one came, with its name.
    pub(super) fn wait(mut self, gateway: &Gateway) -> &'static str {
        gateway.runtime().block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            }
        })
    }
}
