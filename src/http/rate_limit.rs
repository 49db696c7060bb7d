//! How many requests each client may send: the generic cell rate algorithm (ITU-T I.371), which is a token bucket that needs one
//! number a client. A client is an API key; where there are no keys, an address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

/// Most addresses remembered. One more, and the one not seen for longest is forgotten: it begins with a full bucket again, which
/// gives nothing away, since by then it has been silent while that many others came.
pub const PEERS_MAX: usize = 65_536;

/// How much one client may send. No limit when `per_second` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests at once; at least 1.
    pub burst: u32,
}

/// What the limits can be told.
#[derive(Clone, Debug, Default)]
pub struct RateLimits {
    /// Of every client.
    pub default: Rate,
    /// Of single API keys, by name.
    pub keys: HashMap<Box<str>, Rate>,
}

/// Over the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limited {
    /// The limit.
    pub rate: Rate,
    /// When the next request is let through.
    pub retry_after: Duration,
}

impl Limited {
    /// The same in whole seconds, as the headers say it: at least 1.
    pub fn retry_after_s(&self) -> u32 {
        let whole = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        u32::try_from(whole.max(1)).unwrap_or(u32::MAX)
    }
}

/// A client's bucket: when it will be full again. Before its first request it is.
#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Lets one request through that costs `cost`; what it costs beyond one is a debt, which those after it wait for.
    fn take(&mut self, rate: Rate, now: Instant, cost: u32) -> Result<(), Limited> {
        if rate.per_second == 0 {
            return Ok(());
        }
        let interval = Duration::from_secs(1) / rate.per_second;
        let tolerance = interval * rate.burst.saturating_sub(1);
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let early = full_at.saturating_duration_since(now).saturating_sub(tolerance);
        if !early.is_zero() {
            return Err(Limited { rate, retry_after: early });
        }
        self.full_at = Some(full_at + interval * cost);
        Ok(())
    }

    fn owe(&mut self, rate: Rate, now: Instant, cost: u32) {
        if let Some(interval) = Duration::from_secs(1).checked_div(rate.per_second) {
            self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + interval * cost);
        }
    }
}

/// The buckets of all clients.
#[derive(Debug)]
pub struct RateLimiter {
    limits: RateLimits,
    is_off: bool,
    /// As many as there are keys.
    keys: Mutex<HashMap<Box<str>, Bucket>>,
    peers: Mutex<LruCache<IpAddr, Bucket>>,
    limited: AtomicU64,
}

impl RateLimiter {
    /// Nobody has sent anything yet.
    pub fn new(limits: RateLimits) -> Self {
        Self::with_peers_max(limits, PEERS_MAX)
    }

    fn with_peers_max(limits: RateLimits, peers_max: usize) -> Self {
        let is_off = limits.default.per_second == 0 && limits.keys.is_empty();
        let peers_max = NonZeroUsize::new(peers_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            limits,
            is_off,
            keys: Mutex::default(),
            peers: Mutex::new(LruCache::new(peers_max)),
            limited: AtomicU64::new(0),
        }
    }

    /// Lets one request of a client through at `now`: of the API key `key`, or of `peer` where there are no keys.
    pub fn take(&self, key: Option<&str>, peer: IpAddr, now: Instant) -> Result<(), Limited> {
        let result = self.with_bucket(key, peer, |rate, bucket| bucket.take(rate, now, 1)).unwrap_or(Ok(()));
        if result.is_err() {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Notes that a request which was let through held `more` than one decision. It is not refused for it: what comes after it waits.
    pub fn owe(&self, key: Option<&str>, peer: IpAddr, now: Instant, more: u32) {
        self.with_bucket(key, peer, |rate, bucket| bucket.owe(rate, now, more));
    }

    fn with_bucket<T>(
        &self,
        key: Option<&str>,
        peer: IpAddr,
        act: impl FnOnce(Rate, &mut Bucket) -> T,
    ) -> Option<T> {
        if self.is_off {
            return None;
        }
        let default = self.limits.default;
        let Some(key) = key else {
            return Some(act(default, self.peers.lock().get_or_insert_mut(network(peer), Bucket::default)));
        };
        let rate = self.limits.keys.get(key).copied().unwrap_or(default);
        let mut keys = self.keys.lock();
        Some(match keys.get_mut(key) {
            Some(bucket) => act(rate, bucket),
            None => act(rate, keys.entry(key.into()).or_default()),
        })
    }

    /// Requests refused.
    pub fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }

    /// Clients remembered.
    pub fn clients(&self) -> usize {
        self.keys.lock().len() + self.peers.lock().len()
    }
}

/// An IPv6 client has a whole /64 and could take another address for each request.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{Clock, SystemClock};

