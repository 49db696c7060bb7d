//! All rules together: loaded as one, evaluated as one, named by one hash.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::domain::decision::{Outcome, Reason, ReasonSource};
use crate::domain::time::EventTime;
use crate::domain::value::Value;
use crate::expr::index::matcher::{ConditionIndex, IndexScratch};
use crate::expr::program::{Facts, Program};
use crate::expr::schema::{Schema, Slot};
use crate::rules::budget::{Budget, MESSAGES_BYTES_MAX, REASONS_MAX, json_bytes};
use crate::rules::directory::{SourceFile, read_directory};
use crate::rules::document::Document;
use crate::rules::file::{self, RULES_MAX, RuleSource, State};
use crate::rules::in_file_tests;
use crate::rules::list::{List, Lists};
use crate::rules::message::Message;
use crate::rules::problem::{Kind, PROBLEMS_COLLECTED_MAX, Place, Problem, Severity, capped};
use crate::rules::rollout::Rollout;

/// How the file that a set cannot do without is written.
const DEFAULT_HOW_TO: &str = "no file says what is decided when no rule matches; write rules/default.yaml with\n\
     default:\n  then: APPROVE\n  reason: no_rule_matched";

/// One compiled rule.
#[derive(Debug)]
pub struct Rule {
    /// Its id: unique in the set.
    pub id: Box<str>,
    /// Why it exists.
    pub description: Box<str>,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
    /// Its condition as written.
    pub when: Box<str>,
    /// What it asks for.
    pub then: Outcome,
    /// The code that the answer shows.
    pub reason: Box<str>,
    /// What it is doing.
    pub state: State,
    /// Higher wins.
    pub priority: i32,
    /// For whom it is on; for all when absent.
    pub rollout: Option<Rollout>,
    /// The first moment (event time) at which it is on.
    pub starts: Option<EventTime>,
    /// The first moment (event time) at which it is off again.
    pub ends: Option<EventTime>,
    /// The file that it stands in.
    pub file: Box<str>,
    /// Where it stands there.
    pub place: Place,
    /// How many in-file tests it has.
    pub tests: usize,
    message: Option<Message>,
    program: Program,
}

impl Rule {
    /// The compiled condition.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether the rule is on at that moment.
    pub fn is_on(&self, at: EventTime) -> bool {
        self.starts.is_none_or(|starts| at >= starts) && self.ends.is_none_or(|ends| at < ends)
    }

    /// The sentence for people, if the rule has one.
    pub fn message<F: Facts + ?Sized>(&self, facts: &F) -> Option<String> {
        self.message.as_ref().map(|message| message.render(facts))
    }

    /// The names that the condition reads, with their values for this transaction.
    pub fn values_read<'a, F: Facts + ?Sized>(
        &'a self,
        facts: &'a F,
    ) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.program.reads().iter().map(|read| (&*read.name, facts.value(read.slot)))
    }

    /// Whether the rule is on for what `facts` hold, at that moment.
    fn is_on_for<F: Facts + ?Sized>(&self, facts: &F, at: EventTime) -> bool {
        self.is_on(at) && self.rollout.as_ref().is_none_or(|rollout| rollout.includes(&self.id, facts))
    }
}

/// A rule that matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Its position in `RuleSet::rules`.
    pub rule: u32,
    /// Whether it counts for the decision: live, not shadow.
    pub live: bool,
}

/// The rules that matched one transaction, in file order.
pub type Hits = SmallVec<[Hit; 8]>;

/// What follows from the hits.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The outcome.
    pub outcome: Outcome,
    /// The code of the reason.
    pub reason: &'a str,
    /// The rule that decided; `None` when none matched and the default holds.
    pub rule: Option<&'a Rule>,
}

/// What is decided when no live rule matches.
#[derive(Debug)]
pub struct DefaultDecision {
    /// The outcome.
    pub then: Outcome,
    /// The code of the reason.
    pub reason: Box<str>,
    /// Why it is so.
    pub description: Box<str>,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
}

