//! Drivers log in, write and read through the proxy as they do directly.
//!
//! Each logs in to a server itself and through a proxy that has never seen its accounts, for the
//! first and for the second time, with TLS and without, with right and wrong passwords; what it
//! reports must be the same both times. The drivers' programs stand in `drivers/`; they take any
//! number of logins and print a line of JSON for each.

mod driver;
mod tap;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::StreamExt;
use mysql_async::prelude::Queryable;

use crate::support::{Cluster, Flavour, Proxy};
use driver::{DRIVERS, Driver, KeyRetrieval, Line, Login, Programs};
use tap::Tap;

crate::on_both_flavours!(drivers_log_in_as_they_do_directly);

/// One login of the sequence that each driver goes through.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    account: Account,
    password: &'static str,
    database: &'static str,
    tls: bool,
    key_retrieval: bool,
    expected: Expected,
}

/// The accounts that each driver has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Account {
    /// Logs in without TLS.
    Plain,
    /// The same, without asking for the server's public key.
    NoKey,
    Tls,
    /// Has no password.
    Empty,
    /// Does not exist.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Served,
    Refused(i64),
}

const PASSWORD: &str = "s3cret 'p\\w\"";

const fn case(
    name: &'static str,
    account: Account,
    password: &'static str,
    tls: bool,
    key_retrieval: bool,
    expected: Expected,
) -> Case {
    Case { name, account, password, database: "drivers", tls, key_retrieval, expected }
}

/// In this order: what is known of an account after one login tells on the next.
const CASES: [Case; 19] = {
    use Account::*;
    use Expected::*;
    [
        case("first, no key", NoKey, PASSWORD, false, false, Served),
        case("first", Plain, PASSWORD, false, true, Served),
        case("second, no key", Plain, PASSWORD, false, false, Served),
        case("wrong password", Plain, "wrong", false, true, Refused(1045)),
        case("no password", Plain, "", false, true, Refused(1045)),
        case("after a wrong one", Plain, PASSWORD, false, true, Served),
        case("first with TLS", Tls, PASSWORD, true, false, Served),
        case("second with TLS", Tls, PASSWORD, true, false, Served),
        case("wrong password with TLS", Tls, "wrong", true, false, Refused(1045)),
        case("no password with TLS", Tls, "", true, false, Refused(1045)),
        case("no TLS after TLS", Tls, PASSWORD, false, false, Served),
        case("empty password", Empty, "", false, false, Served),
        case("empty password with TLS", Empty, "", true, false, Served),
        case("a password where there is none", Empty, "wrong", false, true, Refused(1045)),
        case("unknown user", Nobody, PASSWORD, false, true, Refused(1045)),
        case("unknown user with TLS", Nobody, PASSWORD, true, false, Refused(1045)),
        case("unknown user, no password", Nobody, "", false, true, Refused(1045)),
        case("unknown database", Plain, PASSWORD, false, true, Refused(1049)).to("nowhere"),
        case("forbidden database", Plain, PASSWORD, false, true, Refused(1044)).to("mysql"),
    ]
};

impl Case {
    const fn to(mut self, database: &'static str) -> Self {
        self.database = database;
        self
    }

    /// What is to come of it directly; `None` when that is the driver's own affair.
    fn expected(&self, driver: &Driver, flavour: Flavour) -> Option<Expected> {
        let own_affair = match flavour {
            // A password goes to a server for the first time: readable inside TLS, or encrypted.
            Flavour::MySql if !self.tls => match driver.key {
                KeyRetrieval::Always => false,
                KeyRetrieval::WhenTold => self.account == Account::NoKey,
                KeyRetrieval::Never => true,
            },
            // Nothing but a fingerprint by mysql_native_password replaces a signed certificate.
            Flavour::MySql => driver.verifies,
            Flavour::MariaDb => false,
        };
        (!own_affair).then_some(self.expected)
    }
}

/// Whether a login goes to a server itself or through the proxy. Each way has its own accounts:
/// servers remember who has logged in, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Proxied,
}

