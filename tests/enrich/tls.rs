//! Redis by TLS, with certificates made for the test: whom the client trusts, and who it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tollgate::domain::time::SystemClock;
use tollgate::enrich::counters::ProfileCounters;
use tollgate::enrich::plan::ProfileType::Int;
use tollgate::enrich::redis::RedisProfiles;
use tollgate::enrich::redis_target::RedisTarget;
use tollgate::enrich::redis_url::RedisAccess;

use crate::redis_server::{RedisServer, free_port};
use crate::stores::{AMPLE, RAW, ask, plan};

/// An authority, and certificates that it has signed.
struct Authority(PathBuf);

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let authority = Self(directory.join(name));
        let (key, cert) = (authority.file("key"), authority.file("pem"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &cert,
        ]);
        authority
    }

    fn file(&self, extension: &str) -> String {
        self.0.with_extension(extension).to_str().unwrap().to_owned()
    }

    /// A certificate for this machine: the files of certificate and key.
    fn sign(&self, directory: &Path, name: &str) -> (String, String) {
        let file =
            |extension: &str| directory.join(name).with_extension(extension).to_str().unwrap().to_owned();
        let (key, request, cert, names) = (file("key"), file("csr"), file("pem"), file("ext"));
        std::fs::write(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        openssl(&[
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &request,
            "-CA",
            &self.file("pem"),
            "-CAkey",
            &self.file("key"),
            "-CAcreateserial",
            "-extfile",
            &names,
            "-out",
            &cert,
        ]);
        (cert, key)
    }
}

fn openssl(arguments: &[&str]) {
    let status = Command::new("openssl").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("these tests need `openssl`").success(), "openssl {arguments:?}");
}

#[tokio::test]
async fn both_sides_are_known_by_their_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, others) =
        (Authority::new(directory.path(), "ours"), Authority::new(directory.path(), "others"));
    let (cert, key) = ours.sign(directory.path(), "server");
    let (client_cert, client_key) = ours.sign(directory.path(), "client");
    let port = free_port().to_string();
    let ca = ours.file("pem");
    let options =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let server = RedisServer::start_with(&options);
    server.command(&["HSET", "tollgate:profile:customer:c_7", "orders", "5"]);

    let read = |file: &str| std::fs::read(file).unwrap();
    let client_pem = Some((read(&client_cert), read(&client_key)));
    let known =
        RedisAccess { ca_pem: Some(read(&ca)), client_pem: client_pem.clone(), ..RedisAccess::default() };
    let nameless = RedisAccess { client_pem: None, ..known.clone() };
    let distrusting = RedisAccess { ca_pem: Some(read(&others.file("pem"))), ..known.clone() };
    let of_the_system = RedisAccess { ca_pem: None, ..known.clone() };
    for (fact, access, scheme, connects) in [
        ("each knows the other", &known, "rediss", true),
        ("the server does not know the client", &nameless, "rediss", false),
        ("the client does not know the server", &distrusting, "rediss", false),
        ("the system does not know the server", &of_the_system, "rediss", false),
        ("no TLS at all", &known, "redis", false),
    ] {
        let target = RedisTarget::parse(&format!("{scheme}://localhost:{port}"), access.clone()).unwrap();
        let (counters, clock) = (Arc::new(ProfileCounters::default()), Arc::new(SystemClock));
        let runtime = tokio::runtime::Handle::current();
        let redis = RedisProfiles::start(&target, RAW, counters, clock, &[runtime]);
        let wait = if connects { AMPLE } else { Duration::from_millis(700) };
        assert_eq!(redis.wait_until_up(wait).await, connects, "{fact}");
        let expected = if connects { r#"[{"known":5}]"# } else { r#"["timed_out"]"# };
        assert_eq!(
            ask(&redis, &plan(&[("customer", "orders", Int)]), &[Some("c_7")]).await,
            expected,
            "{fact}"
        );
    }
}
