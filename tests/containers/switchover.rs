//! A replica becomes the primary on purpose, under load: writes wait, and none is lost, done twice
//! or refused.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::cluster::connect;
use crate::support::{Cluster, Flavour, Proxy, eventually};

crate::on_both_flavours!(under_load);
crate::on_both_flavours!(what_is_in_the_way);
crate::on_both_flavours!(a_primary_that_is_read_only_for_a_while);

const CLIENTS: u64 = 32;

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
    cluster.run_on("primary", "CREATE TABLE app.switched (id BIGINT PRIMARY KEY, n INT)").await;
    let accounts = accounts(&cluster).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, &accounts);
    let load = Load::start(&proxy);
    sleep(Duration::from_secs(1)).await;

    // There and back again.
    for (target, others) in
        [("replica1", ["primary", "replica2"]), ("primary", ["replica1", "replica2"])]
    {
        let steps = switch(&proxy, &cluster, target, "").await.expect("it succeeds");
        eprintln!("{flavour:?} to {target}: {}", steps.last().expect("a pause"));
        let failed: Vec<_> = steps.iter().filter(|step| step.contains("failed")).collect();
        assert!(failed.is_empty(), "{steps:#?}");
        let before = load.done.load(Ordering::Relaxed);
        eventually("writes go on", Duration::from_secs(10), async || {
            (load.done.load(Ordering::Relaxed) > before + 200).then_some(())
        })
        .await;
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

    let Outcome { acknowledged, errors } = load.end().await;
    assert!(errors.is_empty(), "{} errors, such as {:?}", errors.len(), errors.first());
    cluster.settle().await;
    for server in &cluster.servers {
        let mut conn = cluster.root(&server.server).await;
        let rows: Vec<(u64, u32)> =
            conn.query("SELECT id, n FROM app.switched").await.expect("the table");
        assert!(rows.iter().all(|(_, n)| *n == 1), "a write was done twice");
        let there: HashSet<u64> = rows.into_iter().map(|(id, _)| id).collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "{}: {} writes are lost", server.server, lost.len());
        assert_eq!(
            there.len(),
            acknowledged.len(),
            "{}: more than was acknowledged",
            server.server
        );
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
    let refused = switch(&proxy, &cluster, "primary", "").await.expect_err("no change");
    assert!(refused.contains("is the primary already"), "{refused}");
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
    let steps = switch(&proxy, &cluster, "replica1", "FORCE").await.expect("by force");
    assert!(!steps.iter().any(|step| step.contains("failed")), "{steps:#?}");
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
    cluster.run_on("primary", "CREATE TABLE app.switched (id BIGINT PRIMARY KEY, n INT)").await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let load = Load::start_without_transactions(&proxy);
    sleep(Duration::from_millis(500)).await;
    for _ in 0..3 {
        cluster.run_on("primary", "SET GLOBAL read_only = ON").await;
        sleep(Duration::from_millis(700)).await;
        cluster.run_on("primary", "SET GLOBAL read_only = OFF").await;
        let before = load.done.load(Ordering::Relaxed);
        eventually("writes go on", Duration::from_secs(10), async || {
            (load.done.load(Ordering::Relaxed) > before + 200).then_some(())
        })
        .await;
    }
    let Outcome { acknowledged, errors } = load.end().await;
    assert!(errors.is_empty(), "{} errors, such as {:?}", errors.len(), errors.first());
    let rows: Vec<(u64, u32)> =
        cluster.root("primary").await.query("SELECT id, n FROM app.switched").await.unwrap();
    assert_eq!(rows.len(), acknowledged.len());
    assert!(rows.iter().all(|(_, n)| *n == 1), "a write was done twice");
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

/// Clients that write, alone and in transactions, and read.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: JoinSet<Outcome>,
}

/// What the clients have seen.
#[derive(Default)]
struct Outcome {
    acknowledged: HashSet<u64>,
    errors: Vec<String>,
}

impl Load {
    fn start(proxy: &Proxy) -> Load {
        Self::of(proxy, true)
    }

    fn start_without_transactions(proxy: &Proxy) -> Load {
        Self::of(proxy, false)
    }

    fn of(proxy: &Proxy, transactions: bool) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (stop, done) = (stop.clone(), done.clone());
            let options = proxy.app_options();
            clients.spawn(async move {
                let mut outcome = Outcome::default();
                let mut conn = Conn::new(options).await.expect("a client");
                let mut next = client;
                while !stop.load(Ordering::Relaxed) {
                    let ids = [next, next + CLIENTS];
                    next += 2 * CLIENTS;
                    match turn(&mut conn, ids, transactions).await {
                        Ok(()) => outcome.acknowledged.extend(ids),
                        Err(error) => outcome.errors.push(error.to_string()),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                outcome
            });
        }
        Load { stop, done, clients }
    }

    async fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        while let Some(client) = self.clients.join_next().await {
            let client = client.expect("a client does not panic");
            all.acknowledged.extend(client.acknowledged);
            all.errors.extend(client.errors);
        }
        all
    }
}

/// Two writes and two reads; `n` tells how often a row was written.
async fn turn(conn: &mut Conn, ids: [u64; 2], transactions: bool) -> Result<(), Error> {
    const WRITE: &str = "INSERT INTO app.switched VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1";
    let in_transaction = transactions && (ids[0] / CLIENTS).is_multiple_of(4);
    if in_transaction {
        conn.query_drop("BEGIN").await?;
    }
    for id in ids {
        if id % 3 == 0 {
            conn.exec_drop(WRITE, (id,)).await?;
        } else {
            conn.query_drop(WRITE.replace('?', &id.to_string())).await?;
        }
    }
    if in_transaction {
        conn.query_drop("COMMIT").await?;
    }
    for id in ids {
        let n: Option<u32> =
            conn.query_first(format!("SELECT n FROM app.switched WHERE id = {id}")).await?;
        assert_eq!(n, Some(1), "a session sees its own writes");
    }
    Ok(())
}
