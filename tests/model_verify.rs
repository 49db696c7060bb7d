//! `tollgate model verify`, as it is called: what it prints, what it writes, and how it exits.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/default")
}

/// A copy of the shipped model, without its certificate.
fn copied() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(shipped().join("model.json"), directory.path().join("model.json")).unwrap();
    let text = std::fs::read_to_string(shipped().join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["parity"] = Value::Null;
    std::fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
    directory
}

/// Exit code, standard output, standard error.
fn verify(model: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(["model", "verify"]).arg(model).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_certificate_is_printed_and_kept_in_the_manifest() {
    let model = copied();
    let manifest = model.path().join("manifest.json");
    let before: Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    let (code, printed, errors) =
        verify(model.path(), &["--rows", "700", "--seed", "5", "--json", "--write"]);
    assert_eq!(code, 0, "{errors}");
    let certificate: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(certificate["rows"], 700);
    assert_eq!(certificate["rows_from"], "drawn with seed 5");
    assert_eq!(certificate["holds"], true);
    assert_eq!(certificate["model_sha256"], before["model_sha256"]);
    let compared = certificate["compared"].as_array().unwrap();
    assert_eq!(compared[0]["with"] == "libxgboost", cfg!(feature = "xgboost"));
    for comparison in compared {
        assert_eq!((&comparison["differing_rows"], &comparison["margin_ulps_max"]), (&0.into(), &0.into()));
    }
    let mut after: Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    assert_eq!(after["parity"], certificate);
    after["parity"] = Value::Null;
    assert_eq!(after, before);
    let again = verify(model.path(), &["--rows", "700", "--seed", "5", "--json"]).1;
    assert_eq!(again, printed);
}

#[test]
fn rows_of_a_file_are_compared_too() {
    let directory = tempfile::tempdir().unwrap();
    let rows = directory.path().join("rows.csv");
    let header = (0..8).map(|feature| format!("card.feature_{feature}")).collect::<Vec<_>>().join(",");
    std::fs::write(&rows, format!("{header}\n,inf,-inf,-0.0,1e-40,0,1,2\n,,,,,,,\n")).unwrap();
    let model = shipped().parent().unwrap().join("parity/named.json");
    let input = ["--input", rows.to_str().unwrap()];
    let (code, printed, errors) = verify(&model, &input);
    assert_eq!(code, 0, "{errors}");
    assert!(printed.starts_with("The margins hold: 2 rows, of a file sha256:"), "{printed}");
    assert_eq!(printed.contains("Not with libxgboost"), !cfg!(feature = "xgboost"), "{printed}");

    std::fs::write(&rows, format!("{header}\n")).unwrap();
    let (code, printed, errors) = verify(&model, &input);
    assert_eq!((code, printed.contains("DO NOT HOLD")), (1, true), "{printed}");
    assert!(errors.contains("no row was compared"), "{errors}");

    std::fs::write(&rows, format!("{header}\n1,2,3,x,5,6,7,8\n")).unwrap();
    let (code, _, errors) = verify(&model, &input);
    assert!(code == 1 && errors.contains("row 1, column card.feature_3"), "{errors}");

    let (code, _, errors) = verify(&model, &["--write"]);
    assert!(code == 1 && errors.contains("named.json: is not a model directory"), "{errors}");
}
