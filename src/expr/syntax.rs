//! From text to tree: the `cel` crate's Pratt parser behind bounds, with the place of every node.
//!
//! Two things about that parser shape this file. It hands out the places of nodes only together with an error, so a
//! refusal by the type checker reads the text once more with an error at its end (node numbers depend on nothing but the
//! text before them). And it expands `has(x)` itself and only for `x.y`, while `score` and `amount` can be missing too, so
//! `has` is handed to it under another name of the same length.

use std::ops::Range;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::PrattParser;
use cel::parser::pratt_parser::{Lexer, TokenKind};

use crate::expr::error::ExprError;

/// Longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;
/// Most tokens of one expression.
pub const TOKENS_MAX: usize = 2_000;
/// Deepest nesting of parentheses, calls and operators.
pub const DEPTH_MAX: u16 = 64;
/// Most `?:` in one expression.
pub const CONDITIONALS_MAX: usize = 32;

/// The name under which `has` passes the parser.
pub(crate) const HAS: &str = "h__";

/// A parsed text.
pub(crate) struct Syntax<'a> {
    source: &'a str,
    disguised: String,
    pub(crate) root: IdedExpr,
}

/// Parses `source`, or says what is wrong with it first.
pub(crate) fn parse(source: &str) -> Result<Syntax<'_>, ExprError> {
    let disguised = scan(source)?;
    match parser().parse(&disguised) {
        Ok(root) => Ok(Syntax { source, disguised, root }),
        Err(errors) => {
            let error = errors.errors.iter().find(|error| error.pos.0 > 0).or(errors.errors.first());
            Err(error.map_or_else(
                || ExprError::new(0..source.len(), "cannot be read"),
                |error| refusal(source, error.pos, &error.msg),
            ))
        }
    }
}

impl Syntax<'_> {
    /// The text's places, from a second reading that ends in an error.
    pub(crate) fn places(&self) -> Places<'_> {
        let broken = format!("{}\n)", self.disguised);
        let info = match parser().parse(&broken) {
            Ok(_) => None,
            Err(errors) => errors.errors.into_iter().find_map(|error| error.source_info),
        };
        Places { source: self.source, info }
    }
}

/// Where each node stands in the text.
pub(crate) struct Places<'a> {
    source: &'a str,
    info: Option<Arc<SourceInfo>>,
}

impl Places<'_> {
    /// The bytes of the token that gave a node its number.
    pub(crate) fn of(&self, id: u64) -> Range<usize> {
        let whole = 0..self.source.len();
        let Some((start, end)) = self.info.as_ref().and_then(|info| info.offset_for(id)) else {
            return whole;
        };
        let (start, end) = (start as usize, end as usize);
        if start <= end && self.source.get(start..end).is_some() { start..end } else { whole }
    }

    /// The bytes of `name` where it ends before the token of a node, as the name of `x.name(` ends before its parenthesis.
    pub(crate) fn of_name_before(&self, id: u64, name: &str) -> Range<usize> {
        let place = self.of(id);
        let before = self.source.get(..place.start).unwrap_or("").trim_end();
        if before.ends_with(name) { before.len() - name.len()..before.len() } else { place }
    }

    /// The bytes of a dotted name that begins at a node's token.
    pub(crate) fn of_name_at(&self, id: u64, name: &str) -> Range<usize> {
        let place = self.of(id);
        if self.source.get(place.start..).is_some_and(|rest| rest.starts_with(name)) {
            place.start..place.start + name.len()
        } else {
            place
        }
    }
}

fn parser() -> PrattParser {
    PrattParser::new()
        .max_recursion_depth(DEPTH_MAX)
        .error_recovery_limit(1)
        .enable_variadic_operator_asts(true)
}

/// Holds the text to its bounds and writes `has(` as the parser shall see it.
fn scan(source: &str) -> Result<String, ExprError> {
    if source.trim().is_empty() {
        return Err(ExprError::new(0..0, "is empty"));
    }
    if source.len() > EXPRESSION_BYTES_MAX {
        let message = format!("is {} bytes long; at most {EXPRESSION_BYTES_MAX} are allowed", source.len());
        return Err(ExprError::new(0..0, message));
    }
    let mut disguised = source.to_owned();
    let mut lexer = Lexer::new(source);
    let (mut tokens, mut conditionals) = (0, 0);
    let mut after_dot = false;
    let mut has: Option<Range<usize>> = None;
    loop {
        let token = lexer.lex();
        let text = source.get(token.start..token.end).unwrap_or("");
        match token.kind {
            TokenKind::TokEnd => return Ok(disguised),
            TokenKind::TokWhitespace | TokenKind::TokComment => continue,
            TokenKind::TokError => {
                let message = lexer.get_error().map_or("unreadable", |error| error.message.as_str());
                return Err(ExprError::new(token.start..token.end, message));
            }
            TokenKind::TokEqual => {
                return Err(ExprError::new(
                    token.start..token.end,
                    "one `=` is no operator; write `==` to compare",
                ));
            }
            TokenKind::TokLeftParen => {
                if let Some(place) = has.take() {
                    disguised.replace_range(place, HAS);
                }
            }
            TokenKind::TokQuestion => conditionals += 1,
            TokenKind::TokIdent if text == HAS => {
                return Err(ExprError::new(token.start..token.end, format!("unknown name `{HAS}`")));
            }
            TokenKind::TokIdent if matches!(text, "and" | "or" | "not") => {
                let operator = if text == "and" {
                    "&&"
                } else if text == "or" {
                    "||"
                } else {
                    "!"
                };
                let message = format!("unknown name `{text}`; write `{operator}`");
                return Err(ExprError::new(token.start..token.end, message));
            }
            _ => {}
        }
        tokens += 1;
        if tokens > TOKENS_MAX || conditionals > CONDITIONALS_MAX {
            let message =
                format!("is too long: at most {TOKENS_MAX} tokens and {CONDITIONALS_MAX} `?:` are allowed");
            return Err(ExprError::new(token.start..token.end, message));
        }
        has = (text == "has" && token.kind == TokenKind::TokIdent && !after_dot)
            .then_some(token.start..token.end);
        after_dot = token.kind == TokenKind::TokDot;
    }
}

/// The parser's error in our words. Its column counts bytes from 1.
fn refusal(source: &str, (line, column): (isize, isize), message: &str) -> ExprError {
    let line_index = usize::try_from(line - 1).unwrap_or(0);
    let column_index = usize::try_from(column - 1).unwrap_or(0);
    let line_start: usize = source.split_inclusive('\n').take(line_index).map(str::len).sum();
    let start = source.floor_char_boundary((line_start + column_index).min(source.len()));
    let end = source[start..].chars().next().map_or(start, |first| start + first.len_utf8());
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message).replace(HAS, "has");
    let message = if start >= source.trim_end().len() && message.is_empty() {
        "ends too early".to_owned()
    } else if message.is_empty() {
        "cannot be read here".to_owned()
    } else {
        message.replace("<EOF>", "the end")
    };
    ExprError::new(start..end, message)
}
