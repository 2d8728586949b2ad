//! How text is cut into tokens.

use super::*;
use crate::wire::Flavour;

fn tokens(sql: &str, dialect: Dialect) -> (Vec<(Token, String)>, Option<Doubt>) {
    let mut lexer = Lexer::new(sql.as_bytes(), dialect);
    let mut found = Vec::new();
    loop {
        let lexeme = lexer.next();
        if lexeme.token == Token::End {
            return (found, lexer.doubt());
        }
        found.push((lexeme.token, String::from_utf8_lossy(lexer.text(lexeme)).into_owned()));
    }
}

/// The texts of the tokens, joined by `|`, and the doubt.
fn cut(sql: &str, dialect: Dialect) -> (String, Option<Doubt>) {
    let (tokens, doubt) = tokens(sql, dialect);
    let texts: Vec<_> = tokens.into_iter().map(|(_, text)| text).collect();
    (texts.join("|"), doubt)
}

const MYSQL: Dialect = Dialect {
    flavour: Flavour::MySql,
    version: 80_035,
    no_backslash_escapes: false,
    ansi_quotes: false,
    charset: ClientCharset::Utf8,
};
const MARIADB: Dialect = Dialect { flavour: Flavour::MariaDb, version: 101_119, ..MYSQL };

#[test]
fn text_is_cut_where_the_server_cuts_it() {
    let table = [
        ("SELECT a FROM t", "SELECT|a|FROM|t"),
        ("SELECT'a'FROM t", "SELECT|'a'|FROM|t"),
        ("a.b . c", "a|.|b|.|c"),
        ("`a``b` \"x\"", "a``b|\"x\""),
        (r"'a\'b' 'c''d' ''", r"'a\'b'|'c''d'|''"),
        ("x'1F' B'01' n'text' _utf8'x' xy'z'", "'1F'|'01'|'text'|_utf8|'x'|xy|'z'"),
        (
            "1 1.5 .5 1. 1e5 1E+5 1e 0x1F 0b01 0X1F 12ab t.5a",
            "1|1.5|.5|1.|1e5|1E+5|1e|0x1F|0b01|0X1F|12ab|t|.|5a",
        ),
        (
            "0b12 0b1x 0xfg t.1e5 t.5 `t`.5 t .5 1.5 t.5.6",
            "0b12|0b1x|0xfg|t|.|1e5|t|.|5|t|.|5|t|.5|1.5|t|.|5|.|6",
        ),
        ("@a @`b c` @'d' @@e @@global.f @@SESSION.`g` @", "a|b c|d|e|f|g|"),
        ("@@session .a @@global. b @@local/* x */ . -- y\n`c` @@session a", "a|b|c|session|a"),
        ("a:=1", "a|:=|1"),
        ("a--b", "a|-|-|b"),
        ("a-- b\nc#d\ne", "a|c|e"),
        ("a--", "a"),
        ("a/* b */c/**/d", "a|c|d"),
        ("café naïve", "café|naïve"),
        ("a /* rwproxy: primary */", "a| primary "),
        ("1;2", "1|;|2"),
        ("a >= ?", "a|>|=|?"),
    ];
    for (sql, expected) in table {
        assert_eq!(cut(sql, MYSQL), (expected.to_owned(), None), "{sql}");
    }
}

#[test]
fn no_chain_of_variables_overflows_the_stack() {
    for link in ["@@session", "@@session ", "@@session/**/", "@@local."] {
        assert!(!tokens(&link.repeat(200_000), MYSQL).0.is_empty(), "{link}");
    }
}

#[test]
fn kinds_of_tokens() {
    let dialect = Dialect { ansi_quotes: true, ..MYSQL };
    let (found, _) = tokens("a \"b\" 'c' 1 ? @d @@e @@global.f", dialect);
    let kinds: Vec<_> = found.into_iter().map(|(token, _)| token).collect();
    assert_eq!(
        kinds,
        [
            Token::Word,
            Token::Identifier,
            Token::String,
            Token::Number,
            Token::Parameter,
            Token::UserVariable,
            Token::SystemVariable(VariableScope::Unspecified),
            Token::SystemVariable(VariableScope::Global),
        ]
    );
}

#[test]
fn the_sql_mode_decides_where_strings_end() {
    let plain = Dialect { no_backslash_escapes: true, ..MYSQL };
    assert_eq!(cut(r"'a\' FOR UPDATE", plain), (r"'a\'|FOR|UPDATE".into(), None));
    assert_eq!(cut(r"'a\' b'", MYSQL), (r"'a\' b'".into(), None));
    let ansi = Dialect { ansi_quotes: true, ..MYSQL };
    assert_eq!(cut(r#""a\" b"#, ansi), (r"a\|b".into(), None));
}

#[test]
fn executable_comments_are_text() {
    let unsure = Some(Doubt::ExecutableComment);
    let table = [
        ("a /*! b */ c", MYSQL, "a|b|c", unsure),
        ("a /*!80000 b*/ c", MYSQL, "a|b|c", unsure),
        ("a /*!080000 b*/ c", MYSQL, "a|b|c", unsure),
        ("a /*!99999 b*/ c", MYSQL, "a|c", unsure),
        ("a /*!80000 b*/ c", MARIADB, "a|c", unsure),
        ("a /*!50100 b*/ c", MARIADB, "a|b|c", unsure),
        ("a /*M! b */ c", MARIADB, "a|b|c", unsure),
        ("a /*M!100616 b */ c", MARIADB, "a|b|c", unsure),
        ("a /*M!999999\\- b */ c", MARIADB, "a|c", unsure),
        ("a /*M! b */ c", MYSQL, "a|c", None),
        ("a /*!40001 SQL_NO_CACHE */ c", MYSQL, "a|SQL_NO_CACHE|c", None),
        ("a /*! b /* c */ d */ e", MYSQL, "a|b|d|e", unsure),
        ("a /*! b", MYSQL, "a", Some(Doubt::Unterminated)),
        ("a /*+ SET_VAR(x='y') */ b", MYSQL, "a|b", None),
        ("a /*+ SET_VAR(x='*/ b", MYSQL, "a|b", Some(Doubt::Unterminated)),
    ];
    for (sql, dialect, expected, doubt) in table {
        assert_eq!(cut(sql, dialect), (expected.to_owned(), doubt), "{sql}");
    }
}

#[test]
fn doubts() {
    let table = [
        ("'a", Doubt::Unterminated),
        (r"'a\'", Doubt::Unterminated),
        ("`a", Doubt::Unterminated),
        ("/* a", Doubt::Unterminated),
        ("/*/", Doubt::Unterminated),
        ("1.FOR", Doubt::Character),
        ("1e5FOR", Doubt::Character),
        ("a\0b", Doubt::Character),
        ("$$a$$", Doubt::Character),
        ("\\N", Doubt::Character),
    ];
    for (sql, doubt) in table {
        assert_eq!(cut(sql, MYSQL).1, Some(doubt), "{sql}");
    }
    let latin1 = Dialect { charset: ClientCharset::SingleByte, ..MYSQL };
    let mut lexer = Lexer::new(b"FOR\xa0UPDATE", latin1);
    lexer.next();
    assert_eq!(lexer.doubt(), Some(Doubt::Charset));
    assert_eq!(cut("'é'", latin1).1, None);
    let gbk = Dialect { charset: ClientCharset::Multibyte, ..MYSQL };
    assert_eq!(Lexer::new(b"'\xbf\x5c' OR 1 -- '", gbk).doubt(), Some(Doubt::Charset));
    assert_eq!(Lexer::new(b"'a'", gbk).doubt(), None);
}
