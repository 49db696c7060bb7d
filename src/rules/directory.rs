//! The files of a rules directory, read whole and within bounds.

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

/// The rule files and lists of a directory, in no order.
pub(crate) fn read_directory(dir: &Path, shown: &str) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    let wanted = |path: &Path, extensions: &[&str]| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| extensions.contains(&extension))
            && !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
    };
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

/// The files of a directory with others put into it, or in the place of those with their names: a candidate of which only what is
/// changed is given.
pub fn with_files(dir: &Path, others: Vec<SourceFile>) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut files = read_directory(dir, &dir.display().to_string())?;
    files.retain(|file| others.iter().all(|other| other.name != file.name));
    files.extend(others);
    Ok(files)
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
