//! A slow disk stops nobody where the record is the kernel's (`sync: process`), and refuses in time where it must be on the
//! disk (`sync: always`) (row F5 of the faults).
//!
//! The disk is made slow by a control group of the kernel (version 1, `blkio`), which takes root; elsewhere the tests say
//! that they are skipped, and `src/path/record.rs` has the same over a slow file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata};

use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::healthy::Healthy;
use crate::support::null;
use crate::support::tokens::ALICE;
use crate::support::{PATIENCE, skip, unique};

/// Slows the writes of one process to the disk of a folder.
struct SlowDisk {
    group: PathBuf,
    device: String,
}

impl SlowDisk {
    /// Takes a process in, whose writes are as quick as ever still; `None`, with a printed line, where that is not allowed.
    fn of(pid: u32, folder: &Path) -> Option<Self> {
        let group = PathBuf::from(GROUPS).join(format!("sluicegate-test-{}-{pid}", unique("disk")));
        let device = fs::metadata(folder).unwrap().dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let disk = Self { group, device };
        let made = fs::create_dir(&disk.group)
            .and_then(|()| disk.write("blkio.throttle.write_bps_device", "1000000000"))
            .and_then(|()| fs::write(disk.group.join("cgroup.procs"), pid.to_string()));
        if let Err(error) = made {
            skip(&format!("the disk cannot be made slow: {error}"));
            return None;
        }
        Some(disk)
    }

    /// From now on the disk takes so many bytes in a second; 0 for as many as it can.
    fn takes(&self, bytes_per_second: u64) {
        self.write("blkio.throttle.write_bps_device", &bytes_per_second.to_string()).unwrap();
    }

    fn write(&self, name: &str, value: &str) -> std::io::Result<()> {
        fs::write(self.group.join(name), format!("{} {value}", self.device))
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // The process may be in it still; then the folder goes with the machine.
        self.write("blkio.throttle.write_bps_device", "0").ok();
        if let Ok(processes) = fs::read_to_string(self.group.join("cgroup.procs")) {
            for process in processes.lines() {
                fs::write(Path::new(GROUPS).join("cgroup.procs"), process).ok();
            }
        }
        fs::remove_dir(&self.group).ok();
    }
}

/// Where control groups for disks live.
const GROUPS: &str = "/sys/fs/cgroup/blkio";

fn start(sync: &'static str) -> Option<(Front, SlowDisk)> {
    let setup = Setup { sync: Some(sync), ..null::setup(null::start((1, 100), None)) };
    let front = Front::start(setup)?;
    let gateway = front.gateway();
    let disk = SlowDisk::of(gateway.process.pid(), gateway.folder())?;
    Some((front, disk))
}

fn ask(connection: &mut Connection) -> anyhow::Result<()> {
    connection.call(METADATA_VERSION, &metadata(Some(&[]))).map(drop)
}

#[test]
fn a_slow_disk_is_not_noticed_where_the_kernel_has_the_record() {
    let Some((front, disk)) = start("process") else { return };
    let mut healthy = Healthy::new(front.connect_as(&ALICE));
    disk.takes(1_000);
    healthy.assert_undisturbed("a disk that takes 1 KB a second");
    ask(&mut front.connect_as(&ALICE)).unwrap();
}

#[test]
fn a_slow_disk_holds_what_must_be_on_it_and_then_refuses_it() {
    let Some((front, disk)) = start("always") else { return };
    let mut connection = front.connect_as(&ALICE);
    ask(&mut connection).unwrap();
    // A block of the disk takes some 400 ms: slow, and served.
    disk.takes(20_000);
    let started = Instant::now();
    ask(&mut connection).unwrap();
    assert!(started.elapsed() > Duration::from_millis(50), "the disk was not slow");
    // It takes 8 s and more: held for 2 s, and refused.
    disk.takes(500);
    let started = Instant::now();
    assert!(ask(&mut connection).is_err(), "it was served by a disk that does not answer");
    let held = started.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&held), "{held:?}");
    // The disk recovers, and so does the gateway, by itself.
    disk.takes(0);
    let healed = Instant::now();
    let deadline = healed + PATIENCE;
    loop {
        let served = Connection::open(front.broker_address(), PATIENCE).and_then(|mut fresh| {
            fresh.login(&front.login(&ALICE))?;
            ask(&mut fresh)
        });
        match served {
            Ok(()) => break,
            Err(error) => assert!(Instant::now() < deadline, "it does not recover: {error:#}"),
        }
    }
    eprintln!("recovered after {:?}", healed.elapsed());
    let (text, code) = front.gateway().run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}
