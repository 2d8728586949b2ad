//! What is changed through the proxy is there for whoever logs in next: accounts, privileges,
//! global variables. The proxy looks by itself so seldom here that it would not notice.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::support::cluster::options;
use crate::support::{Cluster, Flavour, Proxy};

const SELDOM: &str = "[auth]\nrefresh = \"60s\"";

/// The code of the error that a login or a statement ends with; 0 for none.
fn code<T>(result: Result<T, Error>) -> u16 {
    match result {
        Ok(_) => 0,
        Err(Error::Server(error)) => error.code,
        Err(other) => panic!("{other}"),
    }
}

async fn log_in(proxy: &Proxy, user: &str, password: &str) -> Result<Conn, Error> {
    let host = proxy.address.ip().to_string();
    Conn::new(options(&host, proxy.address.port(), user, password, None)).await
}

/// The code that a login and an INSERT in the new session end with.
async fn insert(proxy: &Proxy, user: &str) -> u16 {
    match log_in(proxy, user, "one").await {
        Ok(mut conn) => code(conn.query_drop("INSERT INTO accounts.t VALUES (1)").await),
        Err(error) => code::<Conn>(Err(error)),
    }
}

crate::on_both_flavours!(the_next_login_finds_what_was_changed);

async fn the_next_login_finds_what_was_changed(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, SELDOM);
    let mut root = log_in(&proxy, "root", "root").await.expect("root");
    let user = format!("next_{}", std::process::id());
    let setup = "DROP DATABASE IF EXISTS accounts; CREATE DATABASE accounts; \
        CREATE TABLE accounts.t (n INT)";
    for statement in setup.split("; ") {
        root.query_drop(statement).await.unwrap();
    }
    for round in 0..10 {
        let mut run = async |statement: &str| {
            // MySQL hashes the password anew each time that one prepared statement is executed.
            let statement = statement.replace('?', &format!("/* {round} */ {user}@'%'"));
            if round % 2 == 0 {
                root.query_drop(statement).await.unwrap();
            } else {
                root.exec_drop(statement, ()).await.unwrap();
            }
        };
        run("CREATE USER ? IDENTIFIED BY 'one'").await;
        assert_eq!(insert(&proxy, &user).await, 1142, "created, {round}");
        run("GRANT INSERT ON accounts.* TO ?").await;
        assert_eq!(insert(&proxy, &user).await, 0, "granted, {round}");
        run("REVOKE INSERT ON accounts.* FROM ?").await;
        assert_eq!(insert(&proxy, &user).await, 1142, "revoked, {round}");
        run("ALTER USER ? IDENTIFIED BY 'two'").await;
        assert_eq!(code(log_in(&proxy, &user, "one").await), 1045, "the former password, {round}");
        assert_eq!(code(log_in(&proxy, &user, "two").await), 0, "the new password, {round}");
        run("DROP USER ?").await;
        assert_eq!(code(log_in(&proxy, &user, "two").await), 1045, "dropped, {round}");
    }
    root.query_drop("DROP DATABASE accounts").await.unwrap();
}

crate::on_both_flavours!(many_new_accounts_log_in_at_once);

/// While others log in and work, nobody's first login is refused.
async fn many_new_accounts_log_in_at_once(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let makers = (0..6).map(|maker| {
        let proxy = &proxy;
        async move {
            let mut root = log_in(proxy, "root", "root").await.expect("root");
            for round in 0..25 {
                let user = format!("many_{}_{maker}_{round}", std::process::id());
                let create = format!("CREATE USER {user}@'%' IDENTIFIED BY 'one'");
                root.query_drop(create).await.unwrap();
                let mut conn = log_in(proxy, &user, "one")
                    .await
                    .unwrap_or_else(|error| panic!("{user}, new: {error}"));
                conn.query_drop("SELECT 1").await.unwrap();
                root.query_drop(format!("DROP USER {user}@'%'")).await.unwrap();
            }
        }
    });
    let workers = (0..4).map(|_| {
        let proxy = &proxy;
        async move {
            for _ in 0..100 {
                let mut conn = proxy.app().await;
                conn.query_drop("SELECT COUNT(*) FROM information_schema.columns").await.unwrap();
            }
        }
    });
    let makers = futures_util::future::join_all(makers);
    let workers = futures_util::future::join_all(workers);
    tokio::join!(makers, workers);
}

/// A variable that every session has its own value of, and what it is set to.
async fn precision(conn: &mut Conn) -> u64 {
    conn.query_first("SELECT /* rwproxy: primary */ @@div_precision_increment")
        .await
        .unwrap()
        .expect("a row")
}

crate::on_both_flavours!(the_next_session_has_new_globals);

async fn the_next_session_has_new_globals(flavour: Flavour) {
    let cluster = Cluster::breakable(flavour).await;
    let proxy = Proxy::start(&cluster, SELDOM);
    let mut root = log_in(&proxy, "root", "root").await.expect("root");
    let mut before = proxy.app().await;
    let default = precision(&mut before).await;
    let mut statements =
        vec!["SET GLOBAL div_precision_increment = ?", "SET @@global.div_precision_increment = ?"];
    if flavour == Flavour::MySql {
        statements.push("SET PERSIST div_precision_increment = ?");
    }
    for (statement, value) in statements.into_iter().zip(7..) {
        root.query_drop(statement.replace('?', &value.to_string())).await.unwrap();
        let mut next = proxy.app().await;
        assert_eq!(precision(&mut next).await, value, "{statement}: a new session");
        assert_eq!(precision(&mut before).await, default, "{statement}: one from before");
        assert_eq!(precision(&mut next).await, value, "{statement}: the new session again");
        before.reset().await.unwrap();
        assert_eq!(precision(&mut before).await, value, "{statement}: a reset one");
        drop(before);
        before = next;
        root.query_drop(statement.replace('?', &default.to_string())).await.unwrap();
        before.reset().await.unwrap();
    }
    if flavour == Flavour::MySql {
        root.query_drop("RESET PERSIST div_precision_increment").await.unwrap();
    }
    // What changes how statements are read is known, too.
    let modes: String = root.query_first("SELECT @@global.sql_mode").await.unwrap().unwrap();
    root.query_drop(format!("SET GLOBAL sql_mode = '{modes},ANSI_QUOTES'")).await.unwrap();
    let mut next = proxy.app().await;
    let answer = next
        .query_first::<u64, _>("SELECT /* rwproxy: primary */ \"x\" FROM (SELECT 5 AS x) AS t")
        .await;
    root.query_drop(format!("SET GLOBAL sql_mode = '{modes}'")).await.unwrap();
    assert_eq!(answer.unwrap(), Some(5));
}
