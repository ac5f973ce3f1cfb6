//! What the walks over Avro and Protobuf have in common: reading within bounds, following the plan,
//! and masking values by their type.

use std::io::Write;
use std::ops::Range;

use super::super::detect::{Found, Writing};
use super::super::json::{DEPTH_MAX, Sheet, TOKENS_MAX, Unreadable};
use super::super::method::{Form, Treatment};
use super::super::places::NOWHERE;
use super::super::plan::MaskPlan;
use super::typed::{self, Leaf};

/// How a format writes the length of bytes.
pub(super) type WriteLength = fn(usize, &mut Vec<u8>);

/// A walk through one value.
pub(super) struct Walk<'w> {
    plan: &'w MaskPlan,
    sheet: &'w mut Sheet,
    /// The whole value, with what stands before the payload.
    input: &'w [u8],
    pub(super) at: usize,
    /// The end of what is being read.
    pub(super) end: usize,
    tokens_left: u32,
    depth: usize,
    /// What masks all of the value.
    whole: Option<u16>,
    write_length: WriteLength,
}

/// Where a value stands in the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    node: u16,
    /// The mask of this value, or of what it lies in.
    mask: Option<u16>,
}

/// Bytes with what says how many they are.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Where the length is written; where bytes of a fixed size are, nothing in front of them.
    pub(super) length: Range<usize>,
    pub(super) content: Range<usize>,
}

impl<'w> Walk<'w> {
    /// A walk through `input` from `start` on, all of which is masked by `whole`, if there is one; nothing is masked yet.
    pub(super) fn new(
        plan: &'w MaskPlan,
        input: &'w [u8],
        start: usize,
        whole: Option<u16>,
        sheet: &'w mut Sheet,
    ) -> Self {
        sheet.out.clear();
        sheet.hits.clear();
        sheet.splices.clear();
        let (end, tokens_left) = (input.len(), TOKENS_MAX);
        let write_length = |_, _: &mut Vec<u8>| {};
        Self { plan, sheet, input, at: start, end, tokens_left, depth: 0, whole, write_length }
    }

    /// The same, in a format that writes lengths this way.
    pub(super) fn with_lengths(self, write_length: WriteLength) -> Self {
        Self { write_length, ..self }
    }

    /// Ends the walk: nothing may be left over, and the masks are put together.
    pub(super) fn finish(self) -> Result<(), Unreadable> {
        if self.at != self.input.len() {
            return Err(Unreadable);
        }
        if !self.sheet.hits.is_empty() {
            self.sheet.splices.finish(self.input, &mut self.sheet.out);
        }
        Ok(())
    }

    pub(super) fn root(&self) -> Place {
        self.place(self.whole, self.plan.root())
    }

    /// The place under `key`.
    pub(super) fn step(&self, place: Place, key: &[u8]) -> Place {
        if place.node == NOWHERE {
            return place;
        }
        self.place(place.mask, self.plan.child(place.node, key))
    }

    /// The place of the key in `place` that leads to `below`: it is masked where all that it leads to is, and where that is
    /// left out.
    pub(super) fn key_of(&self, place: Place, below: Place) -> Place {
        let dropped = || self.plan.drop_of(below.node, true);
        Place { node: NOWHERE, mask: place.mask.or_else(dropped) }
    }

    /// Nothing can be left out of a value with a schema: what would be is masked.
    fn place(&self, around: Option<u16>, node: u16) -> Place {
        let own = || self.plan.drop_of(node, true).or_else(|| self.plan.mask_of(node));
        Place { node, mask: around.or_else(own) }
    }

    /// What masks a value here that holds no others.
    fn mask_of(&self, place: Place) -> Option<u16> {
        place.mask.or_else(|| self.plan.drop_of(place.node, false))
    }

    /// The place under a key that is a number: its decimal text is the step.
    pub(super) fn step_by(&mut self, place: Place, key: i128) -> Place {
        let mut digits = std::mem::take(&mut self.sheet.splices.digits);
        digits.clear();
        typed::write_digits(key, &mut digits);
        let below = self.step(place, &digits);
        self.sheet.splices.digits = digits;
        below
    }