/// All rules and lists of one directory.
#[derive(Debug)]
pub struct RuleSet {
    rules: Box<[Rule]>,
    /// The rules that are evaluated, with whether they are live.
    active: Box<[Hit]>,
    /// Their conditions, in the same order.
    conditions: ConditionIndex,
    default: DefaultDecision,
    lists: Lists,
    metadata_keys: Box<[(Box<str>, Slot)]>,
    schema: Schema,
    hash: Box<str>,
    warnings: Vec<Problem>,
}

impl RuleSet {
    /// Reads, checks and tests everything in `dir`: `*.yaml`, `*.yml` and `lists/*.txt`. All errors come back at once.
    pub fn load(dir: &Path, schema: &Schema) -> Result<Self, Vec<Problem>> {
        let shown = dir.display().to_string();
        let files = read_directory(dir, &shown)?;
        Self::build(&shown, &files, schema)
    }

    /// The same from texts in memory, for candidates that stand in no directory.
    pub fn from_files(files: &[SourceFile], schema: &Schema) -> Result<Self, Vec<Problem>> {
        Self::build("rules", files, schema)
    }

    fn build(directory: &str, files: &[SourceFile], schema: &Schema) -> Result<Self, Vec<Problem>> {
        let mut files: Vec<&SourceFile> = files.iter().collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut problems = Vec::new();
        let mut schema = schema.clone();
        let lists = read_lists(directory, &files, &mut problems);
        schema.set_lists(lists.iter().map(List::name));

        let mut loading = Loading {
            schema: &mut schema,
            problems: &mut problems,
            rules: Vec::new(),
            ids: HashMap::new(),
            seen: 0,
        };
        let mut default: Option<(file::DefaultSource, String)> = None;
        for source in files.iter().filter(|source| !source.name.starts_with("lists/")) {
            let shown = format!("{directory}/{}", source.name);
            let document = Document { file: &shown, text: &source.text };
            let found = file::read(document, loading.problems);
            for rule in found.rules {
                loading.add(document, rule);
            }
            match (found.default, &default) {
                (Some(second), Some((_, first))) => {
                    let message = format!("`default` stands in {first} already");
                    loading
                        .problems
                        .push(document.error(second.place, None, message).of(Kind::InvalidDefault));
                }
                (Some(found), None) => default = Some((found, shown)),
                (None, _) => {}
            }
        }
        let rules = loading.rules;
        if default.is_none() {
            problems.push(
                Problem::error(format!("{directory}/default.yaml"), DEFAULT_HOW_TO).of(Kind::InvalidDefault),
            );
        }
        let (Some((default, _)), true) =
            (default, problems.iter().all(|problem| problem.severity == Severity::Warning))
        else {
            return Err(first(problems));
        };
        let is_active = |rule: &Rule| matches!(rule.state, State::Live | State::Shadow);
        let active = (0_u32..)
            .zip(&rules)
            .filter(|(_, rule)| is_active(rule))
            .map(|(index, rule)| Hit { rule: index, live: rule.state == State::Live })
            .collect();
        let conditions = rules.iter().filter(|rule| is_active(rule)).map(|rule| &rule.program);
        Ok(Self {
            active,
            conditions: ConditionIndex::new(conditions),
            rules: rules.into(),
            default: DefaultDecision {
                then: default.then,
                reason: default.reason,
                description: default.description,
                owner: default.owner,
            },
            lists,
            metadata_keys: schema.metadata_keys().map(|(key, slot)| (key.into(), slot)).collect(),
            schema,
            hash: content_hash(&files).into(),
            warnings: first(problems),
        })
    }

    /// The rules, in file order: files by name, rules as they stand in their file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that a hit names.
    pub fn rule(&self, hit: Hit) -> Option<&Rule> {
        self.rules.get(hit.rule as usize)
    }

    /// The lists.
    pub fn lists(&self) -> &Lists {
        &self.lists
    }

