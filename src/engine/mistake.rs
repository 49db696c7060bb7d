//! What is wrong with a candidate policy.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::feature::file::CatalogueError;
use crate::rules::problem::{Kind, Place, Problem};

/// One mistake. Its text names the file, and the line where there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// In the catalogue.
    Catalogue(CatalogueError),
    /// In a model or challenger.
    Model {
        /// Its directory, or what is known of it.
        directory: PathBuf,
        /// What is wrong; begins with the file, if it is about one.
        message: String,
    },
    /// In the rules.
    Rules(Problem),
    /// It is sound, and cannot be archived.
    Archive {
        /// The file or directory that stands in the way.
        file: PathBuf,
        /// What is wrong; begins with the file.
        message: String,
    },
}

impl Mistake {
    /// One of the catalogue in this file as a whole.
    pub fn of_catalogue(file: &Path, message: impl Into<String>) -> Self {
        Self::Catalogue(CatalogueError { file: file.to_owned(), place: None, message: message.into() })
    }

    /// As the problem that a rule would be: with kind, file and, as far as it is known, place.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Rules(problem) => problem.clone(),
            Self::Archive { file, message } => {
                let file = file.display().to_string();
                let message = message.strip_prefix(&format!("{file}: ")).unwrap_or(message).to_owned();
                Problem::error(file, message).of(Kind::Unreadable)
            }
            Self::Catalogue(error) => {
                let mut problem = Problem::error(error.file.display().to_string(), &error.message);
                let from_one = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
                problem.place = error.place.map(|(line, column)| Place {
                    line: from_one(line),
                    column: from_one(column),
                    width: 1,
                });
                problem.of(Kind::InvalidCatalogue)
            }
            Self::Model { directory, message } => {
                let directory = directory.display().to_string();
                // `models/next/manifest.json: cannot be read`: the file is named in front.
                let (file, message) = match message.split_once(": ") {
                    Some((file, rest)) if file.starts_with(&directory) => (file.to_owned(), rest),
                    _ => (directory, message.as_str()),
                };
                Problem::error(file, message).of(Kind::InvalidModel)
            }
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalogue(error) => error.fmt(f),
            Self::Model { message, .. } | Self::Archive { message, .. } => f.write_str(message),
            Self::Rules(problem) => problem.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_a_problem_with_its_file() {
        let catalogue =
            |place| CatalogueError { file: "f.yaml".into(), place, message: "is wrong".to_owned() };
        let model =
            |message: &str| Mistake::Model { directory: "models/next".into(), message: message.to_owned() };
        let cases = [
            (
                Mistake::Catalogue(catalogue(Some((3, 7)))),
                Kind::InvalidCatalogue,
                "f.yaml",
                Some(3),
                "is wrong",
            ),
            (Mistake::Catalogue(catalogue(None)), Kind::InvalidCatalogue, "f.yaml", None, "is wrong"),
            (
                model("models/next/manifest.json: cannot be read"),
                Kind::InvalidModel,
                "models/next/manifest.json",
                None,
                "cannot be read",
            ),
            (
                model("a feature: is unknown"),
                Kind::InvalidModel,
                "models/next",
                None,
                "a feature: is unknown",
            ),
        ];
        for (mistake, kind, file, line, message) in cases {
            let problem = mistake.problem();
            let found =
                (problem.kind, &*problem.file, problem.place.map(|place| place.line), &*problem.message);
            assert_eq!(found, (kind, file, line, message));
        }
    }
}
