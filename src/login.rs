//! SASL on a client's connection: what may be said before a login, and the login itself.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use sluicegate_actors::session::SessionLease;
use sluicegate_actors::vocabulary::{Identity, UnixMillis};

use crate::config::Mechanism;
use crate::control::{AskError, Caller, Control};
use crate::error::{Ended, quoted};
use crate::kafka::api_versions::Offer;
use crate::kafka::found::Found;
use crate::kafka::sasl::{self, Authenticated};
use crate::kafka::walk::{self, RequestHeader};
use crate::kafka::{self, ErrorCode, Exchange, Handling, Meaning, refuse};
use crate::{clock, limits};

/// One side of a SASL conversation: before the first login, or on a connection that logs in again (KIP-368).
#[derive(Debug)]
pub struct Login {
    control: Control,
    mechanisms: Arc<[Mechanism]>,
    issuers: Arc<[String]>,
    state: State,
    rounds: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No mechanism was named.
    Idle,
    /// Tokens of this mechanism follow.
    Named(Mechanism),
}

/// What becomes of a request of the conversation.
#[derive(Debug)]
pub enum Step {
    /// It goes on; this is the answer.
    Answer(Bytes),
    /// The identity is known; the answer is made once its session is there.
    Verified(Verified),
    /// It failed: this is the answer, and the connection ends after it.
    Fail(Bytes, String),
}

/// A token that was accepted.
#[derive(Debug)]
pub struct Verified {
    /// Who it speaks for.
    pub identity: Identity,
    /// How it was shown: `plain` or `oauthbearer`.
    pub login: &'static str,
    exchange: &'static Exchange,
    correlation: i32,
}

impl Login {
    /// A conversation on a listener with these mechanisms and issuers.
    #[must_use]
    pub fn new(control: Control, mechanisms: Arc<[Mechanism]>, issuers: Arc<[String]>) -> Self {
        Self { control, mechanisms, issuers, state: State::Idle, rounds: 0 }
    }

    /// Answers one request: ApiVersions, SaslHandshake or SaslAuthenticate.
    ///
    /// # Errors
    ///
    /// [`Ended`] where the request is none of these or cannot be read: the connection is closed without an answer, as
    /// Kafka does.
    pub async fn step(
        &mut self,
        frame: &[u8],
        offer: Option<&Offer>,
        found: &mut Found,
    ) -> Result<Step, Ended> {
        let unreadable = |error: walk::WalkError| Ended::ClientRequest(error.to_string());
        let header = walk::request_header(frame).map_err(unreadable)?;
        if header.key == kafka::table::API_VERSIONS_KEY {
            let offer = offer.ok_or_else(|| Ended::BrokerUnusable("none is known".to_owned()))?;
            return Ok(Step::Answer(offer.response(header.version, header.correlation_id)));
        }
        let exchange = kafka::exchange(header.key, header.version);
        let Some(exchange) = exchange.filter(|it| it.api.handling == Handling::Login) else {
            return unexpected(&header);
        };
        walk::request(exchange, frame, header.body, found).map_err(unreadable)?;
        if let Some(mechanism) = found.text(Meaning::Mechanism) {
            let name = mechanism.text(frame).unwrap_or_default();
            return Ok(self.handshake(exchange, header.correlation_id, name));
        }
        self.rounds = self.rounds.saturating_add(1);
        let token = found.blob(Meaning::AuthBytes).map(|blob| blob.bytes(frame));
        self.authenticate(exchange, header.correlation_id, token.unwrap_or_default()).await
    }

    fn handshake(&mut self, exchange: &'static Exchange, correlation: i32, name: &str) -> Step {
        let names: Vec<&str> = self.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
        let known = self.mechanisms.iter().find(|mechanism| mechanism.name() == name);
        match (self.state, known) {
            (State::Idle, Some(mechanism)) => {
                self.state = State::Named(*mechanism);
                self.rounds = 0;
                let code = ErrorCode::NONE;
                Step::Answer(sasl::handshake_response(exchange, correlation, code, &names))
            }
            (State::Idle, None) => {
                let code = ErrorCode::UNSUPPORTED_SASL_MECHANISM;
                let answer = sasl::handshake_response(exchange, correlation, code, &names);
                let quoted = quoted(name.as_bytes());
                Step::Fail(answer, format!("mechanism {quoted}; there are {}", names.join(", ")))
            }
            _ => {
                let code = ErrorCode::ILLEGAL_SASL_STATE;
                let answer = sasl::handshake_response(exchange, correlation, code, &names);
                Step::Fail(answer, "a second handshake before the token".to_owned())
            }
        }
    }

