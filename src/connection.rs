//! The life of one client, top to bottom: accept → authenticate → serve → close.
//!
//! One client connection has one broker connection: never pooled, never reordered. Two loops of one shard carry
//! requests and responses (`link.rs`); what the client is owed stands in its queue, in the order of the requests
//! (`queue.rs`).
//!
//! Nothing is cancelled in the middle of a read: glommio reads by readiness, and every end closes the sockets, which
//! ends the loops.

mod link;
mod queue;
mod under_way;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_lite::FutureExt;
use glommio::timer::sleep;
use sluicegate_actors::recorder::entry::EntryKind;
use sluicegate_actors::recorder::writer::RecordError;
use sluicegate_actors::session::SessionLease;
use sluicegate_actors::vocabulary::Identity;

use self::link::Link;
use self::queue::Queue;
use crate::config::{BrokerLogin, Listener};
use crate::control::Caller;
use crate::error::Ended;
use crate::kafka::found::Found;
use crate::kafka::walk;
use crate::life::Life;
use crate::login::{Login, Step, Verified};
use crate::path::Path;
use crate::path::frame::{Bounds, FrameReader};
use crate::path::record::{Note, Trace};
use crate::path::socket::Socket;
use crate::path::upstream::{Upstream, UpstreamError};
use crate::shard::{Accepted, Door, Shard};
use crate::{clock, limits};

/// Requests before a login.
const BEFORE_LOGIN: Bounds =
    Bounds { min: limits::FRAME_BYTES_MIN, max: limits::FRAME_BEFORE_LOGIN_BYTES_MAX };

/// Requests after a login.
const AFTER_LOGIN: Bounds = Bounds { min: limits::FRAME_BYTES_MIN, max: limits::FRAME_BYTES_MAX };

/// A client that was let in: its socket, what it read, and its place in the record.
struct Client {
    shard: Rc<Shard>,
    life: Rc<Life>,
    socket: Rc<Socket>,
    reader: FrameReader,
    trace: Rc<Trace>,
    accepted: Entrance,
}

/// What stays of an [`Accepted`] once its stream is bound.
#[derive(Clone, Copy)]
struct Entrance {
    peer: SocketAddr,
    door: Door,
}

/// Serves one accepted connection until it ends, and says why it did.
pub async fn serve(shard: &Rc<Shard>, life: &Rc<Life>, accepted: Accepted) {
    let peer = accepted.peer;
    if let Err(reason) = run(shard, life, accepted).await {
        life.end(reason);
    }
    let reason = life.into_reason().unwrap_or(Ended::Draining);
    life.end(Ended::ClientClosed);
    reason.log(life.id.0, peer);
}

async fn run(shard: &Rc<Shard>, life: &Rc<Life>, accepted: Accepted) -> Result<(), Ended> {
    let Accepted { stream, peer, door, .. } = accepted;
    let stream = stream.bind_to_executor();
    let tls = shard.shared.tls.get(door.listener).and_then(Option::as_ref);
    let socket = match tls {
        Some(config) => Socket::tls(stream, Arc::clone(config), Rc::clone(&shard.pool)),
        None => Socket::plain(stream),
    };
    let socket = Rc::new(socket.map_err(Ended::ClientSocket)?);
    // The handshake is part of the login: the deadline of that one ends it.
    life.owns(&socket);
    poll_fn(|context| {
        if life.is_draining() {
            return Poll::Ready(Err(Ended::Draining));
        }
        life.watch(context.waker());
        socket.poll_handshake(context).map_err(Ended::ClientHandshake)
    })
    .await?;
    let listener = listener(shard, door.listener)?;
    let trace = Rc::new(Trace::new(life.id, peer, &listener.name));
    let reader = FrameReader::new(Rc::clone(&shard.pool), Rc::clone(&shard.budget), BEFORE_LOGIN);
    let mut client = Client {
        shard: Rc::clone(shard),
        life: Rc::clone(life),
        socket,
        reader,
        trace,
        accepted: Entrance { peer, door },
    };
    client.note(&Note::new(EntryKind::ConnectionOpened)).await?;
    if let Err(reason) = client.live(listener).await {
        life.end(reason);
    }
    client.note(&Note::new(EntryKind::ConnectionClosed).text(&life.reason_text())).await
}

