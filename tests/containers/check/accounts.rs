//! Looks by accounts that may not do everything.

use super::alone::{is_found, tells};
use super::doctor::{Doctor, follow, tell};
use crate::support::Cluster;

pub async fn lesser(cluster: &Cluster) {
    let replica = cluster.server("replica1").container.clone();
    the_monitor(cluster, &replica).await;
    // MySQL runs events unless it is told not to.
    tell(&replica, &["SET GLOBAL event_scheduler = OFF"]).await;
    nothing_granted(cluster, &replica).await;
    an_administrator(cluster, &replica).await;
    tell(&replica, &["SET GLOBAL event_scheduler = OFF"]).await;
}

/// A monitor's account.
fn by(cluster: &Cluster, user: &str, password: &str) -> String {
    format!(
        "[docker]\ncluster = \"{}\"\n[monitor]\nuser = \"{user}\"\npassword = \"{password}\"\n",
        cluster.name
    )
}

fn administrator(user: &str) -> String {
    format!("[administrator]\nuser = \"{user}\"\npassword = \"{user}\"\n")
}

/// It may ask for all that is judged, but for what only those see who could change it.
async fn the_monitor(cluster: &Cluster, replica: &str) {
    tell(replica, &["SET GLOBAL event_scheduler = ON"]).await;
    let monitor = by(cluster, "rwproxy", "rwproxy");
    let doctor = Doctor::new(&monitor);
    let look = doctor.look().await;
    assert_eq!((look.code, look.names()), (0, Vec::new()), "{:#}", look.report);
    for untold in look.findings().filter(|finding| finding["check"] == "not-looked-at") {
        let evidence = untold["evidence"].as_str().expect("a text");
        let is_known = ["without SELECT", "without EVENT"].iter().any(|it| evidence.contains(it));
        assert!(is_known, "{evidence}");
    }
    let unseen = is_found(&doctor, "not-looked-at", Some(replica), "notice").await;
    tells(&unseen, "which events run on it: an account without EVENT sees only some of the events");
    assert_eq!(unseen["remedies"].as_array().map(Vec::len), Some(1), "{unseen:#}");
    let setting = unseen["remedies"][0]["setting"].as_str().expect("a setting");
    assert!(setting.starts_with("[administrator]: "), "{setting}");
    doctor.configure(&format!("{monitor}{}", administrator("root")));
    doctor.is_mended("not-looked-at", Some(replica)).await;
}

/// One that may nothing says so.
async fn nothing_granted(cluster: &Cluster, replica: &str) {
    let primary = cluster.primary().container.clone();
    tell(&primary, &["CREATE USER weak@'%' IDENTIFIED BY 'weak'"]).await;
    cluster.settle().await;
    let doctor = Doctor::new(&by(cluster, "weak", "weak"));
    doctor.find("not-looked-at", Some(replica)).await;
    let look = doctor.look().await;
    let untold = look.findings().filter(|it| it["check"] == "not-looked-at");
    for finding in untold.filter(|it| it["server"] == *replica) {
        assert_eq!(finding["severity"], "notice");
        follow(finding).await;
    }
    doctor.is_mended("not-looked-at", Some(replica)).await;
    let lacking = is_found(&doctor, "monitor-grants", Some(&primary), "error").await;
    follow(&lacking).await;
    doctor.is_mended("monitor-grants", Some(&primary)).await;
    let look = doctor.look().await;
    assert_eq!((look.code, look.names()), (0, Vec::new()), "{:#}", look.report);
    tell(&primary, &["DROP USER weak@'%'"]).await;
}

/// One that setup would refuse, and that may not see events either.
async fn an_administrator(cluster: &Cluster, replica: &str) {
    let primary = cluster.primary().container.clone();
    let told = ["CREATE USER chief@'%' IDENTIFIED BY 'chief'", "GRANT SELECT ON *.* TO chief@'%'"];
    tell(&primary, &told).await;
    cluster.settle().await;
    let monitor = by(cluster, "rwproxy", "rwproxy");
    let doctor = Doctor::new(&format!("{monitor}{}", administrator("chief")));
    let lacking = is_found(&doctor, "administrator-grants", Some(&primary), "warning").await;
    follow(&lacking).await;
    doctor.is_mended("administrator-grants", Some(&primary)).await;
    tell(replica, &["SET GLOBAL event_scheduler = ON"]).await;
    let unseen = is_found(&doctor, "not-looked-at", Some(replica), "notice").await;
    tells(&unseen, "which events run on it: ");
    follow(&unseen).await;
    doctor.is_mended("not-looked-at", Some(replica)).await;
    tell(&primary, &["DROP USER chief@'%'"]).await;
}
