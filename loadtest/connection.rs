//! One keep-alive connection: as little HTTP/1.1 as a request and its answer need, and no work beside it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Room for a usual answer.
const READ_BYTES: usize = 16 * 1024;

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Whether the decision says that it is degraded.
    pub(crate) degraded: bool,
    /// Whether it is an earlier answer given again.
    pub(crate) replayed: bool,
}

/// Why nothing came back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Failure {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Broken,
    /// The answer is not one that this client reads.
    Malformed,
}

impl Failure {
    /// The name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
        }
    }
}

/// A connection that is made anew when it has to be.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    timeout: Duration,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// A connection to `address`, made by `open` or with the first request.
    pub(crate) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout, stream: None, buffer: vec![0; READ_BYTES] }
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        if let Some(stream) = self.stream.take() {
            match self.exchange_on(stream, request) {
                // The service may have closed an idle connection just now. A decision may be sent twice: it is idempotent.
                Err((Failure::Broken, 0)) => {}
                result => return result.map_err(|(failure, _)| failure),
            }
        }
        let stream = self.connect().map_err(|_| Failure::Connect)?;
        self.exchange_on(stream, request).map_err(|(failure, _)| failure)
    }

    /// Makes the connection before there is a request. Where that fails, the first request tries again.
    pub(crate) fn open(&mut self) {
        self.stream = self.connect().ok();
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(stream)
    }

    /// A failure comes with how many bytes of an answer had been read.
    fn exchange_on(&mut self, mut stream: TcpStream, request: &[u8]) -> Result<Answer, (Failure, usize)> {
        stream.write_all(request).map_err(|error| (failure(&error), 0))?;
        let mut filled = 0;
        let mut head = None;
        loop {
            if head.is_none() {
                head = Head::parse(&self.buffer[..filled]).map_err(|failure| (failure, filled))?;
            }
            if let Some(head) = &head {
                let end = head.bytes + head.content_length;
                if end > ANSWER_BYTES_MAX {
                    return Err((Failure::Malformed, filled));
                }
                if filled >= end {
                    let body = &self.buffer[head.bytes..end];
                    let answer = Answer {
                        status: head.status,
                        degraded: says(body, b"\"degraded\":true"),
                        replayed: says(body, b"\"replayed\":true"),
                    };
                    if head.keep_alive {
                        self.stream = Some(stream);
                    }
                    return Ok(answer);
                }
                if end > self.buffer.len() {
                    self.buffer.resize(end, 0);
                }
            } else if filled == self.buffer.len() {
                return Err((Failure::Malformed, filled));
            }
            match stream.read(&mut self.buffer[filled..]) {
                Ok(0) => return Err((Failure::Broken, filled)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err((failure(&error), filled)),
            }
        }
    }
}

fn failure(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Broken,
    }
}

fn says(body: &[u8], mark: &[u8]) -> bool {
    memchr::memmem::find(body, mark).is_some()
}

/// What matters of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    content_length: usize,
    keep_alive: bool,
}

impl Head {
    /// `None` when the head is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Failure::Malformed)?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or(Failure::Malformed)?;
        let mut content_length = None;
        let mut keep_alive = true;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                content_length = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = !value.trim().eq_ignore_ascii_case("close");
            }
        }
        let content_length = content_length.ok_or(Failure::Malformed)?;
        Ok(Some(Self { status, bytes: end + 4, content_length, keep_alive }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head =
            |status, bytes, content_length, keep_alive| Head { status, bytes, content_length, keep_alive };
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Ok(Some(head(200, 38, 5, true)))),
            (
                "HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                Ok(Some(head(503, 56, 0, false))),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Len", Ok(None)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Err(Failure::Malformed)),
            ("SSH-2.0\r\n\r\n", Err(Failure::Malformed)),
        ] {
            assert_eq!(Head::parse(text.as_bytes()), expected, "{text}");
        }
        let mark = b"\"degraded\":true";
        assert!(says(b"{\"degraded\":true}", mark) && !says(b"{\"degraded\":false}", mark));
    }
}
