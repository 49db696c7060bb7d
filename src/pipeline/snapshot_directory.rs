//! The directory of the state snapshots: `<data>/state/<sequence, 20 digits>.state`.
//!
//! A snapshot is written under another name (`.new`), brought to stable storage, and only then renamed: what is called `.state` is
//! whole. Two are kept, so that one that cannot be read does not cost the whole log.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The directory inside the data directory.
pub const STATE_DIRECTORY: &str = "state";
/// Digits of a sequence in a name.
const DIGITS: usize = 20;
/// After so many bytes what was written is brought to stable storage, so that the disk is never asked for much at once: the log
/// is written to the same one.
const SYNC_BYTES: u64 = 32 << 20;
/// A snapshot is given up before it leaves less room on the disk than this, in bytes: the last of it is the log's.
pub const DISK_FREE_BYTES_MIN: u64 = 128 << 20;
/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// The directory.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    path: PathBuf,
}

impl StateDirectory {
    /// Of that data directory. It need not be there.
    pub fn new(data: &Path) -> Self {
        Self { path: data.join(STATE_DIRECTORY) }
    }

    /// The file of the snapshot with that sequence.
    pub fn file(&self, sequence: u64) -> PathBuf {
        self.path.join(format!("{sequence:0DIGITS$}.state"))
    }

    /// The sequences of the snapshots, the newest first.
    pub fn sequences(&self) -> io::Result<Vec<u64>> {
        let mut sequences: Vec<u64> =
            self.names("state")?.into_iter().map(|(sequence, _)| sequence).collect();
        sequences.sort_unstable_by(|a, b| b.cmp(a));
        Ok(sequences)
    }

    /// Removes what an interrupted writer has left. Nobody may be writing.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        self.names("new")?.into_iter().try_for_each(|(_, file)| fs::remove_file(file))
    }

    /// Removes all snapshots but these.
    pub fn keep_only(&self, kept: &[u64]) -> io::Result<()> {
        let others = self.names("state")?.into_iter().filter(|(sequence, _)| !kept.contains(sequence));
        others.into_iter().try_for_each(|(_, file)| fs::remove_file(file))
    }

    /// Files called by a sequence, with this extension. None when there is no directory.
    fn names(&self, extension: &str) -> io::Result<Vec<(u64, PathBuf)>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut named = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let sequence = stem.filter(|stem| stem.len() == DIGITS).and_then(|stem| stem.parse().ok());
            if let Some(sequence) = sequence
                && path.extension().is_some_and(|it| it == extension)
            {
                named.push((sequence, path));
            }
        }
        Ok(named)
    }

    /// Writes the snapshot with that sequence; makes the directory if there is none. `may_go_on` is asked now and then, and its
    /// error gives the snapshot up. After an error there is nothing of it.
    pub fn write<T>(
        &self,
        sequence: u64,
        may_go_on: &dyn Fn() -> io::Result<()>,
        write: impl FnOnce(&mut BufWriter<PacedFile<'_>>) -> io::Result<T>,
    ) -> io::Result<T> {
        fs::create_dir_all(&self.path)?;
        let unfinished = self.file(sequence).with_extension("new");
        let attempt = || {
            let file = PacedFile { file: File::create(&unfinished)?, unsynced_bytes: 0, may_go_on };
            file.check()?;
            let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
            let written = write(&mut out)?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.check()?;
            file.file.sync_all()?;
            fs::rename(&unfinished, self.file(sequence))?;
            File::open(&self.path)?.sync_all()?;
            Ok(written)
        };
        attempt().inspect_err(|_| {
            // The error that counts is the first one.
            let _ = fs::remove_file(&unfinished);
        })
    }
}

/// A file that is synced as it grows, and that leaves room on the disk.
pub struct PacedFile<'a> {
    file: File,
    unsynced_bytes: u64,
    may_go_on: &'a dyn Fn() -> io::Result<()>,
}

impl std::fmt::Debug for PacedFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacedFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl PacedFile<'_> {
    fn check(&self) -> io::Result<()> {
        (self.may_go_on)()?;
        let free_bytes = free_bytes(&self.file)?;
        if free_bytes < DISK_FREE_BYTES_MIN + SYNC_BYTES {
            let reason =
                format!("{free_bytes} bytes are free on the disk, and the last of them are the log's");
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        Ok(())
    }
}

impl Write for PacedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced_bytes += written as u64;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced_bytes = 0;
            self.check()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(target_os = "linux")]
fn free_bytes(file: &File) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(file)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(target_os = "linux"))]
fn free_bytes(_: &File) -> io::Result<u64> {
    Ok(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_there_whole_or_not_at_all() {
        let data = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(data.path());
        assert!(directory.sequences().unwrap().is_empty());
        directory.remove_leftovers().unwrap();
        let write = |sequence, text: &str| {
            directory.write(sequence, &|| Ok(()), |out| out.write_all(text.as_bytes())).unwrap();
        };
        write(7, "seven");
        write(1_000, "first");
        write(1_000, "a thousand");
        let failed = directory.write(2_000, &|| Ok(()), |out| {
            out.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        let given_up = directory.write(3_000, &|| Err(io::Error::other("no time")), |_| Ok(()));
        assert_eq!(given_up.unwrap_err().to_string(), "no time");
        assert_eq!(fs::read_dir(data.path().join("state")).unwrap().count(), 2);
        assert_eq!(directory.sequences().unwrap(), [1_000, 7]);
        assert_eq!(fs::read_to_string(directory.file(1_000)).unwrap(), "a thousand");

        // What a killed writer leaves, and what others have put there.
        let name = |name: &str| data.path().join("state").join(name);
        for file in ["00000000000000000009.new", "notes.new", "9.state", "00000000000000000008.state.old"] {
            fs::write(name(file), "").unwrap();
        }
        directory.remove_leftovers().unwrap();
        assert!(!name("00000000000000000009.new").exists() && name("notes.new").exists());
        directory.keep_only(&[7, 12]).unwrap();
        assert_eq!(directory.sequences().unwrap(), [7]);
        assert!(name("9.state").exists() && name("00000000000000000008.state.old").exists());

        fs::remove_dir_all(name("")).unwrap();
        fs::write(data.path().join("state"), "no directory").unwrap();
        assert!(directory.write(1, &|| Ok(()), |_| Ok(())).is_err());
        assert!(directory.sequences().is_err());
    }
}
