//! Why a text is no expression of the profile, and where.

use std::fmt;

/// One refusal: what is wrong, between which bytes of the text, and what was perhaps meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// What is wrong, for people; no full stop.
    pub message: String,
    /// First byte of the place in the text.
    pub start: usize,
    /// First byte after the place; at least `start`.
    pub end: usize,
    /// A name that exists and is close to the one written.
    pub suggestion: Option<String>,
}

impl ExprError {
    /// A refusal of the bytes `place`.
    pub fn new(place: std::ops::Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            start: place.start,
            end: place.end.max(place.start),
            suggestion: None,
        }
    }

    /// With a suggestion, if there is one.
    #[must_use]
    pub fn suggesting(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// Line and column of the place in `source`, both from 1; the column counts characters.
    pub fn line_column(&self, source: &str) -> (usize, usize) {
        line_column(source, self.start)
    }

    /// The refusal with the line of `source` and a caret under the place.
    pub fn render(&self, source: &str) -> String {
        let (line, column) = self.line_column(source);
        let text = source.lines().nth(line - 1).unwrap_or("");
        let width = source.get(self.start..self.end).map_or(1, |place| place.chars().count());
        format!("{line}:{column}: {self}\n{}", excerpt(text, column, width))
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExprError {}

/// Line and column of a byte of `source`, both from 1; the column counts characters.
pub fn line_column(source: &str, byte: usize) -> (usize, usize) {
    let byte = byte.min(source.len());
    let before = source.get(..byte).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A line and, under it, carets below `width` characters from `column` on.
pub fn excerpt(line: &str, column: usize, width: usize) -> String {
    let before = column.saturating_sub(1);
    let room = line.chars().count().saturating_sub(before).max(1);
    let padding: String = line
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .chain(std::iter::repeat(' '))
        .take(before)
        .collect();
    format!("  | {line}\n  | {padding}{}", "^".repeat(width.clamp(1, room)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_points_at_its_place() {
        let source = "score > 0.5\n  && amont > 3";
        let error = ExprError::new(17..22, "unknown name `amont`").suggesting(Some("amount".to_owned()));
        assert_eq!(
            error.render(source),
            "2:6: unknown name `amont`; did you mean `amount`?\n  |   && amont > 3\n  |      ^^^^^"
        );
        assert_eq!(line_column("ä == b", 3), (1, 3));
        assert_eq!(line_column("a", 99), (1, 2));
    }
}
