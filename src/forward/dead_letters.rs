//! What a target refuses for good, one JSON object a line, with the body as it lies in the log.
//!
//! The worker of a target appends, and `replay` takes the whole file away to send it again, also while the service runs: a lock file
//! stands between the two. What a crash leaves of a line is closed off by the next one, and stays where it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::frame::Kind;
use crate::audit::receipt::RecordHash;
use crate::domain::time::EventTime;
use crate::forward::cursors::FORWARD_DIRECTORY;
use crate::forward::entity::EntityKey;
use crate::forward::message::Message;
use crate::forward::settings::TargetName;

/// Longest line that is read, in bytes: the longest body, escaped, and what stands beside it.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    id: Box<str>,
    sequence: u64,
    kind: Kind,
    schema: u16,
    recorded_at: String,
    hash: RecordHash,
    key: EntityKey,
    refused_at: String,
    reason: String,
    body: String,
}

impl DeadLetter {
    /// Of a message that was refused.
    pub fn new(message: &Message, reason: &str, now: EventTime) -> io::Result<Self> {
        let body = std::str::from_utf8(&message.body).map_err(io::Error::other)?;
        Ok(Self {
            id: message.id.clone(),
            sequence: message.sequence,
            kind: message.kind,
            schema: message.schema,
            recorded_at: message.recorded_at.to_string(),
            hash: message.hash,
            key: message.key,
            refused_at: now.to_string(),
            reason: reason.to_owned(),
            body: body.to_owned(),
        })
    }

    /// The message again.
    pub fn message(self) -> io::Result<Message> {
        let recorded_at = EventTime::parse_rfc3339(&self.recorded_at).map_err(io::Error::other)?;
        Ok(Message {
            id: self.id,
            sequence: self.sequence,
            kind: self.kind,
            schema: self.schema,
            recorded_at,
            hash: self.hash,
            key: self.key,
            body: self.body.into_bytes(),
        })
    }
}

/// What became of a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buried {
    /// It is on stable storage.
    Written,
    /// There is no room for it.
    Full,
}

/// How many there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct DeadLetterCount {
    /// Lines.
    pub letters: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The dead letters of one target.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    file: PathBuf,
    /// What is being sent again.
    taken: PathBuf,
    lock: PathBuf,
}

impl DeadLetters {
    /// Those of a target; its directory must be there before any is written.
    pub fn of(data: &Path, name: &TargetName) -> Self {
        let file = |ending: &str| data.join(FORWARD_DIRECTORY).join(format!("{name}.dead.{ending}"));
        Self { file: file("ndjson"), taken: file("replay.ndjson"), lock: file("lock") }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Appends a letter if the files stay within `bytes_max`. Blocks until it is on stable storage.
    pub fn bury(&self, letter: &DeadLetter, bytes_max: u64) -> io::Result<Buried> {
        let _lock = self.lock()?;
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        let there = length(&self.file)? + length(&self.taken)?;
        if there + line.len() as u64 > bytes_max {
            return Ok(Buried::Full);
        }
        append(&self.file, &line)?;
        Ok(Buried::Written)
    }

    /// How many there are, as far as they can be read.
    pub fn count(&self) -> io::Result<DeadLetterCount> {
        let mut count = DeadLetterCount::default();
        for file in [&self.file, &self.taken] {
            let Some(file) = open(file)? else { continue };
            let mut reader = BufReader::new(file);
            loop {
                let (lines, bytes) = {
                    let part = reader.fill_buf()?;
                    (memchr::memchr_iter(b'\n', part).count(), part.len())
                };
                if bytes == 0 {
                    break;
                }
                reader.consume(bytes);
                count.letters += lines as u64;
                count.bytes += bytes as u64;
            }
        }
        Ok(count)
    }

    /// Takes all letters away, to be sent again: those that an earlier replay has left behind, and else the file. None when there are
    /// none. Letters that come from now on wait in a new file.
    pub fn take(&self) -> io::Result<Option<TakenLetters>> {
        let _lock = self.lock()?;
        if open(&self.taken)?.is_none() {
            match fs::rename(&self.file, &self.taken) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = open(&self.taken)? else { return Ok(None) };
        Ok(Some(TakenLetters { reader: BufReader::new(file), line: Vec::new() }))
    }

    /// Ends a replay: what is `left` goes back among the others.
    pub fn finish(&self, left: &[u8]) -> io::Result<()> {
        let _lock = self.lock()?;
        if !left.is_empty() {
            append(&self.file, left)?;
        }
        fs::remove_file(&self.taken)
    }

    /// Held until dropped, or the process ends.
    fn lock(&self) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.lock)?;
        file.lock()?;
        Ok(file)
    }
}

