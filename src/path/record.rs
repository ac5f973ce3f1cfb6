//! Append entries to the shard's segment; nothing is forwarded or delivered before they are written.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Instant;

use sluicegate_actors::recorder::entry::{
    EntryDraft, EntryKind, Instants, MaskedDraft, Origin, OriginFacts, Outcome, RequestDraft,
};
use sluicegate_actors::recorder::writer::{RecordError, SegmentWriter};
use sluicegate_actors::vocabulary::{ConnectionId, SessionId};

use crate::clock;
use crate::path::tally::Tally;

/// One shard's part of the record log.
#[derive(Debug)]
pub struct RecordLog {
    writer: RefCell<SegmentWriter>,
    started: Instant,
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

impl RecordLog {
    /// The log over a writer that was opened at the start.
    #[must_use]
    pub fn new(writer: SegmentWriter) -> Self {
        Self { writer: RefCell::new(writer), started: clock::monotonic() }
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
        let mut writer = self.writer.borrow_mut();
        let mut entry = writer.begin(&draft)?;
        for resource in tally.into_iter().flat_map(Tally::drafts) {
            entry.resource(&resource);
        }
        entry.commit(payload)?;
        trace.next.set(ordinal.saturating_add(1));
        Ok(())
    }

    /// Hands everything appended so far to the kernel (or the disk, as configured).
    ///
    /// # Errors
    ///
    /// [`RecordError`]: nothing of what was appended may happen.
    pub fn flush(&self) -> Result<(), RecordError> {
        let mut writer = self.writer.borrow_mut();
        if writer.needs_flush() { writer.flush() } else { Ok(()) }
    }

    /// A few times a second: tries again what could not be written, so that the log recovers when the disk does.
    pub fn tick(&self) {
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the record log cannot be written; requests are refused");
        }
    }

    fn now(&self) -> Instants {
        let since = clock::monotonic().saturating_duration_since(self.started);
        Instants {
            wall_micros: clock::wall_micros(),
            monotonic_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}
