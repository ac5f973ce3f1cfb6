//! `sluicegate-loadtest`: dispatch the command line.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use sluicegate_loadtest::plan::Plan;

fn main() -> ExitCode {
    match sluicegate_loadtest::run(Plan::parse(), &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads it there is nobody to tell.
            writeln!(std::io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
