//! A table: what the console sends as a result set and HTTP as JSON.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

/// A column's values are all of its kind, or NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
}

pub const fn text(name: &'static str) -> Column {
    Column { name: Cow::Borrowed(name), kind: Kind::Text }
}

pub const fn number(name: &'static str) -> Column {
    Column { name: Cow::Borrowed(name), kind: Kind::Number }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(String),
    Number(u64),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<Arc<str>> for Cell {
    fn from(text: Arc<str>) -> Self {
        Cell::Text(text.as_ref().to_owned())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell::Number(number)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<Column>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(columns: &[Column], rows: impl Iterator<Item = Vec<Cell>>) -> Self {
        let table = Table { columns: columns.to_vec(), rows: rows.collect() };
        debug_assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
        table
    }

    /// A list of objects, one a row.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let cells = row.iter().map(|cell| match cell {
                Cell::Null => Value::Null,
                Cell::Text(text) => Value::from(text.as_str()),
                Cell::Number(number) => Value::from(*number),
            });
            let names = self.columns.iter().map(|column| column.name.to_string());
            Value::Object(names.zip(cells).collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_keeps_numbers_and_nulls() {
        let rows = [vec!["db1".into(), 5u64.into()], vec!["db2".into(), Cell::Null]];
        let table = Table::new(&[text("name"), number("lag_ms")], rows.into_iter());
        assert_eq!(
            table.to_json(),
            json!([{"name": "db1", "lag_ms": 5}, {"name": "db2", "lag_ms": null}])
        );
    }
}
