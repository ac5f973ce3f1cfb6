//! What a walk remembers of the documents before: between one value and the next most documents of a topic read alike.
//!
//! What stands between two values (a *gap*: brackets, commas, keys, spaces) decides, together with the containers that are open in
//! front of it, which containers are open behind it and where the next value is. So a gap that was walked once need not be walked
//! again where the same containers are open: it is compared, in one go.
//!
//! ```text
//! {"id":"7f3a","card":{"number":"4111…"},"items":[{"sku":"a"},{"sku":"b"}]}
//! └gap─┘    └──gap─────────────┘       └──gap──────────────┘ └gap────┘  └gap
//!
//!  start ──{"id":──▶ [{] ──,"card":{"number":──▶ [{ {] ──},"items":[{"sku":──▶ [{ [ {] ──}]}──▶ end
//!                                                                              ▲ │
//!                                                                              └─┘ },{"sku":
//! ```
//!
//! A state is what is open; from each a few gaps lead on. Lists of any length and members that come and go are ways through the
//! same states. Values are never remembered, and nothing that is remembered is ever written: a walk with a memory comes to what
//! one without comes to.

use std::collections::HashMap;
use std::sync::Arc;

use wide::u8x16;

use super::super::places::NOWHERE;
use super::super::plan::Origin;
use super::Open;

/// Gaps of one plan that are remembered, those that lead on from one state, and the bytes of one.
const GAPS_MAX: usize = 1_024;
const GAPS_PER_STATE_MAX: usize = 64;
const GAP_BYTES_MAX: usize = 512;
/// States of one plan, and the containers that are open in one.
const STATES_MAX: usize = 512;
const OPEN_MAX: usize = 32;
/// Plans that one sheet remembers documents of; the one that was used longest ago makes room. Some 150 KiB each at most.
const PLANS_MAX: usize = 8;
/// A document is strange that has more than one new gap in so many tokens. After so many of these, as they come, nothing is
/// looked up or learnt for a while, and then all anew.
const TOKENS_PER_NEW_GAP: u32 = 16;
const STRANGE_MAX: u32 = 32;
const REST_DOCUMENTS: u32 = 2_048;

/// The memories of one sheet, by plan; the one that was used last stands last.
#[derive(Debug, Default)]
pub(super) struct Memories(Vec<Memory>);

/// What is remembered of documents under one plan, and those that were made from the same rules.
#[derive(Debug, Default)]
pub(super) struct Memory {
    plan: Arc<Origin>,
    states: Vec<State>,
    by_open: HashMap<Box<[Container]>, u16>,
    gaps: Vec<Gap>,
    /// The gaps that began the documents before, as [`Gap`] has those that come next.
    first: [u16; 2],
    /// A state's containers while it is looked for.
    wanted: Vec<Container>,
    strange: u32,
    rest: u32,
}

/// What is open, and the gaps that lead on from there.
#[derive(Debug, Default)]
struct State {
    open: Box<[Container]>,
    gaps: Vec<u16>,
}

/// An open container, as far as it decides on what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Container {
    node: u16,
    is_object: bool,
}

/// What stands between two values, and where it leads.
#[derive(Debug)]
pub(super) struct Gap {
    /// Its first bytes, and a bit for each of them that there is.
    front: [u8x16; 2],
    counts: u32,
    /// How many tokens it has.
    pub(super) tokens: u32,
    pub(super) next: Next,
    /// How many bytes it has, where they are all in front and a value follows; else 0.
    pub(super) front_bytes: usize,
    /// The gap that came next in the document before, and one that did before that: most likely one of them does again. They
    /// lead on from where this one leads to.
    pub(super) then: [u16; 2],
    pub(super) bytes: Box<[u8]>,
}

/// What a gap leads to: a value that is no container, or the end of the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) is_end: bool,
    /// The value's place.
    pub(super) node: u16,
    /// What is open where it is.
    pub(super) state: u16,
}

