//! `tollgate.toml`: every setting with its default, unit and bounds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::audit::writer::Ack;
use crate::config::archive::ArchiveConfig;
use crate::config::checkpoints::CheckpointsConfig;
use crate::config::forward::{self, ForwardConfig};
use crate::config::ip::IpConfig;
use crate::config::overload::{OverloadConfig, RateLimitConfig};
use crate::config::privacy::PrivacyConfig;
use crate::config::profiles::ProfilesConfig;
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::model::backend::Backend;
use crate::pipeline::settings::{OnAuditFailure, OnBacklog};

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not what it should be; the message has line and column.
    #[error("{file}: {error}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: Box<toml::de::Error>,
    },
    /// What is said of one thing does not go together.
    #[error("{file}: {problem}")]
    Inconsistent {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A value is out of its bounds.
    #[error("{file}: {name} must be from {min} to {max}, is {actual}")]
    OutOfRange {
        /// The file.
        file: PathBuf,
        /// Section and key.
        name: &'static str,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What it is.
        actual: u64,
    },
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The two ports.
    pub server: Server,
    /// Who may use them.
    pub auth: Auth,
    /// Where things lie.
    pub paths: Paths,
    /// How the model is scored.
    pub model: ModelConfig,
    /// The request path.
    pub decision: DecisionConfig,
    /// Which decisions are begun when there is no time for all.
    pub overload: OverloadConfig,
    /// How much each client may send.
    pub rate_limit: RateLimitConfig,
    /// What missing parts mean.
    pub on_missing: MissingConfig,
    /// The enrichment store.
    pub profiles: ProfilesConfig,
    /// What local files know of addresses.
    pub ip: IpConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// What becomes of its closed segments.
    pub archive: ArchiveConfig,
    /// How personal data is recorded.
    pub privacy: PrivacyConfig,
    /// What a start begins with.
    pub state: StateConfig,
    /// What is looked at after a decision.
    pub shadow: ShadowConfig,
    /// Where the log is sent on to.
    pub forward: Vec<ForwardConfig>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct Server {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub threads: usize,
    pub connections_max: usize,
    pub in_flight_max: usize,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub drain_timeout_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: SocketAddr::from(([127, 0, 0, 1], 8081)),
            threads: 0,
            connections_max: 10_000,
            in_flight_max: 512,
            header_timeout_ms: 5_000,
            body_timeout_ms: 5_000,
            drain_timeout_ms: 10_000,
        }
    }
}

/// `[auth]`
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct Auth {
    pub decision_keys: Vec<String>,
    pub admin_keys: Vec<String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({} decision keys, {} admin keys)", self.decision_keys.len(), self.admin_keys.len())
    }
}

/// `[paths]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct Paths {
    pub data: PathBuf,
    pub rules: PathBuf,
    pub model: PathBuf,
    pub features: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            data: "data".into(),
            rules: "rules".into(),
            model: "models/default".into(),
            features: "models/features.yaml".into(),
        }
    }
}

/// `[model]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ModelConfig {
    pub backend: Backend,
}

/// `[decision]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct DecisionConfig {
    pub deadline_ms: u64,
    pub enrich_timeout_ms: u64,
    pub clock_skew_max_s: u64,
    pub idempotency_keys_max: usize,
    pub on_audit_failure: OnAuditFailure,
}

impl Default for DecisionConfig {
    fn default() -> Self {
        Self {
            deadline_ms: 80,
            enrich_timeout_ms: 20,
            clock_skew_max_s: 300,
            idempotency_keys_max: 4_000_000,
            on_audit_failure: OnAuditFailure::Refuse,
        }
    }
}

/// `[on_missing]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct MissingConfig {
    pub enrich: OnMissing,
    pub model: OnMissing,
    pub overload: OnMissing,
}

impl Default for MissingConfig {
    fn default() -> Self {
        Self { enrich: OnMissing::Continue, model: OnMissing::Review, overload: OnMissing::Continue }
    }
}

impl MissingConfig {
    /// As the engine takes it.
    pub const fn policy(self) -> MissingPolicy {
        MissingPolicy { enrich: self.enrich, model: self.model, overload: self.overload }
    }
}

/// `[audit]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct AuditConfig {
    pub ack: Ack,
    pub commit_interval_ms: u64,
    pub segment_mib: u64,
    pub queue_records_max: usize,
    pub checkpoints: CheckpointsConfig,
    pub on_backlog: OnBacklog,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            ack: Ack::Process,
            commit_interval_ms: 5,
            segment_mib: 256,
            queue_records_max: 8_192,
            checkpoints: CheckpointsConfig::default(),
            on_backlog: OnBacklog::Fail,
        }
    }
}

/// `[state]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct StateConfig {
    pub snapshot_interval_s: u64,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { snapshot_interval_s: 300 }
    }
}

/// `[shadow]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ShadowConfig {
    pub challengers: Vec<ChallengerConfig>,
    pub candidate_rules: PathBuf,
    pub queue_decisions_max: usize,
    pub drift_window_s: u64,
}

