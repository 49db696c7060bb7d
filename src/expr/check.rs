//! The type checker: from the parsed tree to the compiled one, or to the first refusal.
//!
//! Every operator has the overloads that CEL gives it, and two documented extensions: an integer literal is promoted where
//! a double stands (`amount > 500`), and a name whose type is known only at run time (`metadata.*`) takes the type that
//! its surroundings ask for, and is missing when the transaction holds another one. An `int` and a `double` compare by
//! the nearest double, as CEL compares them at run time; arithmetic does not mix them (write `double(…)`).

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use crate::domain::value::ValueType;
use crate::expr::error::ExprError;
use crate::expr::node::{BoolNode, DoubleNode, DurationNode, IntNode, TextNode, TimeNode, double};
use crate::expr::operator::{arithmetic, boolean, calculate, choose, compare, comparison};
use crate::expr::program::Read;
use crate::expr::schema::{METADATA_KEYS_MAX, METADATA_PREFIX, Schema, Slot};
use crate::expr::syntax::{self, Places};

/// Deepest compiled tree.
const TREE_DEPTH_MAX: usize = 100;
/// Most elements of one `x in [...]`.
pub const IN_ELEMENTS_MAX: usize = 256;

/// A compiled tree with its type.
#[derive(Debug)]
pub(crate) enum Typed {
    Bool(BoolNode),
    Int(IntNode),
    Double(DoubleNode),
    Text(TextNode),
    Time(TimeNode),
    Duration(DurationNode),
    /// A metadata value, of whatever type the transaction gives it.
    Dynamic(Slot),
}

impl Typed {
    pub(crate) fn value_type(&self) -> Option<ValueType> {
        Some(match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Double(_) => ValueType::Double,
            Self::Text(_) => ValueType::Text,
            Self::Time(_) => ValueType::Time,
            Self::Duration(_) => ValueType::Duration,
            Self::Dynamic(_) => return None,
        })
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.value_type().map_or("metadata", ValueType::name)
    }
}

/// What the checker found in one expression.
pub(crate) struct Checked {
    pub(crate) root: Typed,
    pub(crate) reads: Box<[Read]>,
    pub(crate) negated: Box<[Box<str>]>,
}

/// Parses and checks `source`.
pub(crate) fn check(source: &str, schema: &mut Schema) -> Result<Checked, ExprError> {
    let syntax = syntax::parse(source)?;
    let mut checker =
        Checker { schema, reads: Vec::new(), asked: Vec::new(), negated: Vec::new(), negations: 0, depth: 0 };
    let root = checker.expression(&syntax.root).map_err(|refusal| refusal.placed(&syntax.places()))?;
    let Checker { reads, asked, mut negated, .. } = checker;
    negated.retain(|name| !asked.contains(name));
    Ok(Checked { root, reads: reads.into(), negated: negated.into() })
}

/// Where a refusal points: a node's token, or the name that begins or ends there.
#[derive(Debug)]
pub(crate) enum At {
    Token(u64),
    NameFrom(u64, String),
    NameBefore(u64, String),
}

/// A refusal that has no place in the text yet. Boxed, since it is rare and the way back from it is deep.
#[derive(Debug)]
pub(crate) struct Refusal(Box<(At, String, Option<String>)>);

pub(crate) type Checking<T> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(at: At, message: impl Into<String>) -> Self {
        Self(Box::new((at, message.into(), None)))
    }

    pub(crate) fn token<T>(id: u64, message: impl Into<String>) -> Checking<T> {
        Err(Self::new(At::Token(id), message))
    }

    pub(crate) fn suggesting(mut self, suggestion: Option<String>) -> Self {
        self.0.2 = suggestion;
        self
    }

    fn placed(self, places: &Places<'_>) -> ExprError {
        let (at, message, suggestion) = *self.0;
        let place = match at {
            At::Token(id) => places.of(id),
            At::NameFrom(id, name) => places.of_name_at(id, &name),
            At::NameBefore(id, name) => places.of_name_before(id, &name),
        };
        ExprError::new(place, message).suggesting(suggestion)
    }
}

