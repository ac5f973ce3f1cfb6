//! Everything in one process, for a look around: an embedded broker with sample data, a local issuer, and the gateway
//! between them and any client. Loopback only; nothing of it is for production.

pub mod broker;
pub mod folder;
pub mod payments;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use krafka::KrafkaError;
use sluicegate_actors::auth::mint::MintError;
use thiserror::Error;

use crate::config::{Config, ConfigError};
use crate::gateway::{Gateway, StartError};
use crate::{clock, limits};
use broker::EmbeddedBroker;
use folder::Folder;

/// A running demo.
#[derive(Debug)]
pub struct Demo {
    places: Places,
    gateway: Gateway,
    broker: EmbeddedBroker,
    folder: Folder,
}

/// Who listens where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The embedded broker.
    pub broker: SocketAddr,
    /// The gateway's bootstrap address.
    pub gateway: SocketAddr,
    /// The gateway's address that stands for the broker.
    pub gateway_broker: SocketAddr,
    /// The admin API.
    pub admin: SocketAddr,
}

/// Why the demo does not start. Blame: the operator, or the machine.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The broker's runtime.
    #[error("the broker's threads cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The broker, or the producer that fills it.
    #[error("the embedded broker: {0}")]
    Broker(#[from] KrafkaError),
    /// It took too long.
    #[error("the embedded broker did not start within {} s", limits::DEMO_BROKER_MS_MAX.as_secs())]
    BrokerLate,
    /// No free port.
    #[error("no free port on loopback: {0}")]
    Port(#[source] io::Error),
    /// A file or a folder.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The local issuer.
    #[error(transparent)]
    Issuer(#[from] MintError),
    /// No randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
    /// The configuration that was written: what it names is not there any more.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine is not as the gateway needs it.
    #[error("{}", .0.join("\n"))]
    Machine(Vec<String>),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] StartError),
}

impl Demo {
    /// Starts the broker, writes the folder, starts the gateway; clients are served when it returns.
    ///
    /// # Errors
    ///
    /// [`DemoError`] names what is wrong; nothing is left running.
    pub fn start(folder: Folder) -> Result<Self, DemoError> {
        let broker = EmbeddedBroker::start(payments::all())?;
        let ports = FreePorts::find().map_err(DemoError::Port)?;
        let places = ports.places(broker.address()).map_err(DemoError::Port)?;
        folder.write(&places, clock::wall())?;
        let config = Config::load(&folder.path().join("sluicegate.yaml"))?;
        crate::cli::check::machine(&config).map_err(DemoError::Machine)?;
        drop(ports);
        let gateway = Gateway::start(config)?;
        Ok(Self { places, gateway, broker, folder })
    }

    /// Who listens where.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Drains the gateway, then ends the broker, then removes the folder where it is a temporary one.
    pub fn stop(self) {
        let Self { places: _, gateway, broker, folder } = self;
        gateway.stop();
        drop(broker);
        drop(folder);
    }
}

impl DemoError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// Ports that the system gave out. The gateway cannot take over their sockets and binds them again itself: between
/// the two somebody else might, and the gateway says so then.
struct FreePorts([TcpListener; 3]);

impl FreePorts {
    fn find() -> io::Result<Self> {
        let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Self([any()?, any()?, any()?]))
    }

    fn places(&self, broker: SocketAddr) -> io::Result<Places> {
        let [gateway, gateway_broker, admin] = &self.0;
        Ok(Places {
            broker,
            gateway: gateway.local_addr()?,
            gateway_broker: gateway_broker.local_addr()?,
            admin: admin.local_addr()?,
        })
    }
}
