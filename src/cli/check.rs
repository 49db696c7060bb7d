//! `tollgate check`

use anyhow::bail;

use crate::cli::args::CheckArgs;
use crate::cli::output::say;
use crate::cli::policy::{files, settings};
use crate::domain::time::{Clock, SystemClock};
use crate::engine::policy::Policy;
use crate::rules::lint::run::lint;

/// Runs it.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let config = settings(args.policy.config.as_deref())?;
    let files = files(&args.policy, &config);
    match Policy::load(&files, config.on_missing.policy()) {
        Ok(policy) => {
            let mut warnings: Vec<_> = policy.rules.warnings().to_vec();
            warnings.extend(lint(&policy.rules, SystemClock.now()));
            let of_models = policy.catalogue_warnings();
            let rules = policy.rules.rules();
            let tests: usize = rules.iter().map(|rule| rule.tests).sum();
            if args.json {
                let result = serde_json::json!({
                    "sound": true, "policy": policy.hash, "versions": policy.versions, "challengers": policy.challenger_versions(), "features": policy.catalogue.features.len(),
                    "rules": rules.len(), "tests": tests, "errors": [], "warnings": warnings,
                    "model_warnings": of_models,
                });
                say!("{result:#}");
            } else {
                for warning in &warnings {
                    eprintln!("{warning}");
                }
                for warning in &of_models {
                    eprintln!("{warning}");
                }
                let model = policy.model.as_ref().map_or_else(
                    || "no model".to_owned(),
                    |bound| {
                        format!(
                            "model {} over {} features",
                            bound.model.name,
                            bound.model.feature_names.len()
                        )
                    },
                );
                let beside = match policy.challengers.len() {
                    0 => String::new(),
                    count => format!(", {count} beside it as challengers"),
                };
                say!(
                    "sound: {} features, {model}{beside}, {} rules, {tests} tests passed, {} warnings",
                    policy.catalogue.features.len(),
                    rules.len(),
                    warnings.len() + of_models.len()
                );
            }
            Ok(())
        }
        Err(errors) if args.json => {
            say!("{:#}", serde_json::json!({"sound": false, "errors": errors}));
            bail!("the policy is not sound: {} errors", errors.len());
        }
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            bail!("the policy is not sound: {} errors", errors.len());
        }
    }
}
