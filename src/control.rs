//! The shard's only door to the actors: bounded asks with deadlines.
//!
//! Ractor mailboxes are unbounded, so the door takes a permit first. Everything here may be called on a shard; what
//! must wait for the control plane's runtime is spawned there and answered by a oneshot, which glommio can await.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_lite::FutureExt;
use glommio::timer::sleep;
use secrecy::SecretString;
use sluicegate_actors::approval::ticket::ApprovalRequest;
use sluicegate_actors::auth::token::TokenError;
use sluicegate_actors::masking::registry::{Fetched, Registry};
use sluicegate_actors::masking::schema::frame::SchemaId;
use sluicegate_actors::runtime;
use sluicegate_actors::session::{OpenError, OpenSession, SessionLease, Subscriber};
use sluicegate_actors::vocabulary::{ConnectionId, Identity};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::limits;

/// The doors to the process-wide actors. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    actors: runtime::Control,
    handle: Handle,
}

/// Why the control plane gave no answer, or a refusal.
#[derive(Debug, Error)]
pub enum AskError {
    /// As many questions of this shard wait already.
    #[error("{max} questions wait for the control plane already")]
    Full {
        /// How many may.
        max: usize,
    },
    /// No answer in time.
    #[error("the control plane gave no answer within {} s", limits::ASK_MS_MAX.as_secs())]
    Late,
    /// The actor is gone.
    #[error("the control plane is not there")]
    Gone,
    /// The token was refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No session can be had.
    #[error(transparent)]
    Session(#[from] OpenError),
}

/// Who asks for a session.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connection.
    pub connection: ConnectionId,
    /// Its first client id.
    pub client_id: Arc<str>,
    /// Its source address.
    pub address: IpAddr,
    /// Its listener's name.
    pub listener: Arc<str>,
    /// How it logged in: `plain` or `oauthbearer`.
    pub login: &'static str,
    /// Its shard.
    pub shard: usize,
}

/// Questions of one kind, of which so many of a shard may wait.
#[derive(Clone, Copy)]
enum Kind {
    /// Logins and look-ups.
    Login,
    /// Tickets: who holds many of them keeps nobody from logging in.
    Approval,
    /// Schemas of records.
    Schema,
}

thread_local! {
    /// Questions of this shard that wait, by kind.
    static WAITING: [Cell<usize>; 3] = const { [Cell::new(0), Cell::new(0), Cell::new(0)] };
}

/// A permit to ask; dropping it gives it back.
struct Permit(Kind);

impl Control {
    /// The door to these actors, whose runtime is `handle`.
    #[must_use]
    pub fn new(actors: runtime::Control, handle: Handle) -> Self {
        Self { actors, handle }
    }

    /// Verifies a token of one of the accepted issuers.
    ///
    /// # Errors
    ///
    /// [`AskError::Token`] says what is wrong with the token, never the token itself.
    pub async fn authenticate(
        &self,
        token: SecretString,
        accepted: Arc<[String]>,
    ) -> Result<Identity, AskError> {
        let permit = Permit::take(Kind::Login)?;
        let answer = in_time(self.actors.issuers.authenticate(token, accepted)).await?;
        drop(permit);
        Ok(answer?)
    }

    /// Finds or opens the session of a connection.
    ///
    /// # Errors
    ///
    /// [`AskError::Session`] where it cannot be had.
    pub async fn open(
        &self,
        identity: Identity,
        caller: &Caller,
    ) -> Result<SessionLease, AskError> {
        let permit = Permit::take(Kind::Login)?;
        let request = OpenSession {
            identity,
            client_id: Arc::clone(&caller.client_id),
            address: caller.address,
            listener: Arc::clone(&caller.listener),
            login: caller.login,
            connection: caller.connection,
            // Shards look at their sessions' snapshots between requests and several times a second; they need no call.
            subscriber: Subscriber { shard: caller.shard, notify: Arc::new(|_| {}) },
        };
        let lease = in_time(self.actors.sessions.open(request)).await??;
        drop(permit);
        Ok(lease)
    }

