//! A disk whose power can fail: what the kernel holds, what of it is on the platter, and a seed that decides what is lost.
//!
//! The files in its directory are what the kernel says. Beside them, it keeps what a power loss would leave:
//! - Writes dirty pages of 4 KiB. They reach the platter by a sync, or at any time and in any order by themselves; at a power loss, in any
//!   part, page by page or sector by sector (512 bytes). A sector is whole, old or new.
//! - Length and content are independent: a file may have its new length and zeros in it, or its old length.
//! - A sync that fails may have written some of the pages. It forgets the others: they read as they were written, and the next sync is
//!   content. So does a page that fails to be written by itself; the next sync of the file then fails, once.
//! - Names (made, moved, removed) are on the platter after a sync of the directory; before that, some first ones of them, or any.
//! - Writes may be short, for want of room or for no reason; every call may fail, and at every call the power may go, or the process be killed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::audit::disk::{Disk, SystemDisk};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// How often what fails, in percent of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) write: u32,
    pub(super) sync: u32,
    pub(super) sync_directory: u32,
    pub(super) set_len: u32,
    pub(super) rename: u32,
    pub(super) writeback: u32,
}

#[derive(Default)]
struct Content {
    /// What reading gives.
    cache: Vec<u8>,
    platter: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// Lengths that the file had since its last sync.
    lengths: Vec<usize>,
    /// The shortest of them, if it was cut.
    cut: Option<usize>,
    /// A page could not be written, and nobody was told.
    failed: bool,
}

enum NameChange {
    Made(String, usize),
    Moved(String, String, usize),
    Removed(String),
}

struct State {
    random: ChaCha8Rng,
    faults: Faults,
    /// Bytes that still fit.
    room: Option<usize>,
    /// Calls until the power goes.
    calls_left: Option<u32>,
    is_off: bool,
    contents: Vec<Content>,
    by_inode: HashMap<u64, usize>,
    names: BTreeMap<String, usize>,
    names_on_platter: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
}

/// See the top of this file.
pub(super) struct PowerDisk(Mutex<State>);

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off (injected)")
}

fn input_output() -> io::Error {
    io::Error::other("input/output error (injected)")
}

impl Content {
    fn dirty(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty.extend(from / PAGE..=(to - 1) / PAGE);
        }
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
            self.lengths.push(end);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty(offset, end);
    }

    fn set_len(&mut self, bytes: usize) {
        if bytes < self.cache.len() {
            self.cut = Some(self.cut.map_or(bytes, |cut| cut.min(bytes)));
            self.dirty.retain(|page| page * PAGE < bytes);
            if !bytes.is_multiple_of(PAGE) {
                self.dirty.insert(bytes / PAGE);
            }
        }
        self.cache.resize(bytes, 0);
        self.lengths.push(bytes);
    }

    /// That part reaches the platter. Where the file was cut before, the cut comes first.
    fn reach(&mut self, from: usize, bytes: usize) {
        let end = (from + bytes).min(self.cache.len());
        if self.cut.is_some_and(|cut| end > cut) {
            self.cut_platter();
        }
        if from < end {
            if self.platter.len() < end {
                self.platter.resize(end, 0);
            }
            self.platter[from..end].copy_from_slice(&self.cache[from..end]);
        }
    }

    fn cut_platter(&mut self) {
        if let Some(cut) = self.cut.take() {
            let length = self.platter.len();
            self.platter.truncate(cut);
            self.platter.resize(length, 0);
        }
    }

    /// Some of the dirty pages reach the platter, or parts of them.
    fn write_some(&mut self, random: &mut ChaCha8Rng) {
        let style = random.random_range(0..5);
        let chance = random.random_range(0..=100);
        for page in std::mem::take(&mut self.dirty) {
            let mut sectors: Vec<usize> =
                (0..PAGE / SECTOR).map(|sector| page * PAGE + sector * SECTOR).collect();
            match style {
                0 => sectors.clear(),
                1 => {}
                2 if random.random_range(0..100) < chance => sectors.clear(),
                2 => {}
                _ => sectors.retain(|_| random.random_range(0..100) < chance),
            }
            for sector in sectors {
                self.reach(sector, SECTOR);
            }
        }
    }

    fn sync(&mut self) {
        self.cut_platter();
        for page in std::mem::take(&mut self.dirty) {
            self.reach(page * PAGE, PAGE);
        }
        self.platter.resize(self.cache.len(), 0);
        self.lengths = vec![self.cache.len()];
    }

    fn fail_to_sync(&mut self, random: &mut ChaCha8Rng) {
        if random.random_range(0..100) < 30 {
            return; // Nothing was done, and nothing forgotten.
        }
        if random.random_range(0..2) == 0 {
            self.cut_platter();
        }
        self.write_some(random);
    }

    /// What a power loss leaves.
    fn rest(&mut self, random: &mut ChaCha8Rng) -> Vec<u8> {
        if random.random_range(0..2) == 0 {
            self.cut_platter();
        }
        let length = if self.lengths.is_empty() {
            0
        } else {
            self.lengths[random.random_range(0..self.lengths.len())]
        };
        self.write_some(random);
        let mut rest = std::mem::take(&mut self.platter);
        rest.resize(length, 0);
        rest
    }
}

