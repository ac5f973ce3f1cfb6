//! The approval desk: who asked for what, who answered, and what is granted now.
//!
//! ```text
//! open ──▶ pending ──grant──▶ granted ──▶ a grant ──revoke, end, other policies──▶ gone
//!             ├─refuse──▶ refused
//!             └─10 minutes, other policies──▶ expired
//! ```
//!
//! A pure state machine: time comes in, events go out, for the actor to publish and to record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use super::grant::{Grant, GrantId, contains};
use super::ticket::{ApprovalRequest, Ticket, TicketId, TicketState, random_name};
use crate::vocabulary::{
    Action, HeldBy, Identity, PolicyHash, ResourceName, SessionId, UnixMillis,
};

/// Every ticket and grant of a gateway.
///
/// # Limits
///
/// Five pending tickets of one principal, 1,000 in all with 1 MiB of text, 8 KiB of it in one;
/// 1,000 answered ones are kept to be shown; 10,000 live grants.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    pending: BTreeMap<TicketId, Ticket>,
    pending_bytes: usize,
    /// Oldest first.
    answered: VecDeque<Ticket>,
    grants: BTreeMap<GrantId, Arc<Grant>>,
}

/// A ticket that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The ticket's name, for the asker.
    pub ticket: TicketId,
    /// Present where the ticket is new; absent where the same was asked before.
    pub event: Option<DeskEvent>,
}

/// What would come of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Considered {
    /// The same waits already.
    Waiting(TicketId),
    /// It needs a ticket of its own.
    New(Box<Ticket>),
}

/// What happened: to be recorded, and to be told to those whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskEvent {
    /// Somebody asks.
    Opened(Ticket),
    /// Somebody granted: the principal's decisions change now.
    Granted {
        /// The ticket, answered.
        ticket: Ticket,
        /// What came of it.
        grant: Arc<Grant>,
    },
    /// Somebody refused.
    Refused(Ticket),
    /// Nobody answered in time, or the policies changed.
    Expired(Ticket),
    /// Somebody took a grant back: the principal's decisions change now.
    Revoked {
        /// The grant.
        grant: Arc<Grant>,
        /// Who: `<issuer>|<subject>`.
        by: String,
    },
    /// A grant came to its end, or the policies changed: the principal's decisions change now.
    Ended(Arc<Grant>),
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Whose it is: `<issuer>|<subject>`.
    pub principal: &'a str,
    /// The session that asked.
    pub session: SessionId,
    /// The listener that it came through.
    pub listener: &'a str,
    /// What they want to do.
    pub actions: &'a [Action],
    /// On what.
    pub resources: &'a [ResourceName],
    /// The rules that hold it.
    pub rules: &'a [HeldBy],
}

