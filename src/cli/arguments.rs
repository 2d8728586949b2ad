//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rwproxy::check::audit::Only;
use rwproxy::config::parse_duration;
use rwproxy::setup::{Options, SemiSyncOptions, WaitPoint};

use super::explain::FlavourArgument;
use super::setup::Wishes;

/// A read/write-splitting proxy for MySQL and MariaDB in Docker containers.
///
/// Without a subcommand it serves.
#[derive(Debug, Parser)]
#[command(name = "rwproxy", version)]
pub struct Arguments {
    /// Configuration file [default: proxy.toml in the working directory, where there is one]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says where a statement would go, and why, by its text and the rules of the configuration file
    Explain {
        /// One statement
        sql: String,
        /// The servers' flavour
        #[arg(long, value_enum, default_value = "mysql")]
        flavour: FlavourArgument,
        /// The session's sql_mode, e.g. ANSI_QUOTES,NO_BACKSLASH_ESCAPES
        #[arg(long, default_value = "", value_name = "MODES")]
        sql_mode: String,
        /// The session's default database
        #[arg(long, default_value = "", value_name = "NAME")]
        database: String,
        /// The session's user, for rules
        #[arg(long, default_value = "", value_name = "NAME")]
        user: String,
    },
    /// Brings the servers from nothing to replication: shows what it would do, asks, does it, and
    /// verifies it. Run again it changes only what is missing
    Setup(SetupArguments),
    /// Says what is wrong with the cluster, and what mends it; exit code 1 for warnings, 2 for errors
    Check(CheckArguments),
    /// Makes a replica the primary, by the running proxy: writes wait meanwhile and are not lost
    Switchover {
        /// The replica's name, as SHOW BACKENDS has it
        server: String,
        /// Takes the former primary from sessions that are in a transaction or pinned to it, instead
        /// of giving up
        #[arg(long)]
        force: bool,
    },
    /// Asks the running proxy whether it is ready; exit code 0 if so
    Healthcheck,
    /// About the configuration file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Args)]
pub struct SetupArguments {
    /// Agrees to the plan without being asked
    #[arg(long)]
    pub yes: bool,
    /// Shows the plan and changes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// A server whose own data may be lost; may be given several times
    #[arg(long, value_name = "NAME")]
    pub overwrite: Vec<String>,
    /// Leaves semi-synchronous replication as it is
    #[arg(long, conflicts_with_all = ["semi_sync_timeout", "semi_sync_wait_point", "semi_sync_replicas"])]
    pub no_semi_sync: bool,
    /// How long a commit waits for replicas before it goes on without them, e.g. 10s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub semi_sync_timeout: Option<Duration>,
    /// Whether a commit waits before others see it, or after
    #[arg(long, value_enum, value_name = "POINT")]
    pub semi_sync_wait_point: Option<WaitPointArgument>,
    /// How many replicas must have a commit (MySQL)
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub semi_sync_replicas: Option<u32>,
    /// Replicas fetch over TLS, and only so
    #[arg(long)]
    pub tls: bool,
    /// How long to wait for containers that you are asked to start
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    pub wait: Duration,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Does what is safe while everything is in use: shows the statements, asks, runs them one after
    /// the other, and prints what is left. Needs [administrator]
    #[arg(long, conflicts_with_all = ["data", "json"])]
    pub fix: bool,
    /// Agrees to the statements without being asked
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// Looks again and again, every so often, until it is ended: on a terminal the table is drawn anew,
    /// elsewhere something is printed when something has changed, as JSON in one line each
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5s",
        value_parser = parse_duration,
        conflicts_with_all = ["data", "fix"]
    )]
    pub watch: Option<Duration>,
    /// Compares the data of the replicas with the primary's, table by table. Nothing is written to
    /// the servers
    #[arg(long)]
    pub data: bool,
    /// The part of the time that servers may be busy with it, 0.01 to 1
    #[arg(long, value_name = "FRACTION", default_value = "0.5", value_parser = fraction, requires = "data")]
    pub load: f64,
    /// How long a replica may take to reach where the primary was
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration, requires = "data")]
    pub patience: Duration,
    /// Keeps in this file how far it has come, and goes on from there if it was cut off; the file is
    /// removed at the end
    #[arg(long, value_name = "FILE", requires = "data")]
    pub resume: Option<PathBuf>,
    /// A schema or a table to compare, instead of all; may be given several times
    #[arg(long, value_name = "SCHEMA[.TABLE]", value_parser = only, requires = "data")]
    pub table: Vec<Only>,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

