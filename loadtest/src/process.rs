//! A child process that cannot outlive this one, with its log.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropping it kills it; so does the end of this process, however it ends.
#[derive(Debug)]
pub struct Process {
    /// What it is called in messages.
    pub name: String,
    pid: Pid,
    _lifeline: ChildStdin,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<i32>,
    lines: Vec<String>,
    exit_code: Option<i32>,
}

/// How much of a log is shown of a process that failed.
const LINES_SHOWN: usize = 80;

/// Runs the program beside a reader of stdin, which ends with the process that holds the other end of the pipe; then
/// kills the program and removes its folder. (A parent-death signal would not do: it follows the thread that spawned,
/// and a test's thread ends early.)
const LIFELINE: &str = r#"
exec 3<&0
"$@" </dev/null 2>&1 3<&- &
child=$!
echo "lifeline $child"
(cat <&3; kill -KILL $child) >/dev/null &
watcher=$!
wait $child
code=$?
kill $watcher
if [ -n "$LIFELINE_FOLDER" ]; then
    read -r -t 0.1 -u 3
    [ $? -eq 1 ] && rm -rf "$LIFELINE_FOLDER"
fi
exit $code
"#;

impl Process {
    /// Starts `command`, its program first. `folder` is removed when this process ends without dropping the value.
    ///
    /// # Errors
    /// Where there is no bash to start it.
    pub fn start(name: &str, command: &[OsString], folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut lifeline = Command::new("bash")
            .args(["-c", LIFELINE, name])
            .args(command)
            .env("LIFELINE_FOLDER", folder.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Out of the terminal's reach: on Ctrl-C this process ends, and then the lifeline does its work.
            .process_group(0)
            .spawn()
            .context("cannot start bash")?;
        let output = BufReader::new(lifeline.stdout.take().context("no output")?);
        let stdin = lifeline.stdin.take().context("no input")?;
        let seen = Arc::new(Seen::default());
        let reader = Arc::clone(&seen);
        std::thread::spawn(move || {
            reader.read(output);
            reader.end(lifeline.wait().ok().and_then(|status| status.code()).unwrap_or(-1));
        });
        let pid = seen.wait(Duration::from_secs(10), |state| state.pid);
        let pid = pid.and_then(Pid::from_raw).with_context(|| format!("no process for {name}"))?;
        Ok(Self { name: name.to_owned(), pid, _lifeline: stdin, seen })
    }

    /// The pid of the program itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        // Where it has ended already there is nobody to signal.
        kill_process(self.pid, signal).ok();
    }

    /// Waits for a line of its output that holds `text`; `None` where it ended or the time is up.
    pub fn await_line(&self, text: &str, within: Duration) -> Option<String> {
        let found = |state: &State| {
            let line = state.lines.iter().find(|line| line.contains(text)).cloned();
            (line.is_some() || state.exit_code.is_some()).then_some(line)
        };
        self.seen.wait(within, found).flatten()
    }

    /// Waits for its end; `None` where the time is up. A signal `n` shows as 128 + n.
    pub fn await_exit(&self, within: Duration) -> Option<i32> {
        self.seen.wait(within, |state| state.exit_code)
    }

    /// Waits until `ask` says yes; the process has no other way to say so.
    ///
    /// # Errors
    /// Where the process ends before, or the time is up; its log is part of the error.
    pub fn await_true(&self, within: Duration, ask: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while !ask() {
            if let Some(code) = self.await_exit(Duration::from_millis(20)) {
                bail!("{} ended with {code}:\n{}", self.name, self.last_lines());
            }
            let name = &self.name;
            ensure!(Instant::now() < deadline, "{name} does not serve:\n{}", self.last_lines());
        }
        Ok(())
    }

    /// Waits until `address` accepts connections.
    ///
    /// # Errors
    /// As [`Process::await_true`].
    pub fn await_accept(&self, within: Duration, address: SocketAddr) -> anyhow::Result<()> {
        self.await_true(within, || TcpStream::connect(address).is_ok())
    }

    /// All it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.seen.lock().lines.join("\n")
    }

    /// The end of what it has printed so far.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let state = self.seen.lock();
        let from = state.lines.len().saturating_sub(LINES_SHOWN);
        state.lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("SLUICEGATE_TEST_LOGS").is_some() {
            let text = format!("--- what {} printed last:\n{}\n", self.name, self.last_lines());
            std::io::stderr().write_all(text.as_bytes()).ok();
        }
        if self.await_exit(Duration::ZERO).is_none() {
            self.signal(Signal::KILL);
            // It cannot refuse, so that there is nothing to do where it takes longer.
            self.await_exit(Duration::from_secs(10));
        }
    }
}

impl Seen {
    /// Nothing is left half done under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects lines until the output closes, which is when the program has ended.
    fn read(&self, mut output: impl BufRead) {
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut state = self.lock();
            match text.strip_prefix("lifeline ") {
                Some(pid) if state.pid.is_none() => state.pid = pid.parse().ok(),
                _ => state.lines.push(text),
            }
            self.changed.notify_all();
            line.clear();
        }
    }

    fn end(&self, exit_code: i32) {
        self.lock().exit_code = Some(exit_code);
        self.changed.notify_all();
    }

    /// Waits until `found` finds something.
    fn wait<T>(&self, within: Duration, found: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(result) = found(&state) {
                return Some(result);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Process {
        let command = ["sh", "-c", script].map(OsString::from);
        Process::start("sh", &command, None).unwrap()
    }

    #[test]
    fn its_lines_and_its_exit_code_are_told() {
        let process = start("echo one; echo two >&2; exit 3");
        assert_eq!(process.await_exit(Duration::from_secs(10)), Some(3));
        assert_eq!(process.log(), "one\ntwo");
        assert!(process.await_true(Duration::from_secs(10), || false).is_err());
    }

    #[test]
    fn dropping_it_ends_it() {
        let process = start("echo up; exec sleep 1000");
        assert!(process.await_line("up", Duration::from_secs(10)).is_some());
        let stat = format!("/proc/{}", process.pid());
        assert!(Path::new(&stat).exists());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }
}