pub(crate) struct Checker<'s> {
    pub(crate) schema: &'s mut Schema,
    reads: Vec<Read>,
    asked: Vec<Box<str>>,
    negated: Vec<Box<str>>,
    negations: usize,
    depth: usize,
}

impl Checker<'_> {
    /// Checks one node and everything below it.
    pub(crate) fn expression(&mut self, expr: &IdedExpr) -> Checking<Typed> {
        if self.depth >= TREE_DEPTH_MAX {
            return Refusal::token(
                expr.id,
                format!("is nested more than {TREE_DEPTH_MAX} deep; split the rule"),
            );
        }
        self.depth += 1;
        let typed = match &expr.expr {
            Expr::Literal(literal) => self.literal(expr.id, literal),
            Expr::Ident(_) | Expr::Select(_) => self.read(expr),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(_) => Refusal::token(expr.id, "a list stands only to the right of `in`"),
            Expr::Comprehension(_) => {
                Refusal::token(expr.id, "macros such as exists() and map() are not part of the profile")
            }
            Expr::Map(_) | Expr::Struct(_) => {
                Refusal::token(expr.id, "maps and messages are not part of the profile")
            }
            Expr::Unspecified => Refusal::token(expr.id, "cannot be read"),
        };
        self.depth -= 1;
        typed
    }

    #[expect(clippy::unused_self, reason = "reads like its siblings")]
    fn literal(&self, id: u64, literal: &LiteralValue) -> Checking<Typed> {
        match literal {
            LiteralValue::Boolean(flag) => Ok(Typed::Bool(BoolNode::Const(*flag.inner()))),
            LiteralValue::Int(number) => Ok(Typed::Int(IntNode::Const(*number.inner()))),
            LiteralValue::Double(number) => Ok(Typed::Double(DoubleNode::Const(*number.inner()))),
            LiteralValue::String(text) => Ok(Typed::Text(TextNode::Const(text.inner().into()))),
            LiteralValue::Null => Refusal::token(id, "null is not part of the profile; ask with has()"),
            LiteralValue::UInt(_) => {
                Refusal::token(id, "unsigned literals are not part of the profile; leave the `u` out")
            }
            LiteralValue::Bytes(_) => Refusal::token(id, "bytes are not part of the profile"),
        }
    }

    /// A name that is read for its value.
    fn read(&mut self, expr: &IdedExpr) -> Checking<Typed> {
        let (slot, value_type, name, nullable) = self.name(expr)?;
        if self.negations > 0 && nullable && !self.negated.contains(&name) {
            self.negated.push(name);
        }
        Ok(match value_type {
            None => Typed::Dynamic(slot),
            Some(ValueType::Bool) => Typed::Bool(BoolNode::Slot(slot)),
            Some(ValueType::Int) => Typed::Int(IntNode::Slot(slot)),
            Some(ValueType::Double) => Typed::Double(DoubleNode::Slot(slot)),
            Some(ValueType::Text) => Typed::Text(TextNode::Slot(slot)),
            Some(ValueType::Time) => Typed::Time(TimeNode::Slot(slot)),
            Some(ValueType::Duration) => return Refusal::token(expr.id, "a name cannot hold a duration"),
        })
    }

    /// `has(name)`
    pub(crate) fn has(&mut self, call_id: u64, argument: &IdedExpr) -> Checking<Typed> {
        if qualified_name(argument).is_none() {
            return Refusal::token(call_id, "has() asks for a name, such as has(card.count_5m)");
        }
        let (slot, _, name, _) = self.name(argument)?;
        self.asked.push(name);
        Ok(Typed::Bool(BoolNode::Has(slot)))
    }

    fn name(&mut self, expr: &IdedExpr) -> Checking<(Slot, Option<ValueType>, Box<str>, bool)> {
        let Some((root, name)) = qualified_name(expr) else {
            return Refusal::token(expr.id, "only names have parts: this is a value");
        };
        let Some(binding) = self.schema.resolve(&name) else {
            return Err(self.unknown_name(root, name));
        };
        let name: Box<str> = name.into();
        if !self.reads.iter().any(|read| read.slot == binding.slot) {
            self.reads.push(Read { name: name.clone(), slot: binding.slot });
        }
        Ok((binding.slot, binding.value_type, name, binding.nullable))
    }

    fn unknown_name(&self, root: u64, name: String) -> Refusal {
        if name.starts_with(METADATA_PREFIX) {
            let message =
                format!("more than {METADATA_KEYS_MAX} metadata keys are read, or `{name}` is too long");
            return Refusal::new(At::NameFrom(root, name), message);
        }
        let suggestion = self.schema.nearest_name(&name);
        let message = if self.schema.has_names_below(&name) {
            format!("`{name}` is a group of names, not a value")
        } else {
            format!("unknown name `{name}`")
        };
        Refusal::new(At::NameFrom(root, name), message).suggesting(suggestion)
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Checking<Typed> {
        let id = expr.id;
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, terms) => Ok(Typed::Bool(BoolNode::All(self.terms(id, "&&", terms)?))),
            (operators::LOGICAL_OR, terms) => Ok(Typed::Bool(BoolNode::Any(self.terms(id, "||", terms)?))),
            (operators::LOGICAL_NOT, [operand]) => {
                self.negations += 1;
                let operand = self.expression(operand)?;
                self.negations -= 1;
                Ok(Typed::Bool(BoolNode::Not(Box::new(boolean(id, "!", operand)?))))
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let condition = boolean(id, "?:", self.expression(condition)?)?;
                let (then, otherwise) = (self.expression(then)?, self.expression(otherwise)?);
                choose(id, condition, then, otherwise)
            }
            (operators::NEGATE, [operand]) => match self.expression(operand)? {
                Typed::Int(node) => Ok(Typed::Int(IntNode::Negate(Box::new(node)))),
                Typed::Double(node) => Ok(Typed::Double(DoubleNode::Negate(Box::new(node)))),
                Typed::Dynamic(slot) => {
                    Ok(Typed::Double(DoubleNode::Negate(Box::new(DoubleNode::Slot(slot)))))
                }
                other => Refusal::token(id, format!("`-` needs a number, not {}", other.type_name())),
            },
            (operators::IN, [operand, list]) => self.membership(id, operand, list),
            (operators::INDEX, _) if qualified_name(expr).is_some() => self.read(expr),
            (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, _) => Refusal::token(
                id,
                "indexing is not part of the profile, except for metadata: metadata[\"a-key\"]",
            ),
            (name, [left, right])
                if call.target.is_none() && (comparison(name), arithmetic(name)) != (None, None) =>
            {
                let (left, right) = (self.expression(left)?, self.expression(right)?);
                match (comparison(name), arithmetic(name)) {
                    (Some(comparison), _) => compare(id, comparison, left, right),
                    (None, Some(arithmetic)) => calculate(id, arithmetic, left, right),
                    (None, None) => Refusal::token(id, "is no operator"),
                }
            }
            _ => self.function(id, call),
        }
    }

    fn terms(&mut self, id: u64, operator: &str, terms: &[IdedExpr]) -> Checking<Box<[BoolNode]>> {
        terms.iter().map(|term| boolean(id, operator, self.expression(term)?)).collect()
    }

    /// `x in [literals]`
    fn membership(&mut self, id: u64, operand: &IdedExpr, list: &IdedExpr) -> Checking<Typed> {
        let Expr::List(list) = &list.expr else {
            return Refusal::token(
                id,
                "`in` needs a list of literals on its right; for a list file write in_list(x, \"name\")",
            );
        };
        if list.elements.is_empty() || list.elements.len() > IN_ELEMENTS_MAX {
            let message = format!(
                "has {} elements; 1 to {IN_ELEMENTS_MAX} are allowed, longer lists belong in a list file",
                list.elements.len()
            );
            return Refusal::token(id, message);
        }
        let operand = self.expression(operand)?;
        let literals: Vec<(u64, &LiteralValue)> = list
            .elements
            .iter()
            .map(|element| match &element.expr {
                Expr::Literal(literal) => Ok((element.id, literal)),
                _ => Refusal::token(element.id, "the list after `in` holds literals only"),
            })
            .collect::<Checking<_>>()?;
        let wrong = |element: u64| {
            Refusal::new(
                At::Token(element),
                format!("is no {}, as the value before `in` is", operand.type_name()),
            )
        };
        let texts = || {
            literals
                .iter()
                .map(|(element, literal)| match literal {
                    LiteralValue::String(text) => Ok(Box::from(text.inner())),
                    _ => Err(wrong(*element)),
                })
                .collect::<Checking<Box<[Box<str>]>>>()
        };
        let ints = || {
            literals
                .iter()
                .map(|(element, literal)| match literal {
                    LiteralValue::Int(number) => Ok(*number.inner()),
                    _ => Err(wrong(*element)),
                })
                .collect::<Checking<Box<[i64]>>>()
        };
        let doubles = || {
            literals
                .iter()
                .map(|(element, literal)| match literal {
                    LiteralValue::Int(number) => Ok(double(*number.inner())),
                    LiteralValue::Double(number) => Ok(*number.inner()),
                    _ => Err(wrong(*element)),
                })
                .collect::<Checking<Box<[f64]>>>()
        };
        let of_text = matches!(literals.first(), Some((_, LiteralValue::String(_))));
        Ok(Typed::Bool(match operand {
            Typed::Text(_) | Typed::Dynamic(_) if of_text => {
                let elements = texts()?;
                let node = match operand {
                    Typed::Text(node) => node,
                    Typed::Dynamic(slot) => TextNode::Slot(slot),
                    _ => return Refusal::token(id, "is no text"),
                };
                BoolNode::TextIn(Box::new((node, elements)))
            }
            Typed::Text(_) => return texts().map(|_| Typed::Bool(BoolNode::Const(false))),
            Typed::Int(_) => {
                let elements = ints()?;
                let Typed::Int(node) = operand else { return Refusal::token(id, "is no int") };
                BoolNode::IntIn(Box::new((node, elements)))
            }
            Typed::Double(_) | Typed::Dynamic(_) => {
                let elements = doubles()?;
                let node = match operand {
                    Typed::Double(node) => node,
                    Typed::Dynamic(slot) => DoubleNode::Slot(slot),
                    _ => return Refusal::token(id, "is no double"),
                };
                BoolNode::DoubleIn(Box::new((node, elements)))
            }
            Typed::Bool(_) | Typed::Time(_) | Typed::Duration(_) => {
                return Refusal::token(
                    id,
                    format!("`in` takes texts and numbers, not {}", operand.type_name()),
                );
            }
        }))
    }
}

/// The name that a node spells, with the number of its first part: `a.b.c`, or `metadata["c"]`.
fn qualified_name(expr: &IdedExpr) -> Option<(u64, String)> {
    match &expr.expr {
        Expr::Ident(name) => Some((expr.id, name.strip_prefix('.').unwrap_or(name).to_owned())),
        Expr::Select(select) if !select.test => {
            let (root, mut name) = qualified_name(&select.operand)?;
            name.push('.');
            name.push_str(&select.field);
            Some((root, name))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, index] => match (&operand.expr, &index.expr) {
                (Expr::Ident(name), Expr::Literal(LiteralValue::String(key))) if name == "metadata" => {
                    Some((operand.id, format!("{METADATA_PREFIX}{}", key.inner())))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
