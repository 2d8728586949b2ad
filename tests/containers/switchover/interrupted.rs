//! A proxy dies in the middle of a switchover, and all servers are read-only: another one goes on
//! with it, or back.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{accounts, switch, writable};
use crate::support::{Cluster, Flavour, Proxy, eventually};

crate::on_both_flavours!(a_proxy_that_dies_on_the_way);

const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    cluster: Cluster,
    settings: String,
}

impl Scene {
    async fn set(flavour: Flavour) -> Self {
        let cluster = Cluster::start(flavour, &[]);
        cluster.run_on("primary", "CREATE TABLE app.last (id INT PRIMARY KEY, v INT)").await;
        cluster.run_on("primary", "INSERT INTO app.last VALUES (1, 0)").await;
        let accounts = accounts(&cluster).await;
        cluster.settle().await;
        let settings = Proxy::settings(&cluster, &accounts);
        Scene { cluster, settings }
    }

    fn proxy(&self) -> Proxy {
        Proxy::start_with(&self.settings)
    }

    /// A switchover to `replica1` that ends with its proxy, when the primary has become read-only and
    /// the next one has a transaction still to apply.
    async fn dies(&self) {
        let proxy = self.proxy().ready();
        proxy.wait_until("replica1 takes reads", |status| {
            let backends = status["backends"].as_array().expect("a list");
            let container = self.cluster.server("replica1").container.as_str();
            backends.iter().any(|it| it["name"] == container && it["takes_reads"] == 1)
        });
        let mut lock = self.cluster.root("replica1").await;
        for statement in ["BEGIN", "SELECT v FROM app.last WHERE id = 1 LOCK IN SHARE MODE"] {
            lock.query_drop(statement).await.expect("a lock");
        }
        let mut conn = proxy.app().await;
        write(&mut conn, "BEGIN").await;
        write(&mut conn, "UPDATE last SET v = v + 1 WHERE id = 1").await;
        let switched = switch(&proxy, &self.cluster, "replica1", "");
        let ends = async {
            eventually("writes are held", PATIENCE, async || {
                let status = proxy.status();
                status["writes"]["stopped"].to_string().contains("switchover").then_some(())
            })
            .await;
            write(&mut conn, "COMMIT").await;
            eventually("the primary is closed", PATIENCE, async || {
                (!writable(&self.cluster, "primary").await).then_some(())
            })
            .await;
        };
        tokio::select! {
            told = switched => panic!("it has not waited: {told:?}"),
            () = ends => {}
        }
        drop(proxy);
        lock.query_drop("ROLLBACK").await.expect("no lock");
        for server in &self.cluster.servers {
            assert!(!writable(&self.cluster, &server.server).await, "{}", server.server);
        }
    }

    /// Writes run on this server alone, and reach the others.
    async fn goes_on(&self, proxy: &Proxy, server: &str) {
        let mut conn = proxy.app().await;
        write(&mut conn, "UPDATE last SET v = v + 1 WHERE id = 1").await;
        let expected: Option<i64> =
            conn.query_first("SELECT v FROM last WHERE id = 1").await.expect("a read");
        for other in &self.cluster.servers {
            let name = &other.server;
            assert_eq!(writable(&self.cluster, name).await, name == server, "{name}");
            let mut root = self.cluster.root(name).await;
            eventually(&format!("{name} has it"), PATIENCE, async || {
                let v: Option<i64> =
                    root.query_first("SELECT v FROM app.last WHERE id = 1").await.expect("a row");
                (v == expected).then_some(())
            })
            .await;
        }
    }

    async fn told(&self, proxy: &Proxy, server: &str) -> Result<Vec<String>, String> {
        // Until it has asked everybody it refuses.
        eventually("everybody has been asked", PATIENCE, async || {
            match switch(proxy, &self.cluster, server, "").await {
                Err(error)
                    if error.contains("answered yet")
                        || error.contains("asked yet")
                        || error.contains("no server is called") =>
                {
                    None
                }
                told => Some(told),
            }
        })
        .await
    }
}

async fn write(conn: &mut Conn, statement: &str) {
    conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn a_proxy_that_dies_on_the_way(flavour: Flavour) {
    let scene = Scene::set(flavour).await;

    // Back, by the name of the former primary.
    scene.dies().await;
    let proxy = scene.proxy();
    scene.told(&proxy, "primary").await.expect("it takes writes again");
    scene.goes_on(&proxy, "primary").await;
    drop(proxy);

    // Further on than that: the next one is open, and still set up as a replica.
    let (stop, open, close) = match flavour {
        Flavour::MySql => (
            "STOP REPLICA",
            "SET PERSIST super_read_only = OFF, PERSIST read_only = OFF",
            "SET PERSIST super_read_only = ON",
        ),
        Flavour::MariaDb => {
            ("STOP SLAVE", "SET GLOBAL read_only = OFF", "SET GLOBAL read_only = ON")
        }
    };
    scene.cluster.run_on("primary", close).await;
    scene.cluster.run_on("replica1", stop).await;
    scene.cluster.run_on("replica1", open).await;
    let proxy = scene.proxy();
    scene.told(&proxy, "primary").await.expect("it takes writes again");
    scene.goes_on(&proxy, "primary").await;
    drop(proxy);

    // Nobody takes writes again who lacks what another has, or while another may have more.
    scene.cluster.run_on("primary", close).await;
    scene.cluster.run_on("replica1", stop).await;
    scene.cluster.run_on("replica1", open).await;
    scene.cluster.run_on("replica1", "INSERT INTO app.last VALUES (2, 0)").await;
    let proxy = scene.proxy();
    let error = scene.told(&proxy, "primary").await.expect_err("it lacks a transaction");
    assert!(error.contains("lacks") && error.contains("replica1"), "{error}");
    assert!(!writable(&scene.cluster, "primary").await);
    drop(proxy);
}

async fn goes_on_with(flavour: Flavour) {
    let scene = Scene::set(flavour).await;
    scene.dies().await;
    let proxy = scene.proxy();
    let steps = eventually("the replica replicates", PATIENCE, async || {
        scene.told(&proxy, "replica1").await.ok()
    })
    .await;
    assert!(steps.iter().all(|step| !step.contains("failed")), "{steps:?}");
    scene.goes_on(&proxy, "replica1").await;
}
crate::on_both_flavours!(goes_on_with);
