//! What a session may do on a replica: only a whole statement that is classified so, outside a
//! transaction and without pins. And query attributes in front of the text change nothing.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::routing::{BackendId, Request, Rules};
use rwproxy::session::plan::{Action, Situation, Why, plan};
use rwproxy::session::statements::Texts;
use rwproxy::session::{Change, Observation, Pins, SessionId, Settings, State, Told};
use rwproxy::sql::cache::{Verdicts, Worker};
use rwproxy::sql::{Destination, Reason, classify};
use rwproxy::wire::Capabilities;
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::command::Command;
use rwproxy::wire::query::text;
use rwproxy_fuzz::dialect;

static TEXTS: LazyLock<Texts> = LazyLock::new(Texts::default);
static OPINIONS: LazyLock<Worker> =
    LazyLock::new(|| Worker::start(Arc::new(Verdicts::new(1000, 1)), 16).expect("a thread"));

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    dialect: u8,
    command: u8,
    /// COM_QUERY rather than `command`.
    query: bool,
    whole: bool,
    attributes: bool,
    status: Option<u16>,
    pins: u32,
    serializable: bool,
    previous: Option<u32>,
    has_primary: bool,
    database: Option<&'a [u8]>,
    arguments: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let settings = Settings::at_login(input.database.map(Into::into), 255, true);
    let mut state = State::new(settings, Status::AUTOCOMMIT);
    state.observe(&Observation {
        status: input.status.map(Status::from_bits_retain),
        ..Observation::default()
    });
    state.pin(Pins::from_bits_truncate(input.pins));
    if input.serializable {
        let (name, value) = ("transaction_isolation".into(), "'SERIALIZABLE'".into());
        state.apply(&[Change::Variable { name, value }], &Told::default());
    }
    let command = if input.query { Command::Query } else { Command::from_byte(input.command) };
    let capabilities = match input.attributes {
        true => Capabilities::QUERY_ATTRIBUTES,
        false => Capabilities::empty(),
    };
    let rules = Rules::default();
    let situation = Situation {
        session: SessionId::numbered(7),
        user: b"app",
        state: &state,
        dialect: state.dialect(dialect(input.dialect)),
        rules: &rules,
        hints: None,
        previous: input.previous.map(BackendId),
        has_primary: input.has_primary,
        capabilities,
        texts: &TEXTS,
        prepared_at: None,
        shares_writes: false,
        opinions: &OPINIONS,
    };
    let plan = match plan(command, input.arguments, input.whole, situation) {
        Action::Run(plan) => plan,
        Action::Kill { .. }
        | Action::Ok { .. }
        | Action::Ignore
        | Action::Malformed
        | Action::Quit
        | Action::ChangeUser
        | Action::Close(_)
        | Action::Refuse { .. }
        | Action::RefuseBesides(_) => return,
    };
    let _ = Why::names()[plan.why.index()];
    assert_eq!(plan.expect, command.expects());
    // What is put into an answer is the session's own: any server may be asked.
    assert!(!plan.repeatable || plan.request == Request::Read || plan.amendment.is_some());
    if plan.request == Request::Read {
        assert!(input.whole);
        let sql = match command {
            Command::Query => text(input.arguments, capabilities).expect("it was planned"),
            Command::StmtPrepare => input.arguments,
            _ => panic!("a read by {command:?}"),
        };
        let statement = classify(sql, situation.dialect);
        let statement = OPINIONS.settle(statement, sql, situation.dialect);
        // User variables of known values come along.
        let restored = statement.reason == Reason::UserVariable;
        let anywhere = statement.destination == Destination::Replica || restored;
        assert!(anywhere || plan.amendment.is_some());
        assert!(state.is_autocommit() && !state.keeps_connection() && !state.is_serializable());
        assert!(plan.changes.is_empty() && plan.pins.is_empty(), "a read that leaves something");
    }
});
