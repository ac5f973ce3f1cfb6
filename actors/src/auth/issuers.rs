//! The issuer-keys actor: it alone reads key sets, and publishes what is known as one immutable
//! snapshot.
//!
//! Tokens are verified by whoever holds the snapshot; no lookup waits for the network. Only a token
//! with an unknown key asks for a reading, and a reading begins at most once in 10 s for an issuer,
//! whatever tokens say.
//!
//! ```text
//!  file, URL ─▶ KeySet ─▶ ArcSwap<IssuerSnapshot> ─▶ verify
//!      ▲                                               │ unknown key
//!      └── every 300 s, when a file changes, and ◀─────┘ at most once in 10 s
//! ```

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::keys::KeySet;
use super::rules::{IssuerError, IssuerRules, IssuerSettings};
use super::source::{FileVersion, KeySource, ReadError};
use super::token::{TokenError, TrustedIssuer, verify_token};
use crate::runtime::Clock;
use crate::supervisor::Address;
use crate::vocabulary::{Identity, UnixMillis};

/// How often keys are read anew.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// The least time between two readings for one issuer, and before a failed one is tried again.
pub const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// How long keys serve after they were read, in milliseconds: six hours.
pub const KEYS_AGE_MS_MAX: i64 = 6 * 60 * 60 * 1000;

/// The most logins that wait for one reading; further ones are answered at once.
pub const WAITING_MAX: usize = 1_024;

/// One issuer of the configuration.
#[derive(Clone, Debug)]
pub struct IssuerConfiguration {
    /// What must hold of its tokens.
    pub settings: IssuerSettings,
    /// Where its keys are.
    pub source: KeySource,
}

/// All issuers with the keys that are known now.
#[derive(Debug, Default)]
pub struct IssuerSnapshot {
    issuers: Vec<IssuerState>,
}

/// One issuer in a snapshot.
#[derive(Clone, Debug)]
pub struct IssuerState {
    /// The issuer and its keys.
    pub trusted: TrustedIssuer,
    /// When its keys were read last; `None` if never.
    pub read_at: Option<UnixMillis>,
    /// Why the last reading failed; `None` if it did not.
    pub failure: Option<Arc<str>>,
}

/// The door to the issuers: cheap to clone, and usable from any executor.
#[derive(Clone)]
pub struct Issuers {
    snapshot: Arc<ArcSwap<IssuerSnapshot>>,
    actor: Address<IssuerKeysMessage>,
    runtime: tokio::runtime::Handle,
    clock: Clock,
}

/// Why the issuers of a configuration cannot be used. Blame: the operator.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// The rules of one are unsafe.
    #[error(transparent)]
    Rules(#[from] IssuerError),
    /// Two have one name.
    #[error("issuer `{name}` is configured twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A listener names one that is not configured.
    #[error("issuer `{name}` is not configured")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The key file of one cannot be read.
    #[error("issuer `{name}`: {source}")]
    File {
        /// The issuer's name.
        name: String,
        /// Why.
        source: ReadError,
    },
    /// The key file of one holds no key.
    #[error("issuer `{name}`: its key file has no usable key: {reasons}")]
    NoKey {
        /// The issuer's name.
        name: String,
        /// Why each key was left out.
        reasons: String,
    },
}

/// What the issuer-keys actor is told.
pub enum IssuerKeysMessage {
    /// A second has passed.
    Tick,
    /// A token names a key that the snapshot does not have.
    Refresh {
        /// The issuer's place in the snapshot.
        index: usize,
        /// Told when another look is worthwhile, or at once where it is not.
        done: oneshot::Sender<()>,
    },
    /// A fetch has ended.
    Fetched {
        /// The issuer's place in the snapshot.
        index: usize,
        /// The keys, or why not.
        outcome: Result<KeySet, ReadError>,
    },
}

/// Reads keys; see the module.
#[derive(Clone)]
pub struct IssuerKeysActor {
    sources: Arc<[KeySource]>,
    snapshot: Arc<ArcSwap<IssuerSnapshot>>,
    clock: Clock,
}

/// What the actor knows of each issuer beyond the snapshot.
pub struct Reading {
    /// When the last reading began.
    began: Option<Instant>,
    due: Instant,
    fetching: bool,
    version: Option<FileVersion>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl IssuerSnapshot {
    /// Every issuer, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[IssuerState] {
        &self.issuers
    }

    /// Verifies a token against the issuers that a listener names.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold.
    pub fn verify(
        &self,
        token: &str,
        accepted: &[String],
        now: UnixMillis,
    ) -> Result<Identity, TokenError> {
        let trusted: Vec<&TrustedIssuer> = self
            .issuers
            .iter()
            .map(|issuer| &issuer.trusted)
            .filter(|trusted| accepted.iter().any(|name| name == trusted.rules.name()))
            .collect();
        verify_token(token, &trusted, now)
    }

