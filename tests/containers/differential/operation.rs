//! What sessions do, by chance.

use std::collections::VecDeque;

use crate::support::Flavour;
use crate::support::random::Random;

/// How many binary statements a session has at once.
pub const SLOTS: usize = 4;

/// One command. `{db}` in a text is the session's own database.
#[derive(Debug, Clone)]
pub enum Operation {
    Query(String),
    /// A command's payload.
    Command(Vec<u8>),
    UseDatabase(String),
    /// COM_STMT_PREPARE into a slot.
    Prepare(usize, String),
    /// A command about a slot's statement: its first byte, and what stands behind the id.
    Statement(usize, u8, Vec<u8>),
    /// A query that asks for a file, and the file's packets.
    File(String, Vec<Vec<u8>>),
}

impl Operation {
    /// Whether it may change the default database.
    pub fn uses(&self) -> bool {
        match self {
            Operation::Query(sql) => sql.contains("USE "),
            Operation::UseDatabase(_) => true,
            _ => false,
        }
    }

    /// Whether every server may run it in a READ ONLY transaction.
    pub fn only_reads(&self) -> bool {
        match self {
            Operation::Query(sql) => {
                let own = [SAFE_READS, AT_HOME, OUTCOMES_OF_READS].into_iter().flatten();
                own.into_iter().any(|template| template == sql)
                    || ["COMMIT", "ROLLBACK", "BEGIN"].contains(&sql.as_str())
            }
            Operation::Command(payload) => matches!(payload[0], 0x04 | 0x0E | 0x1F),
            Operation::UseDatabase(_) => true,
            _ => false,
        }
    }

    /// Whether it begins a transaction by its own words.
    pub fn begins(&self) -> bool {
        match self {
            Operation::Query(sql) => {
                ["BEGIN", "START TRANSACTION"].iter().any(|head| sql.starts_with(head))
            }
            _ => false,
        }
    }

    /// Whether replicas may differ from the primary for a while after it.
    pub fn writes(&self) -> bool {
        const READING: [&str; 11] = [
            "SELECT FOUND_ROWS",
            "SELECT ROW_COUNT",
            "SELECT id",
            "SELECT k",
            "SELECT @",
            "SELECT 1",
            "SHOW",
            "SET ",
            "USE",
            "HANDLER",
            "(SELECT",
        ];
        match self {
            Operation::Query(sql) => {
                sql.contains(';') || !READING.iter().any(|head| sql.starts_with(head))
            }
            Operation::Statement(_, code, _) => *code == 0x17,
            Operation::Command(payload) => matches!(payload[0], 0x1F),
            Operation::File(..) => true,
            Operation::Prepare(..) | Operation::UseDatabase(_) => false,
        }
    }
}

/// The session of this seed: so many operations. Those of even seeds do nothing that pins a
/// session for long.
pub fn operations(flavour: Flavour, seed: u64, count: usize) -> Vec<Operation> {
    let mut chance = Chance {
        random: Random(seed),
        flavour,
        pins: seed % 2 == 1,
        read: false,
        planned: VecDeque::new(),
    };
    (0..count).map(|_| chance.next()).collect()
}

struct Chance {
    random: Random,
    flavour: Flavour,
    pins: bool,
    /// The operation before was a plain read.
    read: bool,
    /// What is to come before chance has its say again.
    planned: VecDeque<Operation>,
}

impl Chance {
    fn next(&mut self) -> Operation {
        match self.planned.pop_front() {
            Some(operation) => operation,
            None => self.operation(),
        }
    }