fn change(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Made(name, content) => {
            names.insert(name.clone(), *content);
        }
        NameChange::Moved(from, to, content) => {
            names.remove(from);
            names.insert(to.clone(), *content);
        }
        NameChange::Removed(name) => {
            names.remove(name);
        }
    }
}

impl State {
    fn fails(&mut self, percent: u32) -> bool {
        percent > 0 && self.random.random_range(0..100) < percent
    }

    /// Counts a call: the first error is that of a call during which the power goes.
    fn call(&mut self) -> Result<bool, io::Error> {
        if self.is_off {
            return Err(power_is_off());
        }
        if let Some(left) = &mut self.calls_left {
            if *left == 0 {
                self.is_off = true;
                return Ok(false);
            }
            *left -= 1;
        }
        Ok(true)
    }

    fn content(&mut self, file: &File) -> usize {
        self.by_inode[&file.metadata().unwrap().ino()]
    }

    fn first_names_reach_the_platter(&mut self) {
        let first = self.random.random_range(0..=self.changes.len());
        for made in self.changes.drain(..first) {
            change(&mut self.names_on_platter, &made);
        }
    }

    fn any_names_reach_the_platter(&mut self) {
        for made in self.changes.drain(..) {
            if self.random.random_range(0..2) == 0 {
                change(&mut self.names_on_platter, &made);
            }
        }
    }
}

impl PowerDisk {
    /// A disk with what lies in `directory`, all of it on the platter.
    pub(super) fn new(directory: &Path, random: ChaCha8Rng) -> Arc<Self> {
        let mut state = State {
            random,
            faults: Faults::default(),
            room: None,
            calls_left: None,
            is_off: false,
            contents: Vec::new(),
            by_inode: HashMap::new(),
            names: BTreeMap::new(),
            names_on_platter: BTreeMap::new(),
            changes: Vec::new(),
        };
        let mut paths: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let content = std::fs::read(&path).unwrap();
            state.names.insert(name_of(&path), state.contents.len());
            state.by_inode.insert(std::fs::metadata(&path).unwrap().ino(), state.contents.len());
            state.contents.push(Content {
                lengths: vec![content.len()],
                platter: content.clone(),
                cache: content,
                ..Content::default()
            });
        }
        state.names_on_platter = state.names.clone();
        Arc::new(Self(Mutex::new(state)))
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// Only so many bytes more can be written.
    pub(super) fn set_room(&self, room: Option<usize>) {
        self.0.lock().room = room;
    }

    /// The power goes, or the process is killed, in the middle of a call after so many.
    pub(super) fn end_after(&self, calls: Option<u32>) {
        self.0.lock().calls_left = calls;
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.lock().is_off
    }

    /// After a kill: another process goes on with what the kernel holds.
    pub(super) fn go_on(&self) {
        let mut state = self.0.lock();
        (state.is_off, state.calls_left) = (false, None);
    }

    /// The kernel writes some of what it holds, without being asked.
    pub(super) fn write_back(&self) {
        let state = &mut *self.0.lock();
        let fails = state.faults.writeback;
        for content in &mut state.contents {
            for page in content.dirty.clone() {
                if state.random.random_range(0..3) > 0 {
                    continue;
                }
                content.dirty.remove(&page);
                if fails > 0 && state.random.random_range(0..100) < fails {
                    content.failed = true;
                } else {
                    content.reach(page * PAGE, PAGE);
                }
            }
        }
    }

