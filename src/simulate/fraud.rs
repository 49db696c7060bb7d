//! When frauds happen: how many campaigns of each scenario begin on a day, which terminals copy cards, and which of the
//! customers' own purchases will be disputed.

use crate::simulate::cast;
use crate::simulate::draw::Draw;
use crate::simulate::parameters::{Fraud, Parameters};
use crate::simulate::plan::{Channel, Planned};
use crate::simulate::scenarios::{Loot, Stage, moment};
use crate::simulate::simulation::Scenario;
use crate::simulate::world::World;

/// Most copied cards that wait to be abused; further ones are forgotten.
const COPIES_MAX: usize = 100_000;
/// Most terminals that copy cards at one time.
const SKIMMERS_MAX: usize = 2_000;
/// Most campaigns of one scenario that begin on one day.
const CAMPAIGNS_PER_DAY_MAX: u32 = 100_000;
/// Probability that a compromised terminal copies a card that is used at it.
const COPY_PROBABILITY: f64 = 0.6;

/// A terminal that copies cards until the end of a day.
#[derive(Clone, Copy, Debug)]
struct Skimmer {
    terminal: u32,
    last_day: u32,
    /// A terminal that plays along when the cards are abused.
    accomplice: Option<u32>,
}

/// A copied card.
#[derive(Clone, Copy, Debug)]
struct Copy {
    loot: Loot,
    from_day: u32,
    accomplice: Option<u32>,
}

/// The stream of frauds.
#[derive(Clone, Debug)]
pub(crate) struct Underworld {
    draw: Draw,
    fraud: Fraud,
    skimmers: Vec<Skimmer>,
    copies: Vec<Copy>,
}

