//! A compiled expression, what it reads, and what it says about one transaction.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::domain::time::EventTime;
use crate::domain::value::{Value, ValueType};
use crate::expr::check::{self, Typed};
use crate::expr::error::ExprError;
use crate::expr::node::BoolNode;
use crate::expr::schema::{Schema, Slot};

/// What an expression is asked about: values by slot, and membership in lists by number.
pub trait Facts {
    /// The value in a slot; `Missing` for a slot that holds none. A value of another type than the schema says counts as
    /// missing.
    fn value(&self, slot: Slot) -> Value<'_>;
    /// Whether `value` (a text or a whole number, never missing) stands on the list with that number.
    fn in_list(&self, list: usize, value: Value<'_>) -> bool;
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Scalar<'a> {
    /// No value: CEL's error.
    #[default]
    Missing,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `double`; may be infinite or NaN.
    Double(f64),
    /// `string`
    Text(Cow<'a, str>),
    /// `timestamp`
    Time(Timestamp),
    /// `duration`
    Duration(SignedDuration),
}

impl Scalar<'_> {
    /// As a value of a transaction or feature. NaN is missing; so are a duration, and a moment that no event can have.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Missing | Self::Duration(_) => Value::Missing,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Int(number) => Value::Int(*number),
            Self::Double(number) => Value::from_f64(*number),
            Self::Text(text) => Value::Text(text),
            Self::Time(time) => {
                EventTime::from_unix_millis(time.as_millisecond()).map_or(Value::Missing, Value::Time)
            }
        }
    }
}

/// A name that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// As written.
    pub name: Box<str>,
    /// Where its value stands.
    pub slot: Slot,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Typed,
    value_type: ValueType,
    reads: Box<[Read]>,
    negated: Box<[Box<str>]>,
}

impl Program {
    /// Compiles an expression of any type of the profile.
    pub fn compile(source: &str, schema: &mut Schema) -> Result<Self, ExprError> {
        let checked = check::check(source, schema)?;
        let Some(value_type) = checked.root.value_type() else {
            let message = "has a type that is known only at run time; say which with string() or double()";
            return Err(ExprError::new(0..source.len(), message));
        };
        Ok(Self { root: checked.root, value_type, reads: checked.reads, negated: checked.negated })
    }

    /// Compiles a condition: an expression that must be `bool`.
    pub fn compile_condition(source: &str, schema: &mut Schema) -> Result<Self, ExprError> {
        let mut checked = check::check(source, schema)?;
        if let Typed::Dynamic(slot) = checked.root {
            checked.root = Typed::Bool(BoolNode::Slot(slot));
        }
        match checked.root.value_type() {
            Some(value_type @ ValueType::Bool) => {
                Ok(Self { root: checked.root, value_type, reads: checked.reads, negated: checked.negated })
            }
            other => {
                let message =
                    format!("must be bool, is {}", other.map_or("of unknown type", ValueType::name));
                Err(ExprError::new(0..source.trim_end().len(), message))
            }
        }
    }

    /// The type of the result.
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The names that the expression reads, each once, in the order of their first use.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Names that can be missing, are read below a `!`, and that no `has()` of the expression asks for: where one of them
    /// is missing, the negation does not hold either.
    pub fn unguarded_negations(&self) -> impl Iterator<Item = &str> {
        self.negated.iter().map(|name| &**name)
    }

    /// Evaluates the expression.
    pub fn eval<'a, F: Facts + ?Sized>(&'a self, facts: &'a F) -> Scalar<'a> {
        match &self.root {
            Typed::Bool(node) => node.eval(facts).map_or(Scalar::Missing, Scalar::Bool),
            Typed::Int(node) => node.eval(facts).map_or(Scalar::Missing, Scalar::Int),
            Typed::Double(node) => node.eval(facts).map_or(Scalar::Missing, Scalar::Double),
            Typed::Text(node) => node.eval(facts).map_or(Scalar::Missing, Scalar::Text),
            Typed::Time(node) => node.eval(facts).map_or(Scalar::Missing, Scalar::Time),
            Typed::Duration(node) => node.eval(facts).map_or(Scalar::Missing, Scalar::Duration),
            Typed::Dynamic(_) => Scalar::Missing,
        }
    }

    /// The compiled condition, when it is one.
    pub(crate) fn condition(&self) -> Option<&BoolNode> {
        match &self.root {
            Typed::Bool(node) => Some(node),
            _ => None,
        }
    }

    /// Whether the expression is exactly `true`: not false, not missing, not of another type.
    pub fn matches<F: Facts + ?Sized>(&self, facts: &F) -> bool {
        self.condition().is_some_and(|node| node.eval(facts) == Some(true))
    }
}
