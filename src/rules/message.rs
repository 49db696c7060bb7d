//! The sentence that a hit shows to people: `"{card.count_5m} attempts on one card"`.

use std::fmt::Write as _;
use std::ops::Range;

use crate::domain::value::Value;
use crate::expr::program::Facts;
use crate::expr::schema::{Schema, Slot};

/// Longest message as written, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 512;
/// Longest sentence, in bytes; what is longer is cut and ends with `…`.
const SENTENCE_BYTES_MAX: usize = 2_048;
/// Longest text value that a message shows, in characters.
const VALUE_CHARS_MAX: usize = 128;

/// A compiled message. `{name}` stands for a value, `{{` and `}}` for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Value(Slot),
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// The bytes that are wrong.
    pub place: Range<usize>,
    /// What is wrong with them.
    pub message: String,
    /// A name that was perhaps meant.
    pub suggestion: Option<String>,
}

impl Message {
    /// Compiles a text; every name in it must be known.
    pub fn compile(source: &str, schema: &mut Schema) -> Result<Self, MessageError> {
        let wrong = |place: Range<usize>, message: String| MessageError { place, message, suggestion: None };
        if source.len() > MESSAGE_BYTES_MAX {
            return Err(wrong(0..0, format!("a message is at most {MESSAGE_BYTES_MAX} bytes long")));
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut chars = source.char_indices().peekable();
        while let Some((start, c)) = chars.next() {
            let doubled = chars.peek().is_some_and(|(_, next)| *next == c);
            match c {
                '{' | '}' if doubled => {
                    chars.next();
                    text.push(c);
                }
                '{' => {
                    let Some(length) = source[start..].find('}') else {
                        return Err(wrong(
                            start..start + 1,
                            "`{` has no `}`; write `{{` for a brace".to_owned(),
                        ));
                    };
                    let name = &source[start + 1..start + length];
                    let Some(binding) = schema.resolve(name.trim()) else {
                        return Err(MessageError {
                            place: start + 1..start + length,
                            message: format!("unknown name `{}`", name.trim()),
                            suggestion: schema.nearest_name(name.trim()),
                        });
                    };
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text).into()));
                    }
                    parts.push(Part::Value(binding.slot));
                    while chars.next_if(|(at, _)| *at <= start + length).is_some() {}
                }
                '}' => {
                    return Err(wrong(start..start + 1, "`}` has no `{`; write `}}` for a brace".to_owned()));
                }
                _ => text.push(c),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Self(parts.into()))
    }

    /// The sentence for one transaction. A missing value reads `missing`; a number shows at most four decimals.
    pub fn render<F: Facts + ?Sized>(&self, facts: &F) -> String {
        let mut sentence = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => sentence.push_str(text),
                Part::Value(slot) => show(&mut sentence, facts.value(*slot)),
            }
        }
        if sentence.len() > SENTENCE_BYTES_MAX {
            sentence.truncate(sentence.floor_char_boundary(SENTENCE_BYTES_MAX - '…'.len_utf8()));
            sentence.push('…');
        }
        sentence
    }
}

fn show(sentence: &mut String, value: Value<'_>) {
    match value {
        Value::Text(text) => sentence.extend(text.chars().take(VALUE_CHARS_MAX)),
        // Rounded to the four decimals that help a reader; `+ 0.0` turns -0 into 0.
        Value::Double(number) if number.abs() < 1e11 => {
            let _ = write!(sentence, "{}", (number * 1e4).round() / 1e4 + 0.0);
        }
        // Writing to a text cannot fail.
        other => {
            let _ = write!(sentence, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::ValueType;

    struct Values(Vec<Value<'static>>);
    impl Facts for Values {
        fn value(&self, slot: Slot) -> Value<'_> {
            self.0.get(slot.0 as usize).copied().unwrap_or_default()
        }
        fn in_list(&self, _: usize, _: Value<'_>) -> bool {
            false
        }
    }

    fn schema() -> Schema {
        let mut schema = Schema::new(Slot(100));
        for (slot, name) in (0..).zip(["amount", "card.count_5m", "customer.id"]) {
            schema.add(name, ValueType::Double, Slot(slot), true).unwrap();
        }
        schema
    }

    #[test]
    fn messages_show_values() {
        let facts = Values(vec![Value::Double(12.5), Value::Double(6.0), Value::Text("c_7")]);
        let nothing = Values(vec![]);
        let cases = [
            ("{card.count_5m} attempts", "6 attempts", "missing attempts"),
            ("{customer.id}: {amount}", "c_7: 12.5", "missing: missing"),
            ("{{{amount}}} ä {metadata.x}", "{12.5} ä missing", "{missing} ä missing"),
            ("plain", "plain", "plain"),
            ("", "", ""),
        ];
        for (source, full, empty) in cases {
            let message = Message::compile(source, &mut schema()).unwrap();
            assert_eq!(message.render(&facts), full, "{source}");
            assert_eq!(message.render(&nothing), empty, "{source}");
        }
        let numbers = [(5.123_456, "5.1235"), (-0.0, "0"), (1e300, "1"), (33.333_333_333, "33.3333")];
        for (number, start) in numbers {
            let message = Message::compile("{amount}", &mut schema()).unwrap();
            assert!(message.render(&Values(vec![Value::Double(number)])).starts_with(start), "{number}");
        }
    }

    #[test]
    fn wrong_messages_are_refused() {
        let error = |source: &str| Message::compile(source, &mut schema()).unwrap_err();
        assert_eq!(error("x {card.cuont_5m}").suggestion.as_deref(), Some("card.count_5m"));
        assert_eq!(error("x {card.cuont_5m}").place, 3..16);
        assert!(error("x {").message.contains("has no `}`"));
        assert!(error("x }").message.contains("has no `{`"));
        assert!(error(&"x".repeat(513)).message.contains("at most"));
    }
}
