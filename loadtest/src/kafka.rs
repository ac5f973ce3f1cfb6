//! Real Apache Kafka from its jars: how its programs are started, and one node in KRaft mode.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::process::Process;

/// One node of a cluster, before it starts.
#[derive(Debug)]
pub struct Node<'a> {
    /// The folder whose `libs` holds Kafka's jars.
    pub home: &'a Path,
    /// An empty folder for configuration and data.
    pub folder: &'a Path,
    /// The heap, such as `-Xmx512m`.
    pub heap: &'a str,
    /// What the properties that hold for all such nodes leave open: roles, listeners, users.
    pub properties: BTreeMap<&'a str, String>,
    /// More arguments for formatting the storage.
    pub format_arguments: Vec<String>,
}

impl Node<'_> {
    /// Formats the storage, starts the node, and waits until it says that it has started.
    ///
    /// # Errors
    /// Where either does not come to pass; the log is part of the error.
    pub fn start(&self, patience: Duration) -> anyhow::Result<Process> {
        let file = self.folder.join(PROPERTIES_FILE);
        let mut text = SERVER.to_owned();
        writeln!(text, "log.dirs={}", self.folder.join("log").display())?;
        for (name, value) in &self.properties {
            writeln!(text, "{name}={value}")?;
        }
        fs::write(&file, text)?;
        fs::write(self.folder.join(LOGGING_FILE), LOGGING)?;
        self.format(&file, patience)?;
        self.serve(patience)
    }

    /// Starts a node that was started in this folder before, and waits until it says that it has started.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn serve(&self, patience: Duration) -> anyhow::Result<Process> {
        let mut serve = self.java(self.heap, "kafka.Kafka");
        serve.push(self.folder.join(PROPERTIES_FILE).into_os_string());
        let process = Process::start("kafka", &serve, Some(self.folder))?;
        let ready = process.await_line("Kafka Server started", patience);
        ensure!(ready.is_some(), "Kafka did not start:\n{}", process.last_lines());
        Ok(process)
    }

    fn format(&self, properties: &Path, patience: Duration) -> anyhow::Result<()> {
        let mut format = self.java("-Xmx128m", "kafka.tools.StorageTool");
        // The compiler's second tier pays only in long runs, and formatting is short.
        format.insert(1, "-XX:TieredStopAtLevel=1".into());
        format.extend(["format", "-t", "SluicegateTestClusterA", "-c"].map(OsString::from));
        format.push(properties.into());
        format.extend(self.format_arguments.iter().map(OsString::from));
        let process = Process::start("Kafka's format", &format, Some(self.folder))?;
        let code = process.await_exit(patience).context("Kafka's format does not end")?;
        ensure!(code == 0, "Kafka's storage was not formatted:\n{}", process.last_lines());
        Ok(())
    }

    fn java(&self, heap: &str, main: &str) -> Vec<OsString> {
        let mut logging = OsString::from("-Dlog4j2.configurationFile=");
        logging.push(self.folder.join(LOGGING_FILE));
        java(self.home, &[heap.into(), logging], main)
    }
}

/// The command line of one of Kafka's programs, without its own arguments.
#[must_use]
pub fn java(home: &Path, options: &[OsString], main: &str) -> Vec<OsString> {
    let mut command = vec!["java".into(), "-XX:+UseSerialGC".into()];
    command.extend_from_slice(options);
    command.extend(["-cp".into(), home.join("libs").join("*").into_os_string(), main.into()]);
    command
}

/// What does not depend on the run: one replica of everything, few partitions, no waiting for members, and records stay, however
/// old they say that they are.
const SERVER: &str = "\
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.retention.ms=-1
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=4194304
";

const PROPERTIES_FILE: &str = "server.properties";

const LOGGING_FILE: &str = "log4j2.properties";

const LOGGING: &str = "\
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss,SSS} %p %c{1} %m%n
";
