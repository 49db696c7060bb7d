//! The functions of the profile. What is not in [`FUNCTIONS`] is refused at load, by name.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue};
use jiff::tz::TimeZone;
use regex::RegexBuilder;

use crate::expr::check::{At, Checker, Checking, Refusal, Typed};
use crate::expr::node::{
    BoolNode, DoubleNode, DurationNode, IntNode, Rounding, TextNode, TextTest, TimeNode, double,
};
use crate::expr::suggest::nearest;
use crate::expr::syntax::HAS;
use crate::expr::temporal::{self, Part};

/// Largest compiled regular expression, in bytes.
const PATTERN_COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Longest regular expression as written, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024;

/// Every function: its name, how it is written, and what it gives.
pub const FUNCTIONS: [(&str, &str, &str); 30] = [
    ("has", "has(name)", "bool: whether the name has a value"),
    ("in_list", "in_list(x, \"list\")", "bool: whether the text or int stands in rules/lists/list.txt"),
    ("startsWith", "x.startsWith(\"text\")", "bool"),
    ("endsWith", "x.endsWith(\"text\")", "bool"),
    ("contains", "x.contains(\"text\")", "bool"),
    ("matches", "x.matches(\"regex\")", "bool: RE2 syntax, found anywhere; the pattern is a literal"),
    ("size", "size(x) or x.size()", "int: characters of a text"),
    ("lowerAscii", "x.lowerAscii()", "string"),
    ("upperAscii", "x.upperAscii()", "string"),
    ("int", "int(x)", "int: of a double (cut), a text, or a timestamp (seconds since 1970)"),
    ("double", "double(x)", "double: of an int, a text or metadata"),
    ("string", "string(x)", "string: of anything"),
    ("timestamp", "timestamp(\"2026-01-01T00:00:00Z\")", "timestamp: of a text, or of seconds since 1970"),
    ("duration", "duration(\"1h30m\")", "duration: units h, m, s, ms, us, ns"),
    ("getFullYear", "t.getFullYear()", "int"),
    ("getMonth", "t.getMonth()", "int: 0 is January"),
    ("getDate", "t.getDate()", "int: day of the month, from 1"),
    ("getDayOfMonth", "t.getDayOfMonth()", "int: day of the month, from 0"),
    ("getDayOfWeek", "t.getDayOfWeek()", "int: 0 is Sunday"),
    ("getDayOfYear", "t.getDayOfYear()", "int: from 0"),
    ("getHours", "t.getHours()", "int; of a duration: whole hours"),
    ("getMinutes", "t.getMinutes()", "int; of a duration: whole minutes"),
    ("getSeconds", "t.getSeconds()", "int; of a duration: whole seconds"),
    ("getMilliseconds", "t.getMilliseconds()", "int: below the second"),
    ("abs", "abs(x) or math.abs(x)", "int or double"),
    ("ceil", "ceil(x) or math.ceil(x)", "double"),
    ("floor", "floor(x) or math.floor(x)", "double"),
    ("round", "round(x) or math.round(x)", "double: halves away from zero"),
    ("math.abs", "math.abs(x)", "CEL's own spelling of abs"),
    ("math.round", "math.round(x)", "and so for ceil and floor"),
];

