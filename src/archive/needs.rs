//! What still needs the log: the notes of those who follow it (`audit::follow`), wherever in the data directory they lie. What else needs it,
//! `prune` is told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::error::ArchiveError;
use crate::archive::prune::Need;
use crate::audit::follow::Place;
use crate::audit::receipt::LogId;

/// Longest note of a follower, in bytes.
const PLACE_BYTES_MAX: u64 = 4_096;

/// The followers of that log, by their notes: `*.json` in the data directory and in the directories in it. A note that is no longer
/// written to still counts, so that nothing a follower has missed is ever removed; the reason names its file.
pub fn of_followers(data: &Path, log: LogId) -> Result<Vec<Need>, ArchiveError> {
    let log = log.to_string();
    let mut needs = Vec::new();
    for directory in directories(data).map_err(ArchiveError::local(data, "list it"))? {
        for file in notes(&directory).map_err(ArchiveError::local(&directory, "list it"))? {
            // Other files are no notes.
            if let Ok(Some(place)) = Place::read(&file)
                && place.log == log
            {
                let who = format!(
                    "the follower that notes its place in {} (remove it if nothing follows)",
                    file.display()
                );
                needs.push(Need { who, from_sequence: place.sequence.saturating_add(1) });
            }
        }
    }
    Ok(needs)
}

fn directories(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories = vec![data.to_owned()];
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

fn notes(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut notes = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "json")
            && entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= PLACE_BYTES_MAX)
        {
            notes.push(path);
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_of_this_log_counts_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let (log, other) = (LogId([1; 16]), LogId([2; 16]));
        let place = |log: LogId, sequence| Place { log: log.to_string(), sequence, mark: None };
        for directory in ["forward", "forward/deeper"] {
            fs::create_dir(data.path().join(directory)).unwrap();
        }
        place(log, 7).write(&data.path().join("profile_updates.json")).unwrap();
        place(log, 5).write(&data.path().join("forward/redis.json")).unwrap();
        place(other, 1).write(&data.path().join("forward/old.json")).unwrap();
        place(log, 1).write(&data.path().join("forward/deeper/far.json")).unwrap();
        fs::write(data.path().join("forward/notes.json"), "{}").unwrap();
        fs::write(data.path().join("forward/text.txt"), "x").unwrap();
        let mut needs: Vec<_> =
            of_followers(data.path(), log).unwrap().into_iter().map(|need| need.from_sequence).collect();
        needs.sort_unstable();
        assert_eq!(needs, [6, 8]);
    }
}