/// Where a walk is: what is open, and the gap that led there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) state: u16,
    gap: u16,
}

/// What is open where a document begins: nothing, and nothing has been read.
const START_STATE: u16 = 0;

/// Where a document begins.
pub(super) const START: Here = Here { state: START_STATE, gap: NO_GAP };

/// No gap has this number.
const NO_GAP: u16 = u16::MAX;

/// How many bytes of a gap are compared at once.
pub(super) const FRONT_BYTES: usize = 32;

impl Memories {
    /// The memory of a plan; `None` while it rests.
    pub(super) fn of(&mut self, plan: &Arc<Origin>) -> Option<&mut Memory> {
        if self.0.last().is_none_or(|memory| !Arc::ptr_eq(&memory.plan, plan)) {
            let memory = match self.0.iter().position(|memory| memory.plan == *plan) {
                Some(at) => Memory { plan: Arc::clone(plan), ..self.0.remove(at) },
                None => Memory::new(plan),
            };
            if self.0.len() >= PLANS_MAX {
                self.0.remove(0);
            }
            self.0.push(memory);
        }
        let memory = self.0.last_mut()?;
        if memory.rest > 0 {
            memory.rest = memory.rest.saturating_sub(1);
            if memory.rest == 0 {
                *memory = Memory::new(plan);
            }
            return None;
        }
        Some(memory)
    }
}

impl Memory {
    fn new(plan: &Arc<Origin>) -> Self {
        let plan = Arc::clone(plan);
        Self { plan, states: vec![State::default()], first: [NO_GAP; 2], ..Self::default() }
    }

    /// The gap at the start of `rest` that leads on from `here`, if it is known.
    #[inline]
    pub(super) fn recall(&mut self, here: Here, rest: &[u8]) -> Option<(u16, &Gap)> {
        let [likely, _] = self.likely(here);
        let is_likely = self.gap(likely).is_some_and(|gap| gap.leads_on(rest));
        let number = if is_likely { likely } else { self.search(here, rest)? };
        Some((number, self.gap(number)?))
    }

    /// The gaps that came behind `here` in documents before; none where nobody knows by which gap the walk came there.
    #[inline]
    pub(super) fn likely(&self, here: Here) -> [u16; 2] {
        match self.gap(here.gap) {
            Some(gap) => gap.then,
            None if here.state == START_STATE => self.first,
            None => [NO_GAP; 2],
        }
    }

    /// That of two gaps with which `chunk` begins, if all of it is in front and a value follows.
    #[inline(always)]
    pub(super) fn likely_front(
        &self,
        [likely, other]: [u16; 2],
        chunk: &[u8; FRONT_BYTES],
    ) -> Option<(u16, &Gap)> {
        let gap = self.gap(likely)?;
        if gap.is_front(chunk) {
            return (gap.front_bytes > 0).then_some((likely, gap));
        }
        let gap = self.gap(other)?;
        (gap.front_bytes > 0 && gap.is_front(chunk)).then_some((other, gap))
    }

    #[inline]
    fn gap(&self, number: u16) -> Option<&Gap> {
        self.gaps.get(usize::from(number))
    }

    /// Looks among all gaps that lead on from `here`; what is found is the likely one from now on.
    #[inline(never)]
    fn search(&mut self, here: Here, rest: &[u8]) -> Option<u16> {
        let [_, other] = self.likely(here);
        let known = &self.states.get(usize::from(here.state))?.gaps;
        let leads_on = |number: &u16| self.gap(*number).is_some_and(|gap| gap.leads_on(rest));
        let found = [other].iter().chain(known).copied().find(leads_on)?;
        self.note_next(here, found);
        Some(found)
    }