impl Checker<'_> {
    /// A call of a function, free (`size(x)`) or on a value (`x.size()`).
    pub(crate) fn function(&mut self, id: u64, call: &CallExpr) -> Checking<Typed> {
        let arguments = call.args.as_slice();
        let Some(target) = call.target.as_deref() else {
            return self.free_function(id, &call.func_name, arguments);
        };
        if matches!(&target.expr, Expr::Ident(name) if name == "math") {
            return match (call.func_name.as_str(), arguments) {
                ("abs" | "ceil" | "floor" | "round", [operand]) => {
                    let operand = self.expression(operand)?;
                    numeric(id, &call.func_name, operand)
                }
                (name, _) => Err(unknown(At::NameBefore(id, name.to_owned()), &format!("math.{name}"))),
            };
        }
        self.method(id, &call.func_name, target, arguments)
    }

    fn free_function(&mut self, id: u64, name: &str, arguments: &[IdedExpr]) -> Checking<Typed> {
        match (name, arguments) {
            (HAS, [argument]) => self.has(id, argument),
            ("in_list", [operand, list]) => self.in_list(id, operand, list),
            ("matches", [operand, pattern]) => self.method(id, name, operand, std::slice::from_ref(pattern)),
            ("size" | "int" | "double" | "string" | "timestamp" | "duration", [operand]) => {
                let place = operand.id;
                let operand = self.expression(operand)?;
                convert(id, place, name, operand)
            }
            ("abs" | "ceil" | "floor" | "round", [operand]) => {
                let operand = self.expression(operand)?;
                numeric(id, name, operand)
            }
            (HAS, _) => Refusal::token(id, "has() takes one name"),
            ("in_list", _) => Refusal::token(id, "in_list() takes a value and the name of a list"),
            (
                "size" | "int" | "double" | "string" | "timestamp" | "duration" | "abs" | "ceil" | "floor"
                | "round",
                _,
            ) => Refusal::token(id, format!("{name}() takes one value, not {}", arguments.len())),
            ("matches", _) => Refusal::token(id, "matches() takes a text and a pattern"),
            _ if is_method(name) => Refusal::token(id, format!("{name}() is called on a value: x.{name}(…)")),
            _ => Err(unknown(At::Token(id), name)),
        }
    }

    fn in_list(&mut self, id: u64, operand: &IdedExpr, list: &IdedExpr) -> Checking<Typed> {
        let Some(name) = text_literal(list) else {
            return Refusal::token(list.id, "the name of a list is a literal, such as \"blocked_cards\"");
        };
        let Some(number) = self.schema.list(name) else {
            let suggestion = self.schema.nearest_list(name);
            let message =
                format!("there is no list `{name}`: add the file lists/{name}.txt, which may be empty");
            return Err(Refusal::new(At::Token(list.id), message).suggesting(suggestion));
        };
        match self.expression(operand)? {
            Typed::Text(node) => Ok(Typed::Bool(BoolNode::TextInList(Box::new(node), number))),
            Typed::Dynamic(slot) => {
                Ok(Typed::Bool(BoolNode::TextInList(Box::new(TextNode::Slot(slot)), number)))
            }
            Typed::Int(node) => Ok(Typed::Bool(BoolNode::IntInList(Box::new(node), number))),
            other => {
                Refusal::token(id, format!("in_list() takes a string or an int, not {}", other.type_name()))
            }
        }
    }

    fn method(&mut self, id: u64, name: &str, target: &IdedExpr, arguments: &[IdedExpr]) -> Checking<Typed> {
        let at = || At::NameBefore(id, name.to_owned());
        if !is_method(name) {
            return Err(unknown(at(), name));
        }
        let target = self.expression(target)?;
        if let Some(part) = part(name) {
            return calendar(at, name, part, target, arguments);
        }
        let text = match target {
            Typed::Text(node) => node,
            Typed::Dynamic(slot) => TextNode::Slot(slot),
            other => {
                let message = format!("{name}() is for a string, not for {}", other.type_name());
                return Err(Refusal::new(at(), message));
            }
        };
        match (name, arguments) {
            ("size", []) => Ok(Typed::Int(IntNode::Size(Box::new(text)))),
            ("lowerAscii", []) => Ok(Typed::Text(TextNode::Lower(Box::new(text)))),
            ("upperAscii", []) => Ok(Typed::Text(TextNode::Upper(Box::new(text)))),
            ("matches", [pattern]) => {
                let Some(source) = text_literal(pattern) else {
                    return Refusal::token(pattern.id, "the pattern of matches() is a literal text");
                };
                if source.len() > PATTERN_BYTES_MAX {
                    let message = format!("a pattern is at most {PATTERN_BYTES_MAX} bytes long");
                    return Refusal::token(pattern.id, message);
                }
                let regex = RegexBuilder::new(source)
                    .size_limit(PATTERN_COMPILED_BYTES_MAX)
                    .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
                    .build();
                match regex {
                    Ok(regex) => Ok(Typed::Bool(BoolNode::Matches(Box::new((text, regex))))),
                    Err(error) => {
                        let reason = error.to_string();
                        let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ");
                        Refusal::token(pattern.id, format!("is no usable regular expression: {reason}"))
                    }
                }
            }
            ("startsWith" | "endsWith" | "contains", [part]) => {
                let test = match name {
                    "startsWith" => TextTest::StartsWith,
                    "endsWith" => TextTest::EndsWith,
                    _ => TextTest::Contains,
                };
                match self.expression(part)? {
                    Typed::Text(part) => Ok(Typed::Bool(BoolNode::Text(test, Box::new((text, part))))),
                    Typed::Dynamic(slot) => {
                        Ok(Typed::Bool(BoolNode::Text(test, Box::new((text, TextNode::Slot(slot))))))
                    }
                    other => {
                        Err(Refusal::new(at(), format!("{name}() takes a string, not {}", other.type_name())))
                    }
                }
            }
            _ => Err(Refusal::new(at(), format!("{name}() does not take {} arguments", arguments.len()))),
        }
    }
}

