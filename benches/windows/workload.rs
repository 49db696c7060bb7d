//! The events: users with some ten attempts in thirty days, who own 1.2 cards, 1.3 devices and 1.5 IP addresses each, at
//! merchants and terminals. Nine of ten attempts are approved, one in a hundred is labelled a week later.
//!
//! There is a merchant for fifty users and a terminal for twenty, 20,000 and 50,000 for a million users: so a store of fewer users holds
//! as many events of each key, and reading it is the same work.
//!
//! An event is a function of the seed and its number, so two contestants that are given one workload see the same events.
//! Customer, card, device, IP, merchant and terminal have keys; the pair entities of the catalogue have none.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use smallvec::{SmallVec, smallvec};
use tollgate::domain::money::{Currency, Money};
use tollgate::domain::time::EventTime;
use tollgate::domain::transaction::Location;
use tollgate::window::event::{Attempt, Key, KeyHasher};
use tollgate::window::layout::{Layout, OutcomeStream};

/// The entities that have a key, in the order of `Event::numbers`.
pub(crate) const ENTITIES: [&str; 6] = ["customer", "card", "device", "ip", "merchant", "terminal"];

/// Attempts of one user in the time that the fill spans, on average.
pub(crate) const ATTEMPTS_PER_USER: u64 = 10;
const DAY_MS: i64 = 86_400_000;
/// Event time that the fill spans.
const FILL_SPAN_MS: i64 = 30 * DAY_MS;
const START_MS: i64 = 1_700_000_000_000;
const LABEL_DELAY_MS: i64 = 7 * DAY_MS;
/// How late an attempt may be in the check.
const LATENESS_MS_MAX: i64 = 3_600_000;
/// Times in the check are multiples of this.
const GRID_MS: i64 = 300_000;

const USERS_PER_MERCHANT: u32 = 50;
const USERS_PER_TERMINAL: u32 = 20;
/// Keys of all entities for a hundred users: 100 customers, 120 cards, 130 devices, 150 addresses, 2 merchants, 5 terminals.
pub(crate) const KEYS_PER_HUNDRED_USERS: u32 = 507;
/// Percent of the users who own a second one.
const SECOND_CARD_PERCENT: u64 = 20;
const SECOND_DEVICE_PERCENT: u64 = 30;
const SECOND_IP_PERCENT: u64 = 50;
const APPROVED_PERCENT: u32 = 90;
const DECLINED_PERCENT: u32 = 7;
const LABELLED_PERCENT: u32 = 1;
const FRAUD_PERCENT_OF_LABELS: u32 = 30;
const LOCATED_PERCENT: u32 = 50;
const OTHER_CURRENCY_PERCENT: u32 = 3;
/// Of the power law by which Zipf merchants and terminals are drawn.
const PLACES_EXPONENT: f64 = 1.0;
/// Of the one by which Zipf users are drawn: of a million, the most active makes about one attempt in 800.
const PEOPLE_EXPONENT: f64 = 0.6;

/// The attack: so many attempts with so many cards in a day, from one address.
const ATTACK_ATTEMPTS: u64 = 200_000;
const ATTACK_CARDS: u32 = 50_000;

/// How keys are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Distribution {
    /// Every user, merchant and terminal is as likely as any other.
    Uniform,
    /// Merchants and terminals by a power law of exponent 1, users by one of exponent 0.6.
    Zipf,
}

impl Distribution {
    pub(crate) const ALL: [Self; 2] = [Self::Uniform, Self::Zipf];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }

    /// One of `0..count`. The power law is the continuous one, cut into whole ranks.
    fn draw(self, random: &mut ChaCha8Rng, count: u32, exponent: f64) -> u32 {
        if self == Self::Uniform {
            return random.random_range(0..count);
        }
        let (share, end) = (random.random::<f64>(), f64::from(count) + 1.0);
        let flatness = 1.0 - exponent;
        let rank = if flatness.abs() < 1e-9 {
            end.powf(share)
        } else {
            (share * (end.powf(flatness) - 1.0) + 1.0).powf(flatness.recip())
        };
        (rank as u32).clamp(1, count) - 1
    }
}

/// What an attribute of the layout is taken from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The number of one of `ENTITIES`.
    Entity(usize),
    ShippingCountry,
}

/// What is to be shown with the events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Realistic,
    /// Numbers are compared.
    Check,
    /// One address tries many cards.
    Attack,
}

/// How events are made.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) users: u32,
    pub(crate) distribution: Distribution,
    /// How many attempts the fill has.
    pub(crate) attempts: u64,
    /// Event time that these span.
    span_ms: i64,
    merchants: u32,
    terminals: u32,
    purpose: Purpose,
    hasher: KeyHasher,
    entities: usize,
    positions: [u8; 6],
    sources: Box<[Source]>,
}