fn fraction(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    match (0.01..=1.0).contains(&value) {
        true => Ok(value),
        false => Err("it must be 0.01 to 1".to_owned()),
    }
}

/// What stands behind the first dot is the table: its name may have dots.
fn only(text: &str) -> Result<Only, String> {
    let (schema, table) = match text.split_once('.') {
        Some((schema, table)) => (schema, Some(table)),
        None => (text, None),
    };
    if schema.is_empty() || table == Some("") {
        return Err("it must be SCHEMA or SCHEMA.TABLE".to_owned());
    }
    Ok(Only { schema: schema.to_owned(), table: table.map(str::to_owned) })
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WaitPointArgument {
    AfterSync,
    AfterCommit,
}

impl SetupArguments {
    pub fn wishes(self) -> Wishes {
        let semi_sync = SemiSyncOptions {
            timeout: self.semi_sync_timeout,
            wait_point: self.semi_sync_wait_point.map(|point| match point {
                WaitPointArgument::AfterSync => WaitPoint::AfterSync,
                WaitPointArgument::AfterCommit => WaitPoint::AfterCommit,
            }),
            replicas: self.semi_sync_replicas,
        };
        Wishes {
            options: Options {
                overwrite: self.overwrite.into_iter().collect(),
                semi_sync: (!self.no_semi_sync).then_some(semi_sync),
                tls: self.tls,
            },
            agreed: self.yes,
            dry_run: self.dry_run,
            wait: self.wait,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Says what is wrong with the file; exit code 0 if nothing is
    Check,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_to_be_compared() {
        let parse = |arguments: &[&str]| {
            let line = ["rwproxy", "check"].iter().chain(arguments);
            Arguments::try_parse_from(line).map(|parsed| match parsed.command {
                Some(Command::Check(arguments)) => arguments,
                other => panic!("{other:?}"),
            })
        };
        let all = parse(&["--data", "--table", "a", "--table", "b.c.d", "--load", "0.2"]);
        let all = all.expect("legal arguments");
        let table = |schema: &str, table: Option<&str>| Only {
            schema: schema.to_owned(),
            table: table.map(str::to_owned),
        };
        assert_eq!(all.table, [table("a", None), table("b", Some("c.d"))]);
        assert!(all.data && all.load == 0.2 && all.patience == Duration::from_secs(60));
        let refused: [&[&str]; 12] = [
            &["--data", "--load", "0"],
            &["--data", "--load", "1.5"],
            &["--data", "--load", "NaN"],
            &["--data", "--table", ".t"],
            &["--data", "--table", "s."],
            &["--load", "0.2"],
            &["--fix", "--data"],
            &["--fix", "--json"],
            &["--yes"],
            &["--watch", "--data"],
            &["--watch", "--fix"],
            &["--watch=often"],
        ];
        for arguments in refused {
            parse(arguments).expect_err("it means nothing");
        }
    }

    #[test]
    fn how_often_it_looks() {
        let watch = |line: &[&str]| match Arguments::parse_from(line).command {
            Some(Command::Check(arguments)) => arguments.watch,
            other => panic!("{other:?}"),
        };
        assert_eq!(watch(&["rwproxy", "check"]), None);
        assert_eq!(watch(&["rwproxy", "check", "--watch"]), Some(Duration::from_secs(5)));
        assert_eq!(watch(&["rwproxy", "check", "--watch=1m"]), Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_file_may_stand_before_or_after_the_subcommand() {
        for line in [["rwproxy", "-c", "a", "healthcheck"], ["rwproxy", "healthcheck", "-c", "a"]] {
            assert_eq!(Arguments::parse_from(line).config, Some(PathBuf::from("a")));
        }
        assert!(Arguments::parse_from(["rwproxy"]).command.is_none());
    }
}
