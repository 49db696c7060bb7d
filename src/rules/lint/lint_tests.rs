//! What the linter says, as a table.

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};
use crate::rules::directory::SourceFile;
use crate::rules::lint::run::{Background, lint, lint_with};
use crate::rules::lint::traffic::{TRANSACTIONS_MIN, Traffic};
use crate::rules::problem::{Kind, PROBLEMS_MAX, Problem, Severity};
use crate::rules::set::RuleSet;

fn schema() -> Schema {
    let mut schema = Schema::new(Slot(100));
    let names = [
        ("amount", ValueType::Double, false),
        ("score", ValueType::Double, true),
        ("card.count_5m", ValueType::Int, true),
        ("customer.id", ValueType::Text, true),
        ("tx.is_night", ValueType::Bool, true),
    ];
    for (slot, (name, value_type, nullable)) in (0..).zip(names) {
        schema.add(name, value_type, Slot(slot), nullable).unwrap();
    }
    schema
}

fn load(rules: &str) -> RuleSet {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let files = [
        file("rules.yaml", &format!("rules:\n{rules}")),
        file("default.yaml", "default: {then: APPROVE, reason: no_rule_matched}\n"),
        file("lists/trusted.txt", ""),
    ];
    RuleSet::from_files(&files, &schema()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn now() -> EventTime {
    EventTime::parse_rfc3339("2026-11-01T00:00:00Z").unwrap()
}

fn kinds(problems: &[Problem]) -> Vec<(&str, Kind)> {
    problems.iter().map(|problem| (problem.rule.as_deref().unwrap(), problem.kind)).collect()
}

#[test]
fn what_it_says_of_which_rules() {
    let night = "when: tx.is_night && amount > 10, then: REVIEW, reason: r";
    type Case<'a> = (&'a str, String, &'a [(&'a str, Kind)]);
    let cases: [Case<'_>; 17] = [
        ("nothing to say", format!("  - {{id: a, {night}}}\n"), &[]),
        (
            "never and always",
            "  - {id: a, when: amount > 5 && amount < 3, then: BLOCK, reason: r}\n  - {id: b, when: has(amount), then: REVIEW, reason: r, state: shadow}\n".to_owned(),
            &[("a", Kind::NeverHits), ("b", Kind::AlwaysHits)],
        ),
        ("a paused rule may be anything", "  - {id: a, when: 'false', then: BLOCK, reason: r, state: paused}\n".to_owned(), &[]),
        ("negation", "  - {id: a, when: '!(score > 0.5)', then: APPROVE, reason: r}\n".to_owned(), &[("a", Kind::NegatedMissing)]),
        ("negation that asks", "  - {id: a, when: '!has(score) || !(score > 0.5)', then: APPROVE, reason: r}\n".to_owned(), &[]),
        ("expired", format!("  - {{id: a, {night}, expires: 2026-10-30}}\n"), &[("a", Kind::Expired)]),
        ("no rollout", format!("  - {{id: a, {night}, rollout: {{percent: 0, by: customer.id}}}}\n"), &[("a", Kind::NoRollout)]),
        (
            "doubles",
            "  - {id: a, when: score == 0.3, then: BLOCK, reason: r}\n  - {id: b, when: amount == 1 && score != amount / 7.0, then: BLOCK, reason: r}\n  - {id: c, when: amount == 100, then: BLOCK, reason: r}\n".to_owned(),
            &[("a", Kind::DoubleEquality), ("b", Kind::DoubleEquality)],
        ),
        (
            "the same twice",
            format!("  - {{id: a, {night}}}\n  - {{id: b, when: 10<amount && (tx.is_night), then: REVIEW, reason: other}}\n"),
            &[("b", Kind::Duplicate)],
        ),
        (
            "the same with another outcome",
            format!("  - {{id: a, {night}}}\n  - {{id: b, when: 10<amount && (tx.is_night), then: BLOCK, reason: r}}\n"),
            &[("b", Kind::ConflictingDuplicate)],
        ),
        (
            "a shadow rule may try another outcome",
            format!("  - {{id: a, {night}}}\n  - {{id: b, when: 10<amount && (tx.is_night), then: BLOCK, reason: r, state: shadow}}\n"),
            &[],
        ),
        (
            "another outcome for some, before that for all",
            format!("  - {{id: a, {night}}}\n  - {{id: b, when: 10<amount && (tx.is_night), then: BLOCK, reason: r, rollout: {{percent: 10, by: customer.id}}}}\n"),
            &[],
        ),
        (
            "another outcome for some, behind that for all",
            format!("  - {{id: a, {night}, rollout: {{percent: 10, by: customer.id}}}}\n  - {{id: b, when: 10<amount && (tx.is_night), then: BLOCK, reason: r}}\n"),
            &[("b", Kind::ConflictingDuplicate)],
        ),
        (
            "another outcome for all",
            format!("  - {{id: a, {night}}}\n  - {{id: b, when: 10<amount && (tx.is_night), then: BLOCK, reason: r, rollout: {{percent: 100, by: customer.id}}}}\n"),
            &[("b", Kind::ConflictingDuplicate)],
        ),
        (
            "one after the other",
            format!("  - {{id: a, {night}, expires: 2026-12-01}}\n  - {{id: b, {night}, starts: 2026-12-02}}\n"),
            &[],
        ),
        (
            "a higher rule that is on for fewer",
            format!("  - {{id: a, {night}, priority: 1, rollout: {{percent: 50, by: customer.id}}}}\n  - {{id: b, when: tx.is_night && amount > 20, then: REVIEW, reason: r}}\n"),
            &[],
        ),
        (
            "a higher rule that is on for longer",
            format!("  - {{id: a, {night}, priority: 1, expires: 2027-02-01}}\n  - {{id: b, when: tx.is_night && amount > 20, then: BLOCK, reason: r, expires: 2027-01-01}}\n  - {{id: c, when: tx.is_night && amount > 30, then: BLOCK, reason: r}}\n"),
            &[("b", Kind::NeverDecides)],
        ),
    ];
    for (name, rules, expected) in cases {
        let problems = lint(&load(&rules), now());
        assert_eq!(kinds(&problems), expected, "{name}");
        assert!(problems.iter().all(|problem| problem.severity == Severity::Warning), "{name}");
    }
}

