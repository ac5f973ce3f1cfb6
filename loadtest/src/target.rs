//! What is driven: an address, and the properties with which a Kafka client reaches it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};

use crate::client::{Connection, PlainLogin};
use crate::tls::Encryption;

/// A target, as named on the command line: `name=host:port[,pid=N][,property=value…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in the report.
    pub name: String,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// The process under test, where its use of the machine is wanted.
    pub pid: Option<u32>,
    /// Properties of a Kafka client by their standard names, all with a dot; [`PASSWORD_FILE`] beside them.
    pub properties: BTreeMap<String, String>,
}

/// How our own driver reaches a target.
#[derive(Clone, Debug)]
pub struct Access {
    name: String,
    address: SocketAddr,
    login: Option<PlainLogin>,
    encryption: Option<Encryption>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = text.split(',');
        let (name, address) = parts
            .next()
            .and_then(|first| first.split_once('='))
            .with_context(|| format!("`{text}` does not begin with name=host:port"))?;
        let mut target = Self::new(name, address);
        for part in parts {
            let (key, value) =
                part.split_once('=').with_context(|| format!("`{part}` is not key=value"))?;
            match key {
                "pid" => target.pid = Some(value.parse().context("pid is not a number")?),
                _ if key.contains('.') => target.set(key, value),
                _ => bail!("`{key}` is neither pid nor a client property such as sasl.username"),
            }
        }
        Ok(target)
    }
}

impl Target {
    /// A target without login, encryption or process.
    #[must_use]
    pub fn new(name: &str, address: impl ToString) -> Self {
        let (name, address) = (name.to_owned(), address.to_string());
        Self { name, address, pid: None, properties: BTreeMap::new() }
    }

    /// Sets a client property.
    pub fn set(&mut self, property: &str, value: &str) {
        self.properties.insert(property.to_owned(), value.to_owned());
    }

    /// The properties for a real client: the password itself in the place of its file.
    ///
    /// # Errors
    /// Where the file cannot be read, or there is a password too.
    pub fn client_properties(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut properties = self.properties.clone();
        if let Some(file) = properties.remove(PASSWORD_FILE) {
            let password = std::fs::read_to_string(&file)
                .with_context(|| format!("target `{}`: cannot read {file}", self.name))?;
            let former = properties.insert("sasl.password".to_owned(), password.trim().to_owned());
            ensure!(former.is_none(), "target `{}`: two passwords", self.name);
        }
        Ok(properties)
    }

    /// How our own driver reaches it.
    ///
    /// # Errors
    /// Where the host has no address, a file cannot be read, or a property asks for what the driver cannot do.
    pub fn access(&self) -> anyhow::Result<Access> {
        self.read_access().with_context(|| format!("target `{}`", self.name))
    }

    fn read_access(&self) -> anyhow::Result<Access> {
        let mut addresses = self
            .address
            .to_socket_addrs()
            .with_context(|| format!("`{}` is not host:port", self.address))?;
        let address = addresses.next().ok_or_else(|| anyhow!("`{}` is nowhere", self.address))?;
        let mut properties = self.client_properties()?;
        let protocol = properties.remove("security.protocol");
        let (encrypted, authenticated) = match protocol.as_deref() {
            None | Some("PLAINTEXT") => (false, false),
            Some("SSL") => (true, false),
            Some("SASL_PLAINTEXT") => (false, true),
            Some("SASL_SSL") => (true, true),
            Some(other) => bail!("security.protocol `{other}` is unknown"),
        };
        let mut encryption = None;
        if encrypted {
            let authority = properties.remove("ssl.ca.location");
            let authority = authority.context("TLS needs ssl.ca.location, a PEM file")?;
            let (host, _) = self.address.rsplit_once(':').unwrap_or_default();
            encryption = Some(Encryption::new(host, authority.as_ref())?);
        }
        let mut login = None;
        if authenticated {
            let mut take =
                |name: &str| properties.remove(name).with_context(|| format!("SASL needs {name}"));
            let mechanism = take("sasl.mechanism")?;
            ensure!(mechanism == "PLAIN", "the driver speaks no sasl.mechanism `{mechanism}`");
            let (username, password) = (take("sasl.username")?, take("sasl.password")?);
            login = Some(PlainLogin { username, password });
        }
        if let Some((name, _)) = properties.first_key_value() {
            let protocol = protocol.as_deref().unwrap_or("PLAINTEXT");
            bail!("the driver has no use for {name} with security.protocol {protocol}");
        }
        Ok(Access { name: self.name.clone(), address, login, encryption })
    }
}

