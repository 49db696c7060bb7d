//! One table in every format, and files that are wrong.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::domain::label::{LabelKind, Verdict};
use crate::evaluation::truth::IdHash;
use crate::offline::error::InputError;
use crate::offline::input::LINE_BYTES_MAX;
use crate::offline::labels::LabelTable;
use crate::offline::mapping::Mapping;
use crate::offline::transactions::{ReadOptions, TransactionReader, TransactionRow};

const MAP: &str = "
transaction_id: {column: tx_id}
occurred_at: {column: ts, zone: UTC}
amount: {column: amount, unit: major, currency: {column: ccy}}
customer.id: {column: customer}
card.fingerprint: {column: card.token}
metadata.category: {column: category}
label: {column: is_fraud, fraud: [1], delay: 7d}
labels: {transaction_id: {column: tx}, occurred_at: {column: at, unit: s}, label: {column: what, fraud: [F], legitimate: [L]}, reason_code: {column: why}}
";

const CSV: &str = "tx_id,ts,amount,ccy,customer,card.token,category,is_fraud\n\
    1,2018-04-01 00:00:31,57.16,EUR,596,fp_1,\"food, drink\",0\n\
    2,2018-04-01T00:02:10Z,1500,JPY,,fp_2,,1\n";

const NDJSON: &str = concat!(
    r#"{"tx_id": 1, "ts": "2018-04-01 00:00:31", "amount": 57.16, "ccy": "EUR", "customer": 596, "card": {"token": "fp_1"}, "category": "food, drink", "is_fraud": 0}"#,
    "\n\n  \r\n",
    r#"{"tx_id": "2", "ts": "2018-04-01T00:02:10Z", "amount": "1500", "ccy": "JPY", "customer": null, "card.token": "fp_2", "category": "", "is_fraud": 1}"#,
    "\n",
);

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(
    path: &Path,
    map: Option<&str>,
    skip_bad_rows: bool,
) -> Result<(Vec<TransactionRow>, TransactionReader), InputError> {
    let mapping = map.map(|map| Mapping::parse(map, "m.yaml").unwrap());
    let mut reader = TransactionReader::open(path, ReadOptions { mapping: mapping.as_ref(), skip_bad_rows })?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    Ok((rows, reader))
}

fn refused(path: &Path, map: Option<&str>) -> String {
    read(path, map, false).map(|(rows, _)| format!("{rows:?}")).unwrap_err().to_string()
}

#[test]
fn one_table_in_every_format() {
    let files = Files::new();
    let two_members = [gzip(&CSV.as_bytes()[..100]), gzip(&CSV.as_bytes()[100..])].concat();
    let cases = [
        files.with("a.csv", CSV.as_bytes()),
        files.with("bom.csv", format!("\u{feff}{CSV}").as_bytes()),
        files.with("crlf.csv", CSV.replace('\n', "\r\n").as_bytes()),
        files.with("a.csv.gz", &gzip(CSV.as_bytes())),
        files.with("two.csv.gz", &two_members),
        files.with("a.ndjson", NDJSON.as_bytes()),
        files.with("a.jsonl.gz", &gzip(NDJSON.as_bytes())),
    ];
    let (expected, _) = read(&cases[0], Some(MAP), false).unwrap();
    assert_eq!(expected.len(), 2);
    let first = &expected[0].request.transaction;
    assert_eq!(first.id.as_str(), "1");
    assert_eq!(first.occurred_at.to_string(), "2018-04-01T00:00:31.000Z");
    assert_eq!(first.amount.to_string(), "57.16 EUR");
    assert_eq!(first.customer.id.as_ref().unwrap().as_str(), "596");
    assert_eq!(expected[1].request.transaction.amount.to_string(), "1500 JPY");
    assert_eq!(expected[1].request.transaction.customer.id, None);
    assert!(expected[1].request.transaction.metadata.is_empty());
    assert_eq!(
        expected.iter().map(|row| row.verdict).collect::<Vec<_>>(),
        [Some(Verdict::Legitimate), Some(Verdict::Fraud)]
    );
    for path in &cases {
        let (rows, reader) = read(path, Some(MAP), false).unwrap();
        assert_eq!(rows, expected, "{}", path.display());
        let progress = reader.progress();
        assert_eq!((progress.rows, Some(progress.done)), (2, progress.total), "{}", path.display());
        assert_eq!(reader.id_column(), "tx_id");
    }
}