    /// Lays what a power loss leaves into `directory`.
    pub(super) fn lay_rest(&self, directory: &Path) {
        let state = &mut *self.0.lock();
        if state.random.random_range(0..5) == 0 {
            state.any_names_reach_the_platter();
        } else {
            state.first_names_reach_the_platter();
        }
        let mut laid = BTreeSet::new();
        for (name, content) in &state.names_on_platter {
            if !laid.insert(*content) {
                continue;
            }
            let rest = state.contents[*content].rest(&mut state.random);
            std::fs::write(directory.join(name), rest).unwrap();
        }
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let state = &mut *self.0.lock();
        if !state.call()? {
            return Err(power_is_off());
        }
        let name = name_of(path);
        let is_there = path.exists();
        let file = SystemDisk.create(path)?;
        if is_there {
            let content = state.names[&name];
            state.contents[content].set_len(0);
        } else {
            let content = state.contents.len();
            state.contents.push(Content { lengths: vec![0], ..Content::default() });
            state.by_inode.insert(file.metadata()?.ino(), content);
            state.names.insert(name.clone(), content);
            state.changes.push(NameChange::Made(name, content));
        }
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        if self.0.lock().is_off {
            return Err(power_is_off());
        }
        SystemDisk.open(path)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let state = &mut *self.0.lock();
        let goes_on = state.call()?;
        let fits = state.room.unwrap_or(usize::MAX).min(bytes.len());
        let is_refused = state.fails(state.faults.write);
        let written = if !goes_on || is_refused { state.random.random_range(0..=fits) } else { fits };
        if let Some(room) = &mut state.room {
            *room -= written;
        }
        file.write_all_at(&bytes[..written], offset)?;
        let content = state.content(file);
        state.contents[content].write(&bytes[..written], usize::try_from(offset).unwrap());
        match (goes_on, is_refused, fits < bytes.len()) {
            (false, ..) => Err(power_is_off()),
            (_, true, _) => Err(input_output()),
            (.., true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let state = &mut *self.0.lock();
        let goes_on = state.call()?;
        let is_refused = state.fails(state.faults.sync);
        let content = state.content(file);
        let content = &mut state.contents[content];
        if !goes_on {
            // After a kill, the rest is still to be written.
            let dirty = content.dirty.clone();
            content.write_some(&mut state.random);
            content.dirty = dirty;
            return Err(power_is_off());
        }
        if is_refused {
            content.fail_to_sync(&mut state.random);
            return Err(input_output());
        }
        content.sync();
        if std::mem::take(&mut content.failed) { Err(input_output()) } else { Ok(()) }
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        let state = &mut *self.0.lock();
        let goes_on = state.call()?;
        if state.fails(state.faults.set_len) || !goes_on && state.random.random_range(0..2) == 0 {
            return Err(input_output());
        }
        file.set_len(bytes)?;
        let content = state.content(file);
        state.contents[content].set_len(usize::try_from(bytes).unwrap());
        if goes_on { Ok(()) } else { Err(power_is_off()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        let goes_on = state.call()?;
        if state.fails(state.faults.rename) || !goes_on && state.random.random_range(0..2) == 0 {
            return Err(input_output());
        }
        std::fs::rename(from, to)?;
        let (from, to) = (name_of(from), name_of(to));
        let content = state.names.remove(&from).unwrap();
        state.names.insert(to.clone(), content);
        state.changes.push(NameChange::Moved(from, to, content));
        if goes_on { Ok(()) } else { Err(power_is_off()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        if !state.call()? {
            return Err(power_is_off());
        }
        std::fs::remove_file(path)?;
        let name = name_of(path);
        state.names.remove(&name);
        state.changes.push(NameChange::Removed(name));
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        let goes_on = state.call()?;
        if state.fails(state.faults.sync_directory) || !goes_on {
            state.first_names_reach_the_platter();
            return Err(input_output());
        }
        state.names_on_platter = state.names.clone();
        state.changes.clear();
        Ok(())
    }
}