    /// Checks the issuers that a listener names, before it accepts a connection.
    ///
    /// # Errors
    ///
    /// One is not configured, two expect the same `iss`, or one could mint groups of another.
    pub fn check_listener(&self, accepted: &[String]) -> Result<(), IssuersError> {
        let mut rules = Vec::new();
        for name in accepted {
            let issuer = self
                .position(name)
                .and_then(|index| self.issuers.get(index))
                .ok_or_else(|| IssuersError::Unknown { name: name.clone() })?;
            rules.push(Arc::clone(&issuer.trusted.rules));
        }
        Ok(IssuerRules::check_listener(&rules)?)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| issuer.trusted.rules.name() == name)
    }
}

impl Issuers {
    pub(crate) fn new(
        actor: Address<IssuerKeysMessage>,
        snapshot: Arc<ArcSwap<IssuerSnapshot>>,
        runtime: tokio::runtime::Handle,
        clock: Clock,
    ) -> Self {
        Self { snapshot, actor, runtime, clock }
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<IssuerSnapshot> {
        self.snapshot.load_full()
    }

    /// Verifies a token on the control plane. The receiver may be awaited on any executor; dropping
    /// it gives up.
    ///
    /// # Limits
    ///
    /// The caller holds a permit: each call is a task until it answers, at the latest when a fetch
    /// has timed out (5 s).
    #[must_use]
    pub fn authenticate(
        &self,
        token: SecretString,
        accepted: Arc<[String]>,
    ) -> oneshot::Receiver<Result<Identity, TokenError>> {
        let (answer, receiver) = oneshot::channel();
        let issuers = self.clone();
        self.runtime.spawn(async move {
            let outcome = issuers.verify(token.expose_secret(), &accepted).await;
            // The asker may be gone: its deadline has passed.
            answer.send(outcome).ok();
        });
        receiver
    }

    /// Verifies a token, on the control plane's runtime.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold. An unknown key is looked for once more after a reading,
    /// if one is due and the issuer answered last time; while it does not answer, the refusal is
    /// immediate.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn verify(&self, token: &str, accepted: &[String]) -> Result<Identity, TokenError> {
        let snapshot = self.snapshot.load_full();
        let outcome = snapshot.verify(token, accepted, (self.clock)());
        let (Err(TokenError::UnknownKey { issuer, .. })
        | Err(TokenError::KeysUnavailable { issuer })) = &outcome
        else {
            return outcome;
        };
        let Some(index) = snapshot.position(issuer) else {
            return outcome;
        };
        let (done, again) = oneshot::channel();
        if self.actor.tell(IssuerKeysMessage::Refresh { index, done }).is_err()
            || again.await.is_err()
        {
            return outcome;
        }
        self.snapshot.load().verify(token, accepted, (self.clock)())
    }
}

impl IssuerKeysActor {
    /// The actor for these issuers, and the first snapshot. Key files are read here, so that a
    /// gateway does not start with one that is missing; URLs are read once the actor runs.
    ///
    /// # Errors
    ///
    /// Unsafe rules, a name given twice, a key file that cannot be read or holds no usable key.
    pub fn new(
        configurations: Vec<IssuerConfiguration>,
        clock: Clock,
    ) -> Result<(Self, Arc<ArcSwap<IssuerSnapshot>>), IssuersError> {
        let mut issuers: Vec<IssuerState> = Vec::new();
        let mut sources = Vec::new();
        for IssuerConfiguration { settings, source } in configurations {
            let rules = IssuerRules::new(settings)?;
            let name = rules.name().to_owned();
            if issuers.iter().any(|issuer| issuer.trusted.rules.name() == name) {
                return Err(IssuersError::Twice { name });
            }
            let mut state = IssuerState {
                trusted: TrustedIssuer {
                    rules: Arc::new(rules),
                    keys: None,
                    keys_until: UnixMillis(0),
                },
                read_at: None,
                failure: None,
            };
            if let KeySource::File(path) = &source {
                let (keys, _) = KeySource::read_file(path)
                    .map_err(|source| IssuersError::File { name: name.clone(), source })?;
                if keys.usable_count() == 0 {
                    let reasons: Vec<&str> = keys.skipped().iter().map(|key| key.reason).collect();
                    return Err(IssuersError::NoKey { name, reasons: reasons.join("; ") });
                }
                state.learn(keys, clock());
            }
            issuers.push(state);
            sources.push(source);
        }
        let snapshot = Arc::new(ArcSwap::from_pointee(IssuerSnapshot { issuers }));
        Ok((Self { sources: sources.into(), snapshot: Arc::clone(&snapshot), clock }, snapshot))
    }

    fn tick(&self, myself: &ActorRef<IssuerKeysMessage>, readings: &mut [Reading]) {
        let now = Instant::now();
        for (index, (source, reading)) in self.sources.iter().zip(readings.iter_mut()).enumerate() {
            let changed = match source {
                KeySource::File(path) => FileVersion::now(path) != reading.version,
                KeySource::Url { .. } => false,
            };
            if now >= reading.due || changed {
                self.begin(myself, index, source, reading);
            }
        }
    }

