//! Text to statements' tokens, and a cursor over one statement's.
//!
//! Promise: every error names a place; weir's own words are read here, expressions and queries by
//! sqlparser, unforked.

use super::duration::parse_duration;
use super::error::{Position, SqlError};
use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};
use std::time::Duration;

/// The dialect of expressions and queries. What weir adds to it is done to tokens before and to the
/// syntax tree after, so the stock one serves.
pub(super) static DIALECT: GenericDialect = GenericDialect;

/// How deep expressions and queries may nest.
pub(super) const NESTING_MAX: usize = 50;

/// One statement: its tokens, where it ends and its own text.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) tokens: Vec<TokenWithSpan>,
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) text: String,
}

/// Splits a text at `;`, leaving out empty statements and comments.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, SqlError> {
    let tokens = Tokenizer::new(&DIALECT, text)
        .tokenize_with_location()
        .map_err(|error| SqlError::new(error.message).at(position(error.location)))?;
    let tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF))
        .collect();
    let lines = line_starts(text);
    let pieces = tokens
        .split(|t| t.token == Token::SemiColon)
        .filter_map(|tokens| {
            let (first, last) = (tokens.first()?, tokens.last()?);
            let from = byte_offset(text, &lines, first.span.start);
            let to = byte_offset(text, &lines, last.span.end).max(from);
            Some(Piece {
                tokens: without_table_keyword(tokens),
                start: position(first.span.start),
                end: position(last.span.end),
                text: text.get(from..to).unwrap_or_default().to_owned(),
            })
        })
        .collect();
    Ok(pieces)
}

/// Drops TABLE before a name inside a call, `TUMBLE(TABLE s, ...)` and `data => TABLE s`: the
/// standard's spelling of an argument that is a table. `TABLE(TUMBLE(...))` keeps it.
fn without_table_keyword(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for (i, token) in tokens.iter().enumerate() {
        let inside = matches!(
            kept.last().map(|t| &t.token),
            Some(Token::LParen | Token::Comma | Token::RArrow)
        );
        let before_name = matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::Word(_)));
        if !(inside && before_name && is_word(&token.token, "table")) {
            kept.push(token.clone());
        }
    }
    kept
}

/// Whether a token is this word, not quoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

