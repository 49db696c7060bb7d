//! The functions of the profile. What is not in [`FUNCTIONS`] is refused at load, by name.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue};
use jiff::tz::TimeZone;
use regex::RegexBuilder;

use crate::expr::check::{At, Checker, Checking, Refusal, Typed};
use crate::expr::node::{BoolNode, DoubleNode, DurationNode, IntNode, TextNode, TextTest, TimeNode};
use crate::expr::number::{self, NUMBER_FUNCTIONS};
use crate::expr::suggest::nearest;
use crate::expr::syntax::HAS;
use crate::expr::temporal::{self, Part};

/// Largest compiled regular expression, in bytes.
const PATTERN_COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Longest regular expression as written, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024;

/// Every function: its name, how it is written, and what it gives.
pub const FUNCTIONS: [(&str, &str, &str); 42] = [
    ("has", "has(name)", "bool: whether the name has a value"),
    ("in_list", "in_list(x, \"list\")", "bool: whether the text or int stands in rules/lists/list.txt"),
    ("startsWith", "x.startsWith(\"text\")", "bool"),
    ("endsWith", "x.endsWith(\"text\")", "bool"),
    ("contains", "x.contains(\"text\")", "bool"),
    ("matches", "x.matches(\"regex\")", "bool: RE2 syntax, found anywhere; the pattern is a literal"),
    ("size", "size(x) or x.size()", "int: characters of a text"),
    ("lowerAscii", "x.lowerAscii()", "string"),
    ("upperAscii", "x.upperAscii()", "string"),
    ("trim", "x.trim()", "string: without white space at its ends"),
    ("substring", "x.substring(from) or x.substring(from, to)", "string: from one position up to another"),
    ("charAt", "x.charAt(i)", "string: the character at a position"),
    ("indexOf", "x.indexOf(\"text\") or x.indexOf(\"text\", from)", "int: where it begins, or -1"),
    (
        "lastIndexOf",
        "x.lastIndexOf(\"text\") or x.lastIndexOf(\"text\", at)",
        "int: where it begins last, or -1",
    ),
    ("replace", "x.replace(\"old\", \"new\") or x.replace(\"old\", \"new\", times)", "string"),
    ("bool", "bool(x)", "bool: of the texts true, false, t, f, 1 and 0"),
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
    ("abs", "math.abs(x)", "int or double"),
    ("ceil", "math.ceil(x)", "double"),
    ("floor", "math.floor(x)", "double"),
    ("round", "math.round(x)", "double: halves away from zero"),
    ("trunc", "math.trunc(x)", "double: towards zero"),
    ("sign", "math.sign(x)", "int or double: -1, 0 or 1"),
    ("greatest", "math.greatest(x, y, …)", "int or double"),
    ("least", "math.least(x, y, …)", "int or double"),
    ("isNaN", "math.isNaN(x)", "bool"),
    ("isInf", "math.isInf(x)", "bool"),
    ("isFinite", "math.isFinite(x)", "bool"),
];

