//! Asks a server for its [`State`], part by part: accounts may be let to ask for some and not for others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::state::{Account, Cloning, Container, Follows, Gtids, Origin, Schema, State};
use crate::administration::statements::quoted;
use crate::administration::{Place, Server};
use crate::backend::sql_client::Rows;
use crate::discovery;
use crate::gtid::{BinlogState, DomainPositions, GtidSet};
use crate::monitor::queries;
use crate::routing::semi_sync::SemiSync;
use crate::sql::system_tables::is_system_database;
use crate::wire::{Flavour, ServerVersion};

/// A server with many tables takes its time to list them.
const PATIENCE: Duration = Duration::from_secs(60);

/// A schema that is there while a copy is not whole.
pub const UNFINISHED: &str = "rwproxy_unfinished_copy";

const OBJECTS: &str = "SELECT TABLE_SCHEMA AS name, COUNT(*) AS objects, \
     COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) AS bytes \
     FROM information_schema.TABLES GROUP BY TABLE_SCHEMA \
     UNION ALL SELECT ROUTINE_SCHEMA, COUNT(*), 0 FROM information_schema.ROUTINES \
     GROUP BY ROUTINE_SCHEMA \
     UNION ALL SELECT EVENT_SCHEMA, COUNT(*), 0 FROM information_schema.EVENTS GROUP BY EVENT_SCHEMA";

/// A server that ended in the middle of a clone calls it unfinished ever after, under the number of no
/// connection.
pub const CLONE_STATUS: &str = "SELECT IF(STATE = 'In Progress' AND PID = 0, 'Failed', STATE) AS STATE, \
     SOURCE, PID, ERROR_MESSAGE FROM performance_schema.clone_status";

/// Where replicas may find a server: by name where there is one.
pub fn places(server: &discovery::Server) -> Vec<Place> {
    let place = |host: &str| Place { host: host.to_owned(), port: server.port };
    let mut places: Vec<Place> = server.aliases.iter().map(|alias| place(alias)).collect();
    match server.run {
        // Names outlive a restart, and that of the container its being made anew.
        Some(_) => places.sort_by_key(|place| {
            let is_name = place.host.eq_ignore_ascii_case(&server.name);
            (!is_name, place.host.parse::<IpAddr>().is_ok())
        }),
        // The first is what the operator calls it, the last what is dialled.
        None => places.reverse(),
    }
    places
}

/// What every account may ask. The other facts are asked by themselves.
pub async fn state(server: &mut Server, known: &discovery::Server) -> Result<State, String> {
    let version = server.version.clone();
    let variables = pairs(&ask(server, "SHOW GLOBAL VARIABLES").await?);
    let plugins = column(
        &ask(
            server,
            "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'",
        )
        .await?,
    );
    let gtids = gtids(&variables, &version).map_err(|error| format!("{}: {error}", server.name))?;
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    let is_member = is_set("group_replication_group_name")
        || variables.get("wsrep_on").is_some_and(|value| value == "ON");
    let container = known.run.as_ref().map(|run| Container {
        restart: run.restart.to_string(),
        service: run.service.as_deref().map(str::to_owned),
        arguments: run.arguments.clone(),
    });
    Ok(State {
        name: known.name.clone(),
        role: known.spec.role,
        places: places(known),
        container,
        origins: BTreeMap::new(),
        follows: Vec::new(),
        gtids,
        uuid: variables.get("server_uuid").map(|uuid| uuid.to_ascii_lowercase().into()),
        schemas: Vec::new(),
        half_copied: false,
        cloning: Cloning::None,
        semi_sync: SemiSync::default(),
        is_member,
        replication: None,
        monitor: None,
        lacking: Vec::new(),
        plugins,
        variables,
        version,
    })
}

/// The transactions that a server has by now.
pub async fn transactions(server: &mut Server) -> Result<Gtids, String> {
    let rows = ask(server, "SHOW GLOBAL VARIABLES LIKE 'gtid\\_%'").await?;
    gtids(&pairs(&rows), &server.version).map_err(|error| format!("{}: {error}", server.name))
}

pub(super) async fn ask(server: &mut Server, sql: &str) -> Result<Rows, String> {
    let asked = server.run(sql, PATIENCE).await;
    asked.map_err(|failed| format!("{}: {}", server.name, failed.text))
}

fn pairs(rows: &Rows) -> BTreeMap<String, String> {
    let pair = |row| {
        let name = rows.str(row, "Variable_name")?.to_ascii_lowercase();
        Some((name, rows.str(row, "Value").unwrap_or_default().to_owned()))
    };
    (0..rows.len()).filter_map(pair).collect()
}

/// The first column.
pub(super) fn column(rows: &Rows) -> BTreeSet<String> {
    let cells = rows.rows.iter().filter_map(|row| row.first()?.as_deref());
    cells.map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
}

