//! What must hold of an issuer's tokens: the configuration of one issuer, checked.
//!
//! Pure. An issuer without audience, algorithms or exact name cannot be made, so that nothing is
//! accepted unchecked because a line of the configuration is missing.

use std::sync::Arc;

use super::keys::{AlgorithmError, SignatureAlgorithm};

/// One issuer as the operator wrote it.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// The name in the configuration.
    pub name: String,
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// Audiences, of which a token must name one.
    pub audiences: Vec<String>,
    /// Names of the algorithms that its tokens may be signed with.
    pub algorithms: Vec<String>,
    /// The claim with the groups: a claim's whole name, or a dotted path.
    pub groups_claim: String,
    /// Put before every group of this issuer.
    pub groups_prefix: String,
}

/// One issuer, checked: everything that must hold of its tokens.
#[derive(Clone, Debug)]
pub struct IssuerRules {
    name: String,
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<SignatureAlgorithm>,
    pub(super) groups_claim: String,
    pub(super) groups_prefix: String,
}

/// Why an issuer's configuration is refused. Blame: the operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// A setting without which tokens would be accepted unchecked.
    #[error("issuer `{name}` has no `{setting}`: without it tokens could not be checked")]
    Missing {
        /// The issuer's name.
        name: String,
        /// The key in the configuration.
        setting: &'static str,
    },
    /// An `issuer` that would make names of principals ambiguous.
    #[error("issuer `{name}`: its `issuer` must not hold `|`, which separates it from the subject")]
    Separator {
        /// The issuer's name.
        name: String,
    },
    /// An algorithm that tokens must not be signed with.
    #[error("issuer `{name}`: {source}")]
    Algorithm {
        /// The issuer's name.
        name: String,
        /// Which one.
        source: AlgorithmError,
    },
    /// Two issuers of a listener expect the same `iss`.
    #[error("issuers `{first}` and `{second}` expect the same `issuer`: a token would fit both")]
    SameIssuer {
        /// One of the two.
        first: String,
        /// The other.
        second: String,
    },
    /// Two issuers of a listener could mint each other's groups.
    #[error(
        "issuers `{first}` and `{second}` could mint each other's groups; give each a \
         `groups.prefix` with which the other's does not begin"
    )]
    GroupsPrefix {
        /// One of the two.
        first: String,
        /// The other.
        second: String,
    },
}

impl IssuerRules {
    /// The rules, if nothing is missing that makes them safe.
    ///
    /// # Errors
    ///
    /// No issuer, no audience, no algorithm, an algorithm that must not be used, or an ambiguous
    /// name.
    pub fn new(settings: IssuerSettings) -> Result<Self, IssuerError> {
        let IssuerSettings { name, issuer, audiences, algorithms, groups_claim, groups_prefix } =
            settings;
        let missing = [
            ("issuer", issuer.is_empty()),
            ("audience", audiences.is_empty() || audiences.iter().any(String::is_empty)),
            ("algorithms", algorithms.is_empty()),
            ("groups.claim", groups_claim.is_empty()),
        ];
        if let Some((setting, _)) = missing.into_iter().find(|(_, missing)| *missing) {
            return Err(IssuerError::Missing { name, setting });
        }
        if issuer.contains('|') {
            return Err(IssuerError::Separator { name });
        }
        let parsed: Result<Vec<SignatureAlgorithm>, _> =
            algorithms.iter().map(|algorithm| algorithm.parse()).collect();
        match parsed {
            Ok(algorithms) => {
                Ok(Self { name, issuer, audiences, algorithms, groups_claim, groups_prefix })
            }
            Err(source) => Err(IssuerError::Algorithm { name, source }),
        }
    }

    /// Checks the issuers of one listener against each other.
    ///
    /// # Errors
    ///
    /// Two expect the same `iss`, or one could mint groups of another: both have the same prefix,
    /// or one's non-empty prefix begins with the other's.
    pub fn check_listener(issuers: &[Arc<Self>]) -> Result<(), IssuerError> {
        for (index, first) in issuers.iter().enumerate() {
            for second in issuers.iter().skip(index.saturating_add(1)) {
                let names = || (first.name.clone(), second.name.clone());
                if first.issuer == second.issuer {
                    let (first, second) = names();
                    return Err(IssuerError::SameIssuer { first, second });
                }
                let (one, other) = (&first.groups_prefix, &second.groups_prefix);
                let nested = !one.is_empty()
                    && !other.is_empty()
                    && (one.starts_with(other.as_str()) || other.starts_with(one.as_str()));
                if one == other || nested {
                    let (first, second) = names();
                    return Err(IssuerError::GroupsPrefix { first, second });
                }
            }
        }
        Ok(())
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The exact `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}
