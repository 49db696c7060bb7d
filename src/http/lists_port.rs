//! Lists at run time, on the admin port: which there are, what stands on them, and changes.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::http::admin_port::to_json;
use crate::http::body::{self, ResponseBody};
use crate::http::decision_port::{draining, not_found};
use crate::http::metrics::Route;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::request::{self, JSON_TYPES};
use crate::http::server::Shared;
use crate::http::service::DecisionService;
use crate::pipeline::lists::{ListError, PAGE_ENTRIES_MAX};
use crate::pipeline::service::DecideError;

/// Entries of a page that does not say how many.
const PAGE_ENTRIES_DEFAULT: usize = 100;
/// Who changes a list where no key is asked for.
pub(super) const ANYBODY: &str = "anybody";

/// What a path is about.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum ListPath {
    /// `/v1/lists`
    All,
    /// `/v1/lists/{list}`
    One(String),
    /// `/v1/lists/{list}/{value}`
    Entry(String, String),
}

impl ListPath {
    /// Reads a path; none when it is about something else.
    pub(super) fn parse(path: &str) -> Option<Result<Self, Problem>> {
        let rest = path.strip_prefix("/v1/lists")?;
        let Some(rest) = rest.strip_prefix('/') else { return rest.is_empty().then_some(Ok(Self::All)) };
        let decode = |part: &str| {
            let detail = "list and value stand in the path percent-encoded, as UTF-8";
            request::percent_decode(part).ok_or_else(|| Problem::new(ProblemKind::InvalidFields, detail))
        };
        let mut parts = rest.split('/');
        Some(match (parts.next(), parts.next(), parts.next()) {
            (Some(list), None, _) => decode(list).map(Self::One),
            (Some(list), Some(value), None) => {
                decode(list).and_then(|list| decode(value).map(|value| Self::Entry(list, value)))
            }
            // A slash of a value is written %2F.
            _ => Err(not_found()),
        })
    }

    /// For counting.
    pub(super) const fn route(&self) -> Route {
        match self {
            Self::All => Route::Lists,
            Self::One(_) => Route::List,
            Self::Entry(..) => Route::ListEntry,
        }
    }

    /// Whether the method is one that the path takes.
    pub(super) fn check_method(&self, method: &Method) -> Result<(), Problem> {
        let is_get = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::All | Self::One(_) if is_get => Ok(()),
            Self::All | Self::One(_) => Err(Problem::method_not_allowed("GET, HEAD")),
            Self::Entry(..) if is_get || matches!(*method, Method::PUT | Method::DELETE) => Ok(()),
            Self::Entry(..) => Err(Problem::method_not_allowed("GET, HEAD, PUT, DELETE")),
        }
    }
}

/// Answers a request about lists. `caller` is whose key it came with.
pub(super) async fn call<S: DecisionService>(
    shared: &Arc<Shared<S>>,
    path: ListPath,
    caller: Option<&str>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Problem> {
    let service = &shared.service;
    match path {
        ListPath::All => to_json(StatusCode::OK, &service.lists_status()),
        ListPath::One(list) => page(shared, list, request.uri().query()).await,
        ListPath::Entry(list, value) => {
            let by = caller.unwrap_or(ANYBODY);
            match *request.method() {
                Method::PUT => {
                    request::check_content_type(request.headers(), JSON_TYPES)?;
                    let body = read(shared, request).await?;
                    let changed = service.put_on_list(&list, &value, &body, by).await?;
                    let is_new = changed.before.is_none();
                    tracing::info!(list, by, sequence = changed.audit.sequence, "a value is put on a list");
                    to_json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &changed)
                }
                Method::DELETE => {
                    let note = request::parameter(request.uri().query(), "note")?;
                    request::check_content_type(request.headers(), JSON_TYPES)?;
                    let mut body = read(shared, request).await?;
                    if let Some(note) = note.filter(|_| body.is_empty()) {
                        body = Bytes::from(json!({"note": note}).to_string());
                    }
                    let changed = service.take_off_list(&list, &value, &body, by).await?;
                    tracing::info!(
                        list,
                        by,
                        sequence = changed.audit.sequence,
                        "a value is taken off a list"
                    );
                    to_json(StatusCode::OK, &changed)
                }
                _ => to_json(StatusCode::OK, &service.listed(&list, &value)?),
            }
        }
    }
}

async fn read<S>(shared: &Shared<S>, request: Request<Incoming>) -> Result<Bytes, Problem> {
    let (head, body) = request.into_parts();
    body::read(&head.headers, body, shared.options.body_bytes_max, shared.options.body_timeout).await
}

/// One page. It looks at every entry of the list, so it is made beside the requests, like a look-up.
async fn page<S: DecisionService>(
    shared: &Arc<Shared<S>>,
    list: String,
    query: Option<&str>,
) -> Result<Response<ResponseBody>, Problem> {
    let after = request::parameter(query, "after")?;
    let limit = request::parameter(query, "limit")?.map_or(Ok(PAGE_ENTRIES_DEFAULT), |text| {
        let limit = text.parse().ok().filter(|limit| (1..=PAGE_ENTRIES_MAX).contains(limit));
        let detail = format!("must be a whole number from 1 to {PAGE_ENTRIES_MAX}");
        limit.ok_or_else(|| Problem::parameter("limit", detail))
    })?;
    let Ok(slot) = Arc::clone(&shared.lookups).acquire_owned().await else { return Err(draining()) };
    let service = Arc::clone(&shared.service);
    let page = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        service.list_page(&list, after.as_deref(), limit)
    })
    .await
    .map_err(|error| DecideError::Internal(format!("a page of a list ended: {error}")))??;
    to_json(StatusCode::OK, &page)
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::UnknownList { .. } | ListError::NotListed => {
                Self::new(ProblemKind::NotFound, error.to_string())
            }
            ListError::InFile { .. } => Self::new(ProblemKind::ListedInFile, error.to_string()),
            ListError::Full => Self::new(ProblemKind::ListsFull, error.to_string()),
            ListError::Rejected(rejection) => DecideError::Rejected(rejection).into(),
            ListError::Service(DecideError::AuditUnavailable(cause)) => {
                tracing::error!(%cause, "a change of a list cannot be recorded");
                let detail =
                    "the change was not recorded in time; look at the entry before you send it again";
                Self::new(ProblemKind::AuditUnavailable, detail).retry_after(1)
            }
            ListError::Service(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let entry = |list: &str, value: &str| Ok(ListPath::Entry(list.to_owned(), value.to_owned()));
        let facts = [
            ("/v1/rules", None),
            ("/v1/listsx", None),
            ("/v1/lists", Some(Ok(ListPath::All))),
            ("/v1/lists/a", Some(Ok(ListPath::One("a".to_owned())))),
            ("/v1/lists/a/v%2F1%20x+", Some(entry("a", "v/1 x+"))),
            ("/v1/lists/a/", Some(entry("a", ""))),
            ("/v1/lists/a/b/c", Some(Err(404))),
            ("/v1/lists/a/%zz", Some(Err(422))),
            ("/v1/lists/a/%ff", Some(Err(422))),
        ];
        for (path, expected) in facts {
            let found = ListPath::parse(path).map(|it| it.map_err(|problem| problem.status().as_u16()));
            assert_eq!(found, expected, "{path}");
        }
    }
}