/// Why the desk did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeskError {
    /// The asker has enough tickets.
    #[error("{pending} requests of yours wait for approval already; the limit is {limit}")]
    TooManyPending {
        /// How many wait.
        pending: usize,
        /// How many may.
        limit: usize,
    },
    /// Everybody together has enough tickets.
    #[error("the approval desk is full: {pending} requests wait, with {bytes} bytes")]
    Full {
        /// How many wait.
        pending: usize,
        /// Their text.
        bytes: usize,
    },
    /// A ticket that nobody would read.
    #[error(
        "a request for approval of {bytes} bytes; the limit is {limit}: ask for fewer resources"
    )]
    TooLarge {
        /// Its text.
        bytes: usize,
        /// How much it may have.
        limit: usize,
    },
    /// The same was refused a short time ago.
    #[error("ticket {ticket} for the same was refused; ask again in {wait_ms} ms")]
    RefusedLately {
        /// The refused one.
        ticket: String,
        /// Until it may be asked again.
        wait_ms: i64,
    },
    /// Nobody could approve it.
    #[error("nothing to approve: no rule names approvers")]
    NothingHeld,
    /// There is no such ticket or grant.
    #[error("no ticket or grant `{name}`: `sluicegate approvals list` shows what there is")]
    Unknown {
        /// As it was asked for, cut.
        name: String,
    },
    /// The ticket has its answer.
    #[error("ticket {ticket} is {state} already")]
    Answered {
        /// Its name.
        ticket: String,
        /// What became of it.
        state: &'static str,
    },
    /// The answer came too late.
    #[error("ticket {ticket} expired: its client asks again when it retries")]
    Late {
        /// Its name.
        ticket: String,
    },
    /// The policies are not those that it was asked under.
    #[error(
        "ticket {ticket} was asked under other policies: its client asks again when it retries"
    )]
    OtherPolicies {
        /// Its name.
        ticket: String,
    },
    /// Nobody approves for themselves.
    #[error("ticket {ticket} is your own: somebody else must answer it")]
    OwnTicket {
        /// Its name.
        ticket: String,
    },
    /// Not one whom the rule names.
    #[error("policy {policy} takes approval from {approvers}, and you are in none of these groups")]
    NotAnApprover {
        /// The rule.
        policy: String,
        /// Its groups.
        approvers: String,
    },
    /// The record log did not take it, so it did not happen.
    #[error("it cannot be recorded, and so was not done: {reason}")]
    NotRecorded {
        /// The log's reason.
        reason: String,
    },
    /// It holds now and is recorded, and a restart would forget it.
    #[error(
        "done, but it would not outlive a restart yet; it is kept as soon as the disk takes it"
    )]
    NotKept,
    /// Nobody is at the desk.
    #[error("the approval desk does not answer")]
    Unavailable,
    /// Too many grants live.
    #[error("{grants} grants are live, which is the limit: revoke some")]
    TooManyGrants {
        /// How many.
        grants: usize,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for a name: {0}")]
    Entropy(String),
}

impl DeskEvent {
    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Granted { .. } => "granted",
            Self::Refused(_) => "refused",
            Self::Expired(_) => "expired",
            Self::Revoked { .. } => "revoked",
            Self::Ended(_) => "ended",
        }
    }

    /// The ticket that it is about.
    #[must_use]
    pub fn ticket(&self) -> &TicketId {
        match self {
            Self::Opened(ticket) | Self::Refused(ticket) | Self::Expired(ticket) => &ticket.id,
            Self::Granted { ticket, .. } => &ticket.id,
            Self::Revoked { grant, .. } | Self::Ended(grant) => &grant.ticket,
        }
    }

    /// What was asked, and by whom.
    #[must_use]
    pub fn about(&self) -> About<'_> {
        match self {
            Self::Opened(ticket) | Self::Refused(ticket) | Self::Expired(ticket) => About {
                principal: &ticket.principal,
                session: ticket.session,
                listener: &ticket.listener,
                actions: &ticket.actions,
                resources: &ticket.resources,
                rules: &ticket.rules,
            },
            Self::Granted { grant, .. } | Self::Revoked { grant, .. } | Self::Ended(grant) => {
                About {
                    principal: &grant.principal,
                    session: grant.session,
                    listener: &grant.listener,
                    actions: &grant.actions,
                    resources: &grant.resources,
                    rules: &grant.rules,
                }
            }
        }
    }

    /// Who did it, as `<issuer>|<subject>`, where it was not the asker or the time.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::Granted { grant, .. } => Some(&grant.granted_by),
            Self::Refused(Ticket { state: TicketState::Refused { by, .. }, .. })
            | Self::Revoked { by, .. } => Some(by),
            Self::Opened(_) | Self::Refused(_) | Self::Expired(_) | Self::Ended(_) => None,
        }
    }

    /// The grant that it is about.
    #[must_use]
    pub fn grant(&self) -> Option<&GrantId> {
        match self {
            Self::Granted { grant, .. } | Self::Revoked { grant, .. } | Self::Ended(grant) => {
                Some(&grant.id)
            }
            Self::Opened(_) | Self::Refused(_) | Self::Expired(_) => None,
        }
    }

    /// Whether it is a step towards a right, which is recorded before it is taken; a step back is taken first.
    #[must_use]
    pub fn opens(&self) -> bool {
        matches!(self, Self::Opened(_) | Self::Granted { .. })
    }

    /// Whether the principal's decisions are others now.
    #[must_use]
    pub fn changes_rights(&self) -> bool {
        matches!(self, Self::Granted { .. } | Self::Revoked { .. } | Self::Ended(_))
    }
}

