//! `rwproxy check`: faults provoked in running clusters, each found with its severity, and gone after what is
//! advised was done.

mod accounts;
mod alone;
mod apart;
mod copies;
mod doctor;
mod faults;
mod labels;
mod live;
mod older;
mod semi_sync;
mod surroundings;

use std::time::Instant;

use mysql_async::prelude::Queryable;

use crate::support::docker::{self, Network, Sleeper, docker};
use crate::support::{Cluster, Flavour, Proxy, eventually};
use doctor::{Doctor, answers, follow, tell};

crate::on_both_flavours!(faults_are_found_and_mended);

/// Behind cluster.sh's own: with these nothing is wrong.
const DURABLE: [&str; 3] = ["--", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

async fn faults_are_found_and_mended(flavour: Flavour) {
    let mut cluster = Cluster::start(flavour, &DURABLE);
    let odd = apart::start_odd(&cluster);
    let doctor = Doctor::of(&cluster);
    let began = Instant::now();
    let sound = doctor.look().await;
    assert_eq!(sound.names(), [""; 0], "{:#}", sound.report);
    assert_eq!(sound.code, 0);
    eprintln!("{flavour:?}: one look took {:?}", began.elapsed());

    accounts::lesser(&cluster).await;
    apart::made_otherwise(&cluster, odd).await;
    eprintln!("{flavour:?}: {:?} a server made otherwise", began.elapsed());
    copies::mended_by_setup(&cluster, &doctor).await;
    eprintln!("{flavour:?}: {:?} mended by setup", began.elapsed());
    labels::made_anew(&mut cluster, &doctor).await;
    eprintln!("{flavour:?}: {:?} labels", began.elapsed());
    surroundings::subsets(&cluster).await;
    if flavour == Flavour::MySql {
        surroundings::copied_with_its_uuid(&cluster, &doctor).await;
    }
    surroundings::lag(&cluster, &doctor).await;
    surroundings::a_row_is_held(&cluster, &doctor).await;
    surroundings::a_silent_source(&cluster, &doctor).await;
    surroundings::the_primary_has_a_replicas_number(&cluster, &doctor).await;
    surroundings::too_few_connections(&cluster).await;
    surroundings::closed_doors(&cluster).await;
    surroundings::settings(&cluster, &doctor).await;
    older::without_trackers(&cluster).await;
    eprintln!("{flavour:?}: {:?} surroundings", began.elapsed());
    let container = |server: &str| cluster.server(server).container.clone();
    for fault in faults::all(flavour) {
        let what = format!("{} of {}", fault.check, fault.server);
        let server = container(fault.server);
        for (place, statements) in &fault.provoked_by {
            tell(&container(place), statements).await;
        }
        let finding = doctor.find(fault.check, Some(&server)).await;
        assert_eq!(finding["severity"], fault.severity, "{what}: {finding:#}");
        let evidence = finding["evidence"].as_str().expect("a text");
        assert!(evidence.contains(fault.evidence), "{what}: {evidence}");
        follow(&finding).await;
        doctor.is_mended(fault.check, Some(&server)).await;
        eprintln!("{flavour:?}: {:?} {what}: found, and mended", began.elapsed());
    }

    semi_sync::off_and_fallen_back(&cluster, &doctor).await;
    containers(&doctor, &container("replica2")).await;
    // What was set in passing is kept, a replica that has come back acknowledges (MySQL's does not
    // each time by itself), and then all is as at the beginning.
    let look = doctor.look().await;
    for finding in look.findings().filter(|finding| finding["severity"] != "notice") {
        assert!(
            ["setting-forgotten", "read-only-after-restart", "semi-sync-replica"]
                .contains(&finding["check"].as_str().expect("a text")),
            "{finding:#}"
        );
        follow(finding).await;
    }
    doctor.is_mended("semi-sync-replica", Some(&container("replica2"))).await;
    let look = doctor.look().await;
    assert_eq!(look.names(), [""; 0], "{:#}", look.report);
    let kept: Option<u64> = cluster
        .root("replica2")
        .await
        .query_first("SELECT @@GLOBAL.binlog_expire_logs_seconds")
        .await
        .expect("a number");
    assert_eq!(kept, Some(864_000), "what was kept is what was set");
    eprintln!("{flavour:?}: {:?} in all", began.elapsed());
}

/// Paused, and stopped.
async fn containers(doctor: &Doctor, container: &str) {
    for act in ["pause", "kill"] {
        docker(&[act, container]);
        let finding = doctor.find("container-not-running", Some(container)).await;
        assert_eq!(finding["severity"], "error");
        follow(&finding).await;
        answers(container).await;
        doctor.is_mended("container-not-running", Some(container)).await;
        doctor.is_mended("replication-receiver", Some(container)).await;
    }
}

/// It says why it is not well.
const HEALTH: &str = "test -e /well || { echo no; false; }";

/// Labels, health, and servers that are none, with containers that only sleep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_are_no_servers() {
    let network = Network::create("check");
    let cluster = format!("rwproxy-test.cluster={}", network.name);
    let here = format!("[docker]\ncluster = \"{}\"\n[monitor]\npassword = \"x\"\n", network.name);
    let doctor = Doctor::new(&here);
    let none = doctor.find("no-servers", None).await;
    assert_eq!(none["severity"], "error");

    let ours = format!("rwproxy.cluster={}", network.name);
    let labels = labels::printed(&none);
    assert_eq!(labels, ["rwproxy.enable=true", &*ours]);
    let start = |name: &str, more: &[&str]| {
        let mut options = vec!["--network", &*network.name, "--label", &*cluster];
        options.extend(labels.iter().flat_map(|label| ["--label", *label]));
        options.extend(more);
        Sleeper::start(name, &options)
    };
    let misspelt = start("check-misspelt", &["--label", "rwproxy.wieght=2"]);
    let ill = start(
        "check-ill",
        &["--health-cmd", HEALTH, "--health-interval", "1s", "--health-retries", "1"],
    );
    doctor.is_mended("no-servers", None).await;
    let left_out = doctor.find("container-left-out", Some(&misspelt.name)).await;
    assert_eq!(left_out["severity"], "error");
    assert_eq!(labels::printed(&left_out), ["rwproxy.weight=2"]);
    let name = misspelt.name.clone();
    drop(misspelt);
    let spelt = start("check-misspelt", &["--label", labels::printed(&left_out)[0]]);
    assert_eq!(spelt.name, name);
    doctor.is_mended("container-left-out", Some(&name)).await;
    let silent = doctor.find("server-unreachable", Some(&name)).await;
    assert_eq!(silent["severity"], "error");
    let illness = doctor.find("container-unhealthy", Some(&ill.name)).await;
    assert_eq!(illness["severity"], "error");
    assert!(illness["evidence"].as_str().expect("a text").ends_with("fails: no"), "{illness}");
    doctor.configure(&here.replace("[docker]", "[docker]\nrespect_health = false"));
    let ignored = doctor.find("container-unhealthy", Some(&ill.name)).await;
    assert_eq!(ignored["severity"], "warning");
    doctor.configure(&here);
    docker(&["exec", &ill.name, "touch", "/well"]);
    doctor.is_mended("container-unhealthy", Some(&ill.name)).await;
    drop(ill);
    containers_that_end(&doctor, &[&cluster, &ours]).await;
    let gone = doctor.look().await;
    assert_eq!(gone.report["servers"].as_array().map(Vec::len), Some(1), "{:#}", gone.report);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let other = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-x\r\n").await;
        }
    });
    doctor.configure(&format!(
        "{here}[listen]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = []\n[http]\naddress = []\n"
    ));
    let odd = doctor.find("proxy-unreachable", None).await;
    assert_eq!(odd["severity"], "warning");
    other.abort();
    let _ = other.await;
    let nobody = doctor.find("proxy-unreachable", None).await;
    assert_eq!(nobody["severity"], "notice");

    half_a_proxy(&doctor, &here).await;

    doctor
        .configure("[docker]\nendpoint = \"unix:///nowhere.sock\"\n[monitor]\npassword = \"x\"\n");
    let docker = doctor.find("docker-unreachable", None).await;
    assert_eq!(docker["severity"], "error");
    doctor.configure(&here);
    doctor.is_mended("docker-unreachable", None).await;
}

