//! What decisions add to profiles: counts that grow, values that are replaced, each step exactly once.
//!
//! A step belongs to one record of one audit log. Beside its fields a profile remembers, per log, the last record that it has seen
//! (`_applied:<log>`); a step at or before that changes nothing. So steps may be sent again, in other batches, after a crash or an
//! unanswered write, as long as those of one profile come in the order of their log. Several services, each with a log of its own,
//! may write to one store.
//!
//! Other systems may write the same fields, by `HSET`: a count goes on from what they wrote. A count that is no whole number
//! of 64 bits, or would not be one any more, stays as it is.

use std::collections::BTreeMap;

use crate::domain::text::Id;
use crate::enrich::record::{ProfileRecord, ProfileRecordError, Unreadable, unpack};

/// Begin of the field that remembers the last record seen; the log's name follows.
pub const APPLIED_PREFIX: &str = "_applied:";

/// What one record of the log does to a profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateStep {
    /// The record's place in its log.
    pub sequence: u64,
    /// Fields that grow.
    pub add: Vec<(Box<str>, i64)>,
    /// Fields that are replaced.
    pub set: Vec<(Box<str>, Box<str>)>,
}

/// The steps of one profile, in the order of their log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileUpdate {
    /// Whose profile: `customer`, `card`, ….
    pub entity: Box<str>,
    /// The entity's id.
    pub id: Id,
    /// The log's name.
    pub log: Box<str>,
    /// What to do.
    pub steps: Vec<UpdateStep>,
}

/// What came of updates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Steps that changed a profile.
    pub steps: u64,
    /// Steps that had been seen before.
    pub repeated: u64,
    /// Profiles that cannot be updated: the key holds something else, the row cannot be read, or there are too many fields.
    pub refused: u64,
}

impl ProfileUpdate {
    /// The field that remembers the last record seen.
    pub(super) fn applied_field(&self) -> String {
        format!("{APPLIED_PREFIX}{}", self.log)
    }

    /// What must be written over a packed row, and how many steps were new; none when all had been seen.
    pub(super) fn resolve(&self, row: Option<&[u8]>) -> Result<(Option<ProfileRecord>, u64), UpdateRefusal> {
        let stored: BTreeMap<&[u8], &[u8]> =
            row.map(unpack).into_iter().flatten().collect::<Result<_, _>>()?;
        let applied_field = self.applied_field();
        let stored_text =
            |name: &str| stored.get(name.as_bytes()).and_then(|value| std::str::from_utf8(value).ok());
        let mut applied: u64 = stored_text(&applied_field).and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut fields: BTreeMap<Box<str>, Box<str>> = BTreeMap::new();
        let mut new_steps = 0;
        for step in &self.steps {
            if step.sequence <= applied {
                continue;
            }
            applied = step.sequence;
            new_steps += 1;
            for (name, more) in &step.add {
                let before = fields.get(name).map(|value| &**value).or_else(|| stored_text(name));
                let is_absent = before.is_none() && !stored.contains_key(name.as_bytes());
                let count = if is_absent { Some(0) } else { before.and_then(whole_number) };
                if let Some(sum) = count.and_then(|count| count.checked_add(*more)) {
                    fields.insert(name.clone(), sum.to_string().into());
                }
            }
            for (name, value) in &step.set {
                fields.insert(name.clone(), value.clone());
            }
        }
        if new_steps == 0 {
            return Ok((None, 0));
        }
        fields.insert(applied_field.into(), applied.to_string().into());
        let fields = fields.iter().map(|(name, value)| (&**name, Some(&**value)));
        Ok((Some(ProfileRecord::new(&self.entity, self.id.as_str(), fields)?), new_steps))
    }
}

/// Why a profile cannot be updated, whatever is tried.
#[derive(Debug)]
pub(super) struct UpdateRefusal;

impl From<Unreadable> for UpdateRefusal {
    fn from(_: Unreadable) -> Self {
        Self
    }
}

impl From<ProfileRecordError> for UpdateRefusal {
    fn from(_: ProfileRecordError) -> Self {
        Self
    }
}

/// A whole number as Redis reads one: without a plus sign, without leading zeros.
fn whole_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}