impl Desk {
    /// A desk with what was stored: expired tickets and ended grants are sorted out by the first
    /// [`Desk::expire`], those of other policies by [`Desk::policies_changed`].
    #[must_use]
    pub fn restore(tickets: Vec<Ticket>, grants: Vec<Grant>) -> Self {
        let mut desk = Self::default();
        for ticket in tickets {
            if ticket.is_pending() {
                desk.pending_bytes = desk.pending_bytes.saturating_add(ticket.size_bytes());
                desk.pending.insert(ticket.id.clone(), ticket);
            } else {
                desk.keep_answered(ticket);
            }
        }
        desk.grants = grants.into_iter().map(|grant| (grant.id.clone(), Arc::new(grant))).collect();
        desk
    }

    /// Opens a ticket, or joins the one that asks for as much.
    ///
    /// # Errors
    ///
    /// [`DeskError::NothingHeld`], [`DeskError::RefusedLately`], the limits, and
    /// [`DeskError::Entropy`].
    pub fn open(
        &mut self,
        request: ApprovalRequest,
        now: UnixMillis,
    ) -> Result<Opening, DeskError> {
        match self.consider(request, now)? {
            Considered::Waiting(ticket) => Ok(Opening { ticket, event: None }),
            Considered::New(ticket) => {
                let id = ticket.id.clone();
                self.admit(Ticket::clone(&ticket));
                Ok(Opening { ticket: id, event: Some(DeskEvent::Opened(*ticket)) })
            }
        }
    }

    /// What would come of a request, without a change.
    ///
    /// # Errors
    ///
    /// As [`Desk::open`].
    pub fn consider(
        &self,
        request: ApprovalRequest,
        now: UnixMillis,
    ) -> Result<Considered, DeskError> {
        let ticket = self.draft(request, now)?;
        let own = self.pending.values().filter(|other| other.principal == ticket.principal);
        let mut waiting = own.clone().filter(|other| now < other.expires_at);
        if let Some(other) = waiting.find(|other| asks_as_much(other, &ticket)) {
            return Ok(Considered::Waiting(other.id.clone()));
        }
        let refused = self.answered.iter().rev().find_map(|other| match &other.state {
            TicketState::Refused { at, .. } if asks_as_much(other, &ticket) => {
                let wait_ms = at.0.saturating_add(REFUSAL_QUIET_MS).saturating_sub(now.0);
                (wait_ms > 0).then_some((other.id.as_str().to_owned(), wait_ms))
            }
            _ => None,
        });
        if let Some((ticket, wait_ms)) = refused {
            return Err(DeskError::RefusedLately { ticket, wait_ms });
        }
        let pending = own.count();
        if pending >= PENDING_PER_PRINCIPAL_MAX {
            return Err(DeskError::TooManyPending { pending, limit: PENDING_PER_PRINCIPAL_MAX });
        }
        let bytes = ticket.size_bytes();
        if bytes > TICKET_BYTES_MAX {
            return Err(DeskError::TooLarge { bytes, limit: TICKET_BYTES_MAX });
        }
        let total = self.pending_bytes.saturating_add(bytes);
        if self.pending.len() >= PENDING_MAX || total > PENDING_BYTES_MAX {
            return Err(DeskError::Full { pending: self.pending.len(), bytes: self.pending_bytes });
        }
        Ok(Considered::New(Box::new(ticket)))
    }

