//! The files of a rules directory, read whole and within bounds.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::rules::file::RULE_FILE_BYTES_MAX;
use crate::rules::list::{LIST_FILE_BYTES_MAX, LISTS_MAX};
use crate::rules::problem::{Kind, Problem};

/// Most rule files of one set.
pub const RULE_FILES_MAX: usize = 256;

/// One file of a rules directory, by its name in the directory (`velocity.yaml`, `lists/blocked_cards.txt`).
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name, with `/` between parts.
    pub name: String,
    /// The text.
    pub text: String,
}

/// How often a directory is read that changes meanwhile. Whoever watches it reads it again when it has come to rest.
const READ_ATTEMPTS_MAX: usize = 5;

/// The rule files and lists of a directory, in no order; all as they were at one moment.
pub fn read_directory(dir: &Path, shown: &str) -> Result<Vec<SourceFile>, Vec<Problem>> {
    settled(dir, |seen| read_once(dir, shown, seen)).unwrap_or_else(|| {
        let message =
            format!("changed {READ_ATTEMPTS_MAX} times while it was read; load it again when it is whole");
        Err(vec![unreadable(shown, message)])
    })
}

/// Reads until what was read is what was there before and is there afterwards: files of two moments never make one set, not even when
/// a directory is replaced and put back meanwhile.
fn settled<T>(dir: &Path, mut read: impl FnMut(&mut Vec<Seen>) -> T) -> Option<T> {
    let mut before = look(dir);
    for _ in 0..READ_ATTEMPTS_MAX {
        let mut seen = Vec::new();
        let found = read(&mut seen);
        let after = look(dir);
        if seen == before && after == before {
            return Some(found);
        }
        before = after;
    }
    None
}

/// What tells one content of a file from another: which file, how long, and when its content and its place last changed.
type Stamp = (u64, u64, (i64, i64), (i64, i64));
/// A file, and its stamp if it can be looked at.
type Seen = (PathBuf, Option<Stamp>);

fn stamp(it: &Metadata) -> Stamp {
    (it.ino(), it.len(), (it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()))
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().as_ref().map(stamp)
}

/// All files that are read, in their order, with their stamps.
fn look(dir: &Path) -> Vec<Seen> {
    let files = rule_files(dir).unwrap_or_default().into_iter().take(RULE_FILES_MAX);
    let files = files.chain(list_files(dir).into_iter().take(LISTS_MAX));
    files.map(|path| (stamp_of(&path), path)).map(|(stamp, path)| (path, stamp)).collect()
}

fn rule_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| wanted(path, &["yaml", "yml"])).collect())
}

/// A directory without lists is fine.
fn list_files(dir: &Path) -> Vec<PathBuf> {
    let paths = entries(&dir.join("lists")).unwrap_or_default();
    paths.into_iter().filter(|path| wanted(path, &["txt"])).collect()
}

fn wanted(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| extensions.contains(&extension))
        && !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
}

fn read_once(dir: &Path, shown: &str, seen: &mut Vec<Seen>) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut reading = Reading { shown, seen, files: Vec::new(), problems: Vec::new() };
    let paths = rule_files(dir).map_err(|error| {
        vec![unreadable(shown, format!("cannot be read as a directory of rules: {error}"))]
    })?;
    if paths.len() > RULE_FILES_MAX {
        let message = format!("holds more than {RULE_FILES_MAX} rule files");
        reading.problems.push(unreadable(shown, message));
    }
    for path in paths.into_iter().take(RULE_FILES_MAX) {
        reading.read(path, "", RULE_FILE_BYTES_MAX);
    }
    let lists = list_files(dir);
    if lists.len() > LISTS_MAX {
        let message = format!("holds more than {LISTS_MAX} lists");
        reading.problems.push(unreadable(format!("{shown}/lists"), message));
    }
    for path in lists.into_iter().take(LISTS_MAX) {
        reading.read(path, "lists/", LIST_FILE_BYTES_MAX);
    }
    if reading.problems.is_empty() { Ok(reading.files) } else { Err(reading.problems) }
}

fn unreadable(file: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem::error(file, message).of(Kind::Unreadable)
}

fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}

/// What has been read so far, and what was wrong with it.
struct Reading<'a> {
    shown: &'a str,
    seen: &'a mut Vec<Seen>,
    files: Vec<SourceFile>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn read(&mut self, path: PathBuf, prefix: &str, bytes_max: u64) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let file = format!("{}/{}", self.shown, path.display());
            self.problems.push(unreadable(file, "has a name that is no UTF-8 text"));
            let stamp = stamp_of(&path);
            return self.seen.push((path, stamp));
        };
        let name = format!("{prefix}{name}");
        let (stamp, text) = read_text(&path, bytes_max);
        self.seen.push((path, stamp));
        match text {
            Ok(text) => self.files.push(SourceFile { name, text }),
            Err(message) => self.problems.push(unreadable(format!("{}/{name}", self.shown), message)),
        }
    }
}

