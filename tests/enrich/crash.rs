//! A killed writer loses nothing that was acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tollgate::enrich::embedded::{EmbeddedProfiles, FILE_NAME};
use tollgate::enrich::plan::ProfileType::Int;
use tollgate::enrich::source::ProfileSource as _;

use crate::stores::{ask, plan};

const DIR_VARIABLE: &str = "TOLLGATE_TEST_CRASH_DIR";
const ROUNDS: u64 = 5;
const ACKNOWLEDGED_PER_ROUND: u64 = 40;
const WRITES_MAX: u64 = 100_000;

/// The victim: writes profile after profile and says each number once it is stored.
#[tokio::test]
#[ignore = "runs as the child process of the test below"]
async fn victim() {
    let dir = PathBuf::from(std::env::var_os(DIR_VARIABLE).expect("the directory"));
    let store = EmbeddedProfiles::open(&dir).unwrap();
    for number in 0..WRITES_MAX {
        store.put("customer", &format!("c_{number}"), &[("n", &number.to_string())]).await.unwrap();
        store.put("customer", "last", &[("n", &number.to_string())]).await.unwrap();
        let mut out = std::io::stderr().lock();
        writeln!(out, "stored {number}").unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&[("customer", "n", Int)]);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::victim", "--ignored", "--nocapture"])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = None;
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            if let Some(number) = line.unwrap().strip_prefix("stored ") {
                let number: u64 = number.parse().unwrap();
                acknowledged = Some(number);
                if number >= ACKNOWLEDGED_PER_ROUND + round {
                    break;
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = acknowledged.expect("the child stored something");

        let store = EmbeddedProfiles::open(dir.path()).unwrap();
        for number in 0..=acknowledged {
            let answer = ask(&store, &plan, &[Some(&format!("c_{number}"))]).await;
            assert_eq!(answer, format!(r#"[{{"known":{number}}}]"#), "round {round}");
        }
        let last = ask(&store, &plan, &[Some("last")]).await;
        let last: u64 = last.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!(last >= acknowledged, "round {round}: {last} < {acknowledged}");
    }
}

/// The snapshot that readers use must not keep the pages of all earlier writes.
#[tokio::test]
async fn writing_one_profile_over_and_over_does_not_grow_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedProfiles::open(dir.path()).unwrap();
    let size = || std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().len();
    let value = "x".repeat(1000);
    let mut early = 0;
    for round in 0..300 {
        store.put("customer", "c_1", &[("a", &value), ("b", &value), ("c", &value)]).await.unwrap();
        if round == 50 {
            early = size();
        }
    }
    assert!(size() <= early * 2, "{early} -> {}", size());
}
