//! Schemas that were fetched, and failures of the last seconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::RegistryError;
use crate::masking::schema::Schema;
use crate::masking::schema::frame::SchemaId;

/// How many schemas are kept. A guess: a topic has a few at a time.
const SCHEMAS_MAX: usize = 1_000;
/// How much memory all that are kept may take.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// For how long a failure is told again without another request. Short, because a record may come
/// before its schema can be read, and long enough that a topic full of them is one request.
pub const FAILURE_TIME: Duration = Duration::from_secs(5);
/// How many failures are kept.
const FAILURES_MAX: usize = 1_000;

/// Compiled schemas. Readers see a map that never changes; a new schema is a new map.
#[derive(Debug, Default)]
pub(super) struct Cache {
    schemas: ArcSwap<Schemas>,
    /// One writer at a time.
    writing: Mutex<()>,
    /// How many schemas have been kept so far: the time by which use is told, so that readers write
    /// nothing as long as no schema is new.
    kept: AtomicU64,
}

type Schemas = HashMap<SchemaId, Arc<Kept>>;

#[derive(Debug)]
struct Kept {
    schema: Arc<Schema>,
    used_at: AtomicU64,
}

impl Cache {
    pub(super) fn schema(&self, id: SchemaId) -> Option<Arc<Schema>> {
        let schemas = self.schemas.load();
        let kept = schemas.get(&id)?;
        let now = self.kept.load(Ordering::Relaxed);
        if kept.used_at.load(Ordering::Relaxed) != now {
            kept.used_at.store(now, Ordering::Relaxed);
        }
        Some(Arc::clone(&kept.schema))
    }

    /// Keeps a schema, in the place of those that have not been used for longest.
    pub(super) fn keep(&self, id: SchemaId, schema: Arc<Schema>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.kept.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut schemas = Schemas::clone(&self.schemas.load());
        schemas.remove(&id);
        let mut bytes = schema.size_bytes();
        bytes =
            schemas.values().fold(bytes, |sum, kept| sum.saturating_add(kept.schema.size_bytes()));
        while schemas.len() >= SCHEMAS_MAX || bytes > CACHE_BYTES_MAX {
            let oldest =
                schemas.iter().min_by_key(|(_, kept)| kept.used_at.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            let removed = schemas.remove(&oldest);
            bytes = bytes.saturating_sub(removed.map_or(0, |kept| kept.schema.size_bytes()));
        }
        schemas.insert(id, Arc::new(Kept { schema, used_at: AtomicU64::new(now) }));
        self.schemas.store(Arc::new(schemas));
    }
}

/// Why schemas could not be had.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<SchemaId, (Instant, RegistryError)>>);

impl Failures {
    /// The failure of the last seconds.
    pub(super) fn recent(&self, id: SchemaId) -> Option<RegistryError> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failures.get(&id)?;
        (at.elapsed() < FAILURE_TIME).then(|| error.clone())
    }

    pub(super) fn keep(&self, id: SchemaId, error: RegistryError) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= FAILURES_MAX {
            failures.retain(|_, (at, _)| at.elapsed() < FAILURE_TIME);
        }
        if failures.len() >= FAILURES_MAX
            && let Some(oldest) = failures.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id)
        {
            failures.remove(&oldest);
        }
        failures.insert(id, (Instant::now(), error));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::masking::schema::{Format, SchemaText};

    fn schema(bytes: usize) -> Arc<Schema> {
        let name = "x".repeat(bytes);
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"{name}","type":"int"}}]}}"#
        );
        let text = SchemaText { format: Format::Avro, text, references: Vec::new() };
        Arc::new(Schema::compile(&text).unwrap())
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let cache = Cache::default();
        let small = schema(1);
        let id = |index: usize| SchemaId::Number(u32::try_from(index).unwrap());
        for index in 0..SCHEMAS_MAX {
            cache.keep(id(index), Arc::clone(&small));
        }
        assert!(cache.schema(id(0)).is_some());
        cache.keep(id(SCHEMAS_MAX), Arc::clone(&small));
        assert!(cache.schema(id(0)).is_some(), "used");
        assert!(cache.schema(id(1)).is_none(), "not used since it was kept");
        assert!(cache.schema(id(SCHEMAS_MAX)).is_some());
        let large = schema(1_000_000);
        for index in 0..100 {
            cache.keep(SchemaId::Guid([index; 16]), Arc::clone(&large));
        }
        let left = (0..100).filter(|index| cache.schema(SchemaId::Guid([*index; 16])).is_some());
        let left: Vec<u8> = left.collect();
        assert!((60..=67).contains(&left.len()), "{left:?}");
        assert_eq!(left.last(), Some(&99));
        assert!(cache.schema(id(0)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_told_for_some_seconds() {
        let failures = Failures::default();
        let id = SchemaId::Number(7);
        assert_eq!(failures.recent(id), None);
        failures.keep(id, RegistryError::TooManyReferences);
        assert_eq!(failures.recent(id), Some(RegistryError::TooManyReferences));
        tokio::time::advance(FAILURE_TIME).await;
        assert_eq!(failures.recent(id), None);
        for number in 0..5_000 {
            failures.keep(SchemaId::Number(number), RegistryError::TooManyReferences);
        }
        assert_eq!(failures.0.lock().unwrap().len(), FAILURES_MAX);
        assert!(failures.recent(SchemaId::Number(4_999)).is_some());
    }
}