#[test]
fn without_a_mapping_names_are_the_api_s() {
    let files = Files::new();
    let csv = "transaction_id,occurred_at,amount.value,amount.currency,card.last4,location.latitude,location.longitude,metadata.n,comment\n\
        a,2026-10-20T12:00:00Z,12999,EUR,0042,52.5,13.4,7,hello\n";
    let ndjson = r#"{"transaction_id":"a","occurred_at":"2026-10-20T12:00:00Z","amount":{"value":12999,"currency":"EUR"},"card":{"last4":"0042"},"location":{"latitude":52.5,"longitude":13.4},"metadata":{"n":"7"}}"#;
    let (from_csv, reader) = read(&files.with("a.csv", csv.as_bytes()), None, false).unwrap();
    let (from_ndjson, _) = read(&files.with("a.ndjson", ndjson.as_bytes()), None, false).unwrap();
    assert_eq!(from_csv, from_ndjson);
    assert_eq!(reader.id_column(), "transaction_id");
}

#[test]
fn wrong_files_say_what_is_wrong() {
    let files = Files::new();
    let api = |line: &str| {
        format!(
            "{{\"transaction_id\":\"a\",\"occurred_at\":\"2026-10-20T12:00:00Z\",\"amount\":{{\"value\":1,\"currency\":\"EUR\"}}}}\n{line}\n"
        )
    };
    let csv = |line: &str| format!("{CSV}{line}\n");
    let cases: &[(&str, String, Option<&str>, &[&str])] = &[
        ("a.csv", String::new(), Some(MAP), &["is empty"]),
        (
            "a.csv",
            "txid,ts,amount\n".into(),
            Some(MAP),
            &[
                "m.yaml:2:26: ",
                "has no column \"tx_id\"; did you mean \"txid\"? (its columns: txid, ts, amount)",
            ],
        ),
        (
            "a.csv",
            CSV.into(),
            None,
            &["without a mapping: ", "has no column \"transaction_id\" (its columns: tx_id, ts,"],
        ),
        ("a.csv", CSV.replace("category", "ts"), Some(MAP), &["has 2 columns called \"ts\""]),
        ("a.csv", csv("3,x"), Some(MAP), &["row 3: has 2 fields, and the header has 8", "--skip-bad-rows"]),
        (
            "a.csv",
            csv("3,yesterday,1,EUR,,,,"),
            Some(MAP),
            &["row 3, column \"ts\": \"yesterday\" is no date"],
        ),
        (
            "a.csv",
            csv("3,2018-04-01,1.005,EUR,,,,"),
            Some(MAP),
            &["row 3, column \"amount\": ", "more decimal places"],
        ),
        ("a.csv", csv("3,2018-04-01,,EUR,,,,"), Some(MAP), &["row 3", "/amount is required"]),
        (
            "a.csv",
            csv("3 4,2018-04-01,1,EUR,,,,"),
            Some(MAP),
            &["row 3, column \"tx_id\": /transaction_id must be visible ASCII"],
        ),
        (
            "a.csv",
            csv("3,2018-04-01,1,EUR,4242 4242 4242 4242,,,"),
            Some(MAP),
            &["column \"customer\": /customer/id holds a card number"],
        ),
        ("a.csv", csv("3,4242424242424242,1,EUR,,,,"), Some(MAP), &["(a card number)"]),
        (
            "a.ndjson",
            NDJSON.replace("\"ts\"", "\"time\""),
            Some(MAP),
            &["has no column \"ts\"", "its columns: amount, card, card.token, category,"],
        ),
        (
            "a.ndjson",
            NDJSON.replace("{\"token\": \"fp_1\"}", "[1]").replace("card.token", "card"),
            Some(MAP),
            &["has no column \"card.token\""],
        ),
        ("a.ndjson", NDJSON.replace("596", "{}"), Some(MAP), &["row 1, column \"customer\": is an object"]),
        ("a.ndjson", api("{\"transaction_id\": 7"), None, &["row 2: is not JSON (byte 20)"]),
        ("a.ndjson", api("[]"), None, &["row 2: body must be a JSON object"]),
        (
            "a.ndjson",
            api("{\"transaction_id\": \"b\"}"),
            None,
            &["row 2: /occurred_at is required; /amount is required"],
        ),
        ("a.txt", String::new(), None, &["expected .csv, .ndjson"]),
    ];
    for (name, text, map, expected) in cases {
        let error = refused(&files.with(name, text.as_bytes()), *map);
        for part in *expected {
            assert!(error.contains(part), "{text}\n  {error}\n  {part}");
        }
        assert!(!error.contains("4242"), "{error}");
    }
    assert!(refused(Path::new("/nowhere/a.csv"), None).contains("cannot open"));
    assert!(refused(&files.with("broken.csv.gz", b"no gzip"), None).contains("cannot read"));
    assert!(
        refused(
            &files.with("latin1.csv", &[CSV.as_bytes(), b"3,2018-04-01,1,EUR,\xe9,,,\n"].concat()),
            Some(MAP)
        )
        .contains("column \"customer\": is not UTF-8")
    );
}

