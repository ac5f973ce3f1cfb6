//! The life of one client, top to bottom: accept → authenticate → serve → close.
//!
//! One client connection has one broker connection: never pooled, never reordered. Two loops of one shard carry
//! requests and responses; what the client is owed stands in its queue, in the order of the requests.
//!
//! Nothing is cancelled in the middle of a read: glommio reads by readiness, and every end closes the sockets, which
//! ends the loops.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_lite::FutureExt;
use glommio::timer::sleep;
use sluicegate_actors::recorder::entry::EntryKind;
use sluicegate_actors::recorder::writer::RecordError;
use sluicegate_actors::session::SessionLease;
use sluicegate_actors::vocabulary::Identity;

use crate::config::{BrokerLogin, Listener};
use crate::control::Caller;
use crate::error::{Blame, Ended};
use crate::kafka::edit::Piece;
use crate::kafka::found::Found;
use crate::kafka::walk;
use crate::life::Life;
use crate::login::{Login, Step, Verified};
use crate::path::frame::{Bounds, FrameReader};
use crate::path::masking::{Done, Job};
use crate::path::record::{Note, Trace};
use crate::path::socket::Socket;
use crate::path::stream::Stream;
use crate::path::upstream::{Upstream, UpstreamError};
use crate::path::{Attempt, Expected, Fate, Path, Pending};
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

/// A connection that serves: what its two loops share.
struct Link {
    shard: Rc<Shard>,
    life: Rc<Life>,
    client: Rc<Socket>,
    broker: Rc<Socket>,
    broker_address: SocketAddr,
    /// The broker has answered something on this connection.
    answered: Cell<bool>,
    path: Path,
    queue: Queue,
    login: RefCell<Login>,
    principal: String,
    listener: usize,
}

/// What the client is owed, in the order of its requests.
#[derive(Default)]
struct Queue {
    state: RefCell<QueueState>,
}

#[derive(Default)]
struct QueueState {
    pending: VecDeque<Pending>,
    bytes: usize,
    /// No request follows: once the queue is empty, everything is delivered.
    is_last: bool,
    responder: Option<Waker>,
    requester: Option<Waker>,
}

/// A response that is forwarded while it arrives.
struct UnderWay {
    stream: Stream,
    /// How many bytes must be here before it goes on.
    needs: usize,
}

/// What the response loop is to do next.
enum Next {
    /// Deliver this.
    Answer(Bytes),
    /// Bytes of the broker came.
    BrokerBytes,
    /// The answer that comes first is on hold.
    Held,
    /// Everything is delivered.
    Done,
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
        let (broker_address, broker, broker_reader) = self.connect(listener, &identity).await?;
        self.life.owns(&broker);
        self.life.serves_until(identity.expires_at);
        self.reader.set_bounds(AFTER_LOGIN);
        write(&self.socket, &accepted).await?;
        let link = Rc::new(Link {
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
            queue: Queue::default(),
            login: RefCell::new(login),
            principal: identity.principal(),
            listener: self.accepted.door.listener,
        });
        let responses = glommio::spawn_local({
            let link = Rc::clone(&link);
            async move { link.finish(link.carry_responses(broker_reader).await) }
        });
        link.finish(link.carry_requests(&mut self.reader).await);
        responses.await;
        link.close();
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
                reader.poll_fill(context, &self.socket)
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

impl Link {
    /// client → broker, until the client leaves, the connection ends or drains.
    async fn carry_requests(&self, reader: &mut FrameReader) -> Result<(), Ended> {
        loop {
            self.carry_complete(reader).await?;
            if self.life.is_draining() {
                return Ok(());
            }
            reader.admit().await.map_err(Ended::ClientFrame)?;
            self.life.frame_unfinished(reader.is_inside_frame().then(clock::monotonic));
            let read = poll_fn(|context| {
                if self.life.is_draining() {
                    return Poll::Ready(Ok(None));
                }
                self.life.watch(context.waker());
                self.life.reads(true);
                reader.poll_fill(context, &self.client).map_ok(Some)
            })
            .await
            .map_err(Ended::ClientSocket)?;
            self.life.reads(false);
            match read {
                Some(0) => return Err(Ended::ClientClosed),
                Some(bytes) => self.shard.count_bytes(bytes),
                None => return Ok(()),
            }
        }
    }

