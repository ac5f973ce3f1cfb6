//! A schema registry in this process, as much of one as clients and gateways ask for: schemas by id,
//! by GUID and by subject, with their references; and answers that go wrong on purpose.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// A registry on loopback; it ends when it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    address: SocketAddr,
    state: Arc<Mutex<Contents>>,
    runtime: Option<Runtime>,
}

/// What goes wrong with the next answers.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// Each answer comes so much later.
    pub delay: Duration,
    /// Every answer is this: a status and a body.
    pub answer: Option<(u16, String)>,
    /// Who does not bring this `Authorization` is answered 401.
    pub authorization: Option<String>,
}

/// What a schema is registered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: u32,
    /// Its GUID.
    pub guid: [u8; 16],
    /// Its version under the subject.
    pub version: u32,
}

#[derive(Debug, Default)]
struct Contents {
    /// By id, from 1 on: as clients sent them, without `version`.
    schemas: Vec<Value>,
    /// The ids of a subject's versions, from 1 on.
    subjects: HashMap<String, Vec<u32>>,
    trouble: Trouble,
    /// The paths that were asked for.
    requests: Vec<String>,
}

type Shared = State<Arc<Mutex<Contents>>>;

impl TestRegistry {
    /// Starts an empty one.
    ///
    /// # Errors
    /// No port, or no thread.
    pub fn start() -> anyhow::Result<Self> {
        let state = Arc::new(Mutex::new(Contents::default()));
        let router = Router::new()
            .route("/schemas/ids/{id}", get(by_id))
            .route("/schemas/guids/{guid}", get(by_guid))
            .route("/subjects/{subject}", axum::routing::post(look_up))
            .route("/subjects/{subject}/versions", axum::routing::post(register))
            .route("/subjects/{subject}/versions/{version}", get(by_version))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), disturb))
            .with_state(Arc::clone(&state));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Not bound by the runtime, which cannot be waited for within another.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr().context("no address")?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, state, runtime: Some(runtime) })
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers a schema; `references` as the registry's API has them.
    #[must_use]
    pub fn register(
        &self,
        subject: &str,
        schema_type: &str,
        schema: &str,
        references: &Value,
    ) -> Registered {
        let body = json!({"schema": schema, "schemaType": schema_type, "references": references});
        self.contents().register(subject, body)
    }

    /// Lets answers go wrong from now on.
    pub fn trouble(&self, trouble: Trouble) {
        self.contents().trouble = trouble;
    }

    /// The paths that were asked for since this was last called.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.contents().requests)
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        contents(&self.state)
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // A runtime may not wait for its threads where it is dropped by another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Contents {
    fn register(&mut self, subject: &str, body: Value) -> Registered {
        let known = self.schemas.iter().position(|schema| *schema == body);
        let index = known.unwrap_or(self.schemas.len());
        if known.is_none() {
            self.schemas.push(body);
        }
        let id = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        let version = versions.iter().position(|version| *version == id).unwrap_or(0) + 1;
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        Registered { id, guid: guid(id), version }
    }

    /// The answer for a schema.
    fn schema(&self, id: u32) -> Option<Value> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        let mut schema = self.schemas.get(index)?.clone();
        // As registries do: the default is left out.
        if let Some(fields) = schema.as_object_mut() {
            fields.retain(|_, value| *value != json!("AVRO") && *value != json!([]));
            fields.insert("guid".to_owned(), json!(Uuid::from_bytes(guid(id)).to_string()));
        }
        Some(schema)
    }
}

fn contents(state: &Mutex<Contents>) -> std::sync::MutexGuard<'_, Contents> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The GUID of an id.
fn guid(id: u32) -> [u8; 16] {
    (u128::from(id) | 0x5ce3_a000_0000_4000_8000_0000_0000_0000).to_be_bytes()
}