    fn note_next(&mut self, here: Here, number: u16) {
        let then = match self.gaps.get_mut(usize::from(here.gap)) {
            Some(gap) => &mut gap.then,
            None if here.state == START_STATE => &mut self.first,
            // How the walk came here is not known.
            None => return,
        };
        let [before, _] = *then;
        *then = [number, before];
    }

    /// Opens what is open in `state`.
    pub(super) fn restore(&self, state: u16, stack: &mut Vec<Open>) {
        stack.clear();
        let open = self.states.get(usize::from(state)).map(|state| &state.open);
        stack.extend(open.into_iter().flatten().map(|container| Open {
            node: container.node,
            is_object: container.is_object,
            ..Open::default()
        }));
    }

    /// The state in which these are open, if there is one or room for it.
    pub(super) fn state(&mut self, stack: &[Open]) -> Option<u16> {
        let container = |open: &Open| Container { node: open.node, is_object: open.is_object };
        self.wanted.clear();
        self.wanted.extend(stack.iter().map(container));
        if let Some(known) = self.by_open.get(self.wanted.as_slice()) {
            return Some(*known);
        }
        if stack.len() > OPEN_MAX || self.states.len() >= STATES_MAX {
            return None;
        }
        let number = u16::try_from(self.states.len()).ok()?;
        let open: Box<[Container]> = self.wanted.as_slice().into();
        self.by_open.insert(open.clone(), number);
        self.states.push(State { open, gaps: Vec::new() });
        Some(number)
    }

    /// Remembers that `bytes`, of so many tokens, lead on from `here` to `next`, if there is room.
    pub(super) fn learn(&mut self, here: Here, bytes: &[u8], tokens: u32, next: Next) -> Here {
        let there = Here { state: next.state, gap: NO_GAP };
        let Some(state) = self.states.get_mut(usize::from(here.state)) else { return there };
        let is_full = self.gaps.len() >= GAPS_MAX || state.gaps.len() >= GAPS_PER_STATE_MAX;
        let Some(number) = u16::try_from(self.gaps.len()).ok().filter(|_| !is_full) else {
            return there;
        };
        if bytes.len() > GAP_BYTES_MAX {
            return there;
        }
        state.gaps.push(number);
        self.gaps.push(Gap::new(bytes, tokens, next));
        self.note_next(here, number);
        Here::behind(number, next.state)
    }

    /// Notes that a document of so many tokens had so many gaps that were not known.
    pub(super) fn note(&mut self, new: u32, tokens: u32) {
        if new.saturating_mul(TOKENS_PER_NEW_GAP) > tokens {
            self.strange = self.strange.saturating_add(1);
            if self.strange >= STRANGE_MAX {
                self.strange = 0;
                self.rest = REST_DOCUMENTS;
            }
        } else {
            self.strange = self.strange.saturating_sub(1);
        }
    }
}

impl Gap {
    fn new(bytes: &[u8], tokens: u32, next: Next) -> Self {
        let is_front = !next.is_end && bytes.len() <= FRONT_BYTES;
        let front_bytes = if is_front { bytes.len() } else { 0 };
        let (mut front, mut counts) = ([0; FRONT_BYTES], 0);
        for ((bit, front), byte) in front.iter_mut().enumerate().zip(bytes) {
            *front = *byte;
            counts |= 1 << bit;
        }
        let (front, bytes) = (halves(&front), bytes.into());
        Self { front, counts, tokens, next, front_bytes, then: [NO_GAP; 2], bytes }
    }

    /// Whether these bytes begin as the gap does.
    #[inline(always)]
    fn is_front(&self, chunk: &[u8; FRONT_BYTES]) -> bool {
        let ([low, high], [own_low, own_high]) = (halves(chunk), self.front);
        let same = low.simd_eq(own_low).to_bitmask() | high.simd_eq(own_high).to_bitmask() << 16;
        same & self.counts == self.counts
    }

