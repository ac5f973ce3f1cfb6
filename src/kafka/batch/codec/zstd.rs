//! Zstandard (RFC 8878): frames one after another, over one context for each direction.

use ::zstd::stream::raw::{self, DParameter, InBuffer, Operation, OutBuffer};

use super::{Fault, Plain, Pulled, Source, append};

/// Reads frames until the source is empty.
#[derive(Default)]
pub(super) struct Decoder {
    context: Option<raw::Decoder<'static>>,
    /// Whether the source stands between two frames.
    between_frames: bool,
}

/// Writes one frame.
#[derive(Default)]
pub(super) struct Encoder {
    context: Option<raw::Encoder<'static>>,
}

impl Decoder {
    pub(super) fn start(&mut self) -> Result<(), Fault> {
        if self.context.is_none() {
            let mut context = raw::Decoder::new().map_err(|_| CONTEXT)?;
            context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|_| CONTEXT)?;
            self.context = Some(context);
        }
        self.between_frames = false;
        self.context.as_mut().ok_or(CONTEXT)?.reinit().map_err(|_| CONTEXT)
    }

    pub(super) fn pull(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        budget: usize,
    ) -> Result<Pulled, Fault> {
        let context = self.context.as_mut().ok_or(CONTEXT)?;
        let mut input = InBuffer::around(source.bytes());
        let expected = source.bytes().len().saturating_mul(8);
        let start = plain.len();
        let hint = append(plain, budget, expected, |room| {
            let mut output = OutBuffer::around(room);
            let hint = context
                .run(&mut input, &mut output)
                .map_err(|_| Fault::Corrupt("a frame is broken, or its window above 8 MiB"))?;
            Ok((output.pos(), hint))
        })?;
        let read = input.pos();
        source.advance(read);
        self.between_frames = hint == 0;
        if self.between_frames && source.bytes().is_empty() {
            return Ok(Pulled::End);
        }
        if read == 0 && plain.len() == start {
            return Err(Fault::Corrupt("the last frame is cut short"));
        }
        Ok(Pulled::More)
    }
}

impl Encoder {
    pub(super) fn start(&mut self) -> Option<()> {
        if self.context.is_none() {
            self.context = raw::Encoder::new(LEVEL).ok();
        }
        self.context.as_mut()?.reinit().ok()
    }

    pub(super) fn push(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
        let context = self.context.as_mut()?;
        let mut input = InBuffer::around(plain);
        while input.pos() < plain.len() {
            packed.reserve(OUTPUT_BYTES_MIN);
            let at = packed.len();
            context.run(&mut input, &mut OutBuffer::around_pos(packed, at)).ok()?;
        }
        Some(())
    }

    pub(super) fn finish(&mut self, packed: &mut Vec<u8>) -> Option<()> {
        let context = self.context.as_mut()?;
        loop {
            packed.reserve(OUTPUT_BYTES_MIN);
            let at = packed.len();
            if context.finish(&mut OutBuffer::around_pos(packed, at), true).ok()? == 0 {
                return Some(());
            }
        }
    }
}

/// 8 MiB: what level 19 of the reference encoder needs, and no more (`threats.md` §2.3).
const WINDOW_LOG_MAX: u32 = 23;
/// Kafka's default level.
const LEVEL: i32 = 3;
const OUTPUT_BYTES_MIN: usize = 16 << 10;
const CONTEXT: Fault = Fault::Corrupt("no memory for a context");
