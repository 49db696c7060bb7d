//! A process under measurement: started, waited for, its processor time read, ended.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long one may take to listen: Python loads a lot.
const START_POLLS_MAX: usize = 600;
const START_POLL: Duration = Duration::from_millis(50);
/// Clock ticks a second in `/proc`, which Linux holds to 100 on every platform.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child that ends with this value, and everything that it has started.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) fn start(name: &str, command: &mut Command, address: SocketAddr) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut process = Self(child.map_err(|error| format!("{name} cannot be started: {error}"))?);
        for _ in 0..START_POLLS_MAX {
            if let Ok(Some(status)) = process.0.try_wait() {
                return Err(format!("{name} ended at once: {status}; run it by hand: {command:?}"));
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(process);
            }
            std::thread::sleep(START_POLL);
        }
        Err(format!("{name} does not listen on {address}"))
    }

    /// Processor time of it and its children so far, in seconds.
    pub(crate) fn cpu_s(&self) -> io::Result<f64> {
        let mut total = 0.0;
        for entry in std::fs::read_dir("/proc")? {
            // Processes come and go; those that are gone count no more.
            let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
            // The name, in parentheses, may hold anything.
            let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
            let fields: Vec<&str> = rest.split(' ').collect();
            let (Some(parent), Some(user), Some(system)) = (fields.get(1), fields.get(11), fields.get(12))
            else {
                continue;
            };
            let own = self.0.id().to_string();
            if head.split(' ').next() == Some(own.as_str()) || **parent == own {
                total += user.parse().unwrap_or(0.0) + system.parse().unwrap_or(0.0);
            }
        }
        Ok(total / TICKS_PER_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // uvicorn's workers end with it when it is asked to end, and not when it is killed.
        let asked = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        for _ in 0..200 {
            if asked.is_err() || matches!(self.0.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(START_POLL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
