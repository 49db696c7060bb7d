//! API keys: who may call which port.
//!
//! Only hashes of keys are kept, and they are compared in constant time, so that neither memory nor timing gives a key away.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use thiserror::Error;

use crate::http::options::API_KEYS_MAX;
use crate::http::problem::{Problem, ProblemKind};

/// Shortest key that is accepted, in bytes: 128 bits in hexadecimal are 32.
pub const KEY_BYTES_MIN: usize = 16;
/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// A key that is not good enough.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApiKeyError {
    /// Too short or too long.
    #[error("the API key \"{name}\" must be {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes long, is {actual}")]
    Length {
        /// Whose key.
        name: String,
        /// Its length in bytes.
        actual: usize,
    },
    /// Cannot be sent in a header.
    #[error("the API key \"{name}\" must be visible ASCII characters only")]
    Malformed {
        /// Whose key.
        name: String,
    },
    /// More keys than a port takes.
    #[error("a port takes at most {API_KEYS_MAX} API keys, {actual} are configured")]
    TooMany {
        /// How many there are.
        actual: usize,
    },
}

/// One key, by name and hash.
#[derive(Clone)]
pub struct ApiKey {
    name: Box<str>,
    hash: blake3::Hash,
}

impl ApiKey {
    /// A key of 16..=512 visible ASCII characters; `name` says whose it is and appears in logs.
    pub fn new(name: &str, key: &str) -> Result<Self, ApiKeyError> {
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(ApiKeyError::Length { name: name.to_owned(), actual: key.len() });
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiKeyError::Malformed { name: name.to_owned() });
        }
        Ok(Self { name: name.into(), hash: blake3::hash(key.as_bytes()) })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.name)
    }
}

/// Which port a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortName {
    /// The port that gateways call.
    Decision,
    /// The port that operators call.
    Admin,
}

impl PortName {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Admin => "admin",
        }
    }
}

/// The keys of both ports. A port without keys is open to everybody who can reach it.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    decision: Vec<ApiKey>,
    admin: Vec<ApiKey>,
}

impl ApiKeys {
    /// The keys of the decision port and of the admin port, at most 64 each, as `NAME:KEY` or `KEY`. The name says in logs
    /// whose key it is; without one it is the key's place in its list.
    pub fn new(decision: &[String], admin: &[String]) -> Result<Self, ApiKeyError> {
        Ok(Self { decision: parse(PortName::Decision, decision)?, admin: parse(PortName::Admin, admin)? })
    }

    /// Lets a request pass, with the name of its key (`None` when the port is open), or says 401 or 403.
    pub fn authorize(&self, port: PortName, headers: &HeaderMap) -> Result<Option<&str>, Problem> {
        let (own, other) = match port {
            PortName::Decision => (&self.decision, &self.admin),
            PortName::Admin => (&self.admin, &self.decision),
        };
        if own.is_empty() {
            return Ok(None);
        }
        let Some(presented) = bearer(headers) else {
            return Err(Problem::new(
                ProblemKind::Unauthorized,
                "send the API key in the header Authorization: Bearer <key>",
            )
            .authenticate("Bearer realm=\"tollgate\""));
        };
        let hash = blake3::hash(presented.as_bytes());
        if let Some(name) = find(own, &hash) {
            return Ok(Some(name));
        }
        if find(other, &hash).is_some() {
            return Err(Problem::new(ProblemKind::Forbidden, "this API key is for the other port"));
        }
        Err(Problem::new(ProblemKind::Unauthorized, "this API key is not known")
            .authenticate("Bearer realm=\"tollgate\", error=\"invalid_token\""))
    }
}

fn parse(port: PortName, texts: &[String]) -> Result<Vec<ApiKey>, ApiKeyError> {
    if texts.len() > API_KEYS_MAX {
        return Err(ApiKeyError::TooMany { actual: texts.len() });
    }
    texts
        .iter()
        .zip(1..)
        .map(|(text, number)| match text.split_once(':') {
            Some((name, key)) => ApiKey::new(name, key),
            None => ApiKey::new(&format!("{} key {number}", port.name()), text),
        })
        .collect()
}

/// Compares with every key, whichever matches, so that the time taken does not say which one did.
fn find<'a>(keys: &'a [ApiKey], hash: &blake3::Hash) -> Option<&'a str> {
    let mut found = None;
    for key in keys {
        // `blake3::Hash` compares in constant time.
        if key.hash == *hash {
            found = Some(&*key.name);
        }
    }
    found
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_call_what() {
        let decision = ["gateway:gateway-key-0123456789".to_owned(), "other-key-0123456789".to_owned()];
        let keys = ApiKeys::new(&decision, &["operator:operator-key-0123456789".to_owned()]).unwrap();
        let cases = [
            (PortName::Decision, Some("Bearer gateway-key-0123456789"), Ok(Some("gateway"))),
            (PortName::Decision, Some("bearer  other-key-0123456789"), Ok(Some("decision key 2"))),
            (PortName::Decision, None, Err(401)),
            (PortName::Decision, Some("Bearer"), Err(401)),
            (PortName::Decision, Some("Bearer "), Err(401)),
            (PortName::Decision, Some("Basic Z2F0ZXdheQ=="), Err(401)),
            (PortName::Decision, Some("Bearer gateway-key-012345678"), Err(401)),
            (PortName::Decision, Some("Bearer operator-key-0123456789"), Err(403)),
            (PortName::Admin, Some("Bearer operator-key-0123456789"), Ok(Some("operator"))),
            (PortName::Admin, Some("Bearer gateway-key-0123456789"), Err(403)),
        ];
        for (port, header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, header.parse().unwrap());
            }
            let actual = keys.authorize(port, &headers).map_err(|problem| problem.status().as_u16());
            assert_eq!(actual, expected, "{port:?} {header:?}");
        }
        assert_eq!(
            ApiKeys::default().authorize(PortName::Admin, &HeaderMap::new()).map_err(|_| ()),
            Ok(None)
        );
    }

    #[test]
    fn weak_keys_are_refused_and_no_key_is_shown() {
        assert!(matches!(ApiKey::new("a", "short"), Err(ApiKeyError::Length { actual: 5, .. })));
        assert!(matches!(ApiKey::new("a", "with space in the key"), Err(ApiKeyError::Malformed { .. })));
        let key = ApiKey::new("a", "gateway-key-0123456789").unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(a)");
    }
}
