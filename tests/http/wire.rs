//! A client that can be as wrong as it likes: it sends bytes, and reads answers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing in these tests takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status);
        document["type"].as_str().unwrap().strip_prefix("urn:tollgate:problem:").unwrap().to_owned()
    }
}

pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("in time").unwrap();
    }

    /// Sends what the server may not want to read to its end.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("in time");
    }

    async fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        match timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("in time") {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// Whether the server closes without a word more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.fill().await
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// The next answer; `None` when the server closes, or cuts it off.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET").await
    }

    pub(crate) async fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let status = loop {
            let status_line = self.line().await?;
            let status = status_line.split(' ').nth(1)?.parse().ok()?;
            if status != 100 {
                break status;
            }
            self.line().await?;
        };
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            answer.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        if method == "HEAD" {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).ok()?;
                let chunk = self.take(size).await?;
                answer.body.extend(chunk);
                self.line().await?;
                if size == 0 {
                    return Some(answer);
                }
            }
        }
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        answer.body = self.take(length).await?;
        Some(answer)
    }
}

/// A request with a body.
pub(crate) fn post(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST", path, headers, body)
}

/// A request of any method, with a body that may be empty.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let (body, method) = (body.as_ref(), method.to_uppercase());
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    request.extend_from_slice(body);
    request
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address).await;
    client.try_send(&request).await;
    let method = String::from_utf8_lossy(request.as_ref()).split(' ').next().unwrap_or_default().to_owned();
    client.answer_to(&method).await.unwrap_or_else(|| {
        panic!("no answer to {:.120}", String::from_utf8_lossy(request.as_ref()));
    })
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

/// A transaction with the three fields that are required.
pub(crate) fn transaction(id: &str) -> String {
    format!(
        r#"{{"transaction_id":"{id}","occurred_at":"2026-10-20T12:00:00Z","amount":{{"value":12999,"currency":"EUR"}}}}"#
    )
}
