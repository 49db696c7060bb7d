//! The few things that opening, repairing and writing do to files, so that tests can make each of them fail, and can decide what of
//! it a power loss leaves. Reading goes past it: what is read is what the kernel says.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A disk. All calls block.
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file for reading and writing; empties one that is there.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Opens a file that is there for reading and writing.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Writes all of `bytes` from `offset` on. After an error, any part of them may be written.
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when the content is on stable storage. After an error nobody knows what of it is there, and asking again does not
    /// tell: the kernel may have forgotten that there is something left to write. Only writing it again helps.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Has room ready for `bytes` from `offset` on, whose content and the file's length stay what they are. What is written there later need not look
    /// for room while a sync has the file's map in its hands.
    fn preallocate(&self, _file: &File, _offset: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
    /// Gives room behind the file's end back.
    fn release(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }
    /// Moves a file over another in the same directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns when the names in the directory are on stable storage.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    #[cfg(target_os = "linux")]
    fn preallocate(&self, file: &File, offset: u64, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, offset, bytes)?)
    }

    #[cfg(target_os = "linux")]
    fn release(&self, file: &File) -> io::Result<()> {
        // Cutting a file where it ends frees what lies behind.
        file.set_len(file.metadata()?.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}