    /// A READ ONLY transaction of what may run on a replica, and of what every server refuses in it;
    /// seldom of anything.
    fn read_only_transaction(&mut self) -> Operation {
        let opening = self.random.pick(OPENINGS);
        let mut all: Vec<_> =
            opening.iter().map(|sql| Operation::Query((*sql).to_owned())).collect();
        for _ in 0..self.random.below(7) {
            let operation = match self.random.below(32) {
                0 => self.operation(),
                1..6 => self.prepare_a_read(),
                6..12 => self.execute(),
                12..14 => self.fill(KNOWN_USER_VARIABLES),
                14..16 => self.fill(OUTCOMES_OF_READS),
                16..20 => self.fill(AT_HOME),
                20..23 => self.fill(REFUSED),
                _ => self.fill(SAFE_READS),
            };
            all.push(operation);
        }
        for sql in self.random.pick(ENDS) {
            all.push(Operation::Query((*sql).to_owned()));
        }
        self.read = false;
        self.planned.extend(all);
        self.planned.pop_front().expect("an opening")
    }

    fn prepare_a_read(&mut self) -> Operation {
        let slot = self.slot();
        Operation::Prepare(slot, "SELECT id, v FROM t WHERE id = ?".to_owned())
    }

    fn execute(&mut self) -> Operation {
        let number = (self.random.below(8) as u32).to_le_bytes();
        let with_types = [&b"\0\x01\0\0\0\0\x01\x03\0"[..], &number].concat();
        Operation::Statement(self.slot(), 0x17, with_types)
    }

    fn operation(&mut self) -> Operation {
        let dice = loop {
            let dice = self.random.below(100);
            if self.pins || !(61..84).contains(&dice) {
                break dice;
            }
        };
        let behind_a_read = std::mem::take(&mut self.read);
        match dice {
            0..22 => self.fill(READS),
            24..27 if behind_a_read => Operation::Query("SELECT FOUND_ROWS()".to_owned()),
            22..24 => {
                self.read = true;
                self.fill(&["SELECT id FROM {db}.t ORDER BY id LIMIT {n}"])
            }
            24..36 => self.fill(WRITES),
            36..40 => self.fill(OUTCOMES),
            40..43 => self.fill(INSERT_IDS),
            43..46 if self.pins => Operation::Command(b"\x1f".to_vec()),
            43..52 => self.fill(VARIABLES),
            52..53 if !self.pins => self.fill(READS),
            53..55 if !self.pins => self.fill(KNOWN_USER_VARIABLES),
            52..55 => self.fill(UNTRACKED_VARIABLES),
            55..60 => self.fill(TRANSACTIONS),
            60..61 => self.read_only_transaction(),
            61..66 => self.fill(USER_VARIABLES),
            66..70 => self.fill(LOCKS),
            70..73 => self.fill(TEMPORARY),
            73..77 => self.fill(ROUTINES),
            77..80 => self.fill(TEXT_STATEMENTS),
            80..82 => self.fill(TOGETHER),
            82..83 => self.fill(HANDLERS),
            83..84 => self.fill(match self.flavour {
                Flavour::MySql => MYSQL,
                Flavour::MariaDb => MARIADB,
            }),
            84..86 => self.database(),
            86..87 => self.file(),
            87..88 => self.command(),
            88..92 => self.prepare(),
            _ => self.statement(),
        }
    }

    fn fill(&mut self, from: &[&str]) -> Operation {
        Operation::Query(self.choose(from))
    }

    fn choose(&mut self, from: &[&str]) -> String {
        let template = loop {
            let template = self.random.choose(from);
            if self.pins || !PINNING.iter().any(|part| template.contains(part)) {
                break template;
            }
        };
        self.text(template)
    }

    fn text(&mut self, template: &str) -> String {
        let mut text = template.to_owned();
        while let Some(at) = text.find("{n}") {
            text.replace_range(at..at + 3, &self.random.below(8).to_string());
        }
        text
    }

    fn database(&mut self) -> Operation {
        let name = self.random.choose(&["{db}", "{db}", "{db}b", "missing_database"]);
        match self.random.below(2) {
            0 => Operation::UseDatabase(name.to_owned()),
            _ => Operation::Query(format!("USE {name}")),
        }
    }

