//! A walk that remembers: from value to value as documents before read, and by itself where this one does not.

use super::super::method::Form;
use super::super::places::NOWHERE;
use super::lex::{Content, after_literal};
use super::memory::{Gap, Here, Memory, Next, START, begins_scalar};
use super::{PLAIN, Unreadable, Walk};

impl Walk<'_> {
    /// As [`Walk::document`], by what is remembered of the documents before; what is new is walked, and remembered.
    pub(super) fn remembered(&mut self, root: u16, memory: &mut Memory) -> Result<(), Unreadable> {
        let (mut new, tokens_before) = (0, self.tokens_left);
        let walked = self.recall(root, memory, &mut new);
        memory.note(new, tokens_before.saturating_sub(self.tokens_left));
        walked
    }

    fn recall(&mut self, root: u16, memory: &mut Memory, new: &mut u32) -> Result<(), Unreadable> {
        let mut here = Some(START);
        loop {
            if let Some(known) = here {
                here = self.recall_on(known, memory)?;
                if here.is_none() {
                    return Ok(());
                }
            }
            *new = new.saturating_add(1);
            let Some((node, there)) = self.learn(root, here, memory)? else { return Ok(()) };
            // What is open is on the stack here.
            self.value(node, 0)?;
            here = there;
        }
    }

    /// Goes on from `here` as far as the way is known, over values too; returns from where it is not, or `None` at the end of
    /// the document.
    fn recall_on(
        &mut self,
        mut here: Here,
        memory: &mut Memory,
    ) -> Result<Option<Here>, Unreadable> {
        loop {
            if self.is_blind {
                self.pass_likely(&mut here, memory)?;
            }
            let Some((number, gap)) = memory.recall(here, self.rest) else {
                return Ok(Some(here));
            };
            let Gap { tokens, next: Next { is_end, node, state }, .. } = *gap;
            here = Here::behind(number, state);
            self.tokens_left = self.tokens_left.checked_sub(tokens).ok_or(Unreadable)?;
            self.rest = self.rest.get(gap.bytes.len()..).unwrap_or_default();
            if is_end {
                return Ok(None);
            }
            if may_be_entered(self.rest) && (node != NOWHERE || !self.is_blind) {
                // A document in a string stands in what is open here.
                memory.restore(here.state, &mut self.sheet.stack);
            }
            self.value(node, 0)?;
        }
    }

    /// Goes on from `here` as long as the gap comes that most likely does, and a value that is passed or masked: as most of most
    /// documents, so it keeps what it needs in registers. What it does not take [`Walk::recall_on`] does.
    #[inline(always)]
    fn pass_likely(&mut self, here: &mut Here, memory: &Memory) -> Result<(), Unreadable> {
        let Some(stops) = self.stops else { return Ok(()) };
        let (input, mut at, mut tokens_left) = (self.input, self.at(), self.tokens_left);
        let mut likely = memory.likely(*here);
        while let Some(chunk) = input.get(at..).and_then(|rest| rest.first_chunk())
            && let Some((number, gap)) = memory.likely_front(likely, chunk)
            && let Some(left) = tokens_left.checked_sub(gap.tokens.wrapping_add(1))
        {
            let first = at.wrapping_add(gap.front_bytes);
            let node = gap.next.node;
            let is_passed = node == NOWHERE;
            let end = match input.get(first) {
                Some(b'"') => {
                    let start = first.wrapping_add(1);
                    let end = stops.next(start);
                    if input.get(end) != Some(&b'"') {
                        break;
                    }
                    if !is_passed {
                        let Some(site) = self.plan.mask_of(node) else { break };
                        self.replace_string(
                            Content { start, end, writing: PLAIN },
                            site,
                            Form::Text,
                        );
                    }
                    end.wrapping_add(1)
                }
                Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') if is_passed => {
                    let rest = after_literal(input.get(first..).unwrap_or_default())?;
                    input.len().wrapping_sub(rest.len())
                }
                _ => break,
            };
            at = end;
            tokens_left = left;
            *here = Here::behind(number, gap.next.state);
            likely = gap.then;
        }
        (self.rest, self.tokens_left) = (input.get(at..).unwrap_or_default(), tokens_left);
        Ok(())
    }

    /// Walks on from `here`, or from what is open where that is not known, to the next value, and remembers how: its place, and
    /// where that is.
    #[cold]
    #[inline(never)]
    fn learn(
        &mut self,
        root: u16,
        here: Option<Here>,
        memory: &mut Memory,
    ) -> Result<Option<(u16, Option<Here>)>, Unreadable> {
        if let Some(here) = here {
            memory.restore(here.state, &mut self.sheet.stack);
        }
        let (before, tokens_before) = (self.rest, self.tokens_left);
        let hits_before = self.sheet.hits.len();
        let begins = (here == Some(START)).then_some(root);
        let node = self.advance(begins, 0)?;
        let state = node.and_then(|_| memory.state(&self.sheet.stack));
        let is_scalar = self.rest.first().is_some_and(|first| begins_scalar(*first));
        // A key in which something was found is looked at each time.
        let is_plain = self.sheet.hits.len() == hits_before;
        let next = match (node, state) {
            (None, _) if is_plain => Some(Next::END),
            (Some(node), Some(state)) if is_plain && is_scalar => {
                Some(Next { is_end: false, node, state })
            }
            _ => None,
        };
        let mut there = state.map(Here::unknown);
        if let (Some(here), Some(next)) = (here, next) {
            let gap = before.get(..before.len().saturating_sub(self.rest.len()));
            let tokens = tokens_before.saturating_sub(self.tokens_left);
            there = Some(memory.learn(here, gap.unwrap_or_default(), tokens, next));
        }
        Ok(node.map(|node| (node, there)))
    }
}

/// Whether a value is a string that may hold a document: one that begins with a bracket, an escape or a space, or one that is
/// decoded first.
fn may_be_entered(value: &[u8]) -> bool {
    let second = value.get(1);
    second.is_some_and(|second| matches!(second, b'{' | b'[' | b'\\' | b' '))
}
