//! The gateway's own eyes: one connection per cluster that knows brokers, versions, features and topic ids, published
//! as a snapshot to all shards.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use futures_channel::{mpsc, oneshot};
use futures_lite::{FutureExt, StreamExt};
use glommio::timer::sleep;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;

use crate::buffers::{Budget, Pool};
use crate::config::{BrokerLogin, Cluster, HostPort};
use crate::control::Control;
use crate::kafka::api_versions::{ApiRange, FinalizedFeature, Offer, SupportedFeature};
use crate::kafka::found::Found;
use crate::kafka::wire::{Form, Reader, WireError};
use crate::kafka::{self, Versions, walk};
use crate::path::upstream::{Upstream, UpstreamError};
use crate::{clock, limits, probe};

/// A topic's id.
pub type TopicId = [u8; 16];

/// What is known of a cluster at one moment.
#[derive(Debug, Default)]
pub struct ClusterSnapshot {
    /// Brokers by id.
    pub brokers: BTreeMap<i32, SocketAddr>,
    /// What clients are offered; `None` until a broker was reached.
    pub offer: Option<Offer>,
    ids: HashMap<TopicId, Arc<str>>,
    names: HashMap<Arc<str>, TopicId>,
}

/// The snapshot of one cluster, and the way to ask for a fresh one. Shared by all shards, without a lock.
#[derive(Debug)]
pub struct ClusterView {
    /// The cluster's name in the configuration.
    pub name: String,
    snapshot: ArcSwap<ClusterSnapshot>,
    asks: mpsc::Sender<oneshot::Sender<()>>,
}

/// The task behind a [`ClusterView`]; it runs on the first shard.
#[derive(Debug)]
pub struct ClusterTask {
    view: Arc<ClusterView>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    control: Control,
    found: Found,
}

/// Why a look at the cluster failed.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No bootstrap server has an address.
    #[error("cannot resolve `{host}`: {reason}")]
    Resolve {
        /// The host.
        host: String,
        /// The resolver's reason.
        reason: String,
    },
    /// The connection or an exchange failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// An answer that cannot be read.
    #[error("the broker's answer cannot be read: {0}")]
    Answer(String),
    /// No answer in time.
    #[error("no answer within {} s", limits::CLUSTER_ANSWER_MS_MAX.as_secs())]
    Timeout,
    /// The broker speaks none of the versions that the gateway asks in.
    #[error("the broker refuses ApiVersions (error {0})")]
    Versions(i16),
}

impl ClusterSnapshot {
    /// A cluster with these topics, with the ids 1, 2, …, and nothing else known of it: for tests and fuzz targets.
    #[must_use]
    pub fn of_topics(topics: &[&str]) -> Self {
        let ids = || (1_u128..).map(u128::to_be_bytes);
        let names = || topics.iter().map(|topic| Arc::<str>::from(*topic));
        let (ids, names) = (ids().zip(names()).collect(), names().zip(ids()).collect());
        Self { ids, names, ..Self::default() }
    }

    /// The name of a topic id.
    #[must_use]
    pub fn topic_name(&self, id: &TopicId) -> Option<&Arc<str>> {
        self.ids.get(id)
    }

    /// The names of all topics, in no order.
    pub fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// Whether the topic exists.
    #[must_use]
    pub fn has_topic(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }
}

#[cfg(test)]
impl ClusterView {
    /// Knows these topics from now on, with the ids 1, 2, …, and brokers that have all that the table has.
    pub(crate) fn knows(&self, topics: &[&str]) {
        self.snapshot.store(Arc::new(ClusterSnapshot {
            offer: Some(Offer::whole_table()),
            ..ClusterSnapshot::of_topics(topics)
        }));
    }
}

impl ClusterView {
    /// A view that knows nothing, and the task that will.
    #[must_use]
    pub fn new(name: String, control: Control) -> (Arc<Self>, ClusterTask) {
        let (asks, asked) = mpsc::channel(limits::ASKS_IN_FLIGHT_MAX);
        let view = Arc::new(Self { name, snapshot: ArcSwap::default(), asks });
        let task = ClusterTask { view: Arc::clone(&view), asked, control, found: Found::default() };
        (view, task)
    }

