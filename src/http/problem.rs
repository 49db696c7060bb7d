//! Error answers: problem documents as RFC 9457 has them.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::http::body::ResponseBody;
use crate::http::rate_limit::{Limited, Rate};
use crate::pipeline::service::DecideError;
use crate::wire::rejection::{FieldError, Rejection};

/// How much a client may send.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How much is left of it.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Every kind of problem. The URN made of its slug is stable; clients may match on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProblemKind {
    /// The request breaks HTTP itself.
    BadRequest,
    /// The body is not JSON.
    NotJson,
    /// No key, or one that nobody has.
    Unauthorized,
    /// A key that is not good for this.
    Forbidden,
    /// Nothing is here.
    NotFound,
    /// Something is here, but not for this method.
    MethodNotAllowed,
    /// The body came too slowly.
    BodyTooSlow,
    /// The first request with this key is still in work.
    InFlight,
    /// The body is too large.
    TooLarge,
    /// The body is of a type that is not read here.
    UnsupportedMediaType,
    /// Wrong fields, headers or parameters.
    InvalidFields,
    /// It was erased on request.
    Erased,
    /// The key was used before, with another body.
    KeyReused,
    /// The policy on disk was refused; the last good one stays.
    PolicyRefused,
    /// The value stands in the list's file, where the API takes nothing out.
    ListedInFile,
    /// The decision has a verdict already, which this one does not say that it replaces.
    Reviewed,
    /// No room for one more entry of a list.
    ListsFull,
    /// Over this client's limit.
    TooManyRequests,
    /// A fault of the service itself.
    Internal,
    /// Not ready to decide yet.
    NotReady,
    /// Shutting down.
    Draining,
    /// Load is being shed.
    Overloaded,
    /// No decision can be recorded, so none is given.
    AuditUnavailable,
}

