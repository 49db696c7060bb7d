//! The queue of reviews: what asks for a person is in it until somebody has given a verdict, whatever happens to the service.

use serde_json::{Value, json};

use crate::http::Connection;
use crate::reload::{Rules, own_rule};
use crate::search::indexed;
use crate::tollgate_process::{Installation, Service};
use crate::traffic::transaction;

fn installation() -> (Rules, Installation) {
    let rules = Rules::new();
    rules.write(&own_rule("look_at_it").replace("then: BLOCK", "then: REVIEW"));
    let installation = Installation::new().rules(&rules.path());
    (rules, installation)
}

/// A payment that is reviewed, or one that is not.
fn payment(id: &str, is_reviewed: bool) -> String {
    let mut body = transaction(id);
    body["merchant"]["id"] = json!(if is_reviewed { "m_own" } else { "m_1" });
    body["customer"]["id"] = json!(format!("c_{id}"));
    body["card"]["fingerprint"] = json!(format!("fp_{id}"));
    body["device"] = json!({"id": format!("d_{id}")});
    body["terminal"] = json!({"id": format!("t_{id}")});
    body.to_string()
}

fn queue(service: &Service, query: &str) -> Vec<String> {
    indexed(service);
    let page = service.admin(&format!("/v1/reviews?{query}")).good();
    let reviews = page["reviews"].as_array().unwrap().iter();
    reviews.map(|it| it["transaction_id"].as_str().unwrap().to_owned()).collect()
}

fn review(connection: &mut Connection, decision_id: &str, body: &Value) -> (u16, Value) {
    let answer = connection.post(&format!("/v1/reviews/{decision_id}"), "", &body.to_string());
    (answer.status, answer.json())
}

