//! A connection that serves: its two loops, requests to the broker and responses to the client.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use glommio::timer::sleep;
use sluicegate_actors::recorder::entry::EntryKind;

use super::queue::{Due, Queue};
use super::under_way::UnderWay;
use super::{listener, write};
use crate::error::{Blame, Ended};
use crate::kafka::edit::Piece;
use crate::kafka::found::Found;
use crate::life::Life;
use crate::login::{Login, Step};
use crate::path::ahead::Ahead;
use crate::path::frame::{FrameReader, FrameSize};
use crate::path::masking::{Done, Job, Masker};
use crate::path::record::Note;
use crate::path::schemas::Schemas;
use crate::path::socket::Socket;
use crate::path::{Attempt, Fate, Path, Pending, Screened};
use crate::shard::{Shard, Shared};
use crate::{clock, limits};

/// A connection that serves: what its two loops share.
pub(super) struct Link {
    pub(super) shard: Rc<Shard>,
    pub(super) life: Rc<Life>,
    pub(super) client: Rc<Socket>,
    pub(super) broker: Rc<Socket>,
    pub(super) broker_address: SocketAddr,
    /// The broker has answered something on this connection.
    pub(super) answered: Cell<bool>,
    /// The last records that might have gone from socket to socket did: the next response is read with that in mind.
    pub(super) splices: Cell<bool>,
    pub(super) path: Path,
    pub(super) queue: Queue,
    pub(super) login: RefCell<Login>,
    pub(super) principal: String,
    pub(super) listener: usize,
}

/// A rewritten frame in as few sends as make sense: large pieces from where they lie, small ones gathered.
struct Sends<'p> {
    pieces: std::slice::Iter<'p, Piece>,
    frame: &'p [u8],
    /// What is left of the current piece.
    rest: &'p [u8],
    gathered: Vec<u8>,
}

/// The response that still arrives.
#[derive(Default)]
struct Coming {
    /// What of it goes on as it comes, where it does.
    stream: Option<UnderWay>,
    /// What of it is masked already.
    ahead: Ahead,
}

/// What the response loop is to do next.
enum Next {
    /// What the queue says.
    Queue(Due),
    /// Bytes of the broker came.
    BrokerBytes,
}

