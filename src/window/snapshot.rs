//! Writing a store down while it is used, and reading it back.
//!
//! A snapshot holds what the store held at one moment: that of `begin_snapshot`. From then on, whoever changes a key writes it
//! down first as it was; the writer takes the others, some at a time, each time under a short lock. So traffic goes on, and
//! nothing is copied twice. A store that is read back gives the same answers as the one that was written, and evicts the same
//! keys in the same order.
//!
//! # The format, version 2
//!
//! `MAGIC`, the version (u32), then frames (`frame`); all little-endian.
//!
//! | kind | content |
//! |---|---|
//! | 1 header, once, first | postcard: layout, digest of the currency table, numbers of shards |
//! | 2 keys | entity (u16), shard (u32), then for each key: hash and marks (u32), activity (u32), length (u32, its highest bit for a busy key), the block as it is in memory, or the busy key as postcard |
//! | 3 shard, after its keys | entity (u16), shard (u32), postcard: what the shard knows besides its keys |
//! | 4 end, last | keys (u64) |
//!
//! A file of another version, of another layout or with a damaged frame is refused; then the log is the truth.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::money::Currency;
use crate::window::frame::{Frame, FrameError, read_u32, write_frame};
use crate::window::layout::Layout;
use crate::window::limits::Limits;
use crate::window::saving::{HandedOver, decode};
use crate::window::shard::ShardState;
use crate::window::store::WindowStore;
use crate::window::sync::mpsc::{Receiver, sync_channel};
use crate::window::sync::thread;

/// What a snapshot begins with.
const MAGIC: [u8; 16] = *b"tollgate windows";
/// The version that is written, and the only one that is read.
const VERSION: u32 = 2;
/// Keys are gathered up to so many bytes to a frame.
const FRAME_BYTES: usize = 1 << 18;
/// Frames on their way from the reader to a thread that decodes them.
const FRAMES_QUEUED_MAX: usize = 16;
/// Threads that decode.
const THREADS: usize = 2;

const HEADER: u8 = 1;
const KEYS: u8 = 2;
const SHARD: u8 = 3;
const END: u8 = 4;

/// Why a snapshot cannot be read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// It ends too early, or the disk fails.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("this is no snapshot of windows")]
    NotASnapshot,
    /// Another version.
    #[error("the snapshot is of version {found}; this program reads version {VERSION}")]
    Version {
        /// Which.
        found: u32,
    },
    /// Another layout.
    #[error("the snapshot is of other entities, windows or streams than the catalogue asks for: {0}")]
    OtherLayout(String),
    /// Another table of currencies.
    #[error("the snapshot was written by a program with another list of currencies")]
    OtherCurrencies,
    /// Bytes that were not written like that.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
}

impl From<FrameError> for SnapshotError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
            FrameError::Damaged(what) => Self::Damaged(what),
        }
    }
}

/// How large a snapshot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SnapshotSize {
    /// Keys of all entities.
    pub keys: u64,
    /// Bytes.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    layout: Layout,
    currencies: Box<str>,
    /// How many shards each entity has: a key's place depends on it.
    shards: Vec<usize>,
}

/// A snapshot that has begun. Dropped before it is written, it is given up.
#[derive(Debug)]
pub struct Snapshot<'s> {
    store: &'s WindowStore,
    epoch: u32,
    is_done: bool,
}

