//! One recorded decision, made again.

use std::borrow::Cow;
use std::sync::Arc;

use crate::audit::bodies::{Bodies, Opened, is_in_clear};
use crate::audit::reader::Record;
use crate::audit::record::{BODY_SCHEMA, DecisionRecord, RecordError, Unreadable};
use crate::audit::record_view::{self, RecordField, RecordView};
use crate::domain::decision::{Decision, Outcome, Versions};
use crate::domain::enrichment::Enrichment;
use crate::domain::ip_facts::IpFacts;
use crate::domain::transaction::Transaction;
use crate::engine::judge::Judgement;
use crate::engine::policy::Policy;
use crate::engine::settings::Effort;
use crate::evaluation::again::{self, NotAgain};
use crate::feature::vector::FeatureVector;
use crate::redecide::compare::{self, Differences};
use crate::redecide::policies::{Found, Origin, Policies};
use crate::rules::run_time::{Listed, RunTimeLists};
use crate::wire;

/// What a decision saw, as its record says it.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The policy that its record names.
    pub policy: Cow<'a, str>,
    /// The transaction.
    pub transaction: Transaction,
    /// The whole vector.
    pub features: FeatureVector,
    /// What the enrichment store said.
    pub enrichment: Enrichment,
    /// What was known of the address.
    pub ip: Option<IpFacts>,
    /// What stood on lists at run time, as far as it was asked for.
    pub listed: Vec<Listed>,
    /// How much of the decision was made.
    pub effort: Effort,
    /// What was answered.
    pub outcome: Outcome,
    /// The sequence of the last record whose consequences its windows had seen.
    pub state_sequence: u64,
    /// Whether its transaction had been counted before.
    pub is_repeat: bool,
    /// What it is compared with.
    pub recorded: Recorded<'a>,
}

/// A record that was read.
#[derive(Debug)]
pub enum Recorded<'a> {
    /// In clear, as this program writes one: compared as it is written.
    InClear(RecordView<'a>),
    /// Any other: compared value by value.
    Read(Box<DecisionRecord>),
}

/// Why a record cannot be read.
#[derive(Debug)]
pub enum Unread {
    /// Written by a newer version.
    Schema(u16),
    /// Its personal data was erased, or its key is not there.
    Unreadable(Unreadable),
    /// Not what its schema says.
    Body(RecordError),
}

impl From<RecordError> for Unread {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Schema(schema) => Self::Schema(schema),
            RecordError::Unreadable(why) => Self::Unreadable(why),
            error => Self::Body(error),
        }
    }
}

impl Unread {
    /// The reason, under which such records are counted.
    pub fn reason(&self) -> String {
        match self {
            Self::Schema(schema) => {
                format!("its body has the schema {schema}; this version reads up to {BODY_SCHEMA}")
            }
            Self::Unreadable(why) => why.to_string(),
            Self::Body(_) => "its body is not what its schema says".to_owned(),
        }
    }
}

impl<'a> Inputs<'a> {
    /// The one place where this room reads the body of a decision. `numbers` is room that is used again.
    pub fn read(bodies: &Bodies, stored: &Record<'a>, numbers: &mut Vec<f64>) -> Result<Self, Unread> {
        if is_in_clear(stored)
            && let Some(view) = RecordView::of(stored.body)
            && let Some(policy) = view.plain_text(RecordField::Policy)
            && let Some(features) = view.vector(numbers)
        {
            let transaction = view.raw(RecordField::Transaction).unwrap_or_default();
            return Ok(Self {
                policy: Cow::Borrowed(policy),
                transaction: wire::recorded::parse(transaction).map_err(RecordError::from)?,
                features,
                enrichment: view.required(RecordField::Enrichment)?,
                ip: view.get(RecordField::Ip)?,
                listed: view.get(RecordField::Listed)?,
                effort: again::effort_without(&view.get::<Vec<Box<str>>>(RecordField::Missing)?),
                outcome: view.required(RecordField::Decision)?,
                state_sequence: view.required(RecordField::StateSequence)?,
                is_repeat: view.get(RecordField::Repeat)?,
                recorded: Recorded::InClear(view),
            });
        }
        let record = bodies.decision(stored).and_then(Opened::whole)?;
        Ok(Self {
            transaction: record.transaction()?,
            features: FeatureVector::recorded(&record.features, &record.feature_texts),
            effort: again::effort(&record),
            policy: Cow::Owned(record.policy.clone().into()),
            enrichment: record.enrichment.clone(),
            ip: record.ip.clone(),
            listed: record.listed.clone(),
            outcome: record.answer.decision,
            state_sequence: record.state_sequence,
            is_repeat: record.repeat,
            recorded: Recorded::Read(Box::new(record)),
        })
    }

    /// What its policy was made of.
    fn versions(&self) -> Option<Versions> {
        match &self.recorded {
            Recorded::InClear(view) => view.required(RecordField::Versions).ok(),
            Recorded::Read(record) => Some(record.answer.versions.clone()),
        }
    }

    /// What was answered, all of it.
    pub fn answer(&self, stored: &Record<'_>) -> Option<Decision> {
        match &self.recorded {
            Recorded::InClear(_) => record_view::decode(stored.body).ok().map(|record| record.answer),
            Recorded::Read(record) => Some(record.answer.clone()),
        }
    }

