//! Which statement it is, by its first words.

mod operator;
mod options;
mod query;
mod rule;
mod show;
mod stream;
mod subscription;
mod table;
mod test;

use super::error::SqlError;
use super::refusals;
use super::statement::{Existing, Missing, Statement};
use super::suggest::did_you_mean;
use super::tokens::{Cursor, Piece};

/// The first words of what weir serves.
const FIRST_WORDS: [&str; 20] = [
    "SELECT",
    "WITH",
    "VALUES",
    "EXPLAIN",
    "CREATE",
    "ALTER",
    "DROP",
    "INSERT",
    "SHOW",
    "FLUSH",
    "ACKNOWLEDGE",
    "SHELVE",
    "UNSHELVE",
    "TAKE",
    "RETURN",
    "TEST",
    "REPLAY",
    "RESET",
    "DELETE",
    "UPDATE",
];

/// Parses one statement.
pub(super) fn statement(piece: Piece) -> Result<Statement, SqlError> {
    refusals::check_tokens(&piece.tokens)?;
    if query::starts(&piece.tokens) {
        return query::parse(piece);
    }
    let mut cursor = Cursor::new(piece);
    let statement = by_first_words(&mut cursor)?;
    cursor.finish()?;
    Ok(statement)
}

fn by_first_words(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    let at = cursor.here();
    match cursor.peek_word().unwrap_or_default().as_str() {
        "create" => create(cursor),
        "alter" => alter(cursor),
        "drop" => drop_one(cursor),
        "insert" => table::insert(cursor),
        "show" => show::show(cursor),
        "explain" => show::explain(cursor),
        "flush" => show::flush(cursor),
        "acknowledge" => operator::acknowledge(cursor),
        "shelve" => operator::shelve(cursor),
        "unshelve" => operator::unshelve(cursor),
        "take" => operator::take(cursor),
        "return" => operator::give_back(cursor),
        "test" => test::test(cursor),
        "replay" | "reset" => again(cursor),
        word => Err(refusals::foreign_statement(word, cursor)
            .unwrap_or_else(|| unknown_statement(word, cursor))
            .at(at)),
    }
}

fn unknown_statement(word: &str, cursor: &Cursor) -> SqlError {
    let error = cursor.expected("a statement");
    match did_you_mean(word, FIRST_WORDS) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("a statement starts with SELECT, CREATE, DROP, INSERT, SHOW, EXPLAIN, FLUSH, ACKNOWLEDGE, SHELVE, UNSHELVE, TAKE, RETURN, TEST, REPLAY or RESET"),
    }
}

fn create(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    let at = cursor.here();
    cursor.expect(&["create"])?;
    let existing =
        if cursor.eat(&["or", "replace"]) { Existing::Replace } else { Existing::Refuse };
    let kind = cursor.peek_word().unwrap_or_default();
    if existing == Existing::Replace && matches!(kind.as_str(), "stream" | "table" | "subscription")
    {
        return Err(SqlError::new(format!("only a rule can be replaced, not a {kind}"))
            .with_hint(format!("DROP {} first, or use ALTER", kind.to_uppercase()))
            .at(at));
    }
    match kind.as_str() {
        "stream" => stream::create(cursor),
        "rule" => rule::create(cursor, existing),
        "subscription" => subscription::create(cursor),
        "table" => table::create(cursor),
        word => Err(refusals::foreign_create(word)
            .unwrap_or_else(|| {
                let near = did_you_mean(word, KINDS).map(|near| format!("did you mean {near}?"));
                cursor
                    .expected("STREAM, RULE, SUBSCRIPTION or TABLE")
                    .with_hint(near.unwrap_or_else(|| "CREATE makes one of these four".to_owned()))
            })
            .at(cursor.here())),
    }
}

/// What CREATE and DROP are about.
const KINDS: [&str; 4] = ["STREAM", "RULE", "SUBSCRIPTION", "TABLE"];

fn alter(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["alter"])?;
    if cursor.sees(&["stream"]) {
        return stream::alter(cursor);
    }
    Err(cursor.expected("STREAM").with_hint(
        "only streams can be altered: ALTER STREAM name ADD COLUMN name TYPE; a rule is changed with CREATE OR REPLACE RULE",
    ))
}

fn drop_one(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["drop"])?;
    let kind = cursor.peek_word().unwrap_or_default();
    if !KINDS.iter().any(|known| known.eq_ignore_ascii_case(&kind)) {
        let near = did_you_mean(&kind, KINDS).map(|near| format!("did you mean {near}?"));
        return Err(cursor
            .expected("STREAM, RULE, SUBSCRIPTION or TABLE")
            .with_hint(near.unwrap_or_else(|| "DROP takes one of these four".to_owned())));
    }
    cursor.expect(&[kind.as_str()])?;
    let missing = if cursor.eat(&["if", "exists"]) { Missing::Ignore } else { Missing::Refuse };
    let name = cursor.name(&format!("the name of the {kind}"))?;
    Ok(match kind.as_str() {
        "stream" => Statement::DropStream { name, missing },
        "rule" => Statement::DropRule { name, missing },
        "subscription" => Statement::DropSubscription { name, missing },
        _ => Statement::DropTable { name, missing },
    })
}

/// `REPLAY RULE name`, `RESET RULE name`.
fn again(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    let replays = cursor.eat(&["replay"]);
    if !replays {
        cursor.expect(&["reset"])?;
    }
    cursor.expect(&["rule"])?;
    let name = cursor.name("the name of the rule")?;
    Ok(match replays {
        true => Statement::ReplayRule { name },
        false => Statement::ResetRule { name },
    })
}

/// Takes `IF NOT EXISTS` if it is there.
fn if_not_exists(cursor: &mut Cursor) -> Existing {
    if cursor.eat(&["if", "not", "exists"]) { Existing::Keep } else { Existing::Refuse }
}