/// `[[shadow.challengers]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ChallengerConfig {
    pub name: String,
    pub model: PathBuf,
}

impl Default for ShadowConfig {
    fn default() -> Self {
        Self {
            challengers: Vec::new(),
            candidate_rules: PathBuf::new(),
            queue_decisions_max: 4_096,
            drift_window_s: 86_400,
        }
    }
}

impl Config {
    /// Reads a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { file: file.to_owned(), error: Box::new(error) })?;
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Path) -> Result<(), ConfigError> {
        let (server, decision, audit) = (&self.server, &self.decision, &self.audit);
        let bounds = [
            ("server.connections_max", server.connections_max as u64, 1, 1_000_000),
            ("server.threads", server.threads as u64, 0, 1_024),
            ("server.in_flight_max", server.in_flight_max as u64, 1, 100_000),
            ("server.header_timeout_ms", server.header_timeout_ms, 1, 600_000),
            ("server.body_timeout_ms", server.body_timeout_ms, 1, 600_000),
            ("server.drain_timeout_ms", server.drain_timeout_ms, 0, 600_000),
            ("decision.deadline_ms", decision.deadline_ms, 1, 10_000),
            ("decision.enrich_timeout_ms", decision.enrich_timeout_ms, 0, 10_000),
            ("decision.clock_skew_max_s", decision.clock_skew_max_s, 0, 86_400),
            ("decision.idempotency_keys_max", decision.idempotency_keys_max as u64, 1_000, 1_000_000_000),
            ("ip.database_age_max_d", self.ip.database_age_max_d, 1, 3_650),
            ("audit.segment_mib", audit.segment_mib, 1, 65_536),
            ("audit.queue_records_max", audit.queue_records_max as u64, 1, 1_000_000),
            ("audit.checkpoints.interval_s", audit.checkpoints.interval_s, 0, 86_400),
            ("privacy.subjects_max", self.privacy.subjects_max as u64, 1_000, 1_000_000_000),
            ("state.snapshot_interval_s", self.state.snapshot_interval_s, 0, 86_400),
            ("shadow.queue_decisions_max", self.shadow.queue_decisions_max as u64, 1, 1_000_000),
            ("shadow.drift_window_s", self.shadow.drift_window_s, 60, 2_678_400),
        ];
        if let Some(problem) = forward::check(&self.forward) {
            return Err(ConfigError::Inconsistent { file: file.to_owned(), problem });
        }
        let mut all = bounds
            .into_iter()
            .chain(self.profiles.bounds())
            .chain(self.overload.bounds())
            .chain(self.rate_limit.bounds())
            .chain(self.archive.bounds());
        match all.find(|(_, actual, min, max)| !(min..=max).contains(&actual)) {
            None => Ok(()),
            Some((name, actual, min, max)) => {
                Err(ConfigError::OutOfRange { file: file.to_owned(), name, min, max, actual })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_says_the_defaults() {
        let shipped = Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tollgate.toml")).unwrap();
        assert_eq!(format!("{shipped:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn mistakes_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tollgate.toml");
        for (text, expected) in [
            ("[server]\nlisten = 7", "line 2"),
            ("[server]\nlisen = \"127.0.0.1:1\"", "lisen"),
            ("[decision]\ndeadline_ms = 0", "decision.deadline_ms must be from 1 to 10000, is 0"),
            ("[on_missing]\nmodel = \"APPROVE\"", "line 2"),
            ("[overload]\nanswer = \"approve\"", "expected `refuse` or `rules_only`"),
            ("[rate_limit]\nrequests_per_s = 1000001", "rate_limit.requests_per_s must be from 0 to 1000000"),
            ("[rate_limit.keys]\na = {burst = 5}", "missing field `requests_per_s`"),
            ("[model]\nbackend = \"onnx\"", "expected `tollgate` or `xgboost`"),
            ("[[shadow.challengers]]\nname = \"next\"", "missing field `model`"),
            ("[ip]\ndatabase_age_max_d = 0", "ip.database_age_max_d must be from 1 to 3650, is 0"),
            (
                "[[ip.lists]]\nname = \"a\"\nfile = \"a\"\ncategory = \"bad\"",
                "unknown variant `bad`, expected one of `tor`",
            ),
            ("[profiles.breaker]\nopen_ms = 0", "profiles.breaker.open_ms must be from 1 to 60000, is 0"),
            (
                "[audit.checkpoints]\ninterval_s = 86401",
                "audit.checkpoints.interval_s must be from 0 to 86400, is 86401",
            ),
            ("[profiles.cache]\nttl_s = 5", "ttl_s"),
            ("[archive]\nretention_days = 5", "archive.keep_local_days must be from 0 to 4, is 7"),
            ("[[forward]]\nname = \"a\"", "the target a of forwarding must have either redis or kafka"),
            ("[[forward]]\nname = \"a\"\nkinds = [\"decisions\"]", "unknown variant `decisions`"),
            ("[shadow]\ndrift_window_s = 59", "shadow.drift_window_s must be from 60 to 2678400, is 59"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Config::load(&file).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
