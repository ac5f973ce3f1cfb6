//! The whole gateway: the control plane's actors, the record log, one shard per core; started, drained and ended.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_channel::{mpsc, oneshot};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use sluicegate_actors::approval::{DeskConfiguration, GrantTable};
use sluicegate_actors::auth::issuers::IssuerConfiguration;
use sluicegate_actors::auth::rules::IssuerSettings;
use sluicegate_actors::auth::source::{KeySource, PlainHttp};

use rustix::process::Signal;
use rustls::ServerConfig;
use sluicegate_actors::masking::registry::Registry;
use sluicegate_actors::masking::rules::{Rules, RulesFile};
use sluicegate_actors::policy::{Policies, PoliciesError};
use sluicegate_actors::recorder::control::ControlLog;
use sluicegate_actors::recorder::drain::{Store, StoreOptions};
use sluicegate_actors::recorder::entry::{CONTROL_SHARD, EntryKind};
use sluicegate_actors::recorder::store::StoreError;
use sluicegate_actors::recorder::verify::{Scope, VerifyError, verify};
use sluicegate_actors::recorder::writer::{
    Durability, RecordError, SEGMENT_ROLL_BYTES, SegmentOptions, SegmentWriter,
};
use sluicegate_actors::runtime::{
    ControlPlane, ControlPlaneConfiguration, ControlPlaneError, SESSIONS_MAX, system_clock,
};
use sluicegate_actors::session::{PartError, PartKind, SessionSources};
use sluicegate_actors::vocabulary::SessionId;
use thiserror::Error;
use tokio::sync::Notify;

use crate::acceptor::{Acceptor, AcceptorError};
use crate::cluster::{ClusterTask, ClusterView};
use crate::config::{Config, Issuer, Jwks, RecordSync, TlsFiles};
use crate::console::{self, ConsoleError};
use crate::control::Control;
use crate::path::record::RecordLog;
use crate::shard::{Command, Fuse, Shard, Shared};
use crate::store::StoreThread;
use crate::{clock, limits};

/// How often policy files are looked at for a change.
const POLICY_LOOK_EVERY: Duration = Duration::from_millis(500);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    shards: Vec<ExecutorJoinHandle<()>>,
    inboxes: Vec<mpsc::Sender<Command>>,
    control: Actors,
    policy_asks: Arc<Notify>,
    store: StoreThread,
    shutdown_timeout: Duration,
}