    fn file(&mut self) -> Operation {
        let sql = self.choose(&[
            "LOAD DATA LOCAL INFILE 'f' INTO TABLE files",
            "LOAD DATA LOCAL INFILE 'f' INTO TABLE missing",
            "SELECT 1; LOAD DATA LOCAL INFILE 'f' INTO TABLE files; SELECT 2",
        ]);
        let parts: [&[&[u8]]; 4] =
            [&[b"1\tone\n2\t", b"two\n"], &[], &[b"x\n"], &[b"8\ty\tz\n", b"9\tq\n"]];
        let parts = self.random.pick(&parts);
        Operation::File(sql, parts.iter().map(|part| part.to_vec()).collect())
    }

    fn command(&mut self) -> Operation {
        let all: [&[u8]; 7] = [
            b"\x0e",
            b"\x0e",
            b"\x1f",
            b"\x04t\0%",
            b"\x04missing\0",
            // These pin.
            b"\x1b\0\0",
            b"\x1b\x01\0",
        ];
        let payload = self.random.pick(if self.pins { &all } else { &all[..5] });
        Operation::Command(payload.to_vec())
    }

    fn slot(&mut self) -> usize {
        self.random.below(SLOTS as u64) as usize
    }

    fn prepare(&mut self) -> Operation {
        let slot = self.slot();
        Operation::Prepare(slot, self.choose(PREPARED))
    }

    /// Every text of [`PREPARED`] takes one number, or none.
    fn statement(&mut self) -> Operation {
        let slot = self.slot();
        let number = (self.random.below(8) as u32).to_le_bytes();
        let (code, rest): (u8, Vec<u8>) = match self.random.below(20) {
            0..12 => {
                let with_types = [&b"\0\x01\0\0\0\0\x01\x03\0"[..], &number].concat();
                (0x17, with_types)
            }
            // The types of the time before.
            12..15 => (0x17, [&b"\0\x01\0\0\0\0\0"[..], &number].concat()),
            15 if self.pins => (0x18, b"\0\x0012".to_vec()),
            16 => (0x1A, Vec::new()),
            15 | 17 => (0x19, Vec::new()),
            _ => (0x1C, b"\x02\0\0\0".to_vec()),
        };
        Operation::Statement(slot, code, rest)
    }
}

/// What stands in texts that pin a session for long: calls of routines, several statements,
/// assignments of unknown values, what is set for a transaction that may never begin.
const PINNING: &[&str] = &["pure(", "writing(", "CALL", ";", "@a = ?", "SET TRANSACTION"];

const READS: &[&str] = &[
    "SELECT id, v, s FROM t ORDER BY id",
    "SELECT id, v FROM t WHERE id = {n}",
    "SELECT id, COUNT(*) FROM t GROUP BY id ORDER BY id LIMIT 3",
    "SELECT k, w FROM u ORDER BY k",
    "SELECT id FROM seen ORDER BY id",
    "SELECT id, 1/0 FROM t ORDER BY id LIMIT 2",
    "SELECT id, CAST('x{n}' AS SIGNED) FROM t WHERE id = 1",
    "SELECT 1, 'ä', HEX('ä'), CHARSET('x'), COLLATION('x')",
    "SELECT 1 FROM missing",
    "SELECT 1, \"quoted\"",
    "SELECT 1, GROUP_CONCAT(s ORDER BY id) FROM t",
    "SELECT 1, DATABASE(), pure({n})",
    "SELECT 1, FROM_UNIXTIME(1000000000), CAST(1/3 AS CHAR)",
    "SELECT id FROM t ORDER BY id LIMIT {n}",
    "(SELECT id FROM t WHERE id < 3 ORDER BY id) UNION ALL (SELECT k FROM u ORDER BY k)",
    "SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 1",
    "SELECT id FROM t WHERE id = {n} FOR UPDATE",
    "SELECT id FROM t WHERE id = {n} LOCK IN SHARE MODE",
    "SHOW TABLES LIKE 't%'",
    "SHOW COLUMNS FROM u",
    "SELEC",
    "SELECT 1; SELECT 2",
];