    /// Takes in a ticket that [`Desk::consider`] made.
    pub fn admit(&mut self, ticket: Ticket) {
        self.pending_bytes = self.pending_bytes.saturating_add(ticket.size_bytes());
        self.pending.insert(ticket.id.clone(), ticket);
    }

    /// Grants a ticket, for the whole of what it asks. `policy` is the bundle in force.
    ///
    /// # Errors
    ///
    /// Where there is no such ticket, it has its answer, it is late or of other policies, the
    /// approver asked for it, or is not in an approver group of each rule that holds it.
    pub fn grant(
        &mut self,
        name: &str,
        approver: &Identity,
        policy: PolicyHash,
        now: UnixMillis,
    ) -> Result<DeskEvent, DeskError> {
        let ticket = self.answerable(name, approver, now)?;
        if ticket.policy != policy {
            return Err(DeskError::OtherPolicies { ticket: ticket.id.as_str().to_owned() });
        }
        if let Some(rule) = ticket.rules.iter().find(|rule| !approves(approver, rule)) {
            return Err(not_an_approver(rule));
        }
        if self.grants.len() >= GRANTS_MAX {
            return Err(DeskError::TooManyGrants { grants: self.grants.len() });
        }
        let id = random_name("g-").map_err(|error| DeskError::Entropy(error.to_string()))?;
        let grant = Arc::new(Grant {
            id: GrantId(id),
            ticket: ticket.id.clone(),
            session: ticket.session,
            listener: ticket.listener.clone(),
            principal: ticket.principal.clone(),
            actions: ticket.actions.clone(),
            resources: ticket.resources.clone(),
            labels: ticket.labels.clone(),
            rules: ticket.rules.clone(),
            policy: ticket.policy,
            granted_by: approver.principal(),
            granted_at: now,
            ends_at: UnixMillis(now.0.saturating_add(ticket.grant_ttl_ms)),
        });
        let state = TicketState::Granted { grant: grant.id.clone() };
        let ticket = self.answer(ticket, state);
        self.grants.insert(grant.id.clone(), Arc::clone(&grant));
        Ok(DeskEvent::Granted { ticket, grant })
    }

    /// Refuses a ticket. Any one rule's approver may; the same question is then not put again for
    /// ten minutes.
    ///
    /// # Errors
    ///
    /// As [`Desk::grant`], but for the policies.
    pub fn refuse(
        &mut self,
        name: &str,
        approver: &Identity,
        now: UnixMillis,
    ) -> Result<DeskEvent, DeskError> {
        let ticket = self.answerable(name, approver, now)?;
        approves_any(approver, &ticket.rules)?;
        let state = TicketState::Refused { by: approver.principal(), at: now };
        Ok(DeskEvent::Refused(self.answer(ticket, state)))
    }

    /// Takes a grant back, by its name or its ticket's. An approver of any of its rules may, and the
    /// one who holds it.
    ///
    /// # Errors
    ///
    /// [`DeskError::Unknown`] where it ended, [`DeskError::NotAnApprover`].
    pub fn revoke(
        &mut self,
        name: &str,
        by: &Identity,
        now: UnixMillis,
    ) -> Result<DeskEvent, DeskError> {
        let found = self
            .grants
            .values()
            .find(|grant| grant.id.as_str() == name || grant.ticket.as_str() == name);
        let grant = Arc::clone(found.ok_or_else(|| unknown(name))?);
        if grant.principal != by.principal() {
            approves_any(by, &grant.rules)?;
        }
        self.grants.remove(&grant.id);
        let (by, id) = (by.principal(), grant.id.clone());
        let state = TicketState::Revoked { grant: id, by: by.clone(), at: now };
        self.close(&grant.ticket, state);
        Ok(DeskEvent::Revoked { grant, by })
    }

    /// Ends what is over at this instant.
    pub fn expire(&mut self, now: UnixMillis) -> Vec<DeskEvent> {
        self.end(now, |ticket| ticket.expires_at <= now, |grant| grant.ends_at <= now)
    }

