//! Whether the service can decide: what a load balancer asks.

use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::pipeline::service::Service;

impl Service {
    /// Whether the service can decide, and if not, why.
    pub fn readiness(&self) -> Readiness {
        let log = self.log.status();
        let log_is_writable = if log.healthy { Ok(()) } else { Err(log.last_error.unwrap_or_default()) };
        let is_open = if self.draining.load(Ordering::Acquire) { Err("draining".to_owned()) } else { Ok(()) };
        let checks = vec![
            Check::new("policy", Ok(())),
            Check::new("state", Ok(())),
            Check::new("log", log_is_writable),
            Check::new("open", is_open),
        ];
        Readiness { ready: checks.iter().all(|check| check.ok), checks }
    }
}

/// Whether the service can decide.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Readiness {
    /// All checks passed.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One check of readiness.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Check {
    fn new(name: &'static str, result: Result<(), String>) -> Self {
        Self { name, ok: result.is_ok(), detail: result.err() }
    }
}
