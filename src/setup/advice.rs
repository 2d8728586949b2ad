//! What a server's error usually means, and what helps. Pure.

/// Parts of an error that are all in it, and what is then said.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["Unknown", "host"],
        "the name is not known there: put the containers on one network of their own (docker network \
         create), for on Docker's default one there are no names",
    ),
    (
        &["purged", "required bin"],
        "the primary no longer has the binary logs that it needs: only a copy helps (--overwrite)",
    ),
    (&["No space left on device"], ROOM),
    (&["Disk full"], ROOM),
    // ER_RECORD_FILE_FULL, by which InnoDB tells of a full disk.
    (&["ERROR 1114 "], ROOM),
    // ER_CLONE_DISK_SPACE: the clone plugin looks for room before it begins.
    (&["ERROR 3873 "], ROOM),
    // Of MariaDB, when a table's first rows find no room.
    (
        &["ERROR 1180 ", "Operation not permitted"],
        "the server's log says more; as a rule its disk is full: make room there for all that the \
         primary has",
    ),
];

const ROOM: &str = "its disk is full: make room there for all that the primary has, of which there may be \
     two copies for a while";

/// The problem, and behind it what it usually means.
pub fn advised(problem: String) -> String {
    let fits = |parts: &[&str]| parts.iter().all(|part| problem.contains(part));
    match KNOWN.iter().find(|(parts, _)| fits(parts)) {
        Some((_, advice)) => format!("{problem} ({advice})"),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_errors_mean() {
        let table = [
            ("b: ERROR 1114 (HY000): The table 'filled' is full", Some("disk is full")),
            (
                "b: ERROR 1026: Error writing file (errno: 28 - No space left on device)",
                Some("full"),
            ),
            (
                "b: ERROR 1180 (HY000): Got error 1 \"Operation not permitted\" during COMMIT",
                Some("as a rule its disk is full"),
            ),
            ("b: Unknown MySQL server host 'a' (-2)", Some("one network")),
            ("b: the source purged required binary logs", Some("only a copy helps")),
            ("b: SET GLOBAL gtid_purged = '…': ERROR 3546", None),
            ("b: ERROR 1227 (42000): Access denied", None),
        ];
        for (problem, expected) in table {
            let told = advised(problem.to_owned());
            match expected {
                Some(part) => assert!(told.starts_with(problem) && told.contains(part), "{told}"),
                None => assert_eq!(told, problem),
            }
        }
    }
}
