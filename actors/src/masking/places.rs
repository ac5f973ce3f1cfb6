//! Paths of fields, and where in documents they lead: one deterministic automaton for all paths of a plan.
//!
//! ```text
//! paths  card.number  **.ssn
//!
//!         ┌─ card ─▶ 1 ─ number ─▶ 2 ●
//!   0 ────┼─ ssn ──▶ 3 ●                    in 1, 2, 3 and 4, too, `ssn` leads to 3
//!         └─ other ▶ 4
//! ```
//!
//! A state is a set of positions in paths. What can follow depends on the positions that are no ends, so states that differ
//! in their ends alone share one table of steps: a thousand paths `**.key` are one table, not a thousand.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::encoded::Encoding;

/// The place from which nothing can be reached.
pub(super) const NOWHERE: u16 = u16::MAX;
/// How many places the paths of all rules may need, and how many keys their tables may have. Guess, unmeasured; keys of 10,000
/// plain paths stay below.
const PLACES_MAX: usize = 30_000;
const TABLE_KEYS_MAX: usize = 200_000;
/// A table with more keys than this is searched by halves.
const LINEAR_MAX: usize = 8;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Into the member with this key, after escapes.
    Key(Box<[u8]>),
    /// Into any member: `*`.
    Any,
    /// Into members of members, at any depth or none: `**`.
    Deep,
}

/// A path, and what is at its end.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// What is at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A value that is masked, by an index of the plan's sites.
    Masked(u16),
    /// A value that passes a list of what may pass, by the list's index in the plan.
    Passes(usize),
    /// A string that holds a document in another encoding.
    Encoded(Encoding),
}

/// All places of a plan; the root is 0, unless nothing leads anywhere.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    tables: Vec<Table>,
}

/// A place in documents.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// What masks a value here.
    mask: Option<u16>,
    /// What masks some value below.
    below: Option<u16>,
    /// What removes a value here that is no container, or any value.
    removes: Option<Removes>,
    /// How a string here is encoded.
    encoding: Option<Encoding>,
    table: u16,
}

/// What a list of what may pass removes at a place, with the site that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removes {
    /// Any value: nothing below may pass.
    All(u16),
    /// What is no container: something below may pass.
    Scalars(u16),
}

/// Where the keys of a container lead.
#[derive(Debug, Default)]
struct Table {
    /// Sorted by key.
    keys: Vec<(Box<[u8]>, u16)>,
    other: u16,
}

/// There are more places than a plan may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// A position in a route: how many of its steps are behind.
type Position = (usize, usize);

struct Builder<'r> {
    routes: &'r [Route],
    lists: &'r [u16],
    built: Places,
    /// Each place by its positions, each table by those from which something follows.
    place_of: HashMap<Vec<Position>, u16>,
    table_of: HashMap<Vec<Position>, u16>,
    /// The positions of tables that are not filled yet, in the order of the tables.
    waiting: VecDeque<Vec<Position>>,
    keys_count: usize,
}

impl Places {
    /// The places of `routes`, of which an earlier one masks before a later one; `lists` are the sites of the lists of what
    /// may pass.
    ///
    /// # Errors
    /// [`TooMany`], which can only come of many `*` behind `**`.
    pub(super) fn new(routes: &[Route], lists: &[u16]) -> Result<Self, TooMany> {
        let mut builder = Builder {
            routes,
            lists,
            built: Self::default(),
            place_of: HashMap::new(),
            table_of: HashMap::new(),
            waiting: VecDeque::new(),
            keys_count: 0,
        };
        builder.place((0..routes.len()).map(|route| (route, 0)).collect())?;
        let mut filled = 0_usize;
        while let Some(lives) = builder.waiting.pop_front() {
            let table = builder.table(&lives)?;
            if let Some(place) = builder.built.tables.get_mut(filled) {
                *place = table;
            }
            filled = filled.saturating_add(1);
        }
        Ok(builder.built)
    }

    /// The root of documents, or [`NOWHERE`].
    pub(super) fn root(&self) -> u16 {
        if self.places.is_empty() { NOWHERE } else { 0 }
    }

    /// Where `key` leads from `parent`, or [`NOWHERE`].
    pub(super) fn child(&self, parent: u16, key: &[u8]) -> u16 {
        let Some(place) = self.place_at(parent) else { return NOWHERE };
        let Some(table) = self.tables.get(usize::from(place.table)) else { return NOWHERE };
        let found = if table.keys.len() <= LINEAR_MAX {
            table.keys.iter().find(|(name, _)| **name == *key)
        } else {
            let at = table.keys.binary_search_by(|(name, _)| (**name).cmp(key));
            at.ok().and_then(|at| table.keys.get(at))
        };
        found.map_or(table.other, |(_, child)| *child)
    }

    /// The site that masks a value at `place`.
    pub(super) fn mask_of(&self, place: u16) -> Option<u16> {
        self.place_at(place)?.mask
    }

    /// The site that masks or removes some value below `place`.
    pub(super) fn mask_below(&self, place: u16) -> Option<u16> {
        self.place_at(place)?.below
    }

    /// How a string at `place` is encoded.
    pub(super) fn encoding(&self, place: u16) -> Option<Encoding> {
        self.place_at(place)?.encoding
    }