/// Letters on their way back.
#[derive(Debug)]
pub struct TakenLetters {
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl TakenLetters {
    /// The next line, and the message that it holds; none at the end. A line that holds none is an error of its own.
    #[expect(clippy::should_implement_trait, reason = "the line is borrowed")]
    pub fn next(&mut self) -> io::Result<Option<(&[u8], io::Result<Message>)>> {
        self.line.clear();
        if (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            self.line.push(b'\n');
        }
        let message = serde_json::from_slice::<DeadLetter>(&self.line).map_err(io::Error::from);
        let message = message.and_then(DeadLetter::message);
        Ok(Some((&self.line, message)))
    }
}

fn open(file: &Path) -> io::Result<Option<File>> {
    match File::open(file) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn length(file: &Path) -> io::Result<u64> {
    open(file)?.map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))
}

/// Begins on a line of its own, also after half a line.
fn append(file: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::entity::EntityHasher;

    fn letters(data: &Path) -> DeadLetters {
        fs::create_dir_all(data.join(FORWARD_DIRECTORY)).unwrap();
        DeadLetters::of(data, &TargetName::parse("a").unwrap())
    }

    fn message(sequence: u64) -> Message {
        let body = br#"{"merchant":"Caf\u00e9 \"\n\"","transaction":{}}"#.to_vec();
        Message {
            id: format!("log-{sequence}-00").into(),
            sequence,
            kind: Kind::Decision,
            schema: 1,
            recorded_at: EventTime::parse_rfc3339("2026-10-20T12:00:00.123Z").unwrap(),
            hash: RecordHash([9; 32]),
            key: EntityHasher::new([1; 32]).key(Kind::Decision, &body),
            body,
        }
    }

    fn bury(letters: &DeadLetters, sequence: u64, bytes_max: u64) -> Buried {
        let letter = DeadLetter::new(&message(sequence), "too long", EventTime::EPOCH).unwrap();
        letters.bury(&letter, bytes_max).unwrap()
    }

    fn taken(letters: &DeadLetters) -> Vec<Message> {
        let Some(mut taken) = letters.take().unwrap() else { return Vec::new() };
        let mut messages = Vec::new();
        while let Some((_, message)) = taken.next().unwrap() {
            messages.extend(message.ok());
        }
        messages
    }

    #[test]
    fn a_letter_comes_back_byte_for_byte() {
        let data = tempfile::tempdir().unwrap();
        let letters = letters(data.path());
        assert!(letters.take().unwrap().is_none());
        assert_eq!(bury(&letters, 1, 10_000), Buried::Written);
        assert_eq!(bury(&letters, 2, 10_000), Buried::Written);
        assert_eq!(letters.count().unwrap().letters, 2);
        assert_eq!(taken(&letters), [message(1), message(2)]);
    }

    #[test]
    fn its_bound_holds_also_for_what_is_being_replayed() {
        let data = tempfile::tempdir().unwrap();
        let letters = letters(data.path());
        assert_eq!(bury(&letters, 1, 100_000), Buried::Written);
        let one = letters.count().unwrap().bytes;
        assert_eq!(bury(&letters, 2, 2 * one), Buried::Written);
        assert_eq!(bury(&letters, 3, 2 * one), Buried::Full);
        let replay = letters.take().unwrap();
        assert_eq!(bury(&letters, 3, 2 * one), Buried::Full);
        drop(replay);
        letters.finish(b"").unwrap();
        assert_eq!(bury(&letters, 3, 2 * one), Buried::Written);
    }

    #[test]
    fn an_interrupted_replay_is_taken_up_and_half_a_line_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let letters = letters(data.path());
        bury(&letters, 1, 10_000);
        drop(letters.take().unwrap());
        bury(&letters, 2, 10_000);
        assert_eq!(taken(&letters), [message(1)], "what was taken comes first");
        letters.finish(b"").unwrap();
        let whole = fs::read(letters.file()).unwrap();
        fs::write(letters.file(), &whole[..whole.len() / 2]).unwrap();
        bury(&letters, 3, 10_000);
        let mut replay = letters.take().unwrap().unwrap();
        let (half, error) = replay.next().unwrap().unwrap();
        assert!(error.is_err() && whole.starts_with(&half[..half.len() - 1]));
        let half = half.to_vec();
        assert_eq!(replay.next().unwrap().unwrap().1.unwrap(), message(3));
        letters.finish(&half).unwrap();
        assert_eq!(fs::read(letters.file()).unwrap(), half);
    }
}
