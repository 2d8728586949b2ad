//! Everything that is hard to copy.

use crate::support::Flavour;

/// Tables whose rows are compared one by one, and by the server's checksum.
pub const TABLES: &[&str] = &[
    "nasty.numbers",
    "nasty.times",
    "nasty.texts",
    "nasty.bytes",
    "nasty.choices",
    "nasty.places",
    "nasty.documents",
    "nasty.generated",
    "nasty.all_generated",
    "nasty.parent",
    "nasty.child",
    "nasty.parts",
    "nasty.keyless",
    "nasty.zero",
    "nasty.simple",
    "nasty.logged",
    "nasty.`select`",
    "`odd ``name é`.`täble ``1`",
];

/// Compared by the server's checksum and by the number of rows.
pub const LARGE: &[&str] = &["nasty.large", "nasty.blobs", "nasty.live"];

const COMMON: &[&str] = &[
    "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+05:30'",
    "CREATE DATABASE nasty CHARACTER SET utf8mb4",
    "CREATE DATABASE `odd ``name é` CHARACTER SET latin1 COLLATE latin1_german1_ci",
    "CREATE DATABASE `empty`",
    "USE nasty",
    // Numbers: limits, signs of zero, what six digits do not show.
    "CREATE TABLE numbers (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, a TINYINT, b SMALLINT UNSIGNED, \
     c MEDIUMINT(8) ZEROFILL, d BIGINT, e DECIMAL(65,30), f FLOAT, g DOUBLE, h FLOAT(9,3), i DOUBLE(20,5), \
     j BIT(1), k BIT(64), l YEAR, m BOOLEAN, n BIGINT UNSIGNED) AUTO_INCREMENT = 4711",
    "INSERT INTO numbers VALUES \
     (0, -128, 65535, 7, -9223372036854775808, -99999999999999999999999999999999999.999999999999999999999999999999, \
      -3.402823e38, -1.7976931348623157e308, -123456.789, 0.00001, 1, 0xFFFFFFFFFFFFFFFF, 0, TRUE, 18446744073709551615), \
     (18446744073709551614, 127, 0, 99999999, 9223372036854775807, 0.000000000000000000000000000001, \
      0.1, 0.1, 0.125, 12345678901234.56789, 0, 0x5C27003F22, 1901, FALSE, 0), \
     (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "INSERT INTO numbers (id, f, g) VALUES (4, 16777217, 1e-310), (5, '-0', '-0'), (6, 1.17549435e-38, 4.9e-324), \
     (7, 123456.789, 1e22), (8, 1e-45, 2.2250738585072014e-308), (9, 1/3, 1/3)",
    // Dates that are none, and what time zones make of times.
    "CREATE TABLE times (id INT PRIMARY KEY, a DATE, b TIME(6), c DATETIME(6), d TIMESTAMP(6) NULL, e TIMESTAMP NULL, \
     f DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    "INSERT INTO times (id, a, b, c, d, e) VALUES (1, '0000-00-00', '-838:59:59', '0000-00-00 00:00:00', NULL, '2038-01-19 08:44:07'), \
     (2, '2021-02-31', '838:59:59', '9999-12-31 23:59:59.999999', '2024-03-31 02:30:00.123456', '1970-01-01 05:30:01'), \
     (3, '2024-00-00', '00:00:00.000001', '2024-00-15 12:00:00.000001', '2024-10-27 02:30:00', NULL), (4, '1000-01-01', NULL, NULL, NULL, NULL)",
    "INSERT INTO times (id, e, f) VALUES (5, '0000-00-00 00:00:00', '0000-00-00')",
    // Character sets: each with what its column alone can hold.
    "CREATE TABLE texts (id INT PRIMARY KEY, a VARCHAR(50) CHARACTER SET latin1, b TEXT CHARACTER SET utf8mb4, \
     c VARCHAR(50) CHARACTER SET utf16, d CHAR(20) CHARACTER SET ucs2, e VARCHAR(50) CHARACTER SET sjis, \
     f VARCHAR(50) CHARACTER SET gbk, g VARCHAR(50) CHARACTER SET cp1251, h LONGTEXT CHARACTER SET utf32, \
     i CHAR(10) CHARACTER SET ascii, j VARCHAR(50) CHARACTER SET utf8mb3, k VARCHAR(50) CHARACTER SET big5, l CHAR(5) CHARACTER SET latin1)",
    "INSERT INTO texts VALUES (1, 'é€ü', '\u{1F980} 中文 \\\\ \\' \" ` \\0 \\n \\r \\Z % _', '\u{1F980}', '中', '表示ソ', '中文縗', 'Привет', \
     '\u{1F980}x', 'ascii', '中é', '功許', 'a  '), (2, '', '', '', '', '', '', '', '', '', '', '', ''), \
     (3, 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ')",
    "INSERT INTO texts (id) VALUES (4)",
    // Any byte.
    "CREATE TABLE bytes (id INT PRIMARY KEY, a BINARY(7), b VARBINARY(600), c TINYBLOB, d BLOB, e MEDIUMBLOB, f LONGBLOB)",
    "INSERT INTO bytes VALUES (1, 'a', X'00', '', REPEAT('''', 1000), REPEAT('\\\\', 70000), NULL), (2, NULL, NULL, NULL, NULL, NULL, ''), \
     (3, X'00000000000000', X'5C275C225C00', X'FFFEFB', X'C328A0A1', NULL, REPEAT(X'00', 300000))",
    "CREATE TABLE choices (id INT PRIMARY KEY, a ENUM('x','','é','1','2') CHARACTER SET latin1, b ENUM('a','b') NOT NULL, c SET('a','b','é'), \
     `d'e` ENUM('?','it''s'))",
    "INSERT INTO choices VALUES (1, 'é', 'b', 'a,é', 'it''s'), (2, '', 'a', '', '?'), (3, '1', 'a', 'b', NULL), (4, '2', 'a', NULL, NULL)",
    // The value that only an error gives.
    "INSERT IGNORE INTO choices VALUES (5, 'none', 'none', 'none', 'none')",
    "CREATE TABLE places (id INT PRIMARY KEY, a GEOMETRY, b POINT NOT NULL, c POLYGON, d GEOMETRYCOLLECTION, SPATIAL KEY (b))",
    "INSERT INTO places VALUES (1, ST_GeomFromText('LINESTRING(1 1,2 2,3 3.5)'), ST_GeomFromText('POINT(1 -1)'), \
     ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(15 15,20 20))')), \
     (2, ST_GeomFromText('POINT(39 92)', 4326), ST_GeomFromText('POINT(0.1 1e-300)'), NULL, NULL)",
    "CREATE TABLE documents (id INT PRIMARY KEY, a JSON)",
    r#"INSERT INTO documents VALUES (1, '{"a": [1, 2.5, -0.0, 1e300, "\\u0000\\"é🦀\\\\", null, true], "": {}}'), (2, NULL), (3, '"\'"'), (4, '[]')"#,
    "CREATE TABLE `generated` (a INT, v INT AS (a * 2) VIRTUAL, s VARCHAR(20) AS (CONCAT(a, 'x')) STORED, b INT DEFAULT 7, KEY (v), PRIMARY KEY (a))",
    "INSERT INTO `generated` (a, b) VALUES (1, 2), (2, NULL), (3, 4)",
    "CREATE TABLE all_generated (a INT AS (1 + 1) VIRTUAL, b INT AS (3) STORED)",
    "INSERT INTO all_generated () VALUES (), (), ()",
    // Foreign keys in a circle, whose order no order satisfies.
    "SET SESSION foreign_key_checks = 0",
    "CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
    "CREATE TABLE parent (id INT PRIMARY KEY, favourite INT, FOREIGN KEY (favourite) REFERENCES child (id))",
    "SET SESSION foreign_key_checks = 1",
    "INSERT INTO parent VALUES (1, NULL), (2, NULL)",
    "INSERT INTO child VALUES (10, 1), (11, 2), (12, NULL)",
    "UPDATE parent SET favourite = id + 9",
    "CREATE TABLE parts (id INT, made DATE, note VARCHAR(10), PRIMARY KEY (id, made)) PARTITION BY RANGE (YEAR(made)) SUBPARTITION BY HASH (id) \
     SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN (2020), PARTITION p2 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parts VALUES (1, '1999-01-01', 'a'), (2, '2010-01-01', 'b'), (3, '2024-01-01', 'c')",
    "CREATE TABLE keyless (a INT, b VARCHAR(10))",
    "INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (NULL, NULL), (NULL, NULL), (2, '')",
    "CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
    "INSERT INTO zero VALUES (0, 1), (-5, 2), (10, 3)",
    "CREATE TABLE simple (id INT PRIMARY KEY, n INT) ENGINE = MyISAM",
    "INSERT INTO simple VALUES (1, 0), (2, 0)",
    "CREATE TABLE logged (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(30))",
    "CREATE TABLE `select` (`from` INT PRIMARY KEY, `a``b` INT, `'\"` INT, `ö €` INT, `%s` INT, KEY `k``1` (`a``b`))",
    "INSERT INTO `select` VALUES (1, 2, 3, 4, 5)",
    "CREATE TABLE `odd ``name é`.`täble ``1` (`schlüssel` VARCHAR(20) PRIMARY KEY, b INT COMMENT 'it''s \\\\ é')",
    "INSERT INTO `odd ``name é`.`täble ``1` VALUES ('ä', 1), ('Z', 2)",
    // Sizes.
    "CREATE TABLE blobs (id INT PRIMARY KEY, b LONGBLOB, t INT)",
    "INSERT INTO blobs VALUES (1, REPEAT(X'5C27004142FF', 3500000), 1), (2, REPEAT('x', 16777205), 2), (3, REPEAT('x', 16777215), 3), (4, '', 4)",
    "CREATE TABLE large (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(40), b DOUBLE, c INT, KEY (c), UNIQUE KEY (a, id))",
    "INSERT INTO large (a, b, c) VALUES ('a', 1, 1), ('b', 2, 2), ('c', 3, 3), ('d', 4, 4)",
    "INSERT INTO large (a, b, c) SELECT x.a, x.b * y.b / 7, x.c + y.c FROM large x, large y, large z, large q, large r",
    "INSERT INTO large (a, b, c) SELECT CONCAT(x.a, LEFT(SHA2(x.id, 256), 20)), x.b / y.id, x.c FROM large x, (SELECT id FROM large LIMIT 195) y",
    "CREATE TABLE live (id INT AUTO_INCREMENT PRIMARY KEY, n INT, note VARCHAR(50))",
    "INSERT INTO live (n, note) SELECT 0, 'begun' FROM large LIMIT 5000",
    // What is stored as text.
    "CREATE VIEW a_on_b AS SELECT * FROM large LIMIT 1",
    "CREATE OR REPLACE SQL SECURITY INVOKER VIEW b AS SELECT id, a FROM large WHERE c > 3 WITH CHECK OPTION",
    "CREATE OR REPLACE VIEW a_on_b AS SELECT a, COUNT(*) AS n FROM b WHERE a <> 'é''\\\\' GROUP BY a",
    "CREATE VIEW `odd ``name é`.`0` AS SELECT * FROM nasty.a_on_b",
    "CREATE TABLE gone (a INT)",
    "CREATE VIEW broken AS SELECT a FROM gone",
    "DROP TABLE gone",
    "CREATE TRIGGER second BEFORE INSERT ON zero FOR EACH ROW SET NEW.a = NEW.a + 1",
    "CREATE TRIGGER first BEFORE INSERT ON zero FOR EACH ROW PRECEDES second SET NEW.a = NEW.a * 2",
    "CREATE TRIGGER log_it AFTER INSERT ON keyless FOR EACH ROW INSERT INTO logged (what) VALUES ('é''\\\\')",
    "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
    r#"CREATE PROCEDURE "a ""quoted"" `one`"(IN "x" INT) COMMENT 'é' SELECT 'a\' || "x""#,
    "SET SESSION sql_mode = ''",
    "USE `odd ``name é`",
    "SET NAMES latin1",
    "CREATE FUNCTION greet() RETURNS VARCHAR(20) CHARSET latin1 DETERMINISTIC RETURN 'gr\u{fc}\u{df}e'",
    "SET NAMES utf8mb4",
    "USE nasty",
    "ALTER DATABASE `empty` CHARACTER SET latin1",
    "CREATE PROCEDURE `empty`.of_old() SELECT 'x'",
    "ALTER DATABASE `empty` CHARACTER SET utf8mb4",
    "CREATE EVENT later ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' ON COMPLETION PRESERVE COMMENT ' ENABLE' DO INSERT INTO logged (what) VALUES ('event')",
    "CREATE EVENT off_already ON SCHEDULE AT '2036-01-01 00:00:00' DISABLE DO SELECT 1",
    // Accounts.
    "CREATE USER 'it''s'@'10.0.0.%' IDENTIFIED BY 'secret' REQUIRE SSL",
    "CREATE USER 'plain'@'%' IDENTIFIED BY 'plain'",
    "GRANT SELECT (id), UPDATE (n) ON nasty.live TO 'plain'@'%'",
    "GRANT ALL ON `odd ``name é`.* TO 'it''s'@'10.0.0.%' WITH GRANT OPTION",
    "GRANT EXECUTE ON FUNCTION `odd ``name é`.greet TO 'plain'@'%'",
    "GRANT SELECT ON nasty.* TO 'plain'@'%'",
    "CREATE ROLE reader",
    "GRANT SELECT ON nasty.* TO reader",
    "GRANT reader TO 'plain'@'%'",
    "CREATE DEFINER = 'plain'@'%' PROCEDURE by_plain() SQL SECURITY DEFINER SELECT COUNT(*) FROM large",
    "CREATE DEFINER = 'nobody'@'nowhere' VIEW by_nobody AS SELECT 1 AS x",
];

