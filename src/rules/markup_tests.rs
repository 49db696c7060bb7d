//! What of YAML a rule file has, and what it has not: none of it may silently turn a condition around.

use crate::domain::value::ValueType;
use crate::expr::schema::{Schema, Slot};
use crate::rules::directory::SourceFile;
use crate::rules::set::RuleSet;

/// Loads a rule file: how many rules it has, or the first problem.
fn load(rules: &str) -> Result<usize, String> {
    let mut schema = Schema::new(Slot(100));
    let names =
        [("amount", ValueType::Double), ("score", ValueType::Double), ("tx.is_night", ValueType::Bool)];
    for (slot, (name, value_type)) in (0..).zip(names) {
        schema.add(name, value_type, Slot(slot), true).unwrap();
    }
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let files = [file("rules.yaml", rules), file("default.yaml", "default: {then: APPROVE, reason: none}\n")];
    RuleSet::from_files(&files, &schema)
        .map(|set| set.rules().len())
        .map_err(|problems| problems[0].to_string())
}

/// A rule whose lines around the condition are sound.
fn with(condition: &str) -> String {
    format!("rules:\n  - id: a\n{condition}\n    then: BLOCK\n    reason: a\n")
}

const QUOTE: &str = "put the whole condition in quotes, or on the lines below `when: |`";

#[test]
fn conditions_that_yaml_would_misread_are_refused() {
    let keeps = |sign: char| format!("YAML keeps `{sign}` at the beginning of a value for itself; {QUOTE}");
    let cases = [
        ("!tx.is_night", keeps('!')),
        ("! (score > 0.9)", keeps('!')),
        ("!has(score) || amount > 3", keeps('!')),
        ("!x amount > 3", keeps('!')),
        ("!!str amount > 3", keeps('!')),
        ("!<tag:yaml.org,2002:str> amount > 3", keeps('!')),
        ("! \"score > 0.9\"", keeps('!')),
        ("! [a]", keeps('!')),
        ("&a amount > 3", keeps('&')),
        ("*a", keeps('*')),
        ("'a' == 'b'", format!("invalid trailing content after single-quoted scalar; {QUOTE}")),
    ];
    for (when, expected) in cases {
        let texts = [
            with(&format!("    when: {when}")),
            with(&format!("    when:\n      {when}")),
            with(&format!("    when: # why\n      # and more\n      {when}")),
            with(&format!("    \"when\": {when}")),
            with(&format!("    'when': {when}")),
            with(&format!("    when : {when}")),
            format!("rules:\n  - when: {when}\n    id: a\n    then: BLOCK\n    reason: a\n"),
            format!("rules:\n  - {{id: a, when: {when}, then: BLOCK, reason: a}}\n"),
            format!("rules:\n  - {{id: a, \"when\":{when}, then: BLOCK, reason: a}}\n"),
            format!("rules: [{{id: a, when: {when}, then: BLOCK, reason: a}}]\n"),
            format!(
                "{{\"rules\": [{{\"id\": \"a\", \"when\": {when}, \"then\": \"BLOCK\", \"reason\": \"a\"}}]}}\n"
            ),
        ];
        for text in texts {
            let shown = load(&text).unwrap_err();
            assert!(shown.contains(&expected), "{text}\n{shown}");
        }
    }
    let shown = load(&with("    when: true ? amount > 3 : false")).unwrap_err();
    assert!(shown.contains(&format!("not allowed in this context; {QUOTE}")), "{shown}");
}

#[test]
fn it_says_where() {
    let cases = [
        (with("    when:\n      ! (score > 0.9)"), "rules/rules.yaml:4:7: error: YAML keeps `!`"),
        (
            with("    when: # ä\n      !has(score) || amount > 3"),
            "rules/rules.yaml:4:7: error: YAML keeps `!`",
        ),
        (with("    \"when\": ! (score > 0.9)"), "rules/rules.yaml:3:13: error: YAML keeps `!`"),
        (with("    description: ä\n    when : *a"), "rules/rules.yaml:4:12: error: YAML keeps `*`"),
    ];
    for (text, expected) in cases {
        let shown = load(&text).unwrap_err();
        assert!(shown.starts_with(expected), "{text}\n{shown}");
    }
}

