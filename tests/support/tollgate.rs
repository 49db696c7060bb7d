//! The real program: served on free ports with a data directory of its own, killed, ended and started again; and its other
//! commands, run to their end.
#![allow(dead_code, unreachable_pub, reason = "each test program takes what it needs")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tollgate::feature::catalogue::Catalogue;

use crate::http::{Answer, Connection, PATIENCE};

/// Patient settings: on a busy machine nothing may time out but what a test wants to time out.
pub const PATIENT: &str = "[decision]\ndeadline_ms = 10000\nenrich_timeout_ms = 5000\n";

/// The project's top directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands for no model at all.
const NO_MODEL: &str = "none";

/// The shipped model, or `none` where there is none (yet).
pub fn model() -> &'static str {
    if root().join("models/default/manifest.json").exists() { "models/default" } else { NO_MODEL }
}

/// A directory with everything that a service needs to start, and to start again.
pub struct Installation {
    directory: TempDir,
    rules: PathBuf,
    model: String,
    challengers: Vec<(&'static str, PathBuf)>,
    features: &'static str,
    redis: Option<String>,
    candidate: Option<PathBuf>,
}

impl Installation {
    /// With patient settings and the shipped rules.
    pub fn new() -> Self {
        Self::with_settings(PATIENT)
    }

    /// With settings as in `tollgate.toml`. Unless they say so themselves, nothing is shed: on a busy machine these builds without
    /// optimisation are too slow for what tests ask of them at once, and then overload would be what every test is about.
    pub fn with_settings(settings: &str) -> Self {
        let mut settings = settings.to_owned();
        if !settings.contains("[overload]") {
            settings.push_str("\n[overload]\nqueue_delay_target_ms = 0\nin_flight_per_thread_max = 0\n");
        }
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("tollgate.toml"), settings).expect("the settings are written");
        let (rules, features) = (root().join("rules"), "models/features.yaml");
        Self {
            directory,
            rules,
            model: model().to_owned(),
            challengers: Vec::new(),
            features,
            redis: None,
            candidate: None,
        }
    }

    /// With rules of its own, which a test may change.
    pub fn rules(mut self, rules: &Path) -> Self {
        rules.clone_into(&mut self.rules);
        self
    }

    /// With a catalogue of its own, and no model, since the shipped one asks for the shipped features.
    pub fn features(mut self, catalogue: &'static str) -> Self {
        (self.model, self.features) = (NO_MODEL.to_owned(), catalogue);
        self
    }

    /// With a model of its own.
    pub fn model(mut self, directory: &Path) -> Self {
        directory.to_str().expect("a path in UTF-8").clone_into(&mut self.model);
        self
    }

    /// With a model that scores beside the one that decides.
    pub fn challenger(mut self, name: &'static str, directory: &Path) -> Self {
        self.challengers.push((name, directory.to_owned()));
        self
    }

    /// With rules that decide beside the live ones.
    pub fn candidate(mut self, rules: &Path) -> Self {
        self.candidate = Some(rules.to_owned());
        self
    }

    /// The names of its features, in the order of its catalogue.
    pub fn feature_names(&self) -> Vec<String> {
        let catalogue = Catalogue::load(&root().join(self.features)).expect("a sound catalogue");
        catalogue.features.iter().map(|feature| feature.name.to_string()).collect()
    }

    /// With its profiles in a Redis.
    pub fn redis(mut self, url: &str) -> Self {
        self.redis = Some(url.to_owned());
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The files of the state snapshots, the newest first.
    pub fn snapshots(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.data().join("state")) else { return Vec::new() };
        let files = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> =
            files.filter(|file| file.extension().is_some_and(|it| it == "state")).collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        files
    }

    /// The flags that name the policy.
    pub fn policy(&self) -> Vec<String> {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let mut flags = vec![
            "--config".into(),
            text(&self.path().join("tollgate.toml")),
            "--rules".into(),
            text(&self.rules),
            "--model".into(),
            self.model.clone(),
            "--features".into(),
            self.features.into(),
        ];
        for (name, model) in &self.challengers {
            flags.extend(["--challenger".into(), format!("{name}={}", text(model))]);
        }
        flags
    }

    /// Serves, and waits until it is ready to decide.
    pub fn serve(&self) -> Service {
        let mut command = tollgate("serve");
        command.args(self.policy()).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"]);
        command.arg(self.data());
        if let Some(redis) = &self.redis {
            command.args(["--redis", redis]);
        }
        if let Some(candidate) = &self.candidate {
            command.arg("--candidate").arg(candidate);
        }
        Service::spawn(command)
    }

