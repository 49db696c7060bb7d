//! The port that gateways call: decisions, batches, labels, and decisions as recorded.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};

use crate::domain::text::TransactionId;
use crate::http::arrival::Arrival;
use crate::http::auth::PortName;
use crate::http::batch;
use crate::http::body::{self, ResponseBody};
use crate::http::metrics::Route;
use crate::http::options::BATCH_BYTES_MAX;
use crate::http::port::Handler;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::request::{self, JSON_TYPES, NDJSON_TYPES};
use crate::http::server::Shared;
use crate::http::service::DecisionService;
use crate::pipeline::service::DecideError;

/// The OpenAPI 3.1 document of both ports.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What a path and a method ask for.
enum Call {
    Decide,
    Batch,
    Label,
    ByTransaction,
    ById(String),
    OpenApi,
}

/// Answers the requests of the decision port.
pub struct DecisionPort<S> {
    shared: Arc<Shared<S>>,
}

impl<S: DecisionService> DecisionPort<S> {
    /// Answers with what `shared` holds.
    pub fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    async fn call(
        &self,
        call: Call,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> Result<Response<ResponseBody>, Problem> {
        let shared = &self.shared;
        request::check_host(&request)?;
        if matches!(call, Call::OpenApi) {
            return Ok(json(Bytes::from_static(OPENAPI.as_bytes())));
        }
        let client = shared.options.keys.authorize(PortName::Decision, request.headers())?;
        shared.rate_limiter.take(client, arrival.peer, arrival.read)?;
        let writes = matches!(call, Call::Decide | Call::Batch | Call::Label);
        if writes && shared.is_draining() {
            return Err(draining().closing());
        }
        match call {
            Call::Decide => {
                let (headers, body) = (request.headers(), JSON_TYPES);
                request::check_content_type(headers, body)?;
                let key = request::idempotency_key(headers)?;
                let budget = request::budget(headers)?;
                // A client's deadline does not stop while its bytes are on their way, nor while they wait to be read.
                let Arrival { received, read, worker, .. } = arrival;
                let (_permit, effort) = match shared.admission.admit(worker, read, received, budget) {
                    Ok(admitted) => admitted,
                    Err(shed) => {
                        // Bytes that nobody reads would cost the connection, and making a new one costs more than this.
                        body::read_away(request, shared.options.body_timeout).await;
                        return Ok(shed.response());
                    }
                };
                let body = self.read_one(request).await?;
                let key = key.as_ref().map(TransactionId::as_str);
                Ok(json(shared.service.decide(&body, key, budget, received, effort).await?))
            }
            Call::Label => {
                request::check_content_type(request.headers(), JSON_TYPES)?;
                let body = self.read_one(request).await?;
                Ok(json(shared.service.label(&body).await?))
            }
            Call::Batch => self.batch(request, client, arrival).await,
            Call::ByTransaction => {
                let id = request::transaction_id(request.uri().query())?;
                self.look_up(move |service| service.decision_by_transaction(id.as_str())).await
            }
            Call::ById(id) => self.look_up(move |service| service.decision_by_id(&id)).await,
            Call::OpenApi => Ok(json(Bytes::from_static(OPENAPI.as_bytes()))),
        }
    }

    async fn read_one(&self, request: Request<Incoming>) -> Result<Bytes, Problem> {
        let options = &self.shared.options;
        let (head, body) = request.into_parts();
        body::read(&head.headers, body, options.body_bytes_max, options.body_timeout).await
    }

    async fn batch(
        &self,
        request: Request<Incoming>,
        client: Option<&str>,
        arrival: Arrival,
    ) -> Result<Response<ResponseBody>, Problem> {
        let shared = &self.shared;
        request::check_content_type(request.headers(), NDJSON_TYPES)?;
        let budget = request::budget(request.headers())?;
        let Ok(slot) = Arc::clone(&shared.batches).try_acquire_owned() else {
            return Err(
                Problem::new(ProblemKind::Overloaded, "too many batches are in work already").retry_after(1)
            );
        };
        let (head, body) = request.into_parts();
        let timeout = shared.options.batch_body_timeout;
        let body = body::read(&head.headers, body, BATCH_BYTES_MAX, timeout).await?;
        let more = batch::check(&body)?.saturating_sub(1);
        shared.rate_limiter.owe(client, arrival.peer, arrival.read, more);
        let answers = batch::decide(Arc::clone(shared), body, budget, slot);
        let mut response = Response::new(ResponseBody::stream(answers, arrival.busy));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(response)
    }

    /// Runs a look-up beside the decisions, because it may wait for the disk.
    async fn look_up(
        &self,
        find: impl FnOnce(&S) -> Result<Option<Bytes>, DecideError> + Send + 'static,
    ) -> Result<Response<ResponseBody>, Problem> {
        let Ok(slot) = Arc::clone(&self.shared.lookups).acquire_owned().await else {
            return Err(draining());
        };
        let service = Arc::clone(&self.shared.service);
        let found = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            find(&service)
        })
        .await
        .map_err(|error| DecideError::Internal(format!("a look-up ended: {error}")))??;
        let Some(found) = found else {
            return Err(Problem::new(ProblemKind::NotFound, "no such decision is recorded"));
        };
        let mut response = json(found);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

impl<S: DecisionService> Handler for DecisionPort<S> {
    async fn handle(&self, request: Request<Incoming>, arrival: Arrival) -> Response<ResponseBody> {
        let (route, call) = route(request.method(), request.uri().path());
        let result = match call {
            Ok(call) => self.call(call, request, arrival).await,
            Err(problem) => Err(problem),
        };
        let mut response = result.unwrap_or_else(Problem::into_response);
        if self.shared.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.shared.metrics.answered(route, response.status());
        response
    }
}

fn route(method: &Method, path: &str) -> (Route, Result<Call, Problem>) {
    let post = *method == Method::POST;
    let get = matches!(*method, Method::GET | Method::HEAD);
    let only = |allowed: bool, call: Call, allow: &'static str| {
        if allowed { Ok(call) } else { Err(Problem::method_not_allowed(allow)) }
    };
    match path {
        "/v1/decisions" if post => (Route::Decide, Ok(Call::Decide)),
        "/v1/decisions" => (Route::Lookup, only(get, Call::ByTransaction, "GET, HEAD, POST")),
        "/v1/decisions/batch" => (Route::Batch, only(post, Call::Batch, "POST")),
        "/v1/labels" => (Route::Label, only(post, Call::Label, "POST")),
        "/openapi.json" => (Route::OpenApi, only(get, Call::OpenApi, "GET, HEAD")),
        _ => match path.strip_prefix("/v1/decisions/") {
            Some(id) if is_decision_id(id) => {
                (Route::Lookup, only(get, Call::ById(id.to_owned()), "GET, HEAD"))
            }
            _ => (Route::Unknown, Err(not_found())),
        },
    }
}

fn is_decision_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The 404 of an unknown path.
pub fn not_found() -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        "nothing is served at this path; GET /openapi.json says what is where",
    )
}

/// The 503 of a server that shuts down.
pub fn draining() -> Problem {
    Problem::new(ProblemKind::Draining, "this instance is shutting down; send the request to another")
        .retry_after(1)
}

/// A 200 with JSON.
pub fn json(body: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