impl Workload {
    /// Realistic activity of that many users.
    pub(crate) fn new(layout: &Layout, users: u32, distribution: Distribution) -> Self {
        let position = |name: &str| layout.entity_position(name).expect("the catalogue has the entity");
        let attributes = layout.entities.iter().flat_map(|entity| &entity.attributes);
        Self {
            users,
            distribution,
            attempts: u64::from(users) * ATTEMPTS_PER_USER,
            span_ms: FILL_SPAN_MS,
            merchants: (users / USERS_PER_MERCHANT).max(1),
            terminals: (users / USERS_PER_TERMINAL).max(1),
            purpose: Purpose::Realistic,
            hasher: KeyHasher::new([3; 16]),
            entities: layout.entities.len(),
            positions: ENTITIES.map(position),
            sources: attributes.map(|attribute| source(&attribute.name)).collect(),
        }
    }

    /// A small one, to compare numbers: with late events, with times on a coarse grid, so that some lie exactly at the end of a window or
    /// beside each other, and with no key busy enough to be approximated by anybody.
    pub(crate) fn for_check(layout: &Layout) -> Self {
        let realistic = Self::new(layout, 100, Distribution::Uniform);
        let purpose = Purpose::Check;
        Self { attempts: 5_000, merchants: 100, terminals: 150, purpose, ..realistic }
    }

    /// One address that tries one card after the other, each for a customer of its own, for a day.
    pub(crate) fn of_attack(layout: &Layout) -> Self {
        let realistic = Self::new(layout, ATTACK_CARDS, Distribution::Uniform);
        Self { attempts: ATTACK_ATTEMPTS, span_ms: DAY_MS, purpose: Purpose::Attack, ..realistic }
    }

    /// The same with another number of attempts of a user in the fill, on average.
    pub(crate) fn with_attempts_per_user(self, attempts: u64) -> Self {
        Self { attempts: u64::from(self.users) * attempts, ..self }
    }
}

fn source(attribute: &str) -> Source {
    let field = |name: &str| attribute.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    match attribute {
        "device.ip" => Source::Entity(3),
        "shipping.country" => Source::ShippingCountry,
        _ => {
            let entity = ENTITIES.iter().position(|name| field(name));
            Source::Entity(entity.expect("the workload has the field that is counted"))
        }
    }
}

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Of all transactions of the workload.
    pub(crate) number: u64,
    /// Who took part, in the order of `ENTITIES`: what the keys are hashes of.
    pub(crate) numbers: [u64; 6],
    pub(crate) attempt: Attempt,
    pub(crate) outcome: Option<OutcomeStream>,
    /// Whether it says fraud, where there will be one.
    pub(crate) label: Option<bool>,
}

impl Event {
    /// The label of this event, where it will have one.
    pub(crate) fn label(&self) -> Option<Label> {
        let fraud = self.label?;
        let at = EventTime::from_unix_millis(self.attempt.at.unix_millis() + LABEL_DELAY_MS).ok()?;
        let keys = self.attempt.keys.clone();
        Some(Label { number: self.number, numbers: self.numbers, keys, at, fraud })
    }
}

/// What became known of one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) number: u64,
    pub(crate) numbers: [u64; 6],
    pub(crate) keys: SmallVec<[Option<Key>; 16]>,
    /// When it became known.
    pub(crate) at: EventTime,
    pub(crate) fraud: bool,
}

/// Makes every `step`th event of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    workload: Arc<Workload>,
    random: ChaCha8Rng,
    number: u64,
    step: u64,
    hottest_merchant: bool,
}

impl Generator {
    /// The events of the fill.
    pub(crate) fn of_fill(workload: &Arc<Workload>) -> Self {
        Self::new(workload, 0, 0, 1)
    }

    /// What comes after the fill, for one of `threads`. `seed` tells several of them apart.
    pub(crate) fn after_fill(workload: &Arc<Workload>, seed: u64, thread: usize, threads: usize) -> Self {
        let first = workload.attempts + thread as u64;
        Self::new(workload, (seed << 8) + 128 + thread as u64, first, threads)
    }

    /// The same, but every event is at the first merchant, who is the busiest where keys are Zipf.
    pub(crate) fn at_hottest_merchant(self) -> Self {
        Self { hottest_merchant: true, ..self }
    }

    fn new(workload: &Arc<Workload>, seed: u64, number: u64, threads: usize) -> Self {
        Self {
            workload: Arc::clone(workload),
            random: ChaCha8Rng::seed_from_u64(seed),
            number,
            step: threads as u64,
            hottest_merchant: false,
        }
    }