    /// Whether the vector is one of this policy's catalogue, as far as its length tells.
    pub fn check(&self, policy: &Policy) -> Result<(), NotAgain> {
        let (features, profile) = (policy.catalogue.features.len(), policy.catalogue.profile.len());
        let is_of_it = self.features.numbers().len() == features && self.enrichment.0.len() == profile;
        is_of_it.then_some(()).ok_or(NotAgain::OtherLength)
    }
}

/// What came of making a decision again.
#[derive(Debug)]
pub enum Again {
    /// The record, bit for bit.
    Same,
    /// Something else.
    Different(Box<Differences>),
    /// It cannot be made again, for this reason.
    Not(String),
}

/// A policy that was found, and how often it has decided.
#[derive(Debug)]
struct Last {
    hash: Box<str>,
    found: Arc<Found>,
}

/// Makes decisions again, one at a time.
#[derive(Debug)]
pub struct Redecider<'p> {
    policies: &'p Policies,
    bodies: &'p Bodies,
    last: Option<Last>,
    numbers: Vec<f64>,
    text: Vec<u8>,
}

/// A decision that was read and, if it can be, made again.
#[derive(Debug)]
pub struct Redecided {
    /// The policy that its record names; none where it cannot be read.
    pub policy_hash: Option<Box<str>>,
    /// The policy.
    pub found: Option<Arc<Found>>,
    /// Its vector, if the policy has challengers.
    pub features: Option<FeatureVector>,
    /// What came of it.
    pub again: Again,
}

impl<'p> Redecider<'p> {
    /// By these policies; `bodies` opens the log's records.
    pub const fn new(policies: &'p Policies, bodies: &'p Bodies) -> Self {
        Self { policies, bodies, last: None, numbers: Vec::new(), text: Vec::new() }
    }

    /// Makes a decision again, from what its record says that it saw.
    pub fn redecide(&mut self, stored: &Record<'_>) -> Redecided {
        let unread = |again| Redecided { policy_hash: None, found: None, features: None, again };
        let inputs = match Inputs::read(self.bodies, stored, &mut self.numbers) {
            Ok(inputs) => inputs,
            Err(why) => return unread(Again::Not(why.reason())),
        };
        let found = self.find(&inputs);
        let policy_hash = Some(Box::from(&*inputs.policy));
        let not = |found, why| Redecided {
            policy_hash,
            found: Some(found),
            features: None,
            again: Again::Not(why),
        };
        let policy = match &*found {
            Found::Policy(policy, _) => Arc::clone(policy),
            Found::Nothing(why) => {
                let why = format!("the policy {}: {why}", inputs.policy);
                return not(found, why);
            }
        };
        if let Err(why) = inputs.check(&policy) {
            return not(found, why.to_string());
        }
        let lists = RunTimeLists::of(&inputs.listed);
        let (features, ip) = (&inputs.features, inputs.ip.clone());
        let (transaction, enrichment) = (&inputs.transaction, &inputs.enrichment);
        let judgement = again::decide(&policy, transaction, features, enrichment, ip, &lists, inputs.effort);
        let again = self.compare(stored, &inputs, &policy, &judgement);
        let features = (!policy.challengers.is_empty()).then_some(inputs.features);
        Redecided { policy_hash: Some(inputs.policy.into()), found: Some(found), features, again }
    }

    /// The policy that the record names: mostly the one that the record before named.
    pub fn find(&mut self, inputs: &Inputs<'_>) -> Arc<Found> {
        let hash = &*inputs.policy;
        if let Some(last) = self.last.as_ref().filter(|last| *last.hash == *hash) {
            return Arc::clone(&last.found);
        }
        let found = self.policies.find(hash, || inputs.versions());
        self.last = Some(Last { hash: hash.into(), found: Arc::clone(&found) });
        found
    }

    /// The policy that a record of policies names.
    pub fn named(&mut self, hash: &str, versions: Versions) -> Arc<Found> {
        self.policies.find(hash, || Some(versions))
    }

    fn compare(
        &mut self,
        stored: &Record<'_>,
        inputs: &Inputs<'_>,
        policy: &Policy,
        judgement: &Judgement,
    ) -> Again {
        let decoded;
        let record = match &inputs.recorded {
            Recorded::InClear(view) => {
                if compare::is_written_so(view, inputs, policy, judgement, &mut self.text) {
                    return Again::Same;
                }
                // Other bytes may say the same, as records of older versions do.
                decoded = match record_view::decode(stored.body) {
                    Ok(record) => record,
                    Err(error) => return Again::Not(Unread::Body(error).reason()),
                };
                &decoded
            }
            Recorded::Read(record) => record,
        };
        match compare::differences(record, inputs, policy, judgement) {
            None => Again::Same,
            Some(differences) => Again::Different(Box::new(differences)),
        }
    }
}

impl Found {
    /// Where it is from.
    pub const fn origin(&self) -> Option<Origin> {
        match self {
            Self::Policy(_, origin) => Some(*origin),
            Self::Nothing(_) => None,
        }
    }
}
