//! `rwproxy check --data` as it is typed: what it says, its exit codes, and that it goes on where it was
//! cut off.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{damage, fill};
use crate::support::{Cluster, Flavour, eventually};

crate::on_both_flavours!(what_the_command_says);

const DAMAGE: &[&str] = &[
    "UPDATE shop.big SET t = CONCAT(t, ' ') WHERE id = 4711",
    "DELETE FROM shop.big WHERE id = 9000",
];
const ADMINISTRATOR: &str = "[administrator]\nuser = \"root\"\npassword = \"root\"\n";

async fn what_the_command_says(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=2"]);
    fill(&cluster).await;
    cluster.settle().await;
    let audits = Audits::of(&cluster);

    audits.by_the_monitors_account().await;
    let equal = audits.run(&["--load", "1"]).await;
    assert!(equal.code == 0 && equal.out.contains("the replicas hold what the primary holds"));
    let equal = audits.json(&["--load", "1"]).await;
    assert_eq!((&equal["result"], &equal["tables"]), (&"equal".into(), &equal["tables_compared"]));
    assert!(equal["rows"].as_u64() > Some(40_000), "{equal}");
    assert_eq!(equal["replicas"].as_array().map(Vec::len), Some(2));
    audits.nothing_runs_on_when_interrupted().await;

    damage(&cluster, DAMAGE).await;
    let replica = &cluster.server("replica1").container;
    let found = audits.run(&["--load", "1"]).await;
    assert_eq!(found.code, 2, "{found:?}");
    for line in [
        format!("{replica}: shop.big: the row `id` = 4711 differs"),
        format!("{replica}: shop.big: the row `id` = 9000 is missing"),
    ] {
        assert!(found.out.lines().any(|found| found == line), "{line}: {found:?}");
    }
    let found = audits.json(&["--load", "1"]).await;
    assert_eq!(found["differences"].as_array().map(Vec::len), Some(2), "{found}");
    audits.cut_off_and_resumed(&found).await;
    audits.some_tables().await;
    audits.a_replica_that_stands_still().await;
}

struct Audits<'a> {
    cluster: &'a Cluster,
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    errors: String,
}

impl<'a> Audits<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        let audits = Audits { cluster, directory: tempfile::tempdir().expect("a directory") };
        audits.configure(ADMINISTRATOR);
        audits
    }

    fn configure(&self, account: &str) {
        let text = format!("[docker]\ncluster = \"{}\"\n{account}", self.cluster.name);
        std::fs::write(self.path("proxy.toml"), text).expect("the configuration");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rwproxy"));
        command.args(["check", "--data"]).args(arguments);
        command.arg("--config").arg(self.path("proxy.toml"));
        command.env("RWPROXY_MONITOR_PASSWORD", "rwproxy").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("it starts")
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.start(arguments)).await
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    /// It may not read everything, which is told and no success; once it may, it suffices.
    async fn by_the_monitors_account(&self) {
        self.configure("");
        let refused = self.run(&[]).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        for part in ["may not read all tables", "GRANT SELECT ON *.* TO 'rwproxy'@'%'"] {
            assert!(refused.out.contains(part), "{part}: {refused:?}");
        }
        let grant = "GRANT SELECT ON *.* TO 'rwproxy'@'%'";
        self.cluster.run_on("primary", grant).await;
        self.cluster.settle().await;
        let equal = self.run(&["--load", "1"]).await;
        assert_eq!(equal.code, 0, "{equal:?}");
        self.configure(ADMINISTRATOR);
    }

    /// What the primary is busy with for it ends with it.
    async fn nothing_runs_on_when_interrupted(&self) {
        let mut root = self.cluster.root("primary").await;
        let mut watcher = self.cluster.root("primary").await;
        root.query_drop("LOCK TABLES shop.big WRITE").await.expect("a lock");
        let child = self.start(&[]);
        let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                     WHERE STATE LIKE 'Waiting for table%' AND INFO LIKE '%FROM `shop`.`big`%'";
        let mut count = async || watcher.query_first(waits).await.expect("a count");
        eventually("it waits for the lock", Duration::from_secs(20), async || {
            (count().await == Some(1)).then_some(())
        })
        .await;
        interrupt(&child);
        let ended = ended(child).await;
        assert!(ended.code == 1 && ended.out.contains("it was interrupted"), "{ended:?}");
        eventually("nothing waits for the lock", Duration::from_secs(5), async || {
            (count().await == Some(0)).then_some(())
        })
        .await;
        root.query_drop("UNLOCK TABLES").await.expect("no lock");
    }

    async fn cut_off_and_resumed(&self, whole: &Value) {
        let file = self.path("audit.json");
        let name = file.to_str().expect("text");
        let child = self.start(&["--load", "0.02", "--resume", name]);
        let middle = eventually("it is within a table", Duration::from_secs(60), async || {
            let kept = read(&file)?;
            (kept["audit"]["current"]["table"] == "big").then_some(kept)
        })
        .await;
        interrupt(&child);
        let cut = ended(child).await;
        assert!(matches!(cut.code, 1 | 2) && cut.errors.contains("--resume"), "{cut:?}");
        let mode = file.metadata().expect("it is kept").mode();
        assert_eq!(mode & 0o777, 0o600);
        let kept = read(&file).expect("JSON");
        let rows = |kept: &Value| kept["audit"]["rows"].as_u64().expect("a number");
        assert!(rows(&kept) >= rows(&middle) && kept["audit"]["current"]["table"] == "big");

        // What belongs to another primary is refused, and left.
        let text = std::fs::read_to_string(&file).expect("it is kept");
        let id = kept["subject"]["primary"]["id"].as_str().expect("text");
        let other = self.path("other.json");
        std::fs::write(&other, text.replace(id, "another")).expect("a file");
        let refused = self.run(&["--resume", other.to_str().expect("text")]).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.errors.contains("this audit was begun with the primary"), "{refused:?}");
        assert!(other.exists());

        let resumed = self.run(&["--load", "1", "--resume", name, "--json"]).await;
        assert!(resumed.code == 2 && resumed.errors.contains("Going on from"), "{resumed:?}");
        let resumed: Value = serde_json::from_str(&resumed.out).expect("JSON");
        // And of rows, those of the chunk that it was cut off in are the only ones to count twice.
        assert_eq!(&resumed, whole);
        assert!(!file.exists(), "it has come to its end");
    }

    async fn some_tables(&self) {
        let one = self.json(&["--table", "shop.digits", "--table", "shop.empty"]).await;
        assert_eq!((&one["result"], &one["rows"]), (&"equal".into(), &10.into()), "{one}");
        let unknown = self.run(&["--table", "shop.bigg"]).await;
        assert!(unknown.code == 2 && unknown.out.contains("shop.bigg: no server has"));
    }

    /// The other one is compared.
    async fn a_replica_that_stands_still(&self) {
        let stop = match self.cluster.flavour {
            Flavour::MySql => "STOP REPLICA SQL_THREAD",
            Flavour::MariaDb => "STOP SLAVE SQL_THREAD",
        };
        self.cluster.run_on("replica1", stop).await;
        let partly = self.run(&["--load", "1"]).await;
        assert_eq!(partly.code, 1, "{partly:?}");
        for part in ["its thread that is to apply has stopped", "not all servers were compared"] {
            assert!(partly.out.contains(part), "{part}: {partly:?}");
        }
    }
}

fn interrupt(child: &Child) {
    let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it runs");
    kill_process(id, Signal::INT).expect("it runs");
}

async fn ended(child: Child) -> Ended {
    let output = timeout(Duration::from_secs(120), child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        errors: text(output.stderr),
    }
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
