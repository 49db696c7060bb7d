//! What the ports count themselves: answers by route and status, connections open and refused.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

use crate::http::admission::Admission;
use crate::http::admission_metrics;
use crate::http::auth::PortName;
use crate::http::rate_limit::RateLimiter;

/// Every path that is served, for counting. Paths from outside never become labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// `POST /v1/decisions`.
    Decide,
    /// `POST /v1/decisions/batch`.
    Batch,
    /// `POST /v1/labels`.
    Label,
    /// `GET /v1/decisions…`.
    Lookup,
    /// `GET /openapi.json`.
    OpenApi,
    /// `GET /healthz`.
    Health,
    /// `GET /readyz`.
    Ready,
    /// `GET /metrics`.
    Metrics,
    /// `GET /v1/policy`.
    Policy,
    /// `POST /v1/policy/reload`.
    Reload,
    /// `GET /v1/rules`.
    Rules,
    /// `POST /v1/rules/backtest`.
    RulesBacktest,
    /// `GET /v1/rules/candidate`.
    RulesCandidate,
    /// `POST /v1/rules/check`.
    RulesCheck,
    /// `GET /v1/lists`.
    Lists,
    /// `GET /v1/lists/{list}`.
    List,
    /// `/v1/lists/{list}/{value}`.
    ListEntry,
    /// `/v1/audit/checkpoint`.
    AuditCheckpoint,
    /// `GET /v1/audit/consistency/{size}`.
    AuditConsistency,
    /// `GET /v1/audit/{sequence}/proof`.
    AuditProof,
    /// `GET /v1/audit/tile/{tile}`.
    AuditTile,
    /// `GET /v1/audit`.
    Audit,
    /// `GET /v1/audit/{sequence}`.
    AuditRecord,
    /// `GET /v1/reviews`.
    Reviews,
    /// `POST /v1/reviews/{decision_id}`.
    Review,
    /// `POST /v1/audit/erasures`.
    Erasures,
    /// Anything else.
    Unknown,
}

const ROUTES: [(Route, &str); 27] = [
    (Route::Decide, "/v1/decisions"),
    (Route::Batch, "/v1/decisions/batch"),
    (Route::Label, "/v1/labels"),
    (Route::Lookup, "/v1/decisions/{decision_id}"),
    (Route::OpenApi, "/openapi.json"),
    (Route::Health, "/healthz"),
    (Route::Ready, "/readyz"),
    (Route::Metrics, "/metrics"),
    (Route::Policy, "/v1/policy"),
    (Route::Reload, "/v1/policy/reload"),
    (Route::Rules, "/v1/rules"),
    (Route::RulesBacktest, "/v1/rules/backtest"),
    (Route::RulesCandidate, "/v1/rules/candidate"),
    (Route::RulesCheck, "/v1/rules/check"),
    (Route::Lists, "/v1/lists"),
    (Route::List, "/v1/lists/{list}"),
    (Route::ListEntry, "/v1/lists/{list}/{value}"),
    (Route::AuditCheckpoint, "/v1/audit/checkpoint"),
    (Route::AuditConsistency, "/v1/audit/consistency/{size}"),
    (Route::AuditProof, "/v1/audit/{sequence}/proof"),
    (Route::AuditTile, "/v1/audit/tile/{tile}"),
    (Route::Audit, "/v1/audit"),
    (Route::AuditRecord, "/v1/audit/{sequence}"),
    (Route::Reviews, "/v1/reviews"),
    (Route::Review, "/v1/reviews/{decision_id}"),
    (Route::Erasures, "/v1/audit/erasures"),
    (Route::Unknown, "unknown"),
];

/// Every status that is answered; the last place counts any other.
const STATUSES: [u16; 18] =
    [200, 201, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429, 500, 503, 507, 0];

/// The counters.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    answers: [[AtomicU64; STATUSES.len()]; ROUTES.len()],
    opened: [AtomicU64; 2],
    closed: [AtomicU64; 2],
    refused: [AtomicU64; 2],
}

const PORTS: [PortName; 2] = [PortName::Decision, PortName::Admin];

