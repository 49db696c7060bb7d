//! A real `redis-server` on a free port, for tests: started, stopped, killed, frozen and started again.
//!
//! There is no fallback: without the program a test fails and says how to install it.
#![allow(dead_code, unreachable_pub, reason = "each test program takes what it needs")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const START_ATTEMPTS_MAX: usize = 5;
const READY_POLLS_MAX: usize = 500;
const READY_POLL: Duration = Duration::from_millis(10);

/// A running server, which ends with this value. It keeps nothing on disk: a restart begins empty.
pub struct RedisServer {
    child: Option<Child>,
    watchdog: Option<Child>,
    port: u16,
    dir: TempDir,
    extra: Vec<String>,
    /// What a Sentinel writes down.
    file: Option<tempfile::NamedTempFile>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `--requirepass`.
    pub fn start_with(extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for redis-server");
        let extra = extra.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { child: None, watchdog: None, port: 0, dir, extra, file: None };
        for _ in 0..START_ATTEMPTS_MAX {
            server.port = free_port();
            // Another process may take the port in between: then try the next.
            if server.try_launch() {
                return server;
            }
        }
        panic!("redis-server did not come up on {START_ATTEMPTS_MAX} free ports");
    }

    /// A Sentinel by itself, which watches a master under that name, and is quick to replace it.
    pub fn sentinel(master: &str, master_port: u16) -> Self {
        Self::sentinel_with(master, master_port, "")
    }

    /// The same with one more line in its file.
    pub fn sentinel_with(master: &str, master_port: u16, setting: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file for the Sentinel");
        let settings = [
            format!("sentinel monitor {master} 127.0.0.1 {master_port} 1"),
            format!("sentinel down-after-milliseconds {master} 300"),
            format!("sentinel failover-timeout {master} 2000"),
            setting.to_owned(),
        ];
        std::fs::write(file.path(), settings.join("\n")).expect("it is written");
        let path = file.path().to_str().expect("a path in UTF-8").to_owned();
        let mut sentinel = Self::start_with(&["--sentinel", &path]);
        sentinel.file = Some(file);
        sentinel
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Ends the server in an orderly way.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.reap();
    }

    /// Ends the server at once, without a word to its clients' connections but a reset.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.reap();
    }

    /// Freezes the server: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Starts the server again on the same port, empty.
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        assert!(self.try_launch(), "redis-server did not come back on port {}", self.port);
    }

    /// Further options from the next start on, in the place of those of the first.
    pub fn options(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(|&option| option.to_owned()).collect();
    }

    /// The same where the server may hang up, as one does that is made a master or a replica.
    pub fn try_command(&self, words: &[&str]) -> Option<String> {
        ask(self.port, words)
    }

    /// One command over a connection of its own, in words; answers the first line of the reply, or a bulk text whole.
    pub fn command(&self, words: &[&str]) -> String {
        ask(self.port, words).expect("redis-server answers")
    }

    fn try_launch(&mut self) -> bool {
        // A Sentinel's file must come first.
        let (first, further) = match self.extra.split_first() {
            Some((sentinel, file)) if sentinel == "--sentinel" => (file, &[][..]),
            _ => (&[][..], &*self.extra),
        };
        let child = Command::new("redis-server")
            .args(first)
            .args(if first.is_empty() { &[][..] } else { &["--sentinel"][..] })
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--unixsocket")
            .arg(self.socket())
            .args(further)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => self.child = Some(child),
            Err(error) => panic!(
                "these tests need a real Redis and `redis-server` cannot be run ({error}): \
                 install it with `apt-get install redis-server` (or your system's package manager)"
            ),
        }
        self.watch();
        for _ in 0..READY_POLLS_MAX {
            let exited = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if exited {
                self.reap();
                return false;
            }
            if ask(self.port, &["PING"]).is_some() {
                return true;
            }
            std::thread::sleep(READY_POLL);
        }
        self.kill();
        false
    }

    fn signal(&self, name: &str) {
        let Some(child) = &self.child else { return };
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to redis-server");
    }

    /// A shell that ends the server when this process is gone, even by a kill: then its standard input closes. Nobody
    /// else would end it, least of all while it is frozen.
    fn watch(&mut self) {
        let Some(child) = &self.child else { return };
        self.watchdog = Command::new("sh")
            .arg("-c")
            .arg(format!("read _; kill -KILL {}", child.id()))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok();
    }

    /// Waits for the end of the server. The watchdog goes first: afterwards, the number may be another process's.
    fn reap(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
        self.reap();
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn ask(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.trim_end().to_owned();
    match line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => {
            let mut text = vec![0; length];
            reader.read_exact(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        None if line.is_empty() => None,
        None => Some(line),
    }
}