    /// Asks for approvals; what the client is told of its tickets, or why it has none.
    pub async fn ask_approval(&self, requests: Vec<ApprovalRequest>) -> String {
        let approvers: Vec<String> = requests
            .iter()
            .map(|request| {
                let groups = request.rules.iter().flat_map(|rule| &rule.approvers);
                groups.map(String::as_str).collect::<Vec<_>>().join(", ")
            })
            .collect();
        let opened = async {
            let permit = Permit::take(Kind::Approval)?;
            let opened = in_time(self.actors.approvals.open(requests)).await?;
            drop(permit);
            Ok::<_, AskError>(opened)
        };
        let opened = match opened.await {
            Ok(opened) => opened,
            Err(error) => return format!("policy holds this, and there is no ticket: {error}"),
        };
        let told = opened.iter().zip(approvers).map(|(ticket, approvers)| match ticket {
            Ok(ticket) => {
                format!("policy holds this: ticket {} waits for {approvers}", ticket.as_str())
            }
            Err(error) => format!("policy holds this, and there is no ticket: {error}"),
        });
        let mut text = told.collect::<Vec<_>>().join("; ");
        text.truncate(text.floor_char_boundary(limits::HOLD_TEXT_BYTES_MAX));
        text
    }

    /// Asks the registry for schemas, for all at once.
    ///
    /// # Errors
    ///
    /// [`AskError`] where nobody is asked, or there is no answer in time.
    pub async fn schemas(
        &self,
        registry: Arc<Registry>,
        ids: Vec<SchemaId>,
    ) -> Result<Vec<Fetched>, AskError> {
        let permit = Permit::take(Kind::Schema)?;
        let (answer, answered) = oneshot::channel();
        self.handle.spawn(async move {
            // Whoever asked may have gone.
            answer.send(registry.fetch_all(ids).await).ok();
        });
        let answers = in_time(answered).await?;
        drop(permit);
        Ok(answers)
    }

    /// The first address of a host.
    ///
    /// # Errors
    ///
    /// The resolver's reason.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, port));
        }
        let (answer, answered) = oneshot::channel();
        let host = host.to_owned();
        self.handle.spawn(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            let first = found.map_err(|error| error.to_string()).and_then(|mut addresses| {
                // Brokers that listen on IPv4 alone are the rule; `localhost` names both.
                let all: Vec<SocketAddr> = addresses.by_ref().collect();
                let ipv4 = all.iter().find(|address| address.is_ipv4());
                ipv4.or(all.first()).copied().ok_or_else(|| "no address".to_owned())
            });
            // Whoever asked may have gone.
            answer.send(first).ok();
        });
        in_time(answered).await.map_err(|error| error.to_string())?
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Permit {
    fn take(kind: Kind) -> Result<Self, AskError> {
        let (max, waiting) = kind.limit();
        if waiting >= max {
            return Err(AskError::Full { max });
        }
        kind.set(waiting.saturating_add(1));
        Ok(Self(kind))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (_, waiting) = self.0.limit();
        self.0.set(waiting.saturating_sub(1));
    }
}

impl Kind {
    /// How many may wait, and how many do.
    fn limit(self) -> (usize, usize) {
        WAITING.with(|[logins, approvals, schemas]| match self {
            Self::Schema => (limits::SCHEMA_ASKS_IN_FLIGHT_MAX, schemas.get()),
            Self::Login => (limits::ASKS_IN_FLIGHT_MAX, logins.get()),
            Self::Approval => (limits::APPROVAL_ASKS_IN_FLIGHT_MAX, approvals.get()),
        })
    }

    fn set(self, waiting: usize) {
        WAITING.with(|[logins, approvals, schemas]| match self {
            Self::Schema => schemas.set(waiting),
            Self::Login => logins.set(waiting),
            Self::Approval => approvals.set(waiting),
        });
    }
}

async fn in_time<T>(answer: oneshot::Receiver<T>) -> Result<T, AskError> {
    let late = async {
        sleep(limits::ASK_MS_MAX).await;
        Err(AskError::Late)
    };
    async { answer.await.map_err(|_| AskError::Gone) }.or(late).await
}
