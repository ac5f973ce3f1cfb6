//! One blocking connection that speaks Kafka's protocol: typed requests, or bytes as the caller made them.
//! Encrypted or not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use rustls::{ClientConnection, StreamOwned};

use crate::tls::Encryption;

/// A login with SASL/PLAIN; at a gateway the password is a token.
#[derive(Clone, Debug)]
pub struct PlainLogin {
    /// The name to log in with.
    pub username: String,
    /// The password, or the token in its place.
    pub password: String,
}

/// The bytes of a connection, both ways.
#[derive(Debug)]
pub enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted by TLS.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection to one broker or gateway. Requests may be sent ahead; responses are read in order.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    client_id: StrBytes,
    correlation_id: i32,
    outgoing: BytesMut,
}

impl Connection {
    /// Connects without logging in. Reads and writes that take longer than `patience` fail.
    ///
    /// # Errors
    /// Where the connection is refused or not made within `patience`.
    pub fn open(address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        Ok(Self::over(Stream::Plain(dial(address, patience)?)))
    }

    /// Connects and encrypts, without logging in.
    ///
    /// # Errors
    /// As [`Connection::open`], and where the handshake fails.
    pub fn open_encrypted(
        address: SocketAddr,
        encryption: &Encryption,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let mut stream = StreamOwned::new(encryption.begin()?, dial(address, patience)?);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .with_context(|| format!("no TLS with {address}"))?;
        }
        Ok(Self::over(Stream::Encrypted(Box::new(stream))))
    }

    fn over(stream: Stream) -> Self {
        let client_id = StrBytes::from_static_str("sluicegate-loadtest");
        Self { stream, client_id, correlation_id: 0, outgoing: BytesMut::new() }
    }

    /// Goes by another client id from now on.
    #[must_use]
    pub fn named(self, client_id: &str) -> Self {
        Self { client_id: StrBytes::from_string(client_id.to_owned()), ..self }
    }

    /// The socket itself, to close it half or to set its options; its bytes are the connection's where nothing encrypts.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Gives the bytes to somebody who reads and writes them without this.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Logs in by SASL/PLAIN.
    ///
    /// # Errors
    /// Where the mechanism or the login is refused; the text is the server's.
    pub fn login(&mut self, login: &PlainLogin) -> anyhow::Result<()> {
        let handshake =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let answer = self.call(1, &handshake)?;
        ensure!(answer.error_code == 0, "SASL handshake refused with error {}", answer.error_code);
        let mut secret = BytesMut::new();
        for part in [login.username.as_bytes(), login.password.as_bytes()] {
            secret.put_u8(0);
            secret.put_slice(part);
        }
        let authenticate = SaslAuthenticateRequest::default().with_auth_bytes(secret.freeze());
        let answer = self.call(2, &authenticate)?;
        if answer.error_code != 0 {
            let text = answer.error_message.unwrap_or_default();
            bail!("login refused with error {}: {text}", answer.error_code);
        }
        Ok(())
    }

    /// Sends a request and waits for its response; nothing else may be under way.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::receive`].
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        let sent = self.send(version, request)?;
        let (received, response) = self.receive::<R>(version)?;
        ensure!(sent == received, "correlation id {received} in answer to {sent}");
        Ok(response)
    }

    /// Sends a request and returns its correlation id.
    ///
    /// # Errors
    /// Where the message does not exist in `version`, or the socket fails.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<i32> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.clear();
        encode(&mut outgoing, self.correlation_id, &self.client_id, version, request)?;
        let written = self.stream.write_all(&outgoing).and_then(|()| self.stream.flush());
        self.outgoing = outgoing;
        written.context("cannot send")?;
        Ok(self.correlation_id)
    }

    /// Reads the next response, with its correlation id, as the answer to an `R` of `version`.
    ///
    /// # Errors
    /// Where the connection ends or its bytes are not such a response.
    pub fn receive<R: Request>(&mut self, version: i16) -> anyhow::Result<(i32, R::Response)> {
        let mut frame = self.read_frame().context("no response")?;
        decode::<R>(&mut frame, version)
    }

    /// Sends bytes as they are, for frames that no client would make.
    ///
    /// # Errors
    /// As the socket's.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one frame, without its length.
    ///
    /// # Errors
    /// `UnexpectedEof` where the peer closed, `WouldBlock` where its patience ended, `InvalidData` for a negative
    /// length.
    pub fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }
}

fn dial(address: SocketAddr, patience: Duration) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, patience)
        .with_context(|| format!("cannot connect to {address}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    Ok(socket)
}

impl Stream {
    /// The socket under it.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(place),
            Self::Encrypted(stream) => stream.read(place),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// Appends one framed request to `outgoing`.
///
/// # Errors
/// Where the message does not exist in `version`.
pub fn encode<R: Request>(
    outgoing: &mut BytesMut,
    correlation_id: i32,
    client_id: &StrBytes,
    version: i16,
    request: &R,
) -> anyhow::Result<()> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let start = outgoing.len();
    outgoing.put_i32(0);
    header.encode(outgoing, R::header_version(version))?;
    request
        .encode(outgoing, version)
        .with_context(|| format!("API {} has no such message in version {version}", R::KEY))?;
    let length = i32::try_from(outgoing.len() - start - 4).context("request too large")?;
    let mut place = outgoing.get_mut(start..).context("no room for the length")?;
    place.put_i32(length);
    Ok(())
}

/// Reads a frame (without its length) as the answer to an `R` of `version`.
///
/// # Errors
/// Where the bytes are not such a response.
pub fn decode<R: Request>(frame: &mut Bytes, version: i16) -> anyhow::Result<(i32, R::Response)> {
    let header = ResponseHeader::decode(frame, R::Response::header_version(version))?;
    let response = R::Response::decode(frame, version)?;
    ensure!(!frame.has_remaining(), "{} bytes left after the response", frame.remaining());
    Ok((header.correlation_id, response))
}
