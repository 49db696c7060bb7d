//! How far the targets have come, as it stands in `<data>/forward/`: `<name>.json` is the place, `<name>.dead.ndjson` the dead letters.
//!
//! Without the places, everything that the log still has would be sent again: a consumer can bear that, so they need no backup.

use std::io;
use std::path::{Path, PathBuf};

use crate::audit::follow::Place;
use crate::audit::receipt::LogId;
use crate::forward::settings::TargetName;

/// The directory inside the data directory.
pub const FORWARD_DIRECTORY: &str = "forward";

/// The file with the place of a target.
pub fn place_file(data: &Path, name: &TargetName) -> PathBuf {
    data.join(FORWARD_DIRECTORY).join(format!("{name}.json"))
}

/// The last record of that log up to which every one of these targets needs nothing any more: what comes after it must not be deleted
/// from the log. None without targets. A target that has no place yet needs everything; so does one whose place is of another log.
pub fn lowest<'a>(
    data: &Path,
    log: LogId,
    targets: impl IntoIterator<Item = &'a TargetName>,
) -> io::Result<Option<u64>> {
    let log = log.to_string();
    let mut lowest = None;
    for name in targets {
        let place = Place::read(&place_file(data, name))?.filter(|place| place.log == log);
        let done = place.map_or(0, |place| place.sequence);
        lowest = Some(lowest.map_or(done, |lowest: u64| lowest.min(done)));
    }
    Ok(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_target_says_what_may_go() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join(FORWARD_DIRECTORY)).unwrap();
        let log = LogId([1; 16]);
        let names = ["a", "b", "c"].map(|name| TargetName::parse(name).unwrap());
        let note = |name: &TargetName, log: LogId, sequence| {
            let place = Place { log: log.to_string(), sequence, mark: None };
            place.write(&place_file(data.path(), name)).unwrap();
        };
        let lowest = |names: &[TargetName]| lowest(data.path(), log, names).unwrap();
        note(&names[0], log, 70);
        note(&names[1], log, 30);
        assert_eq!(lowest(&[]), None);
        assert_eq!(lowest(&names[..2]), Some(30));
        assert_eq!(lowest(&names), Some(0), "one that has not begun");
        note(&names[2], LogId([2; 16]), 90);
        assert_eq!(lowest(&names), Some(0), "a place in another log");
        std::fs::write(place_file(data.path(), &names[2]), "{").unwrap();
        assert!(super::lowest(data.path(), log, &names).is_err(), "nothing is said of what cannot be read");
    }
}
