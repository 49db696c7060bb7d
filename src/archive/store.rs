//! Where the archive's objects lie: a directory here, an S3-compatible store in `s3`. Paths are relative, with `/`.
//!
//! An object is seen whole or not at all, and once it is seen it is on stable storage.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest object that is read into memory, in bytes: a chapter of the manifest, a commit of the Delta log.
pub const SMALL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most objects of one listing.
pub const LISTED_MAX: usize = 1_000_000;

/// A place for objects. All calls block.
pub trait Store: Send + Sync + fmt::Debug {
    /// Where it is, for people.
    fn place(&self) -> String;
    /// Puts a file from this machine there, in place of what had that path.
    fn put_file(&self, path: &str, file: &Path) -> io::Result<()>;
    /// Puts bytes there, in place of what had that path.
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Puts bytes there if nothing has that path; else `false`.
    fn put_new(&self, path: &str, bytes: &[u8]) -> io::Result<bool>;
    /// The bytes of a small object; none if there is none.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Opens an object for reading; a store that is elsewhere copies it into a nameless file in the directory `scratch`.
    fn open(&self, path: &str, scratch: &Path) -> io::Result<File>;
    /// The names of the objects in one directory, without those below it, in no order.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// Removes an object; one that is not there is no mistake.
    fn remove(&self, path: &str) -> io::Result<()>;
}

/// What a file is called until it is whole.
const UNFINISHED: &str = "new";

/// A directory of this machine.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// In that directory, which need not be there.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The path of an object. Object paths are our own, and never lead out of the directory.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes under another name, syncs, and then gives it its own.
    fn write(&self, path: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let path = self.path(path);
        let directory = path.parent().unwrap_or(&self.root);
        make_directory(directory)?;
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".");
        unfinished.push(UNFINISHED);
        let attempt = || {
            let mut file = File::create(&unfinished)?;
            fill(&mut file)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_directory(directory)
        };
        attempt().inspect_err(|_| {
            // The error that counts is the first one.
            let _ = fs::remove_file(&unfinished);
        })
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes a directory with those above it, each on stable storage.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_directory(above)
}

fn absent_is<T>(result: io::Result<T>, absent: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absent),
        result => result,
    }
}

impl Store for LocalStore {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn put_file(&self, path: &str, file: &Path) -> io::Result<()> {
        self.write(path, |to| io::copy(&mut File::open(file)?, to).map(drop))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(path, |to| to.write_all(bytes))
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        // Nobody else writes here: the archive's lock is held.
        if self.path(path).exists() {
            return Ok(false);
        }
        self.put(path, bytes).map(|()| true)
    }

    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(path);
        match absent_is(fs::metadata(&path).map(Some), None)? {
            Some(found) if found.len() > SMALL_BYTES_MAX => {
                Err(io::Error::other(format!("it has {} bytes; {SMALL_BYTES_MAX} are read", found.len())))
            }
            Some(_) => absent_is(fs::read(&path).map(Some), None),
            None => Ok(None),
        }
    }

    fn open(&self, path: &str, _scratch: &Path) -> io::Result<File> {
        File::open(self.path(path))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let Some(entries) = absent_is(fs::read_dir(self.path(directory)).map(Some), None)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if names.len() == LISTED_MAX {
                return Err(io::Error::other(format!("{directory} has more than {LISTED_MAX} objects")));
            }
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        absent_is(fs::remove_file(&path), ())?;
        // The directory of a day that is empty goes too; one that is not is no mistake.
        if let Some(directory) = path.parent().filter(|directory| *directory != self.root) {
            let _ = fs::remove_dir(directory);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_there_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::new(directory.path().join("far/away"));
        assert!(store.list("a").unwrap().is_empty());
        assert_eq!(store.read("a/b").unwrap(), None);
        store.put("a/b", b"one").unwrap();
        store.put("a/b", b"two").unwrap();
        assert!(!store.put_new("a/b", b"three").unwrap());
        assert!(store.put_new("a/c", b"three").unwrap());
        assert_eq!(store.read("a/b").unwrap().as_deref(), Some(&b"two"[..]));
        let source = directory.path().join("source");
        assert!(store.put_file("a/d", &source).is_err());
        fs::write(&source, "file").unwrap();
        store.put_file("a/d", &source).unwrap();
        let mut names = store.list("a").unwrap();
        names.sort();
        assert_eq!(names, ["b", "c", "d"]);
        for name in ["b", "c", "d", "d"] {
            store.remove(&format!("a/{name}")).unwrap();
        }
        assert!(!directory.path().join("far/away/a").exists() && directory.path().join("far/away").exists());
    }
}
