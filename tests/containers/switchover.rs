//! A replica becomes the primary on purpose, under load: writes wait, and none is lost, done twice
//! or refused.

mod failing;
mod interrupted;

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use tokio::time::sleep;

use crate::support::cluster::connect;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(under_load);
crate::on_both_flavours!(what_is_in_the_way);
crate::on_both_flavours!(a_primary_that_is_read_only_for_a_while);

const ADMINISTRATOR: &str = "[administrator]\nuser = \"operator\"\npassword = \"operator\"\n";

/// What the proxy is told, and the account that README lists the privileges of.
async fn accounts(cluster: &Cluster) -> String {
    let grants: &[&str] = match cluster.flavour {
        Flavour::MySql => &[
            "GRANT SYSTEM_VARIABLES_ADMIN, REPLICATION_SLAVE_ADMIN, REPLICATION CLIENT, RELOAD, \
             CONNECTION_ADMIN ON *.* TO operator@'%'",
            "GRANT INSERT ON mysql.plugin TO operator@'%'",
            "GRANT SELECT ON mysql.slave_master_info TO operator@'%'",
        ],
        Flavour::MariaDb => {
            &["GRANT READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, \
             REPLICA MONITOR, BINLOG MONITOR, RELOAD, CONNECTION ADMIN ON *.* TO operator@'%'"]
        }
    };
    let create = "CREATE USER operator@'%' IDENTIFIED BY 'operator'";
    for statement in [&[create], grants].concat() {
        cluster.run_on("primary", statement).await;
    }
    match cluster.flavour {
        // It reads the account of its replicas from the server.
        Flavour::MySql => ADMINISTRATOR.to_owned(),
        Flavour::MariaDb => format!(
            "{ADMINISTRATOR}[replication]\nuser = \"replication\"\npassword = \"replication\"\n"
        ),
    }
}

async fn under_load(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    let accounts = accounts(&cluster).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, &accounts);
    let load = Writers::start(&proxy, true);
    load.go_on().await;

    // There and back again.
    for (target, others) in
        [("replica1", ["primary", "replica2"]), ("primary", ["replica1", "replica2"])]
    {
        let steps = switch(&proxy, &cluster, target, "").await.expect("it succeeds");
        eprintln!("{flavour:?} to {target}: {}", steps.last().expect("a pause"));
        let failed: Vec<_> = steps.iter().filter(|step| step.contains("failed")).collect();
        assert!(failed.is_empty(), "{steps:#?}");
        load.go_on().await;
        assert!(writable(&cluster, target).await);
        for other in others {
            assert!(!writable(&cluster, other).await, "{other} takes writes");
        }
        let container = cluster.server(target).container.clone();
        proxy.wait_until("the others serve as its replicas", |status| {
            let backends = status["backends"].as_array().expect("a list");
            backends.iter().all(|backend| match backend["name"] == container.as_str() {
                true => backend["role"] == "primary",
                false => backend["role"] == "replica" && backend["takes_reads"] == 1,
            })
        });
    }

    let outcome = load.end().await;
    outcome.assert_no_errors();
    cluster.settle().await;
    for server in &cluster.servers {
        outcome.assert_on(&cluster, &server.server).await;
    }
}

