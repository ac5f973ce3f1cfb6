//! What the tests of this folder share: the example policies, identities, and a fixed time.

use std::sync::Arc;

use super::bundle::{Bundle, PolicyFile};
use super::decide::{Asker, RequestContext};
use super::slice::Slice;
use crate::vocabulary::{Action, Decision, Identity, Resource, UnixMillis};

pub(crate) const EXAMPLE: &str = include_str!("../../../config/policies/example.cedar");
/// 2026-11-21T12:00:00Z.
pub(crate) const NOON: UnixMillis = UnixMillis(1_795_262_400_000);

pub(crate) fn bundle(text: &str) -> Bundle {
    let file = PolicyFile { name: "p.cedar".to_owned(), text: text.to_owned() };
    let approvers = ["data-owners", "security"].map(str::to_owned);
    match Bundle::load(&[file], &approvers, 1) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn identity(subject: &str, groups: &[&str]) -> Identity {
    Identity {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        expires_at: UnixMillis(i64::MAX),
    }
}

pub(crate) fn context() -> RequestContext {
    RequestContext {
        address: "::ffff:10.1.2.3".parse().unwrap(),
        client_id: "app-1".to_owned(),
        listener: "kafka".to_owned(),
        login: "plain".to_owned(),
        cluster: "main".to_owned(),
    }
}

/// A slice and who asks it.
pub(crate) struct Session {
    pub(crate) slice: Arc<Slice>,
    pub(crate) asker: Asker,
}

impl Session {
    pub(crate) fn new(bundle: &Bundle, groups: &[&str]) -> Self {
        Self::of(bundle, &identity("ann", groups))
    }

    pub(crate) fn of(bundle: &Bundle, identity: &Identity) -> Self {
        let slice = Arc::new(Slice::new(bundle, &identity.principal(), &identity.groups));
        let asker = Asker::new(&slice, identity, context(), NOON).unwrap();
        Self { slice, asker }
    }

    pub(crate) fn decide(&self, action: Action, resource: Resource<'_>) -> Decision {
        self.slice.decide(&self.asker, action, resource, NOON)
    }
}