#[test]
fn memory_is_bounded_by_a_line() {
    let files = Files::new();
    let endless_quote = format!("{CSV}\"{}", "x".repeat(4 * LINE_BYTES_MAX));
    assert!(
        refused(&files.with("a.csv", endless_quote.as_bytes()), Some(MAP))
            .contains("a record is longer than")
    );
    let long_line = format!("{NDJSON}{}\n{NDJSON}", "x".repeat(3 * LINE_BYTES_MAX));
    let path = files.with("a.ndjson", long_line.as_bytes());
    assert!(refused(&path, Some(MAP)).contains("row 3: is longer than"));
    let (rows, reader) = read(&path, Some(MAP), true).unwrap();
    assert_eq!((rows.len(), reader.bad_rows().count()), (4, 1));
    // Larger than what is looked at to find the columns.
    let many = NDJSON.repeat(2_000);
    assert_eq!(read(&files.with("b.ndjson", many.as_bytes()), Some(MAP), false).unwrap().0.len(), 4_000);
}

#[test]
fn bad_rows_are_skipped_on_request_and_the_first_ones_listed() {
    let files = Files::new();
    let bad = "x,never,1,EUR,,,,\n".repeat(30);
    let (rows, reader) =
        read(&files.with("a.csv", format!("{CSV}{bad}9,2018-04-01,1,EUR,,,,\n").as_bytes()), Some(MAP), true)
            .unwrap();
    assert_eq!(rows.iter().map(|row| row.row).collect::<Vec<_>>(), [1, 2, 33]);
    assert_eq!(reader.bad_rows().count(), 30);
    assert_eq!(reader.bad_rows().first().len(), 20);
    assert_eq!(
        (reader.bad_rows().first()[0].row, reader.bad_rows().first()[0].column.as_deref()),
        (3, Some("ts"))
    );
}