    /// The metadata keys that the rules read, each with the slot under which `Facts::value` is asked for it.
    pub fn metadata_keys(&self) -> &[(Box<str>, Slot)] {
        &self.metadata_keys
    }

    /// The names that the rules were checked against, with the lists and the metadata keys that they read.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The rules that are evaluated: live and shadow ones, in file order.
    pub fn active(&self) -> &[Hit] {
        &self.active
    }

    /// `sha256:` and 64 hex digits, over the names and bytes of all files.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What the load found that is no error.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What is decided when no live rule matches, why, and who answers for it.
    pub fn default_decision(&self) -> &DefaultDecision {
        &self.default
    }

    /// What is decided when no live rule matches.
    pub fn default_outcome(&self) -> Outcome {
        self.default.then
    }

    /// The code of the reason when no live rule matches.
    pub fn default_reason(&self) -> &str {
        &self.default.reason
    }

    /// Evaluates every live and every shadow rule that is on at the transaction's event time.
    pub fn evaluate<F: Facts + ?Sized>(&self, facts: &F, at: EventTime) -> Hits {
        SCRATCH.with_borrow_mut(|scratch| {
            let matching = self.conditions.matching(facts, scratch).iter();
            let hits = matching.filter_map(|number| self.active.get(*number as usize));
            hits.filter(|hit| self.rule(**hit).is_some_and(|rule| rule.is_on_for(facts, at)))
                .copied()
                .collect()
        })
    }

    /// Tells the position of every live and every shadow rule whose condition holds, whatever its dates and rollout say.
    pub fn each_matching<F: Facts + ?Sized>(&self, facts: &F, mut see: impl FnMut(u32)) {
        SCRATCH.with_borrow_mut(|scratch| {
            let matching = self.conditions.matching(facts, scratch).iter();
            matching.filter_map(|number| self.active.get(*number as usize)).for_each(|hit| see(hit.rule));
        });
    }

    /// What follows from the hits: the live rule with the highest priority; of those the most severe; of those the first.
    pub fn decide(&self, hits: &[Hit]) -> Verdict<'_> {
        let decisive = hits.iter().filter(|hit| hit.live).max_by_key(|hit| self.rank(**hit));
        match decisive.and_then(|hit| self.rule(*hit)) {
            Some(rule) => Verdict { outcome: rule.then, reason: &rule.reason, rule: Some(rule) },
            None => Verdict { outcome: self.default.then, reason: &self.default.reason, rule: None },
        }
    }

    /// The live hits, most decisive first.
    pub fn ranked(&self, hits: &[Hit]) -> Hits {
        let mut ranked: Hits = hits.iter().filter(|hit| hit.live).copied().collect();
        ranked.sort_by_key(|hit| Reverse(self.rank(*hit)));
        ranked
    }

    /// One reason for each live hit, most decisive first, with its message: as many, and as much, as `budget` allows.
    pub fn reasons<F: Facts + ?Sized>(&self, hits: &[Hit], facts: &F) -> Vec<Reason> {
        let mut messages = Budget::new(MESSAGES_BYTES_MAX);
        let ranked = self.ranked(hits);
        let rules = ranked.iter().take(REASONS_MAX).filter_map(|hit| self.rule(*hit)).enumerate();
        rules
            .map(|(place, rule)| Reason {
                code: rule.reason.clone(),
                source: ReasonSource::Rule,
                rule: Some(rule.id.clone()),
                message: rule.message(facts).filter(|text| messages.take(json_bytes(text)) || place == 0),
                value: None,
                contribution: None,
            })
            .collect()
    }

    fn rank(&self, hit: Hit) -> Option<(i32, Outcome, Reverse<u32>)> {
        self.rule(hit).map(|rule| (rule.priority, rule.then, Reverse(hit.rule)))
    }
}

thread_local! {
    /// Filled anew by every evaluation: nothing passes from one to the next.
    static SCRATCH: RefCell<IndexScratch> = RefCell::default();
}