impl ProblemKind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::BadRequest,
        Self::NotJson,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTooSlow,
        Self::InFlight,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidFields,
        Self::Erased,
        Self::KeyReused,
        Self::PolicyRefused,
        Self::ListedInFile,
        Self::Reviewed,
        Self::ListsFull,
        Self::TooManyRequests,
        Self::Internal,
        Self::NotReady,
        Self::Draining,
        Self::Overloaded,
        Self::AuditUnavailable,
    ];

    /// The URN, the title and the status.
    pub const fn parts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::BadRequest => ("urn:tollgate:problem:bad-request", "Bad request", StatusCode::BAD_REQUEST),
            Self::NotJson => ("urn:tollgate:problem:not-json", "Not JSON", StatusCode::BAD_REQUEST),
            Self::Unauthorized => {
                ("urn:tollgate:problem:unauthorized", "No valid API key", StatusCode::UNAUTHORIZED)
            }
            Self::Forbidden => {
                ("urn:tollgate:problem:forbidden", "API key not allowed", StatusCode::FORBIDDEN)
            }
            Self::NotFound => ("urn:tollgate:problem:not-found", "Not found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => (
                "urn:tollgate:problem:method-not-allowed",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::BodyTooSlow => {
                ("urn:tollgate:problem:body-too-slow", "Body too slow", StatusCode::REQUEST_TIMEOUT)
            }
            Self::InFlight => ("urn:tollgate:problem:in-flight", "Still in work", StatusCode::CONFLICT),
            Self::TooLarge => {
                ("urn:tollgate:problem:too-large", "Body too large", StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::UnsupportedMediaType => (
                "urn:tollgate:problem:unsupported-media-type",
                "Unsupported media type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::InvalidFields => {
                ("urn:tollgate:problem:invalid-fields", "Invalid fields", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::Erased => ("urn:tollgate:problem:erased", "Erased", StatusCode::GONE),
            Self::KeyReused => (
                "urn:tollgate:problem:idempotency-key-reused",
                "Idempotency key reused",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::PolicyRefused => {
                ("urn:tollgate:problem:policy-refused", "Policy refused", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::ListedInFile => {
                ("urn:tollgate:problem:listed-in-file", "Listed in a file", StatusCode::CONFLICT)
            }
            Self::Reviewed => ("urn:tollgate:problem:reviewed", "Reviewed already", StatusCode::CONFLICT),
            Self::ListsFull => {
                ("urn:tollgate:problem:lists-full", "Lists full", StatusCode::INSUFFICIENT_STORAGE)
            }
            Self::TooManyRequests => {
                ("urn:tollgate:problem:too-many-requests", "Too many requests", StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Internal => {
                ("urn:tollgate:problem:internal", "Internal error", StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::NotReady => {
                ("urn:tollgate:problem:not-ready", "Not ready", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Draining => {
                ("urn:tollgate:problem:draining", "Shutting down", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Overloaded => {
                ("urn:tollgate:problem:overloaded", "Overloaded", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::AuditUnavailable => (
                "urn:tollgate:problem:audit-unavailable",
                "Audit log unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        }
    }
}

/// One thing that is wrong. `pointer` is always there, so that a client may rely on it; it is empty for what is not in the
/// body, and `header` or `parameter` then says where it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProblemError {
    /// Where in the body, as a JSON Pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// Which header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<&'static str>,
    /// Which query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<&'static str>,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// In rules: file, line, column, rule, message and suggestion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<crate::rules::problem::Problem>,
}

impl From<FieldError> for ProblemError {
    fn from(error: FieldError) -> Self {
        Self { pointer: error.pointer, detail: error.detail, ..Self::default() }
    }
}

/// A problem document, and the headers that go with it. Boxed, because it is the rare arm of every result here.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    errors: Vec<ProblemError>,
    line: Option<usize>,
    policy: Option<Value>,
    retry_after_s: Option<u32>,
    allow: Option<&'static str>,
    authenticate: Option<&'static str>,
    limited: Option<Limited>,
    close: bool,
}

/// The document on the wire.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    urn: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ProblemError],
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a Value>,
}

impl Problem {
    /// A problem of that kind; `detail` is for people and names this one occurrence.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            line: None,
            policy: None,
            retry_after_s: None,
            allow: None,
            authenticate: None,
            limited: None,
            close: false,
        }))
    }

    /// One wrong header.
    pub fn header(header: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let mut problem = Self::new(ProblemKind::InvalidFields, format!("the header {header} {detail}"));
        problem.0.errors.push(ProblemError { header: Some(header), detail, ..ProblemError::default() });
        problem
    }

    /// One wrong query parameter.
    pub fn parameter(parameter: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let mut problem =
            Self::new(ProblemKind::InvalidFields, format!("the parameter {parameter} {detail}"));
        problem.0.errors.push(ProblemError { parameter: Some(parameter), detail, ..ProblemError::default() });
        problem
    }

    /// A method that this path does not take; `allow` lists those that it does.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem =
            Self::new(ProblemKind::MethodNotAllowed, format!("this path takes {allow} requests"));
        problem.0.allow = Some(allow);
        problem
    }

    /// A body of more than `bytes_max` bytes.
    pub fn too_large(bytes_max: usize) -> Self {
        Self::new(ProblemKind::TooLarge, format!("the body must be at most {bytes_max} bytes long"))
    }

    /// With everything that is wrong, one by one.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<ProblemError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// With the line of the batch that it is about, counted from 1.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> Self {
        self.0.line = Some(line);
        self
    }

    /// With the policy that stays live.
    #[must_use]
    pub fn with_policy(mut self, policy: Value) -> Self {
        self.0.policy = Some(policy);
        self
    }

    /// With the time after which to come again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// With the challenge of RFC 6750.
    #[must_use]
    pub fn authenticate(mut self, challenge: &'static str) -> Self {
        self.0.authenticate = Some(challenge);
        self
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// What kind it is.
    pub fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        self.0.kind.parts().2
    }

    /// The document, as JSON without line breaks.
    pub fn to_json(&self) -> Vec<u8> {
        let (urn, title, status) = self.0.kind.parts();
        let document = Document {
            urn,
            title,
            status: status.as_u16(),
            detail: &self.0.detail,
            errors: &self.0.errors,
            line: self.0.line,
            policy: self.0.policy.as_ref(),
        };
        serde_json::to_vec(&document).unwrap_or_else(|_| b"{}".to_vec())
    }

    /// The whole answer.
    pub fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::full(Bytes::from(self.to_json())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.0.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(challenge) = self.0.authenticate {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(limited) = &self.0.limited {
            // draft-ietf-httpapi-ratelimit-headers: what the quota is, and that nothing is left of it until when.
            let Rate { per_second, burst } = limited.rate;
            let policy = format!("\"client\";q={per_second};w=1;tollgate-burst={}", burst.max(1));
            let state = format!("\"client\";r=0;t={}", limited.retry_after_s());
            for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
                if let Ok(value) = HeaderValue::try_from(text) {
                    headers.insert(name, value);
                }
            }
        }
        if self.0.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        let Rate { per_second, burst } = limited.rate;
        let detail =
            format!("this client may send {per_second} requests per second, and {} at once", burst.max(1));
        let mut problem =
            Self::new(ProblemKind::TooManyRequests, detail).retry_after(limited.retry_after_s());
        problem.0.limited = Some(limited);
        problem
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Rejected(Rejection::NotJson(detail)) => {
                Self::new(ProblemKind::NotJson, format!("the body is not JSON: {detail}"))
            }
            DecideError::Rejected(Rejection::Invalid(errors)) => {
                let detail = match errors.len() {
                    1 => Cow::Borrowed("1 field is wrong"),
                    count => Cow::Owned(format!("{count} fields are wrong")),
                };
                Self::new(ProblemKind::InvalidFields, detail)
                    .with_errors(errors.into_iter().map(ProblemError::from).collect())
            }
            DecideError::KeyReused => Self::new(ProblemKind::KeyReused, error.to_string()),
            DecideError::Erased => Self::new(ProblemKind::Erased, error.to_string()),
            DecideError::InFlight => Self::new(ProblemKind::InFlight, error.to_string()).retry_after(1),
            DecideError::Overloaded { retry_after_s } => {
                Self::new(ProblemKind::Overloaded, error.to_string()).retry_after(retry_after_s)
            }
            DecideError::NotReady(_) => Self::new(ProblemKind::NotReady, error.to_string()).retry_after(1),
            DecideError::AuditUnavailable(cause) => {
                // The cause names files of this machine, which are nobody's business outside.
                tracing::error!(%cause, "the audit log cannot be written, so no decision is given");
                Self::new(
                    ProblemKind::AuditUnavailable,
                    "the decision could not be recorded, so it is not given",
                )
                .retry_after(1)
            }
            DecideError::Internal(cause) => {
                tracing::error!(%cause, "a request failed");
                Self::new(ProblemKind::Internal, "the request failed; the log of the service says why")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_status() {
        let field = Rejection::field("/amount", "is required");
        let cases = [
            (DecideError::Rejected(Rejection::NotJson("x".into())), 400, "not-json", None),
            (DecideError::Rejected(field), 422, "invalid-fields", None),
            (DecideError::Erased, 410, "erased", None),
            (DecideError::KeyReused, 422, "idempotency-key-reused", None),
            (DecideError::InFlight, 409, "in-flight", Some("1")),
            (DecideError::Overloaded { retry_after_s: 7 }, 503, "overloaded", Some("7")),
            (DecideError::AuditUnavailable("/secret/path".into()), 503, "audit-unavailable", Some("1")),
            (DecideError::Internal("secret".into()), 500, "internal", None),
        ];
        for (error, status, slug, retry_after) in cases {
            let problem = Problem::from(error);
            let document: Value = serde_json::from_slice(&problem.to_json()).unwrap();
            assert_eq!(document["status"], status);
            assert_eq!(document["type"], format!("urn:tollgate:problem:{slug}"));
            assert!(!document.to_string().contains("secret"), "{document}");
            let response = problem.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).map(|it| it.to_str().unwrap()), retry_after);
        }
    }

    #[test]
    fn wrong_fields_and_headers_are_pointed_at() {
        let problem = Problem::from(DecideError::Rejected(Rejection::field("/amount/value", "must be >= 0")));
        let document: Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(
            document["errors"],
            serde_json::json!([{"pointer": "/amount/value", "detail": "must be >= 0"}])
        );
        let problem = Problem::header("X-Deadline-Ms", "must be a whole number");
        let document: Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(document["errors"][0]["header"], "X-Deadline-Ms");
        assert_eq!(document["errors"][0]["pointer"], "");
    }
}
