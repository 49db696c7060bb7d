//! The archive in an S3-compatible server: a real one, of which `TOLLGATE_TEST_S3` says the URL; without that, `moto_server`, which this test
//! starts (`pip install 'moto[server]'`).
//!
//! `cargo test --features s3 --test archive_s3`; with `delta`, the Delta table is written there, too.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "a server is waited for in real time")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate::audit::frame::{self, Header, Kind};
use tollgate::audit::receipt::{Head, LogId, RecordHash};
use tollgate::audit::segment::{SegmentHeader, segment_path};
use tollgate::domain::time::EventTime;

/// A bucket that is there, or is made in moto's server.
fn bucket() -> String {
    std::env::var("TOLLGATE_TEST_S3_BUCKET").unwrap_or_else(|_| "audit".to_owned())
}

/// A server that is ended with this value.
struct Server(Option<Child>, String);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    fn start() -> Self {
        if let Ok(url) = std::env::var("TOLLGATE_TEST_S3") {
            return Self(None, url);
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server starts: pip install 'moto[server]', or set TOLLGATE_TEST_S3");
        let server = Self(Some(child), format!("http://127.0.0.1:{port}"));
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "moto_server never listened");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!(
            "PUT /{} HTTP/1.1\r\nHost: s3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            bucket()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server
    }

    fn tollgate(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
        for (name, value) in [
            ("AWS_ENDPOINT_URL", self.1.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "tollgate"),
            ("AWS_SECRET_ACCESS_KEY", "tollgate-secret"),
        ] {
            command.env(name, std::env::var(name).unwrap_or_else(|_| value.to_owned()));
        }
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

const DAY_MS: i64 = 86_400_000;
const START_MS: i64 = 1_792_454_400_000;

/// A log of closed segments, each with records of so many bytes that do not compress; and an open one without records.
fn write_log(directory: &Path, segments: &[&[usize]]) {
    std::fs::create_dir_all(directory).unwrap();
    let log_id = LogId([5; 16]);
    let (mut head, mut previous_bytes) = (Head { sequence: 0, hash: RecordHash::genesis(log_id) }, 0);
    for day in 0..=segments.len() {
        let recorded_at =
            EventTime::from_unix_millis(START_MS + DAY_MS * i64::try_from(day / 2).unwrap()).unwrap();
        let header = SegmentHeader {
            log_id,
            first_sequence: head.sequence + 1,
            previous_hash: head.hash,
            previous_bytes,
            created_at: recorded_at,
        };
        let path = segment_path(directory, header.first_sequence);
        let mut bytes = header.encode().to_vec();
        for length in segments.get(day).copied().unwrap_or_default() {
            let sequence = head.sequence + 1;
            let mut body = vec![0; *length];
            blake3::Hasher::new().update(&sequence.to_le_bytes()).finalize_xof().fill(&mut body);
            let header =
                Header { schema: 1, kind: Kind::Decision, sequence, recorded_at, previous_hash: head.hash };
            head = Head { sequence, hash: frame::encode(&mut bytes, &header, &body).unwrap() };
        }
        previous_bytes = bytes.len() as u64;
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn segments_go_to_the_store_are_merged_proven_and_come_back() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    // One file of more than a part, two small ones of a day, two more of the next.
    let segments: [&[usize]; 5] = [&[1_000_000; 20], &[500; 10], &[500; 10], &[700; 10], &[900; 10]];
    let log = directory.path().join("data/log");
    write_log(&log, &segments);
    let delta = if cfg!(feature = "delta") { "delta = true\n" } else { "" };
    std::fs::write(path("tollgate.toml"), format!("[archive]\n{delta}")).unwrap();
    let url = format!("s3://{}/test-{}-{}", bucket(), std::process::id(), START_MS);
    let archive = |command: &str, more: &[&str]| {
        let (config, data) = (path("tollgate.toml"), path("data"));
        let own = ["archive", command, "--json", "--config", &config, "--data", &data, "--archive", &url];
        server.tollgate(&[&own[..], more].concat())
    };
    let ran = archive("run", &[]);
    assert_eq!(
        (&ran["archived"]["segments"], &ran["archived"]["records"]),
        (&5.into(), &60.into()),
        "{ran:#}"
    );
    // The days of the first two segments and of the next two are over, that of the last one is not.
    assert_eq!(ran["compacted"]["files_before"], 4, "{ran:#}");
    assert_eq!(archive("run", &[])["archived"]["segments"], 0);
    let report = archive("verify", &[]);
    assert_eq!(
        (&report["problems_total"], &report["segments"], &report["files"]),
        (&0.into(), &5.into(), &3.into())
    );
    let to = path("elsewhere");
    assert_eq!(archive("restore", &["--to", &to])["segments"], 5);
    let mut first = 1;
    for records in segments {
        let read = |log: &Path| std::fs::read(segment_path(log, first)).unwrap();
        assert!(read(&log) == read(&directory.path().join("elsewhere/log")), "segment {first}");
        first += records.len() as u64;
    }
}
