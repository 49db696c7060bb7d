//! UBJSON (Universal Binary JSON, draft 12) as far as XGBoost writes it: a serde deserializer over the bytes of a file.
//!
//! What must hold: whatever the bytes are, reading ends with a value or with an error that names its place; it never reads
//! beyond the bytes, never recurses deeper than `NESTING_MAX`, and never believes a length that the bytes cannot hold.

use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use thiserror::Error;

/// How deep values may stand in each other; a model document needs nine levels.
pub const NESTING_MAX: usize = 32;
/// Longest text, in bytes: a name, a number written as text, or what a user kept in the attributes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why bytes cannot be read, and where.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what} at byte {at}")]
pub struct UbjsonError {
    /// What is wrong.
    pub what: String,
    /// Where, counted from 0; the end of what had been read when it was noticed.
    pub at: usize,
}

/// Not yet known where.
const NOWHERE: usize = usize::MAX;

impl de::Error for UbjsonError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { what: message.to_string(), at: NOWHERE }
    }
}

/// Reads one value, which must be all of the bytes.
pub fn from_slice<'de, T: de::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, UbjsonError> {
    let mut reader = Reader { bytes, at: 0, nesting: 0 };
    let marker = reader.marker();
    let read = marker.and_then(|marker| T::deserialize(Value { reader: &mut reader, marker }));
    let value = read.map_err(|error| reader.placed(error))?;
    if reader.at != bytes.len() {
        return Err(reader.error(format!("{} bytes follow the value", bytes.len() - reader.at)));
    }
    Ok(value)
}

struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
    nesting: usize,
}

impl<'de> Reader<'de> {
    fn error(&self, what: impl Into<String>) -> UbjsonError {
        UbjsonError { what: what.into(), at: self.at }
    }

    fn placed(&self, error: UbjsonError) -> UbjsonError {
        if error.at == NOWHERE { UbjsonError { at: self.at, ..error } } else { error }
    }

    fn take(&mut self, count: usize) -> Result<&'de [u8], UbjsonError> {
        let found = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or_else(|| {
            self.error(format!("{count} bytes are needed and {} are left", self.bytes.len() - self.at))
        })?;
        self.at += count;
        Ok(found)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], UbjsonError> {
        self.take(N)?.try_into().map_err(|_| self.error("a number is cut off"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next marker; `N` stands for nothing and is passed over.
    fn marker(&mut self) -> Result<u8, UbjsonError> {
        loop {
            let [marker] = self.take_array()?;
            if marker != b'N' {
                return Ok(marker);
            }
        }
    }

    fn integer(&mut self, marker: u8) -> Result<i64, UbjsonError> {
        Ok(match marker {
            b'i' => i8::from_be_bytes(self.take_array()?).into(),
            b'U' => u8::from_be_bytes(self.take_array()?).into(),
            b'I' => i16::from_be_bytes(self.take_array()?).into(),
            b'l' => i32::from_be_bytes(self.take_array()?).into(),
            b'L' => i64::from_be_bytes(self.take_array()?),
            other => return Err(self.error(format!("a length begins with {}", shown(other)))),
        })
    }

    /// A length: of a text, or of a list whose elements take at least `element_bytes_min` bytes each.
    fn length(&mut self, element_bytes_min: usize) -> Result<usize, UbjsonError> {
        let marker = self.marker()?;
        let length = self.integer(marker)?;
        let left = self.bytes.len() - self.at;
        usize::try_from(length)
            .ok()
            .filter(|length| length.checked_mul(element_bytes_min).is_some_and(|bytes| bytes <= left))
            .ok_or_else(|| self.error(format!("a length of {length} does not fit the {left} bytes left")))
    }

    fn text(&mut self) -> Result<&'de str, UbjsonError> {
        let length = self.length(1)?;
        if length > TEXT_BYTES_MAX {
            return Err(self.error(format!("a text has {length} bytes; at most {TEXT_BYTES_MAX}")));
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| self.error("a text is not UTF-8"))
    }

    fn enter(&mut self) -> Result<(), UbjsonError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.error(format!("values stand in each other more than {NESTING_MAX} deep")));
        }
        Ok(())
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, UbjsonError> {
        self.enter()?;
        let element = if self.peek() == Some(b'$') {
            self.take(1)?;
            let [element] = self.take_array()?;
            if bytes_of(element).is_none() {
                return Err(self.error(format!("a list of {} in short form", shown(element))));
            }
            if self.peek() != Some(b'#') {
                return Err(self.error("a list in short form has no length"));
            }
            Some(element)
        } else {
            None
        };
        let left = if self.peek() == Some(b'#') {
            self.take(1)?;
            Some(self.length(element.and_then(bytes_of).unwrap_or(1))?)
        } else {
            None
        };
        let mut list = List { reader: self, element, left, is_over: false };
        let value = visitor.visit_seq(&mut list)?;
        let is_over = list.is_over || list.left == Some(0);
        if !is_over {
            return Err(self.error("a list has more elements than it should"));
        }
        self.nesting -= 1;
        Ok(value)
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, UbjsonError> {
        self.enter()?;
        if matches!(self.peek(), Some(b'$' | b'#')) {
            return Err(self.error("an object in short form, which XGBoost does not write,"));
        }
        let value = visitor.visit_map(Object { reader: self })?;
        self.nesting -= 1;
        Ok(value)
    }
}

