//! A TCP proxy in front of a real server, which notes what the client sent between two answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the client sent, cut where the server spoke.
type Bursts = Arc<Mutex<Vec<String>>>;

/// The proxy. Its threads end with the connections.
pub struct CountingProxy {
    port: u16,
    bursts: Bursts,
}

impl CountingProxy {
    /// Forwards every connection to `server_port` on this machine.
    pub fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bursts = Bursts::default();
        let noted = Arc::clone(&bursts);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let server = TcpStream::connect(("127.0.0.1", server_port)).unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (sent, answered) = (Arc::clone(&noted), Arc::clone(&noted));
                thread::spawn(move || {
                    pump(client, server, |bytes| {
                        let mut bursts = sent.lock().unwrap();
                        if bursts.is_empty() {
                            bursts.push(String::new());
                        }
                        bursts.last_mut().unwrap().push_str(&String::from_utf8_lossy(bytes));
                    });
                });
                thread::spawn(move || {
                    pump(server_too, client_too, |_| answered.lock().unwrap().push(String::new()));
                });
            }
        });
        Self { port, bursts }
    }

    /// Where the client should connect to.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// For each burst that names the command: how often it does.
    pub fn bursts_with(&self, command: &str) -> Vec<usize> {
        let bursts = self.bursts.lock().unwrap();
        bursts.iter().map(|burst| burst.matches(command).count()).filter(|count| *count > 0).collect()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 {
            break;
        }
        note(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
