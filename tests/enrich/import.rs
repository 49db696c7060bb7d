//! NDJSON into every store.

use std::fmt::Write as _;
use std::io::Cursor;

use tollgate::enrich::import::{
    IMPORT_BATCH_RECORDS_MAX, IMPORT_LINE_BYTES_MAX, ImportFault, ImportProgress, import_ndjson,
};
use tollgate::enrich::plan::ProfileType::{Bool, Int, Number, Text};

use tollgate::offline::profiles::ProfileRows;

use crate::redis_server::RedisServer;
use crate::stores::{ask, connected, every_store, plan};

#[tokio::test]
async fn lines_become_profiles() {
    let input = concat!(
        "{\"entity\":\"customer\",\"id\":\"c_7\",\"orders\":5,\"country\":\"DE\",\"vip\":true,\"mean\":0.1}\n",
        "\n",
        "{\"entity\":\"customer\",\"id\":\"c_8\",\"orders\":-1,\"country\":\"\u{141}\u{f3}d\u{17a}\"}\r\n",
        "  {\"id\":\"c_7\",\"entity\":\"customer\",\"orders\":6,\"country\":null}"
    );
    let plan = plan(&[
        ("customer", "orders", Int),
        ("customer", "country", Text),
        ("customer", "vip", Bool),
        ("customer", "mean", Number),
    ]);
    for (name, store, _alive) in every_store().await {
        let mut seen = Vec::new();
        let done = import_ndjson(Cursor::new(input), &store, |progress| seen.push(progress)).await.unwrap();
        assert_eq!(done, ImportProgress { lines: 4, bytes: input.len() as u64, stored: 3 }, "{name}");
        assert_eq!(seen, [done], "{name}");
        let c_7 = ask(&store, &plan, &[Some("c_7")]).await;
        assert_eq!(c_7, r#"[{"known":6},"absent",{"known":true},{"known":0.1}]"#, "{name}");
        let c_8 = ask(&store, &plan, &[Some("c_8")]).await;
        assert_eq!(c_8, r#"[{"known":-1},{"known":"Łódź"},"absent","absent"]"#, "{name}");
    }
}

#[tokio::test]
async fn many_lines_go_in_batches() {
    let mut input = String::new();
    for index in 0..3_000 {
        writeln!(input, r#"{{"entity":"card","id":"fp_{index}","n":{index}}}"#).unwrap();
    }
    let plan = plan(&[("card", "n", Int)]);
    for (name, store, _alive) in every_store().await {
        let mut batches = 0;
        let done = import_ndjson(Cursor::new(&input), &store, |_| batches += 1).await.unwrap();
        assert_eq!((done.lines, done.stored, batches), (3_000, 3_000, 6), "{name}");
        for index in [0, 511, 512, 2_999] {
            let id = format!("fp_{index}");
            let expected = format!(r#"[{{"known":{index}}}]"#);
            assert_eq!(ask(&store, &plan, &[Some(&id)]).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn the_first_wrong_line_stops_the_import_and_is_named() {
    let good = r#"{"entity":"customer","id":"c_1","orders":1}"#;
    let long = format!(r#"{{"entity":"customer","id":"c","x":"{}"}}"#, "y".repeat(IMPORT_LINE_BYTES_MAX));
    let cases = [
        ("nonsense", "not a JSON object"),
        ("[1,2]", "not a JSON object"),
        (r#"{"entity":"customer"} {}"#, "not a JSON object"),
        (r#"{"id":"c","x":1}"#, r#""entity" must be there"#),
        (r#"{"entity":"customer","id":7,"x":1}"#, r#""id" must be there"#),
        (r#"{"entity":"cus:tomer","id":"c","x":1}"#, "lower-case letters"),
        (r#"{"entity":"customer","id":"","x":1}"#, "id: must not be empty"),
        (r#"{"entity":"customer","id":"c"}"#, "no fields"),
        (r#"{"entity":"customer","id":"c","x":[1]}"#, r#"field "x" must be a string"#),
        (r#"{"entity":"customer","id":"c","x":{"y":1}}"#, r#"field "x" must be a string"#),
        (&long, "longer than"),
    ];
    for (name, store, _alive) in every_store().await {
        for (wrong, expected) in &cases {
            let input = format!("{good}\n{good}\n{wrong}\n{good}\n");
            let error = import_ndjson(Cursor::new(&input), &store, |_| {}).await.unwrap_err();
            assert_eq!((error.line, error.stored), (3, 2), "{name}: {error}");
            let text = error.to_string();
            assert!(text.starts_with("line 3: ") && text.contains(expected), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn a_store_that_goes_away_is_said_and_counted_honestly() {
    let mut server = RedisServer::start();
    let redis = connected(&server.url()).await;
    let mut input = String::new();
    for index in 0..2 * IMPORT_BATCH_RECORDS_MAX {
        writeln!(input, r#"{{"entity":"card","id":"fp_{index}","n":{index}}}"#).unwrap();
    }
    let error = import_ndjson(Cursor::new(&input), &redis, |_| server.kill()).await.unwrap_err();
    assert_eq!(error.stored, IMPORT_BATCH_RECORDS_MAX as u64, "the first batch: {error}");
    assert_eq!(error.line, 2 * IMPORT_BATCH_RECORDS_MAX as u64, "the last line of the second: {error}");
    assert!(matches!(error.fault, ImportFault::Store(_)), "{error}");
}

#[tokio::test]
async fn rows_of_a_csv_file_become_profiles() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mixed = file(
        "mixed.csv",
        "entity,id,orders,country\ncustomer,c_7,5,DE\ncustomer,00042,,\"Łódź, PL\"\nip,192.0.2.1,,FR\n",
    );
    let customers = file("customers.csv", "orders,who\n6,c_7\n7,c_9\n");
    let wrong = file("wrong.csv", "entity,id,orders\ncustomer,c_1,1\ncustomer,,2\ncustomer,c_3,3\n");
    let plan = plan(&[("customer", "orders", Int), ("customer", "country", Text), ("ip", "country", Text)]);
    for (name, store, _alive) in every_store().await {
        let done = ProfileRows::open(&mixed, None, "id").unwrap().import(&store, |_| {}).await.unwrap();
        assert_eq!((done.lines, done.stored), (3, 3), "{name}");
        let rows = ProfileRows::open(&customers, Some("customer"), "who").unwrap();
        assert_eq!(rows.import(&store, |_| {}).await.unwrap().stored, 2, "{name}");
        for (id, expected) in [
            ("c_7", r#"[{"known":6},{"known":"DE"},{"known":"FR"}]"#),
            ("00042", r#"["absent",{"known":"Łódź, PL"},{"known":"FR"}]"#),
            ("c_9", r#"[{"known":7},"absent",{"known":"FR"}]"#),
        ] {
            assert_eq!(ask(&store, &plan, &[Some(id), Some("192.0.2.1")]).await, expected, "{name}");
        }
        let error = ProfileRows::open(&wrong, None, "id").unwrap().import(&store, |_| {}).await.unwrap_err();
        assert_eq!((error.line, error.stored), (2, 1), "{name}: {error}");
    }
    for (file, entity, id) in [(&customers, None, "who"), (&mixed, None, "orderz")] {
        let error = ProfileRows::open(file, entity, id).unwrap_err().to_string();
        assert!(error.contains("column"), "{error}");
    }
}
