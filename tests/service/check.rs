//! `tollgate check` as people and CI run it, also against what a service recorded; `tollgate decide --explain`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::tollgate_process::{Installation, root};
use crate::traffic::transaction;

const DEFAULT: &str = "default: {then: APPROVE, reason: no_rule_matched}\n";

/// An installation with these rules.
pub fn installation(rules: &str) -> (Installation, PathBuf) {
    let installation = Installation::new();
    let directory = installation.path().join("rules");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("mine.yaml"), rules).unwrap();
    std::fs::write(directory.join("default.yaml"), DEFAULT).unwrap();
    (installation.rules(&directory), directory)
}

/// Exit code, standard output and standard error.
pub fn ask(installation: &Installation, command: &str, more: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg(command)
        .current_dir(root())
        .args(installation.policy())
        .args(more)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const DOUBTFUL: &str = "rules:
  - {id: wide, when: amount > 10, then: BLOCK, reason: r}
  - id: narrow
    when: amount > 20
    then: REVIEW
    reason: r
  - {id: percent, when: score >= 93, then: BLOCK, reason: r}
";

#[test]
fn exit_codes_and_problems_as_data() {
    let (sound, _) = installation("rules:\n  - {id: a, when: amount > 10, then: BLOCK, reason: r}\n");
    assert_eq!(ask(&sound, "check", &["--deny-warnings"]).0, 0);

    let (doubtful, directory) = installation(DOUBTFUL);
    let (code, said, warned) = ask(&doubtful, "check", &[]);
    assert_eq!((code, said.contains("2 warnings")), (0, true), "{said}");
    assert!(warned.contains("mine.yaml:3:9: warning: rule `narrow`: never decides"), "{warned}");
    assert!(warned.contains("  |   - id: narrow\n  |         ^^^^^^"), "{warned}");
    let (code, said, _) = ask(&doubtful, "check", &["--json", "--deny-warnings"]);
    let report = json_of(&said);
    assert_eq!((code, &report["sound"]), (1, &json!(true)));
    let found: Vec<_> = report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["rule"], &it["kind"], &it["line"]))
        .collect();
    assert_eq!(
        found,
        [
            (&json!("narrow"), &json!("never_decides"), &json!(3)),
            (&json!("percent"), &json!("never_hits"), &json!(7))
        ]
    );

    std::fs::write(
        directory.join("mine.yaml"),
        "rules:\n  - {id: a, when: amonut > 10, then: BLOCK, reason: r}\n",
    )
    .unwrap();
    let (code, said, _) = ask(&doubtful, "check", &["--json"]);
    let report = json_of(&said);
    let error = &report["errors"][0];
    let expected = json!({
        "severity": "error", "kind": "invalid_condition", "file": directory.join("mine.yaml"), "line": 2, "column": 19, "rule": "a",
        "message": "unknown name `amonut`", "suggestion": "amount",
        "source_line": "  - {id: a, when: amonut > 10, then: BLOCK, reason: r}",
    });
    assert_eq!((code, &report["sound"], error), (1, &json!(false), &expected));
    assert_eq!(ask(&doubtful, "check", &["--no-such-flag"]).0, 2);

    let without_model = sound.model(Path::new("models/nowhere"));
    let (code, said, _) = ask(&without_model, "check", &["--json"]);
    let error = &json_of(&said)["errors"][0];
    let expected = (json!("invalid_model"), json!("models/nowhere/manifest.json"));
    assert_eq!((code, error["kind"].clone(), error["file"].clone()), (1, expected.0, expected.1), "{said}");
}

