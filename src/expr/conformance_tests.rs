//! The cases of the CEL specification: those that compile are in the profile and must pass, the rest must be refused at load.
//! PROFILE.md holds the counts, and this test holds PROFILE.md to them. `TOLLGATE_WRITE_PROFILE=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::domain::value::{Value, ValueType};
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::{Schema, Slot};
use crate::expr::temporal;

struct Bound(Vec<Json>);

impl Facts for Bound {
    fn value(&self, slot: Slot) -> Value<'_> {
        let Some(value) = self.0.get(slot.0 as usize) else { return Value::Missing };
        match (value["t"].as_str(), &value["v"]) {
            (Some("bool"), Json::Bool(flag)) => Value::Bool(*flag),
            (Some("int"), Json::String(number)) => number.parse().map_or(Value::Missing, Value::Int),
            (Some("double"), Json::String(number)) => number.parse().map_or(Value::Missing, Value::Double),
            (Some("string"), Json::String(text)) => Value::Text(text),
            _ => Value::Missing,
        }
    }

    fn in_list(&self, _: usize, _: Value<'_>) -> bool {
        false
    }
}

fn passes(expected: &Json, actual: &Scalar<'_>) -> bool {
    let text = expected["v"].as_str().unwrap_or("");
    match (expected["t"].as_str(), actual) {
        (Some("bool"), Scalar::Bool(flag)) => expected["v"] == *flag,
        (Some("int"), Scalar::Int(number)) => text.parse() == Ok(*number),
        (Some("double"), Scalar::Double(number)) => {
            text.parse::<f64>().is_ok_and(|wanted| wanted == *number || (wanted.is_nan() && number.is_nan()))
        }
        (Some("string"), Scalar::Text(actual)) => text == actual,
        (Some("timestamp"), Scalar::Time(time)) => text.parse::<jiff::Timestamp>().ok() == Some(*time),
        (Some("duration"), Scalar::Duration(duration)) => temporal::parse_duration(text) == Some(*duration),
        _ => false,
    }
}

/// What stands in the way of a case, by how its refusal begins. The first that fits counts.
const CONSTRUCTS: [(&str, &[&str]); 20] = [
    ("`uint`: literals such as `1u`, `uint()`", &["unsigned literals", "function `uint`"]),
    ("`dyn()`", &["function `dyn`"]),
    (
        "types as values: `type(x)`, `int`, `list`",
        &[
            "function `type`",
            "unknown name `bool`",
            "unknown name `bytes`",
            "unknown name `double`",
            "unknown name `dyn`",
            "unknown name `int`",
            "unknown name `list`",
            "unknown name `map`",
            "unknown name `null_type`",
            "unknown name `string`",
            "unknown name `type`",
            "unknown name `uint`",
        ],
    ),
    (
        "bytes: `b'a'`, `bytes()`, base64",
        &["bytes are", "function `bytes`", "function `decode`", "function `encode`"],
    ),
    (
        "lists, but for literals to the right of `in`; `split`, `join`",
        &["a list stands", "`in` needs a list", "has 0 elements", "function `split`", "function `join`"],
    ),
    ("indexing: `x[0]`, `x[\"key\"]`", &["indexing is"]),
    ("maps, messages and enums", &["maps and messages"]),
    ("fields of values: `f(x).y`", &["only names have parts", "has() asks for a name"]),
    (
        "macros and comprehensions: `all`, `exists`, `map`, `filter`, `cel.bind`",
        &[
            "macros such as",
            "argument must be",
            "function `all`",
            "function `exists`",
            "function `existsOne`",
            "function `transformList`",
            "function `transformMap`",
            "function `bind`",
            "function `block`",
        ],
    ),
    ("`null`", &["null is not"]),
    (
        "optional values: `.?`, `[?`, `optional.of`",
        &[
            "unsupported syntax '.?'",
            "unsupported syntax '?'",
            "function `of`",
            "function `none`",
            "function `hasValue`",
            "function `orValue`",
            "function `value`",
            "unknown name `or`",
        ],
    ),
    ("`format()`", &["function `format`"]),
    ("`strings.quote()`, `reverse()`", &["function `quote`", "function `reverse`"]),
    ("bits: `math.bitAnd` and its like", &["function `math.bit"]),
    (
        "network addresses: `ip()`, `cidr()` and their methods",
        &[
            "function `ip`",
            "function `cidr`",
            "function `containsCIDR`",
            "function `containsIP`",
            "function `family`",
            "function `isCanonical`",
            "function `isGlobalUnicast`",
            "function `isIP`",
            "function `isLinkLocal",
            "function `isLoopback`",
            "function `isUnspecified`",
            "function `masked`",
            "function `prefixLength`",
        ],
    ),
    ("names in backquotes", &["unsupported syntax: '`'"]),
    (
        "names with values of a type that no name has here",
        &["unknown name `x", "unknown name `y`", "unknown name `a."],
    ),
    (
        "literal moments of the last 26 hours of the year 9999, and malformed ones",
        &["is no timestamp", "is no duration"],
    ),
    (
        "functions that CEL does not have either",
        &[
            "function `f_unknown`",
            "function `as`",
            "function `break`",
            "function `const`",
            "function `continue`",
            "function `else`",
            "function `for`",
            "function `function`",
            "function `if`",
            "function `import`",
            "function `let`",
            "function `loop`",
            "function `namespace`",
            "function `package`",
            "function `return`",
            "function `var`",
            "function `void`",
            "function `while`",
        ],
    ),
    (
        "types that do not fit: `1 + 'a'`, `42.size()`, `1 && true`",
        &["`", "cannot compare", "both results", "is no string"],
    ),
];

