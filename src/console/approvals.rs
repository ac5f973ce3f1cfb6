//! Tickets over HTTP: the desk decides who may answer.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sluicegate_actors::approval::desk::DeskError;
use sluicegate_actors::approval::{ShownTicket, Verb};

use super::{Caller, Console, Refused};

pub(super) async fn list(
    State(console): State<Console>,
    Caller(identity): Caller,
) -> Result<Json<Vec<ShownTicket>>, Refused> {
    Ok(Json(console.control.approvals.list(identity).await?))
}

pub(super) async fn answer(
    State(console): State<Console>,
    Caller(identity): Caller,
    Path((name, verb)): Path<(String, String)>,
) -> Result<Json<ShownTicket>, Refused> {
    let verb = match verb.as_str() {
        "grant" => Verb::Grant,
        "refuse" => Verb::Refuse,
        "revoke" => Verb::Revoke,
        _ => {
            return Err(Refused::new(StatusCode::NOT_FOUND, "write `grant`, `refuse` or `revoke`"));
        }
    };
    Ok(Json(console.control.approvals.answer(verb, name, identity).await?))
}

impl From<DeskError> for Refused {
    fn from(error: DeskError) -> Self {
        let status = match &error {
            DeskError::Unknown { .. } => StatusCode::NOT_FOUND,
            DeskError::OwnTicket { .. } | DeskError::NotAnApprover { .. } => StatusCode::FORBIDDEN,
            DeskError::Answered { .. }
            | DeskError::Late { .. }
            | DeskError::OtherPolicies { .. }
            | DeskError::RefusedLately { .. }
            | DeskError::NothingHeld
            | DeskError::TooLarge { .. }
            | DeskError::TooManyPending { .. }
            | DeskError::TooManyGrants { .. } => StatusCode::CONFLICT,
            DeskError::Full { .. }
            | DeskError::NotRecorded { .. }
            | DeskError::NotKept
            | DeskError::Unavailable
            | DeskError::Entropy(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, &error.to_string())
    }
}
