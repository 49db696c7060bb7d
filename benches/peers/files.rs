//! What all contestants get: transactions, profiles in Redis, and, for Tollgate, a thousand rules.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Transactions that are sent in turn.
const TRANSACTIONS: usize = 50_000;
/// Customers among them: each comes back a few times in a run.
const CUSTOMERS: &str = "50000";
/// Rules beside those that are shipped.
const RULES: usize = 946;
/// Conditions of each.
const CONDITIONS: usize = 5;
const SEED: u64 = 20_261_125;

/// Where they lie.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) transactions: PathBuf,
    pub(crate) rules: PathBuf,
    profiles: PathBuf,
}

impl Files {
    /// Makes them in `directory`.
    pub(crate) fn make(directory: &Path, root: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let all = directory.join("all.ndjson");
        let made = tollgate()
            .args(["simulate", "--seed", "7", "--customers", CUSTOMERS, "--days", "4", "--output"])
            .arg(&all)
            .output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into());
        }
        let text = fs::read_to_string(&all)?;
        let lines: Vec<&str> = text.lines().take(TRANSACTIONS).collect();
        let files = Self {
            transactions: directory.join("transactions.ndjson"),
            rules: directory.join("rules"),
            profiles: directory.join("profiles.ndjson"),
        };
        fs::write(&files.transactions, lines.join("\n"))?;
        fs::write(&files.profiles, profiles(&lines)?)?;
        fs::create_dir(&files.rules)?;
        copy(&root.join("rules"), &files.rules)?;
        fs::write(files.rules.join("many.yaml"), rules(root)?)?;
        Ok(files)
    }

    /// Stores the profiles.
    pub(crate) fn import(&self, redis: &str) -> Result<(), Box<dyn std::error::Error>> {
        let imported =
            tollgate().args(["profiles", "import", "--redis", redis]).arg(&self.profiles).output()?;
        if imported.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&imported.stderr).into()) }
    }
}

/// The program of this build.
pub(crate) fn tollgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            fs::create_dir(&target)?;
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// What is known of nine in ten of those who pay and are paid.
fn profiles(lines: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut seen = BTreeSet::new();
    let mut text = String::new();
    for line in lines {
        let transaction: Value = serde_json::from_str(line)?;
        for (entity, id) in
            [("customer", "id"), ("card", "fingerprint"), ("device", "id"), ("merchant", "id")]
        {
            let Some(id) = transaction[entity][id].as_str() else { continue };
            if !seen.insert((entity, id.to_owned())) || random.random_range(0..10) == 0 {
                continue;
            }
            let profile = match entity {
                "customer" => json!({
                    "lifetime_orders": random.random_range(0..200), "chargebacks": 0, "last_country": "DE",
                }),
                "card" => json!({ "chargebacks": 0 }),
                "device" => json!({ "risk_score": f64::from(random.random_range(0..100)) / 100.0 }),
                _ => json!({ "chargeback_rate": 0.002 }),
            };
            let Value::Object(mut profile) = profile else { continue };
            profile.insert("entity".to_owned(), entity.into());
            profile.insert("id".to_owned(), id.into());
            writeln!(text, "{}", Value::Object(profile))?;
        }
    }
    Ok(text)
}

/// Rules over counts and sums of the catalogue, of which hardly one matches.
fn rules(root: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let manifest: Value = serde_json::from_slice(&fs::read(root.join("models/default/manifest.json"))?)?;
    let names = manifest["feature_names"].as_array().ok_or("the manifest has no feature names")?;
    let counts: Vec<&str> =
        names.iter().filter_map(Value::as_str).filter(|name| name.contains(".count_")).collect();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut text = String::from("rules:\n");
    for number in 0..RULES {
        let conditions: Vec<String> = (0..CONDITIONS)
            .map(|_| {
                let name = counts[random.random_range(0..counts.len())];
                format!("{name} >= {}", random.random_range(3..400))
            })
            .collect();
        writeln!(
            text,
            "  - {{id: many-{number}, when: \"{}\", then: REVIEW, reason: many}}",
            conditions.join(" && ")
        )?;
    }
    Ok(text)
}