/// sqlparser's place as ours.
pub(super) fn position(location: Location) -> Position {
    Position { line: location.line.max(1), column: location.column.max(1) }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

fn byte_offset(text: &str, lines: &[usize], location: Location) -> usize {
    let at = position(location);
    let line = usize::try_from(at.line - 1).unwrap_or(usize::MAX);
    let column = usize::try_from(at.column - 1).unwrap_or(usize::MAX);
    let Some(start) = lines.get(line) else { return text.len() };
    text[*start..].char_indices().nth(column).map_or(text.len(), |(offset, _)| start + offset)
}

/// Reads one statement from left to right.
pub(super) struct Cursor {
    parser: Parser<'static>,
    start: Position,
    end: Position,
    text: String,
}

impl Cursor {
    pub(super) fn new(piece: Piece) -> Self {
        let parser = Parser::new(&DIALECT)
            .with_tokens_with_locations(piece.tokens)
            .with_recursion_limit(NESTING_MAX);
        Self { parser, start: piece.start, end: piece.end, text: piece.text }
    }

    /// The statement's own text.
    pub(super) fn text(&self) -> String {
        self.text.clone()
    }

    /// The part of the statement's text from one place up to another.
    pub(super) fn text_between(&self, from: Position, to: Position) -> String {
        let lines = line_starts(&self.text);
        let own = |at: Position| {
            let first = at.line == self.start.line;
            let column = if first { at.column + 1 - self.start.column } else { at.column };
            byte_offset(&self.text, &lines, Location::new(at.line + 1 - self.start.line, column))
        };
        self.text.get(own(from)..own(to)).unwrap_or_default().trim_end().to_owned()
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> Position {
        let next = self.parser.peek_token_ref();
        if next.token == Token::EOF { self.end } else { position(next.span.start) }
    }

    /// Whether the statement ends here.
    pub(super) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// Whether the next tokens are these words.
    pub(super) fn sees(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(i, word)| is_word(&self.parser.peek_nth_token_ref(i).token, word))
    }

    /// Whether the next token is this one.
    pub(super) fn sees_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    /// Takes these words if they come next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let there = self.sees(words);
        if there {
            words.iter().for_each(|_| drop(self.parser.next_token()));
        }
        there
    }

    /// Takes this token if it comes next.
    pub(super) fn eat_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Takes these words, or says that they were expected.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<(), SqlError> {
        if self.eat(words) { Ok(()) } else { Err(self.expected(&words.join(" ").to_uppercase())) }
    }

    /// Takes this token, or says that it was expected.
    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat_token(token) { Ok(()) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    /// The next word in lower case, if it is one and not quoted.
    pub(super) fn peek_word(&self) -> Option<String> {
        match &self.parser.peek_token_ref().token {
            Token::Word(Word { value, quote_style: None, .. }) => Some(value.to_lowercase()),
            _ => None,
        }
    }

    /// Takes a name of one part: lower case unless quoted.
    pub(super) fn name(&mut self, what: &str) -> Result<String, SqlError> {
        let at = self.here();
        let Token::Word(word) = &self.parser.peek_token_ref().token else {
            return Err(self.expected(what));
        };
        let name =
            if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
        if name.is_empty() {
            return Err(SqlError::new(format!("{what} is empty")).at(at));
        }
        drop(self.parser.next_token());
        if self.sees_token(&Token::Period) {
            return Err(SqlError::new(format!("{what} has one part, without a '.'")).at(at));
        }
        Ok(name)
    }

    /// Takes a string.
    pub(super) fn string(&mut self, what: &str) -> Result<String, SqlError> {
        let Token::SingleQuotedString(value) = &self.parser.peek_token_ref().token else {
            return Err(self.expected(&format!("{what} in single quotes")));
        };
        let value = value.clone();
        drop(self.parser.next_token());
        Ok(value)
    }

    /// Takes a string that says something.
    pub(super) fn filled_string(&mut self, what: &str) -> Result<String, SqlError> {
        let at = self.here();
        let value = self.string(what)?;
        if value.trim().is_empty() {
            return Err(SqlError::new(format!("{what} is empty")).at(at));
        }
        Ok(value)
    }

    /// Takes a number as it is written.
    pub(super) fn number(&mut self) -> Option<String> {
        let Token::Number(digits, _) = &self.parser.peek_token_ref().token else { return None };
        let digits = digits.clone();
        drop(self.parser.next_token());
        Some(digits)
    }

    /// Takes `INTERVAL '3' MINUTE`, `INTERVAL '3 minutes'` or `'3 minutes'`.
    pub(super) fn duration(&mut self) -> Result<Duration, SqlError> {
        let at = self.here();
        self.eat(&["interval"]);
        let mut text = match self.number() {
            Some(digits) => digits,
            None => self.string("a length of time such as INTERVAL '5 minutes'")?,
        };
        let bare = text.trim().bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if bare && let Some(unit) = self.peek_word().filter(|word| is_time_unit(word)) {
            drop(self.parser.next_token());
            text = format!("{text} {unit}");
        }
        parse_duration(&text).map_err(|sentence| SqlError::new(sentence).at(at))
    }

    /// Takes `(name, ...)`.
    pub(super) fn names_in_parentheses(&mut self, what: &str) -> Result<Vec<String>, SqlError> {
        self.expect_token(&Token::LParen)?;
        let mut names = Vec::new();
        loop {
            let at = self.here();
            let name = self.name(what)?;
            if names.contains(&name) {
                return Err(SqlError::new(format!("'{name}' stands twice in the list")).at(at));
            }
            names.push(name);
            if !self.eat_token(&Token::Comma) {
                self.expect_token(&Token::RParen)?;
                return Ok(names);
            }
        }
    }

    /// Takes an expression; sqlparser reads it.
    pub(super) fn expr(&mut self) -> Result<Expr, SqlError> {
        let end = self.end;
        self.parser.parse_expr().map_err(|error| from_parser(&error, end))
    }

    /// Takes a query; sqlparser reads it.
    pub(super) fn query(&mut self) -> Result<Box<Query>, SqlError> {
        let end = self.end;
        self.parser.parse_query().map_err(|error| from_parser(&error, end))
    }

    /// Says that the statement should have ended here, if it has not.
    pub(super) fn finish(&self) -> Result<(), SqlError> {
        if self.at_end() { Ok(()) } else { Err(self.expected("the end of the statement, or ';'")) }
    }

    /// What was expected, and what stands here.
    pub(super) fn expected(&self, what: &str) -> SqlError {
        if self.at_end() {
            return SqlError::new(format!("the statement ends too early: expected {what}"))
                .at(self.end);
        }
        let found = &self.parser.peek_token_ref().token;
        SqlError::new(format!("expected {what}, found {found}")).at(self.here())
    }
}

fn is_time_unit(word: &str) -> bool {
    parse_duration(&format!("1 {word}")).is_ok()
        || matches!(word, "month" | "months" | "year" | "years")
}

/// sqlparser's complaint as ours; `end` is where the text ends.
pub(super) fn from_parser(error: &ParserError, end: Position) -> SqlError {
    match error {
        ParserError::RecursionLimitExceeded => {
            SqlError::new(format!("the statement nests deeper than {NESTING_MAX} levels"))
                .with_hint("name parts of it with WITH ... AS (SELECT ...)")
        }
        ParserError::TokenizerError(sentence) | ParserError::ParserError(sentence) => {
            from_sentence(sentence, end)
        }
    }
}

fn from_sentence(sentence: &str, end: Position) -> SqlError {
    let (said, at) = super::error::split_location(sentence);
    let said = said
        .strip_prefix("Expected: ")
        .map_or_else(|| said.to_owned(), |rest| format!("expected {rest}"));
    let said = said.replacen(", found: ", ", found ", 1);
    match said.strip_suffix(", found EOF") {
        Some(expected) => {
            SqlError::new(format!("the statement ends too early: {expected}")).at(end)
        }
        None => SqlError { position: at, ..SqlError::new(said) },
    }
}
