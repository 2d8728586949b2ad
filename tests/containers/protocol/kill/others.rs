//! Whether an account may end another's sessions the server decides, by privileges and roles.

use super::{Target, WAYS, endless, outcome, process_kill, query};
use crate::protocol::{primary, runs};
use crate::support::raw::{OLD, Outcome, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy, marker};
use std::net::SocketAddr;

crate::on_both_flavours!(privileges_and_roles_decide_who_may_kill_whom);
crate::on_both_flavours!(a_kill_of_others_leaves_the_killer_as_it_was);

/// Who tries to kill whom, after which statement of either; `None`: for no such account.
struct Case {
    killer: &'static str,
    killer_does: &'static str,
    victim: &'static str,
    victim_does: &'static str,
    /// With which error it is refused.
    refused: Option<u16>,
}

const NOTHING: &str = "DO 0";

const CASES: [Case; 5] = [
    case("kill_plain", NOTHING, "kill_victim", Some(1095)),
    case("kill_admin", NOTHING, "kill_victim", None),
    case("kill_roled", NOTHING, "kill_victim", Some(1095)),
    case("kill_roled", "SET ROLE killers", "kill_victim", None),
    case("kill_roled", "SET ROLE NONE", "kill_victim", Some(1095)),
];

/// Those with SYSTEM_USER, which MariaDB does not have.
const OF_MYSQL: [Case; 4] = [
    case("kill_admin", NOTHING, "kill_system", Some(1095)),
    case("root", NOTHING, "kill_system", None),
    case("kill_admin", NOTHING, "kill_late_system", None),
    Case {
        victim_does: "SET ROLE systems",
        ..case("kill_admin", NOTHING, "kill_late_system", Some(1095))
    },
];

const fn case(
    killer: &'static str,
    killer_does: &'static str,
    victim: &'static str,
    refused: Option<u16>,
) -> Case {
    Case { killer, killer_does, victim, victim_does: NOTHING, refused }
}

async fn privileges_and_roles_decide_who_may_kill_whom(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.run_all("primary", &accounts(flavour)).await;
    let proxy = Proxy::start(cluster, "");
    let more = if flavour == Flavour::MySql { &OF_MYSQL[..] } else { &[] };
    for case in CASES.iter().chain(more) {
        for (target, kill) in WAYS {
            let through = attempt(cluster, proxy.address, case, target, kill).await;
            assert_eq!(through.0, case.refused, "{} on {}", case.killer, case.victim);
            // MySQL 9 has COM_PROCESS_KILL no more.
            if flavour == Flavour::MariaDb || kill(0) != process_kill(0) {
                let direct = attempt(cluster, primary(cluster), case, target, kill).await;
                assert_eq!(through, direct, "{} on {}", case.killer, case.victim);
            }
        }
    }
}

/// A KILL of a running statement or its session: its error, and how the victim ends.
async fn attempt(
    cluster: &Cluster,
    address: SocketAddr,
    case: &Case,
    target: Target,
    kill: fn(u32) -> Vec<u8>,
) -> (Option<u16>, bool) {
    let mut victim = login(address, case.victim).await;
    assert_eq!(error_code(&victim.query(case.victim_does).await), None);
    let mut killer = login(address, case.killer).await;
    assert_eq!(error_code(&killer.query(case.killer_does).await), None);
    let mark = marker("others");
    victim.send(&endless("the primary", &mark)).await;
    runs(cluster, &mark, true).await;
    // Once prepared, where it is a statement.
    let kill = kill(victim.id);
    let code = match kill.strip_prefix(&[0x03]) {
        Some(sql) if target == Target::Connection => prepared(&mut killer, sql).await,
        _ => error_code(&killer.ask(&kill).await),
    };
    let refused = code.is_some();
    if !refused {
        let end = outcome(&mut victim).await;
        match target {
            Target::Statement => assert_eq!(end, Outcome::Error(1317)),
            Target::Connection => assert!(matches!(end, Outcome::Closed | Outcome::Error(_))),
        }
    } else {
        let mut root = login(address, "root").await;
        let reply = root.query(&format!("KILL QUERY {}", victim.id)).await;
        assert_eq!(error_code(&reply), None);
        assert_eq!(outcome(&mut victim).await, Outcome::Error(1317), "it still ran");
        assert_eq!(value(&victim.query("SELECT 7").await, OLD), "7");
    }
    runs(cluster, &mark, false).await;
    assert_eq!(value(&killer.query("SELECT 8").await, OLD), "8");
    (code, refused)
}