impl Link {
    /// Serves until one of the loops has ended; both sockets are closed then.
    pub(super) async fn serve(self, requests: &mut FrameReader, responses: FrameReader) {
        let link = Rc::new(self);
        let responses = glommio::spawn_local({
            let link = Rc::clone(&link);
            async move { link.finish(link.carry_responses(responses).await) }
        });
        link.finish(link.carry_requests(requests).await);
        responses.await;
        link.close();
    }

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
                reader.poll_fill(context, &self.client, usize::MAX).map_ok(Some)
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
                again @ (Fate::LookUp | Fate::Ask(_) | Fate::Screen { .. }) => {
                    self.forward(reader.bytes().get(run..at)).await?;
                    run = at;
                    let frame = reader.bytes().get(at..end).unwrap_or_default();
                    attempt = self.attempt_again(again, tried, frame).await;
                    continue;
                }
                Fate::Answered => self.forward(reader.bytes().get(run..at)).await?,
                Fate::Rewrite(pieces) => {
                    self.forward(reader.bytes().get(run..at)).await?;
                    let frame = reader.bytes().get(at..end).unwrap_or_default();
                    let mut sends = Sends::new(&pieces, frame);
                    while let Some(part) = sends.next() {
                        self.forward(Some(part)).await?;
                    }
                    drop(pieces);
                    let screened = tried.screened.map(|screened| screened.done);
                    self.shard.masks.recycle(screened.unwrap_or_default());
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

    /// Finds out what a request must know before it is carried again.
    async fn attempt_again(&self, fate: Fate, tried: Attempt, frame: &[u8]) -> Attempt {
        match fate {
            Fate::LookUp => {
                self.look_again().await;
                Attempt { looked_up: true, ..tried }
            }
            Fate::Ask(requests) => {
                let ticket = self.shard.shared.control.ask_approval(requests).await;
                Attempt { ticket: Some(ticket), ..tried }
            }
            Fate::Screen { jobs, epoch } => {
                let done = self.mask(jobs, frame).await;
                Attempt { screened: Some(Screened { epoch, done }), ..tried }
            }
            Fate::Forward | Fate::Rewrite(_) | Fate::Answered | Fate::Login => tried,
        }
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
        let mut coming = Coming::default();
        loop {
            match self.next(&mut reader, &coming).await? {
                Next::Queue(Due::Answer(answer)) => {
                    self.path.flush_record().await?;
                    self.deliver(&answer).await?;
                    // A response behind it may be here already: no byte of the broker's would wake this loop for it.
                    self.deliver_come(&mut reader, &mut coming).await?;
                }
                Next::BrokerBytes => {
                    self.deliver_come(&mut reader, &mut coming).await?;
                    match &coming.stream {
                        Some(UnderWay { needs, .. }) => reader.reserve(*needs).await,
                        None => reader.admit().await.map_err(Ended::BrokerFrame)?,
                    }
                }
                // Nothing can be delivered before it, so nothing is read meanwhile either.
                Next::Queue(Due::Held) => sleep(limits::HOLD_LOOK).await,
                Next::Queue(Due::Nothing) => return Ok(()),
            }
        }
    }

    /// Whatever comes first: an answer of the gateway's own that is due, bytes of the broker, or the end.
    async fn next(&self, reader: &mut FrameReader, coming: &Coming) -> Result<Next, Ended> {
        poll_fn(|context| {
            let read = match &coming.stream {
                // Nothing else may go out before its end.
                Some(stream) => stream.poll_fill(context, reader, &self.broker),
                None => {
                    if let Poll::Ready(due) = self.queue.poll_due(context, &self.path) {
                        return Poll::Ready(Ok(Next::Queue(due)));
                    }
                    let is_masked = coming.ahead.is_masking();
                    let most = if is_masked { limits::STREAM_PIECE_BYTES } else { usize::MAX };
                    reader.poll_fill(context, &self.broker, most)
                }
            };
            match read {
                Poll::Ready(read) => Poll::Ready(self.came(read).map(|()| Next::BrokerBytes)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Notes what came of the broker.
    pub(super) fn came(&self, read: io::Result<usize>) -> Result<(), Ended> {
        let bytes = match read.map_err(Ended::BrokerSocket)? {
            0 => return Err(Ended::BrokerClosed),
            bytes => bytes,
        };
        if !self.answered.replace(true) {
            self.shard.reach.answered(self.broker_address);
        }
        self.shard.count_bytes(bytes);
        Ok(())
    }

    /// Delivers what is here, and the records behind it that go from socket to socket.
    async fn deliver_come(
        &self,
        reader: &mut FrameReader,
        coming: &mut Coming,
    ) -> Result<(), Ended> {
        self.deliver_complete(reader, coming).await?;
        while let Some(under_way) = &mut coming.stream
            && self.splice(reader, under_way).await?
        {
            self.deliver_complete(reader, coming).await?;
        }
        if coming.stream.is_none() {
            self.mask_ahead(reader, &mut coming.ahead).await?;
        }
        Ok(())
    }

    /// Delivers all whole responses that are here, and what came of a streamed one; those that go on as they are leave
    /// in one write.
    async fn deliver_complete(
        &self,
        reader: &mut FrameReader,
        coming: &mut Coming,
    ) -> Result<(), Ended> {
        let (mut run, mut at) = (0_usize, 0_usize);
        loop {
            if let Some(mut under_way) = coming.stream.take() {
                let window = reader.bytes_mut().get_mut(at..).unwrap_or_default();
                if !under_way.is_due(window.len()) {
                    coming.stream = Some(under_way);
                    break;
                }
                let carried = self.path.carry_piece(&mut under_way.stream, window)?;
                at = at.saturating_add(carried.bytes);
                if !carried.is_last {
                    under_way.goes_on(&carried);
                    coming.stream = Some(under_way);
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
                let is_eager =
                    self.splices.get() && self.client.is_plain() && !self.path.records_payloads();
                coming.stream = Some(UnderWay::new(fresh, is_eager));
                continue;
            }
            let frame = reader.bytes().get(at..end).unwrap_or_default();
            let jobs = self.path.mask_jobs(&expected, frame, &mut coming.ahead)?;
            coming.ahead.clear();
            let mut masked = self.mask(jobs, frame).await;
            let frame = reader.bytes_mut().get_mut(at..end).unwrap_or_default();
            let carried = self.path.carry_response(&mut expected, frame, &mut masked)?;
            self.path.answered(expected);
            if let Some(pieces) = carried {
                self.release(reader.bytes().get(run..at)).await?;
                let frame = reader.bytes().get(at..end).unwrap_or_default();
                let mut sends = Sends::new(&pieces, frame);
                while let Some(part) = sends.next() {
                    self.release(Some(part)).await?;
                }
                run = end;
            }
            self.shard.masks.recycle(masked);
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

    /// Masks records of `frame`, one partition after another; others run in between.
    async fn mask(&self, jobs: Vec<Job>, frame: &[u8]) -> Vec<Done> {
        let mut masked = Vec::with_capacity(jobs.len());
        if jobs.is_empty() {
            return masked;
        }
        let mut masker = self.masker();
        for job in jobs {
            masked.push(masker.run(job, frame).await);
        }
        masked
    }

    /// Masks what is here of a response that is not whole, and cannot go on as it comes.
    async fn mask_ahead(&self, reader: &FrameReader, ahead: &mut Ahead) -> Result<(), Ended> {
        let size = reader.declared(0).map_err(Ended::BrokerFrame)?;
        let Some(size) = size.map(FrameSize::bytes).filter(|size| *size > limits::STREAM_BYTES_MIN)
        else {
            return Ok(());
        };
        let frame = reader.bytes();
        let look = |expected: &_| self.path.look_ahead(expected, size, frame, ahead);
        self.queue.front_broker(look).unwrap_or(Ok(()))?;
        if ahead.is_masking() {
            let mut masker = self.masker();
            for job in ahead.due(frame.len()) {
                masker.run_ahead(job, frame).await;
            }
        }
        Ok(())
    }

    fn masker(&self) -> Masker<'_> {
        let Shared { registry, control, .. } = &*self.shard.shared;
        Masker::new(&self.shard.masks, Schemas::new(registry.clone()), control)
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

impl<'p> Sends<'p> {
    fn new(pieces: &'p [Piece], frame: &'p [u8]) -> Self {
        let size: usize = pieces.iter().map(|piece| piece.bytes(frame).len()).sum();
        let gathered = Vec::with_capacity(size.min(limits::COALESCE_BYTES_MAX));
        Self { pieces: pieces.iter(), frame, rest: &[], gathered }
    }

    /// The next part to send.
    fn next(&mut self) -> Option<&[u8]> {
        self.gathered.clear();
        loop {
            if self.rest.is_empty() {
                let Some(piece) = self.pieces.next() else { break };
                self.rest = piece.bytes(self.frame);
            }
            let room = limits::COALESCE_BYTES_MAX.saturating_sub(self.gathered.len());
            if room == 0 {
                break;
            }
            if self.gathered.is_empty() && self.rest.len() >= room {
                return Some(std::mem::take(&mut self.rest));
            }
            let (now, later) = self.rest.split_at(self.rest.len().min(room));
            self.gathered.extend_from_slice(now);
            self.rest = later;
        }
        (!self.gathered.is_empty()).then_some(self.gathered.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_frame_leaves_in_order_and_in_few_sends() {
        const MAX: usize = limits::COALESCE_BYTES_MAX;
        let frame: Vec<u8> = (0..4 * MAX).map(|at| at.to_le_bytes()[0] ^ 0x55).collect();
        let new = |bytes: usize| Piece::New((0..bytes).map(|at| at.to_le_bytes()[0]).collect());
        let rows: [(Vec<Piece>, &[usize]); 8] = [
            (vec![], &[]),
            (vec![new(9)], &[9]),
            (vec![Piece::Kept(0..MAX)], &[MAX]),
            (vec![new(9), Piece::Kept(0..7), new(9)], &[25]),
            (vec![new(9), Piece::Kept(5..4 * MAX), new(9)], &[MAX, 3 * MAX + 4, 9]),
            (vec![Piece::Kept(0..3 * MAX), new(MAX)], &[3 * MAX, MAX]),
            (vec![new(MAX - 1), new(MAX - 1), new(3)], &[MAX, MAX, 1]),
            (vec![new(MAX / 4); 9], &[MAX, MAX, MAX / 4]),
        ];
        for (pieces, expected) in rows {
            let (mut sends, mut sizes, mut sent) = (Sends::new(&pieces, &frame), vec![], vec![]);
            while let Some(part) = sends.next() {
                sizes.push(part.len());
                sent.extend_from_slice(part);
            }
            let whole: Vec<&[u8]> = pieces.iter().map(|piece| piece.bytes(&frame)).collect();
            assert!(sent == whole.concat() && sizes == expected, "{sizes:?} for {expected:?}");
        }
    }
}