const WRITES: &[&str] = &[
    "INSERT INTO t (v, s) VALUES ({n}, 'new')",
    "INSERT INTO t (v) VALUES ({n}), ({n})",
    "INSERT INTO t (id, v) VALUES (100{n}, {n})",
    "INSERT INTO t (id, v) VALUES ({n}, {n})",
    "INSERT INTO u VALUES ({n}, {n}) ON DUPLICATE KEY UPDATE w = w + 1",
    "REPLACE INTO u VALUES ({n}, {n})",
    "UPDATE t SET v = v + 1 WHERE id = {n}",
    "UPDATE t SET v = 5, s = 'five' WHERE id < {n}",
    "UPDATE u SET w = LAST_INSERT_ID(w + {n}) WHERE k = {n}",
    "DELETE FROM t WHERE id > 10{n}",
    "DELETE FROM u WHERE k = {n}",
    "UPDATE t SET s = 'far too long for this column, by a good many characters' WHERE id = 1",
    "INSERT INTO t (v) SELECT w FROM u ORDER BY k LIMIT {n}",
    "INSERT INTO missing VALUES (1)",
    "TRUNCATE u",
    "CREATE TABLE IF NOT EXISTS made{n} (a INT)",
    "DROP TABLE IF EXISTS made{n}",
];

/// About the statement before. (FOUND_ROWS() behind anything but a SELECT without an offset is told
/// rightly only while its connection is not needed by others: see the limits in README.md.)
const OUTCOMES: &[&str] = &[
    "SELECT ROW_COUNT()",
    "SELECT ROW_COUNT() AS n",
    "SELECT @@warning_count",
    "SELECT @@error_count AS `e`",
    "SHOW WARNINGS",
    "SHOW WARNINGS LIMIT 1",
    "SHOW WARNINGS LIMIT 1, 5",
    "SHOW ERRORS",
    "SHOW COUNT(*) WARNINGS",
    "SHOW COUNT(*) ERRORS",
];

const INSERT_IDS: &[&str] = &[
    "SELECT LAST_INSERT_ID()",
    "SELECT LAST_INSERT_ID()",
    "SELECT @@last_insert_id, @@identity",
    "SELECT LAST_INSERT_ID(3{n})",
];

/// (Not what shows the settings of session tracking: a prepared ROW_COUNT() behind it tells of the
/// proxy's own statement. Not auto_increment_increment: InnoDB goes on with that of whoever has opened the table before.)
const VARIABLES: &[&str] = &[
    "SET NAMES latin1",
    "SET NAMES utf8mb4",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET NAMES DEFAULT",
    "SET NAMES nonsense",
    "SET sql_mode = ''",
    "SET sql_mode = 'ANSI_QUOTES'",
    "SET sql_mode = DEFAULT",
    "SET time_zone = '+05:00'",
    "SET SESSION time_zone = DEFAULT",
    "SET group_concat_max_len = 1{n}",
    "SET sql_select_limit = {n}",
    "SET sql_select_limit = DEFAULT",
    "SET div_precision_increment = {n}",
    "SET SESSION auto_increment_increment = DEFAULT",
    "SET max_sort_length = 10{n}, sql_safe_updates = 0",
    "SET foreign_key_checks = 0, unique_checks = 0",
    "SET nonsense = {n}",
    "SET collation_connection = latin1_swedish_ci",
    "SET character_set_results = NULL",
    "SET character_set_results = utf8mb4",
    "SELECT @@sql_mode, @@time_zone, @@group_concat_max_len, @@sql_select_limit",
    "SELECT @@character_set_client, @@character_set_connection, @@collation_connection, @@character_set_results",
    "SELECT @@div_precision_increment, @@auto_increment_increment, @@foreign_key_checks, @@unique_checks",
    "SELECT @@max_sort_length, @@sql_safe_updates, @@autocommit",
    "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')",
    "SET @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), @@SESSION.sql_auto_is_null = 0, @@SESSION.wait_timeout = 2147483",
    "SET time_zone = @@global.time_zone, group_concat_max_len = 10 + {n}",
    "SET @@sql_select_limit = {n} + 1, foreign_key_checks = DEFAULT",
    "SET character_set_results = @@character_set_client, unique_checks = 1 - 1",
    "SET collation_connection = @@global.collation_server",
    "SET max_join_size = 1000000 + {n}",
    "SET CHARACTER SET utf8mb4",
    "SET CHARACTER SET latin1",
    "SET ROLE NONE",
    "SELECT CURRENT_ROLE()",
    "SET SESSION transaction_isolation = CONCAT('READ-', 'COMMITTED')",
    "SET session_track_system_variables = 'sql_mode,time_zone'",
    "SET session_track_system_variables = DEFAULT, session_track_schema = {n} % 2",
    "SELECT 'a\\b', @@sql_big_selects, @@max_join_size",
    "SET resultset_metadata = NONE",
    "SET resultset_metadata = DEFAULT",
];

