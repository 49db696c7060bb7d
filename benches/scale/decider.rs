//! Whole decisions in process (`observe`, `judge` with attributions, consequences; no HTTP, log or Redis), by policies that are made here.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::domain::hash::sha256;
use tollgate::domain::transaction::{Mode, Transaction};
use tollgate::engine::policy::{Policy, PolicyFiles};
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::evaluation::session::Session;
use tollgate::model::attribution::AttributionScratch;
use tollgate::model::backend::Backend;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;

use crate::table::turns::{Turn, Turns, spread};
use crate::workload::model_text_of;

/// Payments that fill the windows before anything is measured, and those after them: more than one size decides in all its rounds.
const WARM_UP: usize = 30_000;
const LIVE: usize = 120_000;
/// Payments whose values are the thresholds of generated rules and trees.
const SAMPLES: usize = 256;
/// Payments over which matches of rules are counted.
const MATCHED: usize = 2_000;
/// Conditions of a rule.
const CONDITIONS: usize = 5;
const SEED: u64 = 20_261_126;

/// What all policies share.
pub(crate) struct Ground {
    root: &'static Path,
    directory: TempDir,
    transactions: Vec<Transaction>,
}

impl Ground {
    pub(crate) fn prepare() -> Result<Self, Box<dyn std::error::Error>> {
        let parameters = Parameters { customers: 4_000, days: 60, ..Parameters::default() };
        let simulated = Simulation::new(&parameters)?.take(WARM_UP + LIVE);
        Ok(Self {
            root: Path::new(env!("CARGO_MANIFEST_DIR")),
            directory: tempfile::tempdir()?,
            transactions: simulated.map(|simulated| simulated.transaction).collect(),
        })
    }