fn gtids(variables: &BTreeMap<String, String>, version: &ServerVersion) -> Result<Gtids, String> {
    let text = |name: &str| variables.get(name).map_or("", String::as_str);
    let set = |name: &str| GtidSet::parse(text(name)).map_err(|error| format!("{name}: {error}"));
    let position =
        |name: &str| DomainPositions::parse(text(name)).map_err(|error| format!("{name}: {error}"));
    Ok(match version.flavour {
        Flavour::MySql => {
            Gtids::MySql { executed: set("gtid_executed")?, purged: set("gtid_purged")? }
        }
        Flavour::MariaDb => Gtids::MariaDb {
            state: BinlogState::parse(text("gtid_binlog_state"))
                .map_err(|error| format!("gtid_binlog_state: {error}"))?,
            logged: position("gtid_binlog_pos")?,
            replicated: position("gtid_slave_pos")?,
        },
    })
}

/// Whether a restart finds variables as they are.
pub async fn origins(
    server: &mut Server,
    variables: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Origin>, String> {
    let sql = match server.version.flavour {
        Flavour::MariaDb => {
            "SELECT VARIABLE_NAME AS name, GLOBAL_VALUE_ORIGIN AS origin, NULL AS kept \
             FROM information_schema.SYSTEM_VARIABLES"
        }
        Flavour::MySql if server.version.at_least(8, 0) => {
            "SELECT i.VARIABLE_NAME AS name, i.VARIABLE_SOURCE AS origin, p.VARIABLE_VALUE AS kept \
             FROM performance_schema.variables_info i \
             LEFT JOIN performance_schema.persisted_variables p ON p.VARIABLE_NAME = i.VARIABLE_NAME"
        }
        Flavour::MySql => return Ok(BTreeMap::new()),
    };
    let rows = ask(server, sql).await?;
    let origin = |row| {
        let name = rows.str(row, "name")?.to_ascii_lowercase();
        let is_persisted = rows.str(row, "kept").is_some_and(|kept| {
            variables.get(&name).is_some_and(|is| is.eq_ignore_ascii_case(kept))
        });
        let origin = match rows.str(row, "origin")? {
            _ if is_persisted => Origin::Kept,
            "COMPILE-TIME" | "COMPILED" => Origin::Default,
            "SQL" | "DYNAMIC" => Origin::Running,
            _ => Origin::Kept,
        };
        Some((name, origin))
    };
    Ok((0..rows.len()).filter_map(origin).collect())
}

/// From whom it replicates, or is set up to.
pub async fn follows(server: &mut Server) -> Result<Vec<Follows>, String> {
    let sql = queries::replication(&server.version);
    Ok(read_follows(&ask(server, sql).await?))
}

fn read_follows(rows: &Rows) -> Vec<Follows> {
    let one = |row: &Vec<_>| {
        let single =
            Rows { columns: rows.columns.clone(), rows: vec![row.clone()], affected_rows: 0 };
        let channel = queries::read_channels(&single).pop()?;
        let text = |new: &str, old: &str| single.str(0, new).or_else(|| single.str(0, old));
        let number =
            |column: &str| single.u64(0, column).and_then(|code| code.try_into().ok()).unwrap_or(0);
        Some(Follows {
            channel,
            by_gtid: !matches!(text("Auto_Position", "Using_Gtid"), None | Some("0" | "No")),
            tls: matches!(text("Source_SSL_Allowed", "Master_SSL_Allowed"), Some("Yes" | "1")),
            user: text("Source_User", "Master_User").unwrap_or_default().into(),
            has_public_key: text("Get_Source_public_key", "Get_master_public_key") == Some("1")
                || text("Source_public_key_path", "Master_public_key_path")
                    .is_some_and(|path| !path.is_empty()),
            filters: filters(&single, 0),
            receiver_code: number("Last_IO_Errno"),
            applier_code: number("Last_SQL_Errno"),
        })
    };
    rows.rows.iter().filter_map(one).collect()
}

/// What is not replicated, or what alone is: the option's name and its value.
fn filters(rows: &Rows, row: usize) -> Vec<(String, String)> {
    let is_filter = |name: &&String| {
        let name = name.to_ascii_lowercase();
        (name.starts_with("replicate_") || name.starts_with("binlog_"))
            && ["_do_db", "_ignore_db", "_do_table", "_ignore_table", "_rewrite_db"]
                .iter()
                .any(|end| name.ends_with(end))
    };
    let value = |name: &String| {
        let value = rows.str(row, name).filter(|value| !value.is_empty())?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    rows.columns.iter().filter(is_filter).filter_map(value).collect()
}

/// What a server leaves out of its binary log.
pub async fn left_out(server: &mut Server) -> Result<Vec<(String, String)>, String> {
    let sql = queries::binary_log(&server.version);
    Ok(filters(&ask(server, sql).await?, 0))
}

/// Errors of a MySQL's parallel workers, number and text: the channel's own error only says that there
/// is one.
pub async fn worker_errors(server: &mut Server) -> Result<Vec<(u32, String)>, String> {
    let rows = ask(
        server,
        "SELECT LAST_ERROR_NUMBER AS code, LAST_ERROR_MESSAGE AS text \
         FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER <> 0",
    )
    .await?;
    let error = |row| {
        let code = rows.u64(row, "code")?.try_into().ok()?;
        Some((code, rows.str(row, "text").unwrap_or_default().to_owned()))
    };
    Ok((0..rows.len()).filter_map(error).collect())
}

pub async fn semi_sync(server: &mut Server) -> Result<SemiSync, String> {
    let status = ask(server, queries::semi_sync::STATUS).await?;
    Ok(queries::semi_sync::read(&status, &ask(server, queries::semi_sync::VARIABLES).await?))
}

/// MySQL 8.0 and later tell sizes as they were up to a day ago, or none, unless they are told not to.
pub async fn have_sizes_read_anew(
    server: &mut Server,
    variables: &BTreeMap<String, String>,
) -> Result<(), String> {
    if variables.contains_key("information_schema_stats_expiry") {
        ask(server, "SET SESSION information_schema_stats_expiry = 0").await?;
    }
    Ok(())
}

/// What there is of the user's, and whether a copy was cut off.
pub async fn schemas(server: &mut Server) -> Result<(Vec<Schema>, bool), String> {
    let rows = ask(server, OBJECTS).await?;
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in 0..rows.len() {
        let Some(name) = rows.str(row, "name") else { continue };
        if is_system_database(name.as_bytes()) || name == UNFINISHED {
            continue;
        }
        let entry = found.entry(name.to_owned()).or_default();
        entry.0 += rows.u64(row, "objects").unwrap_or(0);
        entry.1 += rows.u64(row, "bytes").unwrap_or(0);
    }
    let schemas =
        found.into_iter().map(|(name, (objects, bytes))| Schema { name, objects, bytes }).collect();
    let mark = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{UNFINISHED}'"
    );
    Ok((schemas, !ask(server, &mark).await?.is_empty()))
}

pub async fn cloning(server: &mut Server, plugins: &BTreeSet<String>) -> Result<Cloning, String> {
    if !plugins.contains("clone") {
        return Ok(Cloning::None);
    }
    let rows = ask(server, CLONE_STATUS).await?;
    Ok(match (rows.str(0, "STATE"), rows.str(0, "SOURCE")) {
        (Some("In Progress"), Some(source)) if source != "LOCAL INSTANCE" => Cloning::Running,
        (Some("Completed"), Some(source)) => Cloning::Completed(source.to_owned()),
        _ => Cloning::None,
    })
}

/// Which of the privileges `needed` the account that asks lacks; it must also be able to grant. With a
/// role in force nothing is said of it: the server does not list what a role may.
pub async fn lacking(
    server: &mut Server,
    needed: &[&'static str],
) -> Result<Vec<&'static str>, String> {
    if server.version.flavour == Flavour::MariaDb || server.version.at_least(8, 0) {
        let role = server.value("SELECT CURRENT_ROLE()").await?;
        if role.is_some_and(|role| role != "NONE") {
            return Ok(Vec::new());
        }
    }
    let user = server.value("SELECT CURRENT_USER()").await?.unwrap_or_default();
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    let grantee = quoted(&format!("'{name}'@'{host}'"));
    let rows = ask(
        server,
        &format!(
            "SELECT PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES \
             WHERE GRANTEE = {grantee}"
        ),
    )
    .await?;
    let has = column(&rows);
    let mut lacking: Vec<&str> =
        needed.iter().copied().filter(|privilege| !has.contains(*privilege)).collect();
    let may_grant = (0..rows.len()).any(|row| rows.str(row, "IS_GRANTABLE") == Some("YES"));
    if !may_grant && lacking.is_empty() {
        lacking.push("REPLICATION SLAVE");
    }
    Ok(lacking)
}

/// The account of this name for any host, if there is one.
pub async fn account(server: &mut Server, user: &str) -> Result<Option<Account>, String> {
    let name = quoted(user);
    // MariaDB's mysql.user is a view, which the monitor need not be let to read.
    let own = match server.version.flavour {
        Flavour::MariaDb if server.version.at_least(10, 4) => {
            "IF(JSON_VALUE(Priv, '$.ssl_type') > 0, 'ANY', '') AS ssl_type FROM mysql.global_priv"
        }
        _ => "ssl_type FROM mysql.user",
    };
    let row = ask(server, &format!("SELECT {own} WHERE User = {name} AND Host = '%'")).await?;
    if row.is_empty() {
        return Ok(None);
    }
    let grantee = quoted(&format!("'{user}'@'%'"));
    let global = ask(
        server,
        &format!(
            "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {grantee}"
        ),
    )
    .await?;
    let tables = ask(
        server,
        &format!(
            "SELECT TABLE_NAME FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = {grantee} \
             AND TABLE_SCHEMA = 'mysql' AND PRIVILEGE_TYPE = 'SELECT' \
             UNION SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mysql' \
             AND EXISTS (SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = {grantee} \
             AND TABLE_SCHEMA = 'mysql' AND PRIVILEGE_TYPE = 'SELECT')"
        ),
    )
    .await?;
    Ok(Some(Account {
        global: column(&global),
        tables: column(&tables),
        requires_tls: row.str(0, "ssl_type").is_some_and(|kind| !kind.is_empty()),
        ..Account::default()
    }))
}
