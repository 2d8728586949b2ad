//! KILL by what is no plain number: the server finds out what is meant, and the session that is
//! meant ends.

use super::{LONG, Target, endless, outcome};
use crate::protocol::{primary, runs};
use crate::support::raw::{OLD, Outcome, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(a_kill_by_an_expression);
crate::on_both_flavours!(a_kill_by_an_expression_that_is_refused);
crate::on_both_flavours!(a_kill_of_the_connection_that_runs_it);

/// What a KILL is sent as.
#[derive(Debug, Clone, Copy)]
enum Way {
    Query,
    /// Prepared, and executed with the id in the place of its parameter if it has one: the type and
    /// whether the value is a text.
    Prepared(u16, fn(u32) -> Vec<u8>),
    /// By the last of these statements, which make a text of `{kill}`.
    Text(&'static [&'static str]),
}

const LONGLONG: u16 = 0x08;
const DOUBLE: u16 = 0x05;
const STRING: u16 = 0xFE;

/// Behind KILL or KILL QUERY; `{}` is the id.
const EXPRESSIONS: &[(Way, &str)] = &[
    (Way::Query, "@victim"),
    (Way::Query, "{} + 1 - 1"),
    (Way::Query, "'{}'"),
    (Way::Query, "(SELECT {})"),
    (Way::Query, "CAST(CONCAT('{}', '') AS UNSIGNED)"),
    (Way::Query, "IF(CONNECTION_ID() = 0, 1, @victim)"),
    (Way::Prepared(LONGLONG, nothing), "@victim"),
    (Way::Text(&["PREPARE k FROM '{kill}'", "EXECUTE k"]), "{}"),
    (Way::Text(&["PREPARE k FROM '{kill}'", "EXECUTE k"]), "@victim"),
    (Way::Text(&["SET @text = '{kill}'", "PREPARE `K` FROM @text", "EXECUTE k"]), "{}"),
    (Way::Text(&["SET @text = CONCAT('{kill}', '')", "PREPARE k FROM @text", "EXECUTE k"]), "{}"),
];

/// MySQL prepares no KILL with parameters.
const PARAMETERS: &[(Way, &str)] = &[
    (Way::Prepared(LONGLONG, |id| u64::from(id).to_le_bytes().to_vec()), "?"),
    (Way::Prepared(DOUBLE, |id| f64::from(id).to_le_bytes().to_vec()), "?"),
    (Way::Prepared(STRING, |id| [&[10], id.to_string().as_bytes()].concat()), "?"),
    (Way::Prepared(LONGLONG, |id| u64::from(id - 1).to_le_bytes().to_vec()), "? + 1"),
    (Way::Text(&["PREPARE k FROM '{kill}'", "EXECUTE k USING @victim"]), "?"),
    (Way::Text(&["EXECUTE IMMEDIATE '{kill}' USING @victim"]), "?"),
    (Way::Text(&["SET @text = CONCAT('{kill}', '')", "EXECUTE IMMEDIATE @text"]), "{}"),
];

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

fn ways(flavour: Flavour) -> impl Iterator<Item = &'static (Way, &'static str)> {
    let more = if flavour == Flavour::MariaDb { PARAMETERS } else { &[] };
    EXPRESSIONS.iter().chain(more)
}

/// Sends a KILL of this id; the error of its answer.
async fn kill(killer: &mut Raw, target: Target, way: &(Way, &str), id: u32) -> Option<u16> {
    killer.ok(&format!("SET @victim = {id}")).await;
    let (way, expression) = way;
    let head = if target == Target::Connection { "KILL" } else { "KILL QUERY" };
    let sql = format!("{head} {}", expression.replace("{}", &id.to_string()));
    match way {
        Way::Query => error_code(&killer.query(&sql).await),
        Way::Text(statements) => {
            let mut code = None;
            for statement in *statements {
                assert_eq!(code, None, "before {statement}");
                code = error_code(&killer.query(&statement.replace("{kill}", &sql)).await);
            }
            code
        }
        Way::Prepared(kind, encode) => {
            let prepared = killer.ask(&[&[0x16], sql.as_bytes()].concat()).await;
            assert_eq!(error_code(&prepared), None, "{sql}");
            let mut execute = vec![0x17];
            execute.extend(&prepared[0].payload[1..5]);
            execute.extend([0, 1, 0, 0, 0]);
            let number = encode(id);
            if !number.is_empty() {
                execute.extend([0, 1]);
                execute.extend(kind.to_le_bytes());
                execute.extend(number);
            }
            error_code(&killer.ask(&execute).await)
        }
    }
}