    fn shipped(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn policy(&self, rules: PathBuf, model: PathBuf) -> Result<Policy, String> {
        let features = self.shipped("models/features.yaml");
        let files = PolicyFiles {
            rules,
            model: Some(model),
            backend: Backend::default(),
            challengers: vec![],
            features,
        };
        Policy::load(&files, MISSING).map_err(|mistakes| mistakes.join("\n"))
    }

    /// The shipped model and catalogue with that many rules of five conditions, whose thresholds lie above so many
    /// percent of what payments have.
    pub(crate) fn with_rules(
        &self,
        count: usize,
        above_percent: usize,
    ) -> Result<Policy, Box<dyn std::error::Error>> {
        let shipped = self.shipped_policy()?;
        let samples = self.samples(&shipped);
        let names = &shipped.model.as_ref().ok_or("the shipped policy has no model")?.model.feature_names;
        // By feature: its values in order. What hardly any payment has is no feature for a rule, nor is what is a bool.
        let values: Vec<(&str, Vec<f32>)> = names
            .iter()
            .enumerate()
            .map(|(feature, name)| {
                let mut values: Vec<f32> =
                    samples.iter().map(|row| row[feature]).filter(|value| value.is_finite()).collect();
                values.sort_unstable_by(f32::total_cmp);
                (&**name, values)
            })
            .filter(|(_, values)| values.len() > SAMPLES / 2 && distinct(values) > 2)
            .collect();
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut text = String::from("rules:\n");
        for number in 0..count {
            let conditions: Vec<String> = (0..CONDITIONS)
                .map(|_| {
                    let (name, values) = &values[random.random_range(0..values.len())];
                    let threshold =
                        values[random.random_range(values.len() * above_percent / 100..values.len())];
                    format!("double({name}) >= {threshold:.4}")
                })
                .collect();
            let condition = conditions.join(" && ");
            writeln!(text, "  - {{id: many-{number}, when: \"{condition}\", then: REVIEW, reason: many}}")?;
        }
        let directory = self.directory.path().join(format!("rules-{count}"));
        fs::create_dir(&directory)?;
        fs::copy(self.shipped("rules/default.yaml"), directory.join("default.yaml"))?;
        fs::write(directory.join("many.yaml"), text)?;
        Ok(self.policy(directory, self.shipped("models/default"))?)
    }

    fn shipped_policy(&self) -> Result<Policy, String> {
        self.policy(self.shipped("rules"), self.shipped("models/default"))
    }

    /// The model's rows of the last payments before those that are measured.
    fn samples(&self, shipped: &Policy) -> Vec<Vec<f32>> {
        let session = Session::new(shipped);
        let features = self.transactions[..WARM_UP]
            .iter()
            .map(|transaction| session.decide(transaction, Mode::Live).features)
            .skip(WARM_UP - SAMPLES);
        let bound = shipped.model.iter();
        features.zip(bound.cycle()).map(|(features, bound)| bound.binding.row(features.numbers())).collect()
    }

    /// Microseconds of the score alone, and of the attributions alone, of one payment.
    pub(crate) fn score_and_attributions_us(&self, policy: &Policy, turns: Turns) -> Option<[f64; 2]> {
        let model = &policy.model.as_ref()?.model;
        let rows = self.samples(policy);
        let mut scratch = AttributionScratch::default();
        let mut features = vec![0.0; model.feature_names.len()];
        let score = |row: usize| {
            black_box(model.forest.margin(&rows[row]).ok());
        };
        let attributions = |row: usize| {
            let done =
                model.attributor.contributions_into(&model.forest, &rows[row], &mut scratch, &mut features);
            black_box(done.ok());
        };
        let all: Vec<Turn<'_>> =
            vec![(String::new(), Box::new(score)), (String::new(), Box::new(attributions))];
        let times = turns.times(all, rows.len());
        Some([spread(times[0].clone())[1], spread(times[1].clone())[1]])
    }

    /// Rules that match one payment, on average over some.
    pub(crate) fn matches(&self, policy: &Policy) -> f64 {
        let session = Session::new(policy);
        let hits = self.transactions[..WARM_UP]
            .iter()
            .map(|transaction| session.decide(transaction, Mode::Live))
            .skip(WARM_UP - MATCHED)
            .map(|judgement| judgement.hits.len() + judgement.hits_left_out as usize);
        hits.sum::<usize>() as f64 / MATCHED as f64
    }

    /// The shipped rules and catalogue with a model of that many complete trees of depth 6, whose thresholds are values of payments.
    pub(crate) fn with_trees(&self, count: usize) -> Result<Policy, Box<dyn std::error::Error>> {
        let shipped = self.shipped_policy()?;
        let samples = self.samples(&shipped);
        let names = &shipped.model.as_ref().ok_or("the shipped policy has no model")?.model.feature_names;
        let text = model_text_of(count, names.len(), |random, feature| {
            let values: Vec<f32> =
                samples.iter().map(|row| row[feature]).filter(|it| it.is_finite()).collect();
            if values.is_empty() { 0.0 } else { values[random.random_range(0..values.len())] }
        });
        let text = text.replacen("\"feature_names\":[]", &format!("\"feature_names\":{}", json!(names)), 1);
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(self.shipped("models/default/manifest.json"))?)?;
        manifest["model_sha256"] = json!(sha256(text.as_bytes()));
        let directory = self.directory.path().join(format!("trees-{count}"));
        fs::create_dir(&directory)?;
        fs::write(directory.join("model.json"), text)?;
        fs::write(directory.join("manifest.json"), manifest.to_string())?;
        Ok(self.policy(self.shipped("rules"), directory)?)
    }

    /// A catalogue alone.
    pub(crate) fn with_catalogue(
        &self,
        name: &str,
        text: &str,
    ) -> Result<Policy, Box<dyn std::error::Error>> {
        let file = self.directory.path().join(name);
        fs::write(&file, text)?;
        Ok(Policy::features_only(&file, MISSING).map_err(|mistakes| mistakes.join("\n"))?)
    }

    /// Decides the next payment, after the windows have been filled. An item's number does not matter: a payment comes once.
    pub(crate) fn turn<'a>(&'a self, name: &str, policy: &'a Policy) -> Turn<'a> {
        let session = Session::new(policy);
        let (before, live) = self.transactions.split_at(WARM_UP);
        for transaction in before {
            session.decide(transaction, Mode::Live);
        }
        let mut live = live.iter();
        let decide = move |_| {
            let transaction = live.next().expect("fewer decisions: with so many, say --pass-ms 50");
            black_box(session.decide(black_box(transaction), Mode::Live));
        };
        (name.to_owned(), Box::new(decide))
    }
}

fn distinct(ordered: &[f32]) -> usize {
    ordered.chunk_by(|one, next| one == next).count()
}

const MISSING: MissingPolicy =
    MissingPolicy { enrich: OnMissing::Continue, model: OnMissing::Review, overload: OnMissing::Continue };
