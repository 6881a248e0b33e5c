//! Cuts a file into statements at `;`, so that each is sent, answered and blamed alone.
//!
//! Promise: quotes ('…', "…", $$…$$), `--` and `/* */` comments are stepped over; nothing is changed.

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its text without the `;`.
    pub text: &'a str,
    /// The line it starts on, from 1.
    pub line: usize,
}

/// All statements of `text`, in order; empty ones and mere comments left out.
pub fn split(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    let mut first_word = None;
    while at < text.len() {
        let rest = &text[at..];
        let step = length_of_token(rest);
        if rest.starts_with(';') {
            push(&mut parts, text, first_word.take(), at);
            start = at + 1;
        } else if first_word.is_none()
            && !is_comment(rest)
            && !rest.starts_with(char::is_whitespace)
        {
            first_word = Some(at.max(start));
        }
        at += step;
    }
    push(&mut parts, text, first_word, text.len());
    parts
}

fn push<'a>(parts: &mut Vec<Part<'a>>, text: &'a str, from: Option<usize>, to: usize) {
    if let Some(from) = from {
        let line = text[..from].matches('\n').count() + 1;
        parts.push(Part { text: text[from..to].trim_end(), line });
    }
}

fn is_comment(rest: &str) -> bool {
    rest.starts_with("--") || rest.starts_with("/*")
}

/// Bytes up to the end of the quote or comment that starts here, or of one character.
fn length_of_token(rest: &str) -> usize {
    let until = |open: usize, close: &str| {
        rest[open..].find(close).map_or(rest.len(), |end| open + end + close.len())
    };
    match rest.as_bytes() {
        [b'-', b'-', ..] => until(2, "\n"),
        [b'/', b'*', ..] => until(2, "*/"),
        [b'\'', ..] => until(1, "'"),
        [b'"', ..] => until(1, "\""),
        [b'$', b'$', ..] => until(2, "$$"),
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, usize)]) {
        let parts = split(text);
        let found: Vec<(&str, usize)> = parts.iter().map(|p| (p.text, p.line)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn statements_end_at_semicolons_and_at_the_end() {
        check("SELECT 1; SELECT 2", &[("SELECT 1", 1), ("SELECT 2", 1)]);
        check(";;\n ; ", &[]);
    }

    #[test]
    fn a_semicolon_in_a_quote_or_comment_ends_nothing() {
        check(
            "-- one; two\nSELECT ';', \"a;b\" /* ; */ , 'it''s; so';\nSELECT 'é;'",
            &[("SELECT ';', \"a;b\" /* ; */ , 'it''s; so'", 2), ("SELECT 'é;'", 3)],
        );
    }

    #[test]
    fn a_comment_alone_is_no_statement() {
        check("SELECT 1;\n-- the end\n", &[("SELECT 1", 1)]);
    }
}
