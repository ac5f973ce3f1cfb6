//! What the record is told of a request and of its answer.

use sluicegate_actors::recorder::entry::{
    EntryKind, MaskedDraft, Outcome as Recorded, RequestDraft,
};

use super::{Attempt, Expected, Path, Screened, Work, hold, topic_text};
use crate::clock;
use crate::cluster::ClusterSnapshot;
use crate::error::Ended;
use crate::kafka::found::{Found, Partition, Span, Topic};
use crate::kafka::walk::RequestHeader;
use crate::kafka::{self, ErrorCode, Exchange, batch};
use crate::path::decide::Ruling;
use crate::path::masking::Done;
use crate::path::record::Note;
use crate::path::tally::{Batches, Tally};

impl Path {
    pub(super) fn record_request(
        &self,
        exchange: &'static Exchange,
        header: &RequestHeader,
        frame: &[u8],
        ruling: Ruling,
        attempt: &Attempt,
        work: &mut Work,
    ) -> Result<(), Ended> {
        let carries = work.found.partitions.iter().any(|partition| !partition.records.null);
        let screened = attempt.screened.as_ref();
        let refused = screened.and_then(Screened::text);
        let (kind, outcome, code) = match ruling {
            Ruling::Forward | Ruling::ForwardRest if carries => {
                (EntryKind::Produced, work.tally.outcome(), 0)
            }
            Ruling::Refuse(code) => (EntryKind::Denial, Recorded::Deny, code.0),
            Ruling::Nothing if refused.is_some() => {
                (EntryKind::Denial, work.tally.outcome(), ErrorCode::INVALID_RECORD.0)
            }
            Ruling::Nothing => (EntryKind::Denial, work.tally.outcome(), 0),
            _ => (EntryKind::Request, work.tally.outcome(), 0),
        };
        let client_id = header.client_id.text(frame).unwrap_or_default();
        let mut note = Note::new(kind);
        note.request = Some(request_draft(exchange, header.correlation_id));
        note.outcome = outcome;
        note.error_code = code;
        note.policy_epoch = self.judge.borrow().policy.epoch();
        note.client_id = client_id;
        note.text = refused.as_deref().or(attempt.ticket.as_deref()).unwrap_or_default();
        let done = screened.map(|screened| screened.done.as_slice()).unwrap_or_default();
        let labels = masked_labels(done);
        note.masked = &labels;
        let mut payload = work.payload.take();
        if kind == EntryKind::Produced {
            self.produced(frame, done, work, &mut payload)?;
        }
        let log = &self.shard.log;
        log.append(&self.trace, &note, Some(&work.tally), &payload)
            .map_err(|error| Ended::RecordLog(error.to_string()))?;
        work.payload.keep(payload);
        Ok(())
    }

    /// Record batches that are delivered are named with their exact offsets; of other responses the request's own entry
    /// says enough.
    pub(super) fn record_response(
        &self,
        expected: &Expected,
        frame: &[u8],
        cluster: &ClusterSnapshot,
        masked: &[Done],
        work: &mut Work,
    ) -> Result<(), Ended> {
        work.tally.clear();
        let delivered = Delivered { frame, found: &work.found, withheld: &work.withheld, masked };
        let mut payload = work.payload.take();
        self.summarise(delivered.partitions(), frame, cluster, &mut work.tally, &mut payload)
            .map_err(|error| Ended::BrokerResponse(error.to_string()))?;
        let assigned = expected.exchange.api.key == hold::PRODUCE;
        if assigned {
            note_assigned_offsets(frame, &work.found, cluster, &mut work.tally);
        }
        if work.tally.is_empty() {
            work.payload.keep(payload);
            return Ok(());
        }
        let kind = if assigned { EntryKind::Response } else { EntryKind::Delivered };
        let mut note = Note::new(kind);
        note.request = Some(request_draft(expected.exchange, expected.client_correlation));
        note.answers = Some(expected.ordinal);
        note.policy_epoch = self.judge.borrow().policy.epoch();
        let labels = masked_labels(masked);
        note.masked = &labels;
        note.withheld = masked.iter().map(|done| done.withheld).sum();
        let log = &self.shard.log;
        log.append(&self.trace, &note, Some(&work.tally), &payload)
            .map_err(|error| Ended::RecordLog(error.to_string()))?;
        work.payload.keep(payload);
        Ok(())
    }

    /// A piece of a response that is forwarded while it arrives.
    pub(super) fn record_piece(
        &self,
        expected: &Expected,
        tally: &Tally,
        payload: &[&[u8]],
    ) -> Result<(), Ended> {
        let mut note = Note::new(EntryKind::Delivered);
        note.request = Some(request_draft(expected.exchange, expected.client_correlation));
        note.answers = Some(expected.ordinal);
        note.policy_epoch = self.judge.borrow().policy.epoch();
        let log = &self.shard.log;
        log.append(&self.trace, &note, Some(tally), payload)
            .map_err(|error| Ended::RecordLog(error.to_string()))
    }

