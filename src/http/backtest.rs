//! `POST /v1/rules/backtest` and `GET /v1/rules/candidate`: what candidate rules would have done, and what they would do.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use crate::evaluation::truth::Unlabelled;
use crate::http::admin_port::to_json;
use crate::http::body::{self, ResponseBody};
use crate::http::candidate_body::{self, CANDIDATE_BYTES_MAX};
use crate::http::options::PROBLEM_ERRORS_MAX;
use crate::http::problem::{Problem, ProblemError, ProblemKind};
use crate::http::request::{self, JSON_TYPES};
use crate::http::server::Shared;
use crate::http::service::DecisionService;
use crate::pipeline::backtest::{BacktestError, TIME_MAX};
use crate::rules::problem::Problem as RuleProblem;
use crate::wire::reader::escape;

/// When to come again while another backtest runs, in seconds.
const BUSY_RETRY_S: u32 = 5;

/// Runs the candidate of the body over the recorded traffic.
pub async fn run<S: DecisionService>(
    shared: &Shared<S>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Problem> {
    request::check_content_type(request.headers(), JSON_TYPES)?;
    let (head, body) = request.into_parts();
    let timeout = shared.options.batch_body_timeout;
    let body = body::read(&head.headers, body, CANDIDATE_BYTES_MAX, timeout).await?;
    let wanted = candidate_body::backtest(&body)?;
    let named: Vec<String> = wanted.files.files.iter().map(|(name, _)| name.clone()).collect();
    match shared.service.backtest(wanted).await {
        Ok(report) => to_json(StatusCode::OK, &report),
        Err(BacktestError::Busy) => {
            let detail = format!("another backtest is running; one takes {} s at most", TIME_MAX.as_secs());
            Err(Problem::new(ProblemKind::InFlight, detail).retry_after(BUSY_RETRY_S))
        }
        Err(BacktestError::Refused(problems)) => Err(refused(&problems, &named)),
        Err(BacktestError::Failed(error)) => {
            tracing::error!(%error, "a backtest failed");
            Err(Problem::new(ProblemKind::Internal, "the recorded traffic could not be read"))
        }
    }
}

/// The candidate that decides beside the live rules, with its report.
pub async fn candidate<S: DecisionService>(
    service: &Arc<S>,
    query: Option<&str>,
) -> Result<Response<ResponseBody>, Problem> {
    let unlabelled = match query.unwrap_or_default() {
        "" | "unlabelled=left_out" => Unlabelled::LeftOut,
        "unlabelled=legitimate" => Unlabelled::Legitimate,
        _ => return Err(Problem::parameter("unlabelled", "is left_out or legitimate")),
    };
    let service = Arc::clone(service);
    let status = tokio::task::spawn_blocking(move || service.candidate_status(unlabelled)).await;
    match status {
        Ok(Some(status)) => to_json(StatusCode::OK, &status),
        Ok(None) => Err(Problem::new(
            ProblemKind::NotFound,
            "no candidate decides beside the live rules: name its directory with --candidate, or as shadow.candidate_rules",
        )),
        Err(_) => Err(Problem::new(ProblemKind::Internal, "the report could not be made")),
    }
}

/// 422 with every mistake: where it stands in the body, if it does, and the whole problem as `tollgate check --json` has it.
pub fn refused(problems: &[RuleProblem], named: &[String]) -> Problem {
    let errors = problems.iter().take(PROBLEM_ERRORS_MAX).map(|problem| {
        let file = named.iter().find(|name| problem.file.ends_with(&format!("/{name}")));
        ProblemError {
            pointer: file.map_or_else(String::new, |name| format!("/files/{}", escape(name))),
            detail: problem.to_string(),
            rules: Some(problem.clone()),
            ..ProblemError::default()
        }
    });
    Problem::new(ProblemKind::PolicyRefused, "the candidate rules are not sound; nothing was changed")
        .with_errors(errors.collect())
}
