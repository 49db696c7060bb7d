//! What a request says besides its body: headers and query parameters, each right or refused by name.

use std::time::Duration;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Request, Version};

use crate::domain::text::TransactionId;
use crate::http::options::DEADLINE_MS_MAX;
use crate::http::problem::{Problem, ProblemKind};
use crate::wire::pan::contains_pan;

/// The header that names a request for retries.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header that says how long the answer may take.
pub const X_DEADLINE_MS: &str = "X-Deadline-Ms";

/// The media types of one JSON value.
pub const JSON_TYPES: &[&str] = &["application/json"];
/// The media types of one JSON value a line.
pub const NDJSON_TYPES: &[&str] = &["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// Refuses what RFC 9112 says a server must refuse: HTTP/1.1 without exactly one `Host`.
pub fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let missing = hosts.next().is_none() && request.version() >= Version::HTTP_11;
    if missing || hosts.next().is_some() {
        return Err(Problem::new(ProblemKind::BadRequest, "HTTP/1.1 asks for exactly one Host header"));
    }
    Ok(())
}

/// The idempotency key, if there is one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<TransactionId>, Problem> {
    let Some(text) = single(headers, IDEMPOTENCY_KEY)? else { return Ok(None) };
    match TransactionId::parse(text) {
        Ok(_) if contains_pan(text) => {
            Err(Problem::header(IDEMPOTENCY_KEY, "holds a card number; send a token instead".to_owned()))
        }
        Ok(key) => Ok(Some(key)),
        Err(error) => Err(Problem::header(IDEMPOTENCY_KEY, error.to_string())),
    }
}

/// The budget that the client gives, if it does.
pub fn budget(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(text) = single(headers, X_DEADLINE_MS)? else { return Ok(None) };
    let digits_only = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(ms) if digits_only && (1..=DEADLINE_MS_MAX).contains(&ms) => Ok(Some(Duration::from_millis(ms))),
        _ => Err(Problem::header(
            X_DEADLINE_MS,
            format!("must be a whole number of milliseconds from 1 to {DEADLINE_MS_MAX}"),
        )),
    }
}

/// Refuses a body that says it is something else than one of `types` in UTF-8. A body that does not say is taken.
pub fn check_content_type(headers: &HeaderMap, types: &'static [&'static str]) -> Result<(), Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            "the body must not be compressed: send it without Content-Encoding",
        ));
    }
    let Some(text) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    if text.to_str().is_ok_and(|text| is_one_of(text, types)) {
        return Ok(());
    }
    let detail = format!("the Content-Type must be {}, in UTF-8", types.join(" or "));
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

fn is_one_of(text: &str, types: &[&str]) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    types.iter().any(|it| essence.eq_ignore_ascii_case(it))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                let charset = value.trim().trim_matches('"');
                charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
            }
            _ => true,
        })
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::header(name, "must be sent once"));
    }
    value.to_str().map(Some).map_err(|_| Problem::header(name, "must be visible ASCII characters only"))
}

/// The `transaction_id` of a query.
pub fn transaction_id(query: Option<&str>) -> Result<TransactionId, Problem> {
    const NAME: &str = "transaction_id";
    let text = parameter(query, NAME)?.ok_or_else(|| Problem::parameter(NAME, "is required"))?;
    TransactionId::parse(&text).map_err(|error| Problem::parameter(NAME, error.to_string()))
}

/// A parameter of a query, decoded; none when it is not there.
pub fn parameter(query: Option<&str>, name: &'static str) -> Result<Option<String>, Problem> {
    let mut values = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('=').filter(|(it, _)| *it == name))
        .map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::parameter(name, "must be sent once"));
    }
    let text = percent_decode(value);
    text.map(Some).ok_or_else(|| Problem::parameter(name, "is not percent-encoded correctly"))
}

/// Undoes percent-encoding; `None` when it is malformed or no UTF-8. A `+` stays one: an id cannot hold a space.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn deadlines() {
        let cases = [
            ("1", Some(1)),
            ("10000", Some(10_000)),
            ("00080", Some(80)),
            ("0", None),
            ("10001", None),
            ("-1", None),
            ("+5", None),
            ("5.0", None),
            ("", None),
            ("abc", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            let actual = budget(&headers(&[("x-deadline-ms", text)])).ok().flatten();
            assert_eq!(actual, expected.map(Duration::from_millis), "{text:?}");
        }
        assert_eq!(budget(&headers(&[])).ok(), Some(None));
        assert!(budget(&headers(&[("x-deadline-ms", "5"), ("x-deadline-ms", "6")])).is_err());
    }

    #[test]
    fn idempotency_keys() {
        let long = "k".repeat(129);
        for text in ["", "has space", &long] {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", text.parse().unwrap());
            assert_eq!(idempotency_key(&headers).unwrap_err().status(), 422, "{text:?}");
        }
        let key = idempotency_key(&headers(&[("idempotency-key", "k-1")])).unwrap().unwrap();
        assert_eq!(key.as_str(), "k-1");
    }

    #[test]
    fn media_types() {
        let cases = [
            (None, JSON_TYPES, true),
            (Some("application/json"), JSON_TYPES, true),
            (Some("Application/JSON; charset=UTF-8"), JSON_TYPES, true),
            (Some("application/json;charset=\"utf-8\""), JSON_TYPES, true),
            (Some("application/json; charset=latin1"), JSON_TYPES, false),
            (Some("text/json"), JSON_TYPES, false),
            (Some("application/x-www-form-urlencoded"), JSON_TYPES, false),
            (Some("application/x-ndjson"), JSON_TYPES, false),
            (Some("application/x-ndjson"), NDJSON_TYPES, true),
            (Some("application/json"), NDJSON_TYPES, false),
        ];
        for (text, types, expected) in cases {
            let headers = text.map_or_else(HeaderMap::new, |text| headers(&[("content-type", text)]));
            assert_eq!(check_content_type(&headers, types).is_ok(), expected, "{text:?}");
        }
        assert!(check_content_type(&headers(&[("content-encoding", "gzip")]), JSON_TYPES).is_err());
    }

    #[test]
    fn queries() {
        let cases = [
            (Some("transaction_id=pay_9_1"), Some("pay_9_1")),
            (Some("a=b&transaction_id=pay%2F9+1"), Some("pay/9+1")),
            (None, None),
            (Some("transaction_id="), None),
            (Some("transaction_id=a&transaction_id=b"), None),
            (Some("transaction_id=%zz"), None),
            (Some("transaction_id=%2"), None),
            (Some("transaction_id=%ff"), None),
            (Some("transaction_id=a%20b"), None),
        ];
        for (query, expected) in cases {
            let actual = transaction_id(query).ok().map(|id| id.as_str().to_owned());
            assert_eq!(actual.as_deref(), expected, "{query:?}");
        }
    }
}