impl HttpMetrics {
    /// Counts an answer.
    pub fn answered(&self, route: Route, status: StatusCode) {
        let place = STATUSES.iter().position(|it| *it == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        self.answers[route as usize][place].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was taken.
    pub fn connection_opened(&self, port: PortName) {
        self.opened[port as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that has ended.
    pub fn connection_closed(&self, port: PortName) {
        self.closed[port as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was refused.
    pub fn connection_refused(&self, port: PortName) {
        self.refused[port as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Puts the counters into the text of the service's metrics, before the `# EOF` of OpenMetrics when there is one.
    pub fn append_to(&self, text: &mut String, admission: &Admission, limiter: &RateLimiter) {
        const EOF: &str = "# EOF\n";
        let has_eof = text.ends_with(EOF);
        if has_eof {
            text.truncate(text.len() - EOF.len());
        }
        // Writing to a String cannot fail.
        let _ = self.write(text).and_then(|()| admission_metrics::write(text, admission, limiter));
        if has_eof {
            text.push_str(EOF);
        }
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        text.push_str("# HELP tollgate_http_answers Answers by route and status.\n# TYPE tollgate_http_answers counter\n");
        for (route, path) in ROUTES {
            for (place, status) in STATUSES.iter().enumerate() {
                let count = self.answers[route as usize][place].load(Ordering::Relaxed);
                if count > 0 {
                    writeln!(
                        text,
                        "tollgate_http_answers_total{{route=\"{path}\",status=\"{status}\"}} {count}"
                    )?;
                }
            }
        }
        text.push_str(
            "# HELP tollgate_http_connections Connections now open.\n# TYPE tollgate_http_connections gauge\n",
        );
        for port in PORTS {
            let open = self.opened[port as usize]
                .load(Ordering::Relaxed)
                .saturating_sub(self.closed[port as usize].load(Ordering::Relaxed));
            writeln!(text, "tollgate_http_connections{{port=\"{}\"}} {open}", port.name())?;
        }
        text.push_str(
            "# HELP tollgate_http_connections_refused Connections over the bound, answered 503 and closed.\n\
             # TYPE tollgate_http_connections_refused counter\n",
        );
        for port in PORTS {
            let refused = self.refused[port as usize].load(Ordering::Relaxed);
            writeln!(text, "tollgate_http_connections_refused_total{{port=\"{}\"}} {refused}", port.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::admission::AdmissionOptions;
    use crate::http::rate_limit::RateLimits;

    #[test]
    fn counters_stand_before_the_end_mark() {
        let metrics = HttpMetrics::default();
        metrics.answered(Route::Decide, StatusCode::OK);
        metrics.answered(Route::Decide, StatusCode::OK);
        metrics.answered(Route::Unknown, StatusCode::IM_A_TEAPOT);
        metrics.connection_opened(PortName::Decision);
        let mut text = "# TYPE a counter\na_total 1\n# EOF\n".to_owned();
        let admission = Admission::new(AdmissionOptions::default(), 2);
        metrics.append_to(&mut text, &admission, &RateLimiter::new(RateLimits::default()));
        assert!(text.starts_with("# TYPE a counter\na_total 1\n# HELP"));
        assert!(text.ends_with("\n# EOF\n"));
        for line in [
            "tollgate_http_answers_total{route=\"/v1/decisions\",status=\"200\"} 2\n",
            "tollgate_http_answers_total{route=\"unknown\",status=\"0\"} 1\n",
            "tollgate_http_connections{port=\"decision\"} 1\n",
            "tollgate_http_connections_refused_total{port=\"admin\"} 0\n",
            "tollgate_shed_total{reason=\"queue_delay\",answer=\"rules_only\"} 0\n",
            "tollgate_queue_delay_seconds_bucket{le=\"0.08\"} 0\n",
            "tollgate_admission_in_flight_max 64\n",
            "tollgate_rate_limited_total 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn every_route_stands_at_its_place() {
        for (place, (route, _)) in ROUTES.iter().enumerate() {
            assert_eq!(*route as usize, place);
        }
    }
}
