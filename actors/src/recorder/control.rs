//! What the control plane itself records: sessions that open and close, tickets and grants, policies that change.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::approval::desk::DeskEvent;
use crate::approval::grant::GrantId;
use crate::policy::bundle::Bundle;
use crate::session::{CloseReason, SessionFacts};
use crate::vocabulary::ConnectionId;

use super::entry::{EntryDraft, EntryKind, Instants, Origin, OriginFacts, Outcome, ResourceDraft};
use super::replay::time_text;
use super::writer::{RecordError, SegmentWriter};

/// The control plane's own part of the record log. Its entries are few; each is written at once.
#[derive(Debug)]
pub struct ControlLog {
    state: Mutex<State>,
    started: Instant,
}

#[derive(Debug)]
struct State {
    writer: SegmentWriter,
    next: u64,
}

impl ControlLog {
    /// The log over a writer of [`super::entry::CONTROL_SHARD`] that was opened at the start.
    #[must_use]
    pub fn new(writer: SegmentWriter) -> Self {
        Self { state: Mutex::new(State { writer, next: 0 }), started: Instant::now() }
    }

    /// A session is about to open; without its entry it must not.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the session must be refused.
    pub fn session_opened(&self, facts: &SessionFacts) -> Result<(), RecordError> {
        let origin = session_origin(facts);
        self.write(EntryDraft {
            client_id: &facts.client_id,
            ..draft(EntryKind::SessionOpened, &origin)
        })
    }

    /// A session has ended.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the end is not in the log.
    pub fn session_closed(
        &self,
        facts: &SessionFacts,
        reason: CloseReason,
    ) -> Result<(), RecordError> {
        let (origin, text) = (session_origin(facts), format!("{reason:?}"));
        self.write(EntryDraft {
            client_id: &facts.client_id,
            text: &text,
            ..draft(EntryKind::SessionClosed, &origin)
        })
    }

    /// Something happened at the approval desk; without its entry it must not hold. The entry belongs to the session
    /// that asked; its attributes say who answered, by which grant, and until when.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; it is not in the log.
    pub fn desk(&self, event: &DeskEvent) -> Result<(), RecordError> {
        let (kind, outcome) = match event {
            DeskEvent::Opened(_) => (EntryKind::TicketOpened, Outcome::Hold),
            DeskEvent::Granted { .. } => (EntryKind::GrantOpened, Outcome::Allow),
            DeskEvent::Refused(_) => (EntryKind::TicketRefused, Outcome::Deny),
            DeskEvent::Expired(_) => (EntryKind::TicketExpired, Outcome::Deny),
            DeskEvent::Revoked { .. } | DeskEvent::Ended(_) => {
                (EntryKind::GrantClosed, Outcome::Deny)
            }
        };
        let about = event.about();
        let policies: Vec<Arc<str>> =
            about.rules.iter().map(|rule| Arc::from(&*rule.policy)).collect();
        let wanted = about.resources.iter().flat_map(|resource| {
            about.actions.iter().map(move |action| (resource.borrow(), *action))
        });
        let resources: Vec<ResourceDraft<'_>> = wanted
            .map(|(resource, action)| ResourceDraft {
                action: Some(action),
                policies: &policies,
                ..ResourceDraft::new(resource, outcome)
            })
            .collect();
        let (principal, listener) = (about.principal, about.listener);
        let origin_facts = OriginFacts { principal, address: None, listener };
        let origin = Origin::new(about.session, ConnectionId(0), &origin_facts);
        let until = match event {
            DeskEvent::Granted { grant, .. } => time_text(grant.ends_at.0.saturating_mul(1_000)),
            _ => String::new(),
        };
        let facts = [
            ("by", event.by().unwrap_or_default()),
            ("grant", event.grant().map(GrantId::as_str).unwrap_or_default()),
            ("until", until.as_str()),
        ];
        let facts: Vec<_> = facts.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        self.write(EntryDraft {
            outcome,
            text: event.name(),
            ticket: event.ticket().as_str(),
            resources: &resources,
            attributes: &facts,
            ..draft(kind, &origin)
        })
    }

    /// Something of the gateway's own happened.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; it is not in the log.
    pub fn note(&self, kind: EntryKind, text: &str) -> Result<(), RecordError> {
        let origin = Origin::control();
        self.write(EntryDraft { text, ..draft(kind, &origin) })
    }

    /// A policy bundle is in force from here on: entries name it by its epoch.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; it is not in the log.
    pub fn policy(&self, bundle: &Bundle) -> Result<(), RecordError> {
        let (origin, text) = (Origin::control(), bundle.hash().to_string());
        self.write(EntryDraft {
            policy_epoch: bundle.epoch(),
            text: &text,
            ..draft(EntryKind::PolicyChanged, &origin)
        })
    }

    /// Writes a draft with its number and time.
    fn write(&self, draft: EntryDraft<'_>) -> Result<(), RecordError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        // What could not be written before is tried first: nothing else would.
        if state.writer.needs_flush() {
            state.writer.flush()?;
        }
        let draft = EntryDraft { ordinal: state.next, at: self.now(), ..draft };
        state.writer.append(&draft, &[])?;
        state.next = state.next.saturating_add(1);
        state.writer.flush()
    }

    fn now(&self) -> Instants {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Instants {
            wall_micros: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            monotonic_nanos: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// A draft that gets its number and time when it is written.
fn draft(kind: EntryKind, origin: &Origin) -> EntryDraft<'_> {
    EntryDraft::new(kind, origin, 0, Instants::default())
}

fn session_origin(facts: &SessionFacts) -> Origin {
    let principal = facts.identity.principal();
    let facts_of_origin = OriginFacts {
        principal: &principal,
        // The port is a connection's; a session has none of its own.
        address: Some(SocketAddr::new(facts.address, 0)),
        listener: &facts.listener,
    };
    Origin::new(facts.session, ConnectionId(0), &facts_of_origin)
}