impl Checker<'_> {
    /// A call of a function, free (`size(x)`) or on a value (`x.size()`).
    pub(crate) fn function(&mut self, id: u64, call: &CallExpr) -> Checking<Typed> {
        let arguments = call.args.as_slice();
        let Some(target) = call.target.as_deref() else {
            return self.free_function(id, &call.func_name, arguments);
        };
        let name = call.func_name.as_str();
        if matches!(&target.expr, Expr::Ident(target) if target == "math") {
            if NUMBER_FUNCTIONS.contains(&name) {
                return number::call(id, name, self.all(arguments)?);
            }
            return Err(unknown(At::NameBefore(id, name.to_owned()), &format!("math.{name}")));
        }
        self.method(id, &call.func_name, target, arguments)
    }

    fn free_function(&mut self, id: u64, name: &str, arguments: &[IdedExpr]) -> Checking<Typed> {
        match (name, arguments) {
            (HAS, [argument]) => self.has(id, argument),
            ("in_list", [operand, list]) => self.in_list(id, operand, list),
            ("matches", [operand, pattern]) => self.method(id, name, operand, std::slice::from_ref(pattern)),
            ("size" | "bool" | "int" | "double" | "string" | "timestamp" | "duration", [operand]) => {
                let place = operand.id;
                let operand = self.expression(operand)?;
                convert(id, place, name, operand)
            }
            (HAS, _) => Refusal::token(id, "has() takes one name"),
            ("in_list", _) => Refusal::token(id, "in_list() takes a value and the name of a list"),
            ("size" | "bool" | "int" | "double" | "string" | "timestamp" | "duration", _) => {
                Refusal::token(id, format!("{name}() takes one value, not {}", arguments.len()))
            }
            ("matches", _) => Refusal::token(id, "matches() takes a text and a pattern"),
            _ if NUMBER_FUNCTIONS.contains(&name) => number::call(id, name, self.all(arguments)?),
            _ if is_method(name) => Refusal::token(id, format!("{name}() is called on a value: x.{name}(…)")),
            _ => Err(unknown(At::Token(id), name)),
        }
    }

    fn all(&mut self, arguments: &[IdedExpr]) -> Checking<Vec<Typed>> {
        arguments.iter().map(|argument| self.expression(argument)).collect()
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
                let part = self.text_argument(name, part)?;
                Ok(Typed::Bool(BoolNode::Text(test, Box::new((text, part)))))
            }
            ("trim", []) => Ok(Typed::Text(TextNode::Trim(Box::new(text)))),
            ("charAt", [position]) => {
                let position = self.int_argument(name, position)?;
                Ok(Typed::Text(TextNode::CharAt(Box::new((text, position)))))
            }
            ("substring", [from, rest @ ..]) if rest.len() <= 1 => {
                let (from, to) = (self.int_argument(name, from)?, self.int_if_given(name, rest)?);
                Ok(Typed::Text(TextNode::Substring(Box::new((text, from, to)))))
            }
            ("indexOf", [part, rest @ ..]) if rest.len() <= 1 => {
                let (part, from) = (self.text_argument(name, part)?, self.int_if_given(name, rest)?);
                Ok(Typed::Int(IntNode::IndexOf(Box::new((text, part, from)))))
            }
            ("lastIndexOf", [part, rest @ ..]) if rest.len() <= 1 => {
                let (part, at) = (self.text_argument(name, part)?, self.int_if_given(name, rest)?);
                Ok(Typed::Int(IntNode::LastIndexOf(Box::new((text, part, at)))))
            }
            ("replace", [old, new, rest @ ..]) if rest.len() <= 1 => {
                let (old, new) = (self.text_argument(name, old)?, self.text_argument(name, new)?);
                let limit = self.int_if_given(name, rest)?;
                Ok(Typed::Text(TextNode::Replace(Box::new((text, old, new, limit)))))
            }
            _ => Err(Refusal::new(at(), format!("{name}() does not take {} arguments", arguments.len()))),
        }
    }

    fn text_argument(&mut self, name: &str, argument: &IdedExpr) -> Checking<TextNode> {
        match self.expression(argument)? {
            Typed::Text(node) => Ok(node),
            Typed::Dynamic(slot) => Ok(TextNode::Slot(slot)),
            other => Refusal::token(
                argument.id,
                format!("{name}() takes a string here, not {}", other.type_name()),
            ),
        }
    }

    fn int_argument(&mut self, name: &str, argument: &IdedExpr) -> Checking<IntNode> {
        match self.expression(argument)? {
            Typed::Int(node) => Ok(node),
            other => {
                Refusal::token(argument.id, format!("{name}() takes an int here, not {}", other.type_name()))
            }
        }
    }

    fn int_if_given(&mut self, name: &str, arguments: &[IdedExpr]) -> Checking<Option<IntNode>> {
        arguments.first().map(|argument| self.int_argument(name, argument)).transpose()
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
    const OF_TEXTS: [&str; 13] = [
        "size",
        "lowerAscii",
        "upperAscii",
        "matches",
        "startsWith",
        "endsWith",
        "contains",
        "trim",
        "substring",
        "charAt",
        "indexOf",
        "lastIndexOf",
        "replace",
    ];
    part(name).is_some() || OF_TEXTS.contains(&name)
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

/// `size`, `bool`, `int`, `double`, `string`, `timestamp`, `duration`.
fn convert(id: u64, place: u64, name: &str, operand: Typed) -> Checking<Typed> {
    Ok(match (name, operand) {
        ("size", Typed::Text(node)) => Typed::Int(IntNode::Size(Box::new(node))),
        ("size", Typed::Dynamic(slot)) => Typed::Int(IntNode::Size(Box::new(TextNode::Slot(slot)))),

        ("bool", Typed::Bool(node)) => Typed::Bool(node),
        ("bool", Typed::Text(node)) => Typed::Bool(BoolNode::FromText(Box::new(node))),

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
