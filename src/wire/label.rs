//! A label in JSON, as `POST /v1/labels` documents it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::domain::label::{Label, LabelKind, Verdict};
use crate::domain::text::{Id, TransactionId};
use crate::wire::pan;
use crate::wire::reader::ObjectReader;
use crate::wire::rejection::{FieldErrors, Rejection};
use crate::wire::transaction::json_from_slice;

/// Every kind with its name.
const KINDS: [(LabelKind, &str); 5] = [
    (LabelKind::Chargeback, "chargeback"),
    (LabelKind::EarlyFraudWarning, "early_fraud_warning"),
    (LabelKind::Refund, "refund"),
    (LabelKind::Review, "review"),
    (LabelKind::CustomerReport, "customer_report"),
];

/// Reads a label from the bytes of a body.
pub fn parse_slice(body: &[u8]) -> Result<Label, Rejection> {
    parse_value(&json_from_slice(body)?)
}

/// Reads a label from JSON that is already parsed.
pub fn parse_value(body: &Value) -> Result<Label, Rejection> {
    let mut errors = FieldErrors::default();
    pan::reject_card_numbers(body, &mut errors);
    let mut reader = ObjectReader::of_body(body, &mut errors);
    match read_label(&mut reader) {
        Some(label) if errors.is_empty() => Ok(label),
        _ => Err(errors.into_rejection()),
    }
}

fn read_label(body: &mut ObjectReader<'_, '_>) -> Option<Label> {
    body.require(&["transaction_id", "label", "kind", "occurred_at"]);
    let transaction_id = body.text("transaction_id", TransactionId::parse);
    let verdict = body.text("label", |text| match text {
        "fraud" => Ok(Verdict::Fraud),
        "legitimate" => Ok(Verdict::Legitimate),
        _ => Err("must be \"fraud\" or \"legitimate\""),
    });
    let kind = body.text("kind", |text| {
        KINDS.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind).ok_or_else(|| {
            let names: Vec<_> = KINDS.iter().map(|(_, name)| *name).collect();
            format!("must be one of {}", names.join(", "))
        })
    });
    let occurred_at = body.time("occurred_at");
    let reason_code = body.text("reason_code", Id::parse);
    Some(Label {
        transaction_id: transaction_id?,
        verdict: verdict?,
        kind: kind?,
        occurred_at: occurred_at?,
        reason_code,
    })
}

/// Writes a label canonically.
#[derive(Debug)]
pub struct LabelJson<'a>(pub &'a Label);

impl Serialize for LabelJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("transaction_id", &self.0.transaction_id)?;
        body.serialize_entry("label", &self.0.verdict)?;
        body.serialize_entry("kind", &self.0.kind)?;
        body.serialize_entry("occurred_at", &self.0.occurred_at.to_string())?;
        if let Some(reason_code) = &self.0.reason_code {
            body.serialize_entry("reason_code", reason_code)?;
        }
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_is_written() {
        for (_, kind) in KINDS {
            let body = json!({"transaction_id": "pay_9_1", "label": "fraud", "kind": kind,
                "occurred_at": "2026-10-27T12:00:00.000Z", "reason_code": "10.4"});
            let label = parse_value(&body).unwrap();
            assert_eq!(serde_json::to_value(LabelJson(&label)).unwrap(), body);
        }
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let Err(Rejection::Invalid(errors)) =
            parse_value(&json!({"label": "bad", "kind": "x", "occurred_at": 3}))
        else {
            panic!("must be refused")
        };
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/transaction_id", "/label", "/kind", "/occurred_at"]);
    }
}