impl Underworld {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            draw: Draw::new(parameters.seed, 2),
            fraud: parameters.fraud,
            skimmers: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Plans the campaigns that begin on that day into `out`, and marks disputed ones among `legitimate`, the purchases
    /// that customers begin on that day. Campaigns may run on into later days.
    pub(crate) fn day(
        &mut self,
        world: &World,
        day: u32,
        day_start_ms: i64,
        legitimate: &mut [Planned],
        out: &mut Vec<Planned>,
    ) {
        let purchases = cast::double(i64::try_from(legitimate.len()).unwrap_or(i64::MAX));
        self.disputes(world, legitimate, purchases);
        self.copy_cards(world, day, legitimate);
        let fraud = self.fraud;
        let cash_out = 1.0 + fraud.card_testing.cash_out_share;
        let campaigns: [(f64, f64, fn(&mut Stage<'_>, i64)); 5] = [
            (fraud.card_testing.share, fraud.card_testing.size_mean * cash_out, |stage, at_ms| {
                stage.card_testing(at_ms)
            }),
            (fraud.stolen_card_spree.share, fraud.stolen_card_spree.size_mean, |stage, at_ms| {
                stage.stolen_card_spree(at_ms)
            }),
            (fraud.account_takeover.share, fraud.account_takeover.size_mean, |stage, at_ms| {
                stage.account_takeover(at_ms)
            }),
            (fraud.bulk_purchase.share, fraud.bulk_purchase.size_mean, |stage, at_ms| {
                stage.bulk_purchase(at_ms)
            }),
            (fraud.bot_traffic.share, fraud.bot_traffic.size_mean, |stage, at_ms| stage.bot_traffic(at_ms)),
        ];
        for (share, size_mean, play) in campaigns {
            let begin = self.draw.poisson(purchases * share / size_mean).min(CAMPAIGNS_PER_DAY_MAX);
            for _ in 0..begin {
                let at_ms = moment(day_start_ms, &mut self.draw);
                play(&mut Stage { world, draw: &mut self.draw, fraud: &self.fraud, out }, at_ms);
            }
        }
        self.abuse_copies(world, day, day_start_ms, purchases, out);
    }

    /// Marks purchases that their own customers will dispute: online ones mostly, and by some customers again and again.
    fn disputes(&mut self, world: &World, legitimate: &mut [Planned], purchases: f64) {
        let friendly = self.fraud.friendly;
        let weight = |planned: &Planned| {
            let Some(customer) = planned.customer.and_then(|number| world.customers.get(number as usize))
            else {
                return 0.0;
            };
            let channel = if planned.channel == Channel::Pos { 0.25 } else { 1.0 };
            if customer.disputes_often { channel * friendly.serial_factor } else { channel }
        };
        let total: f64 = legitimate.iter().map(weight).sum();
        if total <= 0.0 {
            return;
        }
        let scale = purchases * friendly.share / total;
        for planned in legitimate {
            if self.draw.chance(weight(planned) * scale) {
                planned.truth = Some(Scenario::FriendlyFraud);
            }
        }
    }

    /// Lets compromised terminals copy cards, and compromises as many as the wanted number of abuses needs.
    fn copy_cards(&mut self, world: &World, day: u32, legitimate: &[Planned]) {
        let settings = self.fraud.compromised_terminal;
        let purchases = cast::double(i64::try_from(legitimate.len()).unwrap_or(i64::MAX));
        let wanted_per_day = purchases * settings.share / settings.size_mean;
        let wanted = wanted_per_day * (settings.abuse_delay_days_mean + 3.0);
        self.skimmers.retain(|skimmer| skimmer.last_day >= day);
        let missing =
            cast::count((wanted - cast::double(i64::try_from(self.copies.len()).unwrap_or(0))) / 8.0);
        let most = cast::count(wanted_per_day / 4.0) + 1;
        for _ in 0..missing.min(most) {
            // A purchase of the day picks the terminal: the busier, the likelier.
            let used =
                legitimate.get(self.draw.position(legitimate.len())).and_then(|planned| planned.terminal);
            let days = self.draw.exponential(settings.skimming_days_mean);
            let accomplice = self.draw.position(world.terminals.len());
            let accomplice = u32::try_from(accomplice).ok().filter(|_| !world.terminals.is_empty());
            if let Some(terminal) = used
                && self.skimmers.len() < SKIMMERS_MAX
                && self.skimmers.iter().all(|skimmer| skimmer.terminal != terminal)
            {
                let last_day = day.saturating_add(cast::count(days));
                self.skimmers.push(Skimmer { terminal, last_day, accomplice });
            }
        }
        self.skimmers.sort_by_key(|skimmer| skimmer.terminal);
        for planned in legitimate {
            let Some(terminal) = planned.terminal else { continue };
            let Ok(position) = self.skimmers.binary_search_by_key(&terminal, |skimmer| skimmer.terminal)
            else {
                continue;
            };
            if !self.draw.chance(COPY_PROBABILITY) || self.copies.len() >= COPIES_MAX {
                continue;
            }
            let holder = match planned.customer.and_then(|number| world.customers.get(number as usize)) {
                Some(customer) => customer.address,
                None => world.any_address(planned.card.country, &mut self.draw),
            };
            let delay_days = cast::count(self.draw.exponential(settings.abuse_delay_days_mean));
            self.copies.push(Copy {
                loot: Loot { card: planned.card, victim: planned.customer, holder },
                from_day: day.saturating_add(1).saturating_add(delay_days),
                accomplice: self.skimmers[position].accomplice,
            });
        }
    }

    fn abuse_copies(
        &mut self,
        world: &World,
        day: u32,
        day_start_ms: i64,
        purchases: f64,
        out: &mut Vec<Planned>,
    ) {
        let settings = self.fraud.compromised_terminal;
        let mut wanted = self.draw.poisson(purchases * settings.share / settings.size_mean);
        let Self { draw, fraud, copies, .. } = self;
        copies.retain(|copy| {
            if copy.from_day > day || wanted == 0 {
                return true;
            }
            wanted -= 1;
            let at_ms = moment(day_start_ms, draw);
            Stage { world, draw, fraud, out }.copied_card(&copy.loot, copy.accomplice, at_ms);
            false
        });
    }
}
