//! How a value is read and written again without loss, by its column's type.
//!
//! The connections' character set is utf8mb4, results are not converted, and `sql_mode` has neither
//! NO_BACKSLASH_ESCAPES nor ANSI_QUOTES.

use super::quoting::name;
use crate::wire::Flavour;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub form: Form,
    /// Its definition has a character that stands for others, too.
    pub may_be_misprinted: bool,
}

/// What stands for a value in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Digits as they come.
    Number,
    /// A string of ASCII or UTF-8: dates and times, JSON, UUIDs and addresses.
    Quoted,
    /// Bytes that no character set is applied to. Text, too, comes as it is stored.
    Bytes,
    /// FLOAT, whose text has six digits only: as the DOUBLE that it is exactly. (By a
    /// multiplication, for an addition would lose the sign of a zero.)
    Float,
    /// ENUM and SET by their numbers: an ENUM's invalid value and its empty one look alike.
    Numbered,
    /// DOUBLE. Quoted, for the sign of a zero.
    Double,
    /// BIT, whose bytes come as they are.
    Bits,
}

impl Form {
    /// By a column's type as SHOW COLUMNS has it, `int(11) unsigned` or the like.
    pub fn of(kind: &str, flavour: Flavour) -> Self {
        let end = kind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(kind.len());
        match kind[..end].to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
            | "numeric" | "year" => Form::Number,
            "float" => Form::Float,
            "double" | "real" => Form::Double,
            "enum" | "set" => Form::Numbered,
            "bit" => Form::Bits,
            "date" | "time" | "datetime" | "timestamp" | "uuid" | "inet4" | "inet6" => Form::Quoted,
            // MariaDB's is another name for LONGTEXT, and is shown as that.
            "json" if flavour == Flavour::MySql => Form::Quoted,
            _ => Form::Bytes,
        }
    }

    /// What is selected for a column.
    pub fn read(self, column: &str) -> String {
        let column = name(column);
        match self {
            Form::Float => format!("{column} * 1e0"),
            Form::Numbered => format!("CAST({column} AS UNSIGNED)"),
            _ => column,
        }
    }

    /// What stands ahead of a value's bytes, and behind them.
    pub fn around(self) -> (&'static str, &'static str) {
        match self {
            Form::Number | Form::Numbered => ("", ""),
            Form::Quoted | Form::Float | Form::Double => ("'", "'"),
            Form::Bytes | Form::Bits => ("_binary'", "'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_by_type() {
        let table = [
            ("int(10) unsigned zerofill", Form::Number),
            ("bigint", Form::Number),
            ("decimal(65,30)", Form::Number),
            ("year(4)", Form::Number),
            ("float(7,2)", Form::Float),
            ("double unsigned", Form::Double),
            ("enum('int','a')", Form::Numbered),
            ("set('x')", Form::Numbered),
            ("bit(1)", Form::Bits),
            ("timestamp(6)", Form::Quoted),
            ("uuid", Form::Quoted),
            ("inet6", Form::Quoted),
            ("json", Form::Quoted),
            ("varchar(20)", Form::Bytes),
            ("longblob", Form::Bytes),
            ("geomcollection", Form::Bytes),
            ("vector(3)", Form::Bytes),
        ];
        for (kind, form) in table {
            assert_eq!(Form::of(kind, Flavour::MySql), form, "{kind}");
        }
        assert_eq!(Form::of("json", Flavour::MariaDb), Form::Bytes);
    }
}