async fn disturb(
    State(state): Shared,
    request: Request<Body>,
    next: axum::middleware::Next,
) -> Response {
    let trouble = {
        let mut contents = contents(&state);
        contents.requests.push(request.uri().path().to_owned());
        contents.trouble.clone()
    };
    tokio::time::sleep(trouble.delay).await;
    let brought = request.headers().get(header::AUTHORIZATION);
    let brought = brought.and_then(|value| value.to_str().ok()).map(str::to_owned);
    if trouble.authorization.is_some() && trouble.authorization != brought {
        return error(StatusCode::UNAUTHORIZED, 401, "Unauthorized");
    }
    if let Some((status, body)) = trouble.answer {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (status, body).into_response();
    }
    next.run(request).await
}

async fn by_id(State(state): Shared, Path(id): Path<u32>) -> Response {
    match contents(&state).schema(id) {
        Some(schema) => Json(schema).into_response(),
        None => error(StatusCode::NOT_FOUND, 40_403, "Schema not found"),
    }
}

async fn by_guid(State(state): Shared, Path(wanted): Path<Uuid>) -> Response {
    let contents = contents(&state);
    let mut ids = (1..).map_while(|id| contents.schema(id).map(|schema| (id, schema)));
    match ids.find(|(id, _)| guid(*id) == *wanted.as_bytes()) {
        Some((_, schema)) => Json(schema).into_response(),
        None => error(StatusCode::NOT_FOUND, 40_403, "Schema not found"),
    }
}

async fn by_version(
    State(state): Shared,
    Path((subject, version)): Path<(String, String)>,
) -> Response {
    let contents = contents(&state);
    let Some(versions) = contents.subjects.get(&subject) else {
        return error(StatusCode::NOT_FOUND, 40_401, "Subject not found");
    };
    let id = match version.as_str() {
        "latest" | "-1" => versions.last(),
        number => number.parse::<usize>().ok().and_then(|at| versions.get(at.checked_sub(1)?)),
    };
    let Some((id, mut schema)) = id.and_then(|id| Some((*id, contents.schema(*id)?))) else {
        return error(StatusCode::NOT_FOUND, 40_402, "Version not found");
    };
    if let Some(fields) = schema.as_object_mut() {
        let version = versions.iter().position(|version| *version == id).map_or(0, |at| at + 1);
        fields.insert("subject".to_owned(), json!(subject));
        fields.insert("version".to_owned(), json!(version));
        fields.insert("id".to_owned(), json!(id));
    }
    Json(schema).into_response()
}

/// A schema that a client sent, as it is kept.
fn kept(body: &Value) -> Option<Value> {
    let schema = body.get("schema").filter(|schema| schema.is_string())?;
    let part = |name: &str, default: Value| {
        body.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(default)
    };
    let (kind, references) = (part("schemaType", json!("AVRO")), part("references", json!([])));
    Some(json!({"schema": schema, "schemaType": kind, "references": references}))
}

/// Whether a schema is registered under a subject.
async fn look_up(
    State(state): Shared,
    Path(subject): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let contents = contents(&state);
    let known = contents.schemas.iter().position(|schema| Some(schema) == kept(&body).as_ref());
    let id = known.and_then(|index| u32::try_from(index + 1).ok());
    let versions = contents.subjects.get(&subject);
    let version = versions.and_then(|ids| ids.iter().position(|known| Some(*known) == id));
    let Some((id, version)) = id.zip(version) else {
        return error(StatusCode::NOT_FOUND, 40_403, "Schema not found");
    };
    let mut answer = contents.schema(id).unwrap_or_default();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("subject".to_owned(), json!(subject));
        fields.insert("id".to_owned(), json!(id));
        fields.insert("version".to_owned(), json!(version + 1));
    }
    Json(answer).into_response()
}

async fn register(
    State(state): Shared,
    Path(subject): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let Some(body) = kept(&body) else {
        return error(StatusCode::UNPROCESSABLE_ENTITY, 42_201, "Invalid schema");
    };
    let Registered { id, guid, version } = contents(&state).register(&subject, body);
    let guid = Uuid::from_bytes(guid).to_string();
    Json(json!({"id": id, "guid": guid, "version": version})).into_response()
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(json!({"error_code": code, "message": message}))).into_response()
}
