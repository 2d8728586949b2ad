//! What a client hears of its session's changes, and what the proxy hears of them on the same
//! connection: the servers' `session_track_system_variables` and `session_track_schema`.
//!
//! Every connection tells the proxy of the default database and of the variables that it
//! restores. A client is told what its own two settings ask for.

use std::borrow::Cow;
use std::sync::Arc;

use crate::sql::Dialect;
use crate::sql::variables::{restored, session_variable};
use crate::wire::codec::Malformed;
use crate::wire::reply::{StateChange, StateChanges};

/// What both flavours tell of when nobody has asked for anything.
const DEFAULT: [&str; 5] = [
    "autocommit",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "time_zone",
];

/// MariaDB's word to clients that they should connect to another server: to one behind the proxy.
const REDIRECT: &[u8] = b"redirect_url";

/// The two settings by name.
const NAMES: [&str; 2] = ["session_track_schema", "session_track_system_variables"];

/// Whether this variable is one of the two, which are the proxy's on every connection.
pub fn is_tracking(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Shows the two settings in this order.
pub const QUESTION: &str =
    "SELECT @@session.session_track_schema, @@session.session_track_system_variables";

/// What a client has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracking {
    /// `None`: nothing, it has the server's own settings.
    wishes: Option<Wishes>,
    /// Variables that it wants to hear of and the proxy does not.
    further: Further,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wishes {
    schema: bool,
    /// As they were written: names between commas, or `*`.
    variables: Cow<'static, str>,
}

/// What a connection tells of beyond what it tells for the proxy's sake: names between commas.
pub type Further = Option<Arc<str>>;

impl Tracking {
    /// By the values that the server shows. `None` for names that no statement can repeat.
    pub fn of_values(schema: &[u8], variables: &[u8]) -> Option<Self> {
        let variables = std::str::from_utf8(variables).ok()?;
        let tame = |c: char| (' '..='~').contains(&c) && !matches!(c, '\'' | '\\');
        if !variables.chars().all(tame) {
            return None;
        }
        let further: Vec<_> =
            names(variables).filter(|name| session_variable(name.as_bytes()).is_none()).collect();
        let further = match further.contains(&"*") {
            true => Some("*".into()),
            false => (!further.is_empty()).then(|| further.join(",").into()),
        };
        let wishes = Wishes {
            schema: matches!(schema, b"1" | b"ON"),
            variables: variables.to_owned().into(),
        };
        Some(Tracking { wishes: Some(wishes), further })
    }

    /// For a client whose server keeps back by itself what it does not want to hear.
    pub fn everything() -> Self {
        let wishes = Wishes { schema: true, variables: Cow::Borrowed("*") };
        Tracking { wishes: Some(wishes), further: None }
    }

    /// What a connection that serves the client tells of beyond what all do.
    pub fn further(&self) -> &Further {
        &self.further
    }

    /// Gives a connection the client's own settings.
    pub fn statement(&self) -> String {
        match &self.wishes {
            None => assign("DEFAULT", "DEFAULT"),
            Some(Wishes { schema, variables }) => {
                assign(if *schema { "1" } else { "0" }, &format!("'{variables}'"))
            }
        }
    }

    /// The session state of an OK as the client is to get it; `None` when that is all of it.
    pub fn filtered(&self, state: StateChanges<'_>) -> Result<Option<Vec<u8>>, Malformed> {
        let mut all = true;
        let mut kept = Vec::new();
        for change in state {
            let change = change?;
            match self.tells(change) {
                Some(told) => {
                    all &= told == change;
                    told.put(&mut kept);
                }
                None => all = false,
            }
        }
        Ok((!all).then_some(kept))
    }

    fn tells<'a>(&'a self, change: StateChange<'a>) -> Option<StateChange<'a>> {
        match change {
            StateChange::SystemVariable { name, .. } if name == REDIRECT => None,
            StateChange::SystemVariable { name, value } => {
                let name = self.name(name)?;
                Some(StateChange::SystemVariable { name, value })
            }
            StateChange::Schema(_) if !self.tells_schema() => None,
            // Of these the proxy asks for none.
            other => Some(other),
        }
    }

    /// Whether the client hears of its default database.
    pub fn tells_schema(&self) -> bool {
        self.wishes.as_ref().is_none_or(|wishes| wishes.schema)
    }

    /// The variable's name as the client has written it, if it wants to hear of it.
    fn name<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        let is = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
        match &self.wishes {
            None => DEFAULT.iter().any(is).then_some(name),
            Some(wishes) if names(&wishes.variables).any(|name| name == "*") => Some(name),
            Some(wishes) => names(&wishes.variables).find(is).map(str::as_bytes),
        }
    }
}

/// What every connection to a server of this dialect begins with, so that it tells the proxy what
/// that must know, and the client what it wants to know.
pub fn set_up(dialect: Dialect, further: &Further) -> String {
    let mut list = match further.as_deref() {
        // MySQL takes it for all only where it stands alone.
        Some("*") => return assign("1", "'*'"),
        further => further.map(str::to_owned).unwrap_or_default(),
    };
    for name in restored(dialect) {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name);
    }
    assign("1", &format!("'{list}'"))
}

