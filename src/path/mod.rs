//! ONE REQUEST, IN ORDER: the only file that knows the order of the steps, in both directions.
//!
//! ```text
//! carry_request    frame ─▶ walk ─▶ decide ─▶ (hold) ─▶ record ─▶ upstream
//! carry_response   reply ◀─ record ◀─ mask ◀─ filter ◀─ advertise ◀─ walk ◀─ frame
//! ```
//!
//! Both are synchronous: whatever must be awaited (the sockets, a look-up, a hold's end) is a [`Fate`] or [`Pending`]
//! that `connection.rs` carries out.

pub mod advertise;
pub mod ahead;
pub mod asked;
pub mod decide;
mod entries;
pub mod filter;
pub mod frame;
pub mod hold;
mod keys;
pub mod mask;
pub mod masking;
mod paging;
pub mod patterns;
pub mod producers;
pub mod reach;
mod recent;
pub mod record;
pub mod schemas;
mod screen;
pub mod sequence;
pub mod share;
pub mod socket;
pub mod stream;
pub mod tally;
pub mod upstream;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sluicegate_actors::approval::ticket::ApprovalRequest;
use sluicegate_actors::recorder::RecordLevel;
use sluicegate_actors::recorder::entry::EntryKind;
use sluicegate_actors::session::{SessionHandle, SessionState};
use sluicegate_actors::vocabulary::UnixMillis;

use crate::clock;
use crate::cluster::ClusterSnapshot;
use crate::error::Ended;
use crate::kafka::edit::{Edits, Piece, Rope};
use crate::kafka::found::{Found, Partition, Span, Topic};
use crate::kafka::refuse::{self, Outcome, Refusals};
use crate::kafka::walk::{self, RequestHeader};
use crate::kafka::{self, ErrorCode, Exchange, Handling, List, Meaning};
use crate::limits;
use crate::path::ahead::Ahead;
use crate::path::asked::Asked;
use crate::path::decide::{Case, Judge, Notes, Ruling};
use crate::path::masking::{Done, Job, Plan, Plans};
use crate::path::record::{Note, Trace};
pub use crate::path::screen::Screened;
use crate::path::tally::Tally;
use crate::shard::{Door, Shard};

/// Where a request's correlation id stands in its frame, and where a response's does.
const REQUEST_CORRELATION_AT: usize = 8;
const RESPONSE_CORRELATION_AT: usize = 4;

/// What is reused from request to request on one shard: a walk's findings, edits, notes.
#[derive(Debug, Default)]
pub struct Work {
    found: Found,
    edits: Edits,
    refusals: Refusals,
    tally: Tally,
    rope: Rope,
    /// Partitions of a response that are not delivered.
    withheld: Vec<Span>,
    payload: PayloadParts,
}

/// Record batches that belong into an entry, from where they lie; kept from one entry to the next.
#[derive(Debug, Default)]
struct PayloadParts(Vec<&'static [u8]>);

impl PayloadParts {
    /// An empty list.
    fn take<'f>(&mut self) -> Vec<&'f [u8]> {
        std::mem::take(&mut self.0)
    }

    /// Keeps the list's memory, and nothing that was in it.
    fn keep(&mut self, mut parts: Vec<&[u8]>) {
        parts.clear();
        self.0 = parts.into_iter().map(|_| <&[u8]>::default()).collect();
    }
}

/// One connection's way through the steps, once it is logged in.
pub struct Path {
    shard: Rc<Shard>,
    door: Door,
    trace: Rc<Trace>,
    session: Arc<SessionHandle>,
    judge: RefCell<Judge>,
    plans: RefCell<Plans>,
    level: Cell<RecordLevel>,
    /// Settings of topics that may be changed.
    alterable: Arc<[String]>,
    /// Who asks, of which cluster.
    asker: Arc<str>,
    cluster_name: Arc<str>,
    /// Producer ids that are known to be the asker's.
    own_producers: RefCell<Vec<i64>>,
    correlation: Cell<u32>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Fate {
    /// The frame goes to the broker as it is; it was patched in place.
    Forward,
    /// This goes to the broker instead.
    Rewrite(Vec<Piece>),
    /// The gateway answered; nothing goes to the broker.
    Answered,
    /// A topic is not known: look the cluster up, then carry the request again.
    LookUp,
    /// Policy holds it: ask for these approvals, then carry the request again.
    Ask(Vec<ApprovalRequest>),
    /// Its records must be masked or looked at: do these, then carry the request again.
    Screen {
        /// The records of each partition.
        jobs: Vec<Job>,
        /// The session's snapshot under which they are handed out.
        epoch: u64,
    },
    /// The client logs in again.
    Login,
}

/// What was found out about a request since it was carried first.
#[derive(Debug, Default)]
pub struct Attempt {
    /// Topics that were not known were looked up.
    pub looked_up: bool,
    /// Approvals were asked for; what the client is told of them.
    pub ticket: Option<String>,
    /// What came of its records, and under which snapshot of the session they were given out.
    pub screened: Option<Screened>,
}

impl Pending {
    /// Bytes of the request, for the window.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        match self {
            Self::Answer(answer) | Self::Held { answer, .. } => answer.len(),
            Self::Broker(expected) => expected.frame_bytes,
        }
    }
}

