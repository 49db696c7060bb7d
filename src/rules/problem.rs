//! What is wrong with a set of rules, for people and for machines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::expr::error::excerpt;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The set is refused.
    Error,
    /// The set works, but perhaps not as meant.
    Warning,
}

/// What it is about: a stable code for machines. A code is never given another meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file or directory cannot be read, or breaks a bound.
    Unreadable,
    /// A rule file is no YAML, or not of the shape of a rule file.
    InvalidYaml,
    /// A field is not known.
    UnknownField,
    /// A field is missing, or holds what it cannot.
    InvalidField,
    /// A rule's id is taken.
    DuplicateId,
    /// A condition does not compile: a name, a type, or how it is written.
    InvalidCondition,
    /// A message does not compile.
    InvalidMessage,
    /// A list file has a line that is no entry.
    InvalidList,
    /// `default` is missing, or stands in two files.
    InvalidDefault,
    /// A test is wrong.
    InvalidTest,
    /// A test failed.
    FailedTest,
    /// The catalogue of features is wrong.
    InvalidCatalogue,
    /// A model is wrong, or does not fit the catalogue.
    InvalidModel,
    /// A value stands in two lines of a list file, with different ends.
    DuplicateEntry,
    /// More problems than are reported.
    More,
    /// A test gives a name that the condition does not read.
    UnreadTestValue,
    /// A model was trained with another catalogue.
    OtherCatalogue,
    /// A rule can never match.
    NeverHits,
    /// A rule matches every transaction.
    AlwaysHits,
    /// A rule can never decide, because a higher one matches whenever it does.
    NeverDecides,
    /// Two rules have one condition and one outcome.
    Duplicate,
    /// Two rules have one condition and two outcomes.
    ConflictingDuplicate,
    /// A rule has expired.
    Expired,
    /// A rule's rollout is 0 percent.
    NoRollout,
    /// Two doubles are compared for equality.
    DoubleEquality,
    /// A name that can be missing is negated without `has`.
    NegatedMissing,
    /// A name was missing in all recorded transactions.
    AlwaysMissing,
    /// A rule matches no recorded transaction.
    NeverMatched,
}

/// Where in a file: line and column from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters are meant; at least 1.
    #[serde(skip)]
    pub width: usize,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub kind: Kind,
    /// The file, as the rules directory names it.
    pub file: String,
    /// Where in the file; absent when the file as a whole is meant.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The rule's id, when it is about one rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is wrong.
    pub message: String,
    /// A name that was perhaps meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The line of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
}

/// Problems after which a load looks no further: whoever wrote so many has enough to begin with.
pub const PROBLEMS_COLLECTED_MAX: usize = 1_000;
/// Most problems that one load reports; the rest are counted.
pub const PROBLEMS_MAX: usize = 200;
/// The first `PROBLEMS_MAX` of them, and one more that counts the rest; `others` says what these are.
pub(crate) fn capped(mut problems: Vec<Problem>, others: &str) -> Vec<Problem> {
    let rest = problems.split_off(PROBLEMS_MAX.min(problems.len()));
    if let Some(worst) = rest.iter().map(|problem| problem.severity).min() {
        let mut more = Problem::error("rules", format!("and {} {others}", rest.len())).of(Kind::More);
        more.severity = worst;
        problems.push(more);
    }
    problems
}

/// Longest source line that a problem quotes, in characters.
const SOURCE_LINE_CHARS_MAX: usize = 240;

impl Problem {
    /// An error about a file as a whole; of the kind `InvalidField` until another is said.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind: Kind::InvalidField,
            file: file.into(),
            place: None,
            rule: None,
            message: message.into(),
            suggestion: None,
            advice: None,
            source_line: None,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Of that kind.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// About this rule.
    #[must_use]
    pub fn about(mut self, rule: Option<&str>) -> Self {
        self.rule = rule.map(str::to_owned);
        self
    }

    /// With a suggestion.
    #[must_use]
    pub fn suggesting(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// At a place of the file's text.
    #[must_use]
    pub fn at(mut self, place: Place, text: &str) -> Self {
        self.source_line = text
            .lines()
            .nth(place.line.saturating_sub(1))
            .map(|line| line.chars().take(SOURCE_LINE_CHARS_MAX).collect());
        self.place = Some(place);
        self
    }
}

impl fmt::Display for Problem {
    /// `rules/velocity.yaml:12:11: error: rule `x`: …`, the line, and carets under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        f.write_str(match self.severity {
            Severity::Error => ": error: ",
            Severity::Warning => ": warning: ",
        })?;
        if let Some(rule) = &self.rule {
            write!(f, "rule `{rule}`: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "; {advice}")?;
        }
        if let (Some(place), Some(line)) = (self.place, &self.source_line) {
            write!(f, "\n{}", excerpt(line, place.column, place.width))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