    /// Carries all whole frames that are here. Frames that go on as they are leave in one write, from where they were
    /// read.
    async fn carry_complete(&self, reader: &mut FrameReader) -> Result<(), Ended> {
        let (mut run, mut at) = (0_usize, 0_usize);
        let mut attempt = Attempt::default();
        while let Some(size) = reader.complete(at).map_err(Ended::ClientFrame)? {
            // It is here: how long the broker takes for it is not the client's doing.
            self.life.frame_unfinished(None);
            if self.queue.is_full() {
                self.forward(reader.bytes().get(run..at)).await?;
                run = at;
                self.queue.room().await;
                if self.life.has_ended() {
                    return Err(Ended::ClientClosed);
                }
            }
            let end = at.saturating_add(size.bytes());
            let frame = reader.bytes_mut().get_mut(at..end).unwrap_or_default();
            let fate = self.path.carry_request(frame, &attempt, &mut |pending| {
                self.queue.push(pending);
            })?;
            let tried = std::mem::take(&mut attempt);
            match fate {
                Fate::Forward => {
                    at = end;
                    continue;
                }
                Fate::LookUp => {
                    self.forward(reader.bytes().get(run..at)).await?;
                    run = at;
                    self.look_again().await;
                    attempt = Attempt { looked_up: true, ..tried };
                    continue;
                }
                Fate::Ask(requests) => {
                    self.forward(reader.bytes().get(run..at)).await?;
                    run = at;
                    let ticket = self.shard.shared.control.ask_approval(requests).await;
                    attempt = Attempt { ticket: Some(ticket), ..tried };
                    continue;
                }
                Fate::Answered => self.forward(reader.bytes().get(run..at)).await?,
                Fate::Rewrite(pieces) => {
                    self.forward(reader.bytes().get(run..at)).await?;
                    let frame = reader.bytes().get(at..end).unwrap_or_default();
                    for part in coalesced(&pieces, frame) {
                        self.forward(Some(&part)).await?;
                    }
                }
                Fate::Login => {
                    self.forward(reader.bytes().get(run..at)).await?;
                    let frame = reader.bytes().get(at..end).unwrap_or_default().to_vec();
                    self.log_in_again(&frame).await?;
                }
            }
            at = end;
            run = end;
        }
        self.forward(reader.bytes().get(run..at)).await?;
        if at > 0 {
            self.life.request_came(clock::monotonic());
            self.life.frame_unfinished(None);
        }
        reader.consume(at);
        self.queue.wake_responder();
        Ok(())
    }

    /// Writes to the broker what was recorded before.
    async fn forward(&self, bytes: Option<&[u8]>) -> Result<(), Ended> {
        let bytes = bytes.unwrap_or_default();
        self.path.flush_record().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.life.may_deliver(clock::wall()) {
            return Err(Ended::TokenExpired);
        }
        self.broker.write_all(bytes).await.map_err(Ended::BrokerSocket)
    }

    async fn look_again(&self) {
        let shared = &self.shard.shared;
        let cluster = shared.config.listeners.get(self.listener).map(|listener| &listener.cluster);
        if let Some(view) = cluster.and_then(|name| shared.clusters.get(name)) {
            view.look_again().await;
        }
    }

    /// KIP-368: the same identity with a newer token; anybody else ends the connection.
    async fn log_in_again(&self, frame: &[u8]) -> Result<(), Ended> {
        let mut found = Found::default();
        let step = {
            // One request at a time reaches this, so nobody else borrows the conversation meanwhile.
            let mut login = self.login.replace(self.new_login()?);
            let step = login.step(frame, None, &mut found).await;
            self.login.replace(login);
            step?
        };
        match step {
            Step::Answer(answer) => self.queue.push(Pending::Answer(answer)),
            Step::Fail(answer, reason) => {
                self.path.note(&Note::new(EntryKind::LoginFailed).text(&reason), None)?;
                self.path.flush_record().await?;
                write(&self.client, &answer).await?;
                return Err(Ended::LoginFailed(reason));
            }
            Step::Verified(verified) if verified.identity.principal() == self.principal => {
                self.path.note(&Note::new(EntryKind::LoginAccepted), None)?;
                self.life.serves_until(verified.identity.expires_at);
                self.path.authenticated(&verified.identity);
                self.queue.push(Pending::Answer(verified.accepted()));
            }
            Step::Verified(verified) => {
                let reason = format!("a second login as another than {}", self.principal);
                self.path.note(&Note::new(EntryKind::LoginFailed).text(&reason), None)?;
                self.path.flush_record().await?;
                write(&self.client, &verified.refused(&reason)).await?;
                return Err(Ended::LoginFailed(reason));
            }
        }
        Ok(())
    }