/// Those that pin.
const UNTRACKED_VARIABLES: &[&str] = &["SET last_insert_id = 4{n}", "SET insert_id = 50{n}"];

/// What begins a READ ONLY transaction.
const OPENINGS: &[&[&str]] = &[
    &["START TRANSACTION READ ONLY"],
    &["START TRANSACTION READ ONLY"],
    &["START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"],
    &["SET TRANSACTION READ ONLY", "BEGIN"],
    &["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ ONLY"],
    &["SET SESSION TRANSACTION READ ONLY", "START TRANSACTION"],
    &["SET SESSION TRANSACTION READ ONLY", "SET autocommit = 0"],
];

/// What ends one, and all of its kind.
const ENDS: &[&[&str]] = &[
    &["COMMIT", "SET autocommit = 1", "SET SESSION TRANSACTION READ WRITE"],
    &["ROLLBACK", "SET SESSION TRANSACTION READ WRITE", "SET autocommit = 1"],
    &["SET autocommit = 1", "COMMIT", "SET SESSION TRANSACTION READ WRITE"],
    &[
        "COMMIT AND CHAIN",
        "SELECT id, v, s FROM t ORDER BY id",
        "COMMIT",
        "SET SESSION TRANSACTION READ WRITE",
        "SET autocommit = 1",
    ],
    &[
        "START TRANSACTION READ ONLY",
        "SELECT k, w FROM u ORDER BY k",
        "COMMIT",
        "SET SESSION TRANSACTION READ WRITE",
        "SET autocommit = 1",
    ],
    &[
        "CREATE TABLE IF NOT EXISTS made (a INT)",
        "DROP TABLE IF EXISTS made",
        "COMMIT",
        "SET SESSION TRANSACTION READ WRITE",
        "SET autocommit = 1",
    ],
    &[
        "START TRANSACTION",
        "INSERT INTO t (v, s) VALUES (1, 'new')",
        "ROLLBACK",
        "SET SESSION TRANSACTION READ WRITE",
        "SET autocommit = 1",
    ],
];

const SAFE_READS: &[&str] = &[
    "SELECT id, v, s FROM t ORDER BY id",
    "SELECT id, v FROM t WHERE id = {n}",
    "SELECT k, w FROM u ORDER BY k",
    "SELECT id, 1/0 FROM t ORDER BY id LIMIT 2",
    "SELECT 1, 'ä', HEX('ä'), CHARSET('x'), COLLATION('x')",
    "SELECT 1 FROM missing",
    "SELECT 1, DATABASE()",
    "SHOW COLUMNS FROM u",
    "(SELECT id FROM t WHERE id < 3 ORDER BY id) UNION ALL (SELECT k FROM u ORDER BY k)",
];

const OUTCOMES_OF_READS: &[&str] = &[
    "SHOW WARNINGS",
    "SHOW ERRORS",
    "SELECT @@warning_count",
    "SELECT ROW_COUNT()",
    "SHOW COUNT(*) ERRORS",
];

