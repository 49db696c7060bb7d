//! A disk that is slower than what is to be recorded: the queue of the log is full, and config says whether a decision is refused at once or waits for a
//! place. A place that somebody waited for in vain is nobody's.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tollgate::audit::disk::{Disk, SystemDisk};
use tollgate::audit::frame::Kind;
use tollgate::audit::reader::LogReader;
use tollgate::domain::time::{Clock as _, SystemClock};
use tollgate::enrich::embedded::EmbeddedProfiles;
use tollgate::enrich::profiles::Profiles;
use tollgate::http::admission::AdmissionOptions;
use tollgate::http::options::ServerOptions;
use tollgate::pipeline::service::Service;
use tollgate::pipeline::settings::OnBacklog;

use crate::real::{parts, transaction};
use crate::steered::{Running, Steered};
use crate::wire::{Answer, ask, post};

const QUEUE_MAX: usize = 6;
/// Most requests until the queue is full: those in it, and those that the writer has taken.
const FILLERS_MAX: usize = 40;
/// For those that are to wait until the disk goes on.
const LONG: &str = "X-Deadline-Ms: 9000\r\n";
/// For one that is to wait in vain.
const SHORT: &str = "X-Deadline-Ms: 600\r\n";
const SHORT_MS: u64 = 600;
/// "At once", also on a busy machine, and far below the default deadline of 5 s.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// The machine's disk, whose writes wait while it is held.
#[derive(Default)]
struct HeldDisk {
    is_held: Mutex<bool>,
    let_go: Condvar,
}

impl HeldDisk {
    fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.let_go.notify_all();
    }
}

impl Disk for HeldDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        SystemDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        SystemDisk.open(path)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        drop(self.let_go.wait_while(self.is_held.lock().unwrap(), |is_held| *is_held).unwrap());
        SystemDisk.write_all_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        SystemDisk.sync(file)
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        SystemDisk.set_len(file, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        SystemDisk.sync_directory(directory)
    }
}

struct Rig {
    data: tempfile::TempDir,
    disk: Arc<HeldDisk>,
    service: Arc<Service>,
    running: Running<Service>,
    /// Ids of those that must be in the log in the end.
    recorded: Vec<String>,
}

fn send(decision: SocketAddr, id: &str, headers: &'static str) -> JoinHandle<Answer> {
    let body = transaction(id).to_string();
    tokio::spawn(async move { ask(decision, post("/v1/decisions", headers, body)).await })
}

impl Rig {
    async fn new(on_backlog: OnBacklog) -> Self {
        let data = tempfile::tempdir().unwrap();
        let disk = Arc::new(HeldDisk::default());
        let mut parts = parts(data.path());
        parts.settings.on_backlog = on_backlog;
        parts.log.queue_max = QUEUE_MAX;
        let profiles = Profiles::Embedded(EmbeddedProfiles::open(data.path()).unwrap());
        let log_disk: Arc<dyn Disk> = Arc::<HeldDisk>::clone(&disk);
        let service = Service::start_on(log_disk, parts, profiles, Arc::new(SystemClock)).unwrap();
        let admission = AdmissionOptions {
            queue_delay_target: Duration::ZERO,
            in_flight_max: 0,
            ..AdmissionOptions::default()
        };
        let options = ServerOptions { admission, ..Running::<Steered>::options() };
        let running = Running::serve(options, Arc::clone(&service)).await;
        Self { data, disk, service, running, recorded: Vec::new() }
    }

    fn depth(&self) -> usize {
        self.service.log_status().queue_depth
    }

    /// Holds the disk and fills the queue. What is asked waits, and says how it was answered in the end.
    async fn fill(&mut self, round: &str) -> Vec<JoinHandle<Answer>> {
        self.disk.hold(true);
        let mut fillers = Vec::new();
        while self.depth() < QUEUE_MAX {
            assert!(fillers.len() < FILLERS_MAX, "the queue does not fill");
            let id = format!("pay_{round}_{:02}", fillers.len());
            fillers.push(send(self.running.decision, &id, LONG));
            self.recorded.push(id);
            // Until it has its place, or the writer has taken it.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        fillers
    }

    async fn let_go(&self, fillers: Vec<JoinHandle<Answer>>) {
        self.disk.hold(false);
        for filler in fillers {
            let answer = filler.await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }

    /// Ends the service; what must be recorded is, once, and nothing else.
    async fn end(mut self) {
        self.running.ended().await;
        let service = self.service;
        tokio::task::spawn_blocking(move || service.close(Duration::from_secs(5))).await.unwrap().unwrap();
        let mut reader = LogReader::from_sequence(&self.data.path().join("log"), 1).unwrap();
        let mut found = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            if record.header.kind == Kind::Decision {
                let text = String::from_utf8_lossy(record.body).into_owned();
                let id = self.recorded.iter().find(|id| text.contains(&**id));
                found.push(id.unwrap_or_else(|| panic!("nobody was told of {text}")).clone());
            }
        }
        found.sort_unstable();
        self.recorded.sort_unstable();
        assert_eq!(found, self.recorded);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fail_a_full_queue_refuses_at_once() {
    let mut rig = Rig::new(OnBacklog::Fail).await;
    for round in ["a", "b"] {
        let fillers = rig.fill(round).await;
        for number in 0..10 {
            let sent = SystemClock.instant();
            let answer =
                send(rig.running.decision, &format!("pay_{round}_refused_{number}"), LONG).await.unwrap();
            assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}");
            assert_eq!(answer.problem(), "audit-unavailable");
            let took = SystemClock.instant().saturating_duration_since(sent);
            assert!(took < AT_ONCE, "{took:?}");
        }
        rig.let_go(fillers).await;
        assert_eq!(rig.depth(), 0, "no place is left behind");
        // What was refused left nothing behind: sent again, it is decided.
        let id = format!("pay_{round}_refused_0");
        assert_eq!(send(rig.running.decision, &id, LONG).await.unwrap().status, 200);
        rig.recorded.push(id);
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_a_decision_waits_for_a_place_inside_its_deadline() {
    let mut rig = Rig::new(OnBacklog::Wait).await;
    for round in ["a", "b"] {
        let fillers = rig.fill(round).await;
        let id = format!("pay_{round}_waiting");
        let waiting = send(rig.running.decision, &id, LONG);
        rig.recorded.push(id);
        // One whose deadline ends before there is a place: it waits for what it may, and is refused by then.
        let sent = SystemClock.instant();
        let in_vain = send(rig.running.decision, &format!("pay_{round}_in_vain"), SHORT);
        let answer = in_vain.await.unwrap();
        let took = SystemClock.instant().saturating_duration_since(sent);
        assert_eq!((answer.status, answer.problem().as_str()), (503, "audit-unavailable"), "{answer:?}");
        assert!(took >= Duration::from_millis(SHORT_MS / 2), "it did not wait: {took:?}");
        assert!(took < Duration::from_millis(SHORT_MS) + AT_ONCE, "past its deadline: {took:?}");
        assert!(!waiting.is_finished(), "there is no place yet");
        rig.let_go(fillers).await;
        let answer = waiting.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(rig.depth(), 0, "no place is left behind");
    }
    rig.end().await;
}
