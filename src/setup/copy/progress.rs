//! How far a copy has come.

use super::definitions::{Definitions, Reading};

/// What was copied and what is expected. The expectations are the server's statistics, which for
/// InnoDB are estimates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The table whose rows are copied now, `schema.table`.
    pub doing: Option<String>,
    pub tables: u64,
    pub tables_done: u64,
    pub rows: u64,
    pub rows_done: u64,
    /// As stored, without indexes.
    pub bytes: u64,
    /// As sent.
    pub bytes_done: u64,
    /// `bytes` of the tables that are done.
    stored_done: u64,
    /// The table that is copied now: its `rows`, `rows_done` and `bytes`.
    table: (u64, u64, u64),
}

impl Progress {
    /// How much is done, 0 to 1, by the size of tables and the rows within one.
    pub fn fraction(&self) -> f64 {
        let (rows, done, bytes) = self.table;
        let within = if rows == 0 { 0.0 } else { (done as f64 / rows as f64).min(1.0) };
        let done = self.stored_done as f64 + within * bytes as f64;
        if self.bytes == 0 { 0.0 } else { (done / self.bytes as f64).min(1.0) }
    }

    pub(super) fn expect(&mut self, definitions: &Definitions) {
        for (_, table) in definitions.tables().filter(|(_, t)| t.reading() != Reading::Nothing) {
            self.tables += 1;
            self.rows += table.rows;
            self.bytes += table.bytes;
        }
    }

    pub(super) fn begin(&mut self, name: String, rows: u64, bytes: u64) {
        self.doing = Some(name);
        self.table = (rows, 0, bytes);
    }

    pub(super) fn add(&mut self, rows: u64, bytes: u64) {
        self.rows_done += rows;
        self.bytes_done += bytes;
        self.table.1 += rows;
    }

    pub(super) fn end(&mut self) {
        self.tables_done += 1;
        self.stored_done += self.table.2;
        self.table = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_follows_rows_within_a_table() {
        let mut progress = Progress { tables: 2, bytes: 400, ..Progress::default() };
        assert_eq!(progress.fraction(), 0.0);
        progress.begin("a.b".to_owned(), 10, 300);
        progress.add(5, 1000);
        assert_eq!(progress.fraction(), 0.375);
        // More rows than the statistics knew of.
        progress.add(50, 1000);
        assert_eq!(progress.fraction(), 0.75);
        progress.end();
        assert_eq!(progress.fraction(), 0.75);
        progress.begin("a.c".to_owned(), 0, 100);
        progress.end();
        assert_eq!(progress.fraction(), 1.0);
    }
}