    /// The number of the next event.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The next `count` events.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Event {
        let user = self.workload.distribution.draw(&mut self.random, self.workload.users, PEOPLE_EXPONENT);
        self.of_user(user)
    }

    /// The next event, by that user.
    pub(crate) fn of_user(&mut self, user: u32) -> Event {
        let (workload, random) = (&*self.workload, &mut self.random);
        let number = self.number;
        self.number += self.step;
        let merchant = workload.distribution.draw(random, workload.merchants, PLACES_EXPONENT);
        let terminal = workload.distribution.draw(random, workload.terminals, PLACES_EXPONENT);
        let is_attack = workload.purpose == Purpose::Attack;
        let numbers = [
            u64::from(user),
            owned(random, user, 1, if is_attack { 0 } else { SECOND_CARD_PERCENT }),
            owned(random, user, 2, SECOND_DEVICE_PERCENT),
            if is_attack { 0 } else { owned(random, user, 3, SECOND_IP_PERCENT) },
            if self.hottest_merchant { 0 } else { u64::from(merchant) },
            u64::from(terminal),
        ];
        let attempt = Attempt {
            at: workload.at(random, number),
            amount: amount(random),
            location: location(random, user),
            keys: workload.keys(&numbers),
            attributes: workload.attributes(random, &numbers),
        };
        let outcome = match random.random_range(0..100) {
            0..APPROVED_PERCENT => Some(OutcomeStream::Approved),
            percent if percent < APPROVED_PERCENT + DECLINED_PERCENT => Some(OutcomeStream::Declined),
            _ => None,
        };
        let label = percent(random, LABELLED_PERCENT).then(|| percent(random, FRAUD_PERCENT_OF_LABELS));
        Event { number, numbers, attempt, outcome, label }
    }
}

/// The generators of several threads, each of which makes its part: time goes on from that number for all.
pub(crate) fn go_on_from(generators: &mut [Generator], number: u64) {
    for (generator, number) in generators.iter_mut().zip(number..) {
        generator.number = number;
    }
}

impl Workload {
    fn at(&self, random: &mut ChaCha8Rng, number: u64) -> EventTime {
        let since_start = i128::from(number) * i128::from(self.span_ms) / i128::from(self.attempts);
        let mut millis = START_MS.saturating_add(i64::try_from(since_start).unwrap_or(i64::MAX));
        if self.purpose == Purpose::Check {
            let late_by = if percent(random, 10) { random.random_range(0..LATENESS_MS_MAX) } else { 0 };
            millis = (millis - late_by) / GRID_MS * GRID_MS;
        }
        EventTime::from_unix_millis(millis).expect("a time in this age")
    }

    fn keys(&self, numbers: &[u64; 6]) -> SmallVec<[Option<Key>; 16]> {
        let mut keys = smallvec![None; self.entities];
        for (&position, number) in self.positions.iter().zip(numbers) {
            keys[usize::from(position)] = Some(self.hasher.key(position, [number.to_le_bytes()]));
        }
        keys
    }

    fn attributes(&self, random: &mut ChaCha8Rng, numbers: &[u64; 6]) -> SmallVec<[u64; 64]> {
        // What belongs to one entity is told apart from the same number of another.
        let entity = 0..ENTITIES.len() as u64;
        let hashes: SmallVec<[u64; 8]> = entity
            .zip(numbers)
            .map(|(entity, number)| self.hasher.attribute([entity.to_le_bytes(), number.to_le_bytes()]))
            .collect();
        let country =
            [b"country".as_slice(), &[if percent(random, 95) { 0 } else { random.random_range(1..30) }]];
        let country = self.hasher.attribute(country);
        self.sources
            .iter()
            .map(|source| match *source {
                Source::Entity(entity) => hashes[entity],
                Source::ShippingCountry => country,
            })
            .collect()
    }
}

fn percent(random: &mut ChaCha8Rng, percent: u32) -> bool {
    random.random_range(0..100) < percent
}

/// One of the one or two cards, devices or addresses that a user owns.
fn owned(random: &mut ChaCha8Rng, user: u32, kind: u64, second_percent: u64) -> u64 {
    let owns_two = mixed(u64::from(user), kind) % 100 < second_percent;
    u64::from(user) * 2 + u64::from(owns_two && random.random::<bool>())
}

/// A fixed number for a user, different for each `kind`.
fn mixed(user: u64, kind: u64) -> u64 {
    let mixed = (user + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(kind << 32);
    (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17
}

/// 1 to 500 in major units, small ones more often; both currencies have two decimal places.
fn amount(random: &mut ChaCha8Rng) -> Money {
    let code = if percent(random, OTHER_CURRENCY_PERCENT) { "USD" } else { "EUR" };
    let currency = Currency::parse(code).expect("a currency");
    let minor = 100.0 * 500_f64.powf(random.random::<f64>());
    Money::from_minor(minor as i64, currency).expect("an amount")
}

/// Near home, one in fifty anywhere, to seven decimal places, which is a centimetre; half of the attempts say nothing.
fn location(random: &mut ChaCha8Rng, user: u32) -> Option<Location> {
    if !percent(random, LOCATED_PERCENT) {
        return None;
    }
    if percent(random, 2) {
        let (latitude, longitude) = (random.random_range(-60.0..60.0), random.random_range(-179.0..179.0));
        return Some(Location { latitude: rounded(latitude), longitude: rounded(longitude) });
    }
    let degrees = |kind, range: u64| mixed(u64::from(user), kind) as f64 % range as f64 - range as f64 / 2.0;
    Some(Location {
        latitude: rounded(degrees(4, 120) + random.random_range(-0.5..0.5)),
        longitude: rounded(degrees(5, 350) + random.random_range(-0.5..0.5)),
    })
}

fn rounded(degrees: f64) -> f64 {
    (degrees * 1e7).round() / 1e7
}
