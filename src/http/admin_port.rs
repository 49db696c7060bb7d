//! The port that operators and their tools call: health, metrics, policy, rules, lists, audit log and reviews.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::http::arrival::Arrival;
use crate::http::audit_port::{self, AuditPath};
use crate::http::auth::PortName;
use crate::http::backtest;
use crate::http::body::{self, ResponseBody};
use crate::http::candidate_body::{self, CANDIDATE_BYTES_MAX};
use crate::http::decision_port::not_found;
use crate::http::lists_port::{self, ANYBODY, ListPath};
use crate::http::metrics::Route;
use crate::http::port::Handler;
use crate::http::problem::{Problem, ProblemError, ProblemKind};
use crate::http::proof_port::{self, ProofPath};
use crate::http::request::{self, JSON_TYPES};
use crate::http::server::Shared;
use crate::http::service::DecisionService;
use crate::pipeline::erasure::ErasureError;
use crate::pipeline::policy::PolicyStatus;
use crate::pipeline::readiness::Check;
use crate::pipeline::service::DecideError;

/// The media type of a metrics text that ends with `# EOF`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of any other metrics text.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers the requests of the admin port.
pub struct AdminPort<S> {
    shared: Arc<Shared<S>>,
}

impl<S: DecisionService> AdminPort<S> {
    /// Answers with what `shared` holds.
    pub fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    async fn call(&self, call: Call, request: Request<Incoming>) -> Result<Response<ResponseBody>, Problem> {
        request::check_host(&request)?;
        let service = &self.shared.service;
        // Probes of orchestrators cannot carry keys.
        let call = match call {
            Call::Of(Route::Health) => return to_json(StatusCode::OK, &json!({"status": "ok"})),
            Call::Of(Route::Ready) => return self.readiness(),
            call => call,
        };
        let caller = self.shared.options.keys.authorize(PortName::Admin, request.headers())?;
        let route = match call {
            Call::List(path) => return lists_port::call(&self.shared, path, caller, request).await,
            Call::Audit(path) => return audit_port::call(&self.shared, path, caller, request).await,
            Call::Proof(ProofPath::Checkpoint) if *request.method() == Method::POST => {
                tracing::info!(caller = caller.unwrap_or(ANYBODY), "checkpoint asked for");
                return proof_port::sign(&self.shared).await;
            }
            Call::Proof(path) => return proof_port::call(&self.shared, path, request.uri().query()).await,
            Call::Of(route) => route,
        };
        match route {
            Route::Metrics => Ok(self.metrics()),
            Route::Policy => to_json(StatusCode::OK, &service.policy_status()),
            Route::Reload => {
                tracing::info!(caller = caller.unwrap_or("anybody"), "reload asked for");
                reloaded(&service.reload("api", caller).await)
            }
            Route::Rules => to_json(StatusCode::OK, &service.rules_status()),
            Route::RulesBacktest => {
                tracing::info!(caller = caller.unwrap_or("anybody"), "backtest asked for");
                backtest::run(&self.shared, request).await
            }
            Route::RulesCandidate => backtest::candidate(service, request.uri().query()).await,
            Route::RulesCheck => self.check_rules(request).await,
            Route::Erasures => self.erase(caller, request).await,
            _ => Err(not_found()),
        }
    }