impl WindowStore {
    /// Begins a snapshot of what the store holds now; `None` while another one is being written. Takes microseconds. For a
    /// snapshot that holds each transaction at all of its keys or at none, no `observe` or other change may be under way: call it
    /// where changes are ordered.
    pub fn begin_snapshot(&self) -> Option<Snapshot<'_>> {
        if self.is_saving.swap(true, Ordering::AcqRel) {
            return None;
        }
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        Some(Snapshot { store: self, epoch, is_done: false })
    }

    /// Reads a snapshot back into a new store with this layout.
    pub fn restore(
        layout: Arc<Layout>,
        input: &mut impl Read,
    ) -> Result<(Self, SnapshotSize), SnapshotError> {
        Self::restore_with_limits(layout, Limits::default(), input)
    }

    pub(crate) fn restore_with_limits(
        layout: Arc<Layout>,
        limits: Limits,
        input: &mut impl Read,
    ) -> Result<(Self, SnapshotSize), SnapshotError> {
        let mut magic = [0; 16];
        input.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        let found = read_u32(input)?;
        if found != VERSION {
            return Err(SnapshotError::Version { found });
        }
        let mut bytes = (MAGIC.len() + 4) as u64;
        let frame = next_frame(input, &mut bytes)?;
        let header: Header = match frame {
            Frame { kind: HEADER, content } => postcard::from_bytes(&content)
                .map_err(|_| SnapshotError::Damaged("its header cannot be read"))?,
            _ => return Err(SnapshotError::Damaged("it has no header")),
        };
        if header.currencies != Currency::table_digest() {
            return Err(SnapshotError::OtherCurrencies);
        }
        if header.layout != *layout {
            return Err(SnapshotError::OtherLayout(difference(&header.layout, &layout)));
        }
        let store = Self::with_limits(layout, limits);
        if header.shards != store.shards() {
            return Err(SnapshotError::OtherLayout("its keys are spread over other shards".to_owned()));
        }
        let keys = store.read_frames(input, &mut bytes)?;
        Ok((store, SnapshotSize { keys, bytes }))
    }

    fn shards(&self) -> Vec<usize> {
        self.entities.iter().map(|entity| entity.shards.len()).collect()
    }

    fn read_frames(&self, input: &mut impl Read, bytes: &mut u64) -> Result<u64, SnapshotError> {
        let restored = AtomicU64::new(0);
        thread::scope(|scope| {
            let mut senders = Vec::new();
            let mut threads = Vec::new();
            for _ in 0..THREADS {
                let (sender, receiver) = sync_channel::<Frame>(FRAMES_QUEUED_MAX);
                senders.push(sender);
                threads.push(scope.spawn(|| self.restore_frames(receiver, &restored)));
            }
            let end = loop {
                let frame = match next_frame(input, bytes) {
                    Ok(frame) => frame,
                    Err(error) => break Err(error),
                };
                if frame.kind == END {
                    let keys = frame.content.try_into().map(u64::from_le_bytes);
                    break keys.map_err(|_| SnapshotError::Damaged("its end is no number"));
                }
                let Some((_, shard)) = place_of(&frame) else {
                    break Err(SnapshotError::Damaged("a frame names no shard"));
                };
                // The frames of one shard go to one thread, in order. A thread that is gone has found damage.
                if senders[shard % THREADS].send(frame).is_err() {
                    break Err(SnapshotError::Damaged("a frame cannot be decoded"));
                }
            };
            drop(senders);
            for thread in threads {
                thread.join().map_err(|_| SnapshotError::Damaged("a frame cannot be decoded"))??;
            }
            let keys = end?;
            if restored.load(Ordering::Relaxed) != keys {
                return Err(SnapshotError::Damaged("keys are missing"));
            }
            Ok(keys)
        })
    }

    fn restore_frames(&self, frames: Receiver<Frame>, restored: &AtomicU64) -> Result<(), SnapshotError> {
        for frame in frames {
            let damaged = || SnapshotError::Damaged("a frame cannot be decoded");
            let (entity, shard) = place_of(&frame).ok_or_else(damaged)?;
            let entity = self.entities.get(entity).ok_or_else(damaged)?;
            let shard = entity.shards.get(shard).ok_or_else(damaged)?;
            let content = &frame.content[PLACE_BYTES..];
            match frame.kind {
                KEYS => {
                    let entries = decode(content).ok_or_else(damaged)?;
                    restored.fetch_add(entries.len() as u64, Ordering::Relaxed);
                    entity.add_keys(entries.len());
                    shard.lock().restore_entries(entries);
                }
                SHARD => {
                    let state: ShardState = postcard::from_bytes(content).map_err(|_| damaged())?;
                    shard.lock().restore_state(state);
                }
                _ => return Err(damaged()),
            }
        }
        Ok(())
    }
}

