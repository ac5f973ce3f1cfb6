//! Why a connection ended, and whose doing it was: the one table from cause to log level and metric label.

use std::io;

use thiserror::Error;

use crate::path::frame::FrameError;

/// Whose doing an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client broke a rule, or left.
    Client,
    /// The broker broke a rule, or left.
    Broker,
    /// We could not do our part.
    Gateway,
    /// Whoever runs the gateway asked for it.
    Operator,
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum Ended {
    /// The client closed its side.
    #[error("the client closed the connection")]
    ClientClosed,
    /// The client's socket failed.
    #[error("the client's socket failed: {0}")]
    ClientSocket(#[source] io::Error),
    /// The TLS handshake with the client failed.
    #[error("the TLS handshake failed: {0}")]
    ClientHandshake(#[source] io::Error),
    /// The client's bytes are no frame.
    #[error("the client sent no frame: {0}")]
    ClientFrame(#[source] FrameError),
    /// The client's request cannot be read.
    #[error("the client's request cannot be read: {0}")]
    ClientRequest(String),
    /// The client asked for something before login that needs one, or broke the SASL exchange.
    #[error("the login failed: {0}")]
    LoginFailed(String),
    /// No login within its time.
    #[error("no login within {} s", crate::limits::LOGIN_MS_MAX.as_secs())]
    LoginTimeout,
    /// A frame took too long to arrive.
    #[error("a frame took more than {} s to arrive", crate::limits::FRAME_MS_MAX.as_secs())]
    FrameTimeout,
    /// No request for a long time.
    #[error("no request for {} s", crate::limits::IDLE_MS_MAX.as_secs())]
    Idle,
    /// The token ended.
    #[error("the token expired")]
    TokenExpired,
    /// The broker closed its side.
    #[error("the broker closed the connection")]
    BrokerClosed,
    /// The broker's socket failed.
    #[error("the broker's socket failed: {0}")]
    BrokerSocket(#[source] io::Error),
    /// The broker cannot be reached or refuses the gateway's login.
    #[error("the broker cannot be used: {0}")]
    BrokerUnusable(String),
    /// The broker's bytes are no frame.
    #[error("the broker sent no frame: {0}")]
    BrokerFrame(#[source] FrameError),
    /// The broker's response cannot be read, or was not asked for.
    #[error("the broker's response cannot be used: {0}")]
    BrokerResponse(String),
    /// The record log cannot take an entry.
    #[error("the record log cannot take an entry: {0}")]
    RecordLog(String),
    /// A pipe between two sockets failed.
    #[error("a pipe failed: {0}")]
    Pipe(#[source] io::Error),
    /// The session's actors are gone beyond their restarts.
    #[error("the session has ended: {0}")]
    SessionEnded(String),
    /// A right ended while what it was for was being delivered.
    #[error("the right to read `{0}` ended while it was being delivered")]
    RightEnded(String),
    /// More connections than a shard takes.
    #[error("the shard has no room for another connection")]
    NoRoom,
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Draining,
}

impl Ended {
    /// Whose doing it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::ClientClosed
            | Self::ClientSocket(_)
            | Self::ClientHandshake(_)
            | Self::ClientFrame(_)
            | Self::ClientRequest(_)
            | Self::LoginFailed(_)
            | Self::LoginTimeout
            | Self::FrameTimeout
            | Self::Idle
            | Self::TokenExpired => Blame::Client,
            Self::BrokerClosed
            | Self::BrokerSocket(_)
            | Self::BrokerUnusable(_)
            | Self::BrokerFrame(_)
            | Self::BrokerResponse(_) => Blame::Broker,
            Self::RecordLog(_) | Self::Pipe(_) | Self::SessionEnded(_) | Self::NoRoom => {
                Blame::Gateway
            }
            Self::RightEnded(_) | Self::Draining => Blame::Operator,
        }
    }

    /// The metric label: a short stable word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::ClientClosed => "client-closed",
            Self::ClientSocket(_) => "client-socket",
            Self::ClientHandshake(_) => "client-handshake",
            Self::ClientFrame(_) => "client-frame",
            Self::ClientRequest(_) => "client-request",
            Self::LoginFailed(_) => "login-failed",
            Self::LoginTimeout => "login-timeout",
            Self::FrameTimeout => "frame-timeout",
            Self::Idle => "idle",
            Self::TokenExpired => "token-expired",
            Self::BrokerClosed => "broker-closed",
            Self::BrokerSocket(_) => "broker-socket",
            Self::BrokerUnusable(_) => "broker-unusable",
            Self::BrokerFrame(_) => "broker-frame",
            Self::BrokerResponse(_) => "broker-response",
            Self::RecordLog(_) => "record-log",
            Self::Pipe(_) => "pipe",
            Self::SessionEnded(_) => "session-ended",
            Self::RightEnded(_) => "right-ended",
            Self::NoRoom => "no-room",
            Self::Draining => "draining",
        }
    }

    /// Writes the log line: ordinary ends are quiet, breaches warn, our own failures are errors.
    pub fn log(&self, connection: u64, peer: std::net::SocketAddr) {
        let label = self.label();
        match self {
            Self::ClientClosed
            | Self::Draining
            | Self::Idle
            | Self::TokenExpired
            | Self::RightEnded(_) => {
                tracing::info!(connection, %peer, label, reason = %self, "connection closed");
            }
            _ if self.blame() == Blame::Gateway => {
                tracing::error!(connection, %peer, label, reason = %self, "connection closed");
            }
            _ => tracing::warn!(connection, %peer, label, reason = %self, "connection closed"),
        }
    }
}

/// Peer input for an error text: cut to [`crate::limits::QUOTED_BYTES_MAX`] bytes, control characters escaped.
#[must_use]
pub fn quoted(bytes: &[u8]) -> String {
    let cut = bytes.get(..crate::limits::QUOTED_BYTES_MAX).unwrap_or(bytes);
    format!("`{}`", cut.escape_ascii())
}