    /// Whether `rest` begins with the gap and goes on with what it leads to.
    #[inline(always)]
    fn leads_on(&self, rest: &[u8]) -> bool {
        let begins = match rest.first_chunk() {
            Some(chunk) if !self.is_front(chunk) => false,
            Some(_) if self.bytes.len() <= FRONT_BYTES => true,
            _ => rest.starts_with(&self.bytes),
        };
        begins
            && match rest.get(self.bytes.len()) {
                Some(first) => begins_scalar(*first) && !self.next.is_end,
                None => self.next.is_end,
            }
    }
}

impl Here {
    /// Where a gap led to `state`.
    #[inline]
    pub(super) fn behind(gap: u16, state: u16) -> Self {
        Self { state, gap }
    }

    /// Where `state` is open, and nobody knows by which gap.
    pub(super) fn unknown(state: u16) -> Self {
        Self { state, gap: NO_GAP }
    }
}

impl Next {
    /// The end of the document.
    pub(super) const END: Self = Self { is_end: true, node: NOWHERE, state: START_STATE };
}

/// Whether a value that begins so is no container.
#[inline]
pub(super) fn begins_scalar(first: u8) -> bool {
    SCALARS.get(usize::from(first)).copied().unwrap_or(false)
}

#[inline]
fn halves(bytes: &[u8; FRONT_BYTES]) -> [u8x16; 2] {
    let half = |half: Option<&[u8; 16]>| u8x16::new(half.copied().unwrap_or_default());
    [half(bytes.first_chunk()), half(bytes.last_chunk())]
}

