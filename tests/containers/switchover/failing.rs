//! Every step of a switchover fails once, on real servers: it goes back, or says what is left to do;
//! one server takes writes, or none; and clients write on.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::{accounts, command, switch, writable};
use crate::support::chaos::docker;
use crate::support::partition::Partition;
use crate::support::proxy::readers;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy, eventually};

crate::on_both_flavours!(steps_that_fail_are_undone);
crate::on_both_flavours!(servers_that_die_on_the_way);

/// Packets are told by the statements in them.
const READABLE: &str = "[backend_tls]\nmode = \"disabled\"\n";
/// For servers to be started again.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    cluster: Cluster,
    proxy: Proxy,
    load: Writers,
}

impl Scene {
    async fn set(flavour: Flavour, routing: &str) -> Self {
        let cluster = Cluster::start(flavour, &[]);
        cluster.run_on("primary", writers::TABLE).await;
        for table in ["locked", "last"] {
            let create = format!("CREATE TABLE app.{table} (id INT PRIMARY KEY, v INT)");
            cluster.run_on("primary", &create).await;
            cluster.run_on("primary", &format!("INSERT INTO app.{table} VALUES (1, 0)")).await;
        }
        let accounts = accounts(&cluster).await;
        cluster.settle().await;
        cluster.log_statements().await;
        let proxy = Proxy::start(&cluster, &format!("{accounts}{READABLE}{routing}"));
        let load = Writers::start(&proxy, true);
        load.go_on().await;
        Scene { cluster, proxy, load }
    }

    /// It fails with these words, and all is as before.
    async fn goes_back(&self, words: &str) {
        let error = self.fails().await;
        self.went_back(&error, words).await;
    }

    async fn fails(&self) -> String {
        switch(&self.proxy, &self.cluster, "replica1", "").await.expect_err("it fails")
    }

    async fn went_back(&self, error: &str, words: &str) {
        assert!(error.contains("everything is as before"), "{words}: {error}");
        assert!(error.contains(words), "{words}: {error}");
        self.only_writable("primary").await;
        self.load.go_on().await;
        self.all_serve().await;
    }

    async fn only_writable(&self, server: &str) {
        for other in &self.cluster.servers {
            let expected = other.server == server;
            assert_eq!(writable(&self.cluster, &other.server).await, expected, "{}", other.server);
        }
    }

    async fn all_serve(&self) {
        eventually("replicas take reads, the primary writes", PATIENCE, async || {
            let status = self.proxy.status();
            (readers(&status) == 2 && status["writes"]["to"].is_string()).then_some(())
        })
        .await;
    }

    /// While the administrator's account lacks a privilege on one server alone.
    async fn without(&self, server: &str, privilege: &str, words: &str) {
        self.change_account(server, "REVOKE", privilege).await;
        self.goes_back(words).await;
        self.change_account(server, "GRANT", privilege).await;
    }

    /// Not in the binary log.
    async fn change_account(&self, server: &str, verb: &str, privilege: &str) {
        let preposition = if verb == "GRANT" { "TO" } else { "FROM" };
        let change = format!("{verb} {privilege} ON *.* {preposition} operator@'%'");
        let mut statements = vec!["SET SESSION sql_log_bin = 0".to_owned(), change];
        if self.cluster.flavour == Flavour::MySql && server != "primary" {
            // Which lets nobody change an account.
            statements.insert(0, "SET GLOBAL super_read_only = OFF".to_owned());
            statements.push("SET GLOBAL super_read_only = ON".to_owned());
        }
        self.cluster.run_all(server, &statements).await;
    }

    /// The replica to be promoted cannot apply the last transaction until this ends.
    async fn block_applier(&self) -> Conn {
        let mut conn = self.cluster.root("replica1").await;
        for statement in ["BEGIN", "SELECT v FROM app.last WHERE id = 1 LOCK IN SHARE MODE"] {
            conn.query_drop(statement).await.expect("a lock");
        }
        conn
    }

    /// A switchover that fails, with a transaction that is committed while it holds writes. Behind
    /// its commit `then` is done.
    async fn fails_behind_a_commit(&self, then: impl AsyncFnOnce()) -> String {
        let mut conn = self.proxy.app().await;
        conn.query_drop("BEGIN").await.expect("a transaction");
        conn.query_drop("UPDATE last SET v = v + 1 WHERE id = 1").await.expect("a write");
        let commit = async {
            self.until_held().await;
            conn.query_drop("COMMIT").await.expect("what was begun may end");
            then().await;
        };
        let (error, ()) = tokio::join!(self.fails(), commit);
        error
    }

    async fn until_held(&self) {
        eventually("writes are held", PATIENCE, async || {
            let status = self.proxy.status();
            status["writes"]["stopped"].to_string().contains("switchover").then_some(())
        })
        .await;
    }

    /// The same, of one that fails by a lock.
    async fn went_back_without(&self, error: &str, words: &str, mut lock: Conn) {
        lock.query_drop("ROLLBACK").await.expect("no lock");
        self.went_back(error, words).await;
    }

    async fn start_again(&mut self, server: &str) {
        docker(&["start", &self.cluster.server(server).container.clone()]).await;
        self.cluster.refresh();
        self.cluster.await_server(server).await;
        self.cluster.log_statements().await;
    }

    async fn end(self, servers: &[&str]) {
        let outcome = self.load.end().await;
        outcome.assert_no_errors();
        for server in servers {
            outcome.assert_on(&self.cluster, server).await;
        }
    }
}