    fn new_login(&self) -> Result<Login, Ended> {
        let listener = listener(&self.shard, self.listener)?;
        let mechanisms: Arc<[_]> = listener.mechanisms.clone().into();
        let issuers: Arc<[String]> = listener.issuers.clone().into();
        Ok(Login::new(self.shard.shared.control.clone(), mechanisms, issuers))
    }

    /// broker → client, until the broker leaves or everything that the client is owed is delivered.
    async fn carry_responses(&self, mut reader: FrameReader) -> Result<(), Ended> {
        let mut stream = None;
        loop {
            match self.next(&mut reader, stream.as_ref()).await? {
                Next::Answer(answer) => {
                    self.path.flush_record().await?;
                    self.deliver(&answer).await?;
                    // A response behind it may be here already: no byte of the broker's would wake this loop for it.
                    self.deliver_complete(&mut reader, &mut stream).await?;
                }
                Next::BrokerBytes => {
                    self.deliver_complete(&mut reader, &mut stream).await?;
                    match &stream {
                        Some(UnderWay { needs, .. }) => reader.reserve(*needs).await,
                        None => reader.admit().await.map_err(Ended::BrokerFrame)?,
                    }
                }
                // Nothing can be delivered before it, so nothing is read meanwhile either.
                Next::Held => sleep(limits::HOLD_LOOK).await,
                Next::Done => return Ok(()),
            }
        }
    }

