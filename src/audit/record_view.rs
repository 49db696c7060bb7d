//! The body of a decision's record, taken apart without decoding what nobody asks for.
//!
//! [`DecisionRecord`] is what a record is; this is a faster way to some of it, for those who read millions. A body that is not written
//! as this program writes one (a key twice or with an escape, something after the end) gives no view, and is decoded whole instead.

use memchr::{memchr, memchr_iter, memchr2, memmem};
use serde::Deserialize;

use crate::audit::record::{self, DecisionRecord, RecordError};
use crate::domain::decision::Decision;
use crate::feature::vector::FeatureVector;

/// The fields of a record, in the order in which they are written. Names are compared at this place first.
const NAMES: [&str; FIELDS] = [
    "decision_id",
    "transaction_id",
    "decision",
    "reason",
    "reasons",
    "score",
    "risk_level",
    "challenge",
    "degraded",
    "missing",
    "versions",
    "idempotency_key",
    "fingerprint",
    "received_at_ms",
    "repeat",
    "state_sequence",
    "transaction",
    "enrichment",
    "ip",
    "features",
    "feature_texts",
    "margin",
    "contributions",
    "bias",
    "hits",
    "hits_left_out",
    "listed",
    "policy",
    "latency_us",
];
const FIELDS: usize = 29;

/// A field of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[expect(missing_docs, reason = "`DecisionRecord` says what each is")]
pub enum RecordField {
    DecisionId,
    TransactionId,
    Decision,
    Reason,
    Reasons,
    Score,
    RiskLevel,
    Challenge,
    Degraded,
    Missing,
    Versions,
    IdempotencyKey,
    Fingerprint,
    ReceivedAtMs,
    Repeat,
    StateSequence,
    Transaction,
    Enrichment,
    Ip,
    Features,
    FeatureTexts,
    Margin,
    Contributions,
    Bias,
    Hits,
    HitsLeftOut,
    Listed,
    Policy,
    LatencyUs,
}

/// The values of a record's fields, as they are written.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    fields: [Option<&'a [u8]>; FIELDS],
    has_others: bool,
}

impl<'a> RecordView<'a> {
    /// Takes a body apart; `None` when it is not written as this program writes one.
    pub fn of(body: &'a [u8]) -> Option<Self> {
        let mut view = Self { fields: [None; FIELDS], has_others: false };
        let (mut at, mut next) = (1, 0);
        if body.first() != Some(&b'{') {
            return None;
        }
        loop {
            let key_end = after_text(body, at)?;
            let key = &body[at + 1..key_end - 1];
            let value_at = key_end + 1;
            if body.get(key_end) != Some(&b':') || key.contains(&b'\\') {
                return None;
            }
            let end = after_value(body, value_at)?;
            let is_key = |name: &str| name.as_bytes() == key;
            let place = (next..FIELDS).find(|place| is_key(NAMES[*place]));
            match place.or_else(|| NAMES.iter().position(|name| is_key(name))) {
                Some(place) if view.fields[place].is_none() => {
                    view.fields[place] = Some(&body[value_at..end]);
                    next = place + 1;
                }
                Some(_) => return None,
                None => view.has_others = true,
            }
            match body.get(end)? {
                b',' => at = end + 1,
                b'}' if end + 1 == body.len() => return Some(view),
                _ => return None,
            }
        }
    }

    /// Whether there are fields that this program does not know.
    pub const fn has_others(&self) -> bool {
        self.has_others
    }

