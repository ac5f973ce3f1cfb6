//! The life of one core: take accepted connections, serve them, sweep their deadlines, drain.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_channel::mpsc;
use futures_lite::StreamExt;
use glommio::net::AcceptedTcpStream;
use glommio::timer::sleep;
use rustls::ServerConfig;
use sluicegate_actors::masking::registry::Registry;
use sluicegate_actors::vocabulary::ConnectionId;

use crate::admission::Place;
use crate::buffers::{Budget, Pool};
use crate::cluster::ClusterView;
use crate::config::Config;
use crate::control::Control;
use crate::life::Life;
use crate::path::Work;
use crate::path::asked::Asked;
use crate::path::masking::MaskPool;
use crate::path::patterns::Subscriptions;
use crate::path::producers::ProducerIds;
use crate::path::reach::Reach;
use crate::path::record::RecordLog;
use crate::path::socket::Conduits;
use crate::path::stream::Scratch;
use crate::{clock, connection, limits};

/// How often a shard looks at its connections' deadlines.
const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// What every shard reads and none changes, but for its own load.
pub struct Shared {
    /// The checked configuration.
    pub config: Config,
    /// The gateway's own eyes, by the cluster's name.
    pub clusters: BTreeMap<String, Arc<ClusterView>>,
    /// TLS of each listener, in the order of the configuration.
    pub tls: Vec<Option<Arc<ServerConfig>>>,
    /// How busy each shard is.
    pub loads: Vec<Load>,
    /// The door to the actors.
    pub control: Control,
    /// Where schemas of records come from, where a registry is configured.
    pub registry: Option<Arc<Registry>>,
    /// Whose producer ids are.
    pub producers: ProducerIds,
    /// What members that subscribe by regular expression said.
    pub subscriptions: Subscriptions,
    next_connection: AtomicU64,
}

/// How busy one shard is: written by it alone, read when a connection is placed.
#[derive(Debug, Default)]
pub struct Load {
    /// Connections that are placed there.
    pub connections: AtomicUsize,
    /// Bytes that went through it, both directions.
    pub bytes: AtomicU64,
    /// Bytes that went through it between two looks, of late.
    pub recent_bytes: AtomicU64,
}

impl Load {
    /// Forgets half of what was recent, and adds what went through since `bytes`; what went through in all.
    fn look(&self, before: u64) -> u64 {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let fresh = bytes.saturating_sub(before);
        let recent = self.recent_bytes.load(Ordering::Relaxed).saturating_add(fresh) / 2;
        self.recent_bytes.store(recent, Ordering::Relaxed);
        bytes
    }
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// The listener's index in the configuration.
    pub listener: usize,
    /// The broker that the port stands for; `None` for bootstrap.
    pub broker: Option<i32>,
    /// The gateway's port.
    pub port: u16,
}

/// A connection on its way to its shard.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, bound to no shard yet.
    pub stream: AcceptedTcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// Where it came in.
    pub door: Door,
    /// Its place among the connections of its address, where they are counted; given back when it is dropped.
    pub place: Option<Place>,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Command {
    /// Serve this connection.
    Serve(Accepted),
    /// Take no more, finish what is in flight, end.
    Drain,
}

/// One core's state. Nothing in it is shared with another thread.
pub struct Shard {
    /// Counted from 0.
    pub index: usize,
    /// What all shards read.
    pub shared: Arc<Shared>,
    /// Read buffers.
    pub pool: Rc<Pool>,
    /// Pipes for records that go from socket to socket.
    pub conduits: Rc<Conduits>,
    /// Bytes of frames that are admitted.
    pub budget: Rc<Budget>,
    /// Brokers that fail.
    pub reach: Reach,
    /// This shard's part of the record log.
    pub log: RecordLog,
    /// What is reused from request to request.
    pub work: RefCell<Work>,
    /// What answers that were carried left for the next.
    pub asked: RefCell<Vec<Asked>>,
    /// What streams that have ended left for the next.
    pub streams: RefCell<Vec<Scratch>>,
    /// What partitions are masked with.
    pub masks: MaskPool,
    connections: RefCell<BTreeMap<ConnectionId, Rc<Life>>>,
    draining: Cell<bool>,
}

