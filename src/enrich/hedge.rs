//! A second question where the first one's answer is late, over another connection: after "The Tail at Scale" (Dean and Barroso, CACM
//! 2013). Whichever is answered well first is the answer; the other is not waited for.
//!
//! It helps where one connection is late and another is not: a lost segment, a stalled proxy, a reply behind a long one. Where the server
//! itself is late it only adds to its work, so that a bucket bounds how many questions are asked twice, also while all are late.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::timeout;

/// A whole token of the bucket: what one second question costs. Each fetch adds `share_percent` of these.
const TOKEN: u64 = 100;
/// Most second questions at once after a calm time, in tokens.
const BURST_MAX: u64 = 10 * TOKEN;
/// Share of fetches that may ask twice, in percent, unless config says otherwise: `delay` belongs where as many are later anyway.
pub const SHARE_PERCENT_DEFAULT: u8 = 5;

/// When to ask a second time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HedgeSettings {
    /// How late an answer must be; zero: never.
    pub delay: Duration,
    /// Share of fetches that may, in percent.
    pub share_percent: u8,
}

impl HedgeSettings {
    /// Unless config says otherwise.
    pub const DEFAULT: Self = Self { delay: Duration::ZERO, share_percent: SHARE_PERCENT_DEFAULT };
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Hedge {
    settings: HedgeSettings,
    tokens: AtomicU64,
}

/// Which of two answers was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answered {
    /// The first question's answer was taken.
    ByFirst,
    /// The second question's answer was taken.
    BySecond,
}

impl Hedge {
    /// A full bucket.
    pub(super) const fn new(settings: HedgeSettings) -> Self {
        Self { settings, tokens: AtomicU64::new(BURST_MAX) }
    }

    /// How long to wait for the first answer, where `wait` is all that there is; none where nobody asks twice.
    pub(super) fn delay(&self, wait: Duration) -> Option<Duration> {
        let HedgeSettings { delay, share_percent } = self.settings;
        if delay.is_zero() || share_percent == 0 || delay >= wait {
            return None;
        }
        let fill = |tokens: u64| Some(tokens.saturating_add(u64::from(share_percent)).min(BURST_MAX));
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill);
        Some(delay)
    }

    /// Leave to ask once more.
    pub(super) fn take(&self) -> bool {
        let spend = |tokens: u64| tokens.checked_sub(TOKEN);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

/// Waits for `first`, and when it has not come after `delay` also for what `second` then asks, if it does. A bad answer does not count
/// while the other may still come.
pub(super) async fn race<T, S: Future<Output = T>>(
    delay: Option<Duration>,
    first: impl Future<Output = T>,
    second: impl FnOnce() -> Option<S>,
    is_good: impl Fn(&T) -> bool,
) -> (Answered, T) {
    let mut first = pin!(first);
    let Some(delay) = delay else { return (Answered::ByFirst, first.await) };
    if let Ok(answer) = timeout(delay, first.as_mut()).await {
        return (Answered::ByFirst, answer);
    }
    let Some(second) = second() else { return (Answered::ByFirst, first.await) };
    match select(first, pin!(second)).await {
        Either::Left((answer, _)) if is_good(&answer) => (Answered::ByFirst, answer),
        Either::Left((_, second)) => (Answered::BySecond, second.await),
        Either::Right((answer, _)) if is_good(&answer) => (Answered::BySecond, answer),
        Either::Right((_, first)) => (Answered::ByFirst, first.await),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::yield_now;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Comes when the moment of the second question is there, and then after so many turns.
    async fn late(moment: &Cell<bool>, turns: u32, answer: u32) -> u32 {
        while !moment.get() {
            yield_now().await;
        }
        for _ in 0..turns {
            yield_now().await;
        }
        answer
    }

    #[tokio::test]
    async fn the_first_good_answer_wins() {
        use Answered::{ByFirst, BySecond};
        /// How many turns after the delay (none: at once), and what: a number below 100 is a good answer.
        type Reply = (Option<u32>, u32);
        /// Whether there is a delay, the first, the second where one is asked, who answers what.
        type Fact = (bool, Reply, Option<Reply>, (Answered, u32));
        let facts: [Fact; 9] = [
            (false, (None, 1), Some((Some(0), 2)), (ByFirst, 1)),
            (true, (None, 1), Some((Some(0), 2)), (ByFirst, 1)),
            (true, (None, 100), Some((Some(0), 2)), (ByFirst, 100)),
            (true, (Some(5), 1), None, (ByFirst, 1)),
            (true, (Some(50), 1), Some((Some(1), 2)), (BySecond, 2)),
            (true, (Some(2), 1), Some((Some(9), 2)), (ByFirst, 1)),
            (true, (Some(2), 100), Some((Some(9), 2)), (BySecond, 2)),
            (true, (Some(50), 1), Some((Some(9), 100)), (ByFirst, 1)),
            (true, (Some(2), 100), Some((Some(9), 200)), (BySecond, 200)),
        ];
        for (hedged, first, second, expected) in facts {
            let moment = Cell::new(false);
            let reply = async |(turns, answer): Reply| match turns {
                None => answer,
                Some(turns) => late(&moment, turns, answer).await,
            };
            let ask = || {
                moment.set(true);
                second.map(reply)
            };
            let is_good = |answer: &u32| *answer < 100;
            let actual = race(hedged.then_some(MS), reply(first), ask, is_good).await;
            assert_eq!(actual, expected, "{hedged} {first:?} {second:?}");
        }
    }

    #[test]
    fn only_a_share_asks_twice() {
        let settings = HedgeSettings { delay: 2 * MS, share_percent: 5 };
        let hedge = Hedge::new(settings);
        let asked_twice = |fetches: u32| {
            (0..fetches).filter(|_| hedge.delay(20 * MS).is_some() && hedge.take()).count() as u64
        };
        // The bucket begins full, so that it takes nothing for the first fetch.
        assert_eq!(asked_twice(10_000), BURST_MAX / TOKEN + 499, "all are late: a burst, then a twentieth");
        for _ in 0..10_000 {
            hedge.delay(20 * MS);
        }
        assert_eq!(asked_twice(20), BURST_MAX / TOKEN, "a calm time is not saved up for more than a burst");

        for (off, wait) in [
            (HedgeSettings::DEFAULT, 20 * MS),
            (HedgeSettings { share_percent: 0, ..settings }, 20 * MS),
            (settings, 2 * MS),
        ] {
            assert_eq!(Hedge::new(off).delay(wait), None, "{off:?} {wait:?}");
        }
    }
}