fn listener(shard: &Shard, index: usize) -> Result<&Listener, Ended> {
    let listeners = &shard.shared.config.listeners;
    listeners.get(index).ok_or_else(|| Ended::SessionEnded("its listener is gone".to_owned()))
}

impl Client {
    async fn live(&mut self, listener: &Listener) -> Result<(), Ended> {
        let (login, identity, lease, accepted) = self.authenticate(listener).await?;
        self.life.serves_until(identity.expires_at);
        self.reader.set_bounds(AFTER_LOGIN);
        // Before the broker is reached: a login is the gateway's to accept. A connection that ends within its login is
        // a failed login to librdkafka; one that ends after it is a broker that went away, which clients try again.
        write(&self.socket, &accepted).await?;
        let (broker_address, broker, broker_reader) = self.connect(listener, &identity).await?;
        self.life.owns(&broker);
        let link = Link {
            path: Path::new(
                Rc::clone(&self.shard),
                self.accepted.door,
                Rc::clone(&self.trace),
                Arc::clone(lease.handle()),
            ),
            shard: Rc::clone(&self.shard),
            life: Rc::clone(&self.life),
            client: Rc::clone(&self.socket),
            broker,
            broker_address,
            answered: Cell::new(false),
            splices: Cell::new(true),
            queue: Queue::default(),
            login: RefCell::new(login),
            principal: identity.principal(),
            listener: self.accepted.door.listener,
        };
        link.serve(&mut self.reader, broker_reader).await;
        drop(lease);
        Ok(())
    }

    /// Until the client is somebody: one request at a time, each answered before the next is read.
    async fn authenticate(
        &mut self,
        listener: &Listener,
    ) -> Result<(Login, Identity, SessionLease, Bytes), Ended> {
        let mechanisms: Arc<[_]> = listener.mechanisms.clone().into();
        let issuers: Arc<[String]> = listener.issuers.clone().into();
        let mut login = Login::new(self.shard.shared.control.clone(), mechanisms, issuers);
        let mut found = Found::default();
        loop {
            let size = self.next_frame().await?;
            let frame = self.reader.bytes().get(..size).unwrap_or_default().to_vec();
            self.reader.consume(size);
            let view = self.shard.shared.clusters.get(&listener.cluster).map(|view| view.load());
            let offer = view.as_ref().and_then(|snapshot| snapshot.offer.clone());
            drop(view);
            match login.step(&frame, offer.as_ref(), &mut found).await? {
                Step::Answer(answer) => write(&self.socket, &answer).await?,
                Step::Fail(answer, reason) => {
                    self.note(&Note::new(EntryKind::LoginFailed).text(&reason)).await?;
                    sleep(limits::LOGIN_FAILED_DELAY).await;
                    write(&self.socket, &answer).await?;
                    return Err(Ended::LoginFailed(reason));
                }
                Step::Verified(verified) => {
                    return self.enter(listener, login, verified, &frame).await;
                }
            }
        }
    }

    /// Opens the session of a verified identity.
    async fn enter(
        &mut self,
        listener: &Listener,
        login: Login,
        verified: Verified,
        frame: &[u8],
    ) -> Result<(Login, Identity, SessionLease, Bytes), Ended> {
        let header =
            walk::request_header(frame).map_err(|error| Ended::ClientRequest(error.to_string()))?;
        let client_id = header.client_id.text(frame).unwrap_or_default();
        let caller = Caller {
            connection: self.life.id,
            client_id: Arc::from(client_id),
            address: self.accepted.peer.ip(),
            listener: Arc::from(listener.name.as_str()),
            login: verified.login,
            shard: self.shard.index,
        };
        match login.session(&verified, &caller).await {
            Ok(lease) => {
                let identity = verified.identity.clone();
                let principal = identity.principal();
                let session = lease.handle().id();
                self.trace.speaks_for(session, &principal, self.accepted.peer, &listener.name);
                let mut note = Note::new(EntryKind::LoginAccepted);
                note.client_id = client_id;
                self.note(&note).await?;
                Ok((login, identity, lease, verified.accepted()))
            }
            Err(error) => {
                let reason = error.to_string();
                self.note(&Note::new(EntryKind::LoginFailed).text(&reason)).await?;
                write(&self.socket, &verified.refused(&reason)).await?;
                Err(Ended::LoginFailed(reason))
            }
        }
    }