    /// A value as it is written; none where the record has no such field.
    pub const fn raw(&self, field: RecordField) -> Option<&'a [u8]> {
        self.fields[field as usize]
    }

    /// A value, decoded; the default of its type where the record has no such field.
    pub fn get<T: Deserialize<'a> + Default>(&self, field: RecordField) -> Result<T, RecordError> {
        match self.raw(field) {
            Some(raw) => Ok(serde_json::from_slice(raw)?),
            None => Ok(T::default()),
        }
    }

    /// A value that every record has, decoded.
    pub fn required<T: Deserialize<'a>>(&self, field: RecordField) -> Result<T, RecordError> {
        let raw = self.raw(field).ok_or(RecordError::Malformed(NAMES[field as usize]))?;
        Ok(serde_json::from_slice(raw)?)
    }

    /// A text that holds no escapes; `None` when it does, or is none.
    pub fn plain_text(&self, field: RecordField) -> Option<&'a str> {
        let text = self.raw(field)?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr(b'\\', text).is_some() { None } else { std::str::from_utf8(text).ok() }
    }

    /// All of it, decoded field by field.
    fn whole(&self) -> Result<DecisionRecord, RecordError> {
        Ok(DecisionRecord {
            answer: Decision {
                decision_id: self.required(RecordField::DecisionId)?,
                transaction_id: self.required(RecordField::TransactionId)?,
                decision: self.required(RecordField::Decision)?,
                reason: self.required(RecordField::Reason)?,
                reasons: self.required(RecordField::Reasons)?,
                score: self.get(RecordField::Score)?,
                risk_level: self.required(RecordField::RiskLevel)?,
                challenge: self.get(RecordField::Challenge)?,
                degraded: self.required(RecordField::Degraded)?,
                missing: self.required(RecordField::Missing)?,
                versions: self.required(RecordField::Versions)?,
            },
            idempotency_key: self.required(RecordField::IdempotencyKey)?,
            fingerprint: self.required(RecordField::Fingerprint)?,
            received_at_ms: self.required(RecordField::ReceivedAtMs)?,
            repeat: self.get(RecordField::Repeat)?,
            state_sequence: self.required(RecordField::StateSequence)?,
            transaction: self.required(RecordField::Transaction)?,
            enrichment: self.required(RecordField::Enrichment)?,
            ip: self.get(RecordField::Ip)?,
            features: self.required(RecordField::Features)?,
            feature_texts: self.get(RecordField::FeatureTexts)?,
            margin: self.get(RecordField::Margin)?,
            contributions: self.get(RecordField::Contributions)?,
            bias: self.get(RecordField::Bias)?,
            hits: self.required(RecordField::Hits)?,
            hits_left_out: self.get(RecordField::HitsLeftOut)?,
            listed: self.get(RecordField::Listed)?,
            policy: self.required(RecordField::Policy)?,
            latency_us: self.required(RecordField::LatencyUs)?,
        })
    }

    /// The vector; `None` when it is not what a record's vector looks like.
    pub fn vector(&self, numbers: &mut Vec<f64>) -> Option<FeatureVector> {
        numbers.clear();
        read_numbers(self.raw(RecordField::Features)?, numbers)?;
        let texts: Vec<(u16, Box<str>)> = self.get(RecordField::FeatureTexts).ok()?;
        Some(FeatureVector::of(numbers, texts))
    }
}

/// Reads the body of a decision's record, as `record::decode` does, field by field: so its flattened answer is not gathered in between.
pub fn decode(body: &[u8]) -> Result<DecisionRecord, RecordError> {
    match RecordView::of(body).map(|view| view.whole()) {
        Some(Ok(record)) => Ok(record),
        // With the error that names the place.
        _ => record::decode(body),
    }
}

/// Where the text ends that begins at `at` with its quote: behind the closing one.
fn after_text(body: &[u8], at: usize) -> Option<usize> {
    if body.get(at) != Some(&b'"') {
        return None;
    }
    let mut from = at + 1;
    loop {
        let found = from + memchr2(b'"', b'\\', body.get(from..)?)?;
        if body[found] == b'"' {
            return Some(found + 1);
        }
        from = found + 2;
    }
}

/// Where the value ends that begins at `at`. Of what is inside, only texts and brackets are looked at.
fn after_value(body: &[u8], at: usize) -> Option<usize> {
    match body.get(at)? {
        b'"' => after_text(body, at),
        b'[' if body.get(at + 1) == Some(&b'[') => {
            // Pairs of numbers, unless there is a text or a bracket more among them.
            let Some(found) = memmem::find(&body[at..], b"]]") else { return after_nested(body, at) };
            let end = at + found + 2;
            let count = |bracket| memchr_iter(bracket, &body[at..end]).count();
            let is_flat = memchr2(b'"', b'{', &body[at..end]).is_none() && count(b'[') == count(b']');
            if is_flat { Some(end) } else { after_nested(body, at) }
        }
        b'[' | b'{' => after_nested(body, at),
        _ => Some(at + body[at..].iter().position(|byte| matches!(byte, b',' | b'}'))?),
    }
}