impl Shared {
    /// What the shards read.
    #[must_use]
    pub fn new(
        config: Config,
        clusters: BTreeMap<String, Arc<ClusterView>>,
        tls: Vec<Option<Arc<ServerConfig>>>,
        control: Control,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        let loads = (0..config.shards).map(|_| Load::default()).collect();
        Self {
            config,
            clusters,
            tls,
            loads,
            control,
            registry,
            producers: ProducerIds::default(),
            subscriptions: Subscriptions::default(),
            next_connection: AtomicU64::new(1),
        }
    }

    /// The shard with the least of both together: its share of the connections, and its share of the bytes that went
    /// through of late. By connections alone, clients that open an idle one before each busy one would put all busy ones
    /// on one shard of two.
    #[must_use]
    pub fn least_loaded(&self) -> usize {
        let loads = || {
            self.loads.iter().map(|load| {
                let connections = load.connections.load(Ordering::Relaxed);
                let connections = u128::try_from(connections).unwrap_or(u128::MAX);
                (connections, u128::from(load.recent_bytes.load(Ordering::Relaxed)))
            })
        };
        let connections_in_all = loads().map(|(connections, _)| connections).sum::<u128>().max(1);
        let bytes_in_all = loads().map(|(_, bytes)| bytes).sum::<u128>().max(1);
        let share = |(connections, bytes): (u128, u128)| {
            connections
                .saturating_mul(bytes_in_all)
                .saturating_add(bytes.saturating_mul(connections_in_all))
        };
        let least = loads().enumerate().min_by_key(|(_, load)| share(*load));
        least.map(|(index, _)| index).unwrap_or_default()
    }

    /// A number that no connection of this run had.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// The load of one shard.
    #[must_use]
    pub fn load(&self, shard: usize) -> Option<&Load> {
        self.loads.get(shard)
    }
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(index: usize, shared: Arc<Shared>, log: RecordLog) -> Rc<Self> {
        let poison = shared.config.diagnostics.poison_buffers;
        let pool = if poison { Pool::poisoned() } else { Pool::default() };
        Rc::new(Self {
            index,
            shared,
            pool: Rc::new(pool),
            conduits: Rc::default(),
            budget: Rc::default(),
            reach: Reach::default(),
            log,
            work: RefCell::default(),
            asked: RefCell::default(),
            streams: RefCell::default(),
            masks: MaskPool::default(),
            connections: RefCell::default(),
            draining: Cell::new(false),
        })
    }

    /// Serves what the inbox brings until it says to drain, then ends what this shard leads, waits for the connections within the configured
    /// bound, and ends those that are left.
    pub async fn run(
        self: Rc<Self>,
        mut inbox: mpsc::Receiver<Command>,
        leading: Vec<glommio::Task<()>>,
    ) {
        let sweeper = glommio::spawn_local(Rc::clone(&self).sweep());
        while let Some(command) = inbox.next().await {
            match command {
                Command::Serve(accepted) => Rc::clone(&self).serve(accepted),
                Command::Drain => break,
            }
        }
        // Ports close first, where this shard leads: nobody new comes in.
        for task in leading {
            task.cancel().await;
        }
        // What was accepted before the drain is served: a client that was let in gets an answer or a close.
        while let Ok(Command::Serve(accepted)) = inbox.try_recv() {
            Rc::clone(&self).serve(accepted);
        }
        self.drain().await;
        sweeper.cancel().await;
    }

    /// Counts bytes that went through, for the placement of connections.
    pub fn count_bytes(&self, bytes: usize) {
        if let Some(load) = self.shared.load(self.index) {
            load.bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
        }
    }

