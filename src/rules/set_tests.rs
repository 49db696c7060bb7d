//! Whole sets: what they decide, what is refused and where.

use crate::domain::decision::Outcome;
use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};
use crate::rules::directory::SourceFile;
use crate::rules::problem::Problem;
use crate::rules::rollout::Rollout;
use crate::rules::set::RuleSet;

fn schema() -> Schema {
    let mut schema = Schema::new(Slot(100));
    let names = [
        ("amount", ValueType::Double, false),
        ("score", ValueType::Double, true),
        ("card.count_5m", ValueType::Int, true),
        ("customer.id", ValueType::Text, true),
        ("device.ip_country", ValueType::Text, true),
        ("occurred_at", ValueType::Time, false),
        ("tx.is_night", ValueType::Bool, true),
    ];
    for (slot, (name, value_type, nullable)) in (0..).zip(names) {
        schema.add(name, value_type, Slot(slot), nullable).unwrap();
    }
    schema
}

fn at(text: &str) -> EventTime {
    EventTime::parse_rfc3339(text).unwrap()
}

const DEFAULT: &str = "default: {then: APPROVE, reason: no_rule_matched}\n";

fn files(rules: &str) -> Vec<SourceFile> {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    vec![
        file("rules.yaml", rules),
        file("default.yaml", DEFAULT),
        file("lists/trusted.txt", "# ours\nc_1\nc_2,2026-06-30\n"),
    ]
}

fn load(rules: &str) -> RuleSet {
    RuleSet::from_files(&files(rules), &schema()).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

fn refused(rules: &str) -> Vec<Problem> {
    RuleSet::from_files(&files(rules), &schema()).map(|_| ()).unwrap_err()
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Facts that ask the set's own lists.
struct Payment<'a> {
    set: &'a RuleSet,
    at: EventTime,
    values: Vec<(u32, Value<'a>)>,
}

impl Facts for Payment<'_> {
    fn value(&self, slot: Slot) -> Value<'_> {
        self.values.iter().find(|(known, _)| *known == slot.0).map_or(Value::Missing, |(_, value)| *value)
    }

    fn in_list(&self, list: usize, value: Value<'_>) -> bool {
        self.set.lists().contains(list, value, self.at)
    }
}