#[test]
fn tags_anchors_and_aliases_are_refused_everywhere() {
    let elsewhere = "at the beginning of a value for itself; put a text that begins so in quotes";
    let cases = [
        ("rules:\n  - {id: a, when: amount > 3, then: !x BLOCK, reason: a}\n", "2:37", '!'),
        ("rules:\n  - {id: a, when: amount > 3, then: ! BLOCK, reason: a}\n", "2:37", '!'),
        ("rules:\n  - {id: a, !x when: amount > 3, then: BLOCK, reason: a}\n", "2:13", '!'),
        ("rules: !!seq\n  - {id: a, when: amount > 3, then: BLOCK, reason: a}\n", "1:8", '!'),
        ("rules:\n  - &a {id: a}\n  - *a\n", "2:5", '&'),
        ("rules:\n  - {id: *none, when: amount > 3}\n", "2:10", '*'),
        ("rules:\n  - id: a\n    <<: *none\n", "3:9", '*'),
    ];
    for (text, place, sign) in cases {
        let expected = format!("rules/rules.yaml:{place}: error: YAML keeps `{sign}` {elsewhere}");
        let shown = load(text).unwrap_err();
        assert!(shown.starts_with(&expected), "{text}\n{shown}");
    }
}

/// The reader bears with deeper nesting than the walk before it.
#[test]
fn nothing_is_read_that_was_not_looked_at() {
    let deep = format!("deep: {}{}", "[".repeat(300), "]".repeat(300));
    let text = format!("{deep}\nrules:\n  - {{id: a, when: ! (score > 0.9), then: BLOCK, reason: a}}\n");
    let shown = load(&text).unwrap_err();
    assert!(shown.starts_with("rules/rules.yaml:1:") && !shown.contains("unknown field"), "{shown}");
}

#[test]
fn what_only_looks_so_is_accepted() {
    let cases = [
        "    when: '!tx.is_night'",
        "    when: |\n      !tx.is_night",
        "    when:\n      '!tx.is_night'",
        "    when: (!tx.is_night)",
        "    when: amount > 3 && !tx.is_night",
        "    when: amount > 3\n      && !tx.is_night",
        "    when: amount > 3 # when: !x",
        "    when: amount > 3\n  # - when: !has(score)\n  #   then: BLOCK",
        "    # - when: !has(score)\n    when: amount > 3",
        "    description: \"Stops it, when: *anything* happens\"\n    when: amount > 3",
        "    description: |\n      when: !x\n    when: amount > 3",
        "    description: 'as &a, *a or !a'\n    when: amount > 3",
    ];
    for condition in cases {
        let text = with(condition);
        assert_eq!(load(&text), Ok(1), "{text}");
    }
}

#[test]
fn only_a_broken_condition_is_told_how_to_quote() {
    let cases = [
        (with("    when: amount > 3\n    description: 'a' b"), false),
        ("rules:\n  - {id: a, when: amount > 3, then: 'a' b}\n".to_owned(), false),
        (with("    when: 'a' == 'b'"), true),
        (with("    when:\n      'a' == 'b'"), true),
        (with("    when: ['a'] == 'b'"), true),
        (with("    when: @amount > 3"), true),
        (with("    when:\n      @amount > 3"), true),
        ("rules:\n  - {id: a, when: @amount > 3}\n".to_owned(), true),
        ("rules:\n  - {id: a, when: 'a' == 'b'}\n".to_owned(), true),
    ];
    for (text, expected) in cases {
        let shown = load(&text).unwrap_err();
        assert_eq!(shown.contains(QUOTE), expected, "{text}\n{shown}");
    }
}