async fn steps_that_fail_are_undone(flavour: Flavour) {
    let scene = Scene::set(flavour, "[routing]\nslow_start = \"0s\"\n").await;
    // The privileges for read-only, for replication and for RESET.
    let [switches, replication, reset] = match flavour {
        Flavour::MySql => ["SYSTEM_VARIABLES_ADMIN", "REPLICATION_SLAVE_ADMIN", "RELOAD"],
        Flavour::MariaDb => ["READ_ONLY ADMIN", "REPLICATION SLAVE ADMIN", "RELOAD"],
    };
    scene.without("primary", switches, "denied").await;

    // Somebody else's lock, past the proxy: the server would wait for it.
    let mut lock = scene.cluster.root("primary").await;
    lock.query_drop("LOCK TABLES app.locked WRITE").await.expect("a lock");
    scene.goes_back("primary: ").await;
    lock.query_drop("UNLOCK TABLES").await.expect("no lock");

    let lock = scene.block_applier().await;
    let error = scene.fails_behind_a_commit(async || {}).await;
    scene.went_back_without(&error, "has not applied it", lock).await;

    for privilege in [replication, switches, reset] {
        scene.without("replica1", privilege, "denied").await;
    }

    // Whoever does not follow holds nobody up: the applier waits for a lock, and STOP REPLICA for it.
    let mut lock = scene.cluster.root("replica2").await;
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("a lock");
    scene.load.go_on().await;
    let target = scene.cluster.server("replica1").container.clone();
    let (code, told) = command(&scene.proxy, &[&target]).await;
    let other = scene.cluster.server("replica2").container.clone();
    let lines: Vec<&str> = told.lines().collect();
    let is_it = |step: &[&str]| {
        step[0].starts_with(&other)
            && step[0].ends_with(stop_replication(flavour))
            && step[1].contains("no answer")
    };
    assert!(code == 2 && lines.windows(2).any(is_it), "{code}: {told}");
    scene.only_writable("replica1").await;
    scene.load.go_on().await;
    lock.query_drop("UNLOCK TABLES").await.expect("no lock");
    let strays = scene.cluster.count_logged("replica2", "INSERT INTO app.written").await;
    assert_eq!(strays, 0, "it was never the primary");
    scene.end(&["replica1"]).await;
}

fn stop_replication(flavour: Flavour) -> &'static str {
    if flavour == Flavour::MySql { "STOP REPLICA" } else { "STOP SLAVE" }
}

/// The first words of the statement that closes a server, or opens it, and of the one behind which
/// there is no way back.
fn turning_points(flavour: Flavour) -> (&'static str, &'static str) {
    match flavour {
        Flavour::MySql => ("SET PERSIST super_read_only", "RESET REPLICA ALL"),
        Flavour::MariaDb => ("SET GLOBAL read_only", "RESET SLAVE ALL"),
    }
}

async fn servers_that_die_on_the_way(flavour: Flavour) {
    let routing = "[routing]\nslow_start = \"0s\"\nwrite_hold = \"90s\"\n";
    let mut scene = Scene::set(flavour, routing).await;
    let (turn, reset) = turning_points(flavour);
    let stop = stop_replication(flavour);
    let (primary, next) = (
        scene.cluster.primary().container.clone(),
        scene.cluster.server("replica1").container.clone(),
    );

    // The next one, when it is about to be opened.
    let partition = Partition::of_statements(&next, turn);
    let kill = async {
        partition.has_stopped_one().await;
        partition.end_with_its_container(&["kill", "--signal", "KILL"]).await;
    };
    let (error, ()) = tokio::join!(scene.fails(), kill);
    assert!(error.contains("this needs you") && error.contains(&next), "{error}");
    assert!(error.contains(&format!("writes go on at {primary}")), "{error}");
    assert!(writable(&scene.cluster, "primary").await);
    scene.load.go_on().await;
    scene.start_again("replica1").await;
    scene.all_serve().await;
    assert!(writable(&scene.cluster, "primary").await);

    // The primary, when it is about to be closed.
    let partition = Partition::of_statements(&primary, turn);
    let kill = async {
        partition.has_stopped_one().await;
        partition.end_with_its_container(&["kill", "--signal", "KILL"]).await;
    };
    let (error, ()) = tokio::join!(scene.fails(), kill);
    assert!(error.contains("this needs you") && error.contains(&primary), "{error}");
    for replica in ["replica1", "replica2"] {
        assert!(!writable(&scene.cluster, replica).await, "{replica} takes writes");
    }
    scene.start_again("primary").await;
    scene.load.go_on().await;
    // Replicas reconnect by and by, and serve meanwhile; one that has not is not made the primary.
    scene.cluster.settle().await;
    scene.all_serve().await;
    scene.only_writable("primary").await;

    // Whether the next one is the primary nobody knows: nobody is written until somebody says so.
    let partition = Partition::of_statements(&next, reset);
    let error = scene.fails().await;
    assert!(error.contains("this needs you") && error.contains("is not known"), "{error}");
    assert!(!writable(&scene.cluster, "primary").await);
    partition.heal();
    sleep(Duration::from_secs(1)).await;
    for server in ["primary", "replica1"] {
        let before = scene.cluster.count_logged(server, "INSERT INTO app.written").await;
        sleep(Duration::from_secs(1)).await;
        let after = scene.cluster.count_logged(server, "INSERT INTO app.written").await;
        assert_eq!(before, after, "{server} is written");
    }
    for statement in [stop, reset] {
        scene.cluster.run_on("replica1", statement).await;
    }
    scene.load.go_on().await;
    let outcome = scene.load.end().await;
    outcome.assert_unknown_at_most();
    outcome.assert_on(&scene.cluster, "replica1").await;
}
