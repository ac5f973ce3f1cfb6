//! `sluicegate token mint`: tokens of a local issuer, for trials and tests. Production tokens come from an OIDC issuer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use sluicegate_actors::auth::mint::{LocalIssuer, TokenRequest};

use crate::cli::{print, refuse};
use crate::clock;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Print a signed token. The issuer's key is made where there is none, and its JWKS file beside it.
    Mint {
        /// The issuer's private key (PEM).
        #[arg(long, default_value = "config/keys/issuer.pem")]
        key: PathBuf,
        /// The matching JWKS file, which the configuration names.
        #[arg(long, default_value = "config/keys/jwks.json")]
        jwks: PathBuf,
        /// The `iss` claim.
        #[arg(long, default_value = "https://issuer.example")]
        issuer: String,
        /// The `aud` claim.
        #[arg(long, default_value = "kafka")]
        audience: String,
        /// The `sub` claim: who it is for.
        #[arg(long)]
        subject: String,
        /// Groups, separated by commas.
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
        /// The life of the token, in seconds.
        #[arg(long, default_value_t = 3600)]
        ttl: u32,
    },
}

/// Runs it. Exit code 0 with the token on standard output, 1 where it cannot be made.
#[must_use]
pub fn run(what: &Token) -> ExitCode {
    let Token::Mint { key, jwks, issuer, audience, subject, groups, ttl } = what;
    let local = match LocalIssuer::open_or_create(key, jwks) {
        Ok(local) => local,
        Err(error) => return refuse(1, &error),
    };
    let request = TokenRequest {
        issuer: issuer.clone(),
        subject: subject.clone(),
        audiences: vec![audience.clone()],
        groups_claim: "groups".to_owned(),
        groups: groups.clone(),
        ttl_ms: i64::from(*ttl).saturating_mul(1_000),
        extra: serde_json::Map::new(),
    };
    match local.mint(&request, clock::wall()) {
        Ok(token) => {
            print(&*token);
            ExitCode::SUCCESS
        }
        Err(error) => refuse(1, &error),
    }
}
