//! Putting bytes that are no part of the log into `*.torn` files beside it. Nothing is cut before its copy is on stable storage.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::audit::disk::Disk;

/// Most `*.torn` files of one place in the log.
const TORN_FILES_MAX: u32 = 1000;
/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// A name that no file has.
fn free_name(path: &Path, offset: u64) -> io::Result<PathBuf> {
    for number in 1..=TORN_FILES_MAX {
        let name = path.with_extension(format!("{offset}.{number}.torn"));
        if !name.try_exists()? {
            return Ok(name);
        }
    }
    Err(io::Error::other(format!("{TORN_FILES_MAX} *.torn files of {}: move them away", path.display())))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Copies the bytes of `file` from `offset` on, and waits until they are on stable storage. None if there are none.
fn keep(disk: &dyn Disk, path: &Path, file: &File, offset: u64) -> io::Result<Option<PathBuf>> {
    let bytes = file.metadata()?.len().saturating_sub(offset);
    if bytes == 0 {
        return Ok(None);
    }
    let kept = free_name(path, offset)?;
    let copy = disk.create(&kept)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < bytes {
        let want = buffer.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..want], offset + at)?;
        disk.write_all_at(&copy, &buffer[..want], at)?;
        at += want as u64;
    }
    disk.sync(&copy)?;
    disk.sync_directory(directory_of(path))?;
    Ok(Some(kept))
}

/// Cuts a file, and says how many bytes that were and where they are now.
pub(crate) fn cut(disk: &dyn Disk, path: &Path, offset: u64) -> io::Result<(u64, Option<PathBuf>)> {
    let file = disk.open(path)?;
    let bytes = file.metadata()?.len().saturating_sub(offset);
    let kept = keep(disk, path, &file, offset)?;
    disk.set_len(&file, offset)?;
    disk.sync(&file)?;
    Ok((bytes, kept))
}

/// Takes a whole file out of the log, under another name; an empty one is removed. The caller syncs the directory.
pub(crate) fn take_away(disk: &dyn Disk, path: &Path) -> io::Result<(u64, Option<PathBuf>)> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes == 0 {
        disk.remove(path)?;
        return Ok((0, None));
    }
    let kept = free_name(path, 0)?;
    disk.rename(path, &kept)?;
    Ok((bytes, Some(kept)))
}
