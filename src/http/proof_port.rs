//! Proofs about the audit log, on the admin port: the newest checkpoint, proofs against it, and the tiles of the tree.
//!
//! Checkpoint and tiles stand where C2SP tlog-tiles puts them, with `/v1/audit` as the prefix, so that monitors of others can read them.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response};

use crate::http::body::ResponseBody;
use crate::http::decision_port::{draining, not_found};
use crate::http::metrics::Route;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::request;
use crate::http::server::Shared;
use crate::http::service::DecisionService;
use crate::pipeline::prove::ProveError;
use crate::pipeline::service::DecideError;
use crate::proof::checkpoint::decimal;
use crate::proof::tile::Tile;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The newest checkpoint changes; what has been asked for may be shown for a moment.
const FOR_SECONDS: &str = "max-age=5";
/// A tile never changes.
const FOR_EVER: &str = "max-age=31536000, immutable";

/// What a path is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProofPath {
    /// `/v1/audit/checkpoint`
    Checkpoint,
    /// `/v1/audit/consistency/{size}`
    Consistency(u64),
    /// `/v1/audit/{sequence}/proof`
    Proof(u64),
    /// `/v1/audit/tile/{tile}`
    Tile(Tile),
}

impl ProofPath {
    /// Reads a path; none when it is about something else.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/audit/")?;
        if rest == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        match rest.split_once('/')? {
            ("tile", tile) => Tile::parse(tile).map(Self::Tile),
            ("consistency", size) => decimal(size).map(Self::Consistency),
            (sequence, "proof") => decimal(sequence).map(Self::Proof),
            _ => None,
        }
    }

    /// For counting.
    pub(super) const fn route(self) -> Route {
        match self {
            Self::Checkpoint => Route::AuditCheckpoint,
            Self::Consistency(_) => Route::AuditConsistency,
            Self::Proof(_) => Route::AuditProof,
            Self::Tile(_) => Route::AuditTile,
        }
    }

    /// Whether the method is one that the path takes.
    pub(super) fn check_method(self, method: &Method) -> Result<(), Problem> {
        match (self, method) {
            (_, &Method::GET | &Method::HEAD) | (Self::Checkpoint, &Method::POST) => Ok(()),
            (Self::Checkpoint, _) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
            _ => Err(Problem::method_not_allowed("GET, HEAD")),
        }
    }
}

/// Has a checkpoint signed now, and answers with it.
pub(super) async fn sign<S: DecisionService>(shared: &Shared<S>) -> Result<Response<ResponseBody>, Problem> {
    let note = shared.service.sign_checkpoint().await?;
    let mut response = Response::new(ResponseBody::full(Bytes::from(note)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

/// Answers a request about proofs. It reads from disk, so it is made beside the requests.
pub(super) async fn call<S: DecisionService>(
    shared: &Arc<Shared<S>>,
    path: ProofPath,
    query: Option<&str>,
) -> Result<Response<ResponseBody>, Problem> {
    let bare = match request::parameter(query, "record")?.as_deref() {
        None => false,
        Some("none") => true,
        Some(_) => {
            let detail = "record=none leaves the record out of its proof; without it, it is there";
            return Err(Problem::new(ProblemKind::InvalidFields, detail));
        }
    };
    let Ok(slot) = Arc::clone(&shared.lookups).acquire_owned().await else { return Err(draining()) };
    let service = Arc::clone(&shared.service);
    let made = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        Ok::<_, ProveError>(Some(match path {
            ProofPath::Checkpoint => (Bytes::from(service.checkpoint_note()?), TEXT, FOR_SECONDS),
            ProofPath::Consistency(size) => {
                (Bytes::from(service.consistency_proof(size)?), TEXT, FOR_SECONDS)
            }
            ProofPath::Proof(sequence) => {
                (Bytes::from(service.inclusion_proof(sequence, bare)?), TEXT, FOR_SECONDS)
            }
            ProofPath::Tile(tile) => match service.tile(tile)? {
                Some(bytes) => (Bytes::from(bytes), BYTES, FOR_EVER),
                None => return Ok(None),
            },
        }))
    })
    .await
    .map_err(|error| DecideError::Internal(format!("the making of a proof ended: {error}")))?;
    let Some((body, media_type, caching)) = made? else { return Err(not_found()) };
    let mut response = Response::new(ResponseBody::full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(response)
}

impl From<ProveError> for Problem {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::NoCheckpoint
            | ProveError::NotKept
            | ProveError::NotCovered { .. }
            | ProveError::Gone { .. } => Self::new(ProblemKind::NotFound, error.to_string()),
            ProveError::NotSigned(_) => {
                Self::new(ProblemKind::AuditUnavailable, error.to_string()).retry_after(10)
            }
            ProveError::Log(_) | ProveError::Tile(_) | ProveError::Wrong(_) => {
                tracing::error!(%error, "a proof cannot be made");
                Self::new(ProblemKind::Internal, "the proof could not be made; the service's log says why")
            }
        }
    }
}