#[test]
fn a_warning_reads_well_and_is_data() {
    let problems = lint(
        &load(
            "  - {id: a, when: amount > 10, then: BLOCK, reason: r}\n  - {id: b, when: amount > 20, then: REVIEW, reason: r}\n",
        ),
        now(),
    );
    assert_eq!(
        problems[0].to_string(),
        "rules/rules.yaml:3:10: warning: rule `b`: never decides: whenever it matches, `a` (rules/rules.yaml:2) matches too and ranks \
         higher; give it a higher priority, or make it shadow"
    );
    let json = serde_json::to_value(&problems[0]).unwrap();
    let expected = serde_json::json!({
        "severity": "warning", "kind": "never_decides", "file": "rules/rules.yaml", "line": 3, "column": 10, "rule": "b",
        "message": "never decides: whenever it matches, `a` (rules/rules.yaml:2) matches too and ranks higher",
        "advice": "give it a higher priority, or make it shadow",
    });
    assert_eq!(json, expected);
}

#[test]
fn it_names_every_rule_that_decides_instead() {
    let above = "  - {id: a, when: card.count_5m > 5, then: BLOCK, reason: r}\n  - {id: b, when: amount > 50, then: BLOCK, reason: r}\n";
    let (a, b) = ("`a` (rules/rules.yaml:2)", "`b` (rules/rules.yaml:3)");
    let cases = [
        ("card.count_5m > 6 || amount > 60", vec![a, b]),
        ("amount > 60 || card.count_5m > 6", vec![a, b]),
        ("(card.count_5m > 6 || card.count_5m > 8) && tx.is_night", vec![a]),
        ("card.count_5m > 6 && (tx.is_night || score > 0.5)", vec![a]),
        ("card.count_5m > 6 || amount > 60 || card.count_5m == 9 && tx.is_night", vec![a, b]),
        ("card.count_5m > 6 || score > 0.5", vec![]),
    ];
    for (when, names) in cases {
        let set = load(&format!("{above}  - {{id: c, when: '{when}', then: REVIEW, reason: r}}\n"));
        let problems = lint(&set, now());
        let found: Vec<&str> = problems.iter().map(|problem| &*problem.message).collect();
        let sentence = format!(
            "never decides: whenever it matches, {} matches too and ranks higher",
            names.join(" or ")
        );
        let expected: Vec<&str> = if names.is_empty() { Vec::new() } else { vec![&sentence] };
        assert_eq!(found, expected, "{when}");
    }
}

