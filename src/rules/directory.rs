//! The files of a rules directory, read whole and within bounds.

use std::fs::Metadata;
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
pub(crate) fn read_directory(dir: &Path, shown: &str) -> Result<Vec<SourceFile>, Vec<Problem>> {
    settled(dir, || read_once(dir, shown)).unwrap_or_else(|| {
        let message =
            format!("changed {READ_ATTEMPTS_MAX} times while it was read; load it again when it is whole");
        Err(vec![Problem::error(shown, message)])
    })
}

/// Reads until nothing has changed from before to after: files of two moments never make one set.
fn settled<T>(dir: &Path, mut read: impl FnMut() -> T) -> Option<T> {
    let mut before = stamps(dir);
    for _ in 0..READ_ATTEMPTS_MAX {
        let found = read();
        let after = stamps(dir);
        if after == before {
            return Some(found);
        }
        before = after;
    }
    None
}

/// What tells one content of a file from another: which file, how long, and when its content and its place last changed.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

/// All files that may be read, with their stamps.
fn stamps(dir: &Path) -> Vec<(PathBuf, Option<Stamp>)> {
    let stamp =
        |it: &Metadata| (it.ino(), it.len(), (it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()));
    let here = entries(dir).unwrap_or_default();
    let lists = entries(&dir.join("lists")).unwrap_or_default();
    let files = here.into_iter().chain(lists).filter(|path| wanted(path, &["yaml", "yml", "txt"]));
    files
        .map(|path| {
            let found = std::fs::metadata(&path).ok();
            (path, found.as_ref().map(stamp))
        })
        .collect()
}

fn wanted(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| extensions.contains(&extension))
        && !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
}

fn read_once(dir: &Path, shown: &str) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    match entries(dir) {
        Err(error) => {
            return Err(vec![unreadable(shown, format!("cannot be read as a directory of rules: {error}"))]);
        }
        Ok(paths) => {
            let paths: Vec<PathBuf> =
                paths.into_iter().filter(|path| wanted(path, &["yaml", "yml"])).collect();
            if paths.len() > RULE_FILES_MAX {
                problems.push(unreadable(shown, format!("holds more than {RULE_FILES_MAX} rule files")));
            }
            for path in paths.iter().take(RULE_FILES_MAX) {
                read_file(path, shown, "", RULE_FILE_BYTES_MAX, &mut files, &mut problems);
            }
        }
    }
    // A directory without lists is fine.
    let lists: Vec<PathBuf> = entries(&dir.join("lists"))
        .unwrap_or_default()
        .into_iter()
        .filter(|path| wanted(path, &["txt"]))
        .collect();
    if lists.len() > LISTS_MAX {
        problems.push(unreadable(format!("{shown}/lists"), format!("holds more than {LISTS_MAX} lists")));
    }
    for path in lists.iter().take(LISTS_MAX) {
        read_file(path, shown, "lists/", LIST_FILE_BYTES_MAX, &mut files, &mut problems);
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
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

fn read_file(
    path: &Path,
    shown: &str,
    prefix: &str,
    bytes_max: u64,
    files: &mut Vec<SourceFile>,
    problems: &mut Vec<Problem>,
) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        problems.push(unreadable(format!("{shown}/{}", path.display()), "has a name that is no UTF-8 text"));
        return;
    };
    let name = format!("{prefix}{name}");
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > bytes_max => {
            let message = format!("is {} bytes long; at most {bytes_max} are allowed", metadata.len());
            problems.push(unreadable(format!("{shown}/{name}"), message));
        }
        _ => match std::fs::read_to_string(path) {
            Ok(text) => files.push(SourceFile { name, text }),
            Err(error) => {
                problems.push(unreadable(format!("{shown}/{name}"), format!("cannot be read: {error}")));
            }
        },
    }
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
            settled(&dir, || {
                count += 1;
                if count == 1 {
                    change();
                }
            })
            .unwrap();
            assert_eq!(count, readings, "{what}");
        }
        let mut count = 0;
        let found = settled(&dir, || {
            count += 1;
            fs::write(dir.join("a.yaml"), "1".repeat(count)).unwrap();
        });
        assert_eq!((found, count), (None, READ_ATTEMPTS_MAX));
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
                    std::thread::sleep(std::time::Duration::from_micros(500 * (turn as u64 % 9)));
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
        assert!(whole.len() > READINGS / 2, "{} of {READINGS}", whole.len());
    }
}