impl Access {
    /// Connects and logs in. Reads and writes that take longer than `patience` fail.
    ///
    /// # Errors
    /// Where the target does not accept, or refuses the login.
    pub fn connect(&self, patience: Duration) -> anyhow::Result<Connection> {
        let connect = || {
            let mut connection = match &self.encryption {
                None => Connection::open(self.address, patience)?,
                Some(encryption) => Connection::open_encrypted(self.address, encryption, patience)?,
            };
            if let Some(login) = &self.login {
                connection.login(login)?;
            }
            anyhow::Ok(connection)
        };
        connect().with_context(|| format!("target `{}`", self.name))
    }
}

/// The file that holds `sasl.password`, such as a token; blanks around it do not count. No client's property, but ours.
pub const PASSWORD_FILE: &str = "sasl.password.file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_or_refused() {
        let sasl = "security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN";
        for (text, wanted) in [
            ("relay=127.0.0.1:1".to_owned(), Ok(("relay", None))),
            ("x=127.0.0.1:1,security.protocol=PLAINTEXT".to_owned(), Ok(("x", None))),
            (
                format!("gw=localhost:9092,pid=12,{sasl},sasl.username=a,sasl.password=b=c"),
                Ok(("gw", Some(("a", "b=c")))),
            ),
            ("127.0.0.1:1".to_owned(), Err("does not begin")),
            ("x=127.0.0.1:1,pid=y".to_owned(), Err("pid is not a number")),
            ("x=127.0.0.1:1,what=y".to_owned(), Err("`what`")),
            ("x=127.0.0.1:1,sasl.username".to_owned(), Err("key=value")),
            ("x=nowhere".to_owned(), Err("not host:port")),
            ("x=127.0.0.1:1,security.protocol=TLS".to_owned(), Err("`TLS` is unknown")),
            ("x=127.0.0.1:1,security.protocol=SSL".to_owned(), Err("ssl.ca.location")),
            ("x=127.0.0.1:1,sasl.username=a".to_owned(), Err("no use for sasl.username")),
            (format!("x=127.0.0.1:1,{sasl}"), Err("sasl.username")),
            (format!("x=127.0.0.1:1,{sasl},sasl.username=a"), Err("sasl.password")),
            (
                format!("x=127.0.0.1:1,{sasl},sasl.username=a,sasl.password=b,client.id=c"),
                Err("no use for client.id"),
            ),
            (
                "x=127.0.0.1:1,security.protocol=SASL_PLAINTEXT,sasl.mechanism=GSSAPI".to_owned(),
                Err("GSSAPI"),
            ),
            (
                format!("x=127.0.0.1:1,{sasl},sasl.username=a,sasl.password.file=/no/such"),
                Err("cannot read /no/such"),
            ),
        ] {
            let access = text.parse::<Target>().and_then(|target| target.access());
            match (&access, wanted) {
                (Ok(access), Ok(wanted)) => {
                    let login = access.login.as_ref();
                    let login =
                        login.map(|login| (login.username.as_str(), login.password.as_str()));
                    assert_eq!((access.name.as_str(), login), wanted, "{text}");
                }
                (Err(error), Err(wanted)) => {
                    assert!(format!("{error:#}").contains(wanted), "{text}: {error:#}");
                }
                _ => panic!("{text}: {access:?}"),
            }
        }
    }

    #[test]
    fn a_password_file_stands_for_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, " token \n").unwrap();
        let mut target = Target::new("x", "127.0.0.1:1");
        target.set(PASSWORD_FILE, file.path().to_str().unwrap());
        let properties = target.client_properties().unwrap();
        assert_eq!(properties, BTreeMap::from([("sasl.password".to_owned(), "token".to_owned())]));
        target.set("sasl.password", "other");
        assert!(target.client_properties().is_err());
    }
}
