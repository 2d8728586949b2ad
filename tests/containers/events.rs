//! What happens to the servers is told once, in the log, on the console, by HTTP and in metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;

use crate::support::chaos::docker;
use crate::support::{Cluster, Flavour, Proxy, eventually};

/// A row of `SHOW EVENTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub number: u64,
    pub time: String,
    pub severity: String,
    pub kind: String,
    pub backend: Option<String>,
    pub text: String,
}

pub async fn events(proxy: &Proxy, rest: &str) -> Vec<Event> {
    let mut console = proxy.console().await;
    let event = |(number, time, severity, kind, backend, text)| Event {
        number,
        time,
        severity,
        kind,
        backend,
        text,
    };
    let events = console.query_map(format!("SHOW EVENTS {rest}"), event).await.expect("events");
    let _ = console.disconnect().await;
    events
}

/// The first event after number `after` of this kind whose text contains `part`.
pub async fn event(proxy: &Proxy, after: u64, kind: &str, part: &str) -> Event {
    let what = format!("the event {kind}: {part}");
    eventually(&what, Duration::from_secs(60), async || {
        let events = events(proxy, &format!("LIKE '{kind}'")).await;
        events
            .into_iter()
            .find(|event| event.number > after && event.kind == kind && event.text.contains(part))
    })
    .await
}

/// The number of the latest event.
pub async fn last(proxy: &Proxy) -> u64 {
    events(proxy, "LIMIT 1").await.last().map_or(0, |event| event.number)
}

crate::on_both_flavours!(what_happens_is_told_once);

async fn what_happens_is_told_once(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    let proxy = Proxy::start(
        &cluster,
        "[routing]\nmax_lag = \"1s\"\nslow_start = \"0s\"\n[check]\ninterval = \"0s\"",
    );
    let (stop, start, delay, reset) = match flavour {
        Flavour::MySql => (
            "STOP REPLICA",
            "START REPLICA",
            "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = ",
            "RESET REPLICA ALL",
        ),
        Flavour::MariaDb => {
            ("STOP SLAVE", "START SLAVE", "CHANGE MASTER TO MASTER_DELAY = ", "RESET SLAVE ALL")
        }
    };
    let run_all = async |server: &str, statements: &[&str]| {
        let statements: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
        cluster.run_all(server, &statements).await;
    };

    stopped_replica(&cluster, &proxy).await;

    // A replica that lags.
    let before = last(&proxy).await;
    run_all("replica1", &[stop, &format!("{delay}3"), start]).await;
    run_all(
        "primary",
        &["CREATE TABLE app.lagging (id INT PRIMARY KEY)", "INSERT INTO app.lagging VALUES (1)"],
    )
    .await;
    let out = event(&proxy, before, "lag_out", "it lags more than max_lag (1s)").await;
    assert!(out.backend.as_deref().is_some_and(|name| name.ends_with("-replica1")), "{out:?}");
    assert_eq!(out.severity, "warning");
    let back = event(&proxy, out.number, "lag_in", "takes reads").await;
    assert_eq!(back.backend, out.backend);
    let between = events(&proxy, "LIKE '%-replica1'").await;
    let between: Vec<&Event> = between
        .iter()
        .filter(|event| (out.number..=back.number).contains(&event.number))
        // That it acknowledges commits again is asked for once a second.
        .filter(|event| !event.kind.starts_with("semi_sync"))
        .collect();
    assert_eq!(between.len(), 2, "nothing is told between out and in: {between:#?}");

    // Another primary.
    let before = last(&proxy).await;
    docker(&["stop", "--time", "1", &cluster.primary().container]).await;
    let stopped = event(&proxy, before, "writes_stopped", "").await;
    assert_eq!((stopped.severity.as_str(), &stopped.backend), ("error", &None));
    let writable: &[&str] = match flavour {
        Flavour::MySql => &[stop, reset, "SET GLOBAL super_read_only = OFF, read_only = OFF"],
        Flavour::MariaDb => &[stop, reset, "SET GLOBAL read_only = OFF"],
    };
    run_all("replica1", writable).await;
    let changed = event(&proxy, stopped.number, "primary_changed", "-replica1, no longer to").await;
    let role = event(&proxy, before, "role_changed", "primary").await;
    assert!(role.number <= changed.number && role.backend == out.backend, "{role:?}");

    told_alike(&proxy).await;
}

async fn stopped_replica(cluster: &Cluster, proxy: &Proxy) {
    let before = last(proxy).await;
    let (stop, start) = match cluster.flavour {
        Flavour::MySql => ("STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"),
        Flavour::MariaDb => ("STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"),
    };
    cluster.run_on("replica2", stop).await;
    let stopped = event(proxy, before, "reads_stopped", "its SQL thread is stopped").await;
    assert!(stopped.backend.as_deref().is_some_and(|name| name.ends_with("-replica2")));
    cluster.run_on("replica2", start).await;
    let possible = event(proxy, stopped.number, "reads_possible", "takes reads").await;

    let container = &cluster.server("replica2").container;
    docker(&["kill", container]).await;
    let down = event(proxy, possible.number, "server_down", "").await;
    assert_eq!((&down.backend, down.severity.as_str()), (&stopped.backend, "warning"));
    docker(&["start", container]).await;
    let up = event(proxy, down.number, "server_up", "").await;
    event(proxy, up.number - 1, "reads_possible", "").await;
}

/// The list, the log, `/status` and the counters tell of the same events.
async fn told_alike(proxy: &Proxy) {
    // None may come while they are compared.
    let list = eventually("quiet", Duration::from_secs(20), async || {
        let list = events(proxy, "").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        (last(proxy).await == list.len() as u64).then_some(list)
    })
    .await;
    for (event, number) in list.iter().zip(1..) {
        assert_eq!(event.number, number);
        let is_time =
            event.time.len() == "2026-11-26T04:14:21.123Z".len() && event.time.ends_with('Z');
        assert!(is_time, "{event:?}");
    }
    assert!(list.windows(2).all(|pair| pair[0].time <= pair[1].time), "{list:#?}");

    let log = proxy.log();
    let logged = log.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((line["event"].as_u64()?, line["kind"].clone(), line["message"].clone()))
    });
    let listed = list.iter().map(|event| {
        (event.number, event.kind.clone().into(), serde_json::Value::from(event.text.clone()))
    });
    assert_eq!(logged.collect::<Vec<_>>(), listed.collect::<Vec<_>>());
    for event in &list {
        let text = serde_json::to_string(&event.text).expect("a text");
        let alike = list.iter().filter(|other| other.text == event.text).count();
        assert_eq!(log.matches(&text).count(), alike, "{} stands elsewhere, too", event.text);
    }

    let status = proxy.status();
    let shown = status["events"].as_array().expect("a list of events");
    let latest = &list[list.len().saturating_sub(50)..];
    assert_eq!(shown.len(), latest.len());
    assert_eq!(shown.last().expect("events")["text"], latest.last().expect("events").text);

    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &list {
        *kinds.entry(&event.kind).or_default() += 1;
    }
    let metrics = proxy.get("/metrics");
    for (kind, count) in kinds {
        let line = format!("rwproxy_events_total{{kind=\"{kind}\"}} {count}");
        assert!(metrics.lines().any(|shown| shown == line), "{line} is not in\n{metrics}");
    }
}
