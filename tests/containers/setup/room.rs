//! A replica's disk is full before it has all data.

use mysql_async::prelude::Queryable;

use super::fleet::{Ended, Fleet};
use crate::support::Flavour;
use crate::support::docker::{Sleeper, docker};

crate::on_both_flavours!(
    #[ignore = "a disk of its own, in memory: make soak"]
    a_full_disk
);

/// A disk in memory. A container that only sleeps keeps it while the server is started again.
const DISK: &str = "type=volume,dst=/var/lib/mysql,volume-nocopy,volume-opt=type=tmpfs,\
     volume-opt=device=tmpfs,volume-opt=o=size=600m";
const DATA: &str = "/var/lib/mysql";
/// What is left of it at first, MiB. The primary's data have some 20.
const LEFT: u64 = 12;

async fn a_full_disk(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "full");
    fleet.renew(&[]).await;
    super::fill(&fleet).await;
    let disk = Sleeper::start(&format!("setup-full-{}", flavour.name()), &["--mount", DISK]);
    fleet.launch("replica1", "replica", &["--volumes-from", &disk.name], &fleet.needed(2));
    fleet.await_server("replica1").await;
    leave(&disk, LEFT);
    let full = fleet.setup_until_it_can_begin(&["--yes", "--wait", "30s"]).await;
    fleet.is_not_done(&full).await;

    // Others need what was there at first.
    free(&disk);
    match flavour {
        Flavour::MySql => {
            leave(&disk, 250);
            fleet.clones_slowly("replica1").await;
        }
        Flavour::MariaDb => leave(&disk, 60),
    }
    let full = fleet.setup_while(&["--yes", "--wait", "30s"], || fill(&disk));
    let full = full.await;
    eprintln!("{flavour:?}: {full:?}");
    fleet.is_not_done(&full).await;

    free(&disk);
    fleet.ends_well().await;
    fleet.alike(&["primary", "replica1"], "app.filled").await;
    fleet.alike(&["primary", "replica1"], "app.written").await;
}

/// What others have on the disk, so that so many MiB are left.
fn leave(disk: &Sleeper, left: u64) {
    let free = run(disk, &format!("df --output=avail -m {DATA} | tail -n 1"));
    let free: u64 = free.trim().parse().expect("a number");
    run(disk, &format!("fallocate --length {}M {DATA}/others", free - left));
}

/// Nothing is left.
fn fill(disk: &Sleeper) {
    run(disk, &format!("dd if=/dev/zero of={DATA}/more bs=64k 2>/dev/null || true"));
}

fn free(disk: &Sleeper) {
    run(disk, &format!("rm -f {DATA}/others {DATA}/more"));
}

fn run(disk: &Sleeper, script: &str) -> String {
    docker(&["exec", &disk.name, "sh", "-c", script])
}

impl Fleet {
    async fn is_not_done(&self, full: &Ended) {
        assert!(full.failed_with("its disk is full: make room there"), "{full:?}");
        assert!(full.text.contains("run this again"), "{full:?}");
        assert!(!full.text.contains("Done: all of this is so."), "{full:?}");
        let mut root = self.root("primary").await;
        let write =
            "INSERT INTO app.written VALUES (1, '') ON DUPLICATE KEY UPDATE t = CONCAT(t, 'x')";
        root.query_drop(write).await.expect("the primary takes writes");
        self.await_server("replica1").await;
        let shown = self.setup_until_it_can_begin(&["--dry-run"]).await;
        let left = shown.text.contains("replica1: is empty: it gets the primary's data");
        assert!(shown.code == 0 && left, "it is not taken for done: {shown:?}");
    }
}
