//! `WITH (name = value, ...)`, and columns with their types.

use crate::sql::duration::{parse_bytes, parse_duration, parse_durations};
use crate::sql::error::{Position, SqlError};
use crate::sql::suggest::did_you_mean;
use crate::sql::tokens::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;
use std::time::Duration;
use weir_ingest::model::ColumnType;

/// One `name = value`.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) at: Position,
    value: Value,
    value_at: Position,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Number(String),
    Duration(Duration),
    Word(String),
}

/// Takes `(name = value, ...)`; each name at most once.
pub(super) fn settings(cursor: &mut Cursor) -> Result<Vec<Setting>, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let mut settings: Vec<Setting> = Vec::new();
    loop {
        let setting = setting(cursor)?;
        if settings.iter().any(|s| s.name == setting.name) {
            let message = format!("the option '{}' stands twice", setting.name);
            return Err(SqlError::new(message).at(setting.at));
        }
        settings.push(setting);
        if !cursor.eat_token(&Token::Comma) {
            cursor.expect_token(&Token::RParen)?;
            return Ok(settings);
        }
    }
}

fn setting(cursor: &mut Cursor) -> Result<Setting, SqlError> {
    let at = cursor.here();
    let name = cursor.name("the name of an option")?;
    cursor.expect_token(&Token::Eq)?;
    let value_at = cursor.here();
    let value = if cursor.sees(&["interval"]) {
        Value::Duration(cursor.duration()?)
    } else if let Some(digits) = cursor.number() {
        Value::Number(digits)
    } else if let Some(word) = cursor.peek_word() {
        cursor.expect(&[word.as_str()])?;
        Value::Word(word)
    } else {
        Value::Text(cursor.string(&format!("the value of '{name}'"))?)
    };
    Ok(Setting { name, at, value, value_at })
}

impl Setting {
    /// Its value as a length of time.
    pub(super) fn duration(&self) -> Result<Duration, SqlError> {
        match &self.value {
            Value::Duration(duration) => Ok(*duration),
            Value::Text(text) => parse_duration(text).map_err(|sentence| self.refuse(sentence)),
            _ => Err(self.expects("a length of time such as '5 seconds'")),
        }
    }

    /// Its value as a length of time longer than nothing.
    pub(super) fn some_time(&self) -> Result<Duration, SqlError> {
        let duration = self.duration()?;
        if duration.is_zero() { Err(self.expects("more than '0 seconds'")) } else { Ok(duration) }
    }

    /// Its value as a list of lengths of time.
    pub(super) fn durations(&self) -> Result<Vec<Duration>, SqlError> {
        match &self.value {
            Value::Text(text) => parse_durations(text).map_err(|sentence| self.refuse(sentence)),
            Value::Duration(duration) => Ok(vec![*duration]),
            _ => Err(self.expects("lengths of time such as '10s, 30s, 1 minute'")),
        }
    }

    /// Its value as a number of bytes.
    pub(super) fn bytes(&self) -> Result<u64, SqlError> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => {
                parse_bytes(text).map_err(|sentence| self.refuse(sentence))
            }
            _ => Err(self.expects("a size such as '64 MiB'")),
        }
    }

    /// Its value as a whole number.
    pub(super) fn whole_number(&self) -> Result<u32, SqlError> {
        let (Value::Text(text) | Value::Number(text)) = &self.value else {
            return Err(self.expects("a whole number"));
        };
        text.parse().map_err(|_| self.expects("a whole number"))
    }

    /// Its value as a text that says something.
    pub(super) fn text(&self) -> Result<String, SqlError> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(self.expects("a text in single quotes")),
        }
    }

    /// Its value as one of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, SqlError> {
        let (Value::Text(text) | Value::Word(text)) = &self.value else {
            return Err(self.one_of(choices));
        };
        choices
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let error = self.one_of(choices);
                match did_you_mean(text, choices.iter().map(|(word, _)| word)) {
                    Some(near) => error.with_hint(format!("did you mean '{near}'?")),
                    None => error,
                }
            })
    }

    /// The refusal of an option nobody knows.
    pub(super) fn unknown(&self, known: &[&str]) -> SqlError {
        let error = SqlError::new(format!("there is no option '{}'", self.name))
            .with_detail(format!("there are: {}", known.join(", ")))
            .at(self.at);
        match did_you_mean(&self.name, known) {
            Some(near) => error.with_hint(format!("did you mean '{near}'?")),
            None => error,
        }
    }

    fn one_of<T>(&self, choices: &[(&str, T)]) -> SqlError {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
        self.expects(&words.join(" or "))
    }

    pub(super) fn expects(&self, what: &str) -> SqlError {
        self.refuse(format!("the option '{}' takes {what}", self.name))
    }

    fn refuse(&self, sentence: String) -> SqlError {
        SqlError::new(sentence).at(self.value_at)
    }
}

/// Takes the type of a column.
pub(super) fn column_type(cursor: &mut Cursor) -> Result<ColumnType, SqlError> {
    let at = cursor.here();
    let word = cursor.peek_word().ok_or_else(|| cursor.expected("the type of the column"))?;
    let found = match word.as_str() {
        "double" | "float8" => ColumnType::Double,
        "bigint" | "int8" => ColumnType::Bigint,
        "boolean" | "bool" => ColumnType::Boolean,
        "text" | "varchar" | "string" => ColumnType::Text,
        "timestamp" => ColumnType::Timestamp,
        _ => return Err(unknown_type(&word).at(at)),
    };
    cursor.expect(&[word.as_str()])?;
    if word == "double" {
        cursor.eat(&["precision"]);
    }
    if cursor.sees_token(&Token::LParen) {
        return Err(SqlError::new(format!("{} has no length or precision", found.sql_name()))
            .with_hint(format!("write {} alone", found.sql_name()))
            .at(cursor.here()));
    }
    Ok(found)
}

fn unknown_type(word: &str) -> SqlError {
    let error = SqlError::new(format!("there is no type {}", word.to_uppercase()))
        .with_detail("there are: DOUBLE, BIGINT, BOOLEAN, TEXT, TIMESTAMP");
    let instead = match word {
        "float" | "float4" | "real" | "numeric" | "decimal" | "number" => Some("DOUBLE".to_owned()),
        "int" | "integer" | "int4" | "smallint" | "tinyint" | "int2" | "uint" => {
            Some("BIGINT".to_owned())
        }
        "char" | "nvarchar" | "character" | "uuid" | "json" | "jsonb" => Some("TEXT".to_owned()),
        "timestamptz" | "datetime" | "date" | "time" => Some("TIMESTAMP".to_owned()),
        _ => did_you_mean(word, ["DOUBLE", "BIGINT", "BOOLEAN", "TEXT", "TIMESTAMP"]),
    };
    match instead {
        Some(instead) => error.with_hint(format!("write {instead}")),
        None => error,
    }
}
