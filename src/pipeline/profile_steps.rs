//! Which fields of which profiles a decision changes.
//!
//! | profile | field | what |
//! |---|---|---|
//! | customer, card | `lifetime_attempts` | transactions decided |
//! | customer, card | `lifetime_orders` | those approved |
//! | customer, card | `lifetime_amount_<CUR>` | sum of those approved, in minor units of that currency |
//! | customer, card | `last_device`, `last_country`, `last_seen_ms` | of the latest one decided: device id; country of billing, else of the card's issuer; event time in Unix milliseconds |
//!
//! A transaction that is decided again under another idempotency key counts once. `REVIEW` and `CHALLENGE` are not approved.

use std::collections::HashMap;

use crate::audit::record::{DecisionRecord, RecordError};
use crate::domain::decision::Outcome;
use crate::domain::text::Id;
use crate::domain::transaction::Transaction;
use crate::enrich::update::{ProfileUpdate, UpdateStep};

/// The steps of a batch, by profile, in the log's order.
pub(super) struct Steps {
    log: Box<str>,
    updates: Vec<ProfileUpdate>,
    places: HashMap<(&'static str, Id), usize>,
}

impl Steps {
    pub(super) fn new(log: &str) -> Self {
        Self { log: log.into(), updates: Vec::new(), places: HashMap::new() }
    }

    /// Takes the decision whose record has that sequence.
    pub(super) fn take(&mut self, sequence: u64, decided: &DecisionRecord) -> Result<(), RecordError> {
        if decided.repeat {
            return Ok(());
        }
        let transaction = decided.transaction()?;
        for (entity, id) in [("customer", &transaction.customer.id), ("card", &transaction.card.fingerprint)]
        {
            let Some(id) = id else { continue };
            let updates = &mut self.updates;
            let place = *self.places.entry((entity, id.clone())).or_insert_with(|| {
                let log = self.log.clone();
                updates.push(ProfileUpdate { entity: entity.into(), id: id.clone(), log, steps: Vec::new() });
                updates.len() - 1
            });
            if let Some(update) = updates.get_mut(place) {
                update.steps.push(step(sequence, decided.answer.decision, &transaction));
            }
        }
        Ok(())
    }

    pub(super) fn into_updates(self) -> Vec<ProfileUpdate> {
        self.updates
    }
}

fn step(sequence: u64, outcome: Outcome, transaction: &Transaction) -> UpdateStep {
    let mut add: Vec<(Box<str>, i64)> = vec![("lifetime_attempts".into(), 1)];
    if outcome == Outcome::Approve {
        let amount = transaction.amount;
        add.push(("lifetime_orders".into(), 1));
        add.push((format!("lifetime_amount_{}", amount.currency().code()).into(), amount.minor()));
    }
    let seen_ms = transaction.occurred_at.unix_millis().to_string();
    let mut set: Vec<(Box<str>, Box<str>)> = vec![("last_seen_ms".into(), seen_ms.into())];
    if let Some(device) = &transaction.device.id {
        set.push(("last_device".into(), device.as_str().into()));
    }
    if let Some(country) = transaction.billing.country.as_ref().or(transaction.card.issuer_country.as_ref()) {
        set.push(("last_country".into(), country.as_str().into()));
    }
    UpdateStep { sequence, add, set }
}