/// How many bytes a value of this marker takes, where it is one size.
const fn bytes_of(marker: u8) -> Option<usize> {
    match marker {
        b'i' | b'U' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

fn shown(marker: u8) -> String {
    if marker.is_ascii_graphic() {
        format!("`{}`", char::from(marker))
    } else {
        format!("byte {marker:#04x}")
    }
}

/// One value, whose marker has been read.
struct Value<'a, 'de> {
    reader: &'a mut Reader<'de>,
    marker: u8,
}

impl<'de> de::Deserializer<'de> for Value<'_, 'de> {
    type Error = UbjsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, UbjsonError> {
        let Self { reader, marker } = self;
        match marker {
            b'{' => reader.object(visitor),
            b'[' => reader.list(visitor),
            b'S' => visitor.visit_borrowed_str(reader.text()?),
            b'T' => visitor.visit_bool(true),
            b'F' => visitor.visit_bool(false),
            b'Z' => visitor.visit_unit(),
            b'd' => visitor.visit_f32(f32::from_be_bytes(reader.take_array()?)),
            b'D' => visitor.visit_f64(f64::from_be_bytes(reader.take_array()?)),
            b'i' | b'U' | b'I' | b'l' | b'L' => visitor.visit_i64(reader.integer(marker)?),
            other => Err(reader.error(format!("a value begins with {}", shown(other)))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, UbjsonError> {
        if self.marker == b'Z' { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The elements of a list: all of one marker, or each with its own; of a known length, or until `]`.
struct List<'a, 'de> {
    reader: &'a mut Reader<'de>,
    element: Option<u8>,
    left: Option<usize>,
    is_over: bool,
}

impl<'de> SeqAccess<'de> for &mut List<'_, 'de> {
    type Error = UbjsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, UbjsonError> {
        if self.is_over || self.left == Some(0) {
            return Ok(None);
        }
        let marker = match self.element {
            Some(marker) => marker,
            None => self.reader.marker()?,
        };
        match &mut self.left {
            None if marker == b']' => {
                self.is_over = true;
                return Ok(None);
            }
            None => {}
            Some(left) => *left -= 1,
        }
        let value = seed.deserialize(Value { reader: &mut *self.reader, marker });
        value.map(Some).map_err(|error| self.reader.placed(error))
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

/// The members of an object: each a length, a name and a value.
struct Object<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'de> MapAccess<'de> for Object<'_, 'de> {
    type Error = UbjsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, UbjsonError> {
        while self.reader.peek() == Some(b'N') {
            self.reader.take(1)?;
        }
        if self.reader.peek() == Some(b'}') {
            self.reader.take(1)?;
            return Ok(None);
        }
        let name = self.reader.text()?;
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, UbjsonError> {
        let marker = self.reader.marker()?;
        let value = seed.deserialize(Value { reader: &mut *self.reader, marker });
        value.map_err(|error| self.reader.placed(error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let facts: [(&[u8], Json); 12] = [
            (b"Z", json!(null)),
            (b"T", json!(true)),
            (b"i\xfe", json!(-2)),
            (b"U\xfe", json!(254)),
            (b"I\x01\x00", json!(256)),
            (b"l\xff\xff\xff\xff", json!(-1)),
            (b"L\0\0\0\0\0\0\0\x07", json!(7)),
            (b"d\x3f\x00\0\0", json!(0.5)),
            (b"D\x3f\xe0\0\0\0\0\0\0", json!(0.5)),
            (b"{L\0\0\0\0\0\0\0\x01aNSU\x02hiNi\x01b[#i\x00}", json!({"a": "hi", "b": []})),
            (b"[$U#i\x03\x01\x02\x03", json!([1, 2, 3])),
            (b"[Ti\x05[]]", json!([true, 5, []])),
        ];
        for (bytes, expected) in facts {
            assert_eq!(from_slice::<Json>(bytes), Ok(expected), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let deep = [b'['; 40];
        let facts: [(&[u8], &str); 14] = [
            (b"", "1 bytes are needed and 0 are left at byte 0"),
            (b"l\0\0", "4 bytes are needed and 2 are left at byte 1"),
            (b"Q", "a value begins with `Q` at byte 1"),
            (b"\xff", "a value begins with byte 0xff at byte 1"),
            (b"TT", "1 bytes follow the value at byte 1"),
            (
                b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff",
                "a length of 9223372036854775807 does not fit the 0 bytes left",
            ),
            (b"[$d#i\x02\0\0\0\0\0\0\0", "a length of 2 does not fit the 7 bytes left at byte 6"),
            (b"[#i\xff", "a length of -1 does not fit"),
            (b"[$S#i\x01", "a list of `S` in short form at byte 3"),
            (b"[$Ui\x01", "a list in short form has no length"),
            (b"{#i\x00", "an object in short form"),
            (b"{S", "a length begins with `S` at byte 2"),
            (b"SU\x01\xff", "a text is not UTF-8"),
            (&deep, "values stand in each other more than 32 deep at byte 33"),
        ];
        for (bytes, expected) in facts {
            let error = from_slice::<Json>(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{bytes:?}: {error}");
        }
        let error = from_slice::<Vec<u8>>(b"[i\x01SU\x01a]").unwrap_err().to_string();
        assert!(error.contains("invalid type: string \"a\"") && error.ends_with("at byte 7"), "{error}");
    }
}
