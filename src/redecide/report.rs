//! What came of it, as numbers that add up.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::redecide::policies::Origin;

/// Most reasons, policies and kinds that are counted apart; what is beyond is counted under [`OTHERS`].
pub const ROWS_MAX: usize = 1_000;
/// What stands for all that is beyond.
pub const OTHERS: &str = "others";
/// Most damaged places of a log that are named.
pub const DAMAGES_MAX: usize = 20;

/// So many, the first of them at that record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// The sequence of the first.
    pub first_sequence: u64,
}

/// Counts by what they are of.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(transparent)]
pub struct Counts(pub BTreeMap<String, Count>);

impl Counts {
    /// One more, at that record.
    pub fn add(&mut self, what: &str, sequence: u64) {
        self.add_count(what, Count { count: 1, first_sequence: sequence });
    }

    fn add_count(&mut self, what: &str, more: Count) {
        let is_known = self.0.contains_key(what);
        let what = if is_known || self.0.len() < ROWS_MAX { what } else { OTHERS };
        match self.0.get_mut(what) {
            Some(count) => {
                count.count += more.count;
                count.first_sequence = count.first_sequence.min(more.first_sequence);
            }
            None => {
                self.0.insert(what.to_owned(), more);
            }
        }
    }

    /// Adds what comes after.
    pub fn merge(&mut self, others: &Self) {
        for (what, count) in &others.0 {
            self.add_count(what, *count);
        }
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.values().map(|count| count.count).sum()
    }
}

/// A field that is another one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldDifference {
    /// Which: a kind of difference, or the name of a feature behind `features.` or `contributions.`.
    pub field: String,
    /// What the record says, as JSON; `null` where it says nothing.
    pub recorded: String,
    /// What comes out now, as JSON.
    pub decided: String,
}

/// A record that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// The sequence of the record.
    pub sequence: u64,
    /// The decision that is meant.
    pub decision_id: String,
    /// Its transaction.
    pub transaction_id: String,
    /// When it was recorded.
    pub recorded_at: String,
    /// The policy that the record names.
    pub policy: String,
    /// In what it differs.
    pub fields: Vec<FieldDifference>,
}

/// What became of some things that were compared.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Compared {
    /// How many there were.
    pub seen: u64,
    /// The same, bit for bit.
    pub same: u64,
    /// Different in any bit.
    pub different: u64,
    /// By the kind of difference; one that differs in several is counted under each.
    pub differences: Counts,
    /// Not compared, by the reason.
    pub not_compared: Counts,
    /// The first that differs, by its sequence.
    pub first_difference: Option<Box<Difference>>,
}

impl Compared {
    /// Adds what comes after.
    pub fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.same += other.same;
        self.different += other.different;
        self.differences.merge(&other.differences);
        self.not_compared.merge(&other.not_compared);
        if self.first_difference.is_none() {
            self.first_difference = other.first_difference;
        }
    }

    /// One that differs.
    pub fn differs<'a>(
        &mut self,
        sequence: u64,
        kinds: impl IntoIterator<Item = &'a str>,
        tell: impl FnOnce() -> Difference,
    ) {
        self.different += 1;
        for kind in kinds {
            self.differences.add(kind, sequence);
        }
        if self.first_difference.as_ref().is_none_or(|first| first.sequence > sequence) {
            self.first_difference = Some(Box::new(tell()));
        }
    }
}

/// Decisions of one policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct OfPolicy {
    /// How many, and where they begin.
    #[serde(flatten)]
    pub decisions: Count,
    /// Where the policy is from; none where there is none.
    pub from: Option<Origin>,
}

/// The windows that were counted anew.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Rebuilt {
    /// The last record in the snapshot that it began with; none: with the first record of the log.
    pub from_snapshot: Option<u64>,
    /// Features that were compared.
    pub features: u64,
    /// The decisions' vectors.
    #[serde(flatten)]
    pub vectors: Compared,
    /// What has to be known to read this.
    pub notes: Vec<String>,
}

/// The whole.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RedecideReport {
    /// The directory of the log.
    pub log: String,
    /// The first record that was looked at; none where there was none.
    pub first_sequence: Option<u64>,
    /// The last one.
    pub last_sequence: Option<u64>,
    /// How many of all kinds.
    pub records: u64,
    /// The decisions.
    pub decisions: Compared,
    /// By policy.
    pub policies: BTreeMap<String, OfPolicy>,
    /// The scores of challengers: each decision by each of them.
    pub challenger_scores: Compared,
    /// The windows, if they were counted anew.
    pub rebuilt: Option<Rebuilt>,
    /// Where the log cannot be read.
    pub damages: Vec<String>,
    /// Whether somebody stopped it before its end; then the numbers are of what had been done.
    pub is_interrupted: bool,
    /// How many threads.
    pub threads: usize,
    /// How long it took.
    pub seconds: f64,
}

impl RedecideReport {
    /// Whether all that could be compared is the same, and the whole stretch was.
    pub fn is_same(&self) -> bool {
        let vectors = self.rebuilt.as_ref().map_or(0, |rebuilt| rebuilt.vectors.different);
        self.decisions.different + self.challenger_scores.different + vectors == 0
            && self.damages.is_empty()
            && !self.is_interrupted
    }

    /// How many decisions could not be made again.
    pub fn not_decided(&self) -> u64 {
        self.decisions.not_compared.total()
    }
}
