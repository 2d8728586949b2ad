//! What a client hears of its session's changes, and what the proxy hears of them on the same
//! connection: the servers' `session_track_system_variables`, `session_track_schema` and MySQL's
//! `session_track_gtids`.
//!
//! Every connection tells the proxy of the default database, of the variables that it restores,
//! and of the GTIDs of what is written. A client is told what its own settings ask for.

use std::borrow::Cow;
use std::sync::Arc;

use crate::sql::Dialect;
use crate::sql::variables::{restored, session_variable};
use crate::wire::Flavour;
use crate::wire::capabilities::Status;
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

/// By this variable MariaDB tells the GTID of a transaction that has committed.
pub const LAST_GTID: &str = "last_gtid";

/// The settings by name.
const NAMES: [&str; 3] =
    ["session_track_schema", "session_track_system_variables", "session_track_gtids"];

/// Whether this variable is one of those that are the proxy's on every connection.
pub fn is_tracking(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Shows the settings, in the order of [`Tracking::of_values`].
pub fn question(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => {
            "SELECT @@session.session_track_schema, @@session.session_track_system_variables, \
             @@session.session_track_gtids"
        }
        Flavour::MariaDb => {
            "SELECT @@session.session_track_schema, @@session.session_track_system_variables, 'OFF'"
        }
    }
}

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
    gtids: Gtids,
}

/// The state of a transaction as a connection has last told it, to a client or to the proxy: MySQL
/// tells what has changed on that connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionState([u8; 8]);

impl Default for TransactionState {
    /// None is open.
    fn default() -> Self {
        TransactionState(*b"________")
    }
}

impl TransactionState {
    fn told(change: &StateChange<'_>) -> Option<Self> {
        let StateChange::TransactionState(letters) = change else { return None };
        <[u8; 8]>::try_from(*letters).ok().map(TransactionState)
    }

    /// Takes over what a server tells that has last told `server`. False when the client knows it,
    /// from another connection. A server that repeats itself is repeated: MySQL does so where a
    /// statement begins a transaction and ends it, such as DDL without autocommit.
    fn follow(&mut self, told: TransactionState, server: &mut TransactionState) -> bool {
        let is_known = std::mem::replace(self, told) == told;
        let is_repeated = std::mem::replace(server, told) == told;
        !is_known || is_repeated
    }

    /// The transaction that the client has last heard of ended behind its back: by a statement that
    /// failed, which has no room for that, on a connection that has served others since.
    pub fn is_left_behind(&self, server: &TransactionState, status: Status) -> bool {
        let none = TransactionState::default();
        *self != none && *server == none && !status.contains(Status::IN_TRANSACTION)
    }
}

/// Values of `session_track_gtids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gtids {
    Off,
    /// Those of the transactions that were committed.
    Own,
    /// All that the server has executed.
    All,
}

impl Gtids {
    fn of_value(value: &[u8]) -> Option<Self> {
        match value {
            b"OFF" | b"0" => Some(Gtids::Off),
            b"OWN_GTID" | b"1" => Some(Gtids::Own),
            b"ALL_GTIDS" | b"2" => Some(Gtids::All),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Gtids::Off => "OFF",
            Gtids::Own => "OWN_GTID",
            Gtids::All => "ALL_GTIDS",
        }
    }
}

/// What a connection tells of beyond what it tells for the proxy's sake.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Further {
    /// Names between commas.
    variables: Option<Arc<str>>,
    all_gtids: bool,
}

/// Whether `session_track_gtids` can be set: MariaDB has no such variable, and MySQL refuses it
/// while a transaction is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GtidTracking {
    Settable,
    Not,
}

impl GtidTracking {
    pub fn of(flavour: Flavour, in_transaction: bool) -> Self {
        match flavour {
            Flavour::MySql if !in_transaction => GtidTracking::Settable,
            _ => GtidTracking::Not,
        }
    }

    fn set(self, value: &str) -> Option<&str> {
        (self == GtidTracking::Settable).then_some(value)
    }
}

impl Tracking {
    /// By the values that the server shows. `None` for names that no statement can repeat.
    pub fn of_values(schema: &[u8], variables: &[u8], gtids: &[u8]) -> Option<Self> {
        let gtids = Gtids::of_value(gtids)?;
        let variables = std::str::from_utf8(variables).ok()?;
        let tame = |c: char| (' '..='~').contains(&c) && !matches!(c, '\'' | '\\');
        if !variables.chars().all(tame) {
            return None;
        }
        let further: Vec<_> = names(variables).filter(|name| !is_told_in_any_case(name)).collect();
        let further = Further {
            variables: match further.contains(&"*") {
                true => Some("*".into()),
                false => (!further.is_empty()).then(|| further.join(",").into()),
            },
            all_gtids: gtids == Gtids::All,
        };
        let wishes = Wishes {
            schema: matches!(schema, b"1" | b"ON"),
            variables: variables.to_owned().into(),
            gtids,
        };
        Some(Tracking { wishes: Some(wishes), further })
    }