async fn what_is_in_the_way(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", "CREATE TABLE app.open (id INT PRIMARY KEY)").await;
    let accounts = accounts(&cluster).await;
    cluster.settle().await;
    let without = Proxy::start(&cluster, "");
    let refused = switch(&without, &cluster, "replica1", "").await.expect_err("no account");
    assert!(refused.contains("[administrator]"), "{refused}");
    drop(without);

    let proxy = Proxy::start(&cluster, &format!("{accounts}[routing]\nwrite_hold = \"3s\"\n"));
    let primary = &cluster.primary().container;
    let (code, told) = command(&proxy, &[primary]).await;
    assert!(code == 1 && told.contains("is the primary already"), "{code}: {told}");
    let mut console = console(&proxy).await;
    let unknown = console.query_drop("SWITCHOVER TO nobody").await.expect_err("no such server");
    assert!(unknown.to_string().contains("no server is called nobody"), "{unknown}");

    // A transaction that does not end: everything is as it was, and it goes on.
    let mut open = proxy.app().await;
    open.query_drop("BEGIN").await.unwrap();
    open.query_drop("INSERT INTO app.open VALUES (1)").await.unwrap();
    let undone = switch(&proxy, &cluster, "replica1", "").await.expect_err("it is in the way");
    assert!(undone.contains("everything is as before"), "{undone}");
    assert!(undone.contains("in a transaction"), "{undone}");
    open.query_drop("INSERT INTO app.open VALUES (2)").await.unwrap();
    open.query_drop("COMMIT").await.unwrap();
    let mut other = proxy.app().await;
    other.query_drop("INSERT INTO app.open VALUES (3)").await.expect("writes go on");
    assert!(writable(&cluster, "primary").await && !writable(&cluster, "replica1").await);

    // With force it is rolled back, and its connection lives.
    open.query_drop("BEGIN").await.unwrap();
    open.query_drop("INSERT INTO app.open VALUES (4)").await.unwrap();
    let replica = &cluster.server("replica1").container;
    let (code, told) = command(&proxy, &[replica, "--force"]).await;
    assert!(code == 0 && told.contains("writes have waited"), "{code}: {told}");
    assert!(semi_sync(&cluster, "replica1").await && !semi_sync(&cluster, "primary").await);
    open.query_drop("COMMIT").await.expect_err("it was rolled back");
    open.query_drop("INSERT INTO app.open VALUES (5)").await.expect("the session goes on");
    let ids: Vec<i32> = cluster
        .root("replica1")
        .await
        .query("SELECT id FROM app.open ORDER BY id")
        .await
        .expect("the table");
    assert_eq!(ids, [1, 2, 3, 5]);
}

/// By an operator's hand, and back: what is refused is held, and done when it can be.
async fn a_primary_that_is_read_only_for_a_while(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let load = Writers::start(&proxy, false);
    load.go_on().await;
    for _ in 0..3 {
        cluster.run_on("primary", "SET GLOBAL read_only = ON").await;
        sleep(Duration::from_millis(700)).await;
        cluster.run_on("primary", "SET GLOBAL read_only = OFF").await;
        load.go_on().await;
    }
    let outcome = load.end().await;
    outcome.assert_no_errors();
    outcome.assert_on(&cluster, "primary").await;
}

/// `rwproxy switchover` with these arguments: its exit code, and what it prints.
async fn command(proxy: &Proxy, arguments: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("proxy.toml");
    std::fs::write(&config, format!("[admin]\naddress = \"{}\"\n", proxy.admin)).expect("a file");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_rwproxy"))
        .args([&["switchover"], arguments].concat())
        .arg("--config")
        .arg(&config)
        .output()
        .await
        .expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a code"), String::from_utf8_lossy(&told).into_owned())
}

/// Whether commits on a server wait for replicas.
async fn semi_sync(cluster: &Cluster, server: &str) -> bool {
    let side = if cluster.flavour == Flavour::MySql { "source" } else { "master" };
    let on: Option<bool> = cluster
        .root(server)
        .await
        .query_first(format!("SELECT @@GLOBAL.rpl_semi_sync_{side}_enabled"))
        .await
        .expect("a variable");
    on == Some(true)
}

async fn console(proxy: &Proxy) -> Conn {
    let (host, port) = (proxy.admin.ip().to_string(), proxy.admin.port());
    connect(&host, port, "admin", "", None).await
}

/// The steps in words, or why there was no switchover.
async fn switch(
    proxy: &Proxy,
    cluster: &Cluster,
    target: &str,
    force: &str,
) -> Result<Vec<String>, String> {
    let container = &cluster.server(target).container;
    let statement = format!("SWITCHOVER TO {container} {force}");
    let rows: Result<Vec<Row>, Error> = console(proxy).await.query(statement).await;
    let rows = rows.map_err(|error| error.to_string())?;
    let step = |mut row: Row| {
        let server: Option<String> = row.take("server").expect("a column");
        let step: String = row.take("step").expect("a column");
        let milliseconds: u64 = row.take("milliseconds").expect("a column");
        let problem: Option<String> = row.take("problem").expect("a column");
        let problem = problem.map(|it| format!(" failed: {it}")).unwrap_or_default();
        format!("{}: {step}: {milliseconds} ms{problem}", server.unwrap_or_default())
    };
    Ok(rows.into_iter().map(step).collect())
}

async fn writable(cluster: &Cluster, server: &str) -> bool {
    let read_only: Option<bool> =
        cluster.root(server).await.query_first("SELECT @@GLOBAL.read_only").await.expect("it");
    read_only == Some(false)
}