fn after_nested(body: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match *body.get(at)? {
            b'"' => {
                at = after_text(body, at)?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Powers of ten that are exact.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads `[1.0,null,-2.5e-7]`, where null is missing, without white space.
fn read_numbers(raw: &[u8], numbers: &mut Vec<f64>) -> Option<()> {
    let inside = raw.strip_prefix(b"[")?.strip_suffix(b"]")?;
    if inside.is_empty() {
        return Some(());
    }
    let mut at = 0;
    loop {
        let end = at + inside[at..].iter().position(|byte| *byte == b',').unwrap_or(inside.len() - at);
        let word = &inside[at..end];
        numbers.push(if word == b"null" { f64::NAN } else { number(word)? });
        if end == inside.len() {
            return Some(());
        }
        at = end + 1;
    }
}

/// A number of JSON, correctly rounded. Where its digits and its power of ten are both exact as they are (Clinger, *How to read floating
/// point numbers accurately*, 1990), one division rounds them; else the standard library reads it.
fn number(word: &[u8]) -> Option<f64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let (mut mantissa, mut point, mut count) = (0_u64, None, 0_usize);
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if count < 18 => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                count += 1;
            }
            b'.' if point.is_none() && index > 0 && index + 1 < digits.len() => point = Some(count),
            _ => return slow_number(word),
        }
    }
    let scale = count - point.unwrap_or(count);
    if count == 0 || mantissa > 1 << 53 || scale >= TENS.len() {
        return slow_number(word);
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let value = mantissa as f64 / TENS[scale];
    Some(if digits.len() == word.len() { value } else { -value })
}

fn slow_number(word: &[u8]) -> Option<f64> {
    serde_json::from_slice(word).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_names_stand_at_the_places_of_their_fields() {
        assert_eq!(NAMES[RecordField::Policy as usize], "policy");
        assert_eq!(NAMES[RecordField::LatencyUs as usize], "latency_us");
        assert_eq!(NAMES[RecordField::Transaction as usize], "transaction");
        assert_eq!(NAMES[RecordField::HitsLeftOut as usize], "hits_left_out");
    }

    #[test]
    fn what_is_written_otherwise_gives_no_view() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"policy":"a","policy":"b"}"#,
            r#"{"policy" :"a"}"#,
            r#"{"poli\u0063y":"a"}"#,
            r#"{"policy":"a"} "#,
            r#"{"policy":"a""#,
            r#"{"policy":[1"#,
        ] {
            assert!(RecordView::of(body.as_bytes()).is_none(), "{body}");
        }
        let odd = r#"{"x":{"a":["]}\"",{}]},"policy":"p","contributions":[[1,2.0],[3,4.0]],"feature_texts":[[1,"]]"],[2,"b"]],"reason":"\\"}"#;
        let view = RecordView::of(odd.as_bytes()).unwrap();
        assert!(view.has_others());
        assert_eq!(view.plain_text(RecordField::Policy), Some("p"));
        assert_eq!(view.plain_text(RecordField::Reason), None);
        assert_eq!(view.raw(RecordField::Contributions), Some(&b"[[1,2.0],[3,4.0]]"[..]));
        assert_eq!(view.raw(RecordField::FeatureTexts), Some(&br#"[[1,"]]"],[2,"b"]]"#[..]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Every value is where serde_json finds it.
        #[test]
        fn values_are_found_whole(values in proptest::collection::vec(any_json(), FIELDS)) {
            let object: serde_json::Map<String, Value> =
                NAMES.iter().map(|name| (*name).to_owned()).zip(values).collect();
            let body = serde_json::to_vec(&object).unwrap();
            let view = RecordView::of(&body).unwrap();
            for (place, name) in NAMES.iter().enumerate() {
                prop_assert_eq!(view.fields[place].unwrap(), serde_json::to_vec(&object[*name]).unwrap());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}\",:a0\\\\]{0,40}") {
            let _ = RecordView::of(&bytes);
            let _ = RecordView::of(format!("{{{text}").as_bytes());
            let _ = read_numbers(&bytes, &mut Vec::new());
        }

        /// Every double comes back with its bits, however it is written.
        #[test]
        fn numbers_are_read_to_the_bit(bits in any::<u64>(), whole in any::<i32>(), places in 0_usize..12) {
            let drawn = f64::from_bits(bits);
            let short = format!("{:.places$}", f64::from(whole) / 1000.0);
            let texts = [serde_json::to_string(&drawn).unwrap(), format!("{whole}.0"), short];
            for text in texts.iter().filter(|text| *text != "null") {
                let mut numbers = Vec::new();
                read_numbers(format!("[{text}]").as_bytes(), &mut numbers).unwrap();
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!(numbers[0].to_bits(), expected.to_bits(), "{}", text);
            }
        }
    }
}