/// What a READ ONLY transaction has of its own.
const AT_HOME: &[&str] = &[
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE SAVEPOINT a",
    "SET NAMES utf8mb4",
    "SET NAMES latin1",
    "SET sql_mode = 'ANSI_QUOTES'",
    "SET sql_mode = DEFAULT",
    "SET group_concat_max_len = 1{n}",
    "USE {db}",
    "UNLOCK TABLES",
    "SET TRANSACTION READ WRITE",
    "SET autocommit = 0",
];

const REFUSED: &[&str] = &[
    "INSERT INTO t (v, s) VALUES ({n}, 'new')",
    "UPDATE t SET v = v + 1 WHERE id = {n}",
    "DELETE FROM t WHERE id > 10{n}",
    "REPLACE INTO u VALUES ({n}, {n})",
    "INSERT INTO missing VALUES (1)",
    "CREATE TEMPORARY TABLE refused (a INT)",
];

const TRANSACTIONS: &[&str] = &[
    "BEGIN",
    "START TRANSACTION",
    "/* rwproxy: primary */ START TRANSACTION READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "COMMIT",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE SAVEPOINT a",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "SET autocommit = 1",
    "SET autocommit = 1",
    "SET TRANSACTION READ ONLY",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION TRANSACTION READ WRITE",
];

/// (No column has the type of a variable that may never have been set: others may have set one of
/// that name on the same connection, and NULL keeps its type.)
const USER_VARIABLES: &[&str] = &[
    "SET @a = {n}",
    "SET @a = 'text', @b = {n}",
    "SET @a = @a + 1",
    "SET @a = NULL",
    "SET @a = 1.5, @b = TRUE",
    "SET @b = 'other'",
    "SET @b = 0x4{n}",
    "SET @a = -{n}e2; SELECT @a",
    "SELECT @a = 'text', @b <=> {n}, @x <=> {n}, @noted <=> {n}",
    "SELECT @a <=> {n}, @b = 'OTHER', COLLATION(IFNULL(@b, 'x')) <> '' FROM t ORDER BY id",
    "INSERT INTO t (v, s) VALUES (@a = {n}, LEFT(@b, 5))",
    "SELECT @a := {n}",
    "SELECT id INTO @b FROM t WHERE id = {n}",
    "SELECT id, @a <=> {n} FROM t ORDER BY id LIMIT 2",
];

/// Those that do not pin.
const KNOWN_USER_VARIABLES: &[&str] = &[
    "SET @a = {n}",
    "SET @a = 'text', @b = {n}",
    "SET @a = NULL",
    "SET @a = 1.5, @b = TRUE",
    "SET @b = 'other'",
    "SELECT @a = 'text', @b <=> {n}, @x <=> {n}",
    "SELECT @a <=> {n}, @b = 'OTHER', id FROM t ORDER BY id",
    "INSERT INTO t (v, s) VALUES (@a = {n}, LEFT(@b, 5))",
];

const LOCKS: &[&str] = &[
    "SELECT GET_LOCK('{db}', 0)",
    "SELECT RELEASE_LOCK('{db}')",
    "SELECT RELEASE_LOCK('{db}')",
    "SELECT RELEASE_ALL_LOCKS()",
    "SELECT IS_USED_LOCK('{db}') = CONNECTION_ID()",
    "LOCK TABLES t WRITE, u READ",
    "UNLOCK TABLES",
    "UNLOCK TABLES",
];

const TEMPORARY: &[&str] = &[
    "CREATE TEMPORARY TABLE hidden (a INT)",
    "CREATE TEMPORARY TABLE u (k INT, w INT)",
    "INSERT INTO hidden VALUES ({n})",
    "SELECT a FROM hidden ORDER BY a",
    "DROP TEMPORARY TABLE IF EXISTS hidden, u",
    "DROP TEMPORARY TABLE IF EXISTS u",
];

