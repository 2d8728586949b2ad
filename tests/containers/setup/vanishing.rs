//! A server that is gone in the middle of a copy, the replica or the primary, killed or silent: setup ends
//! soon, and says what is done and what is not; run again it goes on.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::fleet::{Fleet, VOLUME};
use crate::support::Flavour;
use crate::support::docker::docker;

crate::on_both_flavours!(
    #[ignore = "minutes: make soak"]
    who_is_gone_in_mid_copy
);

/// For setup to end, with `--wait 1s`.
const SOON: Duration = Duration::from_secs(60);

async fn who_is_gone_in_mid_copy(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "gone");
    fleet.renew(&["replica1"]).await;
    super::fill(&fleet).await;
    for server in ["replica1", "primary"] {
        for (verb, undone) in [("kill", "start"), ("pause", "unpause")] {
            fleet.launch("replica1", "replica", VOLUME, &fleet.needed(2));
            fleet.await_server("replica1").await;
            if flavour == Flavour::MySql {
                fleet.clones_slowly("replica1").await;
            }
            let container = fleet.container(server);
            let running = fleet.setup_while(&["--yes", "--wait", "1s"], || {
                docker(&[verb, &container]);
            });
            let began = Instant::now();
            let lost = timeout(SOON, running).await.expect("setup ends in time");
            let took = began.elapsed();
            let when = format!("{flavour:?}: docker {verb} {container}, {took:.1?}: {lost:?}");
            eprintln!("{when}");
            assert!(lost.failed_with("run this again"), "{when}");
            assert!(lost.text.contains("Not done:"), "{when}");
            assert!(!lost.text.contains("Done: all of this is so."), "{when}");
            let remedy = format!("docker {undone} {container}");
            assert!(lost.text.contains(&remedy), "{when}");

            // Who is away is not done without.
            let away = fleet.setup(&["--yes", "--wait", "1s"]).await;
            assert!(away.failed_with(&remedy), "{away:?}");
            assert!(away.text.contains("Nothing was changed."), "{away:?}");

            docker(&[undone, &container]);
            fleet.await_server(server).await;
            fleet.ends_well().await;
            eprintln!("done after {:.1?}", began.elapsed());
            fleet.alike(&["primary", "replica1"], "app.filled").await;
        }
    }
}
