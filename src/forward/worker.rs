//! One target's work: reads the next records, sends them until the target has them, and only then goes on.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::audit::damage::ReadError;
use crate::audit::follow::{Ending, Follower, Work};
use crate::domain::time::Clock;
use crate::forward::dead_letters::{Buried, DeadLetter, DeadLetters};
use crate::forward::entity::EntityHasher;
use crate::forward::message::Message;
use crate::forward::retry::Backoff;
use crate::forward::settings::{TargetSettings, WhenFull};
use crate::forward::sink::{Fate, SendError, Sink};
use crate::forward::status::TargetStatus;

/// Most bytes of one batch; the message that reaches it is the last.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Most records that are read for one batch, when most of them are of kinds that are not sent.
const READ_RECORDS_MAX: usize = 8_192;

/// What is done for one target.
pub(super) struct Worker {
    settings: TargetSettings,
    sink: Box<dyn Sink>,
    hasher: EntityHasher,
    letters: DeadLetters,
    status: Arc<TargetStatus>,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    last_reason: String,
}

/// What was read.
struct Batch {
    messages: Vec<Message>,
    /// The first record that was read, which may be later than the next: when that one is gone.
    first: u64,
    /// The last one.
    last: u64,
}

impl Worker {
    pub(super) fn new(
        settings: TargetSettings,
        sink: Box<dyn Sink>,
        hasher: EntityHasher,
        letters: DeadLetters,
        status: Arc<TargetStatus>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let backoff = Backoff::default();
        Self { settings, sink, hasher, letters, status, clock, backoff, last_reason: String::new() }
    }

    fn read(&self, follower: &mut Follower, settled: u64) -> Result<Batch, ReadError> {
        let log = follower.log().to_owned();
        let (mut messages, mut bytes, mut first) = (Vec::new(), 0_usize, None);
        let last = follower.read(settled, READ_RECORDS_MAX, |record| {
            first.get_or_insert(record.header.sequence);
            if self.settings.wants(record.header.kind) {
                let message = Message::new(&log, record, &self.hasher);
                bytes += message.bytes();
                messages.push(message);
            }
            messages.len() < self.settings.batch_records_max && bytes < BATCH_BYTES_MAX
        })?;
        Ok(Batch { messages, first: first.unwrap_or(last), last })
    }

    /// Sends until the target has said what became of each message; none when the thread is asked to end first, or the target has
    /// lost what it had.
    fn send(&mut self, follower: &mut Follower, messages: &[Message], ending: &Ending) -> Option<Vec<Fate>> {
        loop {
            match self.sink.send(follower.mark().unwrap_or(0), messages) {
                Ok(fates) => {
                    self.went_well();
                    return Some(fates);
                }
                Err(SendError::Behind { holds }) => {
                    self.go_back(follower, holds);
                    return None;
                }
                Err(SendError::Outage(reason)) => {
                    self.failed(&reason);
                    if ending.is_asked() {
                        return None;
                    }
                    ending.pause(self.backoff.next());
                }
            }
        }
    }

    /// The target is to get again what it has lost.
    fn go_back(&self, follower: &mut Follower, holds: u64) {
        let done = follower.done();
        let back = holds.max(done.saturating_sub(self.settings.resend_records_max));
        let records = done.saturating_sub(back);
        warn!(forward = %self.settings.name, done, holds, records, "a target of forwarding has lost records; they are sent again");
        self.status.count_resent(records);
        follower.set_mark(holds);
        follower.back_to(back);
    }

    /// Puts a refused message among the dead letters, and waits until there is room; `false` when the thread is asked to end first.
    fn bury_in_the_end(&mut self, message: &Message, reason: &str, ending: &Ending) -> bool {
        loop {
            match self.bury(message, reason) {
                Ok(()) => {
                    self.went_well();
                    return true;
                }
                Err(trouble) => self.failed(&trouble),
            }
            if ending.is_asked() {
                return false;
            }
            ending.pause(self.backoff.next());
        }
    }

    /// Says what stands in the way.
    fn bury(&self, message: &Message, reason: &str) -> Result<(), String> {
        let (target, sequence, file) = (&self.settings.name, message.sequence, self.letters.file().display());
        let letter = DeadLetter::new(message, reason, self.clock.now());
        let buried = letter.and_then(|it| self.letters.bury(&it, self.settings.dead_letters_bytes_max));
        match buried {
            Ok(Buried::Written) => {
                if self.status.count_dead().is_power_of_two() {
                    error!(forward = %target, sequence, reason, %file, "a record is refused and stands among the dead letters");
                }
                Ok(())
            }
            Ok(Buried::Full) if self.settings.on_dead_letters_full == WhenFull::Drop => {
                if self.status.count_dropped().is_power_of_two() {
                    error!(forward = %target, sequence, reason, %file, "a record is refused and left out: the dead-letter file is full");
                }
                Ok(())
            }
            Ok(Buried::Full) => Err(format!(
                "record {sequence} is refused ({reason}), and the dead-letter file {file} is full; send the letters again \
                 (tollgate audit forward --replay-dead {target}) or move the file away"
            )),
            Err(error) => {
                Err(format!("record {sequence} is refused ({reason}), and {file} cannot be written: {error}"))
            }
        }
    }

    fn went_well(&mut self) {
        if self.backoff.failures() > 0 {
            info!(forward = %self.settings.name, failures = self.backoff.failures(), "a target of forwarding takes records again");
        }
        self.backoff.reset();
        self.last_reason.clear();
        self.status.went_well();
    }

    fn failed(&mut self, reason: &str) {
        self.status.failed(reason);
        let failures = self.backoff.failures() + 1;
        if failures.is_power_of_two() || reason != self.last_reason {
            warn!(forward = %self.settings.name, place = %self.settings.destination, reason, failures, "a target of forwarding takes nothing; trying on");
            reason.clone_into(&mut self.last_reason);
        }
    }
}

impl Work for Worker {
    fn round(&mut self, follower: &mut Follower, settled: u64, ending: &Ending) -> Result<(), ReadError> {
        self.status.set_done(follower.done());
        if follower.done() >= settled {
            self.status.waits_since(None);
            return Ok(());
        }
        let batch = self.read(follower, settled)?;
        self.status.waits_since(batch.messages.first().map(|message| message.recorded_at));
        let fates = if batch.messages.is_empty() {
            Vec::new()
        } else {
            match self.send(follower, &batch.messages, ending) {
                Some(fates) => fates,
                None => {
                    follower.again();
                    return Ok(());
                }
            }
        };
        // A new target begins with the oldest record that there is: it has missed none.
        let missed = if follower.done() == 0 { 0 } else { batch.first.saturating_sub(follower.done() + 1) };
        for (message, fate) in batch.messages.iter().zip(fates) {
            match fate {
                Fate::Taken => self.status.count_sent(1, 0),
                Fate::Repeated => self.status.count_sent(0, 1),
                Fate::Refused(reason) => {
                    if !self.bury_in_the_end(message, &reason, ending) {
                        follower.is_done(message.sequence - 1);
                        follower.again();
                        return Ok(());
                    }
                    continue;
                }
            }
            follower.set_mark(message.sequence.max(follower.mark().unwrap_or(0)));
        }
        if missed > 0 {
            error!(forward = %self.settings.name, missed, "records were gone with their segment of the log before they were sent");
            self.status.count_missed(missed);
        }
        follower.is_done(batch.last);
        self.status.set_done(batch.last);
        Ok(())
    }
}
