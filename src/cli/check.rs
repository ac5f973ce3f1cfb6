//! `sluicegate check`: what would keep the gateway from serving, before it does.

use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};
use sluicegate_actors::policy::Policies;

use crate::cli::{print, refuse};
use crate::config::Config;
use crate::gateway::mask_rules;
use crate::limits;

/// Checks configuration, policies and machine. Exit code 0 where all is well, 1 where the machine is not, 2 where the
/// files are not.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return refuse(2, &error),
    };
    let policies = match Policies::load(config.policy_files.clone(), config.approvers.clone()) {
        Ok(policies) => policies,
        Err(error) => return refuse(2, &error),
    };
    for (rule, forbid) in policies.bundle().shadowed() {
        let (file, line) = rule.position();
        let (id, by) = (rule.id(), forbid.id());
        print(&format_args!("{file}:{line}: `{id}` never permits anything: `{by}` forbids it"));
    }
    if let Err(error) = mask_rules(&config) {
        return refuse(2, &error);
    }
    if let Err(problems) = machine(&config) {
        return refuse(1, &problems.join("\n"));
    }
    print(&format_args!("{}: ok", path.display()));
    ExitCode::SUCCESS
}

/// What of the machine is not as the gateway needs it; each with the command that mends it. Raises the limit of open
/// files as far as it may.
///
/// # Errors
///
/// One sentence for each problem.
pub fn machine(config: &Config) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    problems.extend(memlock_problem(config.shards));
    problems.extend(open_files_problem());
    problems.extend(io_uring_problem());
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The kernel's switch, and then the real thing: an executor, which fails where seccomp forbids it (Docker ≥ 25 and
/// containerd ≥ 2 do by default).
fn io_uring_problem() -> Option<String> {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if switch.trim() == "2" {
        let text = "io_uring is switched off on this machine: sysctl -w kernel.io_uring_disabled=0";
        return Some(text.to_owned());
    }
    match glommio::LocalExecutorBuilder::default().make() {
        Ok(executor) => {
            drop(executor);
            None
        }
        Err(error) => Some(format!(
            "io_uring cannot be used ({error}); in a container, allow io_uring_setup, \
             io_uring_enter and io_uring_register in its seccomp profile"
        )),
    }
}

fn memlock_problem(shards: usize) -> Option<String> {
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    let needed = shards.saturating_mul(limits::MEMLOCK_BYTES_PER_SHARD);
    let limit = getrlimit(Resource::Memlock).current?;
    (limit < needed).then(|| {
        format!(
            "{limit} bytes may be locked in memory, {shards} shards need {needed}: \
             ulimit -l {} (or LimitMEMLOCK= in the unit)",
            needed.div_ceil(1024)
        )
    })
}

fn open_files_problem() -> Option<String> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let current = getrlimit(Resource::Nofile).current?;
    let needed = limits::OPEN_FILES_MIN;
    (current < needed)
        .then(|| format!("{current} files may be open, {needed} are needed: ulimit -n {needed}"))
}