#[test]
fn so_many_warnings_and_the_rest_is_counted() {
    for (rules, expected) in
        [(PROBLEMS_MAX, PROBLEMS_MAX), (PROBLEMS_MAX + 1, PROBLEMS_MAX + 1), (999, PROBLEMS_MAX + 1)]
    {
        let text: String = (0..rules)
            .map(|number| {
                format!("  - {{id: r{number}, when: '{number} > 9999', then: REVIEW, reason: r}}\n")
            })
            .collect();
        let problems = lint(&load(&text), now());
        assert_eq!(problems.len(), expected, "{rules}");
        assert!(problems.iter().all(|problem| problem.severity == Severity::Warning));
        let last = problems.last().unwrap();
        if rules > PROBLEMS_MAX {
            let left = format!("and {} more", rules - PROBLEMS_MAX);
            assert_eq!((last.kind, &*last.message), (Kind::More, &*left));
        } else {
            assert_eq!(last.kind, Kind::NeverHits);
        }
    }
}

#[test]
fn it_says_which_parts_exclude_each_other() {
    let cases = [
        ("score >= 93", "never matches: `score >= 93` never holds, since `score` lies from 0 to 1"),
        (
            "tx.is_night && (card.count_5m < 0 && amount > 1)",
            "never matches: `card.count_5m < 0` never holds, since `card.count_5m` is never below 0",
        ),
        (
            "amount > 5 && tx.is_night && amount  < 3",
            "never matches: `amount > 5` and `amount < 3` exclude each other",
        ),
        ("!has(amount) && tx.is_night", "never matches: `!has(amount)` never holds"),
        (
            "(amount > 5 || tx.is_night) && amount < 3 && !tx.is_night",
            "never matches: its parts exclude each other",
        ),
    ];
    let ranges = [("score".into(), 0.0, 1.0), ("card.count_5m".into(), 0.0, f64::INFINITY)];
    for (when, expected) in cases {
        let set = load(&format!("  - {{id: a, when: '{when}', then: BLOCK, reason: r}}\n"));
        let problems = lint_with(&set, Background { at: now(), ranges: &ranges, traffic: None });
        let found: Vec<_> =
            problems.iter().filter(|it| it.kind == Kind::NeverHits).map(|it| &*it.message).collect();
        assert_eq!(found, [expected], "{when}");
    }
}

#[test]
fn known_ranges_make_thresholds_impossible() {
    let set = load(
        "  - {id: a, when: score >= 93, then: BLOCK, reason: r}\n  - {id: b, when: card.count_5m < 0, then: BLOCK, reason: r}\n  - {id: c, when: score >= 0.93, then: BLOCK, reason: r}\n",
    );
    let ranges = [
        ("score".into(), 0.0, 1.0),
        ("card.count_5m".into(), 0.0, f64::INFINITY),
        ("unknown".into(), 0.0, 1.0),
    ];
    let problems = lint_with(&set, Background { at: now(), ranges: &ranges, traffic: None });
    assert_eq!(kinds(&problems), [("a", Kind::NeverHits), ("b", Kind::NeverHits)]);
    assert_eq!(kinds(&lint(&set, now())), []);
}

