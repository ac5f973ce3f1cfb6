//! One request to the registry, and what its answer holds.

use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Credentials, Registry, RegistryError};
use crate::auth::source::root_cause;
use crate::auth::token::quotable;
use crate::masking::schema::TEXT_BYTES_MAX;

/// A schema in JSON has escapes; more than one byte for each of its own is no text that is written
/// by people.
pub(super) const ANSWER_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;

/// A schema.
#[derive(Debug, Deserialize)]
pub(super) struct SchemaAnswer {
    pub(super) schema: String,
    /// Left out for Avro.
    #[serde(rename = "schemaType")]
    pub(super) schema_type: Option<String>,
    pub(super) references: Option<Vec<ReferenceAnswer>>,
}

/// A schema that another refers to.
#[derive(Debug, Deserialize)]
pub(super) struct ReferenceAnswer {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i64,
}

impl Registry {
    /// Asks for what is at a path; `what` names it in errors.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &str,
        what: String,
    ) -> Result<A, RegistryError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // Whatever is in a segment, it stays one: a slash is escaped.
            path.pop_if_empty().extend(segments);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let request = self.client.get(url).header(ACCEPT, ACCEPTED);
        let request = match &self.credentials {
            Credentials::None => request,
            Credentials::Basic { user, password } => {
                request.basic_auth(user, Some(password.expose_secret()))
            }
            Credentials::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        let failed = |error: reqwest::Error| RegistryError::Unreachable {
            reason: quotable(&root_cause(&error.without_url())),
        };
        let mut response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(RegistryError::NotFound { what }),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(RegistryError::Credentials { status: status.as_u16() });
            }
            status => {
                return Err(RegistryError::Status { what, status: status.as_u16() });
            }
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                let limit_bytes = ANSWER_BYTES_MAX;
                return Err(RegistryError::TooLarge { what, limit_bytes });
            }
            document.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&document)
            .map_err(|error| RegistryError::Answer { what, reason: quotable(&error.to_string()) })
    }
}

const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";