/// The bytes that values begin with that are no containers.
static SCALARS: [bool; 256] = {
    let mut scalars = [false; 256];
    let mut first = 0_u8;
    loop {
        #[expect(clippy::as_conversions, clippy::indexing_slicing, reason = "at compile time")]
        {
            scalars[first as usize] =
                matches!(first, b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
        }
        match first.checked_add(1) {
            Some(next) => first = next,
            None => break scalars,
        }
    }
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{masked, rules};
    use super::super::super::{Direction, MaskPlan, Scratch};
    use super::*;

    fn plan() -> MaskPlan {
        rules("  - topics: [t]\n    fields: { card.number: secret }\n")
            .plan("t", Direction::Read, |_| false)
            .unwrap()
    }

    fn check(plan: &MaskPlan, scratch: &mut Scratch, document: &str) {
        let expected = document.replace("\"4111\"", "\"[masked]\"");
        let found = masked(plan, document.as_bytes(), scratch);
        assert_eq!(String::from_utf8_lossy(&found), expected, "{document}");
    }

    fn memory(scratch: &mut Scratch) -> &mut Memory {
        scratch.sheet.memories.0.last_mut().unwrap()
    }

    #[test]
    fn documents_that_read_alike_are_known_after_the_first() {
        let (plan, mut scratch) = (plan(), Scratch::new());
        let document = |items: usize, note: &str| {
            let items: Vec<String> =
                (0..items).map(|item| format!("{{\"sku\":\"{item}\",\"n\":{item}}}")).collect();
            let items = items.join(",");
            format!("{{\"card\":{{\"number\":\"4111\"}},\"items\":[{items}],\"note\":{note}}}")
        };
        check(&plan, &mut scratch, &document(2, "null"));
        check(&plan, &mut scratch, &document(3, "1"));
        let learnt = memory(&mut scratch).gaps.len();
        // Longer lists, and values of other kinds, are ways through what is known.
        for (items, note) in [(2, "\"\""), (9, "true"), (40, "-1e9"), (3, "\"ä\\u00e4\"")] {
            check(&plan, &mut scratch, &document(items, note));
        }
        assert_eq!(memory(&mut scratch).gaps.len(), learnt);
        // What is known leads no further than the document reads so.
        for (from, to) in [("\"n\":1", "\"m\":1"), ("\"n\":1", "\"n\": 1"), ("\"n\":1", "\"n\":{}")]
        {
            check(&plan, &mut scratch, &document(2, "null").replace(from, to));
        }
        for broken in ["\"n\":1x", "\"n\":,", "\"n\":1]", "\"n\":\"\u{1}\""] {
            let document = document(2, "null").replace("\"n\":1", broken);
            let found = masked(&plan, document.as_bytes(), &mut scratch);
            assert_eq!(found, super::super::super::method::WITHHELD, "{document}");
        }
    }

    #[test]
    fn what_begins_documents_is_not_taken_for_what_goes_on_in_one() {
        let (plan, mut scratch) = (plan(), Scratch::new());
        check(&plan, &mut scratch, "{\"card\":{\"number\":\"4111\"}}");
        // Behind an object that is masked whole nobody knows by which gap the walk came there.
        let broken = "{\"card\":{\"number\":{}{\"card\":{\"number\":\"4111\"}}";
        let found = masked(&plan, broken.as_bytes(), &mut scratch);
        assert_eq!(found, super::super::super::method::WITHHELD);
    }

    #[test]
    fn documents_that_have_nothing_in_common_cost_a_bounded_memory_and_are_given_up() {
        let (plan, mut scratch) = (plan(), Scratch::new());
        let mut rested = false;
        for number in 0..6_000 {
            let member = |member| format!("\"k{number}-{member}\":{{\"a{number}\":[{member}]}}");
            let members: Vec<String> = (0..6).map(member).collect();
            let members = members.join(",");
            check(&plan, &mut scratch, &format!("{{{members},\"card\":{{\"number\":\"4111\"}}}}"));
            let memory = memory(&mut scratch);
            rested |= memory.rest > 0;
            assert!(memory.gaps.len() <= GAPS_MAX && memory.states.len() <= STATES_MAX);
        }
        assert!(rested);
        // Of itself it begins anew.
        for _ in 0..=REST_DOCUMENTS {
            check(&plan, &mut scratch, "{\"card\":{\"number\":\"4111\"}}");
        }
        assert_eq!((memory(&mut scratch).rest, memory(&mut scratch).gaps.len()), (0, 2));
    }

    #[test]
    fn rules_have_a_memory_each_whoever_reads_and_the_last_used_stay() {
        let document = "{\"card\":{\"number\":\"4111\"}}";
        let mut scratch = Scratch::new();
        let plans: Vec<MaskPlan> = (0..PLANS_MAX + 3).map(|_| plan()).collect();
        for plan in plans.iter().chain(&plans) {
            check(plan, &mut scratch, document);
            assert!(Arc::ptr_eq(&memory(&mut scratch).plan, plan.origin()));
            assert_eq!(memory(&mut scratch).gaps.len(), 2);
            assert!(scratch.sheet.memories.0.len() <= PLANS_MAX);
        }
        let rules = rules("  - topics: [t, u]\n    fields: { card.number: secret }\n");
        let plan = |topic| rules.plan(topic, Direction::Read, |_| false).unwrap();
        check(&plan("t"), &mut scratch, document);
        memory(&mut scratch).strange = 7;
        check(&plan("u"), &mut scratch, document);
        assert_eq!(memory(&mut scratch).strange, 6, "the same one, used once more");
    }

    #[test]
    fn tokens_are_counted_whether_remembered_or_not() {
        let (plan, mut scratch) = (plan(), Scratch::new());
        // One token for the list, and one for the card, its keys and its number, and one for each element.
        let document = |elements: u32| {
            let elements = "1,".repeat(usize::try_from(elements).unwrap());
            format!("[{elements}{{\"card\":{{\"number\":\"4111\"}}}}]")
        };
        let most = super::super::TOKENS_MAX - 6;
        for _ in 0..2 {
            check(&plan, &mut scratch, &document(most));
            let found = masked(&plan, document(most + 1).as_bytes(), &mut scratch);
            assert_eq!(found, super::super::super::method::WITHHELD);
        }
    }
}
