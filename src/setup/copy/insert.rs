//! INSERT statements out of the rows as they come, in pieces.

use super::columns::{Column, Form};
use super::quoting::{name, qualified};
use crate::wire::rows::Item;

/// A statement that is longer ends with the row. Bytes; far below any server's max_allowed_packet.
const STATEMENT: usize = 512 * 1024;
/// Nor has a statement more rows: each may have a warning, and the server keeps 65,535 of them.
const MOST_ROWS: u64 = 10_000;
/// Text is passed on in pieces of about this many bytes.
const PIECE: usize = 128 * 1024;

/// A piece of a statement's text.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: Vec<u8>,
    /// The statement ends with it, and has so many rows.
    pub ends: Option<u64>,
}

/// Writes the statements.
#[derive(Debug)]
pub struct Insert {
    prefix: String,
    forms: Vec<Form>,
    text: Vec<u8>,
    /// The statement's bytes in pieces that are ready.
    sent: usize,
    /// Of the statement, whole ones.
    rows: u64,
    /// How many values of the row have begun.
    values: usize,
    /// Behind the value begun last.
    closing: &'static str,
    ready: Vec<Piece>,
    /// Bytes of values read since the last [`take_ready`](Self::take_ready).
    read: u64,
}

impl Insert {
    pub fn new(schema: &str, table: &str, columns: &[Column]) -> Self {
        let names: Vec<String> = columns.iter().map(|column| name(&column.name)).collect();
        let prefix =
            format!("INSERT INTO {} ({}) VALUES ", qualified(schema, table), names.join(","));
        Insert {
            prefix,
            forms: columns.iter().map(|column| column.form).collect(),
            text: Vec::new(),
            sent: 0,
            rows: 0,
            values: 0,
            closing: "",
            ready: Vec::new(),
            read: 0,
        }
    }

    /// The statements' beginning.
    pub fn shown(&self) -> &str {
        &self.prefix
    }

    pub fn take(&mut self, item: Item<'_>) {
        match item {
            // What is read of a table without a column that is written says nothing.
            Item::Null | Item::Value(_) | Item::Bytes(_) if self.forms.is_empty() => {}
            Item::Null => {
                self.begin_value();
                self.text.extend_from_slice(b"NULL");
            }
            Item::Value(length) => {
                let (opening, closing) = self.begin_value().around();
                self.text.extend_from_slice(opening.as_bytes());
                self.closing = closing;
                self.read += length;
            }
            Item::Bytes(bytes) => {
                match self.closing {
                    "" => self.text.extend_from_slice(bytes),
                    _ => escape(&mut self.text, bytes),
                }
                if self.text.len() >= PIECE {
                    self.piece(None);
                }
            }
            Item::RowEnd => self.end_row(),
            Item::End => {}
        }
    }

    /// The pieces that are ready, and how many bytes of values have been read for them.
    pub fn take_ready(&mut self) -> (Vec<Piece>, u64) {
        (std::mem::take(&mut self.ready), std::mem::take(&mut self.read))
    }

    /// Ends the last statement.
    pub fn finish(&mut self) {
        if self.rows > 0 {
            self.piece(Some(self.rows));
        }
    }

    fn begin_row(&mut self) {
        match self.rows {
            0 => self.text.extend_from_slice(self.prefix.as_bytes()),
            _ => self.text.push(b','),
        }
        self.text.push(b'(');
    }

    fn begin_value(&mut self) -> Form {
        match self.values {
            0 => self.begin_row(),
            _ => {
                self.end_value();
                self.text.push(b',');
            }
        }
        self.values += 1;
        self.forms[self.values - 1]
    }

    fn end_value(&mut self) {
        self.text.extend_from_slice(self.closing.as_bytes());
        self.closing = "";
    }

    fn end_row(&mut self) {
        if self.forms.is_empty() {
            self.begin_row();
        }
        self.end_value();
        self.text.push(b')');
        self.values = 0;
        self.rows += 1;
        if self.sent + self.text.len() >= STATEMENT || self.rows == MOST_ROWS {
            self.piece(Some(self.rows));
        } else if self.text.len() >= PIECE {
            self.piece(None);
        }
    }

