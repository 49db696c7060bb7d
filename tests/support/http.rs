//! A small blocking HTTP/1.1 client: it keeps its connection, sends what it is told to, and reads answers with a length.
#![allow(dead_code, unreachable_pub, reason = "each test program takes what it needs")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Nothing takes this long, not even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body of a 200.
    pub fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The last word of the problem's type, and the JSON Pointers of its errors.
    pub fn problem(&self) -> (String, Vec<String>) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status, "{self:?}");
        assert!(document["title"].is_string() && document["detail"].is_string(), "{self:?}");
        let problem = document["type"].as_str().and_then(|it| it.rsplit(':').next()).unwrap_or_default();
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        let pointers = errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
        (problem.to_owned(), pointers)
    }
}

/// One connection.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// The next answer; an error when the server goes away before its end.
    pub fn answer(&mut self) -> std::io::Result<Answer> {
        let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or_else(gone)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(gone)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new() };
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line()?, 16).map_err(|_| gone())?;
                let begin = body.len();
                body.resize(begin + length, 0);
                self.reader.read_exact(&mut body[begin..])?;
                self.line()?;
                if length == 0 {
                    break;
                }
            }
        } else {
            let length = answer.header("content-length").and_then(|it| it.parse().ok()).ok_or_else(gone)?;
            body.resize(length, 0);
            self.reader.read_exact(&mut body)?;
        }
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub fn try_post(&mut self, path: &str, headers: &str, body: &str) -> std::io::Result<Answer> {
        self.send(&post(path, headers, body))?;
        self.answer()
    }

    pub fn post(&mut self, path: &str, headers: &str, body: &str) -> Answer {
        self.try_post(path, headers, body).unwrap_or_else(|error| panic!("{path}: {error}: {body:.200}"))
    }

    /// A request of any method.
    pub fn try_request(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        self.send(&request(method, path, "", body))?;
        self.answer()
    }

    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.try_request(method, path, body).unwrap_or_else(|error| panic!("{path}: {error}: {body:.200}"))
    }

    pub fn get(&mut self, path: &str) -> Answer {
        let sent = self.send(format!("GET {path} HTTP/1.1\r\nHost: tollgate\r\n\r\n").as_bytes());
        sent.and_then(|()| self.answer()).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Decides a transaction, and insists on a decision.
    pub fn decide(&mut self, transaction: &str) -> Value {
        self.post("/v1/decisions", "", transaction).good()
    }

    /// Posts a label, and insists that it is taken.
    pub fn label(&mut self, label: &str) -> Value {
        self.post("/v1/labels", "", label).good()
    }
}

/// A request with a body, as bytes. `headers` are whole lines, each with its line end.
pub fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    request("POST", path, headers, body)
}

/// A request of any method, with a body that may be empty.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: tollgate\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}
