//! A file's text, and how problems point into it.

use std::ops::Range;

use serde_saphyr::Location;

use crate::expr::error::line_column;
use crate::rules::problem::{Place, Problem};
use crate::rules::raw::Scalar;

/// A file's text with the means to point into it.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    /// Its name for people.
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Document<'_> {
    /// An error at a place.
    pub(crate) fn error(&self, place: Place, rule: Option<&str>, message: impl Into<String>) -> Problem {
        Problem::error(self.file, message).at(place, self.text).about(rule)
    }

    /// Where a scalar stands.
    pub(crate) fn place(&self, scalar: &Scalar) -> Place {
        let width = scalar.value.lines().next().map_or(1, |line| line.chars().count()).max(1);
        place_of(scalar.referenced, width)
    }

    /// Where some bytes of a scalar's value stand. Block and folded scalars keep their characters in order and change only
    /// their white space, so both texts are walked side by side; where an escape stands in between, the scalar's beginning
    /// is as near as this comes.
    pub(crate) fn place_within(&self, scalar: &Scalar, bytes: Range<usize>) -> Place {
        let whole = self.place(scalar);
        let start = scalar.defined.span().byte_offset().and_then(|start| usize::try_from(start).ok());
        let Some(start) = start.filter(|start| self.text.is_char_boundary(*start)) else { return whole };
        let width = scalar
            .value
            .get(bytes.clone())
            .map_or(1, |part| part.lines().next().map_or(1, |line| line.chars().count()).max(1));
        let target = bytes.start.min(scalar.value.len());
        let mut file = self.text[start..].char_indices().peekable();
        if file.peek().is_some_and(|(_, c)| matches!(c, '"' | '\'')) && !scalar.value.starts_with(['"', '\''])
        {
            file.next();
        }
        for (at, c) in scalar.value.char_indices() {
            if c.is_whitespace() {
                if at >= target {
                    break;
                }
                continue;
            }
            while file.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            if at >= target {
                break;
            }
            if file.next_if(|(_, found)| *found == c).is_none() {
                return whole;
            }
        }
        let offset = file.peek().map_or(self.text.len(), |(at, _)| start + at);
        let (line, column) = line_column(self.text, offset);
        Place { line, column, width }
    }
}

/// A place as the YAML reader gives it.
pub(crate) fn place_of(location: Location, width: usize) -> Place {
    let from_one = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Place { line: from_one(location.line()), column: from_one(location.column()), width }
}
