//! Append entries to the shard's segment; nothing is forwarded or delivered before they are written.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_lite::FutureExt;
use glommio::timer::sleep;
use sluicegate_actors::recorder::entry::{
    EntryDraft, EntryKind, EntryNumber, Instants, MaskedDraft, Origin, OriginFacts, Outcome,
    RequestDraft,
};
use sluicegate_actors::recorder::writer::{RecordError, SegmentFile, SegmentWriter};
use sluicegate_actors::vocabulary::{ConnectionId, SessionId};

use crate::path::tally::Tally;
use crate::{clock, limits};

/// One shard's part of the record log.
///
/// The shard writes; where entries must be on the disk before they count, a thread of the executor syncs, one sync at a
/// time for all that was written before it, and the shard goes on meanwhile.
#[derive(Debug)]
pub struct RecordLog<F: SegmentFile = File>(Rc<State<F>>);

#[derive(Debug)]
struct State<F: SegmentFile> {
    writer: RefCell<SegmentWriter<F>>,
    started: Instant,
    /// Entries below this number are on the disk, where they must be.
    synced: Cell<EntryNumber>,
    /// Somebody waits until entries below this number are.
    wanted: Cell<EntryNumber>,
    is_syncing: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// What the entries of one connection have in common: whose they are, and their numbers without gaps.
#[derive(Debug)]
pub struct Trace {
    origin: RefCell<Origin>,
    connection: ConnectionId,
    next: Cell<u64>,
}

/// One entry, beside whose and when it is.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// What it tells of.
    pub kind: EntryKind,
    /// The request that it is about.
    pub request: Option<RequestDraft<'a>>,
    /// The number of the request's own entry, where this one continues it.
    pub answers: Option<u64>,
    /// What was decided.
    pub outcome: Outcome,
    /// The code that the client was given.
    pub error_code: i16,
    /// The policy bundle that decided.
    pub policy_epoch: u64,
    /// The client id of the request.
    pub client_id: &'a str,
    /// A sentence for people.
    pub text: &'a str,
    /// What was masked.
    pub masked: &'a [MaskedDraft<'a>],
    /// How many values were withheld.
    pub withheld: u64,
}

impl<'a> Note<'a> {
    /// A note with nothing but its kind.
    #[must_use]
    pub fn new(kind: EntryKind) -> Self {
        Self {
            kind,
            request: None,
            answers: None,
            outcome: Outcome::Undecided,
            error_code: 0,
            policy_epoch: 0,
            client_id: "",
            text: "",
            masked: &[],
            withheld: 0,
        }
    }

    /// The same with a sentence for people.
    #[must_use]
    pub fn text(mut self, text: &'a str) -> Self {
        self.text = text;
        self
    }
}

impl Trace {
    /// A connection that speaks for nobody yet.
    #[must_use]
    pub fn new(connection: ConnectionId, peer: SocketAddr, listener: &str) -> Self {
        let facts = OriginFacts { principal: "", address: Some(peer), listener };
        let origin = Origin::new(SessionId([0; 16]), connection, &facts);
        Self { origin: RefCell::new(origin), connection, next: Cell::new(0) }
    }

    /// The connection speaks for this session from now on.
    pub fn speaks_for(
        &self,
        session: SessionId,
        principal: &str,
        peer: SocketAddr,
        listener: &str,
    ) {
        let facts = OriginFacts { principal, address: Some(peer), listener };
        self.origin.replace(Origin::new(session, self.connection, &facts));
    }

    /// The number of the entry appended last.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.next.get().saturating_sub(1)
    }
}