struct Loading<'a> {
    schema: &'a mut Schema,
    problems: &'a mut Vec<Problem>,
    rules: Vec<Rule>,
    ids: HashMap<Box<str>, String>,
    /// Rules met so far, wrong ones included.
    seen: usize,
}

impl Loading<'_> {
    fn add(&mut self, document: Document<'_>, source: RuleSource) {
        let place = source.id_place;
        self.seen += 1;
        if self.seen == RULES_MAX + 1 {
            self.problems.push(
                document.error(place, None, format!("more than {RULES_MAX} rules")).of(Kind::Unreadable),
            );
        }
        if self.seen > RULES_MAX || self.problems.len() >= PROBLEMS_COLLECTED_MAX {
            return;
        }
        let here = format!("{}:{}", document.file, place.line);
        if let Some(first) = self.ids.insert(source.id.clone(), here) {
            let message = format!("this id is taken by the rule at {first}");
            self.problems.push(document.error(place, Some(&source.id), message).of(Kind::DuplicateId));
        }
        let message = source.message.as_ref().and_then(|text| {
            Message::compile(&text.value, self.schema)
                .map_err(|error| {
                    let place = document.place_within(text, error.place);
                    let problem =
                        document.error(place, Some(&source.id), format!("message: {}", error.message));
                    self.problems.push(problem.of(Kind::InvalidMessage).suggesting(error.suggestion));
                })
                .ok()
        });
        let rollout = source.rollout.as_ref().and_then(|(percent, by)| {
            let found = self.schema.resolve(&by.value);
            if found.is_none() {
                let message = format!("rollout: unknown name `{}`", by.value);
                let problem = document.error(document.place(by), Some(&source.id), message);
                self.problems.push(problem.suggesting(self.schema.nearest_name(&by.value)));
            }
            Rollout::new(*percent, found?.slot, &by.value)
        });
        let program = match Program::compile_condition(&source.when.value, self.schema) {
            Ok(program) => program,
            Err(error) => {
                let place = document.place_within(&source.when, error.start..error.end);
                let problem = document.error(place, Some(&source.id), error.message);
                self.problems.push(problem.of(Kind::InvalidCondition).suggesting(error.suggestion));
                return;
            }
        };
        in_file_tests::run(document, &source.id, &program, &source.tests, self.schema, self.problems);
        let Some(settings) = source.settings else { return };
        self.rules.push(Rule {
            id: source.id,
            description: source.description,
            owner: source.owner,
            when: source.when.value.trim().into(),
            then: settings.then,
            reason: settings.reason,
            state: settings.state,
            priority: settings.priority,
            rollout,
            starts: source.starts,
            ends: source.ends,
            file: document.file.into(),
            place,
            tests: source.tests.len(),
            message,
            program,
        });
    }
}

fn read_lists(directory: &str, files: &[&SourceFile], problems: &mut Vec<Problem>) -> Lists {
    let mut lists = Vec::new();
    for source in files {
        let Some(name) = source.name.strip_prefix("lists/").and_then(|name| name.strip_suffix(".txt")) else {
            continue;
        };
        let shown = format!("{directory}/{}", source.name);
        match List::parse(name, &shown, &source.text) {
            Ok(list) => {
                problems.extend_from_slice(list.warnings());
                lists.push(list);
            }
            Err(found) => {
                problems.extend(found);
                // The rules that name it are not wrong because of it.
                lists.push(List::parse(name, &shown, "").unwrap_or_default());
            }
        }
    }
    Lists::new(lists)
}

/// The first of them, errors before warnings.
fn first(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (a.severity, &a.file, a.place).cmp(&(b.severity, &b.file, b.place)));
    capped(problems, "or more others")
}

/// SHA-256 over the files in name order; each name and text is preceded by its length, so that no two sets of files look
/// alike to it.
pub fn content_hash(files: &[&SourceFile]) -> String {
    let mut hasher = Sha256::new();
    for source in files {
        for part in [&source.name, &source.text] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().iter().fold(String::from("sha256:"), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