/// The text of a file with the stamp of the very file that it was read from, whatever has its name by then.
fn read_text(path: &Path, bytes_max: u64) -> (Option<Stamp>, Result<String, String>) {
    let why = |error: std::io::Error| format!("cannot be read: {error}");
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (mut file, metadata) = match opened {
        Ok(opened) => opened,
        Err(error) => return (stamp_of(path), Err(why(error))),
    };
    let stamp = Some(stamp(&metadata));
    if metadata.len() > bytes_max {
        let message = format!("is {} bytes long; at most {bytes_max} are allowed", metadata.len());
        return (stamp, Err(message));
    }
    let mut text = String::new();
    (stamp, file.read_to_string(&mut text).map(|_| text).map_err(why))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_that_changes_while_it_is_read_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let (dir, other) = (place.path().join("rules"), place.path().join("other"));
        for dir in [&dir, &other] {
            fs::create_dir_all(dir.join("lists")).unwrap();
            fs::write(dir.join("a.yaml"), "1").unwrap();
            fs::write(dir.join("lists/l.txt"), "1").unwrap();
        }
        // What happens in each of the first readings, and how many there are.
        type Change<'a> = (&'a str, &'a dyn Fn(), usize);
        let changes: [Change<'_>; 7] = [
            ("nothing", &|| {}, 1),
            ("a file that is not read", &|| fs::write(dir.join("a.yaml~"), "2").unwrap(), 1),
            ("a file grows", &|| fs::write(dir.join("a.yaml"), "12").unwrap(), 2),
            ("a list grows", &|| fs::write(dir.join("lists/l.txt"), "12").unwrap(), 2),
            ("a file is new", &|| fs::write(dir.join("b.yaml"), "1").unwrap(), 2),
            ("a file goes", &|| fs::remove_file(dir.join("b.yaml")).unwrap(), 2),
            (
                "a file is moved over another of the same length",
                &|| {
                    fs::write(dir.join("beside"), "13").unwrap();
                    fs::rename(dir.join("beside"), dir.join("a.yaml")).unwrap();
                },
                2,
            ),
        ];
        for (what, change, readings) in changes {
            let mut count = 0;
            settled(&dir, |seen| {
                count += 1;
                seen.extend(look(&dir));
                if count == 1 {
                    change();
                }
            })
            .unwrap();
            assert_eq!(count, readings, "{what}");
        }
        let mut count = 0;
        let found = settled(&dir, |seen| {
            count += 1;
            seen.extend(look(&dir));
            fs::write(dir.join("a.yaml"), "1".repeat(count)).unwrap();
        });
        assert_eq!((found, count), (None, READ_ATTEMPTS_MAX));

        // Another directory takes its place, and gives it back before anybody looks again.
        let mut count = 0;
        settled(&dir, |seen| {
            count += 1;
            let is_other = count == 1;
            let read = if is_other { &other } else { &dir };
            let here = |(path, stamp): Seen| (dir.join(path.strip_prefix(read).unwrap()), stamp);
            seen.extend(look(read).into_iter().map(here));
        })
        .unwrap();
        assert_eq!(count, 2);
    }

    /// Two releases under one name, switched while it is read. Without `settled`, about one reading in ten mixes them here.
    #[test]
    fn a_link_that_is_switched_meanwhile_is_never_read_as_a_mixture() {
        const FILES: usize = 60;
        const READINGS: usize = 300;
        let place = tempfile::tempdir().unwrap();
        let (current, next) = (place.path().join("rules"), place.path().join("next"));
        for release in ["1", "2"] {
            let dir = place.path().join(release);
            fs::create_dir(&dir).unwrap();
            for file in 0..FILES {
                fs::write(dir.join(format!("{file}.yaml")), release).unwrap();
            }
        }
        let switch = |turn: usize| {
            std::os::unix::fs::symlink(place.path().join(["1", "2"][turn % 2]), &next).unwrap();
            fs::rename(&next, &current).unwrap();
        };
        switch(0);
        let is_over = std::sync::atomic::AtomicBool::new(false);
        let readings: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 1.. {
                    if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    switch(turn);
                    // Now and then it rests, so that a slow machine gets to read a whole one, too.
                    let pause_us = if turn % 9 == 0 { 30_000 } else { 500 * (turn as u64 % 9) };
                    std::thread::sleep(std::time::Duration::from_micros(pause_us));
                }
            });
            let readings = (0..READINGS).map(|_| read_directory(&current, "rules")).collect();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            readings
        });
        let whole: Vec<_> = readings.into_iter().filter_map(Result::ok).collect();
        let is_mixture = |files: &&Vec<SourceFile>| {
            files.len() != FILES || files.iter().any(|file| file.text != files[0].text)
        };
        assert_eq!(whole.iter().filter(is_mixture).count(), 0, "mixtures");
        assert!(!whole.is_empty(), "none of {READINGS} was read");
    }
}
