//! Kafka's own command line tools, from the jars of `make setup`.

use std::ffi::OsString;
use std::io::Write;
use std::process::Command;

use sluicegate_loadtest::kafka::java;

use super::clients::{Access, Login};

/// What a tool printed, and its exit code.
#[derive(Debug)]
pub struct Printed {
    pub text: String,
    pub code: i32,
}

/// Runs the tool whose main class this is, for whoever `access` lets in.
pub fn run(class: &str, access: &Access, arguments: &[&str]) -> Printed {
    let Login::Plain(login) = &access.login else { panic!("the tools log in by PLAIN") };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(
        file,
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{}\" \
         password=\"{}\";\n",
        login.username, login.password
    )
    .unwrap();
    let home = super::kafka::home().unwrap();
    let options = [OsString::from("-XX:TieredStopAtLevel=1"), OsString::from("-Xmx256m")];
    let mut command = java(&home, &options, class);
    command.extend(["--bootstrap-server".into(), access.bootstrap.to_string().into()]);
    command.extend(["--command-config".into(), file.path().as_os_str().to_owned()]);
    command.extend(arguments.iter().map(OsString::from));
    let output = Command::new(&command[0]).args(&command[1..]).output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Printed { text, code: output.status.code().unwrap_or(-1) }
}

impl Printed {
    /// Fails the test where the tool failed, or did not print all of these; what it printed is part of the failure.
    pub fn assert_prints(&self, wanted: &[&str]) {
        assert_eq!(self.code, 0, "{}", self.text);
        for wanted in wanted {
            assert!(self.text.contains(wanted), "no `{wanted}` in:\n{}", self.text);
        }
    }

    /// Fails the test where it printed any of these.
    pub fn assert_hides(&self, unwanted: &[&str]) {
        for unwanted in unwanted {
            assert!(!self.text.contains(unwanted), "`{unwanted}` in:\n{}", self.text);
        }
    }
}
