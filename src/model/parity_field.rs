//! Puts a parity certificate into a manifest and leaves every other byte as it is.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::model::manifest::ModelError;
use crate::model::verify::Certificate;

/// Where the certificate goes.
#[derive(Deserialize)]
struct Place<'a> {
    /// The model that the manifest is of.
    #[serde(borrow, default)]
    model_sha256: Option<&'a str>,
    /// Also when it is null; `None` when there is no such field.
    #[serde(borrow, default, deserialize_with = "whatever_stands_there")]
    parity: Option<&'a RawValue>,
}

fn whatever_stands_there<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Writes the certificate as the field `parity` of a manifest, whole or not at all.
pub fn write(manifest: &Path, certificate: &Certificate) -> Result<(), ModelError> {
    let unwritable = |error| ModelError::Unwritable { file: manifest.to_owned(), error };
    let malformed = |error| ModelError::Malformed { file: manifest.to_owned(), error };
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| ModelError::Unreadable { file: manifest.to_owned(), error })?;
    let place: Place<'_> = serde_json::from_str(&text).map_err(malformed)?;
    if place.model_sha256.is_some_and(|now| *now != *certificate.model_sha256) {
        return Err(ModelError::OtherModel { file: manifest.to_owned() });
    }
    let value = serde_json::to_string_pretty(certificate).map_err(malformed)?;
    let text = with_parity(&text, &value).map_err(malformed)?;
    let mut draft = manifest.as_os_str().to_owned();
    draft.push(".new");
    std::fs::write(&draft, text).map_err(unwritable)?;
    std::fs::rename(&draft, manifest).map_err(unwritable)
}

/// A manifest's text with `value`, which is printed with line breaks, as its `parity`.
fn with_parity(text: &str, value: &str) -> Result<String, serde_json::Error> {
    let value = value.replace('\n', "\n  ");
    let place: Place<'_> = serde_json::from_str(text)?;
    if let Some(there) = place.parity {
        let start = there.get().as_ptr() as usize - text.as_ptr() as usize;
        return Ok(format!("{}{value}{}", &text[..start], &text[start + there.get().len()..]));
    }
    let (fields, end) = text.rsplit_once('}').unwrap_or((text, ""));
    let fields = fields.trim_end();
    let comma = if fields.ends_with('{') { "" } else { "," };
    Ok(format!("{fields}{comma}\n  \"parity\": {value}\n}}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_of_another_model_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = directory.path().join("manifest.json");
        let certificate = Certificate {
            schema: 1,
            tollgate: "0.1.0",
            model_sha256: "sha256:01".to_owned(),
            features: 1,
            trees: 1,
            rows: 1,
            rows_from: String::new(),
            served: "walk",
            compared: Vec::new(),
            holds: true,
        };
        let of_another = "{\"model_sha256\": \"sha256:00\", \"parity\": null}";
        std::fs::write(&manifest, of_another).unwrap();
        assert!(matches!(write(&manifest, &certificate), Err(ModelError::OtherModel { .. })));
        assert_eq!(std::fs::read_to_string(&manifest).unwrap(), of_another);
        std::fs::write(&manifest, of_another.replace("00", "01")).unwrap();
        write(&manifest, &certificate).unwrap();
        assert!(std::fs::read_to_string(&manifest).unwrap().contains("\"holds\": true"));
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let value = "{\n  \"rows\": 7\n}";
        let facts = [
            (
                "{\n  \"z\": 1,\n  \"parity\": null,\n  \"a\": [0.10]\n}\n",
                "{\n  \"z\": 1,\n  \"parity\": {\n    \"rows\": 7\n  },\n  \"a\": [0.10]\n}\n",
            ),
            ("{\"parity\":{\"old\":{}},\"b\":2}", "{\"parity\":{\n    \"rows\": 7\n  },\"b\":2}"),
            (
                "{\n  \"name\": \"}\"\n}\n",
                "{\n  \"name\": \"}\",\n  \"parity\": {\n    \"rows\": 7\n  }\n}\n",
            ),
            ("{}", "{\n  \"parity\": {\n    \"rows\": 7\n  }\n}"),
        ];
        for (text, expected) in facts {
            assert_eq!(with_parity(text, value).unwrap(), expected);
        }
        assert!(with_parity("7", value).is_err());
        assert!(with_parity("{\"parity\": 1, \"parity\": 2}", value).is_err());
    }
}
