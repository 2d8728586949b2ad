//! What is compared of a table, and the statements for it.

use crate::administration::statements::quoted;

/// A column, as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `varchar`, `int` …
    pub kind: String,
    /// `varchar(20)`, `int(11) unsigned` …
    pub full_kind: String,
    /// `None` for what is no text.
    pub character_set: Option<String>,
    /// Most characters, for texts.
    pub length: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// Those that are stored.
    pub columns: Vec<Column>,
    /// The index that orders its rows, and that index's columns; `None`: there is no unique one
    /// without NULLs.
    pub key: Option<(String, Vec<Column>)>,
}

/// Rows between two keys. The bounds are literals, one for each column of the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// Not included; empty: from the first row on.
    pub after: Vec<String>,
    /// Included; empty: to the last row.
    pub upto: Vec<String>,
}

pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Column {
    fn is_text(&self) -> bool {
        self.character_set.is_some() && !matches!(self.kind.as_str(), "enum" | "set")
    }

    fn is_binary(&self) -> bool {
        matches!(self.kind.as_str(), "binary" | "varbinary")
    }

    /// What is compared with a bound, in the order of the index.
    fn ordered(&self) -> String {
        match self.kind.as_str() {
            "enum" | "set" => format!("CAST({} AS UNSIGNED)", name(&self.name)),
            _ => name(&self.name),
        }
    }

    /// A value out of which [`literal`](Self::literal) makes a bound.
    fn bound(&self) -> String {
        let column = name(&self.name);
        match self.kind.as_str() {
            "enum" | "set" | "bit" => format!("CAST({column} AS UNSIGNED)"),
            // The text of a FLOAT has six digits only.
            "float" => format!("{column} * 1e0"),
            _ if self.is_text() || self.is_binary() => format!("HEX({column})"),
            _ => column,
        }
    }

    /// A value read by [`bound`](Self::bound) as statements have it.
    fn literal(&self, value: &str) -> String {
        match (self.kind.as_str(), &self.character_set) {
            (_, Some(set)) if self.is_text() => format!("_{set} X'{value}'"),
            _ if self.is_binary() => format!("X'{value}'"),
            ("date" | "time" | "datetime" | "timestamp" | "uuid" | "inet4" | "inet6", _) => {
                quoted(value)
            }
            _ => value.to_owned(),
        }
    }

    /// What of the column goes into the row's checksum. Each is of bounded length, so that no row is
    /// longer than a server makes strings.
    fn summed(&self) -> String {
        let column = name(&self.name);
        match self.kind.as_str() {
            "float" => format!("{column} * 1e0"),
            "bit" => format!("CAST({column} AS UNSIGNED)"),
            "enum" | "set" => {
                format!("CAST({column} AS UNSIGNED), SHA2(CAST({column} AS BINARY), 256)")
            }
            "json" => format!("SHA2(CONVERT({column} USING utf8mb4), 256)"),
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double"
            | "year" | "date" | "time" | "datetime" | "timestamp" | "uuid" | "inet4" | "inet6" => {
                column
            }
            // By bytes: what collations call equal differs.
            _ if self.is_text() && self.length.is_some_and(|length| length <= 64) => {
                format!("HEX({column})")
            }
            _ => format!("SHA2({column}, 256)"),
        }
    }
}

impl Table {
    fn qualified(&self) -> String {
        format!("{}.{}", name(&self.schema), name(&self.name))
    }

    /// The table, read in the order of its key.
    fn from(&self) -> String {
        match &self.key {
            Some((index, _)) => format!("{} FORCE INDEX ({})", self.qualified(), name(index)),
            None => self.qualified(),
        }
    }

    fn key(&self) -> &[Column] {
        self.key.as_ref().map_or(&[], |(_, columns)| columns)
    }

    /// A row's values as one checksum: NULLs are told from empty strings, and no value from two.
    fn row(&self) -> String {
        let nulls: Vec<String> =
            self.columns.iter().map(|column| format!("ISNULL({})", name(&column.name))).collect();
        let values: Vec<String> = self.columns.iter().map(Column::summed).collect();
        format!("SHA2(CONCAT_WS('#', {}, CONCAT({})), 256)", values.join(", "), nulls.join(", "))
    }

    /// How many rows, and a sum of their checksums.
    pub fn checksum(&self, range: &Range) -> String {
        format!(
            "SELECT COUNT(*) AS n, COALESCE(SUM(CAST(CONV(LEFT({}, 15), 16, 10) AS UNSIGNED)), 0) \
             AS s FROM {}{}",
            self.row(),
            self.from(),
            self.condition(range)
        )
    }

    /// Keys and checksums of rows, at most `limit`.
    pub fn rows(&self, range: &Range, limit: u64) -> String {
        let bounds: Vec<String> = self.key().iter().map(Column::bound).collect();
        format!(
            "SELECT {}, LEFT({}, 30) FROM {}{} LIMIT {limit}",
            bounds.join(", "),
            self.row(),
            self.from(),
            self.condition(range)
        )
    }