#[test]
fn rules_are_held_against_recorded_decisions() {
    let (installation, directory) = installation(
        "rules:
  - {id: hits, when: amount > 1, then: REVIEW, reason: r}
  - {id: too-high, when: amount > 1000000, then: BLOCK, reason: r}
  - {id: unsent, when: metadata.basket > 3 && amount > 2, then: CHALLENGE, reason: r}
",
    );
    std::fs::create_dir(directory.join("lists")).unwrap();
    std::fs::write(directory.join("lists/watched.txt"), "").unwrap();
    let service = installation.serve();
    let put = service.connect_admin().request("PUT", "/v1/lists/watched/c_7", r#"{"note": "case 1"}"#);
    assert_eq!(put.status, 201, "{put:?}");
    let mut connection = service.connect();
    for number in 0..1_050 {
        connection.decide(&transaction(&format!("pay_{number}")).to_string());
    }
    service.kill();
    let data = installation.data();
    let data = data.to_str().unwrap();
    let found = |last: &str| {
        let (code, said, errors) =
            ask(&installation, "check", &["--json", "--traffic", data, "--last", last]);
        assert_eq!(code, 0, "{errors}");
        let report = json_of(&said);
        let of =
            |it: &Value| (it["rule"].as_str().unwrap().to_owned(), it["kind"].as_str().unwrap().to_owned());
        (report["traffic"].clone(), report["warnings"].as_array().unwrap().iter().map(of).collect::<Vec<_>>())
    };
    let (traffic, warnings) = found("1020");
    assert_eq!(traffic, json!({"decisions": 1_020, "with_features": 1_020}));
    let expected = [("too-high", "never_matched"), ("unsent", "always_missing"), ("unsent", "never_matched")];
    assert_eq!(warnings, expected.map(|(rule, kind)| (rule.to_owned(), kind.to_owned())));
    let (traffic, _) = found("900");
    assert_eq!(traffic["decisions"], 900);
    let (traffic, _) = found("100000");
    assert_eq!(traffic["decisions"], 1_050);

    // A new rule that asks for what nobody asked then: the log says what stood on the list.
    std::fs::write(
        directory.join("mine.yaml"),
        "rules:
  - {id: listed, when: 'in_list(customer.id, \"watched\")', then: REVIEW, reason: r}
  - {id: unlisted, when: 'in_list(merchant.id, \"watched\")', then: BLOCK, reason: r}
",
    )
    .unwrap();
    let (_, warnings) = found("100000");
    assert_eq!(warnings, [("unlisted".to_owned(), "never_matched".to_owned())]);

    let (code, _, errors) = ask(&installation, "check", &["--traffic", "nowhere"]);
    assert_eq!(code, 1);
    assert!(errors.contains("nowhere"), "{errors}");
}

#[test]
fn a_decision_is_explained() {
    let (installation, directory) = installation(
        "rules:
  - {id: hit, when: 'amount > 10 && !in_list(customer.id, \"trusted\")', then: REVIEW, reason: r}
  - {id: near, when: amount >= 150 && currency == \"EUR\", then: BLOCK, reason: r}
  - {id: over, when: amount > 1, then: BLOCK, reason: r, expires: 2020-01-01}
",
    );
    std::fs::create_dir(directory.join("lists")).unwrap();
    std::fs::write(directory.join("lists/trusted.txt"), "").unwrap();
    let file = installation.path().join("tx.json");
    let mut payment = transaction("pay_1");
    payment["amount"] = json!({"value": 12_999, "currency": "EUR"});
    payment["customer"] = json!({"id": "c_7"});
    std::fs::write(&file, payment.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let (code, said, errors) = ask(&installation, "decide", &[file, "--explain"]);
    assert_eq!(code, 0, "{errors}");
    for expected in [
        "    hit: hit asks for REVIEW\n        [+] all of\n            [+] amount > 10    amount = 129.99\n            [+] not\n",
        "                [-] in_list(customer.id, \"trusted\")    customer.id = c_7\n",
        "    off: over matched, but ended at 2020-01-02T00:00:00.000Z\n",
        "    near miss: near would ask for BLOCK; 1 of 2 parts did not hold: amount = 129.99, needs >= 150\n",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
    let (_, said, _) = ask(&installation, "decide", &[file, "--explain", "--json"]);
    let explanation = &json_of(&said)["explanation"];
    assert_eq!(explanation["hits"][0]["rule"], "hit");
    assert_eq!(explanation["hits"][0]["condition"]["parts"][0]["values"], json!({"amount": 129.99}));
    assert_eq!(explanation["off"][0]["off_because"], "expired");
    let near = &explanation["near_misses"][0];
    assert_eq!((&near["rule"], &near["failed"]["held"]), (&json!("near"), &json!(false)));
    assert_eq!(
        near["failed"]["threshold"],
        json!({"text": "amount", "value": 129.99, "needs": ">=", "bound": 150.0})
    );
}
