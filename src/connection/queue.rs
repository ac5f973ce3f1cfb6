//! What a client is owed, in the order of its requests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::path::{Expected, Path, Pending};
use crate::{clock, limits};

/// What the response loop delivers, and in what order.
#[derive(Default)]
pub(super) struct Queue {
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

/// What comes next of a queue.
pub(super) enum Due {
    /// This answer of the gateway's own.
    Answer(Bytes),
    /// The answer that comes first is on hold.
    Held,
    /// Everything is delivered, and nothing follows.
    Nothing,
}

impl Queue {
    pub(super) fn push(&self, pending: Pending) {
        let mut state = self.state.borrow_mut();
        state.bytes = state.bytes.saturating_add(pending.frame_bytes());
        state.pending.push_back(pending);
    }

    pub(super) fn is_full(&self) -> bool {
        let state = self.state.borrow();
        state.pending.len() >= limits::IN_FLIGHT_REQUESTS_MAX
            || state.bytes >= limits::IN_FLIGHT_BYTES_MAX
    }

    /// Waits until there is room for another request, or nothing more is answered.
    pub(super) async fn room(&self) {
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

    /// What comes next, if it is not the broker's to say.
    pub(super) fn poll_due(&self, context: &Context<'_>, path: &Path) -> Poll<Due> {
        if let Some(answer) = self.due_answer(path) {
            return Poll::Ready(Due::Answer(answer));
        }
        if self.front_is_held() {
            return Poll::Ready(Due::Held);
        }
        let mut state = self.state.borrow_mut();
        if state.is_last && state.pending.is_empty() {
            return Poll::Ready(Due::Nothing);
        }
        state.responder = Some(context.waker().clone());
        Poll::Pending
    }

    /// The gateway's own answer at the front, if it is due.
    pub(super) fn due_answer(&self, path: &Path) -> Option<Bytes> {
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

    pub(super) fn front_is_held(&self) -> bool {
        matches!(self.state.borrow().pending.front(), Some(Pending::Held { .. }))
    }

    /// Asks about the broker's answer at the front, if it is one.
    pub(super) fn front_broker<T>(&self, ask: impl FnOnce(&Expected) -> T) -> Option<T> {
        match self.state.borrow().pending.front()? {
            Pending::Broker(expected) => Some(ask(expected)),
            Pending::Answer(_) | Pending::Held { .. } => None,
        }
    }

    pub(super) fn pop_broker(&self) -> Option<Expected> {
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

    pub(super) fn end(&self) {
        self.state.borrow_mut().is_last = true;
        self.wake_responder();
    }

    pub(super) fn wake_responder(&self) {
        let waker = self.state.borrow_mut().responder.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn wake_requester(&self) {
        let waker = self.state.borrow_mut().requester.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