    fn piece(&mut self, ends: Option<u64>) {
        let text = std::mem::take(&mut self.text);
        match ends {
            Some(_) => (self.sent, self.rows) = (0, 0),
            None => self.sent += text.len(),
        }
        self.ready.push(Piece { text, ends });
    }
}

/// Puts bytes between quotes: of all bytes servers read only these two otherwise than they are.
fn escape(out: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Some(at) = memchr::memchr2(b'\'', b'\\', bytes) {
        out.extend_from_slice(&bytes[..at]);
        out.extend_from_slice(&[b'\\', bytes[at]]);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(forms: &[Form]) -> Vec<Column> {
        let column = |(number, &form): (usize, &Form)| Column {
            name: format!("c{number}"),
            form,
            may_be_misprinted: false,
        };
        forms.iter().enumerate().map(column).collect()
    }

    /// Statements with their numbers of rows.
    fn written(forms: &[Form], items: &[Item<'_>]) -> Vec<(String, u64)> {
        let mut insert = Insert::new("s", "t", &columns(forms));
        for item in items {
            insert.take(*item);
        }
        insert.finish();
        let (mut statements, mut text) = (Vec::new(), Vec::new());
        for piece in insert.take_ready().0 {
            text.extend(piece.text);
            if let Some(rows) = piece.ends {
                statements.push((String::from_utf8(std::mem::take(&mut text)).unwrap(), rows));
            }
        }
        assert!(text.is_empty());
        statements
    }

    #[test]
    fn values_by_their_forms() {
        let row = [
            Item::Value(2),
            Item::Bytes(b"42"),
            Item::Value(4),
            Item::Bytes(b"a'"),
            Item::Bytes(b"\\b"),
            Item::Null,
            Item::Value(0),
            Item::RowEnd,
        ];
        let forms = [Form::Number, Form::Bytes, Form::Double, Form::Quoted];
        let two: Vec<Item<'_>> = row.iter().chain(&row).copied().collect();
        assert_eq!(
            written(&forms, &two),
            [(
                r"INSERT INTO `s`.`t` (`c0`,`c1`,`c2`,`c3`) VALUES (42,_binary'a\'\\b',NULL,''),(42,_binary'a\'\\b',NULL,'')"
                    .to_owned(),
                2
            )]
        );
        assert_eq!(written(&forms, &[]), []);
    }

    #[test]
    fn rows_without_a_column_that_is_written() {
        let row = [Item::Value(1), Item::Bytes(b"1"), Item::RowEnd];
        let statements = written(&[], &[row, row].concat());
        assert_eq!(statements, [("INSERT INTO `s`.`t` () VALUES (),()".to_owned(), 2)]);
    }

    #[test]
    fn statements_and_pieces_are_bounded() {
        let part = vec![b'x'; 10_000];
        let mut insert = Insert::new("s", "t", &columns(&[Form::Bytes]));
        let (mut longest, mut ends, mut read) = (0, Vec::new(), 0);
        for row in 0..40 {
            // The last one is much longer than a statement should be.
            let parts = if row == 39 { 500 } else { 2 };
            insert.take(Item::Value(parts * 10_000));
            for _ in 0..parts {
                insert.take(Item::Bytes(&part));
                let (pieces, bytes) = insert.take_ready();
                read += bytes;
                longest = pieces.iter().map(|piece| piece.text.len()).fold(longest, usize::max);
                ends.extend(pieces.iter().filter_map(|piece| piece.ends));
            }
            insert.take(Item::RowEnd);
        }
        insert.finish();
        ends.extend(insert.take_ready().0.iter().filter_map(|piece| piece.ends));
        assert!(longest < PIECE + 2 * part.len(), "{longest}");
        assert_eq!(ends, [27, 13]);
        assert_eq!(read, 39 * 20_000 + 5_000_000);
    }

    #[test]
    fn a_statement_has_no_more_rows_than_warnings_are_kept() {
        let row = [Item::Value(1), Item::Bytes(b"1"), Item::RowEnd];
        let items: Vec<Item<'_>> = row.iter().copied().cycle().take(3 * 10_001).collect();
        let rows: Vec<u64> = written(&[Form::Number], &items).iter().map(|s| s.1).collect();
        assert_eq!(rows, [10_000, 1]);
    }
}
