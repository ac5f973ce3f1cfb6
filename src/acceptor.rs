//! Where connections come in: the bootstrap port and one port for each broker of every listener.
//!
//! Accepting and binding are apart: the first shard accepts, and the least loaded one serves. The kernel's
//! SO_REUSEPORT hash would put two heavy connections on one core half of the time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_channel::mpsc;
use glommio::Task;
use glommio::net::TcpListener;
use glommio::timer::sleep;
use thiserror::Error;

use crate::admission::Gate;
use crate::config::Listener;
use crate::shard::{Accepted, Command, Door, Shared};
use crate::{clock, limits};

/// How often the listeners follow the brokers of their cluster.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Whether somebody listens already is asked once for each port at the start; on one machine the answer is immediate.
const PROBE_MS_MAX: Duration = Duration::from_millis(200);

/// A pause after a failed accept (out of file descriptors, say), so that the loop does not spin.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Why a port cannot be opened.
#[derive(Debug, Error)]
pub enum AcceptorError {
    /// The system refuses the address.
    #[error("cannot listen on {address} for listener `{listener}`: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The listener.
        listener: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A broker without a port.
    #[error(
        "broker {broker} of cluster `{cluster}` has no port in `listeners.{listener}.broker.ports`"
    )]
    NoPort {
        /// The broker's id.
        broker: i32,
        /// Its cluster.
        cluster: String,
        /// The listener.
        listener: String,
    },
}

/// All open ports; dropping it closes them.
pub struct Acceptor {
    shared: Arc<Shared>,
    shards: Rc<Vec<mpsc::Sender<Command>>>,
    /// One for each listener, in the order of the configuration.
    gates: Vec<Rc<RefCell<Gate>>>,
    open: BTreeMap<(usize, Option<i32>), Task<()>>,
}

impl Acceptor {
    /// Opens the bootstrap ports and the ports of all brokers that are known.
    ///
    /// # Errors
    ///
    /// [`AcceptorError`] where a port cannot be opened, or a broker has none.
    pub fn open(
        shared: Arc<Shared>,
        shards: Vec<mpsc::Sender<Command>>,
    ) -> Result<Self, AcceptorError> {
        let gate = |listener: &Listener| {
            Rc::new(RefCell::new(Gate::new(&listener.name, listener.connections)))
        };
        let gates = shared.config.listeners.iter().map(gate).collect();
        let mut acceptor = Self { shared, shards: Rc::new(shards), gates, open: BTreeMap::new() };
        let shared = Arc::clone(&acceptor.shared);
        for (index, listener) in shared.config.listeners.iter().enumerate() {
            acceptor.listen(index, listener, None, listener.bind)?;
            for broker in acceptor.brokers(listener) {
                let port =
                    listener.broker_ports.port(broker).ok_or_else(|| AcceptorError::NoPort {
                        broker,
                        cluster: listener.cluster.clone(),
                        listener: listener.name.clone(),
                    })?;
                let address = SocketAddr::new(listener.bind.ip(), port);
                acceptor.listen(index, listener, Some(broker), address)?;
            }
        }
        Ok(acceptor)
    }

    /// Opens ports for brokers that join, until it is dropped. A broker without a port is left out, with an alarm.
    pub async fn follow(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut without_port = std::collections::BTreeSet::new();
        loop {
            sleep(FOLLOW_EVERY).await;
            for (index, listener) in shared.config.listeners.iter().enumerate() {
                for broker in self.brokers(listener) {
                    if self.open.contains_key(&(index, Some(broker))) {
                        continue;
                    }
                    let opened = listener.broker_ports.port(broker).map(|port| {
                        let address = SocketAddr::new(listener.bind.ip(), port);
                        self.listen(index, listener, Some(broker), address)
                    });
                    let first = without_port.insert((index, broker));
                    match opened {
                        Some(Ok(())) => {
                            without_port.remove(&(index, broker));
                        }
                        Some(Err(error)) if first => tracing::error!(broker, %error, "alarm"),
                        None if first => tracing::error!(
                            broker,
                            listener = listener.name,
                            "alarm: a broker joined that has no port in `broker.ports`"
                        ),
                        _ => {}
                    }
                }
            }
        }
    }

    fn brokers(&self, listener: &Listener) -> Vec<i32> {
        let view = self.shared.clusters.get(&listener.cluster);
        view.map(|view| view.load().brokers.keys().copied().collect()).unwrap_or_default()
    }

    fn listen(
        &mut self,
        index: usize,
        listener: &Listener,
        broker: Option<i32>,
        address: SocketAddr,
    ) -> Result<(), AcceptorError> {
        let failed = |source: io::Error| AcceptorError::Bind {
            address,
            listener: listener.name.clone(),
            source,
        };
        // glommio sets SO_REUSEPORT, with which a second gateway on the same port would start without a word. Binding
        // without it would tell, but also refuse while connections of the last run linger in TIME_WAIT.
        if std::net::TcpStream::connect_timeout(&address, PROBE_MS_MAX).is_ok() {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        let socket = TcpListener::bind(address).map_err(|error| failed(error.into()))?;
        let port = socket.local_addr().map_or(address.port(), |local| local.port());
        let door = Door { listener: index, broker, port };
        let Some(gate) = self.gates.get(index).map(Rc::clone) else { return Ok(()) };
        let (shared, shards) = (Arc::clone(&self.shared), Rc::clone(&self.shards));
        let accepting = accept(socket, door, gate, shared, shards);
        tracing::info!(%address, listener = listener.name, ?broker, "listening");
        self.open.insert((index, broker), glommio::spawn_local(accepting));
        Ok(())
    }
}

async fn accept(
    socket: TcpListener,
    door: Door,
    gate: Rc<RefCell<Gate>>,
    shared: Arc<Shared>,
    shards: Rc<Vec<mpsc::Sender<Command>>>,
) {
    let mut accepted: u32 = 0;
    loop {
        // In a flood the next connection is always there, and this loop would never let go of its shard. A mere yield
        // would not do: the shard looks at its other sockets when its tasks wait.
        accepted = accepted.wrapping_add(1);
        if accepted.is_multiple_of(limits::ACCEPTS_PER_TURN) {
            sleep(limits::ACCEPT_PAUSE).await;
        }
        let stream = match socket.shared_accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, port = door.port, "cannot accept");
                sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        // A peer that has gone already has no address.
        let Ok(peer) = stream.peer_addr() else {
            drop(stream.bind_to_executor());
            continue;
        };
        let Ok(place) = gate.borrow_mut().admit(peer.ip(), clock::monotonic()) else {
            drop(stream.bind_to_executor());
            continue;
        };
        let shard = shared.least_loaded();
        let (Some(load), Some(inbox)) = (shared.load(shard), shards.get(shard)) else { continue };
        load.connections.fetch_add(1, Ordering::Relaxed);
        let command = Command::Serve(Accepted { stream, peer, door, place });
        if let Err(refused) = inbox.clone().try_send(command) {
            load.connections.fetch_sub(1, Ordering::Relaxed);
            if let Command::Serve(accepted) = refused.into_inner() {
                drop(accepted.stream.bind_to_executor());
            }
            tracing::warn!(%peer, shard, "a shard's inbox is full; the connection was closed");
        }
    }
}