    fn refresh(
        &self,
        myself: &ActorRef<IssuerKeysMessage>,
        readings: &mut [Reading],
        index: usize,
        done: oneshot::Sender<()>,
    ) {
        let (Some(source), Some(reading)) = (self.sources.get(index), readings.get_mut(index))
        else {
            return;
        };
        let answering = self.snapshot.load().issuers.get(index).is_some_and(IssuerState::answers);
        let earliest = reading.began.map(|began| began + REFRESH_INTERVAL_MIN);
        let allowed = earliest.is_none_or(|earliest| Instant::now() >= earliest);
        if !reading.fetching && allowed {
            self.begin(myself, index, source, reading);
        } else if let Some(earliest) = earliest {
            // An unknown key means that the set has changed: look again as soon as it is allowed.
            reading.due = reading.due.min(earliest);
        }
        if reading.fetching && answering && reading.waiting.len() < WAITING_MAX {
            reading.waiting.push(done);
        } else {
            done.send(()).ok();
        }
    }

    /// Reads a file at once, and starts the fetch of a URL.
    fn begin(
        &self,
        myself: &ActorRef<IssuerKeysMessage>,
        index: usize,
        source: &KeySource,
        reading: &mut Reading,
    ) {
        if reading.fetching {
            return;
        }
        let now = Instant::now();
        reading.began = Some(now);
        reading.due = now + REFRESH_INTERVAL_MIN;
        match source {
            KeySource::File(path) => {
                let outcome = KeySource::read_file(path).map(|(keys, version)| {
                    reading.version = Some(version);
                    keys
                });
                if outcome.is_err() {
                    // What is there now was tried; only another change is worth another look before
                    // its time.
                    reading.version = FileVersion::now(path);
                }
                self.end(index, reading, outcome);
            }
            KeySource::Url { url, client } => {
                reading.fetching = true;
                let (url, client, actor) = (url.clone(), client.clone(), myself.clone());
                ractor::concurrency::spawn(async move {
                    let outcome = KeySource::fetch(&url, &client).await;
                    // The actor may have ended meanwhile; its successor reads anew.
                    actor.cast(IssuerKeysMessage::Fetched { index, outcome }).ok();
                });
            }
        }
    }

    /// Publishes the outcome of a reading, and wakes who waits for it.
    fn end(&self, index: usize, reading: &mut Reading, outcome: Result<KeySet, ReadError>) {
        reading.fetching = false;
        let mut issuers = self.snapshot.load().issuers.clone();
        if let Some(issuer) = issuers.get_mut(index) {
            let name = issuer.trusted.rules.name().to_owned();
            match outcome {
                Ok(keys) => {
                    for skipped in keys.skipped() {
                        tracing::warn!(
                            issuer = name,
                            index = skipped.index,
                            reason = skipped.reason,
                            "key skipped"
                        );
                    }
                    tracing::debug!(issuer = name, keys = keys.usable_count(), "keys read");
                    issuer.learn(keys, (self.clock)());
                    reading.due = Instant::now() + REFRESH_INTERVAL;
                }
                Err(error) => {
                    tracing::warn!(issuer = name, %error, "keys could not be read");
                    issuer.failure = Some(error.to_string().into());
                }
            }
        }
        self.snapshot.store(Arc::new(IssuerSnapshot { issuers }));
        for done in reading.waiting.drain(..) {
            done.send(()).ok();
        }
    }
}

impl Actor for IssuerKeysActor {
    type Msg = IssuerKeysMessage;
    type State = Vec<Reading>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let now = Instant::now();
        let first = || Reading {
            began: None,
            due: now,
            fetching: false,
            version: None,
            waiting: Vec::new(),
        };
        let mut readings: Vec<Reading> = self.sources.iter().map(|_| first()).collect();
        self.tick(&myself, &mut readings);
        myself.send_interval(TICK, || IssuerKeysMessage::Tick);
        Ok(readings)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        readings: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            IssuerKeysMessage::Tick => self.tick(&myself, readings),
            IssuerKeysMessage::Refresh { index, done } => {
                self.refresh(&myself, readings, index, done);
            }
            IssuerKeysMessage::Fetched { index, outcome } => {
                if let Some(reading) = readings.get_mut(index) {
                    self.end(index, reading, outcome);
                }
            }
        }
        Ok(())
    }
}

impl IssuerState {
    fn learn(&mut self, keys: KeySet, now: UnixMillis) {
        self.trusted.keys = Some(Arc::new(keys));
        self.trusted.keys_until = UnixMillis(now.0.saturating_add(KEYS_AGE_MS_MAX));
        self.read_at = Some(now);
        self.failure = None;
    }

    /// False once a reading failed: until one succeeds again, nobody waits for it.
    fn answers(&self) -> bool {
        self.failure.is_none()
    }
}

/// How soon a changed file is seen, and how exact the other times are.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
