//! The rules and payments that the benches of the rules measure: five conditions a rule over 160 features, 120 whole numbers and 40
//! texts.
//!
//! A value is there in every payment, as not every contestant knows what is missing. Numbers are skewed as counts and amounts are: most are
//! small, a few are large.

use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Features that are whole numbers: `n0`, `n1`, …
pub(crate) const NUMBERS: usize = 120;
/// Features that are texts: `t0`, `t1`, …
pub(crate) const TEXTS: usize = 40;
/// Conditions of a rule.
pub(crate) const CONDITIONS: usize = 5;
/// Payments that are taken in turn.
pub(crate) const PAYMENTS: usize = 256;
/// Different values of a text feature.
const WORDS: u32 = 30;
/// Numbers lie below this.
const NUMBER_END: f64 = 100_000.0;
const SEED: u64 = 20_260_102;

/// What rules are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// As analysts write them: thresholds from the middle of what payments hold to their end, texts that most payments do not have.
    /// Hardly any rule matches.
    Typical,
    /// Thresholds on numbers alone, each of which 62 % of the payments pass: one rule in eleven matches, and no condition tells much.
    Hostile,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Typical, Self::Hostile];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Typical => "typical",
            Self::Hostile => "hostile",
        }
    }
}

/// One condition.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    AtLeast(usize, i32),
    Below(usize, i32),
    Is(usize, u32),
    IsNot(usize, u32),
    OneOf(usize, [u32; 3]),
}

/// How an engine spells conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    pub(crate) and: &'static str,
    /// Around and between the elements after `in`.
    pub(crate) list: (&'static str, &'static str, &'static str),
}

/// As CEL spells them, and Tollgate.
pub(crate) const CEL: Dialect = Dialect { and: " && ", list: ("[", ", ", "]") };

/// A rule's condition as an engine spells it.
pub(crate) fn spell(rule: &[Condition], dialect: Dialect) -> String {
    let conditions: Vec<String> = rule.iter().map(|condition| spell_one(condition, dialect)).collect();
    conditions.join(dialect.and)
}

fn spell_one(condition: &Condition, dialect: Dialect) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = match condition {
        Condition::AtLeast(feature, bound) => write!(text, "n{feature} >= {bound}"),
        Condition::Below(feature, bound) => write!(text, "n{feature} < {bound}"),
        Condition::Is(feature, word) => write!(text, "t{feature} == \"{}\"", self::word(*word)),
        Condition::IsNot(feature, word) => write!(text, "t{feature} != \"{}\"", self::word(*word)),
        Condition::OneOf(feature, words) => {
            let (open, between, close) = dialect.list;
            let words: Vec<String> = words.iter().map(|word| format!("\"{}\"", self::word(*word))).collect();
            write!(text, "t{feature} in {open}{}{close}", words.join(between))
        }
    };
    text
}

/// A text that a feature can hold.
pub(crate) fn word(number: u32) -> String {
    format!("value_{number:02}")
}

/// What one payment holds.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) numbers: Vec<i32>,
    pub(crate) texts: Vec<String>,
}

/// The number below which a share of the payments lies.
#[expect(clippy::cast_possible_truncation, reason = "numbers lie below NUMBER_END")]
fn quantile(share: f64) -> i32 {
    (NUMBER_END * share.powi(4)) as i32
}

/// Which word a draw from 0 to 1 stands for: the first ones are frequent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "words are few")]
fn drawn_word(share: f64) -> u32 {
    (f64::from(WORDS) * share * share) as u32
}

/// That many rules.
pub(crate) fn rules(kind: Kind, count: usize) -> Vec<Vec<Condition>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    (0..count).map(|_| (0..CONDITIONS).map(|place| condition(kind, place, &mut random)).collect()).collect()
}

fn condition(kind: Kind, place: usize, random: &mut ChaCha8Rng) -> Condition {
    let number = random.random_range(0..NUMBERS);
    let text = random.random_range(0..TEXTS);
    match (kind, place) {
        (Kind::Hostile, 0..3) => Condition::AtLeast(number, quantile(0.38)),
        (Kind::Hostile, _) => Condition::Below(number, quantile(0.62)),
        (Kind::Typical, 0 | 1) => Condition::AtLeast(number, quantile(random.random_range(0.5..1.0))),
        (Kind::Typical, 2) => Condition::Below(number, quantile(random.random_range(0.3..1.0))),
        (Kind::Typical, 3) => match random.random_range(0..3) {
            0 => Condition::IsNot(text, drawn_word(random.random())),
            _ => Condition::Is(text, drawn_word(random.random())),
        },
        (Kind::Typical, _) => Condition::OneOf(text, std::array::from_fn(|_| drawn_word(random.random()))),
    }
}

/// The payments.
pub(crate) fn payments() -> Vec<Payment> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED + 1);
    (0..PAYMENTS)
        .map(|_| Payment {
            numbers: (0..NUMBERS).map(|_| quantile(random.random())).collect(),
            texts: (0..TEXTS).map(|_| word(drawn_word(random.random()))).collect(),
        })
        .collect()
}

/// The rules as a file, each with one test.
pub(crate) fn file(rules: &[Vec<Condition>]) -> String {
    let mut text = String::from("rules:\n");
    for (number, rule) in rules.iter().enumerate() {
        let when = spell(rule, CEL);
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "  - id: rule-{number}\n    description: One of many.\n    when: |\n      {when}\n    then: REVIEW\n    reason: one_of_many\n    \
             owner: risk\n    tests: [{{given: {{}}, expect: no_match}}]\n"
        );
    }
    text
}