    /// Whatever comes first: an answer of the gateway's own that is due, bytes of the broker, or the end.
    async fn next(
        &self,
        reader: &mut FrameReader,
        stream: Option<&UnderWay>,
    ) -> Result<Next, Ended> {
        poll_fn(|context| {
            let read = match stream {
                // Nothing else may go out before its end.
                Some(stream) => reader.poll_fill_to(context, &self.broker, stream.room()),
                None => {
                    if let Poll::Ready(next) = self.queue.poll_answer(context, &self.path) {
                        return Poll::Ready(Ok(next));
                    }
                    reader.poll_fill(context, &self.broker)
                }
            };
            match read {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(Ended::BrokerClosed)),
                Poll::Ready(Ok(bytes)) => {
                    if !self.answered.replace(true) {
                        self.shard.reach.answered(self.broker_address);
                    }
                    self.shard.count_bytes(bytes);
                    Poll::Ready(Ok(Next::BrokerBytes))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(Ended::BrokerSocket(error))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Delivers all whole responses that are here, and what came of a streamed one; those that go on as they are leave
    /// in one write.
    async fn deliver_complete(
        &self,
        reader: &mut FrameReader,
        stream: &mut Option<UnderWay>,
    ) -> Result<(), Ended> {
        let (mut run, mut at) = (0_usize, 0_usize);
        loop {
            if let Some(mut under_way) = stream.take() {
                let window = reader.bytes_mut().get_mut(at..).unwrap_or_default();
                if !under_way.stream.is_due(window.len()) {
                    *stream = Some(under_way);
                    break;
                }
                let carried = self.path.carry_piece(&mut under_way.stream, window)?;
                at = at.saturating_add(carried.bytes);
                if !carried.is_last {
                    under_way.needs = carried.needs;
                    *stream = Some(under_way);
                    break;
                }
                self.path.end_stream(under_way.stream);
            }
            let Some(size) = reader.declared(at).map_err(Ended::BrokerFrame)? else { break };
            let end = at.saturating_add(size.bytes());
            let is_whole = end <= reader.bytes().len();
            if !is_whole && !self.may_stream(size.bytes())? {
                break;
            }
            // An answer of our own may be due before this response.
            while let Some(answer) = self.queue.due_answer(&self.path) {
                self.release(reader.bytes().get(run..at)).await?;
                run = at;
                self.release(Some(&answer)).await?;
            }
            let Some(mut expected) = self.queue.pop_broker() else {
                if self.queue.front_is_held() {
                    break;
                }
                return Err(Ended::BrokerResponse("a response that nobody asked for".to_owned()));
            };
            if !is_whole {
                let fresh = self.path.stream(expected, size.bytes());
                *stream = Some(UnderWay { stream: fresh, needs: 0 });
                continue;
            }
            let frame = reader.bytes().get(at..end).unwrap_or_default();
            let masked = self.mask(self.path.mask_jobs(&expected, frame)?).await;
            let frame = reader.bytes_mut().get_mut(at..end).unwrap_or_default();
            let carried = self.path.carry_response(&mut expected, frame, &masked)?;
            self.path.answered(expected);
            if let Some(pieces) = carried {
                self.release(reader.bytes().get(run..at)).await?;
                let frame = reader.bytes().get(at..end).unwrap_or_default();
                for part in coalesced(&pieces, frame) {
                    self.release(Some(&part)).await?;
                }
                run = end;
            }
            at = end;
        }
        self.release(reader.bytes().get(run..at)).await?;
        if at > 0 {
            reader.consume(at);
        }
        Ok(())
    }

    /// Whether the response of `size_bytes` that begins to arrive goes on as it comes: it is larger than one read, and
    /// answers the request that is due, which allows it.
    fn may_stream(&self, size_bytes: usize) -> Result<bool, Ended> {
        if size_bytes <= limits::STREAM_BYTES_MIN {
            return Ok(false);
        }
        self.queue.front_broker(|expected| self.path.may_stream(expected)).unwrap_or(Ok(false))
    }

    /// Masks one partition after another; others run in between.
    async fn mask(&self, jobs: Vec<Job>) -> Vec<Done> {
        let mut masked = Vec::with_capacity(jobs.len());
        if jobs.is_empty() {
            return masked;
        }
        let mut buffers = self.shard.mask_buffers.borrow_mut().pop().unwrap_or_default();
        for job in jobs {
            masked.push(job.run(&mut buffers).await);
        }
        let mut kept = self.shard.mask_buffers.borrow_mut();
        if kept.len() < limits::MASK_BUFFERS_MAX {
            kept.push(buffers);
        }
        masked
    }

    async fn release(&self, bytes: Option<&[u8]>) -> Result<(), Ended> {
        let bytes = bytes.unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        self.path.flush_record().await?;
        self.deliver(bytes).await
    }

    /// Writes to the client; not a byte once its token has ended.
    async fn deliver(&self, bytes: &[u8]) -> Result<(), Ended> {
        if !self.life.may_deliver(clock::wall()) {
            return Err(Ended::TokenExpired);
        }
        write(&self.client, bytes).await
    }

    /// One of the loops has ended. Where it failed, its reason is the connection's: what the other one sees of the closed
    /// sockets is only an echo.
    fn finish(&self, ended: Result<(), Ended>) {
        match ended {
            Ok(()) => self.queue.end(),
            Err(reason) => {
                // Once the connection has ended, what the broker's socket says is only an echo.
                let is_first = !self.life.has_ended();
                if is_first && reason.blame() == Blame::Broker && !self.answered.replace(true) {
                    self.shard.reach.failed(self.broker_address);
                }
                self.life.end(reason);
                self.close();
            }
        }
    }

    fn close(&self) {
        self.client.close();
        self.broker.close();
        self.queue.wake_requester();
        self.queue.end();
    }
}

impl UnderWay {
    /// Room for what must be here, and at least for a large read.
    fn room(&self) -> usize {
        self.needs.max(limits::STREAM_PIECE_BYTES)
    }
}

impl Queue {
    fn push(&self, pending: Pending) {
        let mut state = self.state.borrow_mut();
        state.bytes = state.bytes.saturating_add(pending.frame_bytes());
        state.pending.push_back(pending);
    }

    fn is_full(&self) -> bool {
        let state = self.state.borrow();
        state.pending.len() >= limits::IN_FLIGHT_REQUESTS_MAX
            || state.bytes >= limits::IN_FLIGHT_BYTES_MAX
    }

    /// Waits until there is room for another request, or nothing more is answered.
    async fn room(&self) {
        self.wake_responder();
        poll_fn(|context| {
            if !self.is_full() || self.state.borrow().is_last {
                return Poll::Ready(());
            }
            self.state.borrow_mut().requester = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn poll_answer(&self, context: &mut Context<'_>, path: &Path) -> Poll<Next> {
        if let Some(answer) = self.due_answer(path) {
            return Poll::Ready(Next::Answer(answer));
        }
        if self.front_is_held() {
            return Poll::Ready(Next::Held);
        }
        let mut state = self.state.borrow_mut();
        if state.is_last && state.pending.is_empty() {
            return Poll::Ready(Next::Done);
        }
        state.responder = Some(context.waker().clone());
        Poll::Pending
    }

    /// The gateway's own answer at the front, if it is due.
    fn due_answer(&self, path: &Path) -> Option<Bytes> {
        let mut state = self.state.borrow_mut();
        let due = match state.pending.front()? {
            Pending::Answer(_) => true,
            Pending::Held { until, epoch, .. } => {
                state.is_last || *until <= clock::monotonic() || *epoch != path.epoch()
            }
            Pending::Broker(_) => false,
        };
        if !due {
            return None;
        }
        let pending = state.pending.pop_front()?;
        state.bytes = state.bytes.saturating_sub(pending.frame_bytes());
        let requester = state.requester.take();
        drop(state);
        if let Some(waker) = requester {
            waker.wake();
        }
        match pending {
            Pending::Answer(answer) | Pending::Held { answer, .. } => Some(answer),
            Pending::Broker(_) => None,
        }
    }

    fn front_is_held(&self) -> bool {
        matches!(self.state.borrow().pending.front(), Some(Pending::Held { .. }))
    }

    /// Asks about the broker's answer at the front, if it is one.
    fn front_broker<T>(&self, ask: impl FnOnce(&Expected) -> T) -> Option<T> {
        match self.state.borrow().pending.front()? {
            Pending::Broker(expected) => Some(ask(expected)),
            Pending::Answer(_) | Pending::Held { .. } => None,
        }
    }

    fn pop_broker(&self) -> Option<Expected> {
        let mut state = self.state.borrow_mut();
        if !matches!(state.pending.front()?, Pending::Broker(_)) {
            return None;
        }
        let Some(Pending::Broker(expected)) = state.pending.pop_front() else { return None };
        state.bytes = state.bytes.saturating_sub(expected.frame_bytes);
        let requester = state.requester.take();
        drop(state);
        if let Some(waker) = requester {
            waker.wake();
        }
        Some(expected)
    }

    fn end(&self) {
        self.state.borrow_mut().is_last = true;
        self.wake_responder();
    }

    fn wake_responder(&self) {
        let waker = self.state.borrow_mut().responder.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake_requester(&self) {
        let waker = self.state.borrow_mut().requester.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The parts of a rewritten frame with small neighbours copied together, so that one send carries them; large ones are
/// sent from where they lie.
fn coalesced<'a>(pieces: &'a [Piece], frame: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
    let mut out: Vec<Cow<'a, [u8]>> = Vec::new();
    let mut small: Vec<u8> = Vec::new();
    for piece in pieces {
        let bytes = piece.bytes(frame);
        if small.len().saturating_add(bytes.len()) <= limits::COALESCE_BYTES_MAX {
            small.extend_from_slice(bytes);
            continue;
        }
        if !small.is_empty() {
            out.push(Cow::Owned(std::mem::take(&mut small)));
        }
        if bytes.len() <= limits::COALESCE_BYTES_MAX {
            small.extend_from_slice(bytes);
        } else {
            out.push(Cow::Borrowed(bytes));
        }
    }
    if !small.is_empty() {
        out.push(Cow::Owned(small));
    }
    out
}
