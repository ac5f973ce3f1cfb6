//! Programs of `clients/` that are whole by themselves: each checks what it sees, and ends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluicegate_loadtest::process::Process;

use super::clients::{Access, Login, clients_home};
use super::kafka;

/// How to start one, without its arguments.
pub struct Program {
    pub name: &'static str,
    pub command: Vec<OsString>,
    pub environment: Vec<(&'static str, OsString)>,
}

impl Program {
    fn new(name: &'static str, command: Vec<OsString>) -> Self {
        Self { name, command, environment: Vec::new() }
    }

    /// `main` in a JVM, with the classes and jars of the folder `name`; Kafka's own jars where it has none.
    pub fn java(name: &'static str, main: &str) -> Self {
        let home = clients_home().join(name);
        let mut libraries = home.join("libs");
        if !libraries.is_dir() {
            libraries = kafka::home().unwrap().join("libs");
        }
        let path = std::env::join_paths([home.join("classes"), libraries.join("*")]).unwrap();
        let options = [
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xmx256m",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
        ];
        let mut command = vec![OsString::from("java")];
        command.extend(options.map(OsString::from));
        command.extend([path, main.into()]);
        Self::new(name, command)
    }

    /// `scenarios.py` of the folder `name`.
    pub fn python(name: &'static str) -> Self {
        let python = clients_home().join("python/bin/python");
        Self::new(name, vec![python.into(), source(name).join("scenarios.py").into()])
    }

    /// `scenarios.js` of the folder `name`.
    pub fn node(name: &'static str) -> Self {
        let mut program =
            Self::new(name, vec!["node".into(), source(name).join("scenarios.js").into()]);
        let modules = clients_home().join(name).join("node_modules");
        program.environment.push(("NODE_PATH", modules.into()));
        program
    }

    /// The program that is compiled from the folder `name`.
    pub fn go(name: &'static str) -> Self {
        Self::new(name, vec![clients_home().join(name).join("scenarios").into()])
    }

    /// The same with another variable.
    #[must_use]
    pub fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    /// Starts it with its arguments, for whoever `access` lets in.
    pub fn start(&self, access: &Access, arguments: &[&str]) -> Process {
        let mut command = vec![OsString::from("env")];
        let mut set = |name: &str, value: &OsString| {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            command.push(assignment);
        };
        for (name, value) in &self.environment {
            set(name, value);
        }
        set("BOOTSTRAP", &access.bootstrap.to_string().into());
        match &access.login {
            Login::None => {}
            Login::Plain(login) => {
                set("SASL_USERNAME", &(&login.username).into());
                set("SASL_PASSWORD", &(&login.password).into());
            }
            Login::Bearer(token) => {
                set("SASL_MECHANISM", &"OAUTHBEARER".into());
                set("SASL_PASSWORD", &token.into());
            }
        }
        command.extend_from_slice(&self.command);
        command.extend(arguments.iter().map(OsString::from));
        let name = format!("{} {}", self.name, arguments.join(" "));
        Process::start(&name, &command, None).unwrap()
    }
}

/// Waits for the end of a program that checks for itself; fails the test, with what it said, where it failed.
pub fn assert_passes(process: &Process, within: Duration) {
    let code = process.await_exit(within);
    assert_eq!(code, Some(0), "{} failed:\n{}", process.name, process.last_lines());
    assert!(process.log().contains("passed"), "{} says nothing", process.name);
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}