/// The same for a server that does not know one of the variables (MariaDB then refuses the list).
pub const SET_UP_BY_DEFAULT: &str = "SET @@session.session_track_schema=1";

/// ER_UNKNOWN_SYSTEM_VARIABLE.
pub const UNKNOWN_VARIABLE: u16 = 1193;

fn assign(schema: &str, variables: &str) -> String {
    format!(
        "SET @@session.session_track_schema={schema}, \
         @@session.session_track_system_variables={variables}"
    )
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{OkPacket, put_ok};
    use crate::wire::{Capabilities, Flavour};

    const MARIADB: Dialect = Dialect {
        flavour: Flavour::MariaDb,
        version: 101_118,
        no_backslash_escapes: false,
        ansi_quotes: false,
        charset: crate::sql::ClientCharset::Utf8,
    };

    fn variable<'a>(name: &'a str, value: &'a str) -> StateChange<'a> {
        StateChange::SystemVariable { name: name.as_bytes(), value: value.as_bytes() }
    }

    /// What a client gets of these entries; `None` when nothing is changed.
    fn filtered(tracking: &Tracking, entries: &[StateChange<'_>]) -> Option<Vec<String>> {
        let mut session_state = Vec::new();
        for entry in entries {
            entry.put(&mut session_state);
        }
        let all = OkPacket { session_state: &session_state, ..OkPacket::default() };
        let kept = tracking.filtered(all.changes()).unwrap()?;
        let mut payload = Vec::new();
        let packet = OkPacket { session_state: &kept, ..OkPacket::default() };
        put_ok(&mut payload, &packet, Capabilities::SESSION_TRACK);
        let packet = OkPacket::parse(&payload, Capabilities::SESSION_TRACK).unwrap();
        let name = |change: StateChange<'_>| match change {
            StateChange::SystemVariable { name, .. } => String::from_utf8(name.to_vec()).unwrap(),
            other => format!("{other:?}"),
        };
        Some(packet.changes().map(|change| name(change.unwrap())).collect())
    }

    #[test]
    fn by_default_a_client_hears_of_what_servers_tell_by_themselves() {
        let tracking = Tracking::default();
        let schema = StateChange::Schema(b"app");
        let gtids = StateChange::Gtids { encoding: 0, text: b"x:1" };
        let zone = variable("time_zone", "SYSTEM");
        assert_eq!(filtered(&tracking, &[zone, schema, gtids]), None);
        let mode = variable("sql_mode", "");
        assert_eq!(filtered(&tracking, &[mode, zone]), Some(vec!["time_zone".to_owned()]));
        assert_eq!(filtered(&tracking, &[mode]), Some(vec![]));
        assert_eq!(filtered(&tracking, &[variable("redirect_url", "x")]), Some(vec![]));
        assert_eq!(tracking.further(), &None);
        assert_eq!(
            tracking.statement(),
            "SET @@session.session_track_schema=DEFAULT, \
             @@session.session_track_system_variables=DEFAULT"
        );
    }

    #[test]
    fn a_client_hears_of_what_it_has_asked_for() {
        let tracking = Tracking::of_values(b"0", b"SQL_mode, rand_seed1,").unwrap();
        let entries =
            [variable("sql_mode", ""), variable("time_zone", ""), StateChange::Schema(b"a")];
        assert_eq!(filtered(&tracking, &entries), Some(vec!["SQL_mode".to_owned()]));
        assert_eq!(tracking.further().as_deref(), Some("rand_seed1"));
        assert!(tracking.statement().ends_with(
            "schema=0, @@session.session_track_system_variables='SQL_mode, rand_seed1,'"
        ));
        let set_up = set_up(MARIADB, tracking.further());
        assert!(set_up.contains("schema=1, @@session.session_track_system_variables='rand_seed1,auto_increment_increment,"));

        let all = Tracking::of_values(b"1", b"*").unwrap();
        assert_eq!(filtered(&all, &[variable("statement_id", "7")]), None);
        assert_eq!(filtered(&all, &[variable("redirect_url", "x")]), Some(vec![]));
        assert_eq!(super::set_up(MARIADB, all.further()), assign("1", "'*'"));
        assert_eq!(Tracking::of_values(b"1", b"it's"), None);
        let none = Tracking::of_values(b"ON", b"").unwrap();
        assert_eq!(filtered(&none, &entries), Some(vec!["Schema([97])".to_owned()]));
    }

    #[test]
    fn connections_tell_of_the_variables_that_their_server_has() {
        let text = set_up(MARIADB, &None);
        assert!(text.contains(",tx_isolation,") && text.contains(",max_statement_time,"));
        assert!(!text.contains("max_execution_time"));
        let mysql = Dialect { version: 90_704, ..Dialect::default() };
        let text = set_up(mysql, &None);
        assert!(text.contains(",max_execution_time,") && !text.contains("tx_isolation"));
    }
}