    async fn check_rules(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Problem> {
        let shared = &self.shared;
        request::check_content_type(request.headers(), JSON_TYPES)?;
        let Ok(slot) = Arc::clone(&shared.checks).try_acquire_owned() else {
            return Err(Problem::new(ProblemKind::Overloaded, "other rules are being checked").retry_after(1));
        };
        let (head, body) = request.into_parts();
        let timeout = shared.options.batch_body_timeout;
        let body = body::read(&head.headers, body, CANDIDATE_BYTES_MAX, timeout).await?;
        let candidate = candidate_body::check(&body)?;
        let service = Arc::clone(&shared.service);
        let checked = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            service.check_rules(candidate)
        })
        .await
        .map_err(|error| DecideError::Internal(format!("a check of rules ended: {error}")))?;
        to_json(StatusCode::OK, &checked)
    }

    async fn erase(
        &self,
        caller: Option<&str>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Problem> {
        let shared = &self.shared;
        request::check_content_type(request.headers(), JSON_TYPES)?;
        let (head, body) = request.into_parts();
        let (bytes_max, timeout) = (shared.options.body_bytes_max, shared.options.body_timeout);
        let body = body::read(&head.headers, body, bytes_max, timeout).await?;
        let by = caller.unwrap_or(ANYBODY).to_owned();
        let service = Arc::clone(&shared.service);
        // On a task of its own: it is finished also when whoever asked goes away.
        let erased = tokio::spawn(async move { service.erase(&body, &by).await });
        let erased =
            erased.await.map_err(|error| DecideError::Internal(format!("an erasure ended: {error}")))?;
        to_json(StatusCode::OK, &erased?)
    }

    fn readiness(&self) -> Result<Response<ResponseBody>, Problem> {
        let mut readiness = self.shared.service.readiness();
        if self.shared.is_draining() {
            readiness.ready = false;
            let detail = Some("shutting down".to_owned());
            readiness.checks.push(Check { name: "ports", ok: false, detail });
        }
        let ready = readiness.ready;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = to_json(status, &readiness)?;
        if !ready {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Ok(response)
    }

    fn metrics(&self) -> Response<ResponseBody> {
        let mut text = self.shared.service.metrics_text();
        let Shared { metrics, admission, rate_limiter, .. } = &*self.shared;
        metrics.append_to(&mut text, admission, rate_limiter);
        let media_type = if text.ends_with("# EOF\n") { OPENMETRICS } else { PROMETHEUS_TEXT };
        let mut response = Response::new(ResponseBody::full(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}

impl<S: DecisionService> Handler for AdminPort<S> {
    async fn handle(&self, request: Request<Incoming>, _arrival: Arrival) -> Response<ResponseBody> {
        let (route, call) = route(request.method(), request.uri().path());
        let result = match call {
            Ok(call) => self.call(call, request).await,
            Err(problem) => Err(problem),
        };
        let mut response = result.unwrap_or_else(Problem::into_response);
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        self.shared.metrics.answered(route, response.status());
        response
    }
}

/// What a path and a method ask for.
enum Call {
    Of(Route),
    List(ListPath),
    Audit(AuditPath),
    Proof(ProofPath),
}

fn route(method: &Method, path: &str) -> (Route, Result<Call, Problem>) {
    match ListPath::parse(path) {
        None => {}
        Some(Ok(path)) => {
            let (route, allowed) = (path.route(), path.check_method(method));
            return (route, allowed.map(|()| Call::List(path)));
        }
        Some(Err(problem)) => return (Route::ListEntry, Err(problem)),
    }
    if let Some(path) = AuditPath::parse(path) {
        let (route, allowed) = (path.route(), path.check_method(method));
        return (route, allowed.map(|()| Call::Audit(path)));
    }
    if let Some(path) = ProofPath::parse(path) {
        return (path.route(), path.check_method(method).map(|()| Call::Proof(path)));
    }
    let route = match path {
        "/healthz" => Route::Health,
        "/readyz" => Route::Ready,
        "/metrics" => Route::Metrics,
        "/v1/policy" => Route::Policy,
        "/v1/policy/reload" => Route::Reload,
        "/v1/rules" => Route::Rules,
        "/v1/rules/backtest" => Route::RulesBacktest,
        "/v1/rules/candidate" => Route::RulesCandidate,
        "/v1/rules/check" => Route::RulesCheck,
        "/v1/audit/erasures" => Route::Erasures,
        _ => return (Route::Unknown, Err(not_found())),
    };
    let (allowed, allow) = match route {
        Route::Reload | Route::RulesBacktest | Route::RulesCheck | Route::Erasures => {
            (*method == Method::POST, "POST")
        }
        _ => (matches!(*method, Method::GET | Method::HEAD), "GET, HEAD"),
    };
    (route, if allowed { Ok(Call::Of(route)) } else { Err(Problem::method_not_allowed(allow)) })
}

/// 200 with the policy now live, or 422 with every reason why the one on disk was refused, or the files about addresses were.
fn reloaded(status: &PolicyStatus) -> Result<Response<ResponseBody>, Problem> {
    let of_policy = status.refused.as_ref().map(|refused| &refused.errors);
    let of_ip = status.ip.as_ref().and_then(|ip| ip.refused.as_ref()).map(|refused| &refused.errors);
    let what = match (of_policy, of_ip) {
        (None, None) => return to_json(StatusCode::OK, status),
        (Some(_), _) => "the policy on disk was refused; the policy that was live before stays live",
        (None, Some(_)) => {
            "the files about addresses on disk were refused; those that were live before stay live"
        }
    };
    let errors = of_policy
        .into_iter()
        .chain(of_ip)
        .flatten()
        .map(|detail| ProblemError { detail: detail.clone(), ..ProblemError::default() })
        .collect();
    let problem = Problem::new(ProblemKind::PolicyRefused, what).with_errors(errors);
    Err(match serde_json::to_value(status) {
        Ok(policy) => problem.with_policy(policy),
        Err(_) => problem,
    })
}

impl From<ErasureError> for Problem {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Busy => Self::new(ProblemKind::InFlight, error.to_string()).retry_after(1),
            ErasureError::Rejected(rejection) => DecideError::Rejected(rejection).into(),
            ErasureError::NotRecorded(cause) => {
                tracing::error!(%cause, "an erasure cannot be recorded");
                let detail = "the erasure was not recorded in time; send it again";
                Self::new(ProblemKind::AuditUnavailable, detail).retry_after(1)
            }
            ErasureError::NotDestroyed(cause) => {
                tracing::error!(%cause, "the keys of an erasure are not destroyed yet");
                let detail = "the erasure is recorded, and its keys are not destroyed yet, which is tried again every second; \
                              send it again until it succeeds";
                Self::new(ProblemKind::AuditUnavailable, detail).retry_after(1)
            }
        }
    }
}

pub(super) fn to_json(status: StatusCode, body: &impl Serialize) -> Result<Response<ResponseBody>, Problem> {
    let body = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Problem::new(ProblemKind::Internal, "the answer could not be written")
    })?;
    let mut response = crate::http::decision_port::json(Bytes::from(body));
    *response.status_mut() = status;
    Ok(response)
}