async fn prepared(killer: &mut Raw, sql: &[u8]) -> Option<u16> {
    let reply = killer.ask(&[&[0x16], sql].concat()).await;
    assert_eq!(error_code(&reply), None, "a KILL can be prepared");
    let number = &reply[0].payload[1..5];
    let execute = [&[0x17], number, &[0, 1, 0, 0, 0]].concat();
    error_code(&killer.ask(&execute).await)
}

async fn a_kill_of_others_leaves_the_killer_as_it_was(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut root = login(proxy.address, "root").await;
    for statement in [
        "DROP TABLE IF EXISTS app.killers_rows",
        "CREATE TABLE app.killers_rows (n INT PRIMARY KEY AUTO_INCREMENT)",
        "INSERT INTO app.killers_rows VALUES (40), (NULL)",
        "BEGIN",
        "INSERT INTO app.killers_rows VALUES (1)",
    ] {
        assert_eq!(error_code(&root.query(statement).await), None, "{statement}");
    }
    let mut victim = Raw::app(proxy.address, OLD).await;
    assert_eq!(error_code(&root.ask(&query(&format!("KILL {}", victim.id))).await), None);
    assert_eq!(outcome(&mut victim).await, Outcome::Closed);
    assert_eq!(value(&root.query("SELECT COUNT(*) FROM app.killers_rows").await, OLD), "3");
    assert_eq!(error_code(&root.query("ROLLBACK").await), None);
    assert_eq!(value(&root.query("SELECT COUNT(*) FROM app.killers_rows").await, OLD), "2");
    assert_eq!(value(&root.query("SELECT LAST_INSERT_ID()").await, OLD), "41");
    let reply = root.query(&format!("KILL {}", victim.id)).await;
    assert_eq!(error_code(&reply), Some(1094), "it is gone");
    root.query("DROP TABLE app.killers_rows").await;
}

async fn login(address: SocketAddr, user: &str) -> Raw {
    let login = Raw::login(address, user, if user == "root" { "root" } else { "kill" }, None, OLD);
    login.await.unwrap_or_else(|error| panic!("{user}@{address}: {error}"))
}

fn accounts(flavour: Flavour) -> Vec<String> {
    let mut statements = Vec::new();
    for user in ["plain", "admin", "roled", "victim", "system", "late_system"] {
        statements.push(format!("DROP USER IF EXISTS kill_{user}"));
        statements.push(format!("CREATE USER kill_{user} IDENTIFIED BY 'kill'"));
    }
    let may_kill = match flavour {
        Flavour::MySql => "CONNECTION_ADMIN",
        Flavour::MariaDb => "CONNECTION ADMIN",
    };
    let more: &[&str] = match flavour {
        Flavour::MySql => &[
            "GRANT SYSTEM_USER ON *.* TO kill_system",
            "DROP ROLE IF EXISTS systems",
            "CREATE ROLE systems",
            "GRANT SYSTEM_USER ON *.* TO systems",
            "GRANT systems TO kill_late_system",
        ],
        Flavour::MariaDb => &[],
    };
    statements.extend([
        format!("GRANT {may_kill} ON *.* TO kill_admin"),
        "DROP ROLE IF EXISTS killers".to_owned(),
        "CREATE ROLE killers".to_owned(),
        format!("GRANT {may_kill} ON *.* TO killers"),
        "GRANT killers TO kill_roled".to_owned(),
    ]);
    statements.extend(more.iter().map(|statement| (*statement).to_owned()));
    statements
}
