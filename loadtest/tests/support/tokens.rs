//! Who logs in, and with what tokens, good and bad.

use std::time::Duration;

use serde_json::Value;
use sluicegate_loadtest::config::{AUDIENCE, ISSUER_URL};
use sluicegate_loadtest::token;

/// Somebody who logs in.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub name: &'static str,
    pub groups: &'static [&'static str],
}

/// May do everything: a super user of the broker, and of the gateway's default policy.
pub const ALICE: Person = Person { name: "alice", groups: &["everything"] };
/// Has the rights that a test gives.
pub const BOB: Person = Person { name: "bob", groups: &["restricted"] };
/// As [`BOB`], in another group.
pub const CAROL: Person = Person { name: "carol", groups: &["contractors"] };

/// Longer than any test.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Signs tokens.
pub struct Issuer(pub token::Issuer);

impl Issuer {
    /// The issuer that a gateway under test trusts, or with another key one that only claims to be it.
    pub fn new() -> Self {
        Self(token::Issuer::new(ISSUER_URL).unwrap())
    }

    /// A token of `person` that is good for an hour.
    pub fn token(&self, person: &Person) -> String {
        self.sign(&self.claims(person, HOUR))
    }

    /// The claims of a good token, to be spoilt.
    pub fn claims(&self, person: &Person, life: Duration) -> Value {
        self.0.claims(AUDIENCE, person.name, person.groups, life).unwrap()
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.0.sign(claims).unwrap()
    }
}