    #[test]
    fn who_may_send_what() {
        let rate = |per_second, burst| Rate { per_second, burst };
        let limits = |default, keys: &[(&str, Rate)]| RateLimits {
            default,
            keys: keys.iter().map(|(name, rate)| ((*name).into(), *rate)).collect(),
        };
        // (limits, [(at ms, key, peer, let through or ms to wait)])
        type Step = (u64, Option<&'static str>, &'static str, Result<(), u64>);
        let facts: [(&str, RateLimits, &[Step]); 6] = [
            ("no limit", limits(rate(0, 0), &[]), &[(0, None, "::1", Ok(())), (0, None, "::1", Ok(()))]),
            (
                "one at a time",
                limits(rate(10, 1), &[]),
                &[
                    (0, None, "10.0.0.1", Ok(())),
                    (0, None, "10.0.0.1", Err(100)),
                    (0, None, "10.0.0.2", Ok(())),
                    (60, None, "10.0.0.1", Err(40)),
                    (100, None, "10.0.0.1", Ok(())),
                    (199, None, "10.0.0.1", Err(1)),
                ],
            ),
            (
                "a burst, and what comes back",
                limits(rate(10, 3), &[]),
                &[
                    (0, None, "10.0.0.1", Ok(())),
                    (0, None, "10.0.0.1", Ok(())),
                    (0, None, "10.0.0.1", Ok(())),
                    (0, None, "10.0.0.1", Err(100)),
                    (100, None, "10.0.0.1", Ok(())),
                    (100, None, "10.0.0.1", Err(100)),
                    (9_000, None, "10.0.0.1", Ok(())),
                    (9_000, None, "10.0.0.1", Ok(())),
                    (9_000, None, "10.0.0.1", Ok(())),
                    (9_000, None, "10.0.0.1", Err(100)),
                ],
            ),
            (
                "keys have limits of their own, wherever they come from",
                limits(rate(1, 1), &[("big", rate(1_000, 2)), ("free", rate(0, 0))]),
                &[
                    (0, Some("small"), "10.0.0.1", Ok(())),
                    (0, Some("small"), "10.0.0.2", Err(1_000)),
                    (0, Some("big"), "10.0.0.1", Ok(())),
                    (0, Some("big"), "10.0.0.1", Ok(())),
                    (0, Some("big"), "10.0.0.1", Err(1)),
                    (0, Some("free"), "10.0.0.1", Ok(())),
                    (0, Some("free"), "10.0.0.1", Ok(())),
                ],
            ),
            (
                "addresses of one network are one client",
                limits(rate(1, 1), &[]),
                &[
                    (0, None, "2001:db8::1", Ok(())),
                    (0, None, "2001:db8::2", Err(1_000)),
                    (0, None, "2001:db8:0:1::1", Ok(())),
                    (0, None, "10.0.0.1", Ok(())),
                    (0, None, "::ffff:10.0.0.1", Err(1_000)),
                ],
            ),
            (
                "at the bound the one not seen for longest begins anew",
                limits(rate(1, 1), &[]),
                &[
                    (0, None, "10.0.0.1", Ok(())),
                    (0, None, "10.0.0.2", Ok(())),
                    (0, None, "10.0.0.3", Ok(())),
                    (0, None, "10.0.0.4", Ok(())),
                    (0, None, "10.0.0.4", Err(1_000)),
                    (0, None, "10.0.0.1", Ok(())),
                ],
            ),
        ];
        for (what, limits, steps) in facts {
            let limiter = RateLimiter::with_peers_max(limits, 3);
            let start = SystemClock.instant();
            for (number, (at_ms, key, peer, expected)) in steps.iter().enumerate() {
                let now = start + Duration::from_millis(*at_ms);
                let actual = limiter.take(*key, peer.parse().unwrap(), now);
                let actual = actual.map_err(|limited| limited.retry_after.as_millis() as u64);
                assert_eq!(actual, *expected, "{what}, step {number}");
            }
            assert!(limiter.clients() <= 3, "{what}");
        }
    }

    #[test]
    fn a_batch_is_a_debt() {
        let rate = Rate { per_second: 10, burst: 5 };
        let limiter = RateLimiter::new(RateLimits { default: rate, ..RateLimits::default() });
        let (now, peer) = (SystemClock.instant(), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(limiter.take(None, peer, now), Ok(()));
        limiter.owe(None, peer, now, 99);
        let limited = limiter.take(None, peer, now).unwrap_err();
        assert_eq!((limited.retry_after, limited.retry_after_s()), (Duration::from_millis(9_600), 10));
        assert_eq!(limiter.take(None, peer, now + limited.retry_after), Ok(()));
    }
}