impl<F: SegmentFile + Send + 'static> RecordLog<F> {
    /// The log over a writer that was opened at the start.
    #[must_use]
    pub fn new(writer: SegmentWriter<F>) -> Self {
        let first = writer.next_number();
        Self(Rc::new(State {
            writer: RefCell::new(writer),
            started: clock::monotonic(),
            synced: Cell::new(first),
            wanted: Cell::new(first),
            is_syncing: Cell::new(false),
            waiting: RefCell::default(),
        }))
    }

    /// Appends one entry with the resources of `tally`. It counts once [`RecordLog::flush`] has returned `Ok`.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: what the entry is about must not happen.
    pub fn append(
        &self,
        trace: &Trace,
        note: &Note<'_>,
        tally: Option<&Tally>,
        payload: &[&[u8]],
    ) -> Result<(), RecordError> {
        let origin = trace.origin.borrow();
        let ordinal = trace.next.get();
        let mut draft = EntryDraft::new(note.kind, &origin, ordinal, self.now());
        draft.request = note.request;
        draft.answers = note.answers;
        draft.outcome = note.outcome;
        draft.error_code = note.error_code;
        draft.policy_epoch = note.policy_epoch;
        draft.client_id = note.client_id;
        draft.text = note.text;
        draft.masked = note.masked;
        draft.withheld = note.withheld;
        let mut writer = self.0.writer.borrow_mut();
        let mut entry = writer.begin(&draft)?;
        for resource in tally.into_iter().flat_map(Tally::drafts) {
            entry.resource(&resource);
        }
        entry.commit(payload)?;
        trace.next.set(ordinal.saturating_add(1));
        Ok(())
    }

    /// Hands everything appended so far to the kernel, and waits for the disk where that is configured.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: nothing of what was appended may happen.
    ///
    /// # Cancel safety
    ///
    /// What was written stays written, and a sync that was begun goes on.
    pub async fn flush(&self) -> Result<(), RecordError> {
        let Some(wanted) = self.write()? else { return Ok(()) };
        if self.0.synced.get() >= wanted {
            return Ok(());
        }
        self.begin_sync(wanted);
        let late = async {
            sleep(limits::RECORD_SYNC_MS_MAX).await;
            Err(RecordError::Late { limit: limits::RECORD_SYNC_MS_MAX })
        };
        poll_fn(|context| self.0.poll_synced(context, wanted)).or(late).await
    }

    /// A few times a second: tries again what could not be written, so that the log recovers when the disk does.
    pub fn tick(&self) {
        match self.write() {
            Ok(Some(wanted)) if self.0.synced.get() < wanted => self.begin_sync(wanted),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "the record log cannot be written; requests are refused");
            }
        }
    }

    /// Hands everything to the kernel; the number of the next entry where the disk must have all before it.
    fn write(&self) -> Result<Option<EntryNumber>, RecordError> {
        let mut writer = self.0.writer.borrow_mut();
        if writer.needs_flush() {
            writer.write()?;
        }
        Ok(writer.is_synced_always().then(|| writer.next_number()))
    }

    /// Starts the syncing of what is written below `wanted`, unless one sync after another is under way already.
    fn begin_sync(&self, wanted: EntryNumber) {
        self.0.wanted.set(self.0.wanted.get().max(wanted));
        if !self.0.is_syncing.replace(true) {
            let log = Self(Rc::clone(&self.0));
            glommio::spawn_local(async move { log.sync().await }).detach();
        }
    }

    /// One sync after another, until nobody wants more or one has failed.
    async fn sync(&self) {
        let state = &self.0;
        while state.synced.get() < state.wanted.get() {
            let begun = self.write().and_then(|_| {
                let mut writer = state.writer.borrow_mut();
                Ok((writer.begin_sync()?, writer.next_number()))
            });
            let ended = match begun {
                Ok((Some(job), covered)) => {
                    let outcome = glommio::executor().spawn_blocking(move || job.run()).await;
                    state.writer.borrow_mut().end_sync(outcome).map(|()| covered)
                }
                Ok((None, covered)) => Ok(covered),
                Err(error) => Err(error),
            };
            match ended {
                Ok(covered) => state.synced.set(covered),
                Err(error) => {
                    tracing::error!(%error, "the record log cannot be synced");
                    break;
                }
            }
            state.wake();
        }
        state.is_syncing.set(false);
        state.wake();
    }

    fn now(&self) -> Instants {
        let since = clock::monotonic().saturating_duration_since(self.0.started);
        Instants {
            wall_micros: clock::wall_micros(),
            monotonic_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl<F: SegmentFile> State<F> {
    fn poll_synced(
        &self,
        context: &Context<'_>,
        wanted: EntryNumber,
    ) -> Poll<Result<(), RecordError>> {
        if self.synced.get() >= wanted {
            return Poll::Ready(Ok(()));
        }
        if !self.is_syncing.get() {
            // The last sync failed: what the disk has of it is not known.
            return Poll::Ready(Err(RecordError::Failed { shard: self.writer.borrow().shard() }));
        }
        self.waiting.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }

    fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use sluicegate_actors::recorder::writer::{Durability, SegmentOptions};

    use super::*;

    /// How long a sync takes, and how many there were.
    static SYNC_MS: AtomicU64 = AtomicU64::new(0);
    static SYNCS: AtomicU64 = AtomicU64::new(0);

    /// A file on a slow disk.
    struct SlowFile(File);

    impl SegmentFile for SlowFile {
        fn create(path: &Path) -> io::Result<Self> {
            <File as SegmentFile>::create(path).map(Self)
        }

        fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
            self.0.write_at(slices, position)
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            SegmentFile::truncate(&self.0, length)
        }

        fn sync(&self) -> io::Result<()> {
            SYNCS.fetch_add(1, Ordering::Relaxed);
            #[expect(clippy::disallowed_methods, reason = "the disk, on a thread of its own")]
            std::thread::sleep(Duration::from_millis(SYNC_MS.load(Ordering::Relaxed)));
            self.0.sync()
        }

        fn reserve(&self, from: u64, bytes: u64) -> io::Result<()> {
            self.0.reserve(from, bytes)
        }

        fn share(&self) -> io::Result<Self> {
            self.0.share().map(Self)
        }
    }

    fn log(directory: &Path) -> RecordLog<SlowFile> {
        let options = SegmentOptions {
            directory: directory.join("segments"),
            gateway: [1; 16],
            run: [2; 16],
            shard: 0,
            roll_bytes: 1 << 20,
            durability: Durability::Always,
        };
        RecordLog::new(SegmentWriter::open(options).unwrap().0)
    }

    async fn record(log: &RecordLog<SlowFile>, trace: &Trace) -> Result<(), RecordError> {
        log.append(trace, &Note::new(EntryKind::Request), None, &[])?;
        log.flush().await
    }

    /// The longest time for which the shard did nothing else while `work` was under way.
    async fn longest_stall<T>(work: impl Future<Output = T>) -> (T, Duration) {
        let longest = Rc::new(Cell::new(Duration::ZERO));
        let noted = Rc::clone(&longest);
        let watch = glommio::spawn_local(async move {
            loop {
                let before = clock::monotonic();
                sleep(Duration::from_millis(1)).await;
                noted.set(noted.get().max(before.elapsed()));
            }
        });
        let done = work.await;
        watch.cancel().await;
        (done, longest.get())
    }

    #[test]
    fn a_slow_disk_stops_nobody_but_those_who_wait_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let log = log(directory.path());
        let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
        executor.run(async move {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let trace = Rc::new(Trace::new(ConnectionId(1), peer, "test"));
            record(&log, &trace).await.unwrap();

            // Many at once share a sync or two.
            SYNC_MS.store(500, Ordering::Relaxed);
            let before = SYNCS.load(Ordering::Relaxed);
            let log = Rc::new(log);
            let many = (0..50).map(|_| {
                let (log, trace) = (Rc::clone(&log), Rc::clone(&trace));
                glommio::spawn_local(async move { record(&log, &trace).await })
            });
            let many: Vec<_> = many.collect();
            let all = async {
                for one in many {
                    one.await.unwrap();
                }
            };
            let ((), stall) = longest_stall(all).await;
            assert!(stall < Duration::from_millis(400), "the shard stood still for {stall:?}");
            let syncs = SYNCS.load(Ordering::Relaxed) - before;
            assert!(syncs <= 3, "{syncs} syncs for 50 entries");

            // Too slow: what waits is refused in time, and again while the disk is busy.
            SYNC_MS.store(5_000, Ordering::Relaxed);
            for _ in 0..2 {
                let started = clock::monotonic();
                let (refused, stall) = longest_stall(record(&log, &trace)).await;
                assert!(matches!(refused, Err(RecordError::Late { .. })), "{refused:?}");
                let waited = started.elapsed();
                assert!(waited >= limits::RECORD_SYNC_MS_MAX, "{waited:?}");
                assert!(waited < limits::RECORD_SYNC_MS_MAX * 2, "{waited:?}");
                assert!(stall < Duration::from_millis(400), "the shard stood still for {stall:?}");
            }

            // It recovers by itself.
            SYNC_MS.store(0, Ordering::Relaxed);
            record(&log, &trace).await.unwrap();
        });
    }
}
