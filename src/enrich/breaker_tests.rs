//! A table of events: what happens at which millisecond, and what the breaker does then.

use super::*;
use crate::domain::time::{Clock as _, SystemClock};

/// Half of at least 4 in 100 ms opens, for 50 ms; 2 probes.
const SETTINGS: BreakerSettings = BreakerSettings {
    failure_percent: 50,
    window: Duration::from_millis(100),
    requests_min: 4,
    open: Duration::from_millis(50),
    probes: 2,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// Asks: admitted, or not.
    Ask(bool),
    /// The oldest that is on its way succeeds, fails, or is given up.
    Success,
    Failure,
    GivenUp,
    /// The dependency gives a sign of life.
    Back,
}

use BreakerState::{Closed, HalfOpen, Open};
use Event::{Ask, Back, Failure, GivenUp, Success};

fn run(settings: BreakerSettings, name: &str, events: &[(u64, &[Event], BreakerState)]) -> BreakerView {
    let breaker = Breaker::new(settings);
    let began = SystemClock.instant();
    let mut on_their_way = std::collections::VecDeque::new();
    for (ms, events, state) in events {
        let now = began + Duration::from_millis(*ms);
        for event in *events {
            let mut oldest = || on_their_way.pop_front().expect("something is on its way");
            match event {
                Ask(expected) => {
                    let permit = breaker.admit(now);
                    assert_eq!(permit.is_some(), *expected, "{name}: {ms} ms");
                    on_their_way.extend(permit);
                }
                Success => Permit::succeeded(oldest(), now),
                Failure => Permit::failed(oldest(), now),
                GivenUp => drop::<Permit<'_>>(oldest()),
                Back => breaker.dependency_is_back(now),
            }
        }
        assert_eq!(breaker.view().state, *state, "{name}: {ms} ms");
    }
    breaker.view()
}

const GOOD: [Event; 2] = [Ask(true), Success];
const BAD: [Event; 2] = [Ask(true), Failure];
const FOUR_BAD: [Event; 8] = [Ask(true), Failure, Ask(true), Failure, Ask(true), Failure, Ask(true), Failure];

#[test]
fn events_and_states() {
    type Row<'a> = (u64, &'a [Event], BreakerState);
    let table: &[(&str, &[Row<'_>])] = &[
        ("too few to judge", &[(0, &BAD, Closed), (1, &BAD, Closed), (2, &BAD, Closed), (3, &BAD, Open)]),
        (
            "a share of failures opens, not a success after them",
            &[
                (0, &GOOD, Closed),
                (1, &GOOD, Closed),
                (2, &BAD, Closed),
                (3, &GOOD, Closed),
                (4, &BAD, Closed),
                (5, &BAD, Open),
            ],
        ),
        (
            "what is older than the window is forgotten",
            &[
                (0, &BAD, Closed),
                (1, &BAD, Closed),
                (2, &BAD, Closed),
                (120, &BAD, Closed),
                (121, &BAD, Closed),
            ],
        ),
        (
            "a long silence forgets everything",
            &[(0, &BAD, Closed), (1, &BAD, Closed), (2, &BAD, Closed), (100_000, &BAD, Closed)],
        ),
        (
            "open refuses, then a few probe, and as many successes close",
            &[
                (0, &FOUR_BAD, Open),
                (49, &[Ask(false)], Open),
                (50, &[Ask(true), Ask(true), Ask(false)], HalfOpen),
                (51, &[Success, Ask(false)], HalfOpen),
                (52, &[Success], Closed),
                (53, &[Ask(true)], Closed),
            ],
        ),
        (
            "one failed probe opens again, for as long",
            &[
                (0, &FOUR_BAD, Open),
                (50, &[Ask(true), Ask(true), Success, Failure], Open),
                (99, &[Ask(false)], Open),
                (100, &[Ask(true)], HalfOpen),
            ],
        ),
        (
            "a probe that is given up makes room for another",
            &[
                (0, &FOUR_BAD, Open),
                (50, &[Ask(true), Ask(true), Ask(false), GivenUp, Ask(true)], HalfOpen),
                (51, &[Success, Success], Closed),
            ],
        ),
        (
            "what was asked before it opened has no say afterwards",
            &[
                (0, &[Ask(true), Ask(true), Ask(true), Ask(true), Ask(true), Ask(true)], Closed),
                (1, &[Failure, Failure, Failure, Failure], Open),
                (51, &[Ask(true), Success, Failure], HalfOpen),
                (52, &[Success, Ask(true), Success], Closed),
            ],
        ),
        (
            "what was given up says nothing",
            &[(0, &[Ask(true), GivenUp, Ask(true), GivenUp, Ask(true), GivenUp], Closed), (1, &BAD, Closed)],
        ),
        (
            "a sign of life brings the probes forward, and no more",
            &[
                (0, &FOUR_BAD, Open),
                (10, &[Back], Open),
                (11, &[Ask(true), Ask(true), Ask(false), Success, Success], Closed),
                (12, &[Back, Ask(true)], Closed),
            ],
        ),
        (
            "closed again, it begins with an empty window",
            &[
                (0, &FOUR_BAD, Open),
                (50, &[Ask(true), Success, Ask(true), Success], Closed),
                (51, &BAD, Closed),
                (52, &BAD, Closed),
                (53, &BAD, Closed),
                (54, &BAD, Open),
            ],
        ),
    ];
    for (name, events) in table {
        run(SETTINGS, name, events);
    }
}

#[test]
fn transitions_and_refusals_are_counted() {
    let view = run(
        SETTINGS,
        "counts",
        &[
            (0, &FOUR_BAD, Open),
            (1, &[Ask(false), Ask(false)], Open),
            (50, &[Ask(true), Failure], Open),
            (100, &[Ask(true), Success, Ask(true), Success], Closed),
        ],
    );
    assert_eq!(view, BreakerView { state: Closed, transitions: [1, 2, 2], refused: 2 });
}

#[test]
fn a_breaker_that_never_opens_never_does() {
    run(
        BreakerSettings { failure_percent: 0, ..SETTINGS },
        "never",
        &[(0, &FOUR_BAD, Closed), (1, &FOUR_BAD, Closed)],
    );
}

/// Any order of events leaves it in a state from which successes lead to closed.
#[test]
fn it_always_finds_back() {
    let mut state = 7_u64;
    for _ in 0..2_000 {
        let breaker = Breaker::new(SETTINGS);
        let mut now = SystemClock.instant();
        let mut on_their_way = Vec::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now += Duration::from_millis((state >> 33) % 30);
            match (state >> 45) % 4 {
                0 | 1 => on_their_way.extend(breaker.admit(now)),
                2 => on_their_way.pop().into_iter().for_each(|permit: Permit<'_>| permit.failed(now)),
                _ => on_their_way.pop().into_iter().for_each(|permit: Permit<'_>| permit.succeeded(now)),
            }
        }
        on_their_way.clear();
        now += SETTINGS.open;
        for _ in 0..SETTINGS.probes {
            breaker.admit(now).into_iter().for_each(|permit| permit.succeeded(now));
        }
        assert_eq!(breaker.view().state, Closed);
    }
}
