//! `tollgate decide --data`: what a service decided, made again from its record and explained.

use serde_json::{Value, json};

use crate::check::{ask, installation, json_of};
use crate::traffic::{feature, transaction};

const RULES: &str = "rules:
  - {id: often, when: card.count_1h >= 3 && amount > 10, then: BLOCK, reason: often}
  - {id: oftener, when: card.count_1h >= 6, then: BLOCK, reason: oftener}
  - {id: watched, when: 'amount > 1000 && in_list(customer.id, \"watched\")', then: REVIEW, reason: watched}
  - {id: seen, when: 'in_list(customer.id, \"watched\") && amount > 1', then: REVIEW, reason: seen}
";

#[test]
fn a_recorded_decision_is_made_again_and_explained() {
    let (with, directory) = installation(RULES);
    std::fs::create_dir(directory.join("lists")).unwrap();
    std::fs::write(directory.join("lists/watched.txt"), "").unwrap();
    let service = with.serve();
    let mut connection = service.connect();
    let change = |method: &str| {
        let path = "/v1/lists/watched/c_7";
        let answer = service.connect_admin().request(method, path, r#"{"note": "case 1"}"#);
        assert!(answer.status < 300, "{answer:?}");
    };
    let mut decide = |number: u32| connection.decide(&transaction(&format!("pay_{number}")).to_string());
    let mut ids: Vec<String> = Vec::new();
    for number in 0..6 {
        // On the list for the fourth and the fifth only.
        match number {
            3 => change("PUT"),
            5 => change("DELETE"),
            _ => {}
        }
        ids.push(decide(number)["decision_id"].as_str().unwrap().to_owned());
    }
    let data = with.data();
    let data = data.to_str().unwrap();
    let recorded = with.decisions();
    let again = |more: &[&str]| ask(&with, "decide", &[&["--data", data][..], more].concat());

    // The service is running. Every decision is the same, and every part says what it saw then.
    let arguments: Vec<&str> =
        ids.iter().flat_map(|id| ["--id", id]).chain(["--explain", "--json"]).collect();
    let (code, said, errors) = again(&arguments);
    assert_eq!(code, 0, "{errors}");
    let answers: Vec<Value> = said.lines().map(json_of).collect();
    assert_eq!(answers.len(), 6);
    for (answer, record) in answers.iter().zip(&recorded) {
        let id = &record["transaction_id"];
        assert_eq!(answer["decision_id"], record["decision_id"]);
        assert_eq!((&answer["same"], &answer["differs"]), (&json!(true), &json!([])), "{id}");
        for part in ["decision", "reason", "reasons", "score"] {
            assert_eq!(answer["recorded"][part], record[part], "{id}");
            assert_eq!(answer["again"][part], record[part], "{id}");
        }
        let sorted = |list: &Value| {
            let rules = list.as_array().unwrap().iter().map(|it| it["rule"].as_str().unwrap().to_owned());
            let mut rules: Vec<String> = rules.collect();
            rules.sort();
            rules
        };
        assert_eq!(sorted(&answer["explanation"]["hits"]), sorted(&record["hits"]), "{id}");
    }
    let hit = |answer: &Value, rule: &str| {
        let hits = answer["explanation"]["hits"].as_array().unwrap();
        hits.iter().find(|it| it["rule"] == rule).cloned()
    };
    let often = hit(&answers[4], "often").expect("the fifth of its card");
    let seen_count = feature(&recorded[4], "card.count_1h").as_f64().unwrap();
    let value = &often["condition"]["parts"][0]["values"]["card.count_1h"];
    assert_eq!(value.as_f64(), Some(seen_count));
    let seen: Vec<bool> = answers.iter().map(|answer| hit(answer, "seen").is_some()).collect();
    assert_eq!(seen, [false, false, false, true, true, false]);
    // Nobody asked the list for `watched`, as the amount was small: the explanation does, with the list of then.
    let misses = answers[3]["explanation"]["near_misses"].as_array().unwrap();
    let watched = misses.iter().find(|it| it["rule"] == "watched").expect("a near miss");
    let parts = watched["condition"]["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|it| &it["held"]).collect::<Vec<_>>(), [&json!(false), &json!(true)]);

    // By the transaction, for people: which condition failed, of a rule of windows.
    let (code, said, errors) = again(&["--id", "pay_4", "--explain"]);
    assert_eq!(code, 0, "{errors}");
    for expected in [
        &format!("{}  transaction pay_4  record ", ids[4]),
        "    recorded       BLOCK  often  ",
        "    decided again  BLOCK  often  ",
        "    the same, bit for bit\n",
        "    hit: often asks for BLOCK\n",
        &format!("[+] card.count_1h >= 3    card.count_1h = {seen_count}\n"),
        "    near miss: oftener would ask for BLOCK; 1 of 1 parts did not hold: card.count_1h = ",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }

    // Other rules: what they would have made of it, beside what was decided.
    let milder = RULES.replace("then: BLOCK, reason: often}", "then: CHALLENGE, reason: often}");
    std::fs::write(directory.join("mine.yaml"), milder.replace("amount > 1000 && ", "")).unwrap();
    let (code, said, errors) = again(&["--id", "pay_4"]);
    assert_eq!(code, 0, "{errors}");
    for expected in [
        "    decided again  CHALLENGE  often  ",
        "    other rules: sha256:",
        "    different in: decision, reasons, challenge, hits\n",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }

    // What cannot be done is said, and the rest is done.
    let (code, said, errors) = again(&["--id", "pay_0", "--id", "pay_99", "--json"]);
    assert_eq!((code, said.lines().count()), (1, 1));
    assert!(errors.contains("pay_99: no decision with this id"), "{errors}");
    let other = with.path().join("features.yaml");
    let shipped = std::fs::read_to_string("models/features.yaml").unwrap();
    std::fs::write(&other, format!("{shipped}# another file\n")).unwrap();
    let flags = [&with.policy()[..], &["--data".into(), data.into(), "--id".into(), "pay_0".into()]].concat();
    let at = flags.iter().position(|flag| flag == "--features").unwrap() + 1;
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags[at] = other.to_str().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("decide")
        .args(flags)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let needed = recorded[0]["versions"]["features"].as_str().unwrap();
    assert!(
        errors.contains(&format!("the record needs the catalogue {needed}, and this one is ")),
        "{errors}"
    );
    for wrong in [&["--data", data][..], &["--id", "pay_0"], &["tx.json", "--data", data, "--id", "pay_0"]] {
        assert_eq!(ask(&with, "decide", wrong).0, 2, "{wrong:?}");
    }
}