/// Why the gateway does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The record log.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The policies.
    #[error(transparent)]
    Policies(#[from] PoliciesError),
    /// The mask rules.
    #[error("{0}")]
    Masks(String),
    /// The control plane.
    #[error(transparent)]
    Control(#[from] ControlPlaneError),
    /// An issuer's keys.
    #[error("`issuers.{name}.jwks`: {reason}")]
    Issuer {
        /// The issuer's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A listener's certificate or key.
    #[error("`{path}`: {reason}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A port.
    #[error(transparent)]
    Acceptor(#[from] AcceptorError),
    /// The admin API.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// An executor.
    #[error("a shard cannot start: {0}; run `sluicegate check`")]
    Executor(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be verified.
    #[error("the record log cannot be verified: {0}")]
    Verify(#[from] VerifyError),
    /// The log is not as it was written.
    #[error("the record log is not as it was written; move `data.dir` aside to start anew\n{0}")]
    Unsound(String),
    /// The gateway's id.
    #[error("`{path}`: {source}")]
    GatewayId {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The store's thread.
    #[error("the store's thread cannot start: {0}")]
    Thread(#[source] std::io::Error),
    /// No randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// [`ControlPlane`] says nothing of itself.
struct Actors(ControlPlane);

impl std::fmt::Debug for Actors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ControlPlane")
    }
}

impl Gateway {
    /// Starts everything, and returns once clients are served. While no broker can be reached it waits, and says so.
    ///
    /// # Errors
    ///
    /// [`StartError`] names what is wrong; nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Ground { control_plane, policy_asks, logs, store, damaged } = Ground::lay(&config)?;
        let tls = server_configs(&config)?;
        console::open(&config, &control_plane)?;
        let control =
            Control::new(control_plane.control().clone(), control_plane.runtime().clone());
        let mut views = BTreeMap::new();
        let mut tasks = Vec::new();
        for name in config.clusters.keys() {
            let (view, task) = ClusterView::new(name.clone(), control.clone());
            views.insert(name.clone(), view);
            tasks.push(task);
        }
        let shutdown_timeout = config.shutdown_timeout;
        let registry = registry(&config)?;
        let shared = Arc::new(Shared::new(config, views, tls, control, registry));
        let (inboxes, shards) = start_shards(&shared, logs, tasks)?;
        let control = Actors(control_plane);
        let store = StoreThread::start(store, damaged).map_err(StartError::Thread)?;
        Ok(Self { shards, inboxes, control, policy_asks, store, shutdown_timeout })
    }

    /// Drains and ends: no new connections, answers in flight are delivered, all within the configured bound.
    pub fn stop(mut self) {
        for inbox in &mut self.inboxes {
            // A full inbox is being emptied by its shard; closing it says the same.
            if inbox.try_send(Command::Drain).is_err() {
                inbox.close_channel();
            }
        }
        for shard in self.shards {
            if let Err(error) = shard.join() {
                tracing::error!(%error, "a shard did not end in order");
            }
        }
        self.control.0.shutdown(self.shutdown_timeout);
        self.store.stop();
    }

    /// Whom to notify to have the policies loaded again now, rather than when a file is seen to have changed.
    #[must_use]
    pub fn policy_asks(&self) -> Arc<Notify> {
        Arc::clone(&self.policy_asks)
    }

    /// Where work of the control plane runs.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.control.0.runtime()
    }
}

/// What shards stand on: the actors and the record log.
struct Ground {
    control_plane: ControlPlane,
    policy_asks: Arc<Notify>,
    /// One for each shard.
    logs: Vec<SegmentWriter>,
    store: Store,
    /// Set once the log is found not to be as it was written.
    damaged: Arc<AtomicBool>,
}

impl Ground {
    fn lay(config: &Config) -> Result<Self, StartError> {
        crate::kafka::prepare();
        let gateway = gateway_id(&config.data_dir)?;
        let store = open_store(config, gateway)?;
        let policies = Policies::load(config.policy_files.clone(), config.approvers.clone())?;
        let policies = Arc::new(policies);
        let (logs, control_log) = open_logs(config, gateway)?;
        let control_log = Arc::new(control_log);
        control_log.note(EntryKind::LogOpened, env!("CARGO_PKG_VERSION"))?;
        control_log.policy(&policies.bundle())?;
        let rules = mask_rules(config)?.map(Arc::new);
        let damaged = Arc::new(AtomicBool::new(false));
        let grants = GrantTable::default();
        let sources = sources(config, &policies, rules, &grants, &control_log, &damaged);
        let desk = desk(config, &policies, grants, &control_log);
        let control_plane = ControlPlane::start(control_configuration(config, sources, desk)?)?;
        let policy_asks = watch_policies(&control_plane, &policies, &control_log);
        Ok(Self { control_plane, policy_asks, logs, store, damaged })
    }
}

type Started = (Vec<mpsc::Sender<Command>>, Vec<ExecutorJoinHandle<()>>);

fn start_shards(
    shared: &Arc<Shared>,
    logs: Vec<SegmentWriter>,
    tasks: Vec<ClusterTask>,
) -> Result<Started, StartError> {
    let (inboxes, receivers): (Vec<_>, Vec<_>) =
        logs.iter().map(|_| mpsc::channel(limits::ACCEPTED_QUEUE_MAX)).unzip();
    let (ready, is_ready) = oneshot::channel();
    let mut first = Some((tasks, inboxes.clone(), ready));
    let mut shards = Vec::new();
    for (index, (log, inbox)) in logs.into_iter().zip(receivers).enumerate() {
        let shared = Arc::clone(shared);
        let leader = first.take();
        let core = index;
        let builder =
            LocalExecutorBuilder::new(Placement::Fixed(core)).name(&format!("shard-{index}"));
        let shard = builder.spawn(move || async move {
            let _fuse = Fuse;
            let shard = Shard::new(index, Arc::clone(&shared), RecordLog::new(log));
            let leading = match leader {
                Some((tasks, inboxes, ready)) => lead(shared, tasks, inboxes, ready).await,
                None => Vec::new(),
            };
            shard.run(inbox, leading).await;
        });
        shards.push(shard.map_err(|error| StartError::Executor(error.to_string()))?);
    }
    match futures_lite::future::block_on(is_ready) {
        Ok(Ok(())) => Ok((inboxes, shards)),
        Ok(Err(error)) => {
            for mut inbox in inboxes {
                inbox.close_channel();
            }
            for shard in shards {
                drop(shard.join());
            }
            Err(error.into())
        }
        Err(_) => Err(StartError::Executor("the first shard ended".to_owned())),
    }
}

/// What the first shard does beside serving: it sees the clusters and accepts for all. Dropping the tasks ends that.
async fn lead(
    shared: Arc<Shared>,
    tasks: Vec<ClusterTask>,
    inboxes: Vec<mpsc::Sender<Command>>,
    ready: oneshot::Sender<Result<(), AcceptorError>>,
) -> Vec<glommio::Task<()>> {
    let mut leading = Vec::new();
    for mut task in tasks {
        let name = task.name().to_owned();
        let Some(cluster) = shared.config.clusters.get(&name) else { continue };
        let upstream = task.first_look(cluster).await;
        leading.push(glommio::spawn_local(task.run(Arc::clone(&shared), upstream)));
    }
    let outcome = match Acceptor::open(shared, inboxes) {
        Ok(acceptor) => {
            leading.push(glommio::spawn_local(acceptor.follow()));
            Ok(())
        }
        Err(error) => Err(error),
    };
    // Whoever waited for it may have given up.
    ready.send(outcome).unwrap_or(());
    leading
}

/// The gateway's own id: random, made once, kept beside the log.
fn gateway_id(data: &Path) -> Result<[u8; 16], StartError> {
    let path = data.join("gateway.id");
    let failed = |source| StartError::GatewayId { path: path.clone(), source };
    if let Ok(text) = std::fs::read_to_string(&path) {
        let id = SessionId::parse(text.trim());
        let reason = || failed(std::io::Error::other("it holds no id of 32 hexadecimal digits"));
        return id.map(|id| id.0).ok_or_else(reason);
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(StartError::Random)?;
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    std::fs::write(&path, format!("{}\n", SessionId(id))).map_err(failed)?;
    Ok(id)
}

/// Opens the store, and checks what the log holds since its last sealed heads: a log that was altered is not written on.
fn open_store(config: &Config, gateway: [u8; 16]) -> Result<Store, StartError> {
    let options = StoreOptions {
        data: config.data_dir.clone(),
        gateway,
        durability: durability(config.recording.sync),
    };
    let store = Store::open(options)?;
    if let Some(reason) = store.rebuilt() {
        tracing::warn!(reason, "the index of the record log is made again from its segments");
    }
    let report = verify(&config.data_dir, &store.public_key(), Scope::Recent)?;
    if report.sound { Ok(store) } else { Err(StartError::Unsound(report.to_string())) }
}

fn durability(sync: RecordSync) -> Durability {
    match sync {
        RecordSync::Process => Durability::Process,
        RecordSync::Interval => Durability::Interval,
        RecordSync::Always => Durability::Always,
    }
}

/// One writer for each shard, and one for the control plane.
fn open_logs(
    config: &Config,
    gateway: [u8; 16],
) -> Result<(Vec<SegmentWriter>, ControlLog), StartError> {
    let mut run = [0; 16];
    getrandom::fill(&mut run).map_err(StartError::Random)?;
    let open = |shard: u32| -> Result<SegmentWriter, StartError> {
        let (writer, recovery) = SegmentWriter::open(SegmentOptions {
            directory: config.data_dir.join("segments"),
            gateway,
            run,
            shard,
            roll_bytes: SEGMENT_ROLL_BYTES,
            durability: durability(config.recording.sync),
        })?;
        if recovery.torn_bytes > 0 {
            tracing::warn!(shard, torn_bytes = recovery.torn_bytes, "the last run was cut");
        }
        Ok(writer)
    };
    let shards = u32::try_from(config.shards).unwrap_or(CONTROL_SHARD);
    let logs = (0..shards).map(open).collect::<Result<Vec<_>, _>>()?;
    Ok((logs, ControlLog::new(open(CONTROL_SHARD)?)))
}

/// What the approval desk works with.
fn desk(
    config: &Config,
    policies: &Arc<Policies>,
    grants: GrantTable,
    log: &Arc<ControlLog>,
) -> DeskConfiguration {
    let (policies, log) = (Arc::clone(policies), Arc::clone(log));
    DeskConfiguration {
        file: config.data_dir.join("approvals.json"),
        record: Arc::new(move |event| log.desk(event).map_err(|error| error.to_string())),
        policy: Arc::new(move || policies.bundle().hash()),
        grants,
    }
}

/// What the actors of every session compile with.
fn sources(
    config: &Config,
    policies: &Arc<Policies>,
    rules: Option<Arc<Rules>>,
    grants: &GrantTable,
    log: &Arc<ControlLog>,
    damaged: &Arc<AtomicBool>,
) -> SessionSources {
    let clusters: BTreeMap<String, String> = config
        .listeners
        .iter()
        .map(|listener| (listener.name.clone(), listener.cluster.clone()))
        .collect();
    let (policies, grants, level) =
        (Arc::clone(policies), grants.clone(), config.recording.payload);
    let (opening, closing, damaged) = (Arc::clone(log), Arc::clone(log), Arc::clone(damaged));
    let refused = |kind, reason: String| PartError { kind, reason };
    SessionSources {
        policy: Arc::new(move |facts| {
            let cluster = clusters.get(&*facts.listener).map_or("", String::as_str);
            let compiled = policies.compile(facts, cluster, clock::wall());
            compiled.map(Arc::new).map_err(|error| refused(PartKind::Policy, error.to_string()))
        }),
        approval: Arc::new(move |facts| Ok(grants.of(&facts.identity.principal()))),
        masking: Arc::new(move |_| Ok(rules.clone())),
        recorder: Arc::new(move |_| Ok(level)),
        opened: Arc::new(move |facts| {
            if damaged.load(Ordering::Relaxed) {
                let reason = "the record log is damaged".to_owned();
                return Err(refused(PartKind::Recorder, reason));
            }
            let written = opening.session_opened(facts);
            written.map_err(|error| refused(PartKind::Recorder, error.to_string()))
        }),
        closed: Arc::new(move |facts, reason| {
            if let Err(error) = closing.session_closed(facts, reason) {
                tracing::error!(%error, "the end of a session is not in the record log");
            }
        }),
    }
}

fn control_configuration(
    config: &Config,
    sources: SessionSources,
    approvals: DeskConfiguration,
) -> Result<ControlPlaneConfiguration, StartError> {
    let issuers = config
        .issuers
        .iter()
        .map(|(name, issuer)| issuer_configuration(name, issuer))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ControlPlaneConfiguration {
        issuers,
        sources,
        approvals,
        sessions_max: SESSIONS_MAX,
        clock: system_clock(),
        failed: Arc::new(|name| {
            tracing::error!(actor = name, "alarm: an actor failed for good; the gateway ends");
            // As an operator would end it: what is in flight is delivered first.
            let own = rustix::process::getpid();
            if let Err(error) = rustix::process::kill_process(own, Signal::TERM) {
                tracing::error!(%error, "the gateway cannot be ended in order");
                std::process::abort();
            }
        }),
    })
}

/// The mask rules of the configuration; `None` where there is no `masking` section.
///
/// # Errors
///
/// [`StartError::Masks`] with file, line and reason.
pub fn mask_rules(config: &Config) -> Result<Option<Rules>, StartError> {
    let Some(masking) = &config.masking else { return Ok(None) };
    let mut texts = Vec::new();
    for path in &masking.files {
        let text = std::fs::read_to_string(path).map_err(|error| {
            StartError::Masks(format!("cannot read `{}`: {error}", path.display()))
        })?;
        texts.push((path.display().to_string(), text));
    }
    let files: Vec<RulesFile<'_>> =
        texts.iter().map(|(name, text)| RulesFile { name, text }).collect();
    let rules = Rules::compile(&files, &masking.keys)
        .map_err(|error| StartError::Masks(error.to_string()))?;
    if let Some(place) = rules.registry_place().filter(|_| masking.registry.is_none()) {
        return Err(StartError::Masks(format!(
            "{place}: the rule needs schemas, and no registry is configured: say `masking.registry.url`"
        )));
    }
    Ok(Some(rules))
}

/// The client of the schema registry, where one is configured.
fn registry(config: &Config) -> Result<Option<Arc<Registry>>, StartError> {
    let registry = config.masking.as_ref().and_then(|masking| masking.registry.clone());
    let registry = registry.map(Registry::new).transpose();
    registry
        .map(|registry| registry.map(Arc::new))
        .map_err(|error| StartError::Masks(format!("masking.registry: {error}")))
}

fn issuer_configuration(name: &str, issuer: &Issuer) -> Result<IssuerConfiguration, StartError> {
    let source = match &issuer.jwks {
        Jwks::File(path) => KeySource::File(path.clone()),
        Jwks::Url(url) => {
            let source = KeySource::new(url, Path::new(""), PlainHttp::LoopbackOnly, None);
            source.map_err(|error| StartError::Issuer {
                name: name.to_owned(),
                reason: error.to_string(),
            })?
        }
    };
    let settings = IssuerSettings {
        name: name.to_owned(),
        issuer: issuer.issuer.clone(),
        audiences: issuer.audience.clone(),
        algorithms: issuer.algorithms.clone(),
        groups_claim: issuer.groups_claim.clone(),
        groups_prefix: issuer.groups_prefix.clone(),
    };
    Ok(IssuerConfiguration { settings, source })
}

/// Loads policies again when a file changes or when it is asked to; one that is refused leaves the old bundle in force.
/// Returns whom to ask.
fn watch_policies(
    control_plane: &ControlPlane,
    policies: &Arc<Policies>,
    log: &Arc<ControlLog>,
) -> Arc<Notify> {
    let (policies, log) = (Arc::clone(policies), Arc::clone(log));
    let sessions = control_plane.control().sessions.clone();
    let asked = Arc::new(Notify::new());
    let asks = Arc::clone(&asked);
    control_plane.runtime().spawn(async move {
        let mut seen = policies.file_marks();
        let mut interval = tokio::time::interval(POLICY_LOOK_EVERY);
        loop {
            let is_asked = tokio::select! {
                _ = interval.tick() => false,
                () = asked.notified() => true,
            };
            let marks = policies.file_marks();
            if marks == seen && !is_asked {
                continue;
            }
            seen = marks;
            match policies.reload() {
                Ok(Some(bundle)) => {
                    let (hash, epoch) = (bundle.hash(), bundle.epoch());
                    tracing::info!(%hash, epoch, "policies loaded again");
                    noted(EntryKind::PolicyChanged, log.policy(&bundle));
                    sessions.recompile(PartKind::Policy);
                }
                Ok(None) if is_asked => tracing::info!("policies are as they were"),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "policies refused; the old ones stay");
                    let kind = EntryKind::PolicyRefused;
                    noted(kind, log.note(kind, &error.to_string()));
                }
            }
        }
    });
    asks
}

/// What cannot be recorded is said at least.
fn noted(kind: EntryKind, outcome: Result<(), RecordError>) {
    if let Err(error) = outcome {
        tracing::error!(%error, ?kind, "an event of the gateway is not in the record log");
    }
}

fn server_configs(config: &Config) -> Result<Vec<Option<Arc<ServerConfig>>>, StartError> {
    let one = |files: &TlsFiles| crate::tls::server_config(files).map(Some);
    config.listeners.iter().map(|listener| listener.tls.as_ref().map_or(Ok(None), one)).collect()
}

#[cfg(test)]
pub(crate) mod stage;
