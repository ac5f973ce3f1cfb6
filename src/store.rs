//! The store's own thread: it drains what the shards have written, and seals heads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use sluicegate_actors::recorder::drain::Store;

use crate::clock;

/// How often the shards' segments are looked at.
const DRAIN_EVERY: Duration = Duration::from_millis(200);

/// The thread; stopping it drains and seals once more.
#[derive(Debug)]
pub struct StoreThread {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl StoreThread {
    /// Starts it. `damaged` is set once the log turns out to be damaged: no session may open from then on.
    ///
    /// # Errors
    ///
    /// The system's, where there is no thread to be had.
    pub fn start(store: Store, damaged: Arc<AtomicBool>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(store, &stopped, &damaged))?;
        Ok(Self { stop, thread })
    }

    /// Drains what is left, seals it, and ends. Called once the shards write no more.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the store's thread did not end in order");
        }
    }
}

fn run(mut store: Store, stopped: &mpsc::Receiver<()>, damaged: &AtomicBool) {
    loop {
        let is_last = stopped.recv_timeout(DRAIN_EVERY) == Err(RecvTimeoutError::Disconnected);
        while drain(&mut store, damaged) {}
        if let Err(error) = store.seal_if_due(clock::wall()) {
            tracing::error!(%error, "no head can be sealed");
        }
        if is_last {
            if let Err(error) = store.seal(clock::wall()) {
                tracing::error!(%error, "the last head cannot be sealed");
            }
            return;
        }
    }
}

/// Whether there is more to drain now.
fn drain(store: &mut Store, damaged: &AtomicBool) -> bool {
    match store.drain_once() {
        Ok(drained) => {
            for damage in &drained.damage {
                if !damaged.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        ?damage,
                        "alarm: the record log is damaged; run `sluicegate verify`"
                    );
                }
            }
            drained.more
        }
        Err(error) => {
            tracing::error!(%error, "the store cannot take what the shards wrote; it tries again");
            false
        }
    }
}
