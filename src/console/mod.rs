//! HTTP on the control plane: the admin API. On loopback only, because tokens go over it in clear.
//!
//! ```text
//! GET  /api/v1/approvals                   tickets of the caller, and those that the caller may answer
//! POST /api/v1/approvals/{name}/grant      by ticket
//! POST /api/v1/approvals/{name}/refuse     by ticket
//! POST /api/v1/approvals/{name}/revoke     by ticket or grant
//! ```
//!
//! Every call carries the caller's own token, of an issuer that a listener accepts: `Authorization: Bearer …`. An error
//! is `{"error": "…"}`.

mod approvals;
mod bounded;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use secrecy::SecretString;
use serde::Serialize;
use sluicegate_actors::runtime::{Control, ControlPlane};
use sluicegate_actors::vocabulary::Identity;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::limits;
use bounded::Bounded;

/// Why the admin API cannot be served.
#[derive(Debug, Error)]
pub enum ConsoleError {
    /// The system refuses the address.
    #[error("cannot listen on `admin.bind` {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What every call works with.
#[derive(Clone)]
struct Console {
    control: Control,
    /// Issuers of all listeners.
    issuers: Arc<[String]>,
}

/// The caller, by the token of the call.
struct Caller(Identity);

/// An answer that refuses.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    error: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

/// Serves the API where the configuration has an address for it, until the control plane ends.
///
/// # Errors
///
/// [`ConsoleError::Bind`].
pub fn open(config: &Config, control_plane: &ControlPlane) -> Result<(), ConsoleError> {
    let Some(address) = config.admin_bind else { return Ok(()) };
    let bound = control_plane.runtime().block_on(TcpListener::bind(address));
    let listener = bound.map_err(|source| ConsoleError::Bind { address, source })?;
    let mut issuers: Vec<String> =
        config.listeners.iter().flat_map(|listener| listener.issuers.clone()).collect();
    issuers.sort_unstable();
    issuers.dedup();
    let console = Console { control: control_plane.control().clone(), issuers: issuers.into() };
    let router = router(console);
    control_plane.runtime().spawn(async move {
        if let Err(error) = axum::serve(Bounded::new(listener), router).await {
            tracing::error!(%error, "the admin API ended");
        }
    });
    Ok(())
}

fn router(console: Console) -> Router {
    Router::new()
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{name}/{verb}", post(approvals::answer))
        .fallback(async || Refused::new(StatusCode::NOT_FOUND, "there is no such path"))
        .layer(from_fn(in_time))
        .with_state(console)
}

/// Nothing is kept by whoever reads it, and no call takes forever.
async fn in_time(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(limits::ASK_MS_MAX, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "no answer in time").into_response()
    });
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

impl FromRequestParts<Console> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refused> {
        let unauthorized = |error: &str| Refused::new(StatusCode::UNAUTHORIZED, error);
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| SecretString::from(token.trim()));
        let Some(token) = token else {
            return Err(unauthorized("send your own token: `Authorization: Bearer …`"));
        };
        let issuers = Arc::clone(&console.issuers);
        match console.control.issuers.authenticate(token, issuers).await {
            Ok(Ok(identity)) => Ok(Self(identity)),
            Ok(Err(error)) => Err(unauthorized(&error.to_string())),
            Err(_) => Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the control plane does not answer",
            )),
        }
    }
}

impl Refused {
    fn new(status: StatusCode, error: &str) -> Self {
        Self { status, error: error.to_owned() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: &self.error })).into_response()
    }
}