fn unknown(at: At, name: &str) -> Refusal {
    let shown = if name == HAS { "has" } else { name };
    Refusal::new(at, format!("function `{shown}` is not part of the profile"))
        .suggesting(nearest(name, FUNCTIONS.iter().map(|(known, _, _)| *known)))
}

fn text_literal(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn is_method(name: &str) -> bool {
    part(name).is_some()
        || matches!(
            name,
            "size" | "lowerAscii" | "upperAscii" | "matches" | "startsWith" | "endsWith" | "contains"
        )
}

fn part(name: &str) -> Option<Part> {
    Some(match name {
        "getFullYear" => Part::FullYear,
        "getMonth" => Part::Month,
        "getDate" => Part::Date,
        "getDayOfMonth" => Part::DayOfMonth,
        "getDayOfWeek" => Part::DayOfWeek,
        "getDayOfYear" => Part::DayOfYear,
        "getHours" => Part::Hours,
        "getMinutes" => Part::Minutes,
        "getSeconds" => Part::Seconds,
        "getMilliseconds" => Part::Milliseconds,
        _ => return None,
    })
}

fn calendar(
    at: impl Fn() -> At,
    name: &str,
    part: Part,
    target: Typed,
    arguments: &[IdedExpr],
) -> Checking<Typed> {
    match (target, arguments) {
        (Typed::Time(node), []) => Ok(Typed::Int(IntNode::TimePart(part, Box::new((node, TimeZone::UTC))))),
        (Typed::Time(node), [zone]) => {
            let Some(zone_name) = text_literal(zone) else {
                return Refusal::token(zone.id, "the time zone is a literal, such as \"Europe/Berlin\"");
            };
            match temporal::parse_zone(zone_name) {
                Some(zone) => Ok(Typed::Int(IntNode::TimePart(part, Box::new((node, zone))))),
                None => {
                    let message = format!(
                        "`{zone_name}` is no time zone: write an IANA name, UTC, or an offset such as +02:00"
                    );
                    Refusal::token(zone.id, message)
                }
            }
        }
        (Typed::Duration(node), [])
            if temporal::duration_part(jiff::SignedDuration::ZERO, part).is_some() =>
        {
            Ok(Typed::Int(IntNode::DurationPart(part, Box::new(node))))
        }
        (other, _) => Err(Refusal::new(
            at(),
            format!("{name}() is for a timestamp, with at most a time zone, not for {}", other.type_name()),
        )),
    }
}

/// `abs`, `ceil`, `floor`, `round`.
fn numeric(id: u64, name: &str, operand: Typed) -> Checking<Typed> {
    let operand = match operand {
        Typed::Dynamic(slot) => Typed::Double(DoubleNode::Slot(slot)),
        Typed::Int(IntNode::Const(number)) if name != "abs" => {
            Typed::Double(DoubleNode::Const(double(number)))
        }
        other => other,
    };
    let rounded = |rounding, node| Typed::Double(DoubleNode::Rounded(rounding, Box::new(node)));
    match (name, operand) {
        ("abs", Typed::Int(node)) => Ok(Typed::Int(IntNode::Abs(Box::new(node)))),
        ("abs", Typed::Double(node)) => Ok(Typed::Double(DoubleNode::Abs(Box::new(node)))),
        ("ceil", Typed::Double(node)) => Ok(rounded(Rounding::Ceil, node)),
        ("floor", Typed::Double(node)) => Ok(rounded(Rounding::Floor, node)),
        ("round", Typed::Double(node)) => Ok(rounded(Rounding::Round, node)),
        (_, other) => Refusal::token(
            id,
            format!(
                "{name}() takes a {}, not {}",
                if name == "abs" { "number" } else { "double" },
                other.type_name()
            ),
        ),
    }
}

/// `size`, `int`, `double`, `string`, `timestamp`, `duration`.
fn convert(id: u64, place: u64, name: &str, operand: Typed) -> Checking<Typed> {
    Ok(match (name, operand) {
        ("size", Typed::Text(node)) => Typed::Int(IntNode::Size(Box::new(node))),
        ("size", Typed::Dynamic(slot)) => Typed::Int(IntNode::Size(Box::new(TextNode::Slot(slot)))),

        ("int", Typed::Int(node)) => Typed::Int(node),
        ("int", Typed::Double(node)) => Typed::Int(IntNode::FromDouble(Box::new(node))),
        ("int", Typed::Text(node)) => Typed::Int(IntNode::FromText(Box::new(node))),
        ("int", Typed::Time(node)) => Typed::Int(IntNode::FromTime(Box::new(node))),
        ("int", Typed::Dynamic(slot)) => {
            Typed::Int(IntNode::FromDouble(Box::new(DoubleNode::FromDynamic(slot))))
        }

        ("double", Typed::Double(node)) => Typed::Double(node),
        ("double", Typed::Int(node)) => Typed::Double(DoubleNode::FromInt(Box::new(node))),
        ("double", Typed::Text(node)) => Typed::Double(DoubleNode::FromText(Box::new(node))),
        ("double", Typed::Dynamic(slot)) => Typed::Double(DoubleNode::FromDynamic(slot)),

        ("string", Typed::Text(node)) => Typed::Text(node),
        ("string", Typed::Bool(node)) => Typed::Text(TextNode::FromBool(Box::new(node))),
        ("string", Typed::Int(node)) => Typed::Text(TextNode::FromInt(Box::new(node))),
        ("string", Typed::Double(node)) => Typed::Text(TextNode::FromDouble(Box::new(node))),
        ("string", Typed::Time(node)) => Typed::Text(TextNode::FromTime(Box::new(node))),
        ("string", Typed::Duration(node)) => Typed::Text(TextNode::FromDuration(Box::new(node))),
        ("string", Typed::Dynamic(slot)) => Typed::Text(TextNode::FromDynamic(slot)),

        ("timestamp", Typed::Time(node)) => Typed::Time(node),
        ("timestamp", Typed::Text(TextNode::Const(text))) => match temporal::parse_timestamp(&text) {
            Some(time) => Typed::Time(TimeNode::Const(time)),
            None => {
                return Refusal::token(
                    place,
                    "is no timestamp: write RFC 3339, such as 2026-01-31T12:00:00Z",
                );
            }
        },
        ("timestamp", Typed::Text(node)) => Typed::Time(TimeNode::FromText(Box::new(node))),
        ("timestamp", Typed::Int(node)) => Typed::Time(TimeNode::FromInt(Box::new(node))),
        ("timestamp", Typed::Dynamic(slot)) => {
            Typed::Time(TimeNode::FromText(Box::new(TextNode::Slot(slot))))
        }

        ("duration", Typed::Duration(node)) => Typed::Duration(node),
        ("duration", Typed::Text(TextNode::Const(text))) => match temporal::parse_duration(&text) {
            Some(duration) => Typed::Duration(DurationNode::Const(duration)),
            None => return Refusal::token(place, "is no duration: write such as 90s, 5m or 1h30m"),
        },
        ("duration", Typed::Text(node)) => Typed::Duration(DurationNode::FromText(Box::new(node))),
        ("duration", Typed::Dynamic(slot)) => {
            Typed::Duration(DurationNode::FromText(Box::new(TextNode::Slot(slot))))
        }

        (_, other) => return Refusal::token(id, format!("{name}() does not take {}", other.type_name())),
    })
}