fn user(driver: &Driver, way: Way, account: Account) -> String {
    format!("{}_{way:?}_{account:?}", driver.name).to_lowercase()
}

async fn drivers_log_in_as_they_do_directly(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let programs = Programs::prepare(cluster).await;
    create_accounts(cluster).await;
    let proxy = Proxy::start(cluster, "");
    let runs = DRIVERS.iter().map(|driver| compare(driver, &programs, cluster, &proxy));
    // A few at a time: each is a process that computes for a while.
    let differences: Vec<String> = futures_util::stream::iter(runs)
        .buffer_unordered(3)
        .flat_map(futures_util::stream::iter)
        .collect()
        .await;
    remove_accounts(cluster).await;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

crate::on_both_flavours!(connector_j_cancels_a_statement);

/// By KILL QUERY with the id of the greeting, which it reads as a number with a sign.
async fn connector_j_cancels_a_statement(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let programs = Programs::prepare(cluster).await;
    let proxy = Proxy::start(cluster, "");
    let (direct, proxied) =
        tokio::join!(programs.cancel(primary_address(cluster)), programs.cancel(proxy.address));
    assert!(["SLEEP gave 1", "interrupted with 1317"].contains(&direct.trim()), "{direct}");
    assert_eq!(proxied, direct);
}

fn primary_address(cluster: &Cluster) -> SocketAddr {
    let primary = cluster.primary();
    format!("{}:{}", primary.ip, primary.port).parse().expect("an address")
}

/// Runs all cases of one driver both ways; what differs from what it should be.
async fn compare(
    driver: &Driver,
    programs: &Programs,
    cluster: &Cluster,
    proxy: &Proxy,
) -> Vec<String> {
    let server = primary_address(cluster);
    let taps = Taps {
        direct: [programs.tap(server).await, programs.tap(server).await],
        proxied: [programs.tap(proxy.address).await, programs.tap(proxy.address).await],
    };
    let mut logins = Vec::new();
    for way in [Way::Direct, Way::Proxied] {
        logins.extend(CASES.iter().map(|case| taps.login(driver, cluster.flavour, way, case)));
    }
    let lines = match programs.run(driver, &logins).await {
        Ok(lines) => lines,
        Err(problem) => return vec![format!("{}: {problem}", driver.name)],
    };
    let (direct, proxied) = lines.split_at(CASES.len());
    let mut differences = taps.misused();
    for (case, (direct, proxied)) in CASES.iter().zip(direct.iter().zip(proxied)) {
        let told = |way, line: &Line| line.told(&user(driver, way, case.account));
        let (reference, answer) = (told(Way::Direct, direct), told(Way::Proxied, proxied));
        let expected = case.expected(driver, cluster.flavour);
        if case.account == Account::Nobody && cluster.flavour == Flavour::MySql {
            // MySQL asks those that do not exist for any of its plugins, by name and server, also
            // for one that the driver does not have: that both refuse is all that can be compared.
            let denied = !proxied.ok && (expected.is_none() || proxied.code == 1045);
            if direct.ok || !denied {
                differences
                    .push(format!("{}: directly {reference}\n    proxied {answer}", case.name));
            }
            continue;
        }
        let as_expected = match expected {
            Some(Expected::Served) => direct.ok,
            Some(Expected::Refused(code)) => !direct.ok && direct.code == code,
            None => true,
        };
        if !as_expected {
            differences.push(format!("{}: directly {reference}", case.name));
        }
        let same = match expected {
            Some(_) => answer == reference,
            // An error of the driver's own may speak of the certificate.
            None => (proxied.ok, proxied.code) == (direct.ok, direct.code),
        };
        if !same {
            differences.push(format!("{}: directly {reference}\n    proxied {answer}", case.name));
        }
    }
    differences.extend(written(driver, cluster, proxied).await);
    for difference in &mut differences {
        difference.insert_str(0, &format!("{} on {}: ", driver.name, cluster.flavour.name()));
    }
    differences
}

/// The relays that a driver connects to, by way: one for logins without TLS, one for those with it.
struct Taps {
    direct: [Tap; 2],
    proxied: [Tap; 2],
}

impl Taps {
    fn login(&self, driver: &Driver, flavour: Flavour, way: Way, case: &Case) -> Login {
        // MariaDB 10.11 has no certificate of its own: directly there is no TLS.
        let tls = case.tls && !(way == Way::Direct && flavour == Flavour::MariaDb);
        let taps = match way {
            Way::Direct => &self.direct,
            Way::Proxied => &self.proxied,
        };
        Login {
            address: taps[usize::from(tls)].address,
            user: user(driver, way, case.account),
            password: case.password,
            database: case.database,
            tls,
            key_retrieval: case.key_retrieval,
        }
    }

    /// Whether TLS was asked for exactly where it should be.
    fn misused(&self) -> Vec<String> {
        let mut found = Vec::new();
        for [plain, tls] in [&self.direct, &self.proxied] {
            if plain.greeted().contains(&true) {
                found.push("TLS where none was wanted".to_owned());
            }
            if tls.greeted().contains(&false) {
                found.push("no TLS where it was wanted".to_owned());
            }
        }
        found
    }
}

/// Whether the primary has a row for each login that was served.
async fn written(driver: &Driver, cluster: &Cluster, proxied: &[Line]) -> Option<String> {
    let mut expected = BTreeMap::new();
    for (case, line) in CASES.iter().zip(proxied) {
        *expected.entry(user(driver, Way::Proxied, case.account)).or_insert(0) +=
            u64::from(line.ok);
    }
    expected.retain(|_, count| *count > 0);
    let mut conn = cluster.root("primary").await;
    let mut found = BTreeMap::new();
    for user in expected.keys() {
        let count = format!("SELECT COUNT(*) FROM drivers.written_by_{user} WHERE word = 'it''s'");
        found.insert(user.clone(), conn.query_first(count).await.ok().flatten().unwrap_or(0));
    }
    let _ = conn.disconnect().await;
    (found != expected).then(|| format!("rows on the primary: {found:?}, logins: {expected:?}"))
}

// -- accounts --------------------------------------------------------------------------------------

fn users() -> impl Iterator<Item = (String, Account)> {
    DRIVERS.iter().flat_map(|driver| {
        [Way::Direct, Way::Proxied].into_iter().flat_map(move |way| {
            [Account::Plain, Account::NoKey, Account::Tls, Account::Empty]
                .map(|account| (user(driver, way, account), account))
        })
    })
}

async fn create_accounts(cluster: &Cluster) {
    remove_accounts(cluster).await;
    let identified = match cluster.flavour {
        Flavour::MySql => "IDENTIFIED WITH caching_sha2_password",
        // mysql_native_password
        Flavour::MariaDb => "IDENTIFIED",
    };
    let mut statements = vec![
        "CREATE DATABASE drivers".to_owned(),
        "CREATE TABLE drivers.seeds (id INT PRIMARY KEY, word VARCHAR(20))".to_owned(),
        "INSERT INTO drivers.seeds VALUES (1, 'one'), (2, 'two'), (3, 'three')".to_owned(),
    ];
    for (user, account) in users() {
        let password = if account == Account::Empty { "" } else { PASSWORD };
        let password = password.replace('\\', "\\\\").replace('\'', "''");
        statements.push(format!("CREATE USER {user}@'%' {identified} BY '{password}'"));
        statements.push(format!("GRANT ALL ON drivers.* TO {user}@'%'"));
        statements.push(format!("GRANT ALL ON nowhere.* TO {user}@'%'"));
    }
    let mut conn = cluster.root("primary").await;
    for statement in &statements {
        conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let _ = conn.disconnect().await;
}

async fn remove_accounts(cluster: &Cluster) {
    let mut conn = cluster.root("primary").await;
    conn.query_drop("DROP DATABASE IF EXISTS drivers").await.expect("to drop the database");
    for (user, _) in users() {
        conn.query_drop(format!("DROP USER IF EXISTS {user}@'%'")).await.expect("to drop a user");
    }
    let _ = conn.disconnect().await;
}
