//! Reads the records of a batch without changing it: for replays and tools, not for the path.

use super::codec::{Codecs, Pulled};
use super::record::{self, Record};
use super::{Batch, BatchError, Codec};

impl Codecs {
    /// Shows each record of `batch` to `see`, decompressing at most `budget` bytes. Control batches show nothing.
    ///
    /// # Errors
    /// [`BatchError`] where the batch does not decompress or its records do not fit; those before were shown.
    pub fn each_record(
        &mut self,
        batch: &Batch<'_>,
        budget: usize,
        mut see: impl FnMut(&Record<'_>),
    ) -> Result<(), BatchError> {
        if batch.header.is_control() {
            return Ok(());
        }
        if batch.header.codec == Codec::None {
            return each(batch.payload(), &mut see);
        }
        self.start_decoding(batch.header.codec, batch.payload())?;
        while self.pull(batch.header.codec, batch.payload(), budget)? == Pulled::More {}
        each(self.plain.bytes(), &mut see)
    }
}

fn each(plain: &[u8], see: &mut impl FnMut(&Record<'_>)) -> Result<(), BatchError> {
    let mut rest = plain;
    while !rest.is_empty() {
        let cut = BatchError::Records { what: "a record is cut short" };
        let (start, end) = record::frame(rest)?.ok_or(cut)?;
        see(&Record::read(rest.get(start..end).unwrap_or_default())?);
        rest = rest.get(end..).unwrap_or_default();
    }
    Ok(())
}