    /// The broker that the client's port stands for, or any for bootstrap, by the credential of the client's groups.
    async fn connect(
        &self,
        listener: &Listener,
        identity: &Identity,
    ) -> Result<(SocketAddr, Rc<Socket>, FrameReader), Ended> {
        let unusable = |reason: String| Ended::BrokerUnusable(reason);
        let shared = &self.shard.shared;
        let cluster = shared.config.clusters.get(&listener.cluster);
        let cluster = cluster.ok_or_else(|| unusable("its cluster is gone".to_owned()))?;
        let login = credential(&cluster.credentials, identity)
            .ok_or_else(|| unusable("no credential".to_owned()))?;
        let brokers: Vec<SocketAddr> = {
            let view = shared.clusters.get(&listener.cluster).map(|view| view.load());
            let snapshot = view.ok_or_else(|| unusable("its cluster is gone".to_owned()))?;
            match self.accepted.door.broker {
                Some(id) => snapshot.brokers.get(&id).copied().into_iter().collect(),
                None => snapshot.brokers.values().copied().collect(),
            }
        };
        let mut last = unusable("no such broker is known".to_owned());
        for address in brokers {
            if !self.shard.reach.turn(address, &self.life).await {
                last = unusable(format!("{address} failed a moment ago"));
                continue;
            }
            let pool = Rc::clone(&self.shard.pool);
            let budget = Rc::clone(&self.shard.budget);
            let late = async {
                sleep(limits::UPSTREAM_LOGIN_MS_MAX).await;
                Err(UpstreamError::Socket(io::ErrorKind::TimedOut.into()))
            };
            match Upstream::connect(address, login, pool, budget).or(late).await {
                Ok(upstream) => {
                    let (socket, reader) = upstream.into_parts();
                    return Ok((address, socket, reader));
                }
                Err(error) => {
                    if !matches!(error, UpstreamError::LoginRefused { .. }) {
                        self.shard.reach.failed(address);
                    }
                    last = unusable(error.to_string());
                }
            }
        }
        Err(last)
    }

    /// Reads until a whole frame is there; returns its size with the length prefix.
    async fn next_frame(&mut self) -> Result<usize, Ended> {
        loop {
            if let Some(size) = self.reader.complete(0).map_err(Ended::ClientFrame)? {
                self.life.frame_unfinished(None);
                return Ok(size.bytes());
            }
            self.reader.admit().await.map_err(Ended::ClientFrame)?;
            let (reader, life) = (&mut self.reader, &self.life);
            life.frame_unfinished(reader.is_inside_frame().then(clock::monotonic));
            let read = poll_fn(|context| {
                if life.is_draining() && !reader.is_inside_frame() {
                    return Poll::Ready(Ok(0));
                }
                life.watch(context.waker());
                life.reads(true);
                reader.poll_fill(context, &self.socket, usize::MAX)
            })
            .await
            .map_err(Ended::ClientSocket)?;
            life.reads(false);
            if read == 0 {
                return Err(Ended::ClientClosed);
            }
        }
    }

    /// Appends an entry and flushes it at once.
    async fn note(&self, note: &Note<'_>) -> Result<(), Ended> {
        let failed = |error: RecordError| Ended::RecordLog(error.to_string());
        let log = &self.shard.log;
        log.append(&self.trace, note, None, &[]).map_err(failed)?;
        log.flush().await.map_err(failed)
    }
}

fn credential<'a>(
    credentials: &'a [crate::config::Credential],
    identity: &Identity,
) -> Option<&'a BrokerLogin> {
    let serves = |credential: &&crate::config::Credential| {
        credential.groups.is_empty()
            || credential.groups.iter().any(|group| identity.groups.contains(group))
    };
    credentials.iter().find(serves).map(|credential| &credential.login)
}

async fn write(socket: &Socket, bytes: &[u8]) -> Result<(), Ended> {
    socket.write_all(bytes).await.map_err(Ended::ClientSocket)
}