    /// Notes the record batches that go to the broker, and gathers those that belong into the record.
    fn produced<'f>(
        &self,
        frame: &'f [u8],
        masked: &'f [Done],
        work: &mut Work,
        payload: &mut Vec<&'f [u8]>,
    ) -> Result<(), Ended> {
        let Work { found, tally, .. } = work;
        let whole = Delivered { frame, found, withheld: &[], masked };
        let cluster = self.cluster()?;
        self.summarise(whole.partitions(), frame, &cluster, tally, payload)
            .map_err(|error| Ended::ClientRequest(error.to_string()))
    }

    /// Notes the record batches of partitions that were not cut, and gathers those that belong into the record.
    fn summarise<'f, 'w>(
        &self,
        partitions: impl Iterator<Item = (&'w Topic, &'w Partition, &'f [u8])>,
        frame: &[u8],
        cluster: &ClusterSnapshot,
        tally: &mut Tally,
        payload: &mut Vec<&'f [u8]>,
    ) -> Result<(), batch::BatchError> {
        for (topic, partition, records) in partitions {
            if tally.is_partition_cut(topic.element, partition.element) {
                continue;
            }
            let summary = batch::summarise(records)?;
            let name = topic_text(topic, frame, cluster);
            let is_kept = self.keeps_payload(&self.plan(&name, clock::wall()));
            if is_kept {
                payload.push(records);
            }
            let batches = Batches::of(summary.as_ref(), if is_kept { records.len() } else { 0 });
            tally.batches(&name, partition.index, batches);
        }
        Ok(())
    }

    /// Appends an entry without resources.
    ///
    /// # Errors
    ///
    /// [`Ended::RecordLog`].
    pub fn note(&self, note: &Note<'_>, tally: Option<&Tally>) -> Result<(), Ended> {
        let log = &self.shard.log;
        log.append(&self.trace, note, tally, &[])
            .map_err(|error| Ended::RecordLog(error.to_string()))
    }

    /// Hands everything appended to the kernel, and waits for the disk where that is configured: called before anything is written to either side.
    ///
    /// # Errors
    ///
    /// [`Ended::RecordLog`].
    pub async fn flush_record(&self) -> Result<(), Ended> {
        self.shard.log.flush().await.map_err(|error| Ended::RecordLog(error.to_string()))
    }
}

fn masked_labels(done: &[Done]) -> Vec<MaskedDraft<'_>> {
    let labels = done.iter().flat_map(|done| &done.masked);
    labels.map(|(label, count)| MaskedDraft { label, count: *count }).collect()
}

fn request_draft(exchange: &'static Exchange, correlation: i32) -> RequestDraft<'static> {
    RequestDraft {
        protocol: 1,
        operation: exchange.api.key.cast_unsigned(),
        version: exchange.version,
        correlation,
        name: exchange.api.name,
    }
}

/// Records as one side gets them: those of a frame, but for what is taken out or masked.
struct Delivered<'f, 'w> {
    frame: &'f [u8],
    found: &'w Found,
    withheld: &'w [Span],
    masked: &'f [Done],
}

impl<'f, 'w> Delivered<'f, 'w> {
    /// Every partition with records, in wire order.
    fn partitions(&self) -> impl Iterator<Item = (&'w Topic, &'w Partition, &'f [u8])> {
        let (frame, found, withheld, masked) = (self.frame, self.found, self.withheld, self.masked);
        let each = found.topics.iter().flat_map(move |topic| {
            let first = kafka::wire::index(topic.partitions.first);
            let partitions = found.partitions_of(topic).iter().enumerate();
            partitions
                .map(move |(place, partition)| (topic, partition, first.saturating_add(place)))
        });
        each.filter(move |(_, partition, _)| !withheld.contains(&partition.element))
            .map(move |(topic, partition, index)| {
                let came = partition.records.bytes(frame);
                let done = masked.iter().find(|done| done.partition == index);
                (topic, partition, done.map_or(came, |done| done.delivers(came)))
            })
            .filter(|(_, _, records)| !records.is_empty())
    }
}

/// Notes the offsets that a broker gave to what was produced.
fn note_assigned_offsets(
    frame: &[u8],
    found: &Found,
    cluster: &ClusterSnapshot,
    tally: &mut Tally,
) {
    for topic in &found.topics {
        for partition in found.partitions_of(topic) {
            let name = topic_text(topic, frame, cluster);
            tally.batches(&name, partition.index, Batches::assigned(partition));
        }
    }
}
