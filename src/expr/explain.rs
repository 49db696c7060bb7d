//! Why a condition held or did not: its terms as they are written, what each came to, and the values that they read.
//!
//! Cold code, for people who ask afterwards: the text is taken apart again, and each part is compiled and asked on its own, by
//! the same evaluator. Only `&&`, `||`, `!` and `?:` are taken apart; what stands between them is a term.

use std::ops::Range;

use cel::parser::pratt_parser::{Lexer, TokenKind};

use crate::domain::value::Value;
use crate::expr::error::ExprError;
use crate::expr::node::Comparison;
use crate::expr::operator::comparison;
use crate::expr::program::{Facts, Program, Scalar};
use crate::expr::schema::Schema;
use crate::expr::syntax::{DEPTH_MAX, TOKENS_MAX};

/// How the parts of a condition are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// `&&`
    All,
    /// `||`
    Any,
    /// `!`
    Not,
    /// `condition ? then : otherwise`
    Choice,
    /// Not taken apart.
    Term,
}

/// A condition, or a part of one, asked about one transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    /// The text as it is written, without the brackets around it.
    pub text: Box<str>,
    /// How its parts are joined.
    pub join: Join,
    /// Whether it held; `None` is missing.
    pub held: Option<bool>,
    /// The parts, in the order of the text; of a term none.
    pub parts: Vec<Explanation>,
    /// Of a term, the names that it reads with their values.
    pub values: Vec<(Box<str>, Scalar<'static>)>,
    /// Of a term that compares two numbers by their size: what they were.
    pub threshold: Option<Threshold>,
}

/// Two numbers that a term compares.
#[derive(Clone, PartialEq, Debug)]
pub struct Threshold {
    /// The left side as it is written, or the right one when the left is a number.
    pub text: Box<str>,
    /// What it came to.
    pub value: f64,
    /// `<`, `<=`, `>` or `>=`: what must hold between the value and the bound.
    pub needs: &'static str,
    /// What the other side came to.
    pub bound: f64,
}

impl Threshold {
    /// How far the value is from the bound, as a share of the bound; of a bound below 1, as a share of 1.
    pub fn distance(&self) -> f64 {
        (self.value - self.bound).abs() / self.bound.abs().max(1.0)
    }
}

/// Explains a condition that compiles against `schema`.
pub fn explain<F: Facts + ?Sized>(
    source: &str,
    schema: &mut Schema,
    facts: &F,
) -> Result<Explanation, ExprError> {
    // A text that compiles is within the parser's bounds, so that the walk below is too.
    Program::compile_condition(source, schema)?;
    let tokens = tokens(source);
    Explaining { source, schema, facts }.part(&tokens, usize::from(DEPTH_MAX))
}

/// The parts of a condition that must all hold, as they are written; the condition itself when it is no conjunction.
pub fn conjuncts(source: &str) -> Vec<&str> {
    fn collect<'t>(mut tokens: &'t [Token], depth: usize, found: &mut Vec<&'t [Token]>) {
        while is_bracketed(tokens) {
            tokens = &tokens[1..tokens.len() - 1];
        }
        match taken_apart(tokens) {
            (Join::All, parts) if depth > 0 => {
                parts.into_iter().for_each(|part| collect(part, depth - 1, found));
            }
            _ => found.push(tokens),
        }
    }
    let tokens = tokens(source);
    let mut found = Vec::new();
    collect(&tokens, usize::from(DEPTH_MAX), &mut found);
    found.into_iter().map(|part| text(source, part)).collect()
}

fn text<'s>(source: &'s str, tokens: &[Token]) -> &'s str {
    let start = tokens.first().map_or(0, |first| first.place.start);
    let end = tokens.last().map_or(start, |last| last.place.end);
    source.get(start..end).unwrap_or("")
}

#[derive(Clone)]
struct Token {
    kind: TokenKind,
    place: Range<usize>,
}

fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(source);
    let mut tokens = Vec::new();
    while tokens.len() <= TOKENS_MAX {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd | TokenKind::TokError => break,
            TokenKind::TokWhitespace | TokenKind::TokComment => {}
            kind => tokens.push(Token { kind, place: token.start..token.end }),
        }
    }
    tokens
}

/// The positions of tokens outside all brackets.
fn outside_brackets(tokens: &[Token]) -> impl Iterator<Item = (usize, &Token)> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter(move |(_, token)| match token.kind {
        TokenKind::TokLeftParen | TokenKind::TokLeftBracket | TokenKind::TokLeftBrace => {
            depth += 1;
            false
        }
        TokenKind::TokRightParen | TokenKind::TokRightBracket | TokenKind::TokRightBrace => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    })
}

/// Whether one pair of brackets holds everything: `(a) && (b)` does not count.
fn is_bracketed(tokens: &[Token]) -> bool {
    let ends = tokens.first().is_some_and(|first| first.kind == TokenKind::TokLeftParen)
        && tokens.last().is_some_and(|last| last.kind == TokenKind::TokRightParen);
    let mut depth = 0_usize;
    ends && tokens.iter().enumerate().all(|(at, token)| {
        match token.kind {
            TokenKind::TokLeftParen => depth += 1,
            TokenKind::TokRightParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0 || at + 1 == tokens.len()
    })
}

/// The parts between the operators of one kind that stand outside brackets.
fn split(tokens: &[Token], operator: TokenKind) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, token) in outside_brackets(tokens) {
        if token.kind == operator {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// The three parts of `a ? b : c`.
fn choice(tokens: &[Token]) -> Option<[&[Token]; 3]> {
    let mut question = None;
    let mut open = 0_usize;
    for (at, token) in outside_brackets(tokens) {
        match token.kind {
            TokenKind::TokQuestion => {
                question = question.or(Some(at));
                open += 1;
            }
            TokenKind::TokColon => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return question
                        .map(|question| [&tokens[..question], &tokens[question + 1..at], &tokens[at + 1..]]);
                }
            }
            _ => {}
        }
    }
    None
}

/// The comparison of a term, with its two sides.
fn compared(tokens: &[Token]) -> Option<(Comparison, &[Token], &[Token])> {
    let mut found = outside_brackets(tokens).filter_map(|(at, token)| {
        let name = match token.kind {
            TokenKind::TokLess => "_<_",
            TokenKind::TokLessEqual => "_<=_",
            TokenKind::TokGreater => "_>_",
            TokenKind::TokGreaterEqual => "_>=_",
            TokenKind::TokEqualEqual => "_==_",
            TokenKind::TokExclamationEqual => "_!=_",
            TokenKind::TokIn => "@in",
            _ => return None,
        };
        Some((at, comparison(name)))
    });
    match (found.next(), found.next()) {
        (Some((at, Some(comparison))), None) => Some((comparison, &tokens[..at], &tokens[at + 1..])),
        _ => None,
    }
}

/// Whether the tokens are `!` and one operand, and not a comparison or sum whose left side is negated.
fn is_negation(tokens: &[Token]) -> bool {
    let is_operator = |kind: &TokenKind| {
        matches!(
            kind,
            TokenKind::TokLess
                | TokenKind::TokLessEqual
                | TokenKind::TokGreater
                | TokenKind::TokGreaterEqual
                | TokenKind::TokEqualEqual
                | TokenKind::TokExclamationEqual
                | TokenKind::TokIn
                | TokenKind::TokPlus
                | TokenKind::TokMinus
                | TokenKind::TokAsterisk
                | TokenKind::TokSlash
                | TokenKind::TokPercent
        )
    };
    tokens.first().is_some_and(|first| first.kind == TokenKind::TokExclamation)
        && !outside_brackets(tokens).any(|(_, token)| is_operator(&token.kind))
}