    /// The key of the `rows`th row behind `after`.
    pub fn boundary(&self, after: &[String], rows: u64) -> String {
        let bounds: Vec<String> = self.key().iter().map(Column::bound).collect();
        let order: Vec<String> = self.key().iter().map(|column| name(&column.name)).collect();
        let range = Range { after: after.to_vec(), upto: Vec::new() };
        format!(
            "SELECT {} FROM {}{} ORDER BY {} LIMIT {}, 1",
            bounds.join(", "),
            self.from(),
            self.condition(&range),
            order.join(", "),
            rows - 1
        )
    }

    /// A key that was read, as literals.
    pub fn literals(&self, values: &[String]) -> Vec<String> {
        self.key().iter().zip(values).map(|(column, value)| column.literal(value)).collect()
    }

    fn condition(&self, range: &Range) -> String {
        match self.described(range) {
            none if none.is_empty() => none,
            some => format!(" WHERE {some}"),
        }
    }

    /// Which rows a range has, as a condition.
    pub fn described(&self, range: &Range) -> String {
        let lower = bound(self.key(), &range.after, ">", ">");
        let upper = bound(self.key(), &range.upto, "<", "<=");
        match (lower, upper) {
            (Some(lower), Some(upper)) => format!("{lower} AND {upper}"),
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }

    /// Which row has this key.
    pub fn described_row(&self, values: &[String]) -> String {
        let pairs = self.key().iter().zip(values);
        let equal = pairs.map(|(c, value)| format!("{} = {}", name(&c.name), c.literal(value)));
        equal.collect::<Vec<_>>().join(" AND ")
    }
}

/// `(a > 1 OR (a = 1 AND b >= 2))`: written out, for servers find no range in a comparison of rows.
/// `last` compares the last column.
fn bound(columns: &[Column], literals: &[String], comparison: &str, last: &str) -> Option<String> {
    let (column, columns) = columns.split_first()?;
    let (literal, literals) = literals.split_first()?;
    let ordered = column.ordered();
    match bound(columns, literals, comparison, last) {
        None => Some(format!("{ordered} {last} {literal}")),
        Some(rest) => Some(format!(
            "({ordered} {comparison} {literal} OR ({ordered} = {literal} AND {rest}))"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str, character_set: Option<&str>) -> Column {
        Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            full_kind: kind.to_owned(),
            character_set: character_set.map(str::to_owned),
            length: character_set.map(|_| 20),
        }
    }

    fn table() -> Table {
        let key = vec![column("a", "int", None), column("b", "varchar", Some("latin1"))];
        let mut columns = key.clone();
        columns.push(column("c`", "longblob", None));
        let (schema, name) = ("s".to_owned(), "t".to_owned());
        Table { schema, name, columns, key: Some(("PRIMARY".to_owned(), key)) }
    }

    #[test]
    fn ranges_are_conditions() {
        let table = table();
        let key = table.literals(&["7".to_owned(), "6162".to_owned()]);
        assert_eq!(key, ["7", "_latin1 X'6162'"]);
        let range =
            Range { after: key.clone(), upto: vec!["9".to_owned(), "_latin1 X''".to_owned()] };
        assert_eq!(
            table.described(&range),
            "(`a` > 7 OR (`a` = 7 AND `b` > _latin1 X'6162')) AND \
             (`a` < 9 OR (`a` = 9 AND `b` <= _latin1 X''))"
        );
        assert_eq!(table.described(&Range::default()), "");
        assert_eq!(
            table.boundary(&key, 100),
            "SELECT `a`, HEX(`b`) FROM `s`.`t` FORCE INDEX (`PRIMARY`) \
             WHERE (`a` > 7 OR (`a` = 7 AND `b` > _latin1 X'6162')) ORDER BY `a`, `b` LIMIT 99, 1"
        );
    }

    #[test]
    fn rows_are_summed_by_all_of_their_values() {
        assert_eq!(
            table().checksum(&Range::default()),
            "SELECT COUNT(*) AS n, COALESCE(SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS('#', `a`, HEX(`b`), \
             SHA2(`c```, 256), CONCAT(ISNULL(`a`), ISNULL(`b`), ISNULL(`c```))), 256), 15), 16, 10) \
             AS UNSIGNED)), 0) AS s FROM `s`.`t` FORCE INDEX (`PRIMARY`)"
        );
    }

    #[test]
    fn an_enum_is_ordered_by_its_number() {
        let mut table = table();
        table.key = Some(("PRIMARY".to_owned(), vec![column("e", "enum", Some("utf8mb4"))]));
        let range = Range { after: table.literals(&["2".to_owned()]), upto: Vec::new() };
        assert_eq!(table.described(&range), "CAST(`e` AS UNSIGNED) > 2");
    }
}
