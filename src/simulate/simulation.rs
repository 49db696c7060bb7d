//! The simulation: an iterator of transactions in order of event time, each with its truth and its label.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::label::Label;
use crate::domain::transaction::Transaction;
use crate::simulate::fraud::Underworld;
use crate::simulate::labels::Labeller;
use crate::simulate::parameters::{ParameterError, Parameters};
use crate::simulate::plan::Planned;
use crate::simulate::traffic::Traffic;
use crate::simulate::world::{DAY_MS, World};

/// Why a transaction is fraud. The names are stable: files hold them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Many stolen cards tried with small amounts, and what is bought with those that work.
    CardTesting,
    /// One stolen card used at merchant after merchant.
    StolenCardSpree,
    /// A customer's account used by somebody else.
    AccountTakeover,
    /// A card copied at a terminal and abused elsewhere.
    CompromisedTerminal,
    /// Many pieces of one thing bought with stolen cards.
    BulkPurchase,
    /// A script that buys at high rate from changing addresses.
    BotTraffic,
    /// The customer's own purchase, disputed.
    FriendlyFraud,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CardTesting,
        Self::StolenCardSpree,
        Self::AccountTakeover,
        Self::CompromisedTerminal,
        Self::BulkPurchase,
        Self::BotTraffic,
        Self::FriendlyFraud,
    ];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CardTesting => "card_testing",
            Self::StolenCardSpree => "stolen_card_spree",
            Self::AccountTakeover => "account_takeover",
            Self::CompromisedTerminal => "compromised_terminal",
            Self::BulkPurchase => "bulk_purchase",
            Self::BotTraffic => "bot_traffic",
            Self::FriendlyFraud => "friendly_fraud",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One simulated transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Simulated {
    /// What the gateway would send.
    pub transaction: Transaction,
    /// Whether it is fraud, and why; `None` is legitimate. Nobody knows this in life.
    pub truth: Option<Scenario>,
    /// What becomes known of it, and when: always later than the transaction, up to 120 days. See `labels`.
    pub label: Option<Label>,
}

/// A running simulation. Memory is bounded by the world, one day of traffic, and the frauds under way.
#[derive(Clone, Debug)]
pub struct Simulation {
    world: World,
    traffic: Traffic,
    underworld: Underworld,
    labeller: Labeller,
    start_ms: i64,
    days: u32,
    /// The next day to be planned.
    day: u32,
    /// Planned for later days.
    later: Vec<Planned>,
    /// The day under way, in order of time.
    today: VecDeque<Planned>,
    emitted: u64,
}

impl Simulation {
    /// Checks the parameters and builds the world.
    pub fn new(parameters: &Parameters) -> Result<Self, ParameterError> {
        let start_ms = parameters.checked_start()?.unix_millis();
        Ok(Self {
            world: World::new(parameters, start_ms),
            traffic: Traffic::new(parameters, start_ms),
            underworld: Underworld::new(parameters),
            labeller: Labeller::new(parameters),
            start_ms,
            days: parameters.days,
            day: 0,
            later: Vec::new(),
            today: VecDeque::new(),
            emitted: 0,
        })
    }

    /// Plans the next day: what was planned for it before, what customers do, and what fraudsters begin.
    fn plan_day(&mut self) {
        let day_start_ms = self.start_ms + i64::from(self.day) * DAY_MS;
        let day_end_ms = day_start_ms + DAY_MS;
        let mut planned = std::mem::take(&mut self.later);
        let carried = planned.len();
        self.traffic.day(&mut self.world, self.day, &mut planned);
        let mut frauds = Vec::new();
        let begun = &mut planned[carried..];
        self.underworld.day(&self.world, self.day, day_start_ms, begun, &mut frauds);
        planned.append(&mut frauds);
        let (mut today, later): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(|planned| planned.at_ms < day_end_ms);
        // A stable sort: of two in the same millisecond, the one planned first comes first.
        today.sort_by_key(|planned| planned.at_ms);
        self.later = later;
        self.today = today.into();
        self.day += 1;
    }
}

impl Iterator for Simulation {
    type Item = Simulated;

    fn next(&mut self) -> Option<Simulated> {
        while self.today.is_empty() {
            if self.day >= self.days {
                return None;
            }
            self.plan_day();
        }
        let planned = self.today.pop_front()?;
        self.emitted += 1;
        let transaction = planned.render(self.emitted, &self.world);
        let label = self.labeller.label(&transaction, planned.truth);
        Some(Simulated { transaction, truth: planned.truth, label })
    }
}