#[test]
fn labels_files() {
    let files = Files::new();
    let mapping = Mapping::parse(MAP, "m.yaml").unwrap();
    let load = |path: &Path, mapping| LabelTable::load(path, ReadOptions { mapping, skip_bad_rows: false });
    let mapped = "tx,at,what,why\n1,1522540831,F,10.4\n2,1522540830,L,\n1,1522540832,L,\n";
    let plain = "transaction_id,label,kind,occurred_at,reason_code\n1,fraud,chargeback,2018-04-01T00:00:31Z,10.4\n\
        2,legitimate,chargeback,2018-04-01T00:00:30Z,\n1,legitimate,chargeback,2018-04-01T00:00:32Z,\n";
    let ndjson = "{\"transaction_id\":\"1\",\"label\":\"fraud\",\"kind\":\"chargeback\",\"occurred_at\":\"2018-04-01T00:00:31Z\",\"reason_code\":\"10.4\"}\n\
        {\"transaction_id\":\"2\",\"label\":\"legitimate\",\"kind\":\"chargeback\",\"occurred_at\":\"2018-04-01T00:00:30Z\"}\n\
        {\"transaction_id\":\"1\",\"label\":\"legitimate\",\"kind\":\"chargeback\",\"occurred_at\":\"2018-04-01T00:00:32Z\"}\n";
    let table = load(&files.with("l.csv", mapped.as_bytes()), Some(&mapping)).unwrap();
    assert_eq!(table.labels().len(), 3);
    assert_eq!(table.labels()[0].transaction, IdHash::of("2"));
    assert_eq!(table.labels()[1].reason_code.as_ref().unwrap().as_str(), "10.4");
    assert_eq!(table.labels()[1].kind, LabelKind::Chargeback);
    assert_eq!(table.transaction(IdHash::of("1")).unwrap().final_verdict, Verdict::Legitimate);
    assert_eq!(table.transaction(IdHash::of("3")), None);
    for (name, text) in [("plain.csv", plain), ("l.ndjson", ndjson)] {
        assert_eq!(
            load(&files.with(name, text.as_bytes()), None).unwrap().labels(),
            table.labels(),
            "{name}"
        );
    }
    let wrong =
        load(&files.with("w.csv", mapped.replace(",F,", ",X,").as_bytes()), Some(&mapping)).unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("row 1, column \"what\": \"X\" means neither fraud (F) nor legitimate (L)"),
        "{wrong}"
    );
    let no_labels = Mapping::parse(
        &MAP.lines().filter(|line| !line.starts_with("labels")).collect::<Vec<_>>().join("\n"),
        "m.yaml",
    )
    .unwrap();
    let error = load(&files.with("n.csv", mapped.as_bytes()), Some(&no_labels)).unwrap_err();
    assert!(error.to_string().contains("add a section `labels`"), "{error}");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_asks_for_its_feature() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/offline/types.parquet");
    assert!(refused(&path, None).contains("--features parquet"));
}

#[cfg(feature = "parquet")]
#[test]
fn every_parquet_type() {
    use crate::offline::cell::Cell;
    use crate::offline::input::Rows;
    use crate::offline::mapping::ColumnName;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/offline/types.parquet");
    let column = |name: &str| ColumnName { name: name.to_owned(), named_at: String::new() };
    let text = |text: &str| Cell::Text(text.into());
    let millis = 1_522_540_831_123;
    let cases = [
        ("bool", Cell::Bool(true)),
        ("int8", Cell::Int(-8)),
        ("int64", Cell::Int(1 << 40)),
        ("uint32", Cell::Int((1 << 32) - 1)),
        ("uint64", Cell::Number("18446744073709551615".into())),
        ("float", Cell::Float(57.16)),
        ("double", Cell::Double(57.16)),
        ("string", text("é")),
        ("dictionary", text("grocery")),
        ("decimal", Cell::Number("57.16".into())),
        ("instant_ms", Cell::Instant(millis)),
        ("instant_us", Cell::Instant(millis)),
        ("instant_ns", Cell::Instant(millis)),
        ("local_us", Cell::Local(millis)),
        ("date", Cell::Local(1_522_540_800_000)),
        ("card.fingerprint", text("fp_a1")),
    ];
    let mut rows = Rows::open(&path).unwrap();
    rows.select(&cases.iter().map(|(name, _)| column(name)).collect::<Vec<_>>()).unwrap();
    let mut cells = Vec::new();
    assert!(rows.next_cells(&mut cells).unwrap());
    for ((name, expected), actual) in cases.iter().zip(&cells) {
        assert_eq!(actual, expected, "{name}");
    }
    assert!(rows.next_cells(&mut cells).unwrap());
    assert!(cells.iter().all(Cell::is_missing), "{cells:?}");
    assert!(!rows.next_cells(&mut cells).unwrap());
    assert_eq!((rows.progress().done, rows.progress().total), (2, Some(2)));

    let error = Rows::open(&path).unwrap().select(&[column("list.list.element")]).unwrap_err().to_string();
    assert!(error.contains("holds a list"), "{error}");
    let error = Rows::open(&path).unwrap().select(&[column("duble")]).unwrap_err().to_string();
    assert!(error.contains("did you mean \"double\"?"), "{error}");
    let files = Files::new();
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        assert!(Rows::open(&files.with("cut.parquet", &whole[..cut])).is_err(), "{cut}");
    }
}