fn decided(set: &RuleSet, at: EventTime, values: &[(u32, Value<'_>)]) -> (Outcome, String, Vec<String>) {
    let payment = Payment { set, at, values: values.to_vec() };
    let hits = set.evaluate(&payment, at);
    let verdict = set.decide(&hits);
    let hits = hits
        .iter()
        .map(|hit| format!("{}{}", set.rule(*hit).unwrap().id, if hit.live { "" } else { " (shadow)" }))
        .collect();
    (verdict.outcome, verdict.reason.to_owned(), hits)
}

#[test]
fn priority_then_severity_then_file_order() {
    let set = load(
        "rules:
  - {id: review, when: amount > 10, then: REVIEW, reason: a}
  - {id: block, when: amount > 20, then: BLOCK, reason: b}
  - {id: block-too, when: amount > 20, then: BLOCK, reason: c}
  - {id: trusted, when: 'in_list(customer.id, \"trusted\")', then: APPROVE, reason: d, priority: 10}
  - {id: ghost, when: amount > 10, then: BLOCK, reason: e, state: shadow, priority: 99}
  - {id: draft, when: amount > 10, then: BLOCK, reason: f, state: draft, priority: 99}
  - {id: paused, when: amount > 10, then: BLOCK, reason: g, state: paused, priority: 99}
",
    );
    let early = at("2026-06-30T23:59:59Z");
    let late = at("2026-07-01T00:00:00Z");
    let customer = |id| (3, Value::Text(id));
    let amount = |amount| (0, Value::Double(amount));
    let cases = [
        (early, vec![amount(5.0)], Outcome::Approve, "no_rule_matched", vec![]),
        (early, vec![amount(15.0)], Outcome::Review, "a", vec!["review", "ghost (shadow)"]),
        (
            early,
            vec![amount(25.0)],
            Outcome::Block,
            "b",
            vec!["review", "block", "block-too", "ghost (shadow)"],
        ),
        (
            early,
            vec![amount(25.0), customer("c_2")],
            Outcome::Approve,
            "d",
            vec!["review", "block", "block-too", "trusted", "ghost (shadow)"],
        ),
        (
            late,
            vec![amount(25.0), customer("c_2")],
            Outcome::Block,
            "b",
            vec!["review", "block", "block-too", "ghost (shadow)"],
        ),
    ];
    for (at, values, outcome, reason, hits) in cases {
        let expected = (outcome, reason.to_owned(), hits.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(decided(&set, at, &values), expected, "{values:?} at {at}");
    }
}

#[test]
fn reasons_are_ranked_and_speak() {
    let set = load(
        "rules:
  - {id: review, when: amount > 10, then: REVIEW, reason: a, message: 'paid {amount}'}
  - {id: block, when: card.count_5m >= 6, then: BLOCK, reason: b, message: '{card.count_5m} attempts, score {score}'}
",
    );
    let now = at("2026-11-01T00:00:00Z");
    let payment = Payment { set: &set, at: now, values: vec![(0, Value::Double(12.0)), (2, Value::Int(6))] };
    let hits = set.evaluate(&payment, now);
    let reasons: Vec<_> = set
        .reasons(&hits, &payment)
        .into_iter()
        .map(|reason| (reason.code.into_string(), reason.message.unwrap_or_default()))
        .collect();
    let expected = [("b", "6 attempts, score missing"), ("a", "paid 12")];
    assert_eq!(reasons, expected.map(|(code, message)| (code.to_owned(), message.to_owned())));
    let read: Vec<_> = set.rule(hits[1]).unwrap().values_read(&payment).collect();
    assert_eq!(read, [("card.count_5m", Value::Int(6))]);
}

#[test]
fn dates_hold_by_event_time() {
    let set = load(
        "rules:
  - {id: christmas, when: amount > 10, then: REVIEW, reason: a, starts: 2026-12-20, expires: 2026-12-26}
",
    );
    let cases = [
        ("2026-12-19T23:59:59.999Z", Outcome::Approve),
        ("2026-12-20T00:00:00Z", Outcome::Review),
        ("2026-12-26T23:59:59.999Z", Outcome::Review),
        ("2026-12-27T00:00:00Z", Outcome::Approve),
        ("2026-12-27T01:00:00+02:00", Outcome::Review),
    ];
    for (time, outcome) in cases {
        assert_eq!(decided(&set, at(time), &[(0, Value::Double(12.0))]).0, outcome, "{time}");
    }
}

#[test]
fn a_rollout_takes_its_share() {
    let set = load(
        "rules:
  - {id: half, when: amount > 10, then: REVIEW, reason: a, rollout: {percent: 50, by: customer.id}}
",
    );
    let now = at("2026-11-01T00:00:00Z");
    let inside = (0..1_000)
        .filter(|customer| {
            let id = format!("c_{customer}");
            decided(&set, now, &[(0, Value::Double(12.0)), (3, Value::Text(&id))]).0 == Outcome::Review
        })
        .count();
    assert!((440..560).contains(&inside), "{inside}");
    assert_eq!(decided(&set, now, &[(0, Value::Double(12.0))]).0, Outcome::Approve, "no customer");
}

#[test]
fn every_problem_comes_at_once_with_its_place() {
    let problems = refused(
        r#"rules:
  - id: misspelt
    description: Nothing is right here.
    when: card.cuont_5m >= 6
    then: BLOK
    reason: velocity exceeded
    state: lively
    priority: high
    whne: amount > 3
  - id: block-scalar
    when: |
      amount > 3
        && custmer.id == "x"
    then: BLOCK
    reason: a
    message: "{amuont} paid"
  - id: folded
    when: >
      amount > 3
      && amount + 1
    then: BLOCK
    reason: a
    expires: tomorrow
  - id: misspelt
    when: "customer.id.startWith('c')"
    then: BLOCK
    reason: a
    rollout: {percent: 200, by: customer.id}
  - {id: roll, when: amount > 3, then: BLOCK, reason: a, rollout: {percent: 2, by: custmer.id}}
  - then: BLOCK
"#,
    );
    let text = shown(&problems);
    let expected = [
        "rules/rules.yaml:4:11: error: rule `misspelt`: unknown name `card.cuont_5m`; did you mean `card.count_5m`?\n  |     when: card.cuont_5m >= 6\n  |           ^^^^^^^^^^^^^",
        "rules/rules.yaml:5:11: error: rule `misspelt`: `then` is one of APPROVE, REVIEW, CHALLENGE, BLOCK, not `BLOK`; did you mean `BLOCK`?",
        "rules/rules.yaml:6:13: error: rule `misspelt`: `reason` has 1 to 64 letters",
        "rules/rules.yaml:7:12: error: rule `misspelt`: `state` is one of draft, shadow, live, paused, not `lively`; did you mean `live`?",
        "rules/rules.yaml:8:15: error: rule `misspelt`: `priority` is a whole number",
        "rules/rules.yaml:9:5: error: rule `misspelt`: unknown field `whne`; did you mean `when`?",
        "rules/rules.yaml:13:12: error: rule `block-scalar`: unknown name `custmer.id`; did you mean `customer.id`?\n  |         && custmer.id == \"x\"\n  |            ^^^^^^^^^^",
        "rules/rules.yaml:16:16: error: rule `block-scalar`: message: unknown name `amuont`; did you mean `amount`?",
        "rules/rules.yaml:20:7: error: rule `folded`: `&&` needs a bool, not double",
        "rules/rules.yaml:23:14: error: rule `folded`: `expires` is a date",
        "rules/rules.yaml:25:24: error: rule `misspelt`: function `startWith` is not part of the profile; did you mean `startsWith`?",
        "rules/rules.yaml:24:9: error: rule `misspelt`: this id is taken by the rule at rules/rules.yaml:2",
        "rules/rules.yaml:28:24: error: rule `misspelt`: `percent` is a number from 0 to 100",
        "rules/rules.yaml:29:84: error: rule `roll`: rollout: unknown name `custmer.id`; did you mean `customer.id`?",
        "rules/rules.yaml:30:5: error: `id` is missing",
        "rules/rules.yaml:30:5: error: `when` is missing",
        "rules/rules.yaml:30:5: error: `reason` is missing",
    ];
    for line in expected {
        assert!(text.contains(line), "{line}\n\nis not in\n\n{text}");
    }
    assert_eq!(problems.len(), expected.len(), "{text}");
}

#[test]
fn files_that_are_no_rules() {
    let cases = [
        ("rules: 3\n", "rules/rules.yaml:1:8: error: "),
        ("rules:\n  - when: [a]\n", "rules/rules.yaml:2:11: error: "),
        ("rules:\n\t- id: x\n", "rules/rules.yaml:2:"),
        ("rulez: []\n", "rules/rules.yaml:1:1: error: unknown field `rulez`; did you mean `rules`?"),
        ("rules:\n  - {id: a, id: b}\n", "rules/rules.yaml:2:13: error: duplicate mapping key: id"),
        (
            "default: {then: BLOCK, reason: x}\n",
            "rules/rules.yaml:1:10: error: `default` stands in rules/default.yaml already",
        ),
        ("rules:\n  - &a {id: a}\n  - *a\n", "rules/rules.yaml:"),
        ("just a text\n", "rules/rules.yaml:1:1: error: "),
    ];
    for (text, expected) in cases {
        let shown = shown(&refused(text));
        assert!(shown.starts_with(expected), "{text}\n{shown}");
    }
    for text in ["", "# nothing yet\n", "rules: []\n", "rules:\n"] {
        assert!(load(text).rules().is_empty(), "{text:?}");
    }
}

#[test]
fn a_set_without_a_default_says_how_to_write_one() {
    let only = [SourceFile { name: "rules.yaml".to_owned(), text: "rules: []\n".to_owned() }];
    let problems = RuleSet::from_files(&only, &schema()).map(|_| ()).unwrap_err();
    assert!(
        shown(&problems).contains("default:\n  then: APPROVE\n  reason: no_rule_matched"),
        "{problems:?}"
    );
}

#[test]
fn in_file_tests_fail_with_what_was_given() {
    let problems = refused(
        "rules:
  - id: velocity
    when: card.count_5m >= 6 && !in_list(customer.id, \"trusted\")
    then: BLOCK
    reason: a
    tests:
      - {given: {card.count_5m: 6, customer.id: c_9}, expect: match}
      - {given: {card.count_5m: 6, customer.id: c_9}, lists: {trusted: [c_9]}, expect: no_match}
      - {name: too few, given: {card.count_5m: 5, customer.id: c_9}, expect: match}
      - {given: {card.count_5m: 6}, expect: match}
      - {given: {card.count_5m: six}, expect: match}
      - {given: {card.cuont_5m: 6}, expect: match}
      - {given: {}, lists: {trustd: [c_9]}, expect: match}
      - {given: {}, expect: maybe}
",
    );
    let text = shown(&problems);
    let expected = [
        "rules/rules.yaml:9:9: error: rule `velocity`: test \"too few\" failed: expected match, got no_match; the condition came to false, with card.count_5m = 5, customer.id = c_9",
        "rules/rules.yaml:10:9: error: rule `velocity`: test failed: expected match, got no_match; the condition came to missing, with card.count_5m = 6, customer.id = missing",
        "rules/rules.yaml:11:33: error: rule `velocity`: `card.count_5m` is of type int, and `six` is not",
        "rules/rules.yaml:12:18: error: rule `velocity`: test gives the unknown name `card.cuont_5m`; did you mean `card.count_5m`?",
        "rules/rules.yaml:13:29: error: rule `velocity`: there is no list `trustd`; did you mean `trusted`?",
        "rules/rules.yaml:14:29: error: rule `velocity`: `expect` is one of match, no_match, not `maybe`",
    ];
    for line in expected {
        assert!(text.contains(line), "{line}\n\nis not in\n\n{text}");
    }
    assert_eq!(problems.len(), expected.len(), "{text}");
}

#[test]
fn scalars_are_read_by_the_type_of_their_name() {
    let set = load(
        "rules:
  - id: norway
    when: device.ip_country == \"NO\" && metadata.points > 5 && metadata.code == \"7\" && tx.is_night
    then: BLOCK
    reason: a
    tests:
      - {given: {device.ip_country: NO, metadata.points: 6, metadata.code: '7', tx.is_night: true}, expect: match}
      - {given: {device.ip_country: NO, metadata.points: 6, metadata.code: 7, tx.is_night: true}, expect: no_match}
      - {given: {device.ip_country: NO, metadata.points: null, metadata.code: '7', tx.is_night: true}, expect: no_match}
",
    );
    let keys: Vec<_> = set.metadata_keys().iter().map(|(key, slot)| (&**key, *slot)).collect();
    assert_eq!(keys, [("points", Slot(100)), ("code", Slot(101))]);
}

#[test]
fn the_hash_names_the_content() {
    let rules = "rules:\n  - {id: a, when: amount > 10, then: REVIEW, reason: a}\n";
    let first = load(rules);
    assert_eq!(first.hash(), load(rules).hash());
    assert_ne!(first.hash(), load(&rules.replace("10", "11")).hash());
    let mut reversed = files(rules);
    reversed.reverse();
    assert_eq!(RuleSet::from_files(&reversed, &schema()).unwrap().hash(), first.hash());
    let mut renamed = files(rules);
    renamed[0].name = "other.yaml".to_owned();
    assert_ne!(RuleSet::from_files(&renamed, &schema()).unwrap().hash(), first.hash());
}

#[test]
fn a_directory_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        shown(&RuleSet::load(&dir.path().join("none"), &schema()).map(|_| ()).unwrap_err())
            .contains("cannot be read")
    );
    std::fs::create_dir(dir.path().join("lists")).unwrap();
    for file in
        files("rules:\n  - {id: a, when: 'in_list(customer.id, \"trusted\")', then: APPROVE, reason: a}\n")
    {
        std::fs::write(dir.path().join(file.name), file.text).unwrap();
    }
    std::fs::write(dir.path().join("README.md"), "not a rule").unwrap();
    std::fs::write(dir.path().join(".hidden.yaml"), "not: a rule").unwrap();
    let set = RuleSet::load(dir.path(), &schema()).unwrap();
    assert_eq!(set.rules().len(), 1);
    std::fs::write(dir.path().join("broken.yaml"), [0xff, 0xfe]).unwrap();
    std::fs::write(dir.path().join("lists/trusted.txt"), "c_1,soon\n").unwrap();
    assert_eq!(RuleSet::load(dir.path(), &schema()).map(|_| ()).unwrap_err().len(), 1);
}

#[test]
fn ten_thousand_rules_load_and_all_are_evaluated() {
    fn shared<T: Send + Sync>(_: &T) {}
    let rules: String = (0..10_000)
        .map(|number| {
            format!(
                "  - {{id: r{number}, when: amount > {number} && card.count_5m >= 3, then: REVIEW, reason: a}}\n"
            )
        })
        .collect();
    let set = load(&format!("rules:\n{rules}"));
    shared(&set);
    let now = at("2026-11-01T00:00:00Z");
    let payment =
        Payment { set: &set, at: now, values: vec![(0, Value::Double(9_999.5)), (2, Value::Int(3))] };
    assert_eq!(set.evaluate(&payment, now).len(), 10_000);
    let too_many = refused(&format!(
        "rules:\n{rules}{}{}",
        rules.replace("id: r", "id: s"),
        rules.replace("id: r", "id: t")
    ));
    assert_eq!(shown(&too_many).matches("more than 20000 rules").count(), 1);
    let all_wrong = refused(&format!("rules:\n{}", rules.replace("amount", "amuont")));
    assert!(all_wrong.len() <= 201, "{}", all_wrong.len());
}

#[test]
fn numbers_are_refused_that_would_become_others() {
    let percent = "`percent` has at most two decimals, not `";
    let whole = "`priority` is a whole number from -1000000 to 1000000";
    let cases = [
        (
            "rollout: {percent: 33.333, by: customer.id}",
            format!("2:76: error: rule `a`: {percent}33.333`; write 33.33 or 33.34"),
        ),
        (
            "rollout: {percent: 0.001, by: customer.id}",
            format!("2:76: error: rule `a`: {percent}0.001`; write 0 or 0.01"),
        ),
        (
            "rollout: {percent: 1e-3, by: customer.id}",
            format!("2:76: error: rule `a`: {percent}1e-3`; write 0 or 0.01"),
        ),
        (
            "rollout: {percent: 100.001, by: customer.id}",
            "2:76: error: rule `a`: `percent` is a number from 0 to 100".to_owned(),
        ),
        (
            "rollout: {percent: nan, by: customer.id}",
            "2:76: error: rule `a`: `percent` is a number from 0 to 100".to_owned(),
        ),
        ("priority: -2147483648", format!("2:67: error: rule `a`: {whole}")),
        ("priority: 2147483647", format!("2:67: error: rule `a`: {whole}")),
        ("priority: 2147483648", format!("2:67: error: rule `a`: {whole}")),
        ("priority: -1000001", format!("2:67: error: rule `a`: {whole}")),
        ("priority: 1.5", format!("2:67: error: rule `a`: {whole}")),
    ];
    let rule =
        |field: &str| format!("rules:\n  - {{id: a, when: amount > 10, then: REVIEW, reason: a, {field}}}\n");
    for (field, expected) in cases {
        let text = shown(&refused(&rule(field)));
        assert!(text.starts_with(&format!("rules/rules.yaml:{expected}")), "{field}\n{text}");
    }
    for (field, priority, percent) in [
        ("priority: -1000000", -1_000_000, None),
        ("priority: 1000000", 1_000_000, None),
        ("rollout: {percent: 33.33, by: customer.id}", 0, Some(33.33)),
        ("rollout: {percent: 0.290, by: customer.id}", 0, Some(0.29)),
    ] {
        let set = load(&rule(field));
        let found = &set.rules()[0];
        let share = found.rollout.as_ref().map(Rollout::percent);
        assert_eq!((found.priority, share), (priority, percent), "{field}");
    }
}

#[test]
fn a_default_says_why_and_who_answers_for_it_but_no_message() {
    let of = |default: &str| {
        let files =
            [SourceFile { name: "default.yaml".to_owned(), text: format!("default: {{{default}}}\n") }];
        RuleSet::from_files(&files, &schema())
    };
    let set = of("then: REVIEW, reason: unknown, description: Nothing is known., owner: risk").unwrap();
    let default = set.default_decision();
    let found = (default.then, &*default.reason, &*default.description, default.owner.as_deref());
    assert_eq!(found, (Outcome::Review, "unknown", "Nothing is known.", Some("risk")));
    let long = format!("then: REVIEW, reason: r, owner: {}", "x".repeat(2_001));
    let cases = [
        (
            "then: REVIEW, reason: r, message: Hello",
            "rules/default.yaml:1:36: error: unknown field `message`: when the default decides, nothing matched that it could tell of; say why in `description`",
        ),
        (
            "then: REVIEW, reason: r, onwer: risk",
            "rules/default.yaml:1:36: error: unknown field `onwer`; did you mean `owner`?",
        ),
        (&*long, "rules/default.yaml:1:43: error: `owner` is longer than 2000 bytes"),
    ];
    for (default, expected) in cases {
        let text = shown(&of(default).map(|_| ()).unwrap_err());
        assert!(text.starts_with(expected), "{default}\n{text}");
    }
}

#[test]
fn warnings_of_lists_are_those_of_the_set() {
    let mut files = files("rules: []\n");
    files[2].text = "c_1\nc_1,2020-01-01\n".to_owned();
    let set = RuleSet::from_files(&files, &schema()).unwrap();
    let text = shown(set.warnings());
    assert!(
        text.starts_with("rules/lists/trusted.txt:2:1: warning: `c_1` stands in line 1 already"),
        "{text}"
    );
    assert!(set.lists().named("trusted").unwrap().contains(Value::Text("c_1"), at("2026-11-01T00:00:00Z")));
}
