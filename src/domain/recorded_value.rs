//! A scalar as records keep it.

use serde::{Deserialize, Serialize};

use crate::domain::value::Value;

/// One scalar that owns its text; as JSON: null, a bool, a number or a text. A moment is a text in RFC 3339; a number that JSON
/// does not have (infinity) is written as null.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecordedValue {
    /// Not there.
    Missing,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text, or a moment.
    Text(Box<str>),
}

impl From<Value<'_>> for RecordedValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Missing => Self::Missing,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Int(number) => Self::Int(number),
            Value::Double(number) => Self::Double(number),
            Value::Text(text) => Self::Text(text.into()),
            Value::Time(time) => Self::Text(time.to_string().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::EventTime;

    #[test]
    fn values_as_json_and_back() {
        let cases = [
            (Value::Missing, "null"),
            (Value::Bool(true), "true"),
            (Value::Int(-7), "-7"),
            (Value::Double(6.0), "6.0"),
            (Value::Double(0.93), "0.93"),
            (Value::Text("NO"), "\"NO\""),
            (Value::Time(EventTime::EPOCH), "\"1970-01-01T00:00:00.000Z\""),
        ];
        for (value, json) in cases {
            let recorded = RecordedValue::from(value);
            assert_eq!(serde_json::to_string(&recorded).unwrap(), json);
            assert_eq!(serde_json::from_str::<RecordedValue>(json).unwrap(), recorded);
        }
        assert_eq!(serde_json::to_string(&RecordedValue::Double(f64::INFINITY)).unwrap(), "null");
    }
}