    /// Counts one of the things that a value is made of, whether it has bytes or not.
    pub(super) fn token(&mut self) -> Result<(), Unreadable> {
        self.tokens_left = self.tokens_left.checked_sub(1).ok_or(Unreadable)?;
        Ok(())
    }

    pub(super) fn enter(&mut self) -> Result<(), Unreadable> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX { Err(Unreadable) } else { Ok(()) }
    }

    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let byte = self.input.get(self.take(1)?.start).copied();
        byte.ok_or(Unreadable)
    }

    /// Takes so many bytes, which must be there.
    pub(super) fn take(&mut self, count: usize) -> Result<Range<usize>, Unreadable> {
        let start = self.at;
        let end = start.checked_add(count).filter(|end| *end <= self.end).ok_or(Unreadable)?;
        self.at = end;
        Ok(start..end)
    }

    /// Takes so many bytes of a number.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let taken = self.take(N)?;
        self.bytes(taken).first_chunk::<N>().copied().ok_or(Unreadable)
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &'w [u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// Takes a number in groups of seven bits, of at most 64 bits.
    pub(super) fn varint(&mut self) -> Result<u64, Unreadable> {
        let rest = self.input.get(..self.end).ok_or(Unreadable)?;
        varint(rest, &mut self.at).ok_or(Unreadable)
    }

    /// Takes bytes whose length was read, and began at `start`.
    pub(super) fn stretch(&mut self, start: usize, length: u64) -> Result<Stretch, Unreadable> {
        let length_end = self.at;
        let length = usize::try_from(length).map_err(|_| Unreadable)?;
        Ok(Stretch { length: start..length_end, content: self.take(length)? })
    }

    /// Begins what a length counts, which is written at `at`.
    pub(super) fn open(&mut self, at: Range<usize>, length: usize) {
        self.sheet.splices.open(at, length);
    }

    /// Ends what the innermost length counts.
    pub(super) fn close(&mut self) {
        self.sheet.splices.close(self.write_length);
    }

    /// Puts what `write` appends in the place of a value that [`Self::number`] or [`Self::word`]
    /// has masked.
    pub(super) fn put(&mut self, at: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        self.sheet.splices.put(at, write);
    }

    /// Masks a value of bytes, whole or where the detectors find something.
    pub(super) fn leaf(
        &mut self,
        leaf: Leaf,
        stretch: Stretch,
        place: Place,
    ) -> Result<(), Unreadable> {
        let raw = self.bytes(stretch.content.clone());
        if leaf.is_text() && std::str::from_utf8(raw).is_err() {
            return Err(Unreadable);
        }
        if let Some(mask) = self.mask_of(place) {
            return self.replace(leaf, stretch, mask, Form::Text);
        }
        // Nothing makes a writer write what the schema calls it; readers may take any text.
        let leaf = if leaf == Leaf::UuidText && !typed::is_uuid(raw) { Leaf::Text } else { leaf };
        // A path that leads on into text or bytes means what is in there, which is not read.
        if let Some(mask) = self.plan.mask_below(place.node)
            && leaf.is_free()
        {
            return self.replace(leaf, stretch, mask, Form::Opaque);
        }
        self.detect(leaf, stretch)
    }

    /// Counts a masked value of a few words, which [`Self::put`] then replaces; `false` where it is
    /// not masked.
    pub(super) fn word(&mut self, place: Place) -> bool {
        let mask = self.mask_of(place);
        self.sheet.hits.extend(mask);
        mask.is_some()
    }

    /// What stands for a whole number, below `below`; `None` where it is not masked.
    pub(super) fn integer(
        &mut self,
        value: i128,
        below: u64,
        place: Place,
    ) -> Result<Option<u64>, Unreadable> {
        self.number(place, below, |digits| typed::write_digits(value, digits))
    }

    /// As [`Self::integer`], for floating point. A detector looks only at what is a whole number.
    pub(super) fn floating(
        &mut self,
        value: f64,
        below: u64,
        place: Place,
    ) -> Result<Option<u64>, Unreadable> {
        let is_whole = value.fract() == 0.0 && value.abs() < WHOLE_BELOW;
        if self.mask_of(place).is_none() && !is_whole {
            return Ok(None);
        }
        self.number(place, below, |digits| {
            // Writing to memory does not fail.
            if write!(digits, "{value}").is_err() {
                digits.clear();
            }
        })
    }

    fn number(
        &mut self,
        place: Place,
        below: u64,
        write_digits: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Option<u64>, Unreadable> {
        let plan = self.plan;
        let own = self.mask_of(place);
        if own.is_none() && plan.detectors().is_empty() {
            return Ok(None);
        }
        let digits = &mut self.sheet.splices.digits;
        digits.clear();
        write_digits(digits);
        let Some(mask) = own.or_else(|| plan.detectors().number(digits)) else {
            return Ok(None);
        };
        let treatment = plan.treatment(mask).ok_or(Unreadable)?;
        self.sheet.hits.push(mask);
        Ok(Some(typed::number(treatment, digits, below)))
    }

    /// Masks a value whole.
    fn replace(
        &mut self,
        leaf: Leaf,
        stretch: Stretch,
        mask: u16,
        form: Form,
    ) -> Result<(), Unreadable> {
        let treatment = self.plan.treatment(mask).ok_or(Unreadable)?;
        self.sheet.hits.push(mask);
        let raw = self.bytes(stretch.content.clone());
        self.sheet.splices.content.clear();
        leaf.write(treatment, form, raw, &mut self.sheet.splices.content);
        self.put_content(stretch);
        Ok(())
    }

    fn put_content(&mut self, Stretch { length, content }: Stretch) {
        let splices = &mut self.sheet.splices;
        // Bytes of a fixed size have no length in front.
        let write_length =
            if length.is_empty() { |_, _: &mut Vec<u8>| {} } else { self.write_length };
        splices.put_content(length.start..content.end, write_length);
    }

    fn detect(&mut self, leaf: Leaf, stretch: Stretch) -> Result<(), Unreadable> {
        let plan = self.plan;
        let detectors = plan.detectors();
        if detectors.is_empty() {
            return Ok(());
        }
        let raw = self.bytes(stretch.content.clone());
        if let Some(value) = typed::unscaled(raw).filter(|_| leaf.is_decimal()) {
            let digits = &mut self.sheet.splices.digits;
            digits.clear();
            typed::write_digits(value, digits);
            if let Some(mask) = detectors.number(digits) {
                return self.replace(leaf, stretch, mask, Form::Text);
            }
        }
        if !leaf.is_text() && std::str::from_utf8(raw).is_err() {
            return Ok(());
        }
        let writing = Writing { escaped: false, ascii: raw.is_ascii() && !raw.contains(&0) };
        let Sheet { folded, found, .. } = &mut *self.sheet;
        detectors.find(raw, writing, folded, found);
        match found.first() {
            None => Ok(()),
            Some(&Found { mask, .. }) if !leaf.is_free() => {
                self.replace(leaf, stretch, mask, Form::Text)
            }
            Some(_) => self.replace_found(raw, stretch),
        }
    }

    /// Masks what was found in text, and leaves what is around it.
    fn replace_found(&mut self, raw: &[u8], stretch: Stretch) -> Result<(), Unreadable> {
        let Sheet { found, hits, splices, .. } = &mut *self.sheet;
        let content = &mut splices.content;
        content.clear();
        let mut copied = 0;
        for &Found { start, end, mask } in found.iter() {
            let treatment: &Treatment = self.plan.treatment(mask).ok_or(Unreadable)?;
            content.extend_from_slice(raw.get(copied..start).unwrap_or_default());
            treatment.write_part(
                Form::Text,
                raw.get(start..end).unwrap_or_default(),
                &mut Vec::new(),
                content,
            );
            hits.push(mask);
            copied = end;
        }
        content.extend_from_slice(raw.get(copied..).unwrap_or_default());
        self.put_content(stretch);
        Ok(())
    }
}

/// Reads a number in groups of seven bits, the lowest first, of at most 64 bits.
pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at = at.saturating_add(1);
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << shift;
        if shifted >> shift != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a number in groups of seven bits.
pub(super) fn write_varint(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    loop {
        let bits = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            out.push(bits);
            break;
        }
        out.push(bits | 0x80);
    }
}

/// The number with a sign whose sign was moved to the lowest bit.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// Larger numbers have more digits than any detector looks for.
const WHOLE_BELOW: f64 = 1e24;
