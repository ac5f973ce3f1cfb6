//! Schemas of a Confluent-compatible registry: fetched once, compiled, and kept.
//!
//! ```text
//! path (any thread)   ─▶ cached(id) ─▶ schema, or nothing: no lock, no wait
//! control plane       ─▶ fetch(id)  ─▶ one flight per id ─▶ GET /schemas/ids/7
//!                                                           GET /subjects/s/versions/1  (references)
//!                                      compile ─▶ kept; a failure is kept for some seconds
//! ```
//!
//! What an id stands for never changes, so a schema is asked for once. Where the registry does not
//! answer, records of schemas that are not there yet are withheld; nothing waits longer than the
//! time limit.

mod answers;
mod cache;
mod flights;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::schema::frame::SchemaId;
use super::schema::{Format, Reference, Schema, SchemaError, SchemaText, TEXT_BYTES_MAX};
use crate::auth::source::{self, PlainHttp, SourceError};
use crate::auth::token::quotable;
use answers::{ReferenceAnswer, SchemaAnswer};
pub use cache::FAILURE_TIME;
use cache::{Cache, Failures};
use flights::Flights;

/// The time limit for one schema with all that it refers to, unless the configuration has another.
/// A guess.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many schemas one may refer to, with what those refer to. A guess.
pub const REFERENCES_MAX: usize = 100;
/// How deep schemas may refer to schemas. A guess.
pub const REFERENCE_DEPTH_MAX: usize = 16;

/// Where a registry is, and how it is asked.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Its address; a path is kept.
    pub url: String,
    /// Who asks.
    pub credentials: Credentials,
    /// A PEM file with the certificate authorities to trust instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Whether it may be asked without encryption.
    pub plain_http: PlainHttp,
    /// The time limit for one schema with all that it refers to.
    pub timeout: Duration,
}

/// What the registry is shown.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user and a password (RFC 7617).
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A token (RFC 6750).
    Bearer(SecretString),
}

/// Why there is no schema. Shared by all who waited for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Blame: whoever wrote the record, or whoever deleted the schema.
    #[error("the registry has no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Blame: the operator.
    #[error("the registry refuses the credentials of the configuration: it answered {status}")]
    Credentials {
        /// What it answered.
        status: u16,
    },
    /// Blame: the registry.
    #[error("the registry answered {status} when asked for {what}; redirects are not followed")]
    Status {
        /// What was asked for.
        what: String,
        /// What it answered.
        status: u16,
    },
    /// Blame: the registry, or what lies between.
    #[error("no answer from the registry: {reason}")]
    Unreachable {
        /// Why not.
        reason: String,
    },
    /// Blame: the registry.
    #[error("the registry took longer than {limit_ms} ms")]
    TimedOut {
        /// The time limit.
        limit_ms: u128,
    },
    /// Blame: whoever registered the schema.
    #[error("the answer for {what} is longer than {limit_bytes} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The bound.
        limit_bytes: usize,
    },
    /// Blame: the registry.
    #[error("the answer for {what} is no schema: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Blame: whoever registered the schema.
    #[error("the schema's type `{name}` is none of AVRO, JSON and PROTOBUF")]
    UnknownFormat {
        /// The type.
        name: String,
    },
    /// Blame: whoever registered the schema.
    #[error("the schema refers to more than {REFERENCES_MAX} others")]
    TooManyReferences,
    /// Blame: whoever registered the schema.
    #[error("the schema refers to others more than {REFERENCE_DEPTH_MAX} deep")]
    ReferencesTooDeep,
    /// Blame: whoever registered the schema.
    #[error("the schema refers to two different ones by the name `{name}`")]
    AmbiguousReference {
        /// The name.
        name: String,
    },
    /// Blame: whoever registered the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Blame: the gateway.
    #[error("the schema could not be compiled: {reason}")]
    Compiler {
        /// What happened.
        reason: String,
    },
    /// Blame: whoever writes records of ever new schemas.
    #[error("{limit} other schemas are being fetched")]
    Busy {
        /// The bound.
        limit: usize,
    },
}

/// What came of a schema that was asked for.
pub type Fetched = (SchemaId, Result<Arc<Schema>, RegistryError>);

/// A client of one registry, with the schemas that it has fetched. Shared by all threads.
pub struct Registry {
    base: Url,
    client: Client,
    credentials: Credentials,
    timeout: Duration,
    cache: Cache,
    failures: Failures,
    flights: Flights,
}

impl Registry {
    /// A client of the registry that a configuration names; asks nothing yet.
    ///
    /// # Errors
    /// A URL of another scheme than http and https, with a user or password, or plain HTTP where it
    /// is not allowed; authorities that cannot be read.
    pub fn new(config: RegistryConfig) -> Result<Self, SourceError> {
        let RegistryConfig { url, credentials, authorities, plain_http, timeout } = config;
        let base = source::url(&url, plain_http)?;
        let client = source::client(&base, authorities.as_deref(), timeout)?;
        Ok(Self {
            base,
            client,
            credentials,
            timeout,
            cache: Cache::default(),
            failures: Failures::default(),
            flights: Flights::default(),
        })
    }

    /// The schema, if it was fetched. For the data path: takes no lock and waits for nothing.
    #[must_use]
    pub fn cached(&self, id: SchemaId) -> Option<Arc<Schema>> {
        self.cache.schema(id)
    }