struct Explaining<'a, F: ?Sized> {
    source: &'a str,
    schema: &'a mut Schema,
    facts: &'a F,
}

impl<F: Facts + ?Sized> Explaining<'_, F> {
    fn text(&self, tokens: &[Token]) -> &str {
        text(self.source, tokens)
    }

    fn part(&mut self, mut tokens: &[Token], depth: usize) -> Result<Explanation, ExprError> {
        while is_bracketed(tokens) {
            tokens = &tokens[1..tokens.len() - 1];
        }
        let text: Box<str> = self.text(tokens).into();
        let program = Program::compile_condition(&text, self.schema)?;
        let held = match program.eval(self.facts) {
            Scalar::Bool(flag) => Some(flag),
            _ => None,
        };
        let (join, parts) = if depth == 0 { (Join::Term, Vec::new()) } else { taken_apart(tokens) };
        if join == Join::Term {
            let reads = program.reads().iter();
            let values = reads.map(|read| (read.name.clone(), shown(self.facts.value(read.slot)))).collect();
            let threshold = self.threshold(tokens);
            return Ok(Explanation { text, join, held, parts: Vec::new(), values, threshold });
        }
        let parts = parts.into_iter().map(|part| self.part(part, depth - 1)).collect::<Result<_, _>>()?;
        Ok(Explanation { text, join, held, parts, values: Vec::new(), threshold: None })
    }

    fn threshold(&mut self, tokens: &[Token]) -> Option<Threshold> {
        let (comparison, left, right) = compared(tokens)?;
        let (a, b) = (self.number(left)?, self.number(right)?);
        // What can change stands on the left: `5 < x` needs `x > 5`.
        let left_is_fixed = left.iter().all(|token| token.kind != TokenKind::TokIdent);
        let (comparison, side, value, bound) =
            if left_is_fixed { (comparison.swapped(), right, b, a) } else { (comparison, left, a, b) };
        let needs = match comparison {
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
            Comparison::Equal | Comparison::NotEqual => return None,
        };
        Some(Threshold { text: self.text(side).into(), value, needs, bound })
    }

    /// What a side of a comparison comes to, if that is a number.
    fn number(&mut self, tokens: &[Token]) -> Option<f64> {
        let text = self.text(tokens);
        // Metadata has no type of its own; beside a number it is one.
        let text = if text.starts_with("metadata") { format!("double({text})") } else { text.to_owned() };
        match Program::compile(&text, self.schema).ok()?.eval(self.facts) {
            Scalar::Int(number) => Some(crate::expr::node::double(number)),
            Scalar::Double(number) => Some(number).filter(|number| number.is_finite()),
            _ => None,
        }
    }
}

/// How the tokens are joined, and the parts: by the operator that binds least.
fn taken_apart(tokens: &[Token]) -> (Join, Vec<&[Token]>) {
    if let Some(parts) = choice(tokens) {
        return (Join::Choice, parts.to_vec());
    }
    for (operator, join) in [(TokenKind::TokLogicalOr, Join::Any), (TokenKind::TokLogicalAnd, Join::All)] {
        let parts = split(tokens, operator);
        if parts.len() > 1 {
            return (join, parts);
        }
    }
    if is_negation(tokens) { (Join::Not, vec![&tokens[1..]]) } else { (Join::Term, Vec::new()) }
}

/// Longest text value that is shown, in characters.
const VALUE_CHARS_MAX: usize = 128;

fn shown(value: Value<'_>) -> Scalar<'static> {
    match value {
        Value::Missing => Scalar::Missing,
        Value::Bool(flag) => Scalar::Bool(flag),
        Value::Int(number) => Scalar::Int(number),
        Value::Double(number) => Scalar::Double(number),
        Value::Text(text) => Scalar::Text(text.chars().take(VALUE_CHARS_MAX).collect::<String>().into()),
        Value::Time(time) => Scalar::Time(time.timestamp()),
    }
}
