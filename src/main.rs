//! The command line of Sluicegate; see [`sluicegate::cli`].

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = sluicegate::cli::Arguments::parse();
    let filter = EnvFilter::try_from_env("SLUICEGATE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(arguments.log_filter()));
    // Client ids and topic names are free text: JSON escapes what would forge a line.
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).init();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Installed once, at the start; a second time could only be a library's own.
    drop(provider.install_default());
    sluicegate::cli::run(arguments)
}
