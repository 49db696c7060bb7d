//! A candidate's rules, checked as a reload would, without touching anything.

use serde::Serialize;

use crate::domain::time::EventTime;
use crate::engine::doubts::ranges;
use crate::engine::policy::rules_from_files;
use crate::feature::catalogue::Catalogue;
use crate::pipeline::service::Service;
use crate::rules::candidate::CandidateFiles;
use crate::rules::directory::SourceFile;
use crate::rules::lint::run::{Background, lint_with};
use crate::rules::problem::Problem;

/// What the directory is called in problems: a candidate lies in none.
const SHOWN: &str = "rules";

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RulesChecked {
    /// Whether a reload would take them.
    pub sound: bool,
    /// Errors, or when there are none, warnings.
    pub problems: Vec<Problem>,
    /// How many rules; none when they are not sound.
    pub rules: Option<usize>,
    /// How many tests stand in them, all of which passed; none when they are not sound.
    pub tests: Option<usize>,
    /// Their content hash, which `versions.rules` will be; none when they are not sound.
    pub hash: Option<String>,
    /// The files that were checked together.
    pub files: Vec<String>,
}

impl Service {
    /// Checks files as a reload would, against the live catalogue. Blocks while it does.
    pub fn check_rules(&self, candidate: CandidateFiles) -> RulesChecked {
        match candidate.with_directory(self.policies.rules_directory(), SHOWN) {
            Ok(files) => check(&files, &self.policies.live().policy.catalogue, self.clock.now()),
            Err(problems) => refused(problems, Vec::new()),
        }
    }
}

fn check(files: &[SourceFile], catalogue: &Catalogue, now: EventTime) -> RulesChecked {
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    match rules_from_files(files, catalogue) {
        Err(problems) => refused(problems, names),
        Ok(set) => {
            let mut problems = set.warnings().to_vec();
            let ranges = ranges(catalogue);
            problems.extend(lint_with(&set, Background { at: now, ranges: &ranges, traffic: None }));
            RulesChecked {
                sound: true,
                problems,
                rules: Some(set.rules().len()),
                tests: Some(set.rules().iter().map(|rule| rule.tests).sum()),
                hash: Some(set.hash().to_owned()),
                files: names,
            }
        }
    }
}

fn refused(problems: Vec<Problem>, files: Vec<String>) -> RulesChecked {
    RulesChecked { sound: false, problems, rules: None, tests: None, hash: None, files }
}
