//! `--tls`: replicas fetch encrypted, and their account is let in by nothing else.

use std::path::Path;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::fleet::{Fleet, VOLUME};
use crate::support::Flavour;
use crate::support::cluster::options;
use crate::support::docker::docker;

/// Where servers find their certificates.
const FILES: &str = "/etc/mysql-tls";

/// MariaDB makes no certificates by itself before 11.4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_with_certificates() {
    let mut fleet = Fleet::new(Flavour::MariaDb, "tls");
    fleet.renew(&["replica1"]).await;
    let refused = fleet.setup(&["--yes", "--tls"]).await;
    assert!(refused.failed_with("it has no certificate"), "{refused:?}");
    assert!(!fleet.secret("replication").exists(), "nothing is made");

    let directory = tempfile::tempdir().expect("a directory");
    certify(directory.path(), &["primary", "replica1"]);
    let mount = format!("{}:{FILES}:ro", directory.path().display());
    let storage = [VOLUME, &["--volume", &mount]].concat();
    for (number, server, role) in [(1, "primary", "primary"), (2, "replica1", "replica")] {
        let files = [
            format!("--ssl-ca={FILES}/ca.pem"),
            format!("--ssl-cert={FILES}/{server}.pem"),
            format!("--ssl-key={FILES}/{server}.key"),
        ];
        let mut options = fleet.needed(number);
        options.extend(files.iter().map(String::as_str));
        fleet.launch(server, role, &storage, &options);
    }
    for server in ["primary", "replica1"] {
        fleet.await_server(server).await;
    }
    let done = fleet.setup(&["--yes"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    over_tls(&fleet, &["replica1"]).await;
}

/// From 11.4 on each server makes a certificate by itself, which nobody has signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_by_its_own_certificates() {
    let image = "rwproxy-test/mariadb:11.8";
    for at_once in [true, false] {
        let mut fleet = Fleet::of_image(Flavour::MariaDb, image, "tls-own");
        fleet.renew(&["replica1"]).await;
        if at_once {
            let done = fleet.setup(&["--yes", "--tls"]).await;
            assert_eq!(done.code, 0, "{done:?}");
            is_encrypted(&fleet, &["replica1"]).await;
            // It makes another one each time that it starts.
            docker(&["restart", &fleet.container("primary")]);
            fleet.await_server("primary").await;
            arrives(&fleet, &["replica1"], "anew").await;
        } else {
            let done = fleet.setup(&["--yes"]).await;
            assert_eq!(done.code, 0, "{done:?}");
            over_tls(&fleet, &["replica1"]).await;
        }
    }
}

/// What replicates already is told to encrypt.
pub async fn over_tls(fleet: &Fleet, replicas: &[&str]) {
    plain_login(fleet).await.expect("no encryption is asked for yet");
    let done = fleet.setup(&["--yes", "--tls"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    is_encrypted(fleet, replicas).await;
}

/// Nothing comes to replicas but by TLS, and setup leaves it so.
async fn is_encrypted(fleet: &Fleet, replicas: &[&str]) {
    let states = fleet.states().await;
    for replica in replicas {
        for fact in ["SSL_Allowed", "IO_Running", "SQL_Running"] {
            assert_eq!(states[*replica][&format!("channel 0 {fact}")], "Yes", "{replica}: {fact}");
        }
    }
    let mut root = fleet.root("primary").await;
    let kind: Option<String> = root
        .query_first("SELECT ssl_type FROM mysql.user WHERE User = 'replication'")
        .await
        .expect("the account");
    assert_eq!(kind.as_deref(), Some("ANY"));
    let refused = plain_login(fleet).await.expect_err("it must encrypt");
    assert!(refused.to_string().contains("1045"), "{refused}");
    // What was wished once stays.
    let again = fleet.setup(&["--yes"]).await;
    assert!(again.code == 0 && again.text.contains("There is nothing to change."), "{again:?}");
    // What is written from now on comes over TLS alone.
    arrives(fleet, replicas, "encrypted").await;
}

async fn arrives(fleet: &Fleet, replicas: &[&str], schema: &str) {
    let mut root = fleet.root("primary").await;
    for statement in
        [format!("CREATE DATABASE {schema}"), format!("CREATE TABLE {schema}.t AS SELECT 1 AS id")]
    {
        root.query_drop(statement).await.expect("a write");
    }
    fleet.alike(&[&["primary"], replicas].concat(), &format!("{schema}.t")).await;
}

/// The account of replicas, with its password, without encryption.
async fn plain_login(fleet: &Fleet) -> Result<(), mysql_async::Error> {
    let password = std::fs::read_to_string(fleet.secret("replication")).expect("its password");
    let login = options(&fleet.ip("primary"), 3306, "replication", password.trim(), None);
    Conn::new(login).await?.disconnect().await
}

/// A certificate for each of these servers, by one authority, for any user to read.
fn certify(directory: &Path, servers: &[&str]) {
    let key = || KeyPair::generate().expect("a key");
    let write = |name: &str, text: String| {
        std::fs::write(directory.join(name), text).expect("a file");
    };
    let authority_key = key();
    let mut authority = CertificateParams::new([]).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).expect("a certificate");
    write("ca.pem", ca.pem());
    let issuer = Issuer::new(authority, authority_key);
    for server in servers {
        let key = key();
        let parameters = CertificateParams::new([(*server).to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
        write(&format!("{server}.pem"), certificate.pem());
        write(&format!("{server}.key"), key.serialize_pem());
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory, open).expect("the directory's mode");
}
