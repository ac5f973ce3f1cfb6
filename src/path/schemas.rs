//! The schemas that the records of a response, or a request, name.
//!
//! ```text
//! record ─▶ find(id) ─▶ here, or kept by the registry's client ─▶ masked
//!                 └───▶ missing: the batch is read to its end, its schemas are asked for together,
//!                       and it is read again
//! ```

use std::sync::Arc;
use std::time::Duration;

use sluicegate_actors::masking::registry::Registry;
use sluicegate_actors::masking::schema::Schema;
use sluicegate_actors::masking::schema::frame::SchemaId;

use crate::control::Control;
use crate::{clock, limits};

/// What is known of schemas while the records of one frame are read.
#[derive(Debug, Default)]
pub struct Schemas {
    registry: Option<Arc<Registry>>,
    found: Vec<(SchemaId, Arc<Schema>)>,
    missing: Vec<SchemaId>,
    failed: Vec<(SchemaId, String)>,
    /// How many have been asked for.
    asked: usize,
    /// How long that took.
    waited: Duration,
}

/// Why a schema is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// It will be asked for before the batch is read again.
    Yet,
    /// It cannot be had.
    Gone(String),
}

impl Schemas {
    /// Nothing is known yet; there is no registry where none is configured.
    #[must_use]
    pub fn new(registry: Option<Arc<Registry>>) -> Self {
        Self { registry, ..Self::default() }
    }

    /// A schema that a record names.
    ///
    /// # Errors
    /// [`Lacking`] where it is not there.
    pub fn find(&mut self, id: SchemaId) -> Result<&Schema, Lacking> {
        let known = self.found.iter().position(|(known, _)| *known == id);
        let place = match known {
            Some(place) => place,
            None => {
                let schema = self.registry.as_ref().and_then(|registry| registry.cached(id));
                let schema = schema.ok_or_else(|| self.lacks(id))?;
                self.keep(id, schema)
            }
        };
        let gone = || Lacking::Gone("it is not kept".to_owned());
        self.found.get(place).map(|(_, schema)| &**schema).ok_or_else(gone)
    }

    /// Whether a batch was read that named schemas which must be asked for.
    #[must_use]
    pub fn are_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Asks for those that are missing, and waits until each was found or failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses the answers; they are asked for again.
    pub async fn look_up(&mut self, control: &Control) {
        let Some(registry) = self.registry.clone() else { return };
        let missing = std::mem::take(&mut self.missing);
        self.asked = self.asked.saturating_add(missing.len());
        let began = clock::monotonic();
        let answers = control.schemas(registry, missing.clone()).await;
        self.waited = self.waited.saturating_add(began.elapsed());
        match answers {
            Ok(answers) => {
                for (id, answer) in answers {
                    match answer {
                        Ok(schema) => {
                            self.keep(id, schema);
                        }
                        Err(error) => self.failed.push((id, error.to_string())),
                    }
                }
            }
            Err(error) => {
                let reason = error.to_string();
                self.failed.extend(missing.into_iter().map(|id| (id, reason.clone())));
            }
        }
    }

    fn keep(&mut self, id: SchemaId, schema: Arc<Schema>) -> usize {
        if self.found.len() >= limits::SCHEMAS_PER_FRAME_MAX {
            self.found.clear();
        }
        self.found.push((id, schema));
        self.found.len().saturating_sub(1)
    }

    /// Why a schema is not here; it is asked for later, if it may be.
    fn lacks(&mut self, id: SchemaId) -> Lacking {
        let gone = |reason: &str| Lacking::Gone(reason.to_owned());
        if self.registry.is_none() {
            return gone("there is no schema registry");
        }
        if let Some((_, reason)) = self.failed.iter().find(|(failed, _)| *failed == id) {
            return gone(reason);
        }
        if self.waited >= limits::SCHEMAS_WAIT {
            return gone("the schema registry takes too long");
        }
        if !self.missing.contains(&id) {
            if self.asked.saturating_add(self.missing.len()) >= limits::SCHEMAS_PER_FRAME_MAX {
                return gone("too many other schemas have to be asked for");
            }
            self.missing.push(id);
        }
        Lacking::Yet
    }
}

#[cfg(test)]
impl Schemas {
    /// With these found.
    pub(crate) fn with(found: Vec<(SchemaId, Arc<Schema>)>) -> Self {
        Self { found, ..Self::default() }
    }
}
