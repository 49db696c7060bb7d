//! A file of six payments by one card, decided by two sets of rules: whose answers fill the windows decides what is decided next.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use crate::domain::decision::Outcome;
use crate::engine::policy::{Policy, PolicyFiles, load_rules};
use crate::engine::settings::{MissingPolicy, OnMissing};
use crate::evaluation::report::{BacktestReport, OutcomesFollow};
use crate::evaluation::session::Session;
use crate::evaluation::tally::Against;
use crate::evaluation::truth::Unlabelled;
use crate::model::backend::Backend;
use crate::offline::backtest::{BacktestOptions, Other, run};
use crate::offline::mapping::Mapping;
use crate::offline::replay_files::ReplayFiles;

const CATALOGUE: &str = "version: 1
entities:
  card: {key: card.fingerprint}
windows:
  - {entity: card, stream: declined, count: [24h]}
";
/// Blocks what is dear, and whoever was declined before.
const CANDIDATE: &str = "default: {then: APPROVE, reason: nothing}
rules:
  - {id: dear, when: amount > 100, then: BLOCK, reason: dear, owner: tests, description: Dear.}
  - {id: again, when: card.declined_count_24h >= 1, then: REVIEW, reason: again, owner: tests, description: Again.}
";
/// Blocks what is very dear.
const BASELINE: &str = "default: {then: APPROVE, reason: nothing}
rules:
  - {id: dear, when: amount > 500, then: BLOCK, reason: dear, owner: tests, description: Dear.}
";
/// `what` is what was decided; the frauds are the second and the fifth.
const FILE: &str = "id,at,major,card,what,fraud
t1,2026-03-01T10:00:00Z,50.00,fp,ok,0
t2,2026-03-01T10:01:00Z,200.00,fp,ok,1
t3,2026-03-01T10:02:00Z,50.00,fp,ok,0
t4,2026-03-01T10:03:00Z,60.00,fp,no,0
t5,2026-03-01T10:04:00Z,600.00,fp,ok,1
t6,2026-03-01T10:05:00Z,70.00,fp,,0
";
const MAPPING: &str = "transaction_id: {column: id}
occurred_at: {column: at}
amount: {column: major, unit: major, currency: EUR}
card.fingerprint: {column: card}
label: {column: fraud, fraud: [1], delay: 30d}
decision: {column: what, APPROVE: [ok], BLOCK: [no]}
";

struct Setting {
    directory: tempfile::TempDir,
    policy: Policy,
    baseline: Policy,
}

impl Setting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            file
        };
        write("pay.csv", FILE);
        let features = write("features.yaml", CATALOGUE);
        let directory_of = |file: std::path::PathBuf| file.parent().unwrap().to_owned();
        let rules = directory_of(write("candidate/default.yaml", CANDIDATE));
        let other = directory_of(write("baseline/default.yaml", BASELINE));
        let backend = Backend::default();
        let files = PolicyFiles { rules, model: None, challengers: Vec::new(), features, backend };
        let missing = MissingPolicy {
            enrich: OnMissing::Continue,
            model: OnMissing::Continue,
            overload: OnMissing::Continue,
        };
        let policy = Policy::load(&files, missing).unwrap();
        let baseline = policy.with_rules(load_rules(&other, &policy.catalogue).unwrap());
        Self { directory, policy, baseline }
    }

    fn run(&self, other: Other<'_>, against: Option<Against>) -> (Vec<Outcome>, BacktestReport) {
        let mapping = Mapping::parse(MAPPING, "map.yaml").unwrap();
        let input = self.directory.path().join("pay.csv");
        let files =
            ReplayFiles { input: &input, labels: None, mapping: Some(&mapping), skip_bad_rows: false };
        let options = BacktestOptions { files, from: None, to: None, limit: None };
        let mut outcomes = Vec::new();
        let report = run(
            &Session::new(&self.policy),
            other,
            against,
            Unlabelled::LeftOut,
            &options,
            |decided, _| {
                outcomes.push(decided.judgement.outcome);
                ControlFlow::Continue(())
            },
            || Duration::from_secs(1),
        );
        (outcomes, report.unwrap())
    }
}

#[test]
fn windows_follow_what_was_decided_then_as_far_as_it_is_known() {
    use Outcome::{Approve as A, Block as B, Review as R};
    let setting = Setting::new();
    let baseline = || Against::policy("baseline".into(), &setting.baseline);
    // Its own answers: t2 is declined, so everything after is looked at again.
    let (outcomes, report) = setting.run(Other::Nothing, None);
    assert_eq!(outcomes, [A, B, R, R, B, R]);
    assert_eq!(report.input.outcomes_follow, Some(OutcomesFollow::Candidate));
    assert!(report.comparison.is_none());

    // The baseline approved t2 and declined t5.
    let (outcomes, report) = setting.run(Other::Policy(&setting.baseline), Some(baseline()));
    assert_eq!(outcomes, [A, B, A, A, B, R]);
    assert_eq!(report.input.outcomes_follow, Some(OutcomesFollow::Baseline));
    let comparison = report.comparison.unwrap();
    let changes: Vec<_> =
        comparison.changes.iter().map(|it| (it.before, it.after, it.count, it.truth.fraud)).collect();
    assert_eq!(changes, [(A, R, 1, 0), (A, B, 1, 1)]);
    let rules =
        comparison.rules.iter().map(|it| (it.rule.as_str(), it.hits_before, it.hits_after, it.hits_both));
    assert_eq!(rules.collect::<Vec<_>>(), [("dear", 1, 2, 1), ("again", 0, 1, 0)]);

    // What the file says: t4 was declined; nobody knows of t6.
    let (outcomes, report) = setting.run(Other::Recorded, Some(Against::recorded()));
    assert_eq!(outcomes, [A, B, A, A, B, R]);
    assert_eq!(report.input.outcomes_follow, Some(OutcomesFollow::Recorded));
    let comparison = report.comparison.unwrap();
    assert_eq!((comparison.compared, comparison.changed), (5, 3));
    assert_eq!(comparison.effect.more_severe.truth.fraud, 2);
    assert_eq!(comparison.effect.milder.truth.legitimate, 1);
    let stopped = comparison.operation_before.stopped;
    assert_eq!((stopped.truth.fraud, stopped.truth.legitimate), (0, 1));
    assert_eq!(stopped.recall.unwrap().value, 0.0);
}

#[test]
fn a_decision_that_the_mapping_does_not_know_is_an_error_with_its_place() {
    let setting = Setting::new();
    let input = setting.directory.path().join("pay.csv");
    std::fs::write(&input, FILE.replace("fp,no,", "fp,nope,")).unwrap();
    let mapping = Mapping::parse(MAPPING, "map.yaml").unwrap();
    let files =
        ReplayFiles { input: Path::new(&input), labels: None, mapping: Some(&mapping), skip_bad_rows: false };
    let options = BacktestOptions { files, from: None, to: None, limit: None };
    let run = run(
        &Session::new(&setting.policy),
        Other::Recorded,
        Some(Against::recorded()),
        Unlabelled::LeftOut,
        &options,
        |_, _| ControlFlow::Continue(()),
        || Duration::ZERO,
    );
    let error = run.unwrap_err().to_string();
    assert!(
        error.contains("row 4, column \"what\": \"nope\" is no decision: not ok (APPROVE), no (BLOCK)"),
        "{error}"
    );
}
