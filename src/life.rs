//! How long a connection may live: its deadlines, and the one way to end it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Instant;

use sluicegate_actors::vocabulary::{ConnectionId, UnixMillis};

use crate::error::Ended;
use crate::limits;
use crate::path::socket::Socket;

/// The shard's view of one connection, which its sweep looks at a few times a second.
#[derive(Debug)]
pub struct Life {
    /// The connection.
    pub id: ConnectionId,
    state: Cell<State>,
    /// When the first byte of an unfinished frame came.
    frame_since: Cell<Option<Instant>>,
    last_request: Cell<Instant>,
    /// Whether the client's end would be seen by a read that waits.
    is_reading: Cell<bool>,
    /// Sweeps in a row that found nobody reading.
    sweeps_unread: Cell<u32>,
    draining: Cell<bool>,
    ended: RefCell<Option<Ended>>,
    sockets: RefCell<Vec<Weak<Socket>>>,
    wakers: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Not logged in; since when.
    Login(Instant),
    /// Logged in, until the token's end.
    Serving(UnixMillis),
}

impl Life {
    /// A connection that was accepted now.
    #[must_use]
    pub fn new(id: ConnectionId, now: Instant) -> Self {
        Self {
            id,
            state: Cell::new(State::Login(now)),
            frame_since: Cell::new(None),
            last_request: Cell::new(now),
            is_reading: Cell::new(false),
            sweeps_unread: Cell::new(0),
            draining: Cell::new(false),
            ended: RefCell::new(None),
            sockets: RefCell::new(Vec::new()),
            wakers: RefCell::new(Vec::new()),
        }
    }

    /// Ends this socket too when the connection ends.
    pub fn owns(&self, socket: &Rc<Socket>) {
        if self.ended.borrow().is_some() {
            socket.close();
        }
        self.sockets.borrow_mut().push(Rc::downgrade(socket));
    }

    /// The login succeeded, or was renewed; nothing is delivered from `expires_at` on.
    pub fn serves_until(&self, expires_at: UnixMillis) {
        self.state.set(State::Serving(expires_at));
    }

    /// Whether bytes may still be delivered: the token has not ended, and nothing else ended the connection.
    #[must_use]
    pub fn may_deliver(&self, now: UnixMillis) -> bool {
        let in_time = match self.state.get() {
            State::Login(_) => true,
            State::Serving(expires_at) => now < expires_at,
        };
        in_time && self.ended.borrow().is_none()
    }

    /// A frame has begun, or none is unfinished.
    pub fn frame_unfinished(&self, since: Option<Instant>) {
        match since {
            Some(now) if self.frame_since.get().is_none() => self.frame_since.set(Some(now)),
            Some(_) => {}
            None => self.frame_since.set(None),
        }
    }

    /// The client is read from now on, or no longer: while it is not, the sweep looks whether it is still there.
    pub fn reads(&self, is_reading: bool) {
        self.is_reading.set(is_reading);
    }

    /// Whether the client has gone while nobody read from it: a slow broker must not keep its connection alive.
    fn has_gone_unread(&self) -> bool {
        let unread = if self.is_reading.get() { 0 } else { self.sweeps_unread.get() };
        self.sweeps_unread.set(unread.saturating_add(1));
        // The client's socket is the first that a connection owns. Once is too soon: most waits are short.
        let client = self.sockets.borrow().first().and_then(Weak::upgrade);
        unread > 1 && client.is_some_and(|socket| socket.has_hung_up())
    }

    /// A whole request came.
    pub fn request_came(&self, now: Instant) {
        self.last_request.set(now);
    }

    /// Ends the connection for its deadlines; called by the shard's sweep.
    pub fn sweep(&self, now: Instant, wall: UnixMillis) {
        let late = |since: Instant, limit| now.saturating_duration_since(since) > limit;
        let ended = match self.state.get() {
            State::Login(since) if late(since, limits::LOGIN_MS_MAX) => Ended::LoginTimeout,
            State::Serving(expires_at) if wall >= expires_at => Ended::TokenExpired,
            _ if self.frame_since.get().is_some_and(|at| late(at, limits::FRAME_MS_MAX)) => {
                Ended::FrameTimeout
            }
            _ if late(self.last_request.get(), limits::IDLE_MS_MAX) => Ended::Idle,
            _ if self.has_gone_unread() => Ended::ClientClosed,
            _ => return,
        };
        self.end(ended);
    }

    /// Ends the connection: both sockets are closed, and whatever waits on them ends. The first reason stays.
    pub fn end(&self, reason: Ended) {
        let mut ended = self.ended.borrow_mut();
        if ended.is_some() {
            return;
        }
        *ended = Some(reason);
        drop(ended);
        for socket in self.sockets.borrow().iter().filter_map(Weak::upgrade) {
            socket.close();
        }
        self.wake();
    }

    /// Takes no further request; answers in flight are delivered.
    pub fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Whether no further request is taken.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Why the connection ended, for its entry; empty where it has not, or drained.
    #[must_use]
    pub fn reason_text(&self) -> String {
        self.ended.borrow().as_ref().map(Ended::to_string).unwrap_or_default()
    }

    /// Takes why the connection ended.
    #[must_use]
    pub fn into_reason(&self) -> Option<Ended> {
        self.ended.borrow_mut().take()
    }

    /// Wakes this waker when the connection drains or ends.
    pub fn watch(&self, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}