    /// What is known now.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<ClusterSnapshot>> {
        self.snapshot.load()
    }

    /// Has the cluster looked at again; returns once it was, or once it could not be within its time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the question.
    pub async fn look_again(&self) {
        let (answer, answered) = oneshot::channel();
        if self.asks.clone().try_send(answer).is_err() {
            return;
        }
        let timeout = async {
            sleep(limits::CLUSTER_ANSWER_MS_MAX).await;
        };
        async {
            // The task drops its end only at the shutdown; then nobody waits for the answer.
            answered.await.unwrap_or(());
        }
        .or(timeout)
        .await;
    }
}

impl ClusterTask {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// Looks until the cluster is known for the first time, saying why it is not.
    pub async fn first_look(&mut self, cluster: &Cluster) -> Option<Upstream> {
        let mut warned: Option<String> = None;
        loop {
            match self.connect_and_look(cluster).await {
                Ok(upstream) => {
                    self.probe(cluster).await;
                    return Some(upstream);
                }
                Err(error) => {
                    let text = error.to_string();
                    if warned.as_ref() != Some(&text) {
                        tracing::warn!(
                            cluster = self.view.name,
                            error = text,
                            "cannot see the cluster; trying again"
                        );
                        warned = Some(text);
                    }
                    sleep(limits::CLUSTER_REFRESH_ASKED_MIN).await;
                }
            }
        }
    }

    /// Says what the gateway's own logins could do at the brokers and should not.
    async fn probe(&self, cluster: &Cluster) {
        let Some(address) = self.view.load().brokers.values().next().copied() else { return };
        for credential in &cluster.credentials {
            let (cluster, login) = (&self.view.name, credential.login.name());
            match probe::login(address, &credential.login).await {
                Ok(rights) => {
                    for right in rights {
                        tracing::warn!(
                            cluster,
                            login,
                            right,
                            "the brokers let the gateway do what it should not"
                        );
                    }
                }
                Err(error) => tracing::warn!(cluster, login, %error, "a login cannot be tried"),
            }
        }
    }

    /// Looks at the cluster now and then, and when it is asked to.
    pub async fn run(mut self, shared: Arc<crate::shard::Shared>, first: Option<Upstream>) {
        let Some(cluster) = shared.config.clusters.get(&self.view.name) else { return };
        let mut upstream = first;
        let mut last_look = clock::monotonic();
        loop {
            let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
            let asked = async { self.asked.next().await };
            let due = async {
                sleep(limits::CLUSTER_REFRESH).await;
                None
            };
            waiting.extend(asked.or(due).await);
            pace(last_look).await;
            while let Ok(another) = self.asked.try_recv() {
                waiting.push(another);
            }
            last_look = clock::monotonic();
            let looked = match upstream.take() {
                Some(mut known) => match self.look(&mut known).await {
                    Ok(()) => Ok(known),
                    Err(_) => self.connect_and_look(cluster).await,
                },
                None => self.connect_and_look(cluster).await,
            };
            match looked {
                Ok(known) => upstream = Some(known),
                Err(error) => {
                    tracing::warn!(cluster = self.view.name, %error, "cannot see the cluster");
                }
            }
            for answer in waiting {
                // Whoever asked may have gone.
                answer.send(()).unwrap_or(());
            }
        }
    }

