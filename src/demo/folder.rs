//! The demo's folder: configuration, policies, masks, keys, tokens, and a client's settings for everybody.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sluicegate_actors::auth::mint::{LocalIssuer, TokenRequest};
use sluicegate_actors::vocabulary::UnixMillis;

use crate::demo::broker::BROKER_ID;
use crate::demo::{DemoError, Places};
use crate::limits;

/// Who there is, each with one group.
pub const PEOPLE: [(&str, &str); 4] = [
    ("analyst", "analysts"),
    ("auditor", "auditors"),
    ("contractor", "contractors"),
    ("owner", "data-owners"),
];

/// The `iss` claim of the demo's tokens.
pub const ISSUER: &str = "demo";

/// The `aud` claim.
pub const AUDIENCE: &str = "kafka";

/// The folder that holds everything but the topic. A temporary one is removed when this is dropped.
#[derive(Debug)]
pub enum Folder {
    /// The user's: it stays.
    Named(PathBuf),
    /// Made for this run.
    Temporary(PathBuf),
}

impl Folder {
    /// The user's folder, made where it does not exist.
    ///
    /// # Errors
    ///
    /// [`DemoError::File`].
    pub fn named(path: &Path) -> Result<Self, DemoError> {
        make_folders(path)?;
        let path = path.canonicalize().map_err(|source| DemoError::file(path, source))?;
        Ok(Self::Named(path))
    }

    /// A new folder among the system's temporary ones, for its owner alone.
    ///
    /// # Errors
    ///
    /// [`DemoError::File`], and [`DemoError::Random`].
    pub fn temporary() -> Result<Self, DemoError> {
        let name = getrandom::u32().map_err(DemoError::Random)?;
        let path = std::env::temp_dir().join(format!("sluicegate-demo-{name:08x}"));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| DemoError::file(&path, source))?;
        Ok(Self::Temporary(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Temporary(path) => path,
        }
    }

    /// Writes everything that a gateway and its clients need; nothing that is there is replaced.
    ///
    /// # Errors
    ///
    /// [`DemoError::File`] names the file, [`DemoError::Issuer`] is of keys and tokens, [`DemoError::Random`].
    pub fn write(&self, places: &Places, now: UnixMillis) -> Result<(), DemoError> {
        for part in ["clients", "keys", "masks", "policies", "tokens"] {
            make_folders(&self.path().join(part))?;
        }
        self.file("sluicegate.yaml", &configuration(places))?;
        self.file("policies/demo.cedar", POLICIES)?;
        self.file("masks/payments.yaml", MASKS)?;
        self.file("consume.py", CONSUME)?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(DemoError::Random)?;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.file("keys/masking.key", &key)?;
        let keys = self.path().join("keys");
        let issuer =
            LocalIssuer::open_or_create(&keys.join("issuer.pem"), &keys.join("jwks.json"))?;
        for (name, group) in PEOPLE {
            let token = issuer.mint(&token_of(name, group), now)?;
            self.file(&format!("tokens/{name}"), &format!("{}\n", *token))?;
            let settings = client_settings(places.gateway, name, &token);
            self.file(&format!("clients/{name}.properties"), &settings)?;
        }
        Ok(())
    }

    /// For the owner's eyes: tokens and keys are among them.
    fn file(&self, name: &str, content: &str) -> Result<(), DemoError> {
        let path = self.path().join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|source| DemoError::file(&path, source))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self
            && let Err(error) = fs::remove_dir_all(&*path)
        {
            tracing::warn!(path = %path.display(), %error, "the demo's folder stays");
        }
    }
}

/// For the owner alone, where it does not exist.
fn make_folders(path: &Path) -> Result<(), DemoError> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| DemoError::file(path, source))
}

fn token_of(name: &str, group: &str) -> TokenRequest {
    TokenRequest {
        issuer: ISSUER.to_owned(),
        subject: name.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        groups_claim: "groups".to_owned(),
        groups: vec![group.to_owned()],
        ttl_ms: limits::DEMO_TOKEN_MS,
        extra: serde_json::Map::new(),
    }
}

fn configuration(places: &Places) -> String {
    let Places { broker, gateway, gateway_broker, admin } = places;
    format!(
        "# The demo's gateway. config/sluicegate.yaml in the sources shows every key.
data.dir: data
clusters:
  main:
    bootstrap.servers: [\"{broker}\"]
    credentials:
      - security.protocol: PLAINTEXT
listeners:
  kafka:
    cluster: main
    bind: {gateway}
    advertised.host: {host}
    broker.ports: {{{BROKER_ID}: {port}}}
    security.protocol: SASL_PLAINTEXT
    sasl.enabled.mechanisms: [OAUTHBEARER, PLAIN]
    issuers: [local]
issuers:
  local:
    issuer: {ISSUER}
    audience: [{AUDIENCE}]
    jwks: keys/jwks.json
    algorithms: [ES256]
policy:
  files: [policies/*.cedar]
masking:
  keys:
    demo: ${{file:keys/masking.key}}
  files: [masks/*.yaml]
approvals:
  approvers: [data-owners]
admin:
  bind: {admin}
",
        host = gateway.ip(),
        port = gateway_broker.port(),
    )
}

/// In librdkafka's own format: a property in each line.
fn client_settings(gateway: SocketAddr, name: &str, token: &str) -> String {
    format!(
        "bootstrap.servers={gateway}
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.username={name}
sasl.password={token}
group.id={name}
auto.offset.reset=earliest
enable.auto.commit=false
"
    )
}

const POLICIES: &str = include_str!("policies.cedar");
const MASKS: &str = include_str!("masks.yaml");
/// A stock client, for people without one at hand.
const CONSUME: &str = include_str!("../../scripts/demo/consume.py");