    /// The log's records, once the service has ended or is idle.
    pub fn records(&self) -> Vec<Value> {
        let data = self.data();
        let exported = run("audit", ["export", "--data", data.to_str().unwrap()]);
        exported.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    /// The bodies of the log's decisions.
    pub fn decisions(&self) -> Vec<Value> {
        let records = self.records().into_iter().filter(|record| record["kind"] == "decision");
        records.map(|mut record| record["body"].take()).collect()
    }

    /// Checks every record of the log, and answers what `audit verify --json` says.
    pub fn verify(&self) -> Value {
        let data = self.data();
        let report = run("audit", ["verify", "--json", "--data", data.to_str().unwrap()]);
        let report: Value = serde_json::from_str(&report).expect("a report");
        assert_eq!(report["problems"].as_array().map_or(0, Vec::len), 0, "{report:#}");
        report
    }
}

fn tollgate(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    program.arg(command).current_dir(root()).env("RUST_LOG", "info").env_remove("TOLLGATE_REDIS");
    program
}

/// Runs a command to its end and answers its standard output; it must succeed.
pub fn run<'a>(command: &str, arguments: impl IntoIterator<Item = &'a str>) -> String {
    let output = tollgate(command).args(arguments).output().expect("the program runs");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}: {}\n{text:.4000}\n{errors:.4000}", output.status);
    text.into_owned()
}

/// The same, however it ends.
pub fn run_to_end<'a>(command: &str, arguments: impl IntoIterator<Item = &'a str>) -> Output {
    tollgate(command).args(arguments).output().expect("the program runs")
}

/// A running service. It ends with this value.
pub struct Service {
    child: Child,
    watchdog: Option<Child>,
    said: Mutex<Receiver<Value>>,
    heard: Mutex<Vec<Value>>,
    pub decision: SocketAddr,
    pub admin: SocketAddr,
}

impl Service {
    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // A shell that ends the service when this process is gone, even by a kill: then its standard input closes.
        let watchdog = Command::new("sh")
            .arg("-c")
            .arg(format!("read _; kill -KILL {}", child.id()))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok();
        let (say, said) = mpsc::channel();
        let stderr = child.stderr.take().expect("its standard error");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = say.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (said, heard) = (Mutex::new(said), Mutex::default());
        let mut service = Self { child, watchdog, said, heard, decision: nowhere, admin: nowhere };
        let ready = service.wait_for_message("ready to decide");
        let address = |name: &str| ready[name].as_str().and_then(|it| it.parse().ok()).expect("an address");
        (service.decision, service.admin) = (address("listen"), address("admin"));
        service
    }

    /// Waits until the service logs that message.
    pub fn wait_for_message(&self, message: &str) -> Value {
        let said = self.said.lock().expect("no other waiter failed");
        let mut heard = self.heard.lock().expect("no other waiter failed");
        let until = Instant::now() + PATIENCE;
        loop {
            match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    heard.push(line.clone());
                    if line["message"] == message {
                        return line;
                    }
                }
                Err(error) => {
                    let lines: Vec<String> = heard.iter().map(Value::to_string).collect();
                    panic!("never said {message:?} ({error}); said\n{}", lines.join("\n"));
                }
            }
        }
    }

    /// Waits until the service logs a message that begins so.
    pub fn wait_for_message_with(&self, beginning: &str) -> String {
        let said = self.said.lock().expect("no other waiter failed");
        let until = Instant::now() + PATIENCE;
        loop {
            let line = said.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("never said {beginning:?} ({error})"));
            if let Some(message) = line["message"].as_str().filter(|it| it.starts_with(beginning)) {
                return message.to_owned();
            }
        }
    }

    /// The lines with that message among those that have been waited past: up to `ready to decide`, all of them.
    pub fn heard(&self, message: &str) -> Vec<Value> {
        let heard = self.heard.lock().expect("no waiter failed");
        heard.iter().filter(|line| line["message"] == message).cloned().collect()
    }

    /// A connection to the decision port.
    pub fn connect(&self) -> Connection {
        Connection::open(self.decision)
    }

    /// What the admin port says.
    pub fn admin(&self, path: &str) -> Answer {
        Connection::open(self.admin).get(path)
    }

    /// A connection to the admin port.
    pub fn connect_admin(&self) -> Connection {
        Connection::open(self.admin)
    }

    /// The value of a series of `GET /metrics`, with its labels; 0 where there is none yet.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// `GET /v1/policy`
    pub fn policy(&self) -> Value {
        self.admin("/v1/policy").good()
    }

    /// Lets no file of the service grow beyond so many bytes; none: as long as it will. False where that cannot be done.
    pub fn limit_files(&self, bytes: Option<u64>) -> bool {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let set = Command::new("prlimit")
            .arg(format!("--pid={}", self.child.id()))
            .arg(format!("--fsize={limit}:unlimited"))
            .status();
        set.is_ok_and(|status| status.success())
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// `kill -TERM`
    pub fn terminate(&self) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIGTERM");
    }

    /// Waits for the end, however long it takes in reason.
    pub fn ended(mut self) -> ExitStatus {
        wait_until("the end of the service", || self.child.try_wait().expect("a status"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The watchdog first: once the service has ended, its number may be another process's.
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
