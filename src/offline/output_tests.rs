//! Feature tables, written and read back.

use std::path::Path;

use crate::domain::time::EventTime;
use crate::domain::value::Value;
use crate::offline::output::{Column, ColumnType, FeatureTable, OutputError};

fn columns(id: ColumnType) -> Vec<Column> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    vec![
        column("tx_id", id),
        column("card.count_5m", ColumnType::Int64),
        column("card.amount_mean_24h", ColumnType::Double),
        column("channel", ColumnType::Text),
    ]
}

fn write(path: &Path, id: ColumnType) -> Result<u64, OutputError> {
    let mut table = FeatureTable::create(path, columns(id))?;
    table.write_row("1", &[Value::Int(6), Value::Double(0.1 + 0.2), Value::Text("pos, \"x\"")])?;
    table.write_row("2", &[Value::Bool(true), Value::Int(5), Value::Missing])?;
    table.write_row(
        "3",
        &[Value::Missing, Value::Missing, Value::Time(EventTime::from_unix_millis(0).unwrap())],
    )?;
    table.finish()
}

#[test]
fn csv_holds_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("features.csv");
    assert_eq!(write(&path, ColumnType::Int64).unwrap(), 3);
    let expected = "tx_id,card.count_5m,card.amount_mean_24h,channel\n\
        1,6,0.30000000000000004,\"pos, \"\"x\"\"\"\n2,1,5.0,\n3,,,1970-01-01T00:00:00.000Z\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    let gzip = directory.path().join("features.csv.gz");
    write(&gzip, ColumnType::Text).unwrap();
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(std::fs::File::open(&gzip).unwrap());
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert_eq!(text, expected);
}

#[test]
fn a_table_that_is_broken_off_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("features.csv");
    let mut table = FeatureTable::create(&path, columns(ColumnType::Int64)).unwrap();
    table.write_row("1", &[Value::Missing; 3]).unwrap();
    for (id, values) in [
        ("x", &[Value::Missing; 3][..]),
        ("1", &[Value::Missing; 2][..]),
        ("1", &[Value::Text("x"), Value::Missing, Value::Missing][..]),
        ("1", &[Value::Double(0.5), Value::Missing, Value::Missing][..]),
    ] {
        assert!(table.write_row(id, values).is_err(), "{id} {values:?}");
    }
    drop(table);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn names_that_cannot_be_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |name: &str, columns| {
        FeatureTable::create(&directory.path().join(name), columns).unwrap_err().to_string()
    };
    assert!(refused("a.ndjson", columns(ColumnType::Text)).contains("expected .csv"));
    assert!(refused("none/a.csv", columns(ColumnType::Text)).contains("cannot write"));
    let mut twice = columns(ColumnType::Text);
    twice[3].name = "tx_id".into();
    assert!(refused("a.csv", twice).contains("two columns would be called \"tx_id\""));
    #[cfg(not(feature = "parquet"))]
    assert!(refused("a.parquet", columns(ColumnType::Text)).contains("--features parquet"));
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_what_was_written() {
    use crate::offline::cell::Cell;
    use crate::offline::input::Rows;
    use crate::offline::mapping::ColumnName;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("features.parquet");
    write(&path, ColumnType::Int64).unwrap();
    let mut rows = Rows::open(&path).unwrap();
    let names: Vec<String> = rows.columns().unwrap().to_vec();
    assert_eq!(names, ["tx_id", "card.count_5m", "card.amount_mean_24h", "channel"]);
    assert!(rows.is_integer_column("tx_id") && !rows.is_integer_column("channel"));
    let selected: Vec<_> =
        names.iter().map(|name| ColumnName { name: name.clone(), named_at: String::new() }).collect();
    rows.select(&selected).unwrap();
    let mut read = Vec::new();
    let mut cells = Vec::new();
    while rows.next_cells(&mut cells).unwrap() {
        read.push(cells.clone());
    }
    let text = |text: &str| Cell::Text(text.into());
    assert_eq!(
        read,
        [
            vec![Cell::Int(1), Cell::Int(6), Cell::Double(0.1 + 0.2), text("pos, \"x\"")],
            vec![Cell::Int(2), Cell::Int(1), Cell::Double(5.0), Cell::Missing],
            vec![Cell::Int(3), Cell::Missing, Cell::Missing, text("1970-01-01T00:00:00.000Z")],
        ]
    );
}
