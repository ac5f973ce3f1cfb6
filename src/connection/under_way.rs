//! A response that is forwarded while it arrives, and the records in it that nobody copies.
//!
//! ```text
//! frame ├─ headers ─┼─────── records ───────┼─ headers ─┼─── records ───┤
//!         read, sent │ from socket to socket │ read, sent │ …
//! ```

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use super::link::Link;
use crate::error::Ended;
use crate::path::frame::FrameReader;
use crate::path::socket::{Conduit, Socket};
use crate::path::stream::{Carried, Stream};
use crate::{clock, limits};

/// A response that is forwarded while it arrives.
pub(super) struct UnderWay {
    pub(super) stream: Stream,
    /// How many bytes must be here before it goes on.
    pub(super) needs: usize,
    /// How many bytes that follow go from socket to socket.
    unseen: usize,
    /// Whether records that go from socket to socket are expected, so that few others are read before them.
    is_eager: bool,
    /// The way for them.
    conduit: Option<Conduit>,
}

impl UnderWay {
    /// A response of which nothing was forwarded.
    pub(super) fn new(stream: Stream, is_eager: bool) -> Self {
        Self { stream, needs: 0, unseen: 0, is_eager, conduit: None }
    }

    /// Whether `here` bytes are worth a piece. What comes before records that go from socket to socket never waits for more.
    pub(super) fn is_due(&self, here: usize) -> bool {
        if self.is_eager {
            return here > 0 || self.stream.is_sent();
        }
        self.stream.is_due(here)
    }

    /// Notes what was carried of it, where that was not its end.
    pub(super) fn goes_on(&mut self, carried: &Carried) {
        self.needs = carried.needs;
        self.unseen = carried.unseen;
        self.is_eager &= !self.stream.is_inside_records();
    }

    /// Reads once: what must be here, and a large read besides, or a small one where records that nobody copies may follow.
    pub(super) fn poll_fill(
        &self,
        context: &mut Context<'_>,
        reader: &mut FrameReader,
        broker: &Socket,
    ) -> Poll<io::Result<usize>> {
        if self.is_eager {
            let most = self.needs.max(limits::SPLICE_BETWEEN_BYTES);
            return reader.poll_fill_few(context, broker, most);
        }
        reader.poll_fill_to(context, broker, self.needs.max(limits::STREAM_PIECE_BYTES))
    }
}

impl Link {
    /// Lets the records that follow go from socket to socket, until those of the partition end or are to be seen; whether
    /// any went so.
    pub(super) async fn splice(
        &self,
        reader: &mut FrameReader,
        under_way: &mut UnderWay,
    ) -> Result<bool, Ended> {
        if under_way.unseen < limits::SPLICE_BYTES_MIN {
            if under_way.stream.is_inside_records() {
                self.splices.set(false);
            }
            return Ok(false);
        }
        if under_way.conduit.is_none() {
            under_way.conduit = self.shard.conduits.lend(&self.broker, &self.client);
        }
        let Some(conduit) = &mut under_way.conduit else {
            under_way.is_eager = false;
            return Ok(false);
        };
        self.splices.set(true);
        while under_way.unseen > 0 {
            self.fill(reader, conduit, under_way.unseen).await?;
            let here = conduit.held_bytes();
            let look = |at, into: &mut [u8]| conduit.look(at, into);
            let carried = self.path.carry_unseen(&mut under_way.stream, here, look)?;
            under_way.unseen = carried.unseen;
            if carried.bytes > 0 {
                self.path.flush_record().await?;
                if !self.life.may_deliver(clock::wall()) {
                    return Err(Ended::TokenExpired);
                }
                conduit
                    .deliver(carried.bytes, &self.client, &self.shard.pool)
                    .await
                    .map_err(Ended::ClientSocket)?;
            }
        }
        under_way.is_eager = !under_way.stream.is_inside_records();
        under_way.needs = 1;
        // Where the rest must be seen after all, what is in the pipe must be, too.
        reader.take_over(conduit).map_err(Ended::Pipe)?;
        Ok(true)
    }

    /// Waits until as much is in the pipe as is worth a piece, or all that follows, or what it has room for.
    async fn fill(
        &self,
        reader: &mut FrameReader,
        conduit: &mut Conduit,
        unseen: usize,
    ) -> Result<(), Ended> {
        loop {
            // The beginning of a header, or the byte that was waited for.
            if !conduit.put(reader.bytes()).map_err(Ended::Pipe)? {
                return Ok(());
            }
            reader.consume(reader.bytes().len());
            let most = unseen.saturating_sub(conduit.held_bytes());
            if most > 0
                && let Some(bytes) = conduit.fill(most).map_err(Ended::BrokerSocket)?
            {
                self.came(Ok(bytes))?;
            }
            if conduit.held_bytes() >= unseen.min(limits::STREAM_PIECE_BYTES) {
                return Ok(());
            }
            // glommio tells when a socket can be read only by reading.
            let read = poll_fn(|context| reader.poll_fill_few(context, &self.broker, 1)).await;
            self.came(read)?;
        }
    }
}