    /// The schema, from the registry if need be. All who ask for one at the same time wait for the
    /// same request.
    ///
    /// # Errors
    /// The registry does not know it, does not answer, or has what cannot be used. Whoever asks
    /// within [`FAILURE_TIME`] is told the same without another request.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request, unless another waits for it, who then begins it again.
    pub async fn fetch(&self, id: SchemaId) -> Result<Arc<Schema>, RegistryError> {
        if let Some(schema) = self.cached(id) {
            return Ok(schema);
        }
        if let Some(error) = self.failures.recent(id) {
            return Err(error);
        }
        let seat = self.flights.join(id)?;
        seat.flight().get_or_init(|| self.load(id)).await.clone()
    }

    /// As [`Self::fetch`], for several at once.
    ///
    /// # Panics
    /// If a look-up does.
    pub async fn fetch_all(self: Arc<Self>, ids: Vec<SchemaId>) -> Vec<Fetched> {
        let mut flights = JoinSet::new();
        for id in ids {
            let registry = Arc::clone(&self);
            flights.spawn(async move { (id, registry.fetch(id).await) });
        }
        flights.join_all().await
    }

    async fn load(&self, id: SchemaId) -> Result<Arc<Schema>, RegistryError> {
        // Somebody else's flight may have landed between the look into the cache and this.
        if let Some(schema) = self.cached(id) {
            return Ok(schema);
        }
        let limit_ms = self.timeout.as_millis();
        let outcome = match timeout(self.timeout, self.read(id)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RegistryError::TimedOut { limit_ms }),
        };
        match &outcome {
            Ok(schema) => self.cache.keep(id, Arc::clone(schema)),
            Err(error) => {
                tracing::warn!(%id, %error, "a schema cannot be had; its records are withheld");
                self.failures.keep(id, error.clone());
            }
        }
        outcome
    }

    async fn read(&self, id: SchemaId) -> Result<Arc<Schema>, RegistryError> {
        let text = self.gather(id).await?;
        // Large schemas take milliseconds. A defect of a parser ends the look-up and nothing else.
        let compiled = tokio::task::spawn_blocking(move || Schema::compile(&text)).await;
        match compiled {
            Ok(schema) => Ok(Arc::new(schema?)),
            Err(error) => Err(RegistryError::Compiler { reason: quotable(&error.to_string()) }),
        }
    }

    /// Asks for a schema and all that it refers to.
    async fn gather(&self, id: SchemaId) -> Result<SchemaText, RegistryError> {
        let kind = match id {
            SchemaId::Number(_) => "ids",
            SchemaId::Guid(_) => "guids",
        };
        let segments = ["schemas", kind, &*id.to_string()];
        let SchemaAnswer { schema, schema_type, references } =
            self.ask(&segments, "", format!("schema {id}")).await?;
        let format = match schema_type.as_deref() {
            None | Some("AVRO") => Format::Avro,
            Some("JSON") => Format::Json,
            Some("PROTOBUF") => Format::Protobuf,
            Some(name) => return Err(RegistryError::UnknownFormat { name: quotable(name) }),
        };
        let references = references.unwrap_or_default();
        let references = self.gather_references(format, schema.len(), references).await?;
        Ok(SchemaText { format, text: schema, references })
    }

    /// Asks for what a schema refers to, one by one, each behind what it refers to itself.
    async fn gather_references(
        &self,
        format: Format,
        bytes: usize,
        references: Vec<ReferenceAnswer>,
    ) -> Result<Vec<Reference>, RegistryError> {
        let mut gathered = Vec::new();
        let mut known: HashMap<String, (String, i64)> = HashMap::new();
        let mut bytes = bytes;
        // What is open: the references that are left of each, and what it is itself.
        let mut open: Vec<(std::vec::IntoIter<ReferenceAnswer>, Option<Reference>)> =
            vec![(references.into_iter(), None)];
        while let Some((left, _)) = open.last_mut() {
            let Some(ReferenceAnswer { name, subject, version }) = left.next() else {
                gathered.extend(open.pop().and_then(|(_, own)| own));
                continue;
            };
            // A name is what is referred to; but in Avro a text is read once, by whatever name.
            let key = match format {
                Format::Json | Format::Protobuf => name.clone(),
                Format::Avro => format!("{version} {subject}"),
            };
            match known.get(&key) {
                Some(same) if *same == (subject.clone(), version) => continue,
                Some(_) => return Err(RegistryError::AmbiguousReference { name: quotable(&name) }),
                None => {}
            }
            known.insert(key, (subject.clone(), version));
            if known.len() > REFERENCES_MAX {
                return Err(RegistryError::TooManyReferences);
            }
            if open.len() > REFERENCE_DEPTH_MAX {
                return Err(RegistryError::ReferencesTooDeep);
            }
            let what = format!("version {version} of subject `{}`", quotable(&subject));
            let segments = ["subjects", &*subject, "versions", &*version.to_string()];
            // A schema lives on where others refer to it, though its subject was deleted.
            let answer = self.ask::<SchemaAnswer>(&segments, "deleted=true", what).await?;
            bytes = bytes.saturating_add(answer.schema.len());
            if bytes > TEXT_BYTES_MAX {
                return Err(SchemaError::TooLarge { bytes }.into());
            }
            let own = Reference { name, text: answer.schema };
            open.push((answer.references.unwrap_or_default().into_iter(), Some(own)));
        }
        Ok(gathered)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Registry")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}