const MYSQL: &[&str] = &[
    "SET DEFAULT ROLE reader TO 'plain'@'%'",
    "CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3), hidden INT DEFAULT 5 INVISIBLE, KEY ((id + 1)))",
    "INSERT INTO vectors (id, v, hidden) VALUES (1, STRING_TO_VECTOR('[1,-0.1,3.5e10]'), 6), (2, NULL, 7)",
    "GRANT BACKUP_ADMIN ON *.* TO 'plain'@'%'",
];

const MARIADB: &[&str] = &[
    "SET DEFAULT ROLE reader FOR 'plain'@'%'",
    "CREATE SEQUENCE numbers_of START WITH 5 INCREMENT BY 3 CACHE 10",
    "SELECT NEXTVAL(numbers_of), NEXTVAL(numbers_of)",
    "CREATE SEQUENCE never_used",
    "CREATE TABLE own_types (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers_of), u UUID, a INET6, b INET4, hidden INT INVISIBLE DEFAULT 5)",
    "INSERT INTO own_types (id, u, a, b, hidden) VALUES (1, '123e4567-e89b-12d3-a456-426614174000', '2001:db8::1', '10.1.2.3', 6), (2, NULL, '::', NULL, 7)",
    "CREATE TABLE history (id INT PRIMARY KEY, a INT) WITH SYSTEM VERSIONING",
    "INSERT INTO history VALUES (1, 1), (2, 2)",
    "UPDATE history SET a = 3 WHERE id = 1",
    "DELETE FROM history WHERE id = 2",
    "CREATE TABLE aria (a INT) ENGINE = Aria",
    "INSERT INTO aria VALUES (1), (2)",
    "SET SESSION sql_mode = 'ORACLE'",
    "CREATE PACKAGE pack AS FUNCTION one RETURN INT; END",
    "CREATE PACKAGE BODY pack AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END",
    "SET SESSION sql_mode = ''",
    "GRANT SELECT ON `empty`.* TO PUBLIC",
];

/// Statements, and the further tables that they make.
pub fn statements(flavour: Flavour) -> (Vec<String>, &'static [&'static str]) {
    let (more, tables): (_, &[&str]) = match flavour {
        Flavour::MySql => (MYSQL, &["nasty.vectors"]),
        Flavour::MariaDb => {
            (MARIADB, &["nasty.own_types", "nasty.history FOR SYSTEM_TIME ALL", "nasty.aria"])
        }
    };
    (COMMON.iter().chain(more).map(|text| (*text).to_owned()).collect(), tables)
}