/// What a connection owes its client, in the order of the requests.
#[derive(Debug)]
pub enum Pending {
    /// This answer.
    Answer(Bytes),
    /// This answer, not before the instant or a change of the session's rights.
    Held {
        /// The answer.
        answer: Bytes,
        /// When it is due.
        until: Instant,
        /// The snapshot of the session under which the request was held.
        epoch: u64,
    },
    /// The broker's answer.
    Broker(Expected),
}

/// An answer that a broker owes.
#[derive(Debug)]
pub struct Expected {
    exchange: &'static Exchange,
    client_correlation: i32,
    correlation: u32,
    /// Bytes of the request, for the window.
    pub frame_bytes: usize,
    /// Apart, because most requests have none.
    refusals: Option<Box<Refusals>>,
    /// The most bytes of records that a fetch asked for, all partitions together.
    records_bytes_max: usize,
    asked: Asked,
    ordinal: u64,
}

impl Expected {
    fn check_correlation(&self, correlation: i32) -> Result<(), String> {
        if correlation.cast_unsigned() == self.correlation {
            return Ok(());
        }
        Err(format!("it answers {correlation}, not {}", self.correlation))
    }
}

impl Path {
    /// The path of a connection that logged in to `session`.
    #[must_use]
    pub fn new(
        shard: Rc<Shard>,
        door: Door,
        trace: Rc<Trace>,
        session: Arc<SessionHandle>,
    ) -> Self {
        let snapshot = session.snapshot();
        let judge = RefCell::new(Judge::new(&snapshot.parts));
        let level = Cell::new(snapshot.parts.recorder);
        let (plans, correlation) = (RefCell::default(), Cell::new(0));
        let config = &shard.shared.config;
        let listener = config.listeners.get(door.listener);
        let cluster = listener.and_then(|listener| config.clusters.get(&listener.cluster));
        let alterable = cluster.map(|it| Arc::clone(&it.alterable_topic_configs));
        let alterable = alterable.unwrap_or_default();
        let cluster_name = listener.map_or("", |listener| listener.cluster.as_str()).into();
        let asker = session.facts().identity.principal().into();
        let own_producers = RefCell::default();
        Self {
            shard,
            door,
            trace,
            session,
            judge,
            plans,
            level,
            alterable,
            asker,
            cluster_name,
            own_producers,
            correlation,
        }
    }