    fn serve(self: Rc<Self>, mut accepted: Accepted) {
        let life = Rc::new(Life::new(self.shared.connection_id(), clock::monotonic()));
        let full = self.connections.borrow().len() >= limits::CONNECTIONS_PER_SHARD_MAX;
        if full {
            life.end(crate::error::Ended::NoRoom);
        }
        self.connections.borrow_mut().insert(life.id, Rc::clone(&life));
        if self.draining.get() {
            life.drain();
        }
        glommio::spawn_local(async move {
            let place = accepted.place.take();
            connection::serve(&self, &life, accepted).await;
            drop(place);
            self.connections.borrow_mut().remove(&life.id);
            if let Some(load) = self.shared.load(self.index) {
                load.connections.fetch_sub(1, Ordering::Relaxed);
            }
        })
        .detach();
    }

    async fn sweep(self: Rc<Self>) {
        let mut bytes = 0;
        loop {
            sleep(SWEEP_EVERY).await;
            bytes = self.shared.load(self.index).map_or(0, |load| load.look(bytes));
            let (now, wall) = (clock::monotonic(), clock::wall());
            for life in self.connections.borrow().values() {
                life.sweep(now, wall);
            }
            self.log.tick();
        }
    }

    async fn drain(&self) {
        self.draining.set(true);
        for life in self.connections.borrow().values() {
            life.drain();
        }
        let deadline = clock::monotonic() + self.shared.config.shutdown_timeout;
        while !self.connections.borrow().is_empty() && clock::monotonic() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let left: Vec<Rc<Life>> = self.connections.borrow().values().cloned().collect();
        for life in &left {
            life.end(crate::error::Ended::Draining);
        }
        // Closed sockets end their loops at once; a loop that did not end would be a defect, so this is bounded too.
        let deadline = clock::monotonic() + Duration::from_secs(1);
        while !self.connections.borrow().is_empty() && clock::monotonic() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A panic in a shard ends the process: its connections would hang, and what it was doing is unknown.
#[derive(Debug)]
pub struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::gateway::stage::Stage;

    /// Set in the process that is to panic.
    const PANICS: &str = "SLUICEGATE_TEST_PANICS";

    /// The test is its own second process, because what it is about ends one.
    #[test]
    fn a_panic_in_a_connection_ends_the_process_and_not_its_shard_alone() {
        if std::env::var_os(PANICS).is_some() {
            return panic_in_a_shard();
        }
        let started = clock::monotonic();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("shard::tests::a_panic_in_a_connection_ends_the_process_and_not_its_shard_alone")
            .env(PANICS, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(6), "{status:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    /// As the gateway starts its shards and a shard its connections: whoever joins it would wait for a minute.
    fn panic_in_a_shard() {
        let shard = glommio::LocalExecutorBuilder::default().spawn(|| async {
            let _fuse = Fuse;
            glommio::spawn_local(async { panic!("as a defect would") }).detach();
            sleep(Duration::from_secs(60)).await;
        });
        drop(shard.unwrap().join());
    }

    #[test]
    fn a_busy_connection_is_not_put_beside_another() {
        let stage = Stage::set("@id(\"p\") permit (principal, action, resource);", "none", &[]);
        let shared = &stage.shard.shared;
        let mut busy = [0, 0];
        // Each client opens an idle connection, then a busy one, as consumers do.
        for connection in 0..64 {
            let shard = shared.least_loaded();
            let load = shared.load(shard).unwrap();
            load.connections.fetch_add(1, Ordering::Relaxed);
            if connection % 2 == 1 {
                busy[shard] += 1;
            }
            for (load, busy) in shared.loads.iter().zip(busy) {
                load.recent_bytes.store(busy * 1_000_000, Ordering::Relaxed);
            }
            assert!(busy[0].abs_diff(busy[1]) <= 1, "{busy:?} after {connection}");
        }
        let connections = |index: usize| shared.loads[index].connections.load(Ordering::Relaxed);
        assert!(connections(0).abs_diff(connections(1)) <= 8, "{}", connections(0));
    }
}