async fn a_kill_by_an_expression(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut bystander = Raw::app(proxy.address, OLD).await;
    let mut killer = Raw::app(proxy.address, OLD).await;
    for way in ways(flavour) {
        for (target, place) in
            [(Target::Statement, "a replica"), (Target::Connection, "the primary")]
        {
            let what = format!("{target:?} by {way:?}");
            let mut victim = Raw::app(proxy.address, OLD).await;
            let mark = marker("meant");
            victim.send(&endless(place, &mark)).await;
            runs(cluster, &mark, true).await;
            assert_eq!(kill(&mut killer, target, way, victim.id).await, None, "{what}");
            // What the server has said to the proxy is not for the client.
            let warnings = killer.query("SHOW WARNINGS").await;
            assert_eq!(error_code(&warnings), None);
            assert_eq!(warnings.len(), 6, "{what}: no row between three columns and the end");
            match target {
                Target::Statement => {
                    assert_eq!(outcome(&mut victim).await, Outcome::Error(1317), "{what}");
                    assert_eq!(value(&victim.query("SELECT 7").await, OLD), "7", "{what}");
                }
                Target::Connection => {
                    if outcome(&mut victim).await != Outcome::Closed {
                        assert_eq!(outcome(&mut victim).await, Outcome::Closed, "{what}");
                    }
                }
            }
            runs(cluster, &mark, false).await;
        }
    }
    assert_eq!(value(&bystander.query("SELECT 8").await, OLD), "8");
}

async fn a_kill_by_an_expression_that_is_refused(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let root = Raw::login(proxy.address, "root", "root", None, OLD).await;
    let mut root = root.expect("root may log in");
    let mut app = Raw::app(proxy.address, OLD).await;
    let sleep = root.query_payload("SELECT SLEEP(2)");
    root.send(&sleep).await;
    for way in ways(flavour) {
        for target in [Target::Statement, Target::Connection] {
            assert_eq!(kill(&mut app, target, way, root.id).await, Some(1095), "{way:?}");
            assert_eq!(kill(&mut app, target, way, root.id + 100_000).await, Some(1094));
        }
    }
    for nobody in ["NULL", "'x'", "@never_set", "0 - 1"] {
        assert_eq!(error_code(&app.query(&format!("KILL {nobody}")).await), Some(1094));
    }
    // Both flavours refuse a table, each in its way.
    let tables = "KILL (SELECT MAX(id) FROM information_schema.processlist)";
    let mut direct = Raw::app(primary(cluster), OLD).await;
    let refused = error_code(&direct.query(tables).await);
    assert!(refused.is_some_and(|code| code != 1094), "{refused:?}");
    assert_eq!(error_code(&app.query(tables).await), refused);
    assert_eq!(value(&root.reply(0x03, &[]).await, OLD), "0");
    assert_eq!(value(&root.query("SELECT 9").await, OLD), "9");

    // A server's own id is a server's own, by whatever name.
    let mark = marker("direct");
    let long = format!("SELECT n FROM (SELECT 1 AS n) AS d WHERE SLEEP({LONG}) = n /* {mark} */");
    let long = direct.query_payload(&long);
    direct.send(&long).await;
    runs(cluster, &mark, true).await;
    let query = (Way::Query, "@victim");
    assert_eq!(kill(&mut app, Target::Statement, &query, direct.id).await, None);
    assert_eq!(outcome(&mut direct).await, Outcome::Error(1317));
}

/// A text that was in a variable, which holds another by now: whom it was to end nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_gone_kills_nobody() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        let proxy = Proxy::start(Cluster::shared(flavour), "");
        let mut killer = Raw::app(proxy.address, OLD).await;
        let [mut victim, mut other] =
            [Raw::app(proxy.address, OLD).await, Raw::app(proxy.address, OLD).await];
        killer.ok(&format!("SET @text = CONCAT('KILL QUERY ', {})", victim.id)).await;
        killer.ok("PREPARE k FROM @text").await;
        for text in ["SELECT 1".to_owned(), format!("KILL {}", other.id)] {
            killer.ok(&format!("SET @text = '{text}'")).await;
            assert_eq!(error_code(&killer.query("EXECUTE k").await), Some(1094), "{text}");
        }
        for bystander in [&mut victim, &mut other] {
            assert_eq!(value(&bystander.query("SELECT 6").await, OLD), "6");
        }
    }
}

/// On the server CONNECTION_ID() is that of the connection that the session has just then.
async fn a_kill_of_the_connection_that_runs_it(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 1\nlease_timeout = \"30s\"");
    let mut bystander = Raw::app(proxy.address, OLD).await;
    bystander.ok("DROP TABLE IF EXISTS app.survives").await;
    bystander.ok("CREATE TABLE app.survives (n INT)").await;
    for round in 0..10 {
        for statement in
            ["KILL QUERY CONNECTION_ID()", "KILL CONNECTION_ID()", "KILL 0 + CONNECTION_ID()"]
        {
            let mut ends = Vec::new();
            for address in [primary(cluster), proxy.address] {
                let mut client = Raw::app(address, OLD).await;
                let statement = client.query_payload(statement);
                client.send(&statement).await;
                ends.push((outcome(&mut client).await, client.ping().await));
            }
            assert_eq!(ends[1], ends[0], "{statement}");
            // Nobody is given a connection that its server closes.
            bystander.ok(&format!("INSERT INTO app.survives VALUES ({round})")).await;
        }
    }
    assert_eq!(value(&bystander.query("SELECT COUNT(*) FROM app.survives").await, OLD), "30");
    bystander.ok("DROP TABLE app.survives").await;
}