    /// Ends what was asked under other policies than these.
    pub fn policies_changed(&mut self, policy: PolicyHash, now: UnixMillis) -> Vec<DeskEvent> {
        self.end(now, |ticket| ticket.policy != policy, |grant| grant.policy != policy)
    }

    /// When [`Desk::expire`] has something to do; `None` while nothing is open.
    #[must_use]
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let tickets = self.pending.values().map(|ticket| ticket.expires_at);
        tickets.chain(self.grants.values().map(|grant| grant.ends_at)).min()
    }

    /// What a principal was granted: for the snapshot of their sessions.
    #[must_use]
    pub fn grants_of(&self, principal: &str) -> Vec<Arc<Grant>> {
        self.grants.values().filter(|grant| grant.principal == principal).map(Arc::clone).collect()
    }

    /// Every ticket: those that wait, then those answered, the latest first.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.pending.values().chain(self.answered.iter().rev())
    }

    /// Every live grant.
    pub fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants.values()
    }

    fn draft(&self, request: ApprovalRequest, now: UnixMillis) -> Result<Ticket, DeskError> {
        if request.rules.is_empty() || request.rules.iter().any(|rule| rule.approvers.is_empty()) {
            return Err(DeskError::NothingHeld);
        }
        let id = random_name("t-").map_err(|error| DeskError::Entropy(error.to_string()))?;
        Ok(Ticket {
            id: TicketId(id),
            principal: request.principal,
            session: request.session,
            listener: request.listener,
            actions: sorted(request.actions),
            resources: sorted(request.resources),
            labels: sorted(request.labels),
            rules: sorted(request.rules),
            grant_ttl_ms: request.grant_ttl_ms,
            reason: request.reason,
            policy: request.policy,
            opened_at: now,
            expires_at: UnixMillis(now.0.saturating_add(TICKET_LIFE_MS)),
            state: TicketState::Pending,
        })
    }

    /// The pending ticket of this name, where this person may answer it at all.
    fn answerable(
        &self,
        name: &str,
        approver: &Identity,
        now: UnixMillis,
    ) -> Result<Ticket, DeskError> {
        let Some(ticket) = self.pending.values().find(|ticket| ticket.id.as_str() == name) else {
            let answered = self.answered.iter().find(|ticket| ticket.id.as_str() == name);
            return Err(answered.map_or_else(|| unknown(name), already));
        };
        let ticket_name = || ticket.id.as_str().to_owned();
        if ticket.expires_at <= now {
            return Err(DeskError::Late { ticket: ticket_name() });
        }
        if ticket.principal == approver.principal() {
            return Err(DeskError::OwnTicket { ticket: ticket_name() });
        }
        Ok(ticket.clone())
    }

    /// Moves a ticket from those that wait to those answered.
    fn answer(&mut self, ticket: Ticket, state: TicketState) -> Ticket {
        self.pending.remove(&ticket.id);
        self.pending_bytes = self.pending_bytes.saturating_sub(ticket.size_bytes());
        let ticket = Ticket { state, ..ticket };
        self.keep_answered(ticket.clone());
        ticket
    }

    fn keep_answered(&mut self, ticket: Ticket) {
        let is_over = |ticket: &Ticket| !matches!(ticket.state, TicketState::Granted { .. });
        while self.answered.len() >= ANSWERED_KEPT_MAX {
            // Whoever revokes a live grant is shown its ticket; grants are bounded by themselves.
            let Some(oldest) = self.answered.iter().position(is_over) else { break };
            self.answered.remove(oldest);
        }
        self.answered.push_back(ticket);
    }

    fn end(
        &mut self,
        now: UnixMillis,
        is_over: impl Fn(&Ticket) -> bool,
        has_ended: impl Fn(&Grant) -> bool,
    ) -> Vec<DeskEvent> {
        let over: Vec<Ticket> =
            self.pending.values().filter(|ticket| is_over(ticket)).cloned().collect();
        let mut events: Vec<DeskEvent> = over
            .into_iter()
            .map(|ticket| DeskEvent::Expired(self.answer(ticket, TicketState::Expired { at: now })))
            .collect();
        let ended: Vec<Arc<Grant>> =
            self.grants.values().filter(|grant| has_ended(grant)).map(Arc::clone).collect();
        for grant in ended {
            self.grants.remove(&grant.id);
            let state = TicketState::Ended { grant: grant.id.clone(), at: now };
            self.close(&grant.ticket, state);
            events.push(DeskEvent::Ended(grant));
        }
        events
    }

    /// Says of a ticket that its grant is over, if it is still kept.
    fn close(&mut self, ticket: &TicketId, state: TicketState) {
        if let Some(answered) = self.answered.iter_mut().find(|answered| answered.id == *ticket) {
            answered.state = state;
        }
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

/// Whether an answer to one ticket answers the other too. Session, reason and instant are not part of the question.
/// Clients ask for fewer topics at a time than they read: those are no questions of their own.
fn asks_as_much(one: &Ticket, other: &Ticket) -> bool {
    one.principal == other.principal
        && one.listener == other.listener
        && one.rules == other.rules
        && one.policy == other.policy
        && other.actions.iter().all(|action| one.actions.contains(action))
        && other
            .resources
            .iter()
            .all(|resource| one.resources.iter().any(|asked| contains(asked, resource.borrow())))
        && other.labels.iter().all(|label| one.labels.contains(label))
}

fn approves(approver: &Identity, rule: &HeldBy) -> bool {
    rule.approvers.iter().any(|group| approver.groups.contains(group))
}

fn approves_any(approver: &Identity, rules: &[HeldBy]) -> Result<(), DeskError> {
    if rules.iter().any(|rule| approves(approver, rule)) {
        return Ok(());
    }
    Err(rules.first().map_or(DeskError::NothingHeld, not_an_approver))
}

fn not_an_approver(rule: &HeldBy) -> DeskError {
    DeskError::NotAnApprover { policy: rule.policy.clone(), approvers: rule.approvers.join(", ") }
}

fn already(ticket: &Ticket) -> DeskError {
    let name = ticket.id.as_str().to_owned();
    let state = match ticket.state {
        TicketState::Pending => "pending",
        TicketState::Granted { .. } => "granted",
        TicketState::Revoked { .. } => "revoked",
        TicketState::Ended { .. } => "over",
        TicketState::Refused { .. } => "refused",
        TicketState::Expired { .. } => return DeskError::Late { ticket: name },
    };
    DeskError::Answered { ticket: name, state }
}

fn unknown(name: &str) -> DeskError {
    let name = name.chars().take(NAME_SHOWN_MAX).filter(|char| !char.is_control()).collect();
    DeskError::Unknown { name }
}

/// How long a ticket waits (DESIGN 7).
pub const TICKET_LIFE_MS: i64 = 600_000;
/// As long as a ticket would have waited: a client that polls must not nag.
pub const REFUSAL_QUIET_MS: i64 = 600_000;
/// Tickets of one principal (threats.md 2.8).
pub const PENDING_PER_PRINCIPAL_MAX: usize = 5;
/// Tickets of everybody (faults.md F12).
pub const PENDING_MAX: usize = 1_000;
/// The text of all pending tickets (faults.md F12).
pub const PENDING_BYTES_MAX: usize = 1 << 20;
/// The text of one ticket: some 100 topics, more than an approver reads.
pub const TICKET_BYTES_MAX: usize = 8 << 10;
/// For lists, and to say what became of a ticket; the record has them all.
const ANSWERED_KEPT_MAX: usize = 1_000;
/// A person grants each one, so this is a bound and not a plan.
const GRANTS_MAX: usize = 10_000;
/// A ticket's name has 14 characters.
const NAME_SHOWN_MAX: usize = 64;

#[cfg(test)]
mod tests;
