//! A candidate's rules, checked as a reload would, without touching anything.

use serde::Serialize;
use serde_json::Value;

use crate::domain::time::EventTime;
use crate::engine::doubts::ranges;
use crate::engine::policy::rules_schema;
use crate::feature::catalogue::Catalogue;
use crate::pipeline::service::{DecideError, Service};
use crate::rules::directory::{RULE_FILES_MAX, SourceFile, read_directory};
use crate::rules::file::RULE_FILE_BYTES_MAX;
use crate::rules::lint::run::{Background, lint_with};
use crate::rules::list::LISTS_MAX;
use crate::rules::problem::Problem;
use crate::rules::set::RuleSet;
use crate::wire::reader::escape;
use crate::wire::rejection::{FieldErrors, Rejection};

/// What the directory is called in problems: a candidate lies in none.
const SHOWN: &str = "rules";

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RulesChecked {
    /// Whether a reload would take them.
    pub sound: bool,
    /// Errors, or when there are none, warnings.
    pub problems: Vec<Problem>,
    /// How many rules; none when they are not sound.
    pub rules: Option<usize>,
    /// How many tests stand in them, all of which passed; none when they are not sound.
    pub tests: Option<usize>,
    /// Their content hash, which `versions.rules` will be; none when they are not sound.
    pub hash: Option<String>,
    /// The files that were checked together.
    pub files: Vec<String>,
}

/// The files of a request.
struct Asked {
    /// By name; without a text, the file is left out.
    files: Vec<(String, Option<String>)>,
    is_complete: bool,
}

impl Service {
    /// Checks files as a reload would, against the live catalogue. Files that the request does not name are those of the live
    /// directory, unless it says that it is complete. Blocks while it does.
    pub fn check_rules(&self, body: &[u8]) -> Result<RulesChecked, DecideError> {
        let Asked { files, is_complete } = parse(body)?;
        let live = if is_complete {
            Ok(Vec::new())
        } else {
            read_directory(&self.policies.rules_directory(), SHOWN)
        };
        let mut together = match live {
            Ok(files) => files,
            Err(problems) => return Ok(refused(problems, Vec::new())),
        };
        together.retain(|file| !files.iter().any(|(name, _)| *name == file.name));
        let given = files.into_iter().filter_map(|(name, text)| text.map(|text| SourceFile { name, text }));
        together.extend(given);
        together.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(check(&together, &self.policies.live().policy.catalogue, self.clock.now()))
    }
}

fn check(files: &[SourceFile], catalogue: &Catalogue, now: EventTime) -> RulesChecked {
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let lists = names.iter().filter(|name| name.starts_with("lists/")).count();
    for (count, max, what) in
        [(names.len() - lists, RULE_FILES_MAX, "rule files"), (lists, LISTS_MAX, "lists")]
    {
        if count > max {
            return refused(vec![Problem::error(SHOWN, format!("holds more than {max} {what}"))], names);
        }
    }
    let set = rules_schema(catalogue)
        .map_err(|message| vec![Problem::error(SHOWN, message)])
        .and_then(|schema| RuleSet::from_files(files, &schema));
    match set {
        Err(problems) => refused(problems, names),
        Ok(set) => {
            let mut problems = set.warnings().to_vec();
            let ranges = ranges(catalogue);
            problems.extend(lint_with(&set, Background { at: now, ranges: &ranges, traffic: None }));
            RulesChecked {
                sound: true,
                problems,
                rules: Some(set.rules().len()),
                tests: Some(set.rules().iter().map(|rule| rule.tests).sum()),
                hash: Some(set.hash().to_owned()),
                files: names,
            }
        }
    }
}

fn refused(problems: Vec<Problem>, files: Vec<String>) -> RulesChecked {
    RulesChecked { sound: false, problems, rules: None, tests: None, hash: None, files }
}

fn parse(body: &[u8]) -> Result<Asked, Rejection> {
    let body: Value = serde_json::from_slice(body).map_err(|error| Rejection::NotJson(error.to_string()))?;
    let Value::Object(mut fields) = body else { return Err(Rejection::field("", "must be an object")) };
    let mut errors = FieldErrors::default();
    let is_complete = match fields.get("complete") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            errors.push("/complete", "must be true or false");
            false
        }
    };
    let mut files = Vec::new();
    match fields.remove("files") {
        Some(Value::Object(given)) => {
            for (name, text) in given {
                let pointer = format!("/files/{}", escape(&name));
                match text {
                    _ if !is_file_of_rules(&name) => {
                        errors.push(
                            pointer,
                            "is read by no reload: files are called name.yaml, name.yml or lists/name.txt",
                        );
                    }
                    Value::Null => files.push((name, None)),
                    Value::String(text)
                        if !name.starts_with("lists/") && text.len() as u64 > RULE_FILE_BYTES_MAX =>
                    {
                        errors.push(pointer, format!("must have at most {RULE_FILE_BYTES_MAX} bytes"));
                    }
                    Value::String(text) => files.push((name, Some(text))),
                    _ => errors.push(pointer, "must be the file's text, or null to leave the file out"),
                }
            }
        }
        _ => errors.push("/files", "is required: an object of file names and their texts"),
    }
    if errors.is_empty() { Ok(Asked { files, is_complete }) } else { Err(errors.into_rejection()) }
}

/// Whether a reload would read a file of that name.
fn is_file_of_rules(name: &str) -> bool {
    let (name, extensions): (_, &[&str]) = match name.strip_prefix("lists/") {
        Some(name) => (name, &[".txt"]),
        None => (name, &[".yaml", ".yml"]),
    };
    let has_stem = extensions.iter().any(|it| name.strip_suffix(it).is_some_and(|stem| !stem.is_empty()));
    has_stem && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_files_a_reload_would_read() {
        let facts = [
            ("mine.yaml", true),
            ("mine.yml", true),
            ("lists/blocked.txt", true),
            ("mine.yaml.bak", false),
            (".mine.yaml", false),
            (".yaml", false),
            ("lists/.txt", false),
            ("lists/a/b.txt", false),
            ("lists/mine.yaml", false),
            ("../mine.yaml", false),
            ("sub/mine.yaml", false),
            ("", false),
        ];
        for (name, is_read) in facts {
            assert_eq!(is_file_of_rules(name), is_read, "{name:?}");
        }
    }

    #[test]
    fn what_a_request_must_be() {
        let long =
            format!(r#"{{"files": {{"a.yaml": "{}"}}}}"#, "x".repeat(RULE_FILE_BYTES_MAX as usize + 1));
        let facts = [
            ("{}", "/files"),
            ("[]", ""),
            (r#"{"files": []}"#, "/files"),
            (r#"{"files": {"a.yaml": 1}}"#, "/files/a.yaml"),
            (r#"{"files": {"x/a.yaml": ""}}"#, "/files/x~1a.yaml"),
            (r#"{"files": {}, "complete": "yes"}"#, "/complete"),
            (&long, "/files/a.yaml"),
        ];
        for (body, pointer) in facts {
            let Err(Rejection::Invalid(errors)) = parse(body.as_bytes()) else { panic!("{body:.60}") };
            assert_eq!(errors[0].pointer, pointer, "{body:.60}");
        }
        assert!(matches!(parse(b"{"), Err(Rejection::NotJson(_))));
        let asked = parse(br#"{"files": {"a.yaml": "x", "b.yml": null}}"#).unwrap();
        assert!(!asked.is_complete);
        assert_eq!(asked.files, [("a.yaml".into(), Some("x".into())), ("b.yml".into(), None)]);
    }
}