#[test]
fn verdicts_become_labels_once_and_survive_a_kill() {
    let (_rules, installation) = installation();
    let service = installation.serve();
    let mut connection = service.connect();
    let mut ids = std::collections::BTreeMap::new();
    for number in 1..=7 {
        let id = format!("pay_{number}");
        let answer = connection.decide(&payment(&id, number != 3));
        assert_eq!(answer["decision"] == "REVIEW", number != 3, "{answer}");
        ids.insert(id, answer["decision_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(queue(&service, "limit=4"), ["pay_1", "pay_2", "pay_4", "pay_5"]);
    let page = service.admin("/v1/reviews?limit=4").good();
    assert_eq!(page["open"], 6);
    assert_eq!(queue(&service, &format!("after={}", page["next"])), ["pay_6", "pay_7"]);
    assert_eq!(queue(&service, "customer=c_pay_4"), ["pay_4"]);

    let mut admin = service.connect_admin();
    let fraud = json!({"verdict": "fraud", "note": "the customer did not order this", "analyst": "jane"});
    let (status, first) = review(&mut admin, &ids["pay_2"], &fraud);
    assert_eq!((status, &first["replayed"]), (201, &json!(false)), "{first}");
    // At once, without waiting for the index: two verdicts on one decision see each other.
    let (status, again) = review(&mut admin, &ids["pay_2"], &fraud);
    assert_eq!(
        (status, &again["replayed"], &again["audit"]),
        (200, &json!(true), &first["audit"]),
        "{again}"
    );
    let other = json!({"verdict": "legitimate", "note": "called the customer again"});
    let (status, refused) = review(&mut admin, &ids["pay_2"], &other);
    assert_eq!((status, &refused["type"]), (409, &json!("urn:tollgate:problem:reviewed")), "{refused}");
    let mut replacing = other;
    replacing["replaces"] = first["audit"]["sequence"].clone();
    let (status, second) = review(&mut admin, &ids["pay_2"], &replacing);
    assert_eq!((status, &second["replaces"]), (201, &first["audit"]["sequence"]), "{second}");
    assert_eq!(review(&mut admin, &ids["pay_2"], &replacing).0, 200, "the same again");
    for (id, body, status, pointer) in [
        ("dec_01JD", fraud.clone(), 404, ""),
        ("pay_1", fraud.clone(), 404, ""),
        (&*ids["pay_1"], json!({"note": "n"}), 422, "/verdict"),
        (&*ids["pay_1"], json!({"verdict": "fraud"}), 422, "/note"),
        (&*ids["pay_1"], json!({"verdict": "fraud", "note": "n", "replaces": 1}), 422, "/replaces"),
        (
            &*ids["pay_1"],
            json!({"verdict": "fraud", "note": "n", "analyst": "4242424242424242"}),
            422,
            "/analyst",
        ),
    ] {
        let (got, problem) = review(&mut admin, id, &body);
        assert_eq!(got, status, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or_default(), pointer, "{problem}");
    }
    // What was not to be reviewed can be, too.
    assert_eq!(review(&mut admin, &ids["pay_3"], &fraud).0, 201);
    let left = ["pay_1", "pay_4", "pay_5", "pay_6", "pay_7"];
    assert_eq!(queue(&service, ""), left);

    service.kill();
    let service = installation.serve();
    assert_eq!(queue(&service, ""), left, "after a kill");
    let mut admin = service.connect_admin();
    assert_eq!(review(&mut admin, &ids["pay_2"], &replacing).0, 200, "known after a kill");
    assert_eq!(review(&mut admin, &ids["pay_7"], &fraud).0, 201);
    assert_eq!(queue(&service, ""), left[..4]);
    service.kill();
    std::fs::remove_dir_all(installation.data().join("search")).ok();
    let service = installation.serve();
    assert_eq!(queue(&service, ""), left[..4], "without the index of before");

    // Each review has its label before it, and the labels count.
    let record = service.admin(&format!("/v1/audit/{}", first["sequence"])).good();
    let verdicts: Vec<&Value> =
        record["reviews"].as_array().unwrap().iter().map(|it| &it["body"]["verdict"]).collect();
    assert_eq!(verdicts, ["fraud", "legitimate"]);
    let labels = record["labels"].as_array().unwrap();
    assert_eq!(labels.len(), 2, "{record}");
    for (label, review) in labels.iter().zip(record["reviews"].as_array().unwrap()) {
        assert_eq!(label["body"]["label"]["kind"], "review");
        assert_eq!(label["body"]["label"]["occurred_at"], review["body"]["occurred_at"]);
        assert!(label["sequence"].as_u64() < review["sequence"].as_u64());
        assert!(label["body"]["transaction"].is_object(), "it counts for who took part");
    }
    service.kill();
    let kinds = &installation.verify()["by_kind"];
    assert_eq!((&kinds["review"], &kinds["label"]), (&json!(4), &json!(4)), "{kinds}");
}

#[test]
fn every_review_that_was_answered_is_there_after_a_kill() {
    let (_rules, installation) = installation();
    let mut service = installation.serve();
    let (mut answered, mut asked) = (Vec::new(), 0);
    for round in 0..4_u32 {
        let mut connection = service.connect();
        // Where many come at once, other rules block some.
        let answers =
            (0..30).map(|number| connection.decide(&payment(&format!("pay_{round}_{number}"), true)));
        let ids: Vec<String> = answers
            .filter(|answer| answer["decision"] == "REVIEW")
            .map(|answer| answer["decision_id"].as_str().unwrap().to_owned())
            .collect();
        asked += ids.len();
        let admin = service.admin;
        let reviewer = std::thread::spawn(move || {
            let mut done = Vec::new();
            let Ok(mut connection) = Connection::try_open(admin) else { return done };
            for id in ids {
                let body = json!({"verdict": "fraud", "note": "checked"}).to_string();
                match connection.try_post(&format!("/v1/reviews/{id}"), "", &body) {
                    Ok(answer) if answer.status == 201 => done.push(id),
                    Ok(answer) => panic!("{answer:?}"),
                    Err(_) => break,
                }
            }
            done
        });
        std::thread::sleep(std::time::Duration::from_millis(u64::from(100 + 150 * round)));
        service.kill();
        answered.extend(reviewer.join().unwrap());
        service = installation.serve();
    }
    indexed(&service);
    let page = service.admin("/v1/reviews?limit=200").good();
    let open: Vec<&str> =
        page["reviews"].as_array().unwrap().iter().map(|it| it["decision_id"].as_str().unwrap()).collect();
    assert!(answered.len() > 4, "{} reviews were answered", answered.len());
    for id in &answered {
        assert!(!open.contains(&id.as_str()), "{id} was answered, and is open again");
    }
    service.kill();
    let records = installation.records();
    let mut reviews = 0;
    for (number, record) in records.iter().enumerate() {
        if record["kind"] == "review" {
            reviews += 1;
            let has_label = records[..number].iter().any(|it| {
                it["kind"] == "label"
                    && it["body"]["label"]["transaction_id"] == record["body"]["transaction_id"]
            });
            assert!(has_label, "{record}");
        }
    }
    assert!(reviews >= answered.len());
    assert_eq!(open.len() + reviews, asked, "a decision is open or reviewed");
}