    /// For a client whose server keeps back by itself what it does not want to hear; of GTIDs only
    /// if `gtids` says so.
    pub fn everything(gtids: bool) -> Self {
        let gtids = if gtids { Gtids::All } else { Gtids::Off };
        let wishes = Wishes { schema: true, variables: Cow::Borrowed("*"), gtids };
        Tracking { wishes: Some(wishes), further: Further::default() }
    }

    /// What the client has asked for of GTIDs, in a value of [`of_values`](Self::of_values).
    pub fn gtids(&self) -> &'static str {
        self.wishes.as_ref().map_or(Gtids::Off, |wishes| wishes.gtids).name()
    }

    /// What a connection that serves the client tells of beyond what all do.
    pub fn further(&self) -> &Further {
        &self.further
    }

    /// Gives a connection the client's own settings.
    pub fn statement(&self, gtids: GtidTracking) -> String {
        match &self.wishes {
            None => assign("DEFAULT", "DEFAULT", gtids.set("DEFAULT")),
            Some(Wishes { schema, variables, gtids: wanted }) => {
                let schema = if *schema { "1" } else { "0" };
                assign(schema, &format!("'{variables}'"), gtids.set(wanted.name()))
            }
        }
    }

    /// The session state of an OK as the client is to get it; `None` when that is all of it.
    /// `status` is the OK's, `server` is what its connection has told.
    pub fn filtered(
        &self,
        state: StateChanges<'_>,
        status: Status,
        client: &mut TransactionState,
        server: &mut TransactionState,
    ) -> Result<Option<Vec<u8>>, Malformed> {
        let mut all = true;
        let mut kept = Vec::new();
        for change in state {
            let change = change?;
            let told = TransactionState::told(&change);
            let is_news = told.is_none_or(|told| client.follow(told, server));
            match self.tells(change).filter(|_| is_news) {
                Some(told) => {
                    all &= told == change;
                    told.put(&mut kept);
                }
                None => all = false,
            }
        }
        if client.is_left_behind(server, status) {
            *client = *server;
            StateChange::TransactionState(&server.0).put(&mut kept);
            all = false;
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
            StateChange::Gtids { .. } if !self.tells_gtids() => None,
            // Of these the proxy asks for none.
            other => Some(other),
        }
    }

    /// Whether the client hears of its default database.
    pub fn tells_schema(&self) -> bool {
        self.wishes.as_ref().is_none_or(|wishes| wishes.schema)
    }

    /// Whether the client hears of the GTIDs of what it writes.
    pub fn tells_gtids(&self) -> bool {
        self.wishes.as_ref().is_some_and(|wishes| wishes.gtids != Gtids::Off)
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
pub fn set_up(dialect: Dialect, further: &Further, gtids: GtidTracking) -> String {
    let wanted = if further.all_gtids { Gtids::All } else { Gtids::Own };
    let gtids = gtids.set(wanted.name());
    let mut list = match further.variables.as_deref() {
        // MySQL takes it for all only where it stands alone.
        Some("*") => return assign("1", "'*'", gtids),
        further => further.map(str::to_owned).unwrap_or_default(),
    };
    let last_gtid = (dialect.flavour == Flavour::MariaDb).then_some(LAST_GTID);
    for name in restored(dialect).chain(last_gtid) {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name);
    }
    assign("1", &format!("'{list}'"), gtids)
}

/// The same for a server that does not know one of the variables (MariaDB then refuses the list).
pub const SET_UP_BY_DEFAULT: &str = "SET @@session.session_track_schema=1";

/// ER_UNKNOWN_SYSTEM_VARIABLE.
pub const UNKNOWN_VARIABLE: u16 = 1193;

fn assign(schema: &str, variables: &str, gtids: Option<&str>) -> String {
    let mut statement = format!(
        "SET @@session.session_track_schema={schema}, \
         @@session.session_track_system_variables={variables}"
    );
    if let Some(gtids) = gtids {
        statement.push_str(", @@session.session_track_gtids=");
        statement.push_str(gtids);
    }
    statement
}

