//! A folder in which a gateway can start: its configuration, policies, masks, keys.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::client::PlainLogin;
use crate::token::Issuer;

/// The issuer that a [`Setup`] trusts, by its URL.
pub const ISSUER_URL: &str = "https://issuer.test";
/// The audience that it wants.
pub const AUDIENCE: &str = "kafka";
/// Everybody may do everything.
pub const PERMIT_ALL: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

/// How a gateway is configured.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The broker's bootstrap address.
    pub broker: SocketAddr,
    /// The gateway's own login there; none where the broker wants none.
    pub broker_login: Option<PlainLogin>,
    /// Its logins for the groups of some identities, which come before that one.
    pub group_logins: Vec<(&'static str, PlainLogin)>,
    /// The gateway's bootstrap address.
    pub bind: SocketAddr,
    /// The gateway's address for each broker id; all with the same IP address.
    pub broker_ports: Vec<(i32, SocketAddr)>,
    /// Console, API and metrics.
    pub admin: SocketAddr,
    /// Whether clients connect by TLS: with what [`crate::tls::write_certificates`] has put into the folder.
    pub encrypted: bool,
    /// Shards, where not one for each core.
    pub shards: Option<u32>,
    /// The Cedar policies.
    pub policy: String,
    /// The mask rules, as YAML; empty for none.
    pub masks: String,
    /// The URL of a schema registry, where the rules need one.
    pub registry: Option<String>,
    /// `delivered` or `none`.
    pub payload: &'static str,
    /// More lines for the configuration, at its top level.
    pub more: String,
}

/// Writes everything into `folder`; the configuration is `sluicegate.yaml`.
///
/// # Errors
/// Where a file cannot be written.
pub fn write(folder: &Path, setup: &Setup, issuer: &Issuer) -> anyhow::Result<()> {
    fs::write(folder.join("jwks.json"), issuer.jwks()?)?;
    fs::write(folder.join("policy.cedar"), &setup.policy)?;
    if !setup.masks.is_empty() {
        fs::write(folder.join("masks.yaml"), &setup.masks)?;
        fs::write(folder.join("masking.key"), "0123456789abcdef0123456789abcdef")?;
    }
    fs::write(folder.join("sluicegate.yaml"), setup.yaml()?)?;
    Ok(())
}

impl Setup {
    fn yaml(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::from("data.dir: ./data\n");
        if let Some(shards) = self.shards {
            writeln!(text, "shards: {shards}")?;
        }
        self.cluster(&mut text)?;
        self.listener(&mut text)?;
        write!(
            text,
            "issuers:
  test:
    issuer: {ISSUER_URL}
    audience: [{AUDIENCE}]
    jwks: jwks.json
    algorithms: [ES256]
    groups.claim: groups
policy:
  files: [policy.cedar]
recording:
  payload: {}
admin:
  bind: {}
",
            self.payload, self.admin,
        )?;
        if !self.masks.is_empty() {
            text.push_str(
                "masking:\n  keys: {test: \"${file:masking.key}\"}\n  files: [masks.yaml]\n",
            );
            if let Some(url) = &self.registry {
                writeln!(text, "  registry: {{url: \"{url}\", request.timeout.ms: 2000}}")?;
            }
        }
        text.push_str(&self.more);
        Ok(text)
    }

    fn cluster(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "clusters:\n  main:\n    bootstrap.servers: [\"{}\"]", self.broker)?;
        text.push_str("    credentials:\n");
        for (group, login) in &self.group_logins {
            write!(text, "      - groups: [{group}]\n        ")?;
            credential(text, login)?;
        }
        text.push_str("      - ");
        match &self.broker_login {
            None => writeln!(text, "security.protocol: PLAINTEXT"),
            Some(login) => credential(text, login),
        }
    }

    fn listener(&self, text: &mut String) -> std::fmt::Result {
        write!(
            text,
            "listeners:
  kafka:
    cluster: main
    bind: {}
    advertised.host: {}
    broker.ports: {{",
            self.bind,
            self.bind.ip()
        )?;
        for (index, (id, address)) in self.broker_ports.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(text, "{comma}{id}: {}", address.port())?;
        }
        let protocol = if self.encrypted { "SASL_SSL" } else { "SASL_PLAINTEXT" };
        write!(
            text,
            "}}
    security.protocol: {protocol}
    sasl.enabled.mechanisms: [OAUTHBEARER, PLAIN]
    issuers: [test]
"
        )?;
        if self.encrypted {
            text.push_str("    ssl.certificate: cert.pem\n    ssl.key: key.pem\n");
        }
        Ok(())
    }
}

/// One login at a broker, from where a list item has begun.
fn credential(text: &mut String, login: &PlainLogin) -> std::fmt::Result {
    let PlainLogin { username, password } = login;
    write!(
        text,
        "security.protocol: SASL_PLAINTEXT
        sasl.mechanism: PLAIN
        sasl.username: {username}
        sasl.password: {password}
"
    )
}
