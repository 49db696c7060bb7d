//! What YAML keeps for itself: tags (`!`), anchors (`&`) and aliases (`*`). A rule file has none of them.
//!
//! The reader passes over some tags, and would take `when: ! (score > 0.9)` for `(score > 0.9)`: the opposite of what stands there. So
//! all of them are refused before it reads, by the events of the very parser that it has.

use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScanError, Span};

use crate::rules::document::Document;
use crate::rules::problem::{Kind, PROBLEMS_COLLECTED_MAX, Place, Problem};

/// What helps with most conditions that are no YAML.
pub(crate) const HOW_TO_QUOTE: &str = "; put the whole condition in quotes, or on the lines below `when: |`";
/// What helps elsewhere.
const HOW_TO_QUOTE_TEXT: &str = "; put a text that begins so in quotes";
/// The key of conditions.
const CONDITION: &str = "when";

/// What was found in one file.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    /// One for each tag, anchor and alias.
    pub(crate) problems: Vec<Problem>,
    /// Where the text stops being YAML. What follows there was not looked at, so that nobody may read it.
    pub(crate) breaks_off: Option<Problem>,
    /// Whether it does so in the value of a `when`.
    pub(crate) breaks_off_in_condition: bool,
}

/// What may be missing at the end of a text that was cut within a rule: nothing, or what closes a rule in braces, alone or in a list.
const ENDS: [&str; 4] = ["", "\n}", "\n}]", "\n}]}"];

/// Looks for all tags, anchors and aliases.
pub(crate) fn markup(document: Document<'_>) -> Markup {
    let mut walk = Walk::new(document);
    let error = walk.over(document.text);
    let Some(error) = error else { return Markup { problems: walk.problems, ..Markup::default() } };
    let place = place(error.marker());
    let mut markup = Markup {
        breaks_off: Some(document.error(place, None, error.info()).of(Kind::InvalidYaml)),
        breaks_off_in_condition: walk.is_in_condition(error.marker()),
        problems: walk.problems,
    };
    // The parser looks ahead, on a line in braces up to its end, and then tells nothing of what stands before the error. It does
    // tell when the text ends there.
    let told = error.marker().byte_offset().and_then(|end| document.text.get(..end)).unwrap_or_default();
    for end in ENDS {
        if !markup.problems.is_empty() {
            break;
        }
        let mut again = Walk::new(document);
        again.over(&format!("{told}{end}"));
        markup.breaks_off_in_condition |= again.is_in_condition(error.marker());
        markup.problems = again.problems;
    }
    markup
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1, width: 1 }
}

/// A collection that is open.
#[derive(Clone, Copy, Debug)]
enum Level {
    Sequence,
    /// A mapping whose next node is a key.
    Key,
    /// A mapping whose next node is a value; whether it is a condition.
    Value {
        is_condition: bool,
    },
}

/// The last condition that was met.
#[derive(Clone, Copy, Debug)]
struct Condition {
    key_line: usize,
    /// The last line of its value, once there is one.
    last_line: Option<usize>,
}

struct Walk<'a> {
    document: Document<'a>,
    levels: Vec<Level>,
    /// Whether the last node was the value of a `when`.
    in_condition: bool,
    /// The last condition, as long as no other key has come.
    condition: Option<Condition>,
    problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn new(document: Document<'a>) -> Self {
        Self { document, levels: Vec::new(), in_condition: false, condition: None, problems: Vec::new() }
    }

    /// Walks over a text up to its end, to where it stops being YAML, or until there are too many problems.
    fn over(&mut self, text: &str) -> Option<ScanError> {
        let options = granit_parser::options! {
            emit_anchor_events: true,
            emit_unresolved_aliases: true,
            emit_comments: false,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            match event {
                Ok((event, span)) => {
                    self.step(&event, &span);
                    self.judge(&event, &span);
                }
                Err(error) => return Some(error),
            }
            if self.problems.len() >= PROBLEMS_COLLECTED_MAX {
                break;
            }
        }
        None
    }

    fn step(&mut self, event: &Event<'_>, span: &Span) {
        let opens = match event {
            Event::Scalar(..) | Event::Alias(_) | Event::UnresolvedAlias(_) => None,
            Event::SequenceStart(..) => Some(Level::Sequence),
            Event::MappingStart(..) => Some(Level::Key),
            Event::SequenceEnd | Event::MappingEnd => {
                self.levels.pop();
                return;
            }
            _ => return,
        };
        self.in_condition = matches!(self.levels.last(), Some(Level::Value { is_condition: true }));
        match self.levels.last_mut() {
            Some(level @ Level::Key) => {
                let is_condition = matches!(event, Event::Scalar(text, ..) if text == CONDITION);
                self.condition =
                    is_condition.then_some(Condition { key_line: span.end.line(), last_line: None });
                *level = Level::Value { is_condition };
            }
            Some(level @ Level::Value { .. }) => {
                *level = Level::Key;
                if let (true, Some(condition)) = (self.in_condition, &mut self.condition) {
                    condition.last_line = Some(span.end.line());
                }
            }
            Some(Level::Sequence) | None => {}
        }
        self.levels.extend(opens);
    }

    fn judge(&mut self, event: &Event<'_>, span: &Span) {
        let other = match event {
            Event::Anchor(..) => Some(('&', span.start)),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Some(('*', span.start)),
            _ => None,
        };
        let tag = span.tag_start().map(|start| ('!', start));
        for (sign, start) in tag.into_iter().chain(other) {
            let hint = if self.in_condition { HOW_TO_QUOTE } else { HOW_TO_QUOTE_TEXT };
            let message = format!("YAML keeps `{sign}` at the beginning of a value for itself{hint}");
            self.problems.push(self.document.error(place(&start), None, message).of(Kind::InvalidYaml));
        }
    }

    /// Whether an error at that place is one of the last condition.
    fn is_in_condition(&self, error: &Marker) -> bool {
        self.condition.is_some_and(|condition| {
            condition.last_line.is_none_or(|line| line == error.line()) || condition.key_line == error.line()
        })
    }
}
