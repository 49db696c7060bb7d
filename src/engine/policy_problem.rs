//! One mistake of a policy, as a text for people and in parts for programs.

use crate::feature::file::CatalogueError;
use crate::rules::problem::{Place, Problem};

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyProblem {
    /// For people: with file and line where there are any.
    pub text: String,
    /// The same in parts. What is about a model has its directory for a file.
    pub problem: Problem,
}

impl PolicyProblem {
    /// One that is about a file or directory as a whole.
    pub fn of(file: &std::path::Path, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { problem: Problem::error(file.display().to_string(), text.clone()), text }
    }
}

impl From<Problem> for PolicyProblem {
    fn from(problem: Problem) -> Self {
        Self { text: problem.to_string(), problem }
    }
}

impl From<&CatalogueError> for PolicyProblem {
    fn from(error: &CatalogueError) -> Self {
        let mut problem = Problem::error(error.file.display().to_string(), error.message.clone());
        let number = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        problem.place =
            error.place.map(|(line, column)| Place { line: number(line), column: number(column), width: 1 });
        Self { text: error.to_string(), problem }
    }
}
