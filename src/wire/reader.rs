//! Walks a JSON object field by field, and remembers everything that is wrong with it.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::domain::time::EventTime;
use crate::wire::rejection::FieldErrors;

/// One JSON object being read. A field that is `null` counts as not sent.
#[derive(Debug)]
pub struct ObjectReader<'v, 'e> {
    pointer: &'static str,
    fields: Option<&'v Map<String, Value>>,
    fields_read: usize,
    errors: &'e mut FieldErrors,
}

impl<'v, 'e> ObjectReader<'v, 'e> {
    /// Starts at the body itself, which must be an object.
    pub fn of_body(value: &'v Value, errors: &'e mut FieldErrors) -> Self {
        let fields = value.as_object();
        if fields.is_none() {
            errors.push("", "must be a JSON object");
        }
        Self { pointer: "", fields, fields_read: 0, errors }
    }

    /// Steps into the object under `name`; `pointer` is its full JSON Pointer. Where there is none, every field of it is absent.
    pub fn object<'s>(&'s mut self, name: &str, pointer: &'static str) -> ObjectReader<'v, 's>
    where
        'e: 's,
    {
        let fields = match self.raw(name) {
            None => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => {
                self.errors.push(pointer, "must be an object");
                None
            }
        };
        ObjectReader { pointer, fields, fields_read: 0, errors: self.errors }
    }

    /// How many fields were sent that nobody asked for.
    pub fn unknown_fields(&self) -> usize {
        self.fields.map_or(0, |fields| fields.len().saturating_sub(self.fields_read))
    }

    /// The field as it came.
    pub fn raw(&mut self, name: &str) -> Option<&'v Value> {
        let value = self.fields?.get(name)?;
        self.fields_read += 1;
        if value.is_null() { None } else { Some(value) }
    }

    /// Records that `name` is wrong.
    pub fn reject(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(format!("{}/{}", self.pointer, escape(name)), detail);
    }

    /// Records that the value at `pointer` is wrong.
    pub fn reject_at(&mut self, pointer: String, detail: impl Into<String>) {
        self.errors.push(pointer, detail);
    }

    /// Records which of `names` were not sent.
    pub fn require(&mut self, names: &[&str]) {
        for name in names {
            if !self.has(name) {
                self.reject(name, "is required");
            }
        }
    }

    /// Whether there is an object to read.
    pub fn is_there(&self) -> bool {
        self.fields.is_some()
    }

    /// Whether the field was sent at all.
    pub fn has(&self, name: &str) -> bool {
        self.fields.and_then(|fields| fields.get(name)).is_some_and(|value| !value.is_null())
    }

    /// A text that `parse` accepts.
    pub fn text<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match self.raw(name)? {
            Value::String(text) => match parse(text) {
                Ok(parsed) => Some(parsed),
                Err(error) => {
                    self.reject(name, error.to_string());
                    None
                }
            },
            _ => {
                self.reject(name, "must be a string");
                None
            }
        }
    }

    /// A moment.
    pub fn time(&mut self, name: &str) -> Option<EventTime> {
        self.text(name, EventTime::parse_rfc3339)
    }

    /// A whole number in a range.
    pub fn integer(&mut self, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number = self.raw(name)?;
        match number.as_i64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.reject(name, format!("must be an integer from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// A finite number in a range.
    pub fn number(&mut self, name: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let number = self.raw(name)?;
        match number.as_f64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.reject(name, format!("must be a number from {} to {}", range.start(), range.end()));
                None
            }
        }
    }
}

/// Escapes one step of a JSON Pointer (RFC 6901, section 3).
pub fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}
