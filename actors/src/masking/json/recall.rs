//! A walk that remembers: from value to value as documents before read, and by itself where this one does not.

use super::super::places::NOWHERE;
use super::lex::after_scalar;
use super::memory::{Gap, Here, Memory, Next, START, begins_scalar};
use super::{Unreadable, Walk};

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
        let (mut rest, mut tokens_left) = (self.rest, self.tokens_left);
        while let Some((gap, there, after)) = memory.recall(here, rest) {
            let Gap { tokens, next: Next { is_end, node, .. }, .. } = *gap;
            tokens_left = tokens_left.checked_sub(tokens).ok_or(Unreadable)?;
            if is_end {
                self.tokens_left = tokens_left;
                return Ok(None);
            }
            here = there;
            if node == NOWHERE && self.is_blind {
                rest = after_scalar(after)?;
                continue;
            }
            (self.rest, self.tokens_left) = (after, tokens_left);
            if may_be_entered(after) {
                // A document in a string stands in what is open here.
                memory.restore(here.state, &mut self.sheet.stack);
            }
            self.value(node, 0)?;
            (rest, tokens_left) = (self.rest, self.tokens_left);
        }
        (self.rest, self.tokens_left) = (rest, tokens_left);
        Ok(Some(here))
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
            // With its value's, which is all that there is to it where nothing is looked for.
            let is_passed = !next.is_end && next.node == NOWHERE && self.is_blind;
            let tokens = tokens_before.saturating_sub(self.tokens_left);
            let tokens = tokens.saturating_add(u32::from(is_passed));
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
