//! The command line, noun first; one file per command.

pub mod approvals;
pub mod check;
pub mod demo;
pub mod doctor;
pub mod mask;
pub mod policy;
pub mod replay;
pub mod serve;
pub mod sessions;
mod table;
pub mod token;
pub mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// An identity-aware gateway for Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, about, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// What is logged where `SLUICEGATE_LOG` does not say: of the demo, whose output is for people, warnings alone.
    #[must_use]
    pub fn log_filter(&self) -> &'static str {
        match self.command {
            Command::Demo { .. } => "warn",
            _ => "info",
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or SIGINT, then drain.
    Serve(ConfigFile),
    /// Run everything in one process, for a look around: an embedded broker with sample data, a local issuer, the
    /// gateway. It says what is where and what to try, and ends by SIGTERM or SIGINT.
    Demo {
        /// Where configuration, keys, tokens and the record go: a folder that has none of them yet. It stays. Without
        /// it, a temporary folder is used and removed at the end.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Check the configuration, the policies and the machine; exit 1 where something is wrong.
    Check(ConfigFile),
    /// Check as `check` does, then the brokers: whether they are reached, and what the gateway's own logins could do there
    /// and should not; exit 1 where something is wrong.
    Doctor(ConfigFile),
    /// List sessions, or show one, from the record log; beside a running gateway or without one.
    Sessions {
        /// Which.
        #[command(subcommand)]
        which: Sessions,
    },
    /// Show a session as it happened, from the record log; beside a running gateway or without one.
    Replay {
        /// The session's id; see `sluicegate sessions list`.
        session: String,
        /// How fast: 1 is the original timing, 10 ten times as fast, 0 without pauses.
        #[arg(long, default_value_t = 0.0)]
        speed: f64,
        /// Where the record log is.
        #[command(flatten)]
        log: LogFile,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Check that the record log is whole, and as it was written; exit 1 where it is not.
    Verify {
        /// Where the record log is.
        #[command(flatten)]
        log: LogFile,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Tickets of a running gateway: what waits for an approval, and the answers to it.
    Approvals {
        /// What to do.
        #[command(subcommand)]
        what: approvals::Approvals,
    },
    /// What the policies say, without a gateway.
    Policy {
        /// What to ask.
        #[command(subcommand)]
        what: policy::Policy,
    },
    /// What mask rules do, without a gateway.
    Mask {
        /// What to do.
        #[command(subcommand)]
        what: mask::Mask,
    },
    /// Tokens of a local issuer, for trials and tests.
    Token {
        /// What to do.
        #[command(subcommand)]
        what: token::Token,
    },
}

/// Of sessions.
#[derive(Debug, Subcommand)]
pub enum Sessions {
    /// All of them, the oldest first.
    List {
        /// Where the record log is.
        #[command(flatten)]
        log: LogFile,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// One of them.
    Show {
        /// Its id.
        session: String,
        /// Where the record log is.
        #[command(flatten)]
        log: LogFile,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where the record log is: the data directory of a configuration, or a directory by itself.
#[derive(Clone, Debug, clap::Args)]
pub struct LogFile {
    #[command(flatten)]
    file: ConfigFile,
    /// The data directory, where there is no configuration to say it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl LogFile {
    /// The data directory.
    ///
    /// # Errors
    ///
    /// A sentence that says why the configuration cannot be used.
    pub fn data_dir(&self) -> Result<PathBuf, String> {
        match &self.data_dir {
            Some(data) => Ok(data.clone()),
            None => Config::load(&self.file.path())
                .map(|config| config.data_dir)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Where the configuration is.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigFile {
    /// The configuration; else `sluicegate.yaml` here or in `config/`.
    #[arg(long, env = "SLUICEGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConfigFile {
    /// The file that was named, or the one that is there.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if let Some(path) = &self.config {
            return path.clone();
        }
        let here = PathBuf::from("sluicegate.yaml");
        if here.exists() { here } else { PathBuf::from("config/sluicegate.yaml") }
    }
}

/// Runs a command. Exit codes: 0 done, 1 it failed, 2 the command line or the configuration is wrong.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Serve(file) => serve::run(&file.path()),
        Command::Demo { dir } => demo::run(dir.as_deref()),
        Command::Check(file) => check::run(&file.path()),
        Command::Doctor(file) => doctor::run(&file.path()),
        Command::Sessions { which: Sessions::List { log, output } } => sessions::list(&log, output),
        Command::Sessions { which: Sessions::Show { session, log, output } } => {
            sessions::show(&log, &session, output)
        }
        Command::Replay { session, speed, log, output } => {
            replay::run(&log, &session, speed, output)
        }
        Command::Verify { log, output } => verify::run(&log, output),
        Command::Approvals { what } => approvals::run(&what),
        Command::Mask { what } => mask::run(&what),
        Command::Policy { what } => policy::run(&what),
        Command::Token { what } => token::run(&what),
    }
}

/// Prints one line. Whoever read the output may have seen enough and gone, as `head` does: then nothing is left to do.
fn print(line: &dyn std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&text),
        Err(error) => drop(refuse(1, &error)),
    }
}

/// Prints a refusal as people read it.
fn refuse(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the command line speaks to people")]
    {
        eprintln!("sluicegate: {error}");
    }
    ExitCode::from(code)
}
