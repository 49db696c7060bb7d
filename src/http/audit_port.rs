//! The audit log and the queue of reviews, on the admin port.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use crate::domain::time::{Clock as _, SystemClock};
use crate::http::admin_port::to_json;
use crate::http::body::{self, ResponseBody};
use crate::http::decision_port::{draining, not_found};
use crate::http::metrics::Route;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::request::{self, JSON_TYPES};
use crate::http::server::Shared;
use crate::http::service::DecisionService;
use crate::pipeline::audit_search::AUDIT_PAGE_MAX;
use crate::pipeline::reviews::ReviewError;
use crate::pipeline::service::DecideError;
use crate::search::query::{self, Query, QueryError};

/// Who reviews where no key is asked for.
const ANYBODY: &str = "anybody";

/// What a path is about.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum AuditPath {
    /// `/v1/audit`
    Search,
    /// `/v1/audit/{sequence}`
    Record(u64),
    /// `/v1/reviews`
    Queue,
    /// `/v1/reviews/{decision_id}`
    Review(String),
}

impl AuditPath {
    /// Reads a path; none when it is about something else.
    pub(super) fn parse(path: &str) -> Option<Self> {
        match path {
            "/v1/audit" => return Some(Self::Search),
            "/v1/reviews" => return Some(Self::Queue),
            _ => {}
        }
        if let Some(id) = path.strip_prefix("/v1/reviews/") {
            return (!id.is_empty() && !id.contains('/')).then(|| Self::Review(id.to_owned()));
        }
        path.strip_prefix("/v1/audit/")?.parse().ok().map(Self::Record)
    }

    /// For counting.
    pub(super) const fn route(&self) -> Route {
        match self {
            Self::Search => Route::Audit,
            Self::Record(_) => Route::AuditRecord,
            Self::Queue => Route::Reviews,
            Self::Review(_) => Route::Review,
        }
    }

    /// Whether the method is one that the path takes.
    pub(super) fn check_method(&self, method: &Method) -> Result<(), Problem> {
        match self {
            Self::Review(_) if *method == Method::POST => Ok(()),
            Self::Review(_) => Err(Problem::method_not_allowed("POST")),
            _ if matches!(*method, Method::GET | Method::HEAD) => Ok(()),
            _ => Err(Problem::method_not_allowed("GET, HEAD")),
        }
    }
}

/// Answers a request. `caller` is whose key it came with.
pub(super) async fn call<S: DecisionService>(
    shared: &Arc<Shared<S>>,
    path: AuditPath,
    caller: Option<&str>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Problem> {
    match path {
        AuditPath::Search => {
            let (query, _) = read_query(request.uri().query(), false)?;
            let page = look_up(shared, move |service| service.search_audit(&query)).await?;
            to_json(StatusCode::OK, &page)
        }
        AuditPath::Record(sequence) => {
            let record = look_up(shared, move |service| service.audit_record(sequence)).await?;
            to_json(StatusCode::OK, &record.ok_or_else(not_found)?)
        }
        AuditPath::Queue => {
            let (query, after) = read_query(request.uri().query(), true)?;
            let page = look_up(shared, move |service| service.review_queue(&query, after)).await?;
            to_json(StatusCode::OK, &page)
        }
        AuditPath::Review(decision_id) => {
            let by = caller.unwrap_or(ANYBODY);
            request::check_content_type(request.headers(), JSON_TYPES)?;
            let (head, body) = request.into_parts();
            let options = &shared.options;
            let body = body::read(&head.headers, body, options.body_bytes_max, options.body_timeout).await?;
            let answer = shared.service.review(&decision_id, &body, by).await?;
            let (sequence, replayed) = (answer.audit.sequence, answer.replayed);
            tracing::info!(decision_id, by, sequence, replayed, "a decision is reviewed");
            to_json(if replayed { StatusCode::OK } else { StatusCode::CREATED }, &answer)
        }
    }
}

/// Asks the service beside the requests, as it reads from disk.
async fn look_up<S: DecisionService, T: Send + 'static>(
    shared: &Arc<Shared<S>>,
    ask: impl FnOnce(&S) -> Result<T, DecideError> + Send + 'static,
) -> Result<T, Problem> {
    let Ok(slot) = Arc::clone(&shared.lookups).acquire_owned().await else { return Err(draining()) };
    let service = Arc::clone(&shared.service);
    let answer = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        ask(&service)
    });
    let ended = |error| DecideError::Internal(format!("a search of the log ended: {error}"));
    Ok(answer.await.map_err(ended)??)
}

/// The filters of a query. A search goes on with `before`, the queue with `after`.
fn read_query(text: Option<&str>, is_queue: bool) -> Result<(Query, u64), Problem> {
    let (mut query, mut after) = (Query::default(), None);
    let now = SystemClock.now();
    for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if is_queue && name == "after" {
            let value: u64 = value.parse().map_err(|_| Problem::parameter("after", "must be a sequence"))?;
            if after.replace(value).is_some() {
                return Err(Problem::parameter("after", "must be given once"));
            }
            continue;
        }
        let Some(name) = query::names().find(|it| *it == name && !(is_queue && *it == "before")) else {
            let names: Vec<_> = query::names().filter(|it| !(is_queue && *it == "before")).collect();
            let detail =
                format!("parameters are {}{}", names.join(", "), if is_queue { ", after" } else { "" });
            return Err(Problem::new(ProblemKind::InvalidFields, detail));
        };
        let value = request::percent_decode(value)
            .ok_or_else(|| Problem::parameter(name, "is not percent-encoded correctly"))?;
        query
            .set(name, &value, now)
            .map_err(|error: QueryError| Problem::parameter(name, error.to_string()))?;
    }
    if query.limit > AUDIT_PAGE_MAX {
        let detail = format!("must be a whole number from 1 to {AUDIT_PAGE_MAX}");
        return Err(Problem::parameter("limit", detail));
    }
    Ok((query, after.unwrap_or(0)))
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::NotFound => Self::new(ProblemKind::NotFound, error.to_string()),
            ReviewError::Reviewed { .. } => Self::new(ProblemKind::Reviewed, error.to_string()),
            ReviewError::Rejected(rejection) => DecideError::Rejected(rejection).into(),
            ReviewError::Service(DecideError::AuditUnavailable(cause)) => {
                tracing::error!(%cause, "a review cannot be recorded");
                let detail = "the review was not recorded in time; send it again";
                Self::new(ProblemKind::AuditUnavailable, detail).retry_after(1)
            }
            ReviewError::Service(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/v1/audit", Some(AuditPath::Search)),
            ("/v1/audit/7", Some(AuditPath::Record(7))),
            ("/v1/audit/x", None),
            ("/v1/audit/7/proof", None),
            ("/v1/reviews", Some(AuditPath::Queue)),
            ("/v1/reviews/dec_1", Some(AuditPath::Review("dec_1".to_owned()))),
            ("/v1/reviews/", None),
            ("/v1/reviews/a/b", None),
            ("/v1/rules", None),
        ] {
            assert_eq!(AuditPath::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn queries() {
        for (text, is_queue, good) in [
            ("", false, true),
            ("customer=c%2F7&outcome=BLOCK&limit=200", false, true),
            ("limit=201", false, false),
            ("custommer=c_7", false, false),
            ("before=9", false, true),
            ("before=9", true, false),
            ("after=9", true, true),
            ("after=9", false, false),
            ("after=1&after=2", true, false),
            ("customer=%zz", false, false),
        ] {
            assert_eq!(read_query(Some(text), is_queue).is_ok(), good, "{text}");
        }
    }
}