    async fn authenticate(
        &mut self,
        exchange: &'static Exchange,
        correlation: i32,
        token: &[u8],
    ) -> Result<Step, Ended> {
        let fail = |code, reason: String| {
            Ok(Step::Fail(failed(exchange, correlation, code, &reason), reason))
        };
        let State::Named(mechanism) = self.state else {
            return fail(ErrorCode::ILLEGAL_SASL_STATE, "a token before a handshake".to_owned());
        };
        if self.rounds > limits::SASL_ROUNDS_MAX {
            return fail(ErrorCode::ILLEGAL_SASL_STATE, "too many rounds".to_owned());
        }
        let parsed = match mechanism {
            Mechanism::Plain => {
                sasl::plain(token).map(|plain| (plain.password.to_owned(), "plain"))
            }
            Mechanism::OauthBearer => {
                sasl::oauth_bearer(token).map(|bearer| (bearer.token.to_owned(), "oauthbearer"))
            }
        };
        let (jwt, login) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                return fail(ErrorCode::SASL_AUTHENTICATION_FAILED, error.to_string());
            }
        };
        let issuers = Arc::clone(&self.issuers);
        match self.control.authenticate(SecretString::from(jwt), issuers).await {
            Ok(identity) => {
                self.state = State::Idle;
                Ok(Step::Verified(Verified { identity, login, exchange, correlation }))
            }
            // RFC 7628 would send the reason as a challenge first; clients show the text of this answer, so it says it.
            Err(error) => fail(ErrorCode::SASL_AUTHENTICATION_FAILED, error.to_string()),
        }
    }

    /// Opens the session of an identity that was verified.
    ///
    /// # Errors
    ///
    /// [`AskError`] where none can be had.
    pub async fn session(
        &self,
        verified: &Verified,
        caller: &Caller,
    ) -> Result<SessionLease, AskError> {
        self.control.open(verified.identity.clone(), caller).await
    }
}

impl Verified {
    /// The answer that completes the login: it says how long the session may live, so that the client logs in again
    /// before its token ends (KIP-368).
    #[must_use]
    pub fn accepted(&self) -> Bytes {
        let lifetime = lifetime_ms(self.identity.expires_at, clock::wall());
        sasl::authenticate_response(
            self.exchange,
            self.correlation,
            Authenticated {
                code: ErrorCode::NONE,
                message: None,
                auth_bytes: &[],
                session_lifetime_ms: lifetime,
            },
        )
    }

    /// The answer where there is no session to be had.
    #[must_use]
    pub fn refused(&self, reason: &str) -> Bytes {
        failed(self.exchange, self.correlation, ErrorCode::SASL_AUTHENTICATION_FAILED, reason)
    }
}

fn failed(exchange: &Exchange, correlation: i32, code: ErrorCode, reason: &str) -> Bytes {
    let outcome =
        Authenticated { code, message: Some(reason), auth_bytes: &[], session_lifetime_ms: 0 };
    sasl::authenticate_response(exchange, correlation, outcome)
}

fn lifetime_ms(expires_at: UnixMillis, now: UnixMillis) -> i64 {
    expires_at.0.saturating_sub(now.0).max(1)
}

/// What nobody may ask before a login. A version of the SASL requests that is not known is answered in their shape;
/// everything else ends the connection without a word, as in Kafka.
fn unexpected(header: &RequestHeader) -> Result<Step, Ended> {
    let is_login = kafka::api_of(header.key).is_some_and(|api| api.handling == Handling::Login);
    let answer = refuse::unsupported_version(header.key, header.version, header.correlation_id);
    let reason = format!("API key {} version {} before login", header.key, header.version);
    match answer.filter(|_| is_login) {
        Some(answer) => Ok(Step::Fail(answer, reason)),
        None => Err(Ended::LoginFailed(reason)),
    }
}