    /// The session's snapshot number: it changes with every policy, grant or identity change.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.session.load().epoch
    }

    /// Whether a topic's record batches are recorded.
    fn keeps_payload(&self, plan: &Plan) -> bool {
        self.level.get() != RecordLevel::None && !plan.skips_payload
    }

    /// Whether record batches of some topics belong into the record.
    #[must_use]
    pub fn records_payloads(&self) -> bool {
        self.level.get() != RecordLevel::None
    }

    fn plan(&self, topic: &str, now: UnixMillis) -> Plan {
        let (judge, mut plans) = (self.judge.borrow(), self.plans.borrow_mut());
        let session = self.session.load();
        plans.plan(session.parts.masking.as_deref(), &judge.policy, topic, now)
    }

    /// Keeps what an answer that was carried can give to the next.
    pub fn answered(&self, expected: Expected) {
        let mut kept = self.shard.asked.borrow_mut();
        if kept.len() < limits::ASKED_KEPT_MAX {
            kept.push(expected.asked);
        }
    }

    /// Takes the session's newest snapshot.
    ///
    /// # Errors
    ///
    /// [`Ended::SessionEnded`] where the session is closed: it is never unguarded.
    fn refresh(&self) -> Result<u64, Ended> {
        let snapshot = self.session.load();
        if let SessionState::Closed(reason) = snapshot.state {
            return Err(Ended::SessionEnded(format!("{reason:?}")));
        }
        self.judge.borrow_mut().follow(&snapshot.parts);
        self.level.set(snapshot.parts.recorder);
        Ok(snapshot.epoch)
    }

    /// Carries one whole request frame; what the client is owed for it is pushed to `pending`.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the connection ends, and nothing of the request reached the broker.
    pub fn carry_request(
        &self,
        frame: &mut [u8],
        attempt: &Attempt,
        pending: &mut impl FnMut(Pending),
    ) -> Result<Fate, Ended> {
        let unreadable = |error: walk::WalkError| Ended::ClientRequest(error.to_string());
        let header = walk::request_header(frame).map_err(unreadable)?;
        let carried = kafka::exchange(header.key, header.version);
        let Some(exchange) = carried.filter(|exchange| self.is_offered(exchange)) else {
            return self.unsupported(carried, &header, frame, pending);
        };
        match exchange.api.handling {
            Handling::Login => return Ok(Fate::Login),
            Handling::Local => {
                pending(Pending::Answer(self.offer(&header)?));
                return Ok(Fate::Answered);
            }
            Handling::Enforce | Handling::Never => {}
        }
        let epoch = self.refresh()?;
        let mut work = self.shard.work.borrow_mut();
        let work = &mut *work;
        walk::request(exchange, frame, header.body, &mut work.found).map_err(|error| {
            Ended::ClientRequest(format!("{} v{}: {error}", exchange.api.name, exchange.version))
        })?;
        work.found.prefer_ids(frame);
        if work.found.unknown_tags > 0 {
            // A newer broker might understand what we cannot decide on.
            let text = format!("{} v{}: an unknown tag", exchange.api.name, exchange.version);
            return Err(Ended::ClientRequest(text));
        }
        let mut ruling = self.decide(exchange, frame, attempt, work)?;
        if ruling == Ruling::LookUp {
            return Ok(Fate::LookUp);
        }
        if work.tally.hold_count() > 0 && attempt.ticket.is_none() {
            let policy = &self.judge.borrow().policy;
            return Ok(Fate::Ask(hold::questions(&work.tally, self.session.facts(), policy)));
        }
        if exchange.api.key == hold::PRODUCE
            && let Some(jobs) = self.screen(frame, epoch, attempt, &mut ruling, work)?
        {
            return Ok(Fate::Screen { jobs, epoch });
        }
        let is_answered = expects_answer(exchange, &work.found);
        if ruling == Ruling::ForwardRest && !is_answered && !work.refusals.is_empty() {
            // The rest would go on, and nobody could be told of what did not.
            ruling = Ruling::Nothing;
        }
        self.record_request(exchange, &header, frame, ruling, attempt, work)?;
        let ordinal = self.trace.last();
        match ruling {
            Ruling::Forward | Ruling::ForwardRest => {
                let expected = self.expect(exchange, &header, frame, ordinal, work);
                let fate = self.forward(ruling, expected.correlation, frame, work)?;
                if is_answered {
                    pending(Pending::Broker(expected));
                }
                Ok(fate)
            }
            Ruling::TooManyHeld => Err(Ended::ClientRequest(
                "too many partitions on hold for one connection".to_owned(),
            )),
            Ruling::Hold if is_answered => {
                let until = clock::monotonic() + hold_time(&work.found);
                let answer = work.refusals.answer(exchange, header.correlation_id, OK);
                pending(Pending::Held { answer, until, epoch });
                Ok(Fate::Answered)
            }
            Ruling::Hold | Ruling::Nothing | Ruling::Refuse(_) | Ruling::LookUp => {
                if !is_answered {
                    // As Kafka does: a client that asked for no answer can be told in no other way.
                    return Err(Ended::ClientRequest("a denied produce without acks".to_owned()));
                }
                pending(Pending::Answer(refusal(exchange, &header, frame, ruling, work)));
                Ok(Fate::Answered)
            }
        }
    }

    /// What of a response must be masked before it is delivered: nothing for most, and never anything but a fetch. What was
    /// done ahead is taken over.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the response cannot be read.
    pub fn mask_jobs(
        &self,
        expected: &Expected,
        frame: &[u8],
        ahead: &mut Ahead,
    ) -> Result<Vec<Job>, Ended> {
        if !hold::delivers(expected.exchange) {
            return Ok(Vec::new());
        }
        self.refresh()?;
        let session = self.session.load();
        let Some(rules) = session.parts.masking.as_deref() else { return Ok(Vec::new()) };
        let exchange = expected.exchange;
        let unusable = |error: walk::WalkError| Ended::BrokerResponse(error.to_string());
        let (_, body) = walk::response_header(exchange, frame).map_err(unusable)?;
        let mut work = self.shard.work.borrow_mut();
        walk::response(exchange, frame, body, &mut work.found).map_err(unusable)?;
        let cluster = self.cluster()?;
        let (judge, mut plans, now) = (self.judge.borrow(), self.plans.borrow_mut(), clock::wall());
        let mut jobs = Vec::new();
        for topic in &work.found.topics {
            let name = topic_text(topic, frame, &cluster);
            let Some(plan) = plans.plan(Some(rules), &judge.policy, &name, now).read else {
                continue;
            };
            let first = kafka::wire::index(topic.partitions.first);
            for (place, partition) in work.found.partitions_of(topic).iter().enumerate() {
                if !partition.records.bytes(frame).is_empty() {
                    let place = first.saturating_add(place);
                    let mut job = Job::new(place, Arc::clone(&plan), partition.records);
                    if let Some(earlier) = ahead.take(place) {
                        job.take_over(earlier);
                    }
                    jobs.push(job);
                }
            }
        }
        Ok(jobs)
    }

    /// Carries one whole response frame for the request that it answers. `None` where the frame goes to the client as it
    /// is, patched in place.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the connection ends, and nothing of the response reaches the client.
    pub fn carry_response(
        &self,
        expected: &mut Expected,
        frame: &mut [u8],
        masked: &mut [Done],
    ) -> Result<Option<Vec<Piece>>, Ended> {
        let exchange = expected.exchange;
        let unusable = |reason: String| {
            Ended::BrokerResponse(format!("{} v{}: {reason}", exchange.api.name, exchange.version))
        };
        let (correlation, body) =
            walk::response_header(exchange, frame).map_err(|error| unusable(error.to_string()))?;
        expected.check_correlation(correlation).map_err(unusable)?;
        patch(frame, RESPONSE_CORRELATION_AT, expected.client_correlation);
        self.refresh()?;
        let mut work = self.shard.work.borrow_mut();
        let work = &mut *work;
        walk::response(exchange, frame, body, &mut work.found)
            .map_err(|error| unusable(error.to_string()))?;
        work.edits.clear();
        work.withheld.clear();
        expected.asked.check(frame, &work.found).map_err(unusable)?;
        if let Some(id) = producers::given(exchange, &work.found) {
            self.shard.shared.producers.give(&self.cluster_name, id, &self.asker);
        }
        let listener = self.listener().ok_or_else(|| unusable("no listener".to_owned()))?;
        advertise::advertise(listener, &work.found, &mut work.edits);
        let cluster = self.cluster()?;
        let mut judge = self.judge.borrow_mut();
        let mut filter = filter::Filter {
            judge: &mut judge,
            exchange,
            frame,
            found: &work.found,
            cluster: &cluster,
            now: clock::wall(),
            refusals: &mut expected.refusals,
            edits: &mut work.edits,
            hidden: Vec::new(),
            is_unasked: expected.asked.asks_too_much(),
            withheld: &mut work.withheld,
        };
        filter.apply();
        drop(judge);
        // An answer that fails as a whole has nothing beside.
        let failed = work.found.number(Meaning::ErrorCode).is_some_and(|code| code.value != 0);
        if let Some(refusals) = expected.refusals.as_ref().filter(|_| !failed) {
            refusals
                .merge(exchange, frame, &work.found, &mut work.edits)
                .map_err(|error| unusable(error.to_string()))?;
        }
        masking::fit(masked, &work.found.partitions, expected.records_bytes_max);
        for done in &*masked {
            let partition = work.found.partitions.get(done.partition);
            let is_withheld = |partition: &Partition| work.withheld.contains(&partition.element);
            if let Some(partition) = partition.filter(|partition| !is_withheld(partition)) {
                done.apply(partition, &mut work.edits);
            }
        }
        self.record_response(expected, frame, &cluster, masked, work).map_err(
            |error| match error {
                Ended::BrokerResponse(reason) => unusable(reason),
                other => other,
            },
        )?;
        if work.edits.is_empty() {
            return Ok(None);
        }
        work.edits
            .apply(frame, &work.found, &mut work.rope)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Some(work.rope.drain().collect()))
    }

    fn cluster(&self) -> Result<arc_swap::Guard<Arc<ClusterSnapshot>>, Ended> {
        self.listener()
            .and_then(|listener| self.shard.shared.clusters.get(&listener.cluster))
            .map(|view| view.load())
            .ok_or_else(|| Ended::BrokerUnusable("no cluster".to_owned()))
    }

    fn listener(&self) -> Option<&crate::config::Listener> {
        self.shard.shared.config.listeners.get(self.door.listener)
    }

    /// Whether the brokers have it, too. They would end the connection upon a version that they do not know, and it is not for
    /// them to say what becomes of what clients were not offered.
    fn is_offered(&self, exchange: &Exchange) -> bool {
        match exchange.api.handling {
            Handling::Login | Handling::Local => true,
            Handling::Enforce | Handling::Never => self.cluster().is_ok_and(|cluster| {
                let offer = cluster.offer.as_ref();
                offer.is_some_and(|offer| offer.has(exchange.api.key, exchange.version))
            }),
        }
    }

    /// A version that is not offered is answered in its API's shape; a key that is not in the table ends the connection,
    /// as in Kafka, because nobody knows the shape of its answer.
    fn unsupported(
        &self,
        carried: Option<&'static Exchange>,
        header: &RequestHeader,
        frame: &[u8],
        pending: &mut impl FnMut(Pending),
    ) -> Result<Fate, Ended> {
        let correlation = header.correlation_id;
        let answer = match carried {
            _ if header.key == kafka::table::API_VERSIONS_KEY => Some(self.offer(header)?),
            Some(exchange) => {
                let found = &mut self.shard.work.borrow_mut().found;
                walk::request(exchange, frame, header.body, found)
                    .map_err(|error| Ended::ClientRequest(error.to_string()))?;
                let answer = refuse::not_offered(exchange, correlation, frame, found);
                answer.filter(|_| expects_answer(exchange, found))
            }
            None => refuse::unsupported_version(header.key, header.version, correlation),
        };
        let text = format!("API key {} version {} is not offered", header.key, header.version);
        self.note(&Note::new(EntryKind::Denial).text(&text), None)?;
        match answer {
            Some(answer) => {
                pending(Pending::Answer(answer));
                Ok(Fate::Answered)
            }
            None => Err(Ended::ClientRequest(text)),
        }
    }

    fn offer(&self, header: &RequestHeader) -> Result<Bytes, Ended> {
        let cluster = self.cluster()?;
        let none = || Ended::BrokerUnusable("none is known".to_owned());
        let offer = cluster.offer.as_ref().ok_or_else(none)?;
        Ok(offer.response(header.version, header.correlation_id))
    }

    fn decide(
        &self,
        exchange: &'static Exchange,
        frame: &[u8],
        attempt: &Attempt,
        work: &mut Work,
    ) -> Result<Ruling, Ended> {
        work.edits.clear();
        work.refusals.clear();
        work.tally.clear();
        if let Some(code) = never(exchange, &work.found) {
            return Ok(Ruling::Refuse(code));
        }
        let cluster = self.cluster()?;
        let Ok(producers) = producers::survey(frame, &work.found, |id| self.may_use(id)) else {
            return Ok(Ruling::Refuse(ErrorCode::CORRUPT_MESSAGE));
        };
        if producers.strange {
            return Ok(Ruling::Refuse(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
        }
        let case = Case {
            exchange,
            frame,
            found: &work.found,
            cluster: &cluster,
            cluster_name: &self.cluster_name,
            subscriptions: &self.shard.shared.subscriptions,
            is_transactional: producers.transactional,
            now: clock::wall(),
            looked_up: attempt.looked_up,
            alterable: &self.alterable,
            ticket: attempt.ticket.as_deref(),
        };
        let mut notes =
            Notes { refusals: &mut work.refusals, edits: &mut work.edits, tally: &mut work.tally };
        let ruling = self.judge.borrow_mut().rule(&case, &mut notes);
        let goes_on = matches!(ruling, Ruling::Forward | Ruling::ForwardRest);
        if goes_on && producers.named && !self.claim_producers(frame, &work.found) {
            return Ok(Ruling::Refuse(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
        }
        Ok(ruling)
    }

    /// Whether a producer id is the asker's, or nobody's. It is claimed only by a request that goes on: else who may write
    /// nothing could take ids from those who do.
    fn may_use(&self, id: i64) -> bool {
        let is_own = self.own_producers.borrow().contains(&id);
        is_own || !self.shard.shared.producers.is_anothers(&self.cluster_name, id, &self.asker)
    }

    /// Makes the producer ids of a request that goes on the asker's own; whether they are.
    fn claim_producers(&self, frame: &[u8], found: &Found) -> bool {
        let claimed = producers::survey(frame, found, |id| {
            let mut own = self.own_producers.borrow_mut();
            if own.contains(&id) {
                return true;
            }
            let is_own = self.shard.shared.producers.claim(&self.cluster_name, id, &self.asker);
            if is_own {
                if own.len() >= limits::PRODUCER_IDS_PER_CONNECTION_MAX {
                    own.clear();
                }
                own.push(id);
            }
            is_own
        });
        claimed.is_ok_and(|producers| !producers.strange)
    }

    fn expect(
        &self,
        exchange: &'static Exchange,
        header: &RequestHeader,
        frame: &[u8],
        ordinal: u64,
        work: &mut Work,
    ) -> Expected {
        let correlation = self.correlation.get().wrapping_add(1) & 0x7fff_ffff;
        self.correlation.set(correlation);
        let refusals =
            (!work.refusals.is_empty()).then(|| Box::new(std::mem::take(&mut work.refusals)));
        let mut asked = self.shard.asked.borrow_mut().pop().unwrap_or_default();
        asked.note(exchange, frame, &work.found, &work.tally);
        Expected {
            exchange,
            client_correlation: header.correlation_id,
            correlation,
            frame_bytes: frame.len(),
            refusals,
            records_bytes_max: records_bytes_max(exchange, &work.found),
            asked,
            ordinal,
        }
    }

    /// Patches what is patched in place, and applies the edits where there are any.
    fn forward(
        &self,
        ruling: Ruling,
        correlation: u32,
        frame: &mut [u8],
        work: &mut Work,
    ) -> Result<Fate, Ended> {
        patch(frame, REQUEST_CORRELATION_AT, correlation.cast_signed());
        // An incremental fetch names no topic, and a session belongs to whoever knows its number: sessions end here.
        if let Some(epoch) = work.found.number(Meaning::SessionEpoch) {
            patch(frame, kafka::wire::index(epoch.at), SESSIONLESS);
        }
        if ruling == Ruling::Forward && work.found.trailing == 0 {
            return Ok(Fate::Forward);
        }
        if let (Ok(end), Ok(trailing)) =
            (u32::try_from(frame.len()), u32::try_from(work.found.trailing))
            && trailing > 0
        {
            work.edits.replace(Span { start: end.saturating_sub(trailing), end }, &[]);
        }
        work.edits
            .apply(frame, &work.found, &mut work.rope)
            .map_err(|error| Ended::ClientRequest(error.to_string()))?;
        Ok(Fate::Rewrite(work.rope.drain().collect()))
    }

    /// Tells the session that this connection logged in again.
    pub fn authenticated(&self, identity: &sluicegate_actors::vocabulary::Identity) {
        self.session.authenticated(identity.expires_at);
    }
}

/// StreamsGroupHeartbeat's key.
const STREAMS_HEARTBEAT: i16 = 88;

/// The session epoch of a fetch outside of any fetch session (KIP-227).
const SESSIONLESS: i32 = -1;

/// What is told of a regular expression that is not taken.
const REGEX_TEXT: &str =
    "not a regular expression of RE2's syntax that matches names of topics, or too large a one";

/// What is told of an API that nobody gets.
const NEVER_TEXT: &str = "not through the gateway: what brokers are told of logins, rights and themselves is not for clients";

/// Nothing is wrong with the whole.
const OK: Outcome<'static> = Outcome { code: ErrorCode::NONE, message: None };

/// What is refused whatever policy says: what gives a login to the brokers themselves, a fetch session that the gateway
/// never gave, and a topology with topics by a regular expression, which the broker would evaluate over all that the
/// gateway's own login may see.
fn never(exchange: &Exchange, found: &Found) -> Option<ErrorCode> {
    if exchange.api.handling == Handling::Never {
        return Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if exchange.api.key == STREAMS_HEARTBEAT {
        let mut patterns = found.lists.iter().filter(|list| list.list == List::Patterns);
        let has_any = patterns.any(|list| list.count > 0);
        return has_any.then_some(ErrorCode::INVALID_REGULAR_EXPRESSION);
    }
    let session = found.number(Meaning::SessionId)?;
    (exchange.api.key == hold::FETCH && session.value != 0)
        .then_some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
}

/// Kafka answers every request but a produce with acks=0.
fn expects_answer(exchange: &Exchange, found: &Found) -> bool {
    exchange.api.key != hold::PRODUCE
        || found.number(Meaning::Acks).is_none_or(|acks| acks.value != 0)
}

/// The most bytes of records that a fetch asks for. What a share fetch acquired cannot be fetched again, so nothing of it is
/// left out.
fn records_bytes_max(exchange: &Exchange, found: &Found) -> usize {
    let asked = found.number(Meaning::MaxBytes).filter(|_| exchange.api.key == hold::FETCH);
    asked.and_then(|asked| usize::try_from(asked.value).ok()).unwrap_or(usize::MAX)
}

/// How long a held fetch waits for a grant: as long as it would wait for records.
fn hold_time(found: &Found) -> std::time::Duration {
    let asked = found.number(Meaning::MaxWaitMs).map_or(0, |number| number.value);
    std::time::Duration::from_millis(u64::try_from(asked).unwrap_or(0)).min(limits::HOLD_MS_MAX)
}

fn refusal(
    exchange: &'static Exchange,
    header: &RequestHeader,
    frame: &[u8],
    ruling: Ruling,
    work: &Work,
) -> Bytes {
    match ruling {
        Ruling::Refuse(code) => {
            let reason = exchange.api.is_dangerous.then(|| work.tally.reason()).flatten();
            let message = match exchange.api.handling {
                Handling::Never => Some(NEVER_TEXT),
                _ if code == ErrorCode::INVALID_REGULAR_EXPRESSION => Some(REGEX_TEXT),
                _ => reason.as_deref(),
            };
            let outcome = Outcome { code, message };
            refuse::whole(exchange, header.correlation_id, frame, &work.found, outcome)
        }
        _ => work.refusals.answer(exchange, header.correlation_id, OK),
    }
}

/// A topic's name, or its id as text where the name is not known.
fn topic_text<'a>(topic: &Topic, frame: &'a [u8], cluster: &'a ClusterSnapshot) -> Cow<'a, str> {
    if let Some(name) = topic.name(frame) {
        return Cow::Borrowed(name);
    }
    let id = topic.id(frame).unwrap_or_default();
    match cluster.topic_name(&id) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("id {:032x}", u128::from_be_bytes(id))),
    }
}

fn patch(frame: &mut [u8], at: usize, value: i32) {
    if let Some(place) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests;
