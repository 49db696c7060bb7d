//! The bodies that name candidate rules: `{"files": {"mine.yaml": "…"}, …}`. Files that they do not name are as they lie in the
//! live directory, as a reload would read them, unless they say that they are complete.

use serde_json::{Map, Value};

use crate::domain::time::EventTime;
use crate::evaluation::comparison::SAMPLES_MAX;
use crate::evaluation::truth::Unlabelled;
use crate::http::problem::{Problem, ProblemError, ProblemKind};
use crate::pipeline::backtest::{CandidateRun, LAST_MAX};
use crate::rules::candidate::{CandidateFiles, file_bytes_max};
use crate::rules::directory::RULE_FILES_MAX;
use crate::rules::list::LISTS_MAX;
use crate::wire::reader::escape;

/// Largest body with candidate rules, in bytes.
pub const CANDIDATE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads the body of a check; every mistake is named at once.
pub fn check(body: &[u8]) -> Result<CandidateFiles, Problem> {
    let object = object(body)?;
    let mut errors = Vec::new();
    let candidate = files(&object, &mut errors);
    checked(candidate, errors)
}

/// Reads the body of a backtest; every mistake is named at once.
pub fn backtest(body: &[u8]) -> Result<CandidateRun, Problem> {
    let object = object(body)?;
    let mut errors = Vec::new();
    let mut run = CandidateRun::new(files(&object, &mut errors));
    if let Some(last) = number(&object, "last", 1, LAST_MAX, &mut errors) {
        run.last = last;
    }
    if let Some(samples) = number(&object, "samples", 0, SAMPLES_MAX as u64, &mut errors) {
        run.samples = usize::try_from(samples).unwrap_or(SAMPLES_MAX);
    }
    run.from = moment(&object, "from", &mut errors);
    run.to = moment(&object, "to", &mut errors);
    match object.get("unlabelled").map(|value| value.as_str()) {
        None | Some(Some("left_out")) => {}
        Some(Some("legitimate")) => run.unlabelled = Unlabelled::Legitimate,
        Some(_) => errors.push(wrong("/unlabelled", "is left_out or legitimate")),
    }
    checked(run, errors)
}

/// The JSON object that a body must be.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => {
            let errors = vec![wrong("", "must be an object")];
            Err(Problem::new(ProblemKind::InvalidFields, "the body must be an object").with_errors(errors))
        }
        Err(error) => Err(Problem::new(ProblemKind::NotJson, format!("the body is not JSON: {error}"))),
    }
}

/// The files that a body names.
fn files(object: &Map<String, Value>, errors: &mut Vec<ProblemError>) -> CandidateFiles {
    let mut candidate = CandidateFiles::default();
    match object.get("complete") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(flag)) => candidate.is_complete = *flag,
        Some(_) => errors.push(wrong("/complete", "must be true or false")),
    }
    let Some(Value::Object(named)) = object.get("files") else {
        errors.push(wrong("/files", "must be an object of file names and their texts"));
        return candidate;
    };
    if named.len() > RULE_FILES_MAX + LISTS_MAX {
        errors.push(wrong("/files", format!("has more than {} files", RULE_FILES_MAX + LISTS_MAX)));
        return candidate;
    }
    for (name, text) in named {
        let pointer = format!("/files/{}", escape(name));
        let Some(bytes_max) = file_bytes_max(name) else {
            errors.push(wrong(pointer, "is not called x.yaml, x.yml or lists/x.txt"));
            continue;
        };
        match text {
            Value::Null => candidate.files.push((name.clone(), None)),
            Value::String(text) if text.len() as u64 > bytes_max => {
                errors.push(wrong(pointer, format!("must be at most {bytes_max} bytes long")));
            }
            Value::String(text) => candidate.files.push((name.clone(), Some(text.clone()))),
            _ => errors.push(wrong(pointer, "must be the file's text, or null to leave the file out")),
        }
    }
    candidate
}

/// What was read, or all that is wrong with it.
fn checked<T>(read: T, errors: Vec<ProblemError>) -> Result<T, Problem> {
    let Some(first) = errors.first() else { return Ok(read) };
    let detail = format!("{} {}", first.pointer, first.detail);
    Err(Problem::new(ProblemKind::InvalidFields, detail).with_errors(errors))
}

fn wrong(pointer: impl Into<String>, detail: impl Into<String>) -> ProblemError {
    ProblemError { pointer: pointer.into(), detail: detail.into(), ..ProblemError::default() }
}

fn number(
    object: &Map<String, Value>,
    name: &str,
    min: u64,
    max: u64,
    errors: &mut Vec<ProblemError>,
) -> Option<u64> {
    let value = object.get(name)?;
    let number = value.as_u64().filter(|number| (min..=max).contains(number));
    if number.is_none() {
        errors.push(wrong(format!("/{name}"), format!("must be a whole number from {min} to {max}")));
    }
    number
}

fn moment(object: &Map<String, Value>, name: &str, errors: &mut Vec<ProblemError>) -> Option<EventTime> {
    let value = object.get(name)?;
    let moment = value.as_str().and_then(|text| EventTime::parse_rfc3339(text).ok());
    if moment.is_none() {
        errors.push(wrong(format!("/{name}"), "must be a time as RFC 3339 has it, with an offset"));
    }
    moment
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_mistake_is_named_at_once() {
        let facts = [
            (json!({"files": {}}), vec![]),
            (
                json!({"files": {"mine.yaml": "", "b.yml": "", "lists/x.txt": ""}, "last": 1, "samples": 0}),
                vec![],
            ),
            (json!({"files": {}, "from": "2026-01-01T00:00:00Z", "unlabelled": "legitimate"}), vec![]),
            (json!({"files": {"a.yaml": null}, "complete": true}), vec![]),
            (json!({"files": {}, "complete": "yes"}), vec!["/complete"]),
            (json!({}), vec!["/files"]),
            (json!({"files": []}), vec!["/files"]),
            (
                json!({"files": {"../x.yaml": "", "x.txt": "", "lists/a/b.txt": "", ".yaml": "", ".a.yaml": "", "a.yaml": 1}}),
                vec![
                    "/files/..~1x.yaml",
                    "/files/.a.yaml",
                    "/files/.yaml",
                    "/files/a.yaml",
                    "/files/lists~1a~1b.txt",
                    "/files/x.txt",
                ],
            ),
            (
                json!({"files": {}, "last": 0, "samples": 101, "from": "now", "to": 1, "unlabelled": "maybe"}),
                vec!["/last", "/samples", "/from", "/to", "/unlabelled"],
            ),
            (json!({"files": {}, "last": LAST_MAX + 1}), vec!["/last"]),
        ];
        for (body, expected) in facts {
            let found = backtest(body.to_string().as_bytes());
            let document: Value = match found {
                Ok(_) => json!({"errors": []}),
                Err(problem) => serde_json::from_slice(&problem.to_json()).unwrap(),
            };
            let errors = document["errors"].as_array().unwrap();
            let mut pointers: Vec<&str> = errors.iter().map(|it| it["pointer"].as_str().unwrap()).collect();
            let mut expected = expected;
            pointers.sort_unstable();
            expected.sort_unstable();
            assert_eq!(pointers, expected, "{body}");
        }
        assert_eq!(backtest(b"{").unwrap_err().kind(), ProblemKind::NotJson);
        assert_eq!(backtest(b"[]").unwrap_err().kind(), ProblemKind::InvalidFields);
    }
}