    async fn connect_and_look(&mut self, cluster: &Cluster) -> Result<Upstream, ClusterError> {
        let Some(credential) = cluster.credentials.last() else {
            return Err(ClusterError::Answer("no credential".to_owned()));
        };
        let known: Vec<SocketAddr> = self.view.load().brokers.values().copied().collect();
        let mut last = None;
        for address in known {
            match self.connect_to(address, &credential.login).await {
                Ok(upstream) => return Ok(upstream),
                Err(error) => last = Some(error),
            }
        }
        for server in &cluster.bootstrap_servers {
            let found = self.resolve(server).await;
            let connected = match found {
                Ok(address) => self.connect_to(address, &credential.login).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(upstream) => return Ok(upstream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ClusterError::Timeout))
    }

    async fn connect_to(
        &mut self,
        address: SocketAddr,
        login: &BrokerLogin,
    ) -> Result<Upstream, ClusterError> {
        let (pool, budget) = (Rc::<Pool>::default(), Rc::<Budget>::default());
        let mut upstream = in_time(Upstream::connect(address, login, pool, budget)).await??;
        self.look(&mut upstream).await?;
        Ok(upstream)
    }

    async fn resolve(&self, server: &HostPort) -> Result<SocketAddr, ClusterError> {
        self.control
            .resolve(&server.host, server.port)
            .await
            .map_err(|reason| ClusterError::Resolve { host: server.host.clone(), reason })
    }

    /// One look: versions, features, brokers and topics; published as a whole.
    async fn look(&mut self, upstream: &mut Upstream) -> Result<(), ClusterError> {
        let offer = in_time(versions(upstream)).await??;
        let version = offer
            .apis
            .iter()
            .find(|range| range.key == METADATA)
            .map_or(1, |range| range.versions.to.min(METADATA_VERSION_MAX));
        // Null topics are all topics; version 0 would need an empty list, but no supported broker is that old.
        let request = MetadataRequest::default().with_topics(None);
        let asked = upstream.ask(ApiKey::Metadata, version, &request);
        let body = in_time(asked).await??;
        let mut snapshot = self.read_metadata(version, &body).await?;
        snapshot.offer = Some(offer.through_gateway());
        self.view.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    async fn read_metadata(
        &mut self,
        version: i16,
        body: &[u8],
    ) -> Result<ClusterSnapshot, ClusterError> {
        let unreadable = |reason: String| ClusterError::Answer(reason);
        let exchange = kafka::exchange(METADATA, version)
            .ok_or_else(|| unreadable(format!("Metadata version {version} is not known")))?;
        let frame = reframed(body);
        let (_, start) = walk::response_header(exchange, &frame)
            .map_err(|error| unreadable(error.to_string()))?;
        walk::response(exchange, &frame, start, &mut self.found)
            .map_err(|error| unreadable(error.to_string()))?;
        let mut snapshot = ClusterSnapshot::default();
        for topic in &self.found.topics {
            if let (Some(name), Some(id)) = (topic.name(&frame), topic.id(&frame)) {
                let name: Arc<str> = Arc::from(name);
                snapshot.names.insert(Arc::clone(&name), id);
                if id != TopicId::default() {
                    snapshot.ids.insert(id, name);
                }
            } else if let Some(name) = topic.name(&frame) {
                snapshot.names.insert(Arc::from(name), TopicId::default());
            }
        }
        for endpoint in &self.found.endpoints {
            let host = endpoint.host.text(&frame).unwrap_or_default().to_owned();
            let port = u16::try_from(endpoint.port).unwrap_or(0);
            let before = self.view.load().brokers.get(&endpoint.node).copied();
            match self.resolve(&HostPort { host, port }).await {
                Ok(address) => {
                    snapshot.brokers.insert(endpoint.node, address);
                }
                Err(error) => {
                    tracing::warn!(broker = endpoint.node, %error, "a broker's host is not known");
                    snapshot.brokers.extend(before.map(|address| (endpoint.node, address)));
                }
            }
        }
        Ok(snapshot)
    }
}

/// Waits where the last look was a moment ago, so that unknown ids do not make the gateway hammer the broker.
async fn pace(last_look: Instant) {
    let since = clock::monotonic().saturating_duration_since(last_look);
    if let Some(rest) = limits::CLUSTER_REFRESH_ASKED_MIN.checked_sub(since) {
        sleep(rest).await;
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, ClusterError> {
    let late = async {
        sleep(limits::CLUSTER_ANSWER_MS_MAX).await;
        Err(ClusterError::Timeout)
    };
    async { Ok(work.await) }.or(late).await
}

/// What the broker offers, features included: version 3 of ApiVersions, or 0 where it does not know that.
async fn versions(upstream: &mut Upstream) -> Result<Offer, ClusterError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("sluicegate"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let unreadable = |error: WireError| ClusterError::Answer(error.to_string());
    for version in [4, 3, 0] {
        let body = upstream.ask(ApiKey::ApiVersions, version, &request).await?;
        let mut reader = Reader::new(&body);
        match reader.int16().map_err(unreadable)? {
            0 => return read_offer(reader, version).map_err(unreadable),
            UNSUPPORTED_VERSION if version > 0 => {}
            code => return Err(ClusterError::Versions(code)),
        }
    }
    Err(ClusterError::Versions(UNSUPPORTED_VERSION))
}

/// The body of an ApiVersions response behind its error code.
fn read_offer(mut reader: Reader<'_>, version: i16) -> Result<Offer, WireError> {
    let flexible = version >= 3;
    let form = if flexible { Form::Compact } else { Form::Classic };
    let mut offer = Offer {
        apis: Vec::new(),
        supported_features: Vec::new(),
        finalized_features_epoch: -1,
        finalized_features: Vec::new(),
    };
    for _ in 0..reader.count(form)?.unwrap_or(0) {
        let key = reader.int16()?;
        let versions = Versions::new(reader.int16()?, reader.int16()?);
        offer.apis.push(ApiRange { key, versions });
        if flexible {
            skip_tags(&mut reader)?;
        }
    }
    if version >= 1 {
        reader.int32()?;
    }
    if flexible {
        for _ in 0..reader.uvarint()? {
            let (tag, size) = (reader.uvarint()?, reader.uvarint()?);
            let body = reader.take(kafka::wire::index(size))?;
            read_feature_tag(&mut offer, tag, body)?;
        }
    }
    Ok(offer)
}

fn read_feature_tag(offer: &mut Offer, tag: u32, body: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(body);
    match tag {
        0 => {
            for _ in 0..reader.count(Form::Compact)?.unwrap_or(0) {
                let name = feature_name(&mut reader)?;
                let (min, max) = (reader.int16()?, reader.int16()?);
                skip_tags(&mut reader)?;
                offer.supported_features.push(SupportedFeature { name, min, max });
            }
        }
        1 => offer.finalized_features_epoch = reader.int64()?,
        2 => {
            for _ in 0..reader.count(Form::Compact)?.unwrap_or(0) {
                let name = feature_name(&mut reader)?;
                let (max_level, min_level) = (reader.int16()?, reader.int16()?);
                skip_tags(&mut reader)?;
                offer.finalized_features.push(FinalizedFeature { name, max_level, min_level });
            }
        }
        _ => {}
    }
    Ok(())
}

fn feature_name(reader: &mut Reader<'_>) -> Result<String, WireError> {
    Ok(reader.string(Form::Compact)?.1.unwrap_or_default().to_owned())
}

fn skip_tags(reader: &mut Reader<'_>) -> Result<(), WireError> {
    for _ in 0..reader.uvarint()? {
        reader.uvarint()?;
        let size = reader.uvarint()?;
        reader.skip(kafka::wire::index(size))?;
    }
    Ok(())
}

/// The body behind a correlation id, as the whole frame that the walker reads.
pub(crate) fn reframed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len().saturating_add(4)).unwrap_or(i32::MAX);
    let mut frame = Vec::with_capacity(body.len().saturating_add(8));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(body);
    frame
}

/// Metadata's key.
const METADATA: i16 = 3;
/// The version that the gateway asks in: topic ids since 10, nothing that it needs after 12.
const METADATA_VERSION_MAX: i16 = 12;
/// Kafka's UNSUPPORTED_VERSION.
const UNSUPPORTED_VERSION: i16 = 35;
