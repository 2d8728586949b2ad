//! Server flavour and version, as the greeting's version string tells them.

use std::fmt;

/// The two families of servers whose protocol and SQL differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    MySql,
    MariaDb,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::MySql => "MySQL",
            Flavour::MariaDb => "MariaDB",
        })
    }
}

/// Version of a server. Orders by major, minor, patch; compare only within one flavour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    pub flavour: Flavour,
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
    /// The greeting's string, verbatim.
    pub text: String,
}

/// Before a MariaDB's own version, up to 10: old replicas of MySQL would not accept it otherwise.
const DISGUISE: &str = "5.5.5-";

impl ServerVersion {
    /// Reads the greeting's version string.
    pub fn parse(text: &str) -> Self {
        let flavour = if text.to_ascii_lowercase().contains("mariadb") {
            Flavour::MariaDb
        } else {
            Flavour::MySql
        };
        let mut parts = undisguised(text, flavour)
            .split(|c: char| !c.is_ascii_digit())
            .map(|digits| digits.parse::<u16>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        ServerVersion {
            flavour,
            major: next(),
            minor: next(),
            patch: next(),
            text: text.to_owned(),
        }
    }

    /// True when the version is `major.minor` or later.
    pub fn at_least(&self, major: u16, minor: u16) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// The number that version comments (`/*!80035 … */`) compare with: 80035 for 8.0.35.
    pub fn comment_number(&self) -> u32 {
        u32::from(self.major) * 10_000 + u32::from(self.minor) * 100 + u32::from(self.patch)
    }
}

fn undisguised(text: &str, flavour: Flavour) -> &str {
    match flavour {
        Flavour::MariaDb => text.strip_prefix(DISGUISE).unwrap_or(text),
        Flavour::MySql => text,
    }
}

/// As the server itself says it (`VERSION()`).
impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(undisguised(&self.text, self.flavour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_flavours() {
        let table = [
            ("9.7.4", Flavour::MySql, (9, 7, 4)),
            ("8.0.35-0ubuntu0.22.04.1", Flavour::MySql, (8, 0, 35)),
            ("5.5.5-10.11.19-MariaDB-0+deb12u1", Flavour::MariaDb, (10, 11, 19)),
            ("11.8.3-MariaDB-log", Flavour::MariaDb, (11, 8, 3)),
            ("garbage", Flavour::MySql, (0, 0, 0)),
            ("", Flavour::MySql, (0, 0, 0)),
        ];
        for (text, flavour, numbers) in table {
            let version = ServerVersion::parse(text);
            assert_eq!(version.flavour, flavour, "{text}");
            assert_eq!((version.major, version.minor, version.patch), numbers, "{text}");
        }
        let shown = |text| ServerVersion::parse(text).to_string();
        assert_eq!(shown("5.5.5-10.11.19-MariaDB"), "10.11.19-MariaDB");
        assert_eq!(shown("11.8.3-MariaDB-log"), "11.8.3-MariaDB-log");
        assert_eq!(shown("5.5.5-m2"), "5.5.5-m2");
        assert_eq!(ServerVersion::parse("8.0.35").comment_number(), 80_035);
        assert!(ServerVersion::parse("8.4.0").at_least(8, 4));
        assert!(!ServerVersion::parse("8.4.0").at_least(9, 0));
    }
}
