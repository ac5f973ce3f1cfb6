//! A child process that cannot outlive the tests, with its log.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropping it kills it; so does the end of this process, however it ends.
pub struct Process {
    pub name: String,
    pid: Pid,
    _lifeline: ChildStdin,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pid: Option<i32>,
    lines: Vec<String>,
    exit_code: Option<i32>,
}

/// How much of a log a failed test shows.
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
read -r -t 0.1 -u 3
[ $? -eq 1 ] && rm -rf "$LIFELINE_FOLDER"
exit $code
"#;

impl Process {
    /// Starts `command`, its program first. `folder` is removed when the tests end without dropping this.
    pub fn start(name: &str, command: Vec<OsString>, folder: &Path) -> Self {
        let mut lifeline = Command::new("bash")
            .args(["-c", LIFELINE, name])
            .args(command)
            .env("LIFELINE_FOLDER", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(lifeline.stdout.take().unwrap());
        let stdin = lifeline.stdin.take().unwrap();
        let seen = Arc::new(Seen::default());
        let reader = Arc::clone(&seen);
        std::thread::spawn(move || {
            reader.read(output);
            reader.end(lifeline.wait().unwrap().code().unwrap_or(-1));
        });
        let pid = seen.wait(Duration::from_secs(10), |state| state.pid).expect("no process");
        let pid = Pid::from_raw(pid).expect("a pid above zero");
        Self { name: name.to_owned(), pid, _lifeline: stdin, seen }
    }

    /// The pid of the program itself.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().try_into().unwrap()
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

    /// All it has printed so far.
    pub fn log(&self) -> String {
        self.seen.state.lock().unwrap().lines.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("SLUICEGATE_TEST_LOGS").is_some() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("--- what {} printed last:\n{}", self.name, last.join("\n"));
        }
        if self.await_exit(Duration::ZERO).is_none() {
            self.signal(Signal::KILL);
            self.await_exit(Duration::from_secs(10));
        }
    }
}

impl Seen {
    /// Collects lines until the output closes, which is when the program has ended.
    fn read(&self, mut output: impl BufRead) {
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut state = self.state.lock().unwrap();
            match text.strip_prefix("lifeline ") {
                Some(pid) if state.pid.is_none() => state.pid = pid.parse().ok(),
                _ => state.lines.push(text),
            }
            self.changed.notify_all();
            line.clear();
        }
    }

    fn end(&self, exit_code: i32) {
        self.state.lock().unwrap().exit_code = Some(exit_code);
        self.changed.notify_all();
    }

    /// Waits until `found` finds something.
    fn wait<T>(&self, within: Duration, found: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(result) = found(&state) {
                return Some(result);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}
