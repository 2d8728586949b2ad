//! The readers of SET, KILL, BEGIN, COMMIT and of questions about the session: no text makes them
//! panic, and values that are written as literals are read as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwproxy::sql::Dialect;
use rwproxy::sql::kill::{KillTarget, parse_kill};
use rwproxy::sql::lexer::{Lexer, Token};
use rwproxy::sql::question::bare_question;
use rwproxy::sql::set::{Assignment, Scope, parse_set, string_value};
use rwproxy::sql::transaction::{parse_begin, parse_end};
use rwproxy_fuzz::{dialect, split_head};

/// Every token lies within the text, behind the one before it.
fn walk(sql: &[u8], dialect: Dialect) {
    let mut lexer = Lexer::new(sql, dialect);
    let mut behind = 0;
    // A token has a byte at least.
    for _ in 0..=sql.len() {
        let lexeme = lexer.next();
        if lexeme.token == Token::End {
            let _ = lexer.doubt();
            return;
        }
        assert!(lexeme.start <= lexeme.end && lexeme.end <= sql.len(), "{lexeme:?}");
        assert!(lexer.position() > behind, "no progress at {lexeme:?}");
        assert!(lexeme.start >= behind, "{lexeme:?} begins before {behind}");
        behind = lexer.position();
        let _ = lexer.text(lexeme);
    }
    panic!("more tokens than bytes");
}

/// A string literal of these bytes, and what a server would take it for.
fn literal(bytes: &[u8], dialect: Dialect) -> Vec<u8> {
    let mut text = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => text.extend(b"''"),
            b'\\' if !dialect.no_backslash_escapes => text.extend(b"\\\\"),
            byte => text.push(*byte),
        }
    }
    text.push(b'\'');
    text
}

fn check_values(bytes: &[u8], dialect: Dialect) {
    // `\%` is kept as a pair.
    let text = literal(bytes, dialect);
    assert_eq!(string_value(&text, dialect).as_deref(), Some(bytes));

    // In character sets of several bytes a lead byte may take the next one with it.
    let sql = [b"SET SESSION time_zone = ", &text[..]].concat();
    if bytes.is_ascii() && !bytes.contains(&0) {
        let assignments = parse_set(&sql, dialect).expect("a SET of a string");
        let [Assignment::Variable { scope: Scope::Session, name, value }] = &assignments[..] else {
            panic!("{assignments:?}");
        };
        assert_eq!(name, "time_zone");
        assert_eq!(value.plain(dialect).as_deref(), Some(bytes));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, sql)) = split_head(data) else { return };
    let dialect = dialect(head);
    walk(sql, dialect);
    for sql in [sql, &[b"SET ", sql].concat(), &[b"SET @a = 1, ", sql].concat()] {
        for assignment in parse_set(sql, dialect).unwrap_or_default() {
            if let Assignment::Variable { value, .. } = assignment {
                let _ = (value.plain(dialect), value.switch(dialect), value.is_constant());
            }
        }
    }
    for sql in [sql, &[b"KILL ", sql].concat()] {
        let _ = parse_kill(sql, dialect);
    }
    for sql in [sql, &[b"SHOW ", sql].concat(), &[b"SELECT ROW_COUNT() ", sql].concat()] {
        let _ = bare_question(sql, dialect);
    }
    for sql in [sql, &[b"START TRANSACTION ", sql].concat()] {
        let _ = parse_begin(Lexer::new(sql, dialect));
    }
    for sql in [sql, &[b"COMMIT ", sql].concat()] {
        let _ = parse_end(Lexer::new(sql, dialect));
    }
    check_values(sql, dialect);
    if let Some(bytes) = sql.first_chunk::<8>() {
        let id = u64::from_le_bytes(*bytes);
        let kill = parse_kill(format!("KILL QUERY {id}").as_bytes(), dialect).expect("a KILL");
        assert!(kill.statement_only);
        assert_eq!(kill.target, KillTarget::Connection(id));
    }
});
