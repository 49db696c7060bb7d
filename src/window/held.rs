//! The history of one key, ordinary or busy.

use crate::window::block::insert::{Full, Incoming, add_flags, insert, new_block};
use crate::window::block::look_up::LookUp;
use crate::window::block::view::View;
use crate::window::busy::history::Busy;
use crate::window::compiled::EntityPlan;
use crate::window::context::KeyContext;
use crate::window::event::{Present, flag, outcome_flag};
use crate::window::layout::OutcomeStream;
use crate::window::read::read_block;

/// The history of one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// Of an ordinary key; empty stands for no key.
    Block(Box<[u8]>),
    /// Of a busy one.
    Busy(Box<Busy>),
}

/// How the number of events in blocks changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) added: u64,
    pub(crate) expired: u64,
    /// The key has become busy.
    pub(crate) is_promoted: bool,
}

impl Held {
    /// No key.
    pub(crate) fn nothing() -> Self {
        Self::Block(Box::default())
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Block(block) if block.is_empty())
    }

    /// A key that is first seen with this event.
    pub(crate) fn first(check_bits: u32, incoming: &Incoming<'_>, context: &KeyContext) -> Self {
        let mut held = Self::Block(new_block(check_bits, incoming, context.stride()));
        held.add(incoming, &held.look_up(incoming.values, context), context);
        held
    }

    /// Where the values of an event stand in the block of an ordinary key.
    pub(crate) fn look_up(&self, values: &[u32], context: &KeyContext) -> LookUp {
        match self {
            Self::Block(block) if !values.is_empty() => View::new(block, context.stride()).look_up(values),
            _ => LookUp::new(),
        }
    }

    pub(crate) fn check_bits(&self, context: &KeyContext) -> u32 {
        match self {
            Self::Block(block) => View::new(block, context.stride()).check_bits(),
            Self::Busy(busy) => busy.check_bits(),
        }
    }

    /// The time of the latest event of any kind.
    pub(crate) fn last_at(&self, context: &KeyContext) -> i64 {
        match self {
            Self::Block(block) => View::new(block, context.stride()).last_at(),
            Self::Busy(busy) => busy.last_at(),
        }
    }

    fn newest_attempt_at(&self, context: &KeyContext) -> Option<i64> {
        match self {
            Self::Block(block) => View::new(block, context.stride()).newest_attempt_at(),
            Self::Busy(busy) => busy.newest_attempt_at(),
        }
    }

    /// Events known by themselves in a block.
    pub(crate) fn events(&self, context: &KeyContext) -> u64 {
        match self {
            Self::Block(block) => View::new(block, context.stride()).len() as u64,
            Self::Busy(_) => 0,
        }
    }

    /// Whether an event at that time is more than the longest window behind the newest attempt.
    pub(crate) fn is_late(&self, at: i64, context: &KeyContext) -> bool {
        self.newest_attempt_at(context).is_some_and(|newest| newest - at > context.spans.longest_ms)
    }

    /// Whether so much time has passed that the key counts as never seen.
    pub(crate) fn is_forgotten(&self, at: i64, context: &KeyContext) -> bool {
        at - self.last_at(context) > context.spans.forgotten_after_ms()
    }

    /// Reads as of the present attempt, whose values have been looked up.
    pub(crate) fn read(
        &self,
        (present, look_up): (&Present<'_>, &LookUp),
        plan: &EntityPlan,
        context: &KeyContext,
        out: &mut [f64],
    ) {
        match self {
            Self::Block(block) => {
                let view = View::new(block, context.stride());
                read_block(view, (present, look_up), plan, context.spans, out);
            }
            Self::Busy(busy) => busy.read(present, plan, context.spans, out),
        }
    }

    /// Adds an event, which is not late and whose values have been looked up.
    pub(crate) fn add(&mut self, incoming: &Incoming<'_>, look_up: &LookUp, context: &KeyContext) -> Added {
        let (stride, limits) = (context.stride(), &context.limits);
        match self {
            Self::Busy(busy) => {
                busy.add(incoming, context);
                Added::default()
            }
            Self::Block(block) => {
                let newest = View::new(block, stride).newest_attempt_at();
                let newest =
                    if incoming.flags & flag::ATTEMPT == 0 { newest } else { newest.max(Some(incoming.at)) };
                let until = newest.map_or(i64::MIN, |newest| newest - context.spans.retention_ms());
                match insert(block, stride, limits.block_events_max, until, (incoming, look_up)) {
                    Ok(expired) => Added { added: 1, expired: expired as u64, is_promoted: false },
                    Err((expired, Full)) => {
                        let view = View::new(block, stride);
                        let events = (expired + view.len()) as u64;
                        let mut busy = Box::new(Busy::of_block(view, context));
                        busy.add(incoming, context);
                        *self = Self::Busy(busy);
                        Added { added: 0, expired: events, is_promoted: true }
                    }
                }
            }
        }
    }

    /// Records how a transaction ended, which is not late.
    pub(crate) fn add_outcome(
        &mut self,
        stream: OutcomeStream,
        incoming: &Incoming<'_>,
        context: &KeyContext,
    ) -> Added {
        match self {
            Self::Busy(busy) => {
                busy.add_outcome(stream, incoming, context);
                Added::default()
            }
            Self::Block(block) => {
                let &Incoming { at, minor, currency, tag, .. } = incoming;
                let view = View::new(block, context.stride());
                // Of true twins, one that has not ended yet.
                let is_open = |flags| flags & (flag::ATTEMPT | outcome_flag(stream)) == flag::ATTEMPT;
                if let Some(own) = view.find(at, (minor, currency, tag), is_open) {
                    add_flags(block, context.stride(), own, outcome_flag(stream));
                    return Added::default();
                }
                // Its attempt is not held, as the key was evicted meanwhile: the outcome stands alone.
                let alone = Incoming { flags: outcome_flag(stream), place: None, values: &[], ..*incoming };
                self.add(&alone, &LookUp::new(), context)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_two_words() {
        assert_eq!(size_of::<Held>(), 16);
    }
}
