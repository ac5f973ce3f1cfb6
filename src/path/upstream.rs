//! The broker side: connect, log in as the gateway, exchange one request for one response.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use glommio::net::TcpStream;
use kafka_protocol::messages::{
    ApiKey, RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::buffers::{Budget, Pool};
use crate::config::BrokerLogin;
use crate::limits;
use crate::path::frame::{Bounds, FrameError, FrameReader, LENGTH_BYTES};
use crate::path::socket::Socket;

/// The client id of the gateway's own requests.
const CLIENT_ID: &str = "sluicegate";

/// Responses of a broker: an empty body after a correlation id is the least.
pub const RESPONSE_BOUNDS: Bounds = Bounds { min: 4, max: limits::FRAME_BYTES_MAX };

/// Why a broker cannot be used.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The broker.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket failed, or the broker closed it.
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
    /// Not a frame.
    #[error("not a frame: {0}")]
    Frame(#[from] FrameError),
    /// A response that does not fit its request.
    #[error("the response to {api} cannot be read: {reason}")]
    Response {
        /// The request's API.
        api: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The broker refuses the gateway's credential.
    #[error("the broker refuses the gateway's login (error {code}); check `credentials`")]
    LoginRefused {
        /// Kafka's error code.
        code: i16,
    },
    /// We could not encode our own request.
    #[error("cannot encode {api}: {reason}")]
    Encode {
        /// The API.
        api: &'static str,
        /// The codec's reason.
        reason: String,
    },
}

/// A connection to a broker on which requests of the gateway's own are exchanged, one at a time.
#[derive(Debug)]
pub struct Upstream {
    socket: Rc<Socket>,
    reader: FrameReader,
    correlation: i32,
}

impl Upstream {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] by cause.
    pub async fn connect(
        address: SocketAddr,
        login: &BrokerLogin,
        pool: Rc<Pool>,
        budget: Rc<Budget>,
    ) -> Result<Self, UpstreamError> {
        let stream = TcpStream::connect_timeout(address, limits::UPSTREAM_LOGIN_MS_MAX)
            .await
            .map_err(|error| UpstreamError::Connect { address, source: error.into() })?;
        let socket = Rc::new(Socket::plain(stream)?);
        let reader = FrameReader::new(pool, budget, RESPONSE_BOUNDS);
        let mut upstream = Self { socket, reader, correlation: 0 };
        upstream.log_in(login).await?;
        Ok(upstream)
    }

    /// The socket and the reader, for a connection that carries a client's requests from now on.
    #[must_use]
    pub fn into_parts(self) -> (Rc<Socket>, FrameReader) {
        (self.socket, self.reader)
    }

    async fn log_in(&mut self, login: &BrokerLogin) -> Result<(), UpstreamError> {
        let BrokerLogin::SaslPlain { username, password } = login else { return Ok(()) };
        let handshake =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let response = self.ask(ApiKey::SaslHandshake, 1, &handshake).await?;
        no_error("SaslHandshake", &response)?;
        let secret = password.expose_secret();
        let mut token =
            zeroize::Zeroizing::new(Vec::with_capacity(username.len() + secret.len() + 2));
        token.push(0);
        token.extend_from_slice(username.as_bytes());
        token.push(0);
        token.extend_from_slice(secret.as_bytes());
        let authenticate =
            SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(&token));
        let response = self.ask(ApiKey::SaslAuthenticate, 1, &authenticate).await?;
        no_error("SaslAuthenticate", &response)
    }

    /// Sends one request and returns the body of its response, response header and all after the correlation id.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] by cause.
    pub async fn ask<R: Encodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &R,
    ) -> Result<Vec<u8>, UpstreamError> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = encode(key, version, self.correlation, request)?;
        self.socket.write_all(&frame).await?;
        let size = loop {
            if let Some(size) = self.reader.complete(0)? {
                break size.bytes();
            }
            self.reader.admit().await?;
            let reader = &mut self.reader;
            let read =
                std::future::poll_fn(|context| reader.poll_fill(context, &self.socket, usize::MAX))
                    .await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        };
        let frame = self.reader.bytes().get(LENGTH_BYTES..size).unwrap_or_default();
        let answered = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        let body = frame.get(4..).unwrap_or_default().to_vec();
        self.reader.consume(size);
        if answered != Some(self.correlation) {
            return Err(UpstreamError::Response {
                api: name(key),
                reason: format!("correlation id {answered:?} instead of {}", self.correlation),
            });
        }
        Ok(body)
    }
}

fn encode<R: Encodable + HeaderVersion>(
    key: ApiKey,
    version: i16,
    correlation: i32,
    request: &R,
) -> Result<BytesMut, UpstreamError> {
    let failed = |reason: String| UpstreamError::Encode { api: name(key), reason };
    let header = RequestHeader::default()
        .with_request_api_key(key_number(key))
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    header.encode(&mut frame, R::header_version(version)).map_err(|e| failed(e.to_string()))?;
    request.encode(&mut frame, version).map_err(|e| failed(e.to_string()))?;
    let length = i32::try_from(frame.len().saturating_sub(LENGTH_BYTES))
        .map_err(|error| failed(error.to_string()))?;
    if let Some(prefix) = frame.first_chunk_mut::<LENGTH_BYTES>() {
        *prefix = length.to_be_bytes();
    }
    Ok(frame)
}

/// Both SASL answers at version 1 begin with an error code.
fn no_error(api: &'static str, body: &[u8]) -> Result<(), UpstreamError> {
    match body.first_chunk::<2>().map(|bytes| i16::from_be_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(code) => Err(UpstreamError::LoginRefused { code }),
        None => Err(UpstreamError::Response { api, reason: "it ends early".to_owned() }),
    }
}

fn key_number(key: ApiKey) -> i16 {
    #[expect(clippy::as_conversions, reason = "the only way to the number of a fieldless enum")]
    let number = key as i16;
    number
}

fn name(key: ApiKey) -> &'static str {
    match key {
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::Metadata => "Metadata",
        ApiKey::SaslHandshake => "SaslHandshake",
        ApiKey::SaslAuthenticate => "SaslAuthenticate",
        _ => "request",
    }
}
