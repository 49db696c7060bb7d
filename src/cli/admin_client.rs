//! Asking the admin port of a running service, by one request over one connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Longest answer of a running service, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// The environment variable with the admin API key: a flag would show it to everybody on the machine.
const KEY_VARIABLE: &str = "TOLLGATE_ADMIN_KEY";

/// Posts `body`, JSON or nothing, and answers with the body of a 200. Anything else is an error that says what the service says.
pub(super) fn post(admin: &str, path: &str, body: &str, patience: Duration) -> anyhow::Result<String> {
    let authorization = std::env::var(KEY_VARIABLE)
        .map_or_else(|_| String::new(), |key| format!("Authorization: Bearer {}\r\n", key.trim()));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {authorization}Connection: close\r\n\r\n",
        body.len()
    );
    let context = || format!("{admin}: the service cannot be asked");
    let mut stream = TcpStream::connect(admin).with_context(context)?;
    stream.set_read_timeout(Some(patience)).with_context(context)?;
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .with_context(context)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).with_context(context)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("{admin}: no answer that is HTTP"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return Ok(body.to_owned());
    }
    let said: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let detail = said["detail"].as_str().unwrap_or(body);
    let errors = said["errors"].as_array().into_iter().flatten();
    let errors: Vec<String> = errors
        .map(|error| {
            format!(
                "\n  {} {}",
                error["pointer"].as_str().unwrap_or_default(),
                error["detail"].as_str().unwrap_or_default()
            )
        })
        .collect();
    bail!("{admin} answered {status}: {detail}{}", errors.concat());
}