#[test]
fn recorded_traffic_tells_what_is_never_there_and_what_never_matches() {
    struct Payment(f64);
    impl Facts for Payment {
        fn value(&self, slot: Slot) -> Value<'_> {
            if slot.0 == 0 { Value::Double(self.0) } else { Value::Missing }
        }
        fn in_list(&self, _: usize, _: Value<'_>) -> bool {
            false
        }
    }
    let set = load(
        "  - {id: a, when: amount > 50, then: BLOCK, reason: r}\n  - {id: b, when: amount > 5000, then: CHALLENGE, reason: r}\n  - {id: c, when: score > 0.5, then: REVIEW, reason: r}\n  - {id: d, when: tx.is_night, then: REVIEW, reason: r, state: draft}\n  - {id: e, when: amount > 3, then: REVIEW, reason: r, rollout: {percent: 10, by: customer.id}}\n",
    );
    let is_feature = |slot: Slot| slot.0 == 4;
    let count = |whole: u64, fields_only: u64| {
        let mut traffic = Traffic::new(&set);
        for number in 0..whole {
            traffic.count(&set, &Payment(f64::from(u32::try_from(number % 100).unwrap())), |_| true, true);
        }
        for _ in 0..fields_only {
            traffic.count(&set, &Payment(1.0), |slot| !is_feature(slot), false);
        }
        traffic
    };
    let of = |traffic: &Traffic| {
        let background = Background { at: now(), ranges: &[], traffic: Some(traffic) };
        let problems = lint_with(&set, background);
        kinds(&problems)
            .into_iter()
            .filter(|(_, kind)| matches!(kind, Kind::AlwaysMissing | Kind::NeverMatched))
            .map(|(rule, kind)| (rule.to_owned(), kind))
            .collect::<Vec<_>>()
    };
    let owned = |expected: &[(&str, Kind)]| {
        expected.iter().map(|(rule, kind)| ((*rule).to_owned(), *kind)).collect::<Vec<_>>()
    };
    let (missing, unmatched) = (Kind::AlwaysMissing, Kind::NeverMatched);
    assert_eq!(of(&count(TRANSACTIONS_MIN - 1, 0)), []);
    assert_eq!(
        of(&count(TRANSACTIONS_MIN, 0)),
        owned(&[("b", unmatched), ("c", missing), ("c", unmatched), ("d", missing), ("e", missing)])
    );
    assert_eq!(of(&count(0, TRANSACTIONS_MIN)), owned(&[("c", missing), ("e", missing)]));
}

/// Whether rules share names, ask for more and more, or share one name and none implies another.
#[test]
fn ten_thousand_rules_are_not_too_many() {
    type Shape = (fn(u32) -> String, bool);
    let shapes: [Shape; 3] = [
        (
            |number| {
                let (count, id, amount) = (number % 40, number % 900, number % 5_000);
                format!(
                    "card.count_5m >= {count} && customer.id == 'c_{id}' && (amount > {amount} || score > 0.{count:02})"
                )
            },
            true,
        ),
        (|number| format!("amount > {number} && tx.is_night"), true),
        (|number| format!("amount > {number} && card.count_5m >= {}", 20_000 - number), false),
    ];
    for (when, has_warnings) in shapes {
        let rules: String = (0..10_000)
            .map(|number| {
                format!("  - {{id: r{number}, when: \"{}\", then: REVIEW, reason: r}}\n", when(number))
            })
            .collect();
        let problems = lint(&load(&rules), now());
        assert_eq!(!problems.is_empty(), has_warnings, "{}", when(0));
    }
}