impl Snapshot<'_> {
    /// Writes it, while the store may be used and changed. `progress` is told how many keys have been written, now and then.
    pub fn write(mut self, out: &mut impl Write, progress: &mut dyn FnMut(u64)) -> io::Result<SnapshotSize> {
        let mut size = SnapshotSize::default();
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        size.bytes += (MAGIC.len() + 4) as u64;
        let header = Header {
            layout: Layout::clone(self.store.layout()),
            currencies: Currency::table_digest(),
            shards: self.store.shards(),
        };
        let header = postcard::to_stdvec(&header).map_err(io::Error::other)?;
        size.bytes += write_frame(out, HEADER, &header)?;
        for entity in 0..self.store.entities.len() {
            for shard in 0..self.store.entities[entity].shards.len() {
                self.write_shard(entity, shard, out, &mut size)?;
                progress(size.keys);
            }
        }
        size.bytes += write_frame(out, END, &size.keys.to_le_bytes())?;
        self.is_done = true;
        Ok(size)
    }

    fn write_shard(
        &self,
        entity: usize,
        shard: usize,
        out: &mut impl Write,
        size: &mut SnapshotSize,
    ) -> io::Result<()> {
        let place = place_bytes(entity, shard);
        let lock = &self.store.entities[entity].shards[shard];
        lock.lock().begin_epoch(self.epoch);
        let mut taken = HandedOver { bytes: place.to_vec(), ..HandedOver::default() };
        loop {
            // Other threads have their turn between two holds of the lock.
            lock.lock().save_some(&mut taken);
            taken.finish().map_err(io::Error::other)?;
            if taken.bytes.len() > PLACE_BYTES && (taken.bytes.len() >= FRAME_BYTES || taken.state.is_some())
            {
                size.bytes += write_frame(out, KEYS, &taken.bytes)?;
                taken.bytes.truncate(PLACE_BYTES);
            }
            if let Some(state) = taken.state {
                // Of a shard that nothing was ever added to there is nothing to say.
                if state == ShardState::default() {
                    return Ok(());
                }
                let state = postcard::to_stdvec(&state).map_err(io::Error::other)?;
                taken.bytes.extend_from_slice(&state);
                size.bytes += write_frame(out, SHARD, &taken.bytes)?;
                size.keys += taken.keys;
                return Ok(());
            }
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            for entity in &self.store.entities {
                for shard in &entity.shards {
                    shard.lock().give_up_saving(self.epoch);
                }
            }
        }
        self.store.is_saving.store(false, Ordering::Release);
    }
}

/// Bytes that name an entity and a shard.
const PLACE_BYTES: usize = 6;

fn place_bytes(entity: usize, shard: usize) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    // At most 32 entities of at most 65,536 shards.
    place[..2].copy_from_slice(&u16::try_from(entity).unwrap_or(u16::MAX).to_le_bytes());
    place[2..].copy_from_slice(&u32::try_from(shard).unwrap_or(u32::MAX).to_le_bytes());
    place
}

fn next_frame(input: &mut impl Read, bytes: &mut u64) -> Result<Frame, SnapshotError> {
    let frame = Frame::read(input)?;
    *bytes += frame.bytes();
    Ok(frame)
}

/// The entity and the shard that a frame names.
fn place_of(frame: &Frame) -> Option<(usize, usize)> {
    let entity = u16::from_le_bytes(frame.content.get(..2)?.try_into().ok()?);
    let shard = u32::from_le_bytes(frame.content.get(2..PLACE_BYTES)?.try_into().ok()?);
    Some((entity.into(), usize::try_from(shard).ok()?))
}

/// Names the first entity in which two layouts differ.
fn difference(held: &Layout, asked: &Layout) -> String {
    let names = |layout: &Layout| {
        layout.entities.iter().map(|entity| entity.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    let differs = held.entities.iter().zip(&asked.entities).find(|(held, asked)| held != asked);
    match differs {
        Some((held, asked)) if held.name == asked.name => format!("`{}` is not the same", asked.name),
        _ => format!("{}, not {}", names(held), names(asked)),
    }
}
