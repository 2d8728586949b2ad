//! A former primary is brought back: as it is where it has nothing of its own, else only if that may be lost.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::fleet::{Fleet, VOLUME};
use super::state::{self, assert_same};
use crate::support::cluster;
use crate::support::docker::docker;
use crate::support::{Flavour, eventually};

crate::on_both_flavours!(a_former_primary);

const NAMES: [&str; 3] = ["primary", "replica1", "replica2"];

async fn a_former_primary(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "former");
    for (server, number) in NAMES.into_iter().zip(1..) {
        let mut options = fleet.needed(number);
        if flavour == Flavour::MariaDb && number == 1 {
            // It is to be a replica one day, which only an option keeps closed.
            options.push("--read-only=ON");
        }
        let role = if number == 1 { "primary" } else { "replica" };
        fleet.launch(server, role, VOLUME, &options);
    }
    for server in NAMES {
        fleet.await_server(server).await;
    }
    let done = fleet.setup(&["--yes"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    fleet
        .tell("primary", &["CREATE DATABASE app", "CREATE TABLE app.kept (id INT PRIMARY KEY)"])
        .await;
    fleet.tell("primary", &["INSERT INTO app.kept VALUES (1)"]).await;
    fleet.alike(&NAMES, "app.kept").await;

    // Nothing is lost: it goes on from what it has.
    docker(&["stop", &fleet.container("primary")]);
    fleet.promote("replica1", "replica2").await;
    fleet.tell("replica1", &["INSERT INTO app.kept VALUES (2)"]).await;
    fleet.back("primary").await;
    let taken = fleet.setup_until_it_can_begin(&["--yes"]).await;
    assert_eq!(taken.code, 0, "{taken:?}");
    let copied = taken.steps().iter().any(|(step, _)| super::fleet::is_data(step));
    assert!(!copied && taken.text.contains("has an earlier state of the primary"), "{taken:?}");
    assert!(taken.text.contains("the others replicate from"), "{taken:?}");
    fleet.alike(&["replica1", "primary", "replica2"], "app.kept").await;

    // The last write of the next one has come to nobody.
    for replica in ["primary", "replica2"] {
        fleet.tell(replica, &[stop(flavour)]).await;
    }
    fleet.tell("replica1", &["INSERT INTO app.kept VALUES (3)"]).await;
    docker(&["stop", &fleet.container("replica1")]);
    fleet.promote("primary", "replica2").await;
    fleet.tell("primary", &["INSERT INTO app.kept VALUES (4)"]).await;
    fleet.back("replica1").await;
    let before = fleet.states().await;
    let name = fleet.container("replica1");
    let refused = fleet.setup(&["--yes"]).await;
    assert!(refused.failed_with("transactions that the primary does not have: "), "{refused:?}");
    assert!(refused.text.contains(&format!("--overwrite {name}")), "{refused:?}");
    assert_same(&before, &fleet.states().await, "it was refused");
    let errant: Option<u32> = fleet
        .root("replica1")
        .await
        .query_first("SELECT id FROM app.kept WHERE id = 3")
        .await
        .expect("a row");
    assert_eq!(errant, Some(3), "nothing is lost unasked");

    let done = fleet.setup_until_it_can_begin(&["--yes", "--overwrite", &name]).await;
    assert!(done.code == 0 && done.text.contains("LOSES what it has"), "{done:?}");
    fleet.alike(&NAMES, "app.kept").await;
}

fn stop(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "STOP REPLICA",
        Flavour::MariaDb => "STOP SLAVE",
    }
}

impl Fleet {
    async fn tell(&self, server: &str, statements: &[&str]) {
        cluster::tell(self.root(server).await, server, statements).await;
    }

    /// What an operator does by hand whose primary is down.
    async fn promote(&self, new: &str, other: &str) {
        let flavour = self.flavour();
        let (reset, change, start) = match flavour {
            Flavour::MySql => (
                "RESET REPLICA ALL",
                format!("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{new}'"),
                "START REPLICA",
            ),
            Flavour::MariaDb => (
                "RESET SLAVE ALL",
                format!("CHANGE MASTER TO MASTER_HOST = '{new}', MASTER_USE_GTID = slave_pos"),
                "START SLAVE",
            ),
        };
        self.tell(new, &[stop(flavour), reset, "SET GLOBAL read_only = OFF"]).await;
        self.tell(other, &[stop(flavour), &change, start]).await;
        let what = format!("{other} replicates from {new}");
        eventually(&what, Duration::from_secs(30), async || {
            let channel = state::read(&mut self.root(other).await, flavour).await;
            let is = |fact: &str| channel.get(&format!("channel 0 {fact}")).cloned();
            (is("Host")? == new && is("IO_Running")? == "Yes").then_some(())
        })
        .await;
    }

    async fn back(&self, server: &str) {
        docker(&["start", &self.container(server)]);
        self.await_server(server).await;
    }
}