/// A case that asks what a name means inside a namespace. There are none here, so that the question cannot be put.
const NAMESPACE: &str = "a namespace around the expression";

/// The construct that a refusal is about.
fn construct(refusal: &str) -> &'static str {
    let by_beginning = CONSTRUCTS
        .iter()
        .find(|(_, beginnings)| beginnings.iter().any(|beginning| refusal.starts_with(beginning)));
    match by_beginning {
        Some((name, _)) => name,
        // `substring() takes an int here, not bool` and its like.
        None if refusal.contains("() takes")
            || refusal.contains("() is for")
            || refusal.contains("() does not take") =>
        {
            CONSTRUCTS[CONSTRUCTS.len() - 1].0
        }
        None => panic!("no construct of the table is refused with: {refusal}"),
    }
}

/// What became of the cases.
#[derive(Default)]
struct Tally {
    values: usize,
    errors: usize,
    /// Cases that are refused, and those of them that CEL calls an error too, by construct.
    refused: BTreeMap<&'static str, (usize, usize)>,
    failures: Vec<String>,
}

impl Tally {
    fn inside(&self) -> usize {
        self.values + self.errors
    }

    fn count(&mut self, case: &Json) {
        let mut schema = Schema::new(Slot(1_000));
        let mut facts = Bound(Vec::new());
        for (name, value) in case["bind"].as_object().into_iter().flatten() {
            let value_type = match value["t"].as_str() {
                Some("bool") => ValueType::Bool,
                Some("int") => ValueType::Int,
                Some("double") => ValueType::Double,
                Some("string") => ValueType::Text,
                _ => continue, // a name cannot hold it, so that the expression is refused
            };
            let slot = Slot(u32::try_from(facts.0.len()).unwrap());
            if schema.add(name, value_type, slot, true).is_ok() {
                facts.0.push(value.clone());
            }
        }
        let source = case["expr"].as_str().unwrap_or("");
        let is_outside = case["container"].as_str().is_some_and(|container| !container.is_empty());
        let wants_error = case["matcher"] == "eval_error";
        let compiled = Program::compile(source, &mut schema);
        let program = match compiled {
            Ok(program) if !is_outside => program,
            compiled => {
                let construct = compiled.map_or_else(|error| construct(&error.message), |_| NAMESPACE);
                let counts = self.refused.entry(construct).or_default();
                counts.0 += 1;
                counts.1 += usize::from(wants_error);
                return;
            }
        };
        let actual = program.eval(&facts);
        let passed = if wants_error { actual == Scalar::Missing } else { passes(&case["value"], &actual) };
        self.values += usize::from(!wants_error);
        self.errors += usize::from(wants_error);
        if !passed {
            let (file, name, wanted) = (&case["file"], &case["name"], &case["value"]);
            self.failures.push(format!("{file}/{name}: {source}: {actual:?}, not {wanted}"));
        }
    }

    /// PROFILE.md between its two marks.
    fn table(&self, total: usize) -> String {
        let refused: usize = self.refused.values().map(|counts| counts.0).sum();
        let mut text = format!(
            "**{} of {total} cases of the specification are in the profile, and every one of them passes**: {} give a value, {} an \
             error, which is missing here. The other {refused} are refused when the text is loaded:\n\n\
             | what is outside, by what is refused first | cases | of these an error in CEL too |\n|---|---:|---:|\n",
            self.inside(),
            self.values,
            self.errors
        );
        let mut rows: Vec<_> = self.refused.iter().collect();
        rows.sort_by_key(|(name, counts)| (std::cmp::Reverse(counts.0), **name));
        for (name, (count, errors)) in rows {
            let _ = writeln!(text, "| {name} | {count} | {errors} |");
        }
        text
    }
}

/// The lines of the specification's cases; they lie beside the repository. Says so when they do not.
fn specification() -> Option<Vec<Json>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cel/conformance.ndjson");
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Past the test runner, which shows nothing of a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the cases of the CEL specification are not at {}",
            path.display()
        );
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn cases_of_the_specification() {
    const MARK: &str = "<!-- counts -->\n";
    let Some(cases) = specification() else { return };
    let mut tally = Tally::default();
    for case in &cases {
        tally.count(case);
    }
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    assert_eq!((cases.len(), tally.values, tally.errors), (1_744, 590, 41));

    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/expr/PROFILE.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let [before, written, after] = text.split(MARK).collect::<Vec<_>>().try_into().unwrap();
    let table = tally.table(cases.len());
    if std::env::var_os("TOLLGATE_WRITE_PROFILE").is_some() {
        std::fs::write(&page, format!("{before}{MARK}{table}{MARK}{after}")).unwrap();
    } else {
        assert_eq!(
            written, table,
            "PROFILE.md is behind: TOLLGATE_WRITE_PROFILE=1 cargo test --lib expr::conformance"
        );
    }
}

/// The specification writes `dyn(1) < 2.0` where the profile writes `1 < 2.0`: what they say of mixed numbers holds here too.
#[test]
fn mixed_numbers_compare_as_the_specification_says() {
    let Some(cases) = specification() else { return };
    let dynamic = regex::Regex::new(r"dyn\((-?[0-9][0-9.e+]*)\)").unwrap();
    let mut count = 0;
    for case in &cases {
        let source = case["expr"].as_str().unwrap();
        let plain = dynamic.replace_all(source, "$1");
        if source == plain || case["file"] != "comparisons" || case["matcher"] != "value" {
            continue;
        }
        if let Ok(program) = Program::compile(&plain, &mut Schema::new(Slot(0))) {
            let nothing = Bound(Vec::new());
            let actual = program.eval(&nothing);
            assert!(passes(&case["value"], &actual), "{source}: {actual:?}");
            count += 1;
        }
    }
    assert_eq!(count, 52);
}
