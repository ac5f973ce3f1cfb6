//! Kafka's wire protocol: bytes and their meaning. No socket, no clock, no policy.
//!
//! ```text
//! frame ─▶ walk::request_header ─▶ exchange(key, version) ─▶ walk::request ─▶ Found
//!                                                                              │ (decide)
//! Rope ◀─ Edits::apply ◀─ edits on the original bytes ◀─ what is refused ◀─────┘
//! ```
//!
//! Everything that arrives is read by [`walk`] and by nothing else. What is let through keeps its
//! bytes; [`edit`] cuts and replaces on them, and [`refuse`] writes what the gateway answers by
//! itself. An API key or version that is not in [`APIS`] has no [`Exchange`], and so cannot be
//! carried.

pub mod api_versions;
pub mod batch;
mod capture;
pub mod edit;
pub mod error_code;
pub mod found;
pub mod limits;
mod plan;
pub mod refuse;
pub mod sasl;
pub mod schema;
pub mod subscription;
pub mod table;
pub mod walk;
pub mod wire;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod samples;

use std::sync::LazyLock;

use sluicegate_actors::vocabulary::Action;

pub use crate::kafka::error_code::ErrorCode;
pub use crate::kafka::schema::{List, Meaning, Versions};
pub use crate::kafka::table::APIS;

use crate::kafka::plan::Plan;
use crate::kafka::schema::Field;

/// One API: what it is, which versions there are, what it needs.
#[derive(Debug)]
pub struct Api {
    /// Its key.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The versions that the tables describe.
    pub known: Versions,
    /// The versions that are offered to clients, where the broker has them too.
    pub offered: Versions,
    /// The versions that are carried. Produce is offered from 0 and carried from 3 on.
    pub carried: Versions,
    /// The first version with compact forms and tag sections; `i16::MAX` for none.
    pub flexible_from: i16,
    /// Who deals with it.
    pub handling: Handling,
    /// Whether it deletes or changes what cannot be put back: who is refused is told by which policy.
    pub is_dangerous: bool,
    /// What its request needs, in the order in which Kafka asks.
    pub needs: &'static [Need],
    /// What its response shows, and needs.
    pub shows: &'static [Need],
    /// The versions in which an answer that refuses the whole request repeats what it named.
    pub repeats: Versions,
    /// What Kafka says beside a code that refuses an element, where it says anything.
    pub texts: &'static [(ErrorCode, &'static str)],
    /// The fields of the request.
    pub request: &'static [Field],
    /// The fields of the response.
    pub response: &'static [Field],
}

/// Who deals with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Decide, filter, forward.
    Enforce,
    /// Nobody gets it through the gateway: it is refused, whatever policy says.
    Never,
    /// The gateway itself, before and after login.
    Local,
    /// The gateway itself, as part of a login.
    Login,
}

/// One right that a request or response needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// On what.
    pub subject: Subject,
    /// To do what.
    pub action: Action,
    /// In which versions.
    pub versions: Versions,
    /// Under which condition.
    pub when: When,
    /// Another right that does instead.
    pub instead: Option<(Subject, Action)>,
    /// What happens without it.
    pub refusal: Refusal,
}

/// What a right is needed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Each topic in lists of that kind.
    Topics(List),
    /// Each group that is named.
    Groups,
    /// The message's transactional id; a null one has no rights.
    TransactionalId,
    /// Each coordinator key, as the id of a group.
    GroupKeys,
    /// Each coordinator key, as a transactional id.
    TransactionalKeys,
    /// Each resource with configuration: a topic, a group, or what belongs to the cluster. The code of a refusal follows
    /// its kind.
    Configured,
    /// The cluster.
    Cluster,
    /// Whatever topic there is.
    AnyTopic,
}

/// The condition of a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// None.
    Always,
    /// A record batch in the request is transactional.
    TransactionalBatch,
    /// The request names a transactional id.
    TransactionalIdGiven,
    /// It does not.
    TransactionalIdAbsent,
    /// The key type is this; where the version has none, it is 0.
    KeyType(i64),
    /// The replica id is not negative: the asker says that it is a broker.
    Replica,
    /// The topic is absent and may be created by asking; before Metadata v4 it always may.
    AutoCreate,
}

/// What happens where a right is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The whole request is answered with this code.
    Whole(ErrorCode),
    /// The element gets this code, the others go through.
    Element(ErrorCode),
    /// The element gets the first code, the others the second, and none goes through.
    AllOrNothing(ErrorCode, ErrorCode),
    /// The element is left out of the response.
    Hide,
}

impl Refusal {
    /// The code that is answered for what the right is missing for; `None` where that is left out.
    #[must_use]
    pub fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Whole(code) | Self::Element(code) | Self::AllOrNothing(code, _) => Some(code),
            Self::Hide => None,
        }
    }
}

/// One API in one version: everything that carrying it takes.
#[derive(Debug)]
pub struct Exchange {
    /// The API.
    pub api: &'static Api,
    /// The version.
    pub version: i16,
    pub(in crate::kafka) request: Plan,
    pub(in crate::kafka) response: Plan,
}

/// The exchange of an API key and version, `None` where it must not be carried.
#[must_use]
pub fn exchange(key: i16, version: i16) -> Option<&'static Exchange> {
    let versions = EXCHANGES.get(usize::try_from(key).ok()?)?;
    versions.get(usize::try_from(version).ok()?)?.as_ref()
}

/// The API of a key, whatever the version.
#[must_use]
pub fn api_of(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

/// Builds all exchanges now rather than at the first request, which takes about a millisecond.
pub fn prepare() {
    LazyLock::force(&EXCHANGES);
}

impl Api {
    /// Whether `version` has compact forms and tag sections.
    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// What is said beside a code that refuses an element.
    #[must_use]
    pub fn text(&self, code: ErrorCode) -> Option<&'static str> {
        self.texts.iter().find(|(said, _)| *said == code).map(|(_, text)| *text)
    }

    /// The version nearest to `version` that is carried.
    #[must_use]
    pub fn nearest(&self, version: i16) -> i16 {
        version.clamp(self.carried.from, self.carried.to)
    }
}

impl Exchange {
    /// Whether requests and responses have compact forms and tag sections.
    #[must_use]
    pub const fn is_flexible(&self) -> bool {
        self.api.is_flexible(self.version)
    }

    /// Whether the response's header has a tag section. ApiVersions never has one, because its
    /// answer must be readable by a client that does not know the version (KIP-511).
    #[must_use]
    pub const fn response_header_flexible(&self) -> bool {
        self.is_flexible() && self.api.key != table::API_VERSIONS_KEY
    }
}

/// By key and version; keys are small and few.
static EXCHANGES: LazyLock<Vec<Vec<Option<Exchange>>>> = LazyLock::new(|| {
    let keys = APIS.iter().map(|api| api.key).max().unwrap_or(0);
    (0..=keys).map(|key| api_of(key).map(exchanges_of).unwrap_or_default()).collect()
});

fn exchanges_of(api: &'static Api) -> Vec<Option<Exchange>> {
    let carried = |version| api.carried.contains(version);
    (0..=api.carried.to).map(|version| carried(version).then(|| compile(api, version))).collect()
}

fn compile(api: &'static Api, version: i16) -> Exchange {
    let flexible = api.is_flexible(version);
    Exchange {
        api,
        version,
        request: Plan::compile(api.request, version, flexible),
        response: Plan::compile(api.response, version, flexible),
    }
}