fn is_told_in_any_case(name: &str) -> bool {
    session_variable(name.as_bytes()).is_some() || name.eq_ignore_ascii_case(LAST_GTID)
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Capabilities;
    use crate::wire::reply::{OkPacket, put_ok};

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
        let [mut client, mut server] = [TransactionState::default(); 2];
        let kept = tracking
            .filtered(all.changes(), Status::default(), &mut client, &mut server)
            .unwrap()?;
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
        assert_eq!(filtered(&tracking, &[zone, schema]), None);
        assert_eq!(filtered(&tracking, &[gtids]), Some(vec![]));
        assert_eq!(filtered(&tracking, &[variable("last_gtid", "0-1-5")]), Some(vec![]));
        let mode = variable("sql_mode", "");
        assert_eq!(filtered(&tracking, &[mode, zone]), Some(vec!["time_zone".to_owned()]));
        assert_eq!(filtered(&tracking, &[mode]), Some(vec![]));
        let [none, open] = [&b"________"[..], b"T_______"].map(StateChange::TransactionState);
        assert_eq!(filtered(&tracking, &[open, none]), None);
        assert_eq!(filtered(&tracking, &[none]), None, "a transaction that began and ended");
        assert_eq!(filtered(&tracking, &[variable("redirect_url", "x")]), Some(vec![]));
        assert_eq!(tracking.further(), &Further::default());
        let defaults = "SET @@session.session_track_schema=DEFAULT, \
             @@session.session_track_system_variables=DEFAULT";
        assert_eq!(tracking.statement(GtidTracking::Not), defaults);
        let gtids = ", @@session.session_track_gtids=DEFAULT";
        assert_eq!(tracking.statement(GtidTracking::Settable), format!("{defaults}{gtids}"));
    }

    #[test]
    fn another_connection_does_not_tell_again_what_is_known() {
        let idle = TransactionState::default();
        let open = TransactionState(*b"T_______");
        let (mut client, mut first, mut second) = (idle, idle, idle);
        assert!(client.follow(open, &mut first));
        assert!(!client.follow(open, &mut second), "known, and news of the second");
        assert!(client.follow(open, &mut second), "its server repeats itself");
        assert!(client.follow(idle, &mut second) && client.follow(idle, &mut second));
        assert!(!client.follow(idle, &mut first), "what it had to tell of before");
    }

    #[test]
    fn a_transaction_that_ended_elsewhere_is_told_of() {
        let tracking = Tracking::default();
        let open = TransactionState(*b"T_______");
        let (mut client, mut server) = (open, TransactionState::default());
        let nothing = OkPacket::default();
        let status = Status::IN_TRANSACTION;
        let told = tracking.filtered(nothing.changes(), status, &mut client, &mut server);
        assert_eq!(told.unwrap(), None);
        let status = Status::default();
        let told = tracking.filtered(nothing.changes(), status, &mut client, &mut server);
        let mut expected = Vec::new();
        StateChange::TransactionState(b"________").put(&mut expected);
        assert_eq!(told.unwrap(), Some(expected));
        let told = tracking.filtered(nothing.changes(), status, &mut client, &mut server);
        assert_eq!(told.unwrap(), None, "once");
        let (mut client, mut server) = (open, open);
        assert!(!client.is_left_behind(&server, status), "it will tell of that itself");
        assert!(client.follow(TransactionState::default(), &mut server));
    }

    #[test]
    fn a_client_hears_of_what_it_has_asked_for() {
        let tracking = Tracking::of_values(b"0", b"SQL_mode, rand_seed1,", b"OFF").unwrap();
        let entries =
            [variable("sql_mode", ""), variable("time_zone", ""), StateChange::Schema(b"a")];
        assert_eq!(filtered(&tracking, &entries), Some(vec!["SQL_mode".to_owned()]));
        assert_eq!(tracking.further().variables.as_deref(), Some("rand_seed1"));
        assert!(tracking.statement(GtidTracking::Not).ends_with(
            "schema=0, @@session.session_track_system_variables='SQL_mode, rand_seed1,'"
        ));
        let set_up = set_up(MARIADB, tracking.further(), GtidTracking::Not);
        assert!(set_up.contains("schema=1, @@session.session_track_system_variables='rand_seed1,auto_increment_increment,"));

        let all = Tracking::of_values(b"1", b"*", b"OWN_GTID").unwrap();
        assert_eq!(filtered(&all, &[variable("statement_id", "7")]), None);
        assert_eq!(filtered(&all, &[variable("redirect_url", "x")]), Some(vec![]));
        assert_eq!(
            super::set_up(MARIADB, all.further(), GtidTracking::Not),
            assign("1", "'*'", None)
        );
        assert_eq!(Tracking::of_values(b"1", b"it's", b"OFF"), None);
        let gtids = StateChange::Gtids { encoding: 0, text: b"x:1" };
        assert_eq!(filtered(&all, &[gtids]), None);
        let mysql = Dialect { flavour: Flavour::MySql, ..MARIADB };
        assert!(
            super::set_up(mysql, all.further(), GtidTracking::Settable)
                .ends_with("session_track_gtids=OWN_GTID")
        );
        let everything = Tracking::of_values(b"1", b"", b"ALL_GTIDS").unwrap();
        assert!(
            super::set_up(mysql, everything.further(), GtidTracking::Settable)
                .ends_with("_gtids=ALL_GTIDS")
        );

        let none = Tracking::of_values(b"ON", b"", b"OFF").unwrap();
        assert_eq!(filtered(&none, &entries), Some(vec!["Schema([97])".to_owned()]));
    }

    #[test]
    fn connections_tell_of_the_variables_that_their_server_has() {
        let text = set_up(MARIADB, &Further::default(), GtidTracking::Not);
        assert!(text.contains(",tx_isolation,") && text.contains(",max_statement_time,"));
        assert!(!text.contains("max_execution_time"));
        let mysql = Dialect { version: 90_704, ..Dialect::default() };
        let text = set_up(mysql, &Further::default(), GtidTracking::Not);
        assert!(text.contains(",max_execution_time,") && !text.contains("tx_isolation"));
    }
}
