//! Files that somebody proposes: what is changed of a directory of rules, or all of one.

use std::path::Path;

use crate::rules::directory::{RULE_FILES_MAX, SourceFile, read_directory};
use crate::rules::file::RULE_FILE_BYTES_MAX;
use crate::rules::list::{LIST_FILE_BYTES_MAX, LISTS_MAX};
use crate::rules::problem::{Kind, Problem};

/// Files by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CandidateFiles {
    /// Each file with its text; without one, the directory's file of that name is left out.
    pub files: Vec<(String, Option<String>)>,
    /// Whether these are all. If not, the others are the directory's.
    pub is_complete: bool,
}

impl CandidateFiles {
    /// All files of the candidate, by name. `shown` is what the directory is called in problems.
    pub fn with_directory(self, directory: &Path, shown: &str) -> Result<Vec<SourceFile>, Vec<Problem>> {
        let mut together = if self.is_complete { Vec::new() } else { read_directory(directory, shown)? };
        together.retain(|file| self.files.iter().all(|(name, _)| *name != file.name));
        let given = self.files.into_iter();
        together.extend(given.filter_map(|(name, text)| text.map(|text| SourceFile { name, text })));
        together.sort_by(|a, b| a.name.cmp(&b.name));
        let lists = together.iter().filter(|file| file.name.starts_with("lists/")).count();
        let counts = [(together.len() - lists, RULE_FILES_MAX, "rule files"), (lists, LISTS_MAX, "lists")];
        match counts.into_iter().find(|(count, max, _)| count > max) {
            None => Ok(together),
            Some((_, max, what)) => {
                let message = format!("holds more than {max} {what}");
                Err(vec![Problem::error(shown, message).of(Kind::Unreadable)])
            }
        }
    }
}

/// How many bytes a file of that name may have; `None` for one that no directory of rules would read.
pub fn file_bytes_max(name: &str) -> Option<u64> {
    let (bytes_max, file, endings): (_, _, &[&str]) = match name.strip_prefix("lists/") {
        Some(list) => (LIST_FILE_BYTES_MAX, list, &[".txt"]),
        None => (RULE_FILE_BYTES_MAX, name, &[".yaml", ".yml"]),
    };
    let stem = endings.iter().find_map(|ending| file.strip_suffix(ending))?;
    let is_plain = !stem.is_empty() && !stem.starts_with('.') && !stem.contains(['/', '\\', '\0']);
    is_plain.then_some(bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_files_a_directory_would_read() {
        let facts = [
            ("mine.yaml", Some(RULE_FILE_BYTES_MAX)),
            ("mine.yml", Some(RULE_FILE_BYTES_MAX)),
            ("lists/blocked.txt", Some(LIST_FILE_BYTES_MAX)),
            ("mine.yaml.bak", None),
            (".mine.yaml", None),
            (".yaml", None),
            ("lists/.txt", None),
            ("lists/a/b.txt", None),
            ("lists/mine.yaml", None),
            ("../mine.yaml", None),
            ("sub/mine.yaml", None),
            ("", None),
        ];
        for (name, bytes_max) in facts {
            assert_eq!(file_bytes_max(name), bytes_max, "{name:?}");
        }
    }

    #[test]
    fn what_is_given_stands_in_place_of_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yaml", "c.yaml"] {
            std::fs::write(directory.path().join(name), "old").unwrap();
        }
        let files = vec![
            ("b.yaml".to_owned(), Some("new".to_owned())),
            ("c.yaml".to_owned(), None),
            ("d.yaml".to_owned(), Some("new".to_owned())),
        ];
        let cases = [
            (false, vec![("a.yaml", "old"), ("b.yaml", "new"), ("d.yaml", "new")]),
            (true, vec![("b.yaml", "new"), ("d.yaml", "new")]),
        ];
        for (is_complete, expected) in cases {
            let candidate = CandidateFiles { files: files.clone(), is_complete };
            let found = candidate.with_directory(directory.path(), "rules").unwrap();
            let found: Vec<_> = found.iter().map(|file| (&*file.name, &*file.text)).collect();
            assert_eq!(found, expected);
        }
        let many =
            (0..=RULE_FILES_MAX).map(|number| (format!("{number}.yaml"), Some(String::new()))).collect();
        let problems =
            CandidateFiles { files: many, is_complete: true }.with_directory(directory.path(), "rules");
        assert!(problems.unwrap_err()[0].message.contains("more than 256 rule files"));
    }
}