    /// What a list of what may pass removes at `place`.
    pub(super) fn removes(&self, place: u16) -> Option<Removes> {
        self.place_at(place)?.removes
    }

    fn place_at(&self, place: u16) -> Option<&Place> {
        self.places.get(usize::from(place))
    }
}

impl Builder<'_> {
    /// The place of some positions, made if it is new.
    fn place(&mut self, positions: Vec<Position>) -> Result<u16, TooMany> {
        let positions = self.with_empty_steps(positions);
        if positions.is_empty() && self.lists.is_empty() {
            return Ok(NOWHERE);
        }
        if let Some(known) = self.place_of.get(&positions) {
            return Ok(*known);
        }
        let removes = self.removes(&positions);
        let masks = positions.iter().filter_map(|position| match self.route(*position)?.end {
            End::Masked(site) => Some((site, self.is_end(*position))),
            End::Passes(_) | End::Encoded(_) => None,
        });
        let mut ends = positions.iter().filter(|position| self.is_end(**position));
        let encoding = ends.find_map(|position| match self.route(*position)?.end {
            End::Encoded(encoding) => Some(encoding),
            End::Masked(_) | End::Passes(_) => None,
        });
        let mask = masks.clone().find(|(_, is_end)| *is_end).map(|(site, _)| site);
        let below = masks.clone().find(|(_, is_end)| !is_end).map(|(site, _)| site);
        let below = below.or(match removes {
            Some(Removes::Scalars(site)) => Some(site),
            _ => None,
        });
        let follows = |position: &Position| {
            let passes = self.route(*position).map(|route| route.end);
            !self.is_end(*position) || matches!(passes, Some(End::Passes(_)))
        };
        // Nothing below a removed value is looked at.
        let lives = match removes {
            Some(Removes::All(_)) => Vec::new(),
            _ => positions.iter().copied().filter(follows).collect(),
        };
        let table = self.table_number(lives)?;
        let number = number_of(self.built.places.len(), PLACES_MAX)?;
        self.built.places.push(Place { mask, below, removes, encoding, table });
        self.place_of.insert(positions, number);
        Ok(number)
    }

    fn table_number(&mut self, lives: Vec<Position>) -> Result<u16, TooMany> {
        if let Some(known) = self.table_of.get(&lives) {
            return Ok(*known);
        }
        let number = number_of(self.built.tables.len(), PLACES_MAX)?;
        self.built.tables.push(Table::default());
        self.waiting.push_back(lives.clone());
        self.table_of.insert(lives, number);
        Ok(number)
    }

    /// Where each key leads from some positions.
    fn table(&mut self, lives: &[Position]) -> Result<Table, TooMany> {
        let mut by_key: BTreeMap<Box<[u8]>, Vec<Position>> = BTreeMap::new();
        let mut by_any = Vec::new();
        for &(route, step) in lives {
            let next = (route, step.saturating_add(1));
            match self.route((route, step)).and_then(|route| route.steps.get(step)) {
                Some(Step::Key(key)) => by_key.entry(key.clone()).or_default().push(next),
                Some(Step::Any) => by_any.push(next),
                // At its end a path that lets pass lets everything below pass.
                Some(Step::Deep) | None => by_any.push((route, step)),
            }
        }
        self.keys_count = self.keys_count.saturating_add(by_key.len());
        if self.keys_count > TABLE_KEYS_MAX {
            return Err(TooMany);
        }
        let other = self.place(by_any.clone())?;
        let mut keys = Vec::with_capacity(by_key.len());
        for (key, mut positions) in by_key {
            positions.extend(&by_any);
            keys.push((key, self.place(positions)?));
        }
        Ok(Table { keys, other })
    }

    /// The positions, sorted, and those that are reached from them by no key.
    fn with_empty_steps(&self, mut positions: Vec<Position>) -> Vec<Position> {
        let mut at = 0;
        while let Some(&(route, step)) = positions.get(at) {
            if let Some(Step::Deep) = self.route((route, step)).and_then(|it| it.steps.get(step)) {
                positions.push((route, step.saturating_add(1)));
            }
            at = at.saturating_add(1);
        }
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// What the lists remove where `positions` are reached; the strictest of them.
    fn removes(&self, positions: &[Position]) -> Option<Removes> {
        let mut scalars = None;
        for (list, site) in self.lists.iter().enumerate() {
            let mut own = positions.iter().filter(|position| {
                self.route(**position).is_some_and(|route| route.end == End::Passes(list))
            });
            match own.clone().any(|position| self.is_end(*position)) {
                true => {}
                false if own.next().is_none() => return Some(Removes::All(*site)),
                false => {
                    scalars.get_or_insert(Removes::Scalars(*site));
                }
            }
        }
        scalars
    }

    fn route(&self, (route, _): Position) -> Option<&Route> {
        self.routes.get(route)
    }

    fn is_end(&self, position: Position) -> bool {
        self.route(position).is_some_and(|route| route.steps.len() == position.1)
    }
}

fn number_of(count: usize, most: usize) -> Result<u16, TooMany> {
    u16::try_from(count).ok().filter(|_| count < most).ok_or(TooMany)
}
