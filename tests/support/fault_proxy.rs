//! A TCP proxy in front of a real server that does to the replies, switched at run time, what networks and ailing servers do.
#![allow(dead_code, unreachable_pub, reason = "each test program takes what it needs")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a thread looks whether the fault has changed.
const TICK: Duration = Duration::from_millis(1);
/// Longest reply that is passed on at once, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// What happens to connections and replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Replies come that much later.
    Latency(Duration),
    /// Half of a reply comes, and the rest when the fault has ended.
    StallMidReply,
    /// Half of a reply comes, then the connection is closed.
    CutShort,
    /// Each byte comes by itself, after that long.
    Drip(Duration),
    /// Bytes of another protocol come instead of a reply.
    Garbage,
    /// Instead of each reply comes one that Redis could give, to another question.
    WrongReply,
    /// Connections are reset as soon as something is asked.
    Reset,
    /// Nobody listens, and standing connections are closed.
    Refuse,
    /// Requests are taken and never passed on.
    BlackHole,
}

/// What happens to all connections, and to one of them instead.
#[derive(Clone, Copy)]
struct Faults {
    all: Fault,
    one: Option<(usize, Fault)>,
}

/// What happens to the connection of a number; to the listener, which has none, what happens to all.
#[derive(Clone)]
struct Current {
    faults: Arc<Mutex<Faults>>,
    number: Option<usize>,
}

/// The proxy. It ends with this value.
pub struct FaultProxy {
    port: u16,
    fault: Current,
    ended: Arc<AtomicBool>,
}

impl FaultProxy {
    /// Forwards every connection to `server_port` on this machine.
    pub fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let faults = Arc::new(Mutex::new(Faults { all: Fault::None, one: None }));
        let (fault, ended) = (Current { faults, number: None }, Arc::new(AtomicBool::new(false)));
        let (current, is_over) = (fault.clone(), Arc::clone(&ended));
        std::thread::spawn(move || listen(listener, port, server_port, &current, &is_over));
        Self { port, fault, ended }
    }

    /// Where the client should connect to.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From about now on, this happens: whoever is reading passes on what comes before its read is over.
    pub fn set(&self, fault: Fault) {
        *self.fault.faults.lock().expect("no thread failed") = Faults { all: fault, one: None };
    }

    /// The same for one connection alone, by its number in the order in which they came, from 0.
    pub fn set_for(&self, number: usize, fault: Fault) {
        self.fault.faults.lock().expect("no thread failed").one = Some((number, fault));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.set(Fault::Refuse);
    }
}

fn now(fault: &Current) -> Fault {
    let faults = *fault.faults.lock().expect("no thread failed");
    faults.one.filter(|(number, _)| Some(*number) == fault.number).map_or(faults.all, |(_, fault)| fault)
}

fn listen(listener: TcpListener, port: u16, server_port: u16, fault: &Current, ended: &Arc<AtomicBool>) {
    let mut listener = Some(listener);
    let mut connections = 0;
    while !ended.load(Ordering::SeqCst) {
        if now(fault) == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            // The port may be taken for a moment by a connection of another test that was given it as its own.
            listener = TcpListener::bind(("127.0.0.1", port)).ok();
        }
        let Some(open) = &listener else {
            std::thread::sleep(TICK);
            continue;
        };
        open.set_nonblocking(true).expect("a socket");
        match open.accept() {
            Ok((client, _)) => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                forward(client, server, &Current { number: Some(connections), ..fault.clone() });
                connections += 1;
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
}

fn forward(client: TcpStream, server: TcpStream, fault: &Current) {
    for stream in [&client, &server] {
        stream.set_nonblocking(false).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(TICK)).expect("a socket");
    }
    // Each end is held by both threads; the last one closes it.
    let (client, server) = (Arc::new(client), Arc::new(server));
    let (client_too, server_too) = (Arc::clone(&client), Arc::clone(&server));
    let (requests, replies) = (fault.clone(), fault.clone());
    std::thread::spawn(move || ask(&client, &server, &requests));
    std::thread::spawn(move || answer(&server_too, &client_too, &replies));
}

/// Passes requests on, until either end is gone.
fn ask(mut client: &TcpStream, mut server: &TcpStream, fault: &Current) {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match now(fault) {
            Fault::Refuse => break,
            Fault::Reset => match client.peek(&mut buffer[..1]) {
                // What is left unread when a socket is closed makes the kernel send a reset.
                Ok(length) if length > 0 => break drop(server.shutdown(Shutdown::Both)),
                Err(error) if is_nothing_yet(&error) => continue,
                _ => break,
            },
            Fault::BlackHole => {
                std::thread::sleep(TICK);
                continue;
            }
            _ => {}
        }
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if server.write_all(&buffer[..length]).is_ok() => {}
            Err(error) if is_nothing_yet(&error) => {}
            _ => break,
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// Passes replies on, until either end is gone or the fault ends the connection.
fn answer(mut server: &TcpStream, client: &TcpStream, fault: &Current) {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        if now(fault) == Fault::Refuse {
            break;
        }
        let reply = match server.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => &buffer[..length],
            Err(error) if is_nothing_yet(&error) => continue,
            Err(_) => break,
        };
        if !spoil(reply, client, fault) {
            break;
        }
    }
    // Not with a farewell when a reset is wanted: then the last holder closes the socket with bytes unread.
    if now(fault) != Fault::Reset {
        let _ = client.shutdown(Shutdown::Both);
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// Sends a reply as the fault wants it; says whether the connection goes on.
fn spoil(reply: &[u8], mut client: &TcpStream, fault: &Current) -> bool {
    let (first, rest) = reply.split_at(reply.len() / 2);
    let began = now(fault);
    match began {
        Fault::None | Fault::Refuse | Fault::Reset | Fault::BlackHole => client.write_all(reply).is_ok(),
        Fault::Latency(latency) => {
            std::thread::sleep(latency);
            client.write_all(reply).is_ok()
        }
        Fault::StallMidReply => {
            let is_sent = client.write_all(first).is_ok();
            while now(fault) == began {
                std::thread::sleep(TICK);
            }
            is_sent && client.write_all(rest).is_ok()
        }
        Fault::CutShort => {
            let _ = client.write_all(first);
            false
        }
        Fault::Drip(pause) => reply.iter().all(|byte| {
            if now(fault) == began {
                std::thread::sleep(pause);
            }
            client.write_all(&[*byte]).is_ok()
        }),
        Fault::Garbage => client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\x00\xff\xfe").is_ok(),
        Fault::WrongReply => client.write_all(b":7\r\n").is_ok(),
    }
}

fn is_nothing_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