const ROUTINES: &[&str] = &[
    "CALL results({n})",
    "CALL sets({n})",
    "CALL temporary()",
    "CALL out_of({n}, @out)",
    "CALL inserts({n})",
    "CALL fails()",
    "CALL fetches()",
    "SELECT writing({n})",
    "SELECT noting({n})",
    "DO pure({n})",
    "SELECT @out <=> {n}",
];

const TEXT_STATEMENTS: &[&str] = &[
    "PREPARE p FROM 'SELECT id, v FROM t WHERE id = ?'",
    "PREPARE p FROM 'INSERT INTO t (v) VALUES (?)'",
    "PREPARE q FROM 'SELECT 1 + 1'",
    "EXECUTE p USING @a",
    "EXECUTE q",
    "DEALLOCATE PREPARE p",
    "DEALLOCATE PREPARE q",
];

const TOGETHER: &[&str] = &[
    "SELECT 1; INSERT INTO t (v) VALUES ({n}); SELECT LAST_INSERT_ID()",
    "SET @a = {n}; SELECT @a",
    "SELECT 1; SELECT * FROM missing; SELECT 3",
    "BEGIN; INSERT INTO t (v) VALUES ({n}); COMMIT",
    "SET sql_mode = 'ANSI_QUOTES'; SELECT \"v\" FROM t WHERE id = 1",
    "USE {db}b; SELECT v FROM t",
];

const HANDLERS: &[&str] = &[
    "HANDLER t OPEN",
    "HANDLER t READ FIRST",
    "HANDLER t READ NEXT",
    "HANDLER t CLOSE",
    "HANDLER t CLOSE",
];

const MYSQL: &[&str] = &[
    "TABLE u ORDER BY k",
    "VALUES ROW(1, {n}), ROW(2, 3)",
    "SELECT 1 FROM t FOR SHARE",
    "SELECT id FROM t WHERE id = {n} FOR UPDATE SKIP LOCKED",
    "WITH a AS (SELECT id FROM t) SELECT COUNT(*) FROM a",
    "SELECT /*+ SET_VAR(sort_buffer_size = 65536) */ id FROM t ORDER BY id",
    "SET optimizer_switch = 'index_merge=off'",
    "SET sql_require_primary_key = 0",
];

/// (LASTVAL() is told rightly only by the connection that has run NEXTVAL().)
const MARIADB: &[&str] = &[
    "SELECT NEXT VALUE FOR numbers",
    "INSERT INTO t (v) VALUES ({n}) RETURNING id",
    "DELETE FROM t WHERE id = 10{n} RETURNING id",
    "BEGIN NOT ATOMIC SET @x = {n}; SELECT @x; END",
    "SET STATEMENT max_statement_time = 5 FOR SELECT id FROM t ORDER BY id",
    "WITH a AS (SELECT id FROM t) SELECT COUNT(*) FROM a",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "VALUES (1, {n}), (2, 3)",
];

/// Each with one parameter, of any type, or with none. (How a variable compares with a number depends
/// on the type that it had when the statement was prepared on that connection.)
const PREPARED: &[&str] = &[
    "SELECT id, v, s FROM t WHERE id = ?",
    "SELECT id FROM t WHERE id < ? ORDER BY id",
    "SELECT k, w FROM u WHERE k <> ? ORDER BY k",
    "SELECT ? + 1, DATABASE(), @@sql_mode",
    "INSERT INTO t (v) VALUES (?)",
    "UPDATE u SET w = w + 1 WHERE k = ?",
    "SELECT id FROM t WHERE id = ? FOR UPDATE",
    "SET @a = ?",
    "SELECT @a IS NULL, ?",
    "SELECT pure(?), writing({n})",
    "CALL results(?)",
    "SELECT LAST_INSERT_ID(), ?",
    "SELECT * FROM missing WHERE a = ?",
    "SELEC ?",
    "SELECT id, s FROM t ORDER BY id",
    "SELECT ROW_COUNT()",
    "SELECT @@warning_count",
    "DELETE FROM t WHERE id = 100 + ?",
    "SELECT id, 2 * id AS id FROM t WHERE v = ? GROUP BY id",
];