/// One for want of memory, one again and again.
async fn containers_that_end(doctor: &Doctor, labels: &[&str]) {
    // Not more than that, should there be no limit.
    let hungry = "exec tail -n 1 < <(head -c 300M /dev/zero)";
    let limited = ["--memory", "16m", "--memory-swap", "16m"];
    let table: [(&str, &[&str], &str, &str); 2] = [
        ("check-hungry", &limited, hungry, "(exit code 137: it was killed for want of memory)"),
        (
            "check-restless",
            &["--restart", "always"],
            "exit 3",
            "its container is started again and again (exit code 3)",
        ),
    ];
    for (name, options, script, evidence) in table {
        let label = docker::label(name);
        let ended = Sleeper { name: docker::unique(name) };
        let mut arguments = vec!["run", "--detach", "--name", &ended.name, "--label", &label];
        for label in labels.iter().chain(&["rwproxy.enable=true"]) {
            arguments.extend(["--label", label]);
        }
        arguments.extend(options);
        arguments.extend(["--entrypoint", "bash", docker::IMAGE, "-c", script]);
        docker(&arguments);
        // What is started again runs for moments.
        eventually(evidence, doctor::PATIENCE, async || {
            let finding =
                doctor.look().await.finding("container-not-running", Some(&ended.name))?;
            assert_eq!(finding["severity"], "error");
            finding["evidence"].as_str()?.contains(evidence).then_some(())
        })
        .await;
        let name = ended.name.clone();
        drop(ended);
        doctor.is_mended("container-not-running", Some(&name)).await;
    }
}

/// A proxy that has no servers, and is asked for at a wrong address.
async fn half_a_proxy(doctor: &Doctor, here: &str) {
    let proxy = Proxy::start_with(here);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let free = nobody.local_addr().expect("an address");
    drop(nobody);
    let Proxy { address, http, admin, .. } = &proxy;
    doctor.configure(&format!(
        "{here}[listen]\naddress = \"{address}\"\n[admin]\naddress = \"{free}\"\n\
         [http]\naddress = \"{http}\"\n"
    ));
    let look = doctor.look().await;
    for evidence in [
        format!("http.address {http}: says that it is not ready: "),
        format!("admin.address {free}: does not answer: "),
    ] {
        let is_it = |finding: &&serde_json::Value| {
            finding["evidence"].as_str().is_some_and(|text| text.starts_with(&evidence))
        };
        let finding = look.findings().find(is_it);
        let finding = finding.unwrap_or_else(|| panic!("{evidence}: {:#}", look.report));
        assert_eq!(finding["check"], "proxy-unreachable");
        assert_eq!(finding["severity"], "warning");
    }
    doctor.configure(&format!(
        "{here}[listen]\naddress = \"{address}\"\n[admin]\naddress = \"{admin}\"\n\
         [http]\naddress = \"{http}\"\n"
    ));
    // That it has clients wait is the same matter.
    let look = doctor.look().await;
    let left = look.findings().filter(|it| it["check"] == "proxy-unreachable");
    assert_eq!(left.count(), 1, "{:#}", look.report);
}
