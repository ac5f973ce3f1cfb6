//! What a walk puts in the place of stretches of its input, and the lengths around them that change
//! with it.
//!
//! ```text
//! input    … │len│ … │value│ …          a length is opened before what it counts, and closed
//! splices    [len]     [value]          behind it: it is written again if what it counts has
//! out      … │new│ … │mask│ …           become longer or shorter, and else left as it is
//! ```

use std::ops::Range;

/// The splices of one walk, in the order of the input. Its buffers are used again.
#[derive(Debug, Default)]
pub(in crate::masking) struct Splices {
    splices: Vec<Splice>,
    /// What is put in, for all splices.
    pieces: Vec<u8>,
    open: Vec<OpenLength>,
    /// A value on its way to `pieces`: its length goes in front and is known only behind it.
    pub(super) content: Vec<u8>,
    /// A number as its digits.
    pub(super) digits: Vec<u8>,
}

#[derive(Debug)]
struct Splice {
    at: Range<usize>,
    /// Where in `pieces` its bytes are; `None` where the input's stay.
    piece: Option<Range<usize>>,
}

/// A length whose end has not come.
#[derive(Debug)]
struct OpenLength {
    /// Its splice.
    index: usize,
    length: usize,
    /// By how much what it counts has grown.
    growth: isize,
}

impl Splices {
    pub(super) fn clear(&mut self) {
        self.splices.clear();
        self.pieces.clear();
        self.open.clear();
    }

    /// Puts what `write` appends in the place of `at`.
    pub(super) fn put(&mut self, at: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let growth = self.write_piece(&at, write);
        self.splices.push(Splice { at, piece: Some(growth.1) });
        self.grow(growth.0);
    }

    /// Puts a length and then [`Self::content`] in the place of `at`; `length` writes the former.
    pub(super) fn put_content(
        &mut self,
        at: Range<usize>,
        length: impl FnOnce(usize, &mut Vec<u8>),
    ) {
        let content = std::mem::take(&mut self.content);
        self.put(at, |out| {
            length(content.len(), out);
            out.extend_from_slice(&content);
        });
        self.content = content;
    }

    /// Begins what a length counts, which is written at `at`.
    pub(super) fn open(&mut self, at: Range<usize>, length: usize) {
        self.open.push(OpenLength { index: self.splices.len(), length, growth: 0 });
        self.splices.push(Splice { at, piece: None });
    }

    /// Ends what the innermost length counts; `write` writes it again where it has changed.
    pub(super) fn close(&mut self, write: impl FnOnce(usize, &mut Vec<u8>)) {
        let Some(OpenLength { index, length, growth }) = self.open.pop() else { return };
        if growth == 0 {
            // Without a trace where nothing in it was masked.
            if self.splices.len() == index.saturating_add(1) {
                self.splices.pop();
            }
            return;
        }
        let Some(at) = self.splices.get(index).map(|splice| splice.at.clone()) else { return };
        let length = length.saturating_add_signed(growth);
        let (own, piece) = self.write_piece(&at, |out| write(length, out));
        if let Some(splice) = self.splices.get_mut(index) {
            splice.piece = Some(piece);
        }
        self.grow(growth.saturating_add(own));
    }

    /// Appends `input` to `out`, with all splices in it.
    pub(super) fn finish(&self, input: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for Splice { at, piece } in &self.splices {
            let Some(piece) = piece else { continue };
            out.extend_from_slice(input.get(copied..at.start).unwrap_or_default());
            out.extend_from_slice(self.pieces.get(piece.clone()).unwrap_or_default());
            copied = at.end;
        }
        out.extend_from_slice(input.get(copied..).unwrap_or_default());
    }

    /// Writes a piece for `at`: by how much it is longer, and where it is.
    fn write_piece(
        &mut self,
        at: &Range<usize>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (isize, Range<usize>) {
        let start = self.pieces.len();
        write(&mut self.pieces);
        let piece = start..self.pieces.len();
        (signed(piece.len()).saturating_sub(signed(at.len())), piece)
    }

    fn grow(&mut self, growth: isize) {
        if let Some(open) = self.open.last_mut() {
            open.growth = open.growth.saturating_add(growth);
        }
    }
}

/// Lengths are bounded by what a value may have, far below.
fn signed(length: usize) -> isize {
    isize::try_from(length).unwrap_or(isize::MAX)
}
