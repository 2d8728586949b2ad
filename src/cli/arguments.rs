//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::explain::FlavourArgument;

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
    fn the_file_may_stand_before_or_after_the_subcommand() {
        for line in [["rwproxy", "-c", "a", "healthcheck"], ["rwproxy", "healthcheck", "-c", "a"]] {
            assert_eq!(Arguments::parse_from(line).config, Some(PathBuf::from("a")));
        }
        assert!(Arguments::parse_from(["rwproxy"]).command.is_none());
    }
}
