//! ApiVersions, which the gateway answers by itself, before login and after.
//!
//! What is offered is what both the broker and our table have, with the broker's own feature tags:
//! clients decide by them whether transactions v2 and the consumer groups of KIP-848 may be used.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::Bytes;

use crate::kafka::error_code::ErrorCode;
use crate::kafka::refuse::response_frame;
use crate::kafka::schema::Versions;
use crate::kafka::table::{API_VERSIONS_KEY, APIS};
use crate::kafka::wire::{Form, put_count, put_string, put_uvarint};
use crate::kafka::{Handling, exchange};

/// What a broker says of itself, or the gateway of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The versions of each API, by key.
    pub apis: Vec<ApiRange>,
    /// Features that the broker could use.
    pub supported_features: Vec<SupportedFeature>,
    /// The epoch of the finalized features, -1 where unknown.
    pub finalized_features_epoch: i64,
    /// Features that the cluster uses.
    pub finalized_features: Vec<FinalizedFeature>,
}

/// One API's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRange {
    /// The API key.
    pub key: i16,
    /// Its versions.
    pub versions: Versions,
}

/// A feature that a broker could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Its name.
    pub name: String,
    /// Its lowest level.
    pub min: i16,
    /// Its highest level.
    pub max: i16,
}

/// A feature that a cluster uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizedFeature {
    /// Its name.
    pub name: String,
    /// The highest level.
    pub max_level: i16,
    /// The lowest level.
    pub min_level: i16,
}

impl Offer {
    /// What clients are offered where a broker offers this: what both have, and what the gateway
    /// answers by itself.
    #[must_use]
    pub fn through_gateway(&self) -> Self {
        let apis = APIS.iter().filter_map(|api| {
            let versions = match api.handling {
                Handling::Local | Handling::Login => api.offered,
                Handling::Enforce | Handling::Never => {
                    let broker = self.apis.iter().find(|range| range.key == api.key)?;
                    api.offered.intersect(broker.versions)
                }
            };
            // Where only versions remain that are offered for show, the API is not there.
            let carried = !versions.intersect(api.carried).is_empty();
            carried.then_some(ApiRange { key: api.key, versions })
        });
        Self { apis: apis.collect(), ..self.clone() }
    }

    /// Whether clients are offered this version of this API; for what [`Offer::through_gateway`] made.
    #[must_use]
    pub fn has(&self, key: i16, version: i16) -> bool {
        // In the order of the table, which is that of the keys.
        let place = self.apis.binary_search_by_key(&key, |api| api.key).ok();
        place
            .and_then(|place| self.apis.get(place))
            .is_some_and(|api| api.versions.contains(version))
    }

    /// The response to `version` of ApiVersions. A version that the table does not have is answered
    /// in version 0, with error 35 and the list, from which the client learns which to use
    /// (KIP-511).
    #[must_use]
    pub fn response(&self, version: i16, correlation_id: i32) -> Bytes {
        let (code, exchange) = match exchange(API_VERSIONS_KEY, version) {
            Some(exchange) => (ErrorCode::NONE, exchange),
            None => match exchange(API_VERSIONS_KEY, 0) {
                Some(exchange) => (ErrorCode::UNSUPPORTED_VERSION, exchange),
                None => return Bytes::new(),
            },
        };
        let flexible = exchange.is_flexible();
        let form = if flexible { Form::Compact } else { Form::Classic };
        response_frame(exchange, correlation_id, |out| {
            out.extend_from_slice(&code.0.to_be_bytes());
            put_count(out, form, Some(self.apis.len()));
            for api in &self.apis {
                put_int16s(out, &[api.key, api.versions.from, api.versions.to]);
                if flexible {
                    put_uvarint(out, 0);
                }
            }
            if exchange.version >= 1 {
                out.extend_from_slice(&0_i32.to_be_bytes());
            }
            if flexible {
                self.tags(out, exchange.version);
            }
        })
    }

    /// The feature tags; those that say nothing are left out, as Kafka does.
    fn tags(&self, out: &mut Vec<u8>, version: i16) {
        // A level of 0 breaks clients that ask with version 3 (KAFKA-17492).
        let shown = |feature: &&SupportedFeature| version >= 4 || feature.min != 0;
        let supported: Vec<&SupportedFeature> =
            self.supported_features.iter().filter(shown).collect();
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        if !supported.is_empty() {
            let mut body = Vec::new();
            put_count(&mut body, Form::Compact, Some(supported.len()));
            for feature in supported {
                put_string(&mut body, Form::Compact, Some(&feature.name));
                put_int16s(&mut body, &[feature.min, feature.max]);
                put_uvarint(&mut body, 0);
            }
            tags.push((0, body));
        }
        if self.finalized_features_epoch != -1 {
            tags.push((1, self.finalized_features_epoch.to_be_bytes().to_vec()));
        }
        if !self.finalized_features.is_empty() {
            let mut body = Vec::new();
            put_count(&mut body, Form::Compact, Some(self.finalized_features.len()));
            for feature in &self.finalized_features {
                put_string(&mut body, Form::Compact, Some(&feature.name));
                put_int16s(&mut body, &[feature.max_level, feature.min_level]);
                put_uvarint(&mut body, 0);
            }
            tags.push((2, body));
        }
        put_uvarint(out, u32::try_from(tags.len()).unwrap_or(0));
        for (tag, body) in tags {
            put_uvarint(out, tag);
            put_uvarint(out, u32::try_from(body.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(&body);
        }
    }
}

#[cfg(test)]
impl Offer {
    /// What clients are offered where the brokers have all that the table has.
    pub(crate) fn whole_table() -> Self {
        let apis = APIS.iter().map(|api| ApiRange { key: api.key, versions: api.offered });
        Self {
            apis: apis.collect(),
            supported_features: Vec::new(),
            finalized_features_epoch: -1,
            finalized_features: Vec::new(),
        }
    }
}

fn put_int16s(out: &mut Vec<u8>, values: &[i16]) {
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
