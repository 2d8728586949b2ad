//! Setup killed at any step, and run again, ends as one that was left alone.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::fleet::{Fleet, is_data};
use super::state::assert_same;
use crate::support::Flavour;

crate::on_both_flavours!(killed_at_three_steps);
crate::on_both_flavours!(
    #[ignore = "minutes: make soak"]
    killed_at_every_step
);

/// One after the other, in one setup.
async fn killed_at_three_steps(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "killed3");
    renew(&mut fleet).await;
    let alone = fleet.setup(&["--yes"]).await;
    assert_eq!(alone.code, 0, "{alone:?}");
    let expected = fleet.states().await;

    renew(&mut fleet).await;
    let parts: [fn(&str) -> bool; 3] =
        [|step| step.contains("CREATE USER"), is_data, |step| step.contains("CHANGE ")];
    for part in parts {
        let took = alone.steps().iter().find(|(step, _)| part(step)).expect("such a step").1;
        // The server may not have come back yet from what the last one has begun.
        let killed = fleet.killed_setup_until(|_, step| part(step), took / 2).await;
        eprintln!("{flavour:?}: killed {:?} after: {killed}", took / 2);
    }
    fleet.ends_well().await;
    assert_same(&expected, &fleet.states().await, "killed at three steps");
}

/// At each step by itself: as it begins, and in its middle.
async fn killed_at_every_step(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "killed");
    renew(&mut fleet).await;
    let alone = fleet.setup(&["--yes"]).await;
    assert_eq!(alone.code, 0, "{alone:?}");
    let expected = fleet.states().await;
    for (fact, value) in [
        ("channel 0 IO_Running", "Yes"),
        ("channel 0 SQL_Running", "Yes"),
        ("it is where the primary is", "true"),
        ("replication is let in", "true"),
        ("rwproxy is let in", "true"),
    ] {
        assert_eq!(expected["replica1"][fact], value, "{fact}");
    }
    assert_eq!(
        expected["replica1"]["checksum app.orders"],
        expected["primary"]["checksum app.orders"]
    );
    let steps = alone.steps();
    assert!(steps.len() >= 6, "{steps:?}");
    for (number, (step, took)) in (1..).zip(&steps) {
        for after in [Duration::ZERO, *took / 2] {
            renew(&mut fleet).await;
            let killed = fleet.killed_setup(|is, _| is == number, after).await;
            let killed = killed.expect("the steps are those of the undisturbed run");
            let when = format!("{flavour:?}: killed {after:?} after: {killed}");
            eprintln!("{when}");
            assert!(killed.ends_with(step), "{step}");
            fleet.ends_well().await;
            assert_same(&expected, &fleet.states().await, &when);
        }
    }
}

/// Bare servers, but for a primary with something of each kind.
async fn renew(fleet: &mut Fleet) {
    fleet.renew(&["replica1"]).await;
    let mut root = fleet.root("primary").await;
    for statement in [
        "CREATE DATABASE app",
        "CREATE TABLE app.orders (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(300))",
        "INSERT INTO app.orders (t) VALUES (REPEAT('x', 200))",
    ] {
        root.query_drop(statement).await.expect("data");
    }
    for round in 0..12 {
        let double = format!(
            "INSERT INTO app.orders (t) SELECT CONCAT({round}, LEFT(t, 200)) FROM app.orders"
        );
        root.query_drop(double).await.expect("data");
    }
    for statement in [
        "CREATE TABLE app.log (id INT PRIMARY KEY)",
        "CREATE VIEW app.few AS SELECT id FROM app.orders WHERE id < 10",
        "CREATE PROCEDURE app.note(IN n INT) INSERT INTO app.log VALUES (n)",
        "CREATE TRIGGER app.noted BEFORE INSERT ON app.log FOR EACH ROW SET NEW.id = NEW.id + 1",
        "CREATE USER app@'%' IDENTIFIED BY 'app'",
        "GRANT SELECT, INSERT ON app.* TO app@'%'",
    ] {
        root.query_drop(statement).await.expect("objects");
    }
}

impl Fleet {
    /// Run again, until it is done; and then there is nothing left to do.
    pub async fn ends_well(&self) {
        let done = self.setup_until_it_can_begin(&["--yes"]).await;
        assert!(done.code == 0 && done.text.contains("Done: all of this is so."), "{done:?}");
        let again = self.setup(&["--yes"]).await;
        assert!(again.code == 0 && again.text.contains("There is nothing to change."), "{again:?}");
    }

    /// Kills the command at a step that it is bound to come to, if not at once: a server may be on its
    /// way back.
    async fn killed_setup_until(
        &self,
        is: impl Fn(usize, &str) -> bool,
        after: Duration,
    ) -> String {
        let what = "setup comes to the step at which it is killed";
        crate::support::eventually(what, Duration::from_secs(120), async || {
            self.killed_setup(&is, after).await
        })
        .await
    }
}
