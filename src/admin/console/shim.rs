//! The library's calls, answered.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter, OkResponse,
    ParamParser, QueryResultWriter, StatementMetaWriter, StatusFlags,
};
use tokio::io::AsyncWrite;

use super::answer::{Answer, answer};
use super::entrance::Client;
use super::judge::{Refusal, refused};
use super::login::{Answer as LoginAnswer, is_admitted};
use crate::admin::Admin;
use crate::admin::table::{Cell, Kind, Table};

/// What clients take for the server's version. The first number decides how they speak: 8 gives
/// utf8mb4 and no ancient forms of statements.
pub const VERSION: &str = concat!("8.0.0-rwproxy-", env!("CARGO_PKG_VERSION"));

/// One client of the console.
pub struct Shim {
    pub admin: Arc<Admin>,
    pub client: Client,
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn connect_id(&self) -> u32 {
        self.client.id
    }

    /// No plugin: the library then never asks to switch.
    async fn auth_plugin_for_username(&self, _user: &[u8]) -> &str {
        ""
    }

    fn salt(&self) -> [u8; 20] {
        *self.client.nonce.as_bytes()
    }

    /// The entrance has decided before; the library would let everybody in.
    async fn authenticate(
        &self,
        _plugin: &str,
        user: &[u8],
        _salt: &[u8],
        auth_data: &[u8],
    ) -> bool {
        let config = self.admin.config.borrow().clone();
        let Client { peer, nonce, .. } = &self.client;
        is_admitted(&config.admin, *peer, nonce, user, LoginAnswer::of(auth_data))
    }

    async fn on_init<'a>(
        &'a mut self,
        _database: &'a str,
        writer: InitWriter<'a, W>,
    ) -> io::Result<()> {
        writer.ok().await
    }

    async fn on_query<'a>(
        &'a mut self,
        query: &'a str,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        match refused(query) {
            Some(Refusal::UnknownCommand) => {
                let message = "Unknown command: the console takes text statements only; try HELP";
                return results.error(ErrorKind::ER_UNKNOWN_COM_ERROR, message.as_bytes()).await;
            }
            Some(Refusal::NotUtf8) => {
                let message = "Invalid utf8mb4 character string";
                let kind = ErrorKind::ER_INVALID_CHARACTER_STRING;
                return results.error(kind, message.as_bytes()).await;
            }
            None => {}
        }
        match answer(query, &self.admin, self.client.id).await {
            Answer::Table(table) => send(&table, results).await,
            Answer::Ok => {
                let status_flags = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
                results.completed(OkResponse { status_flags, ..OkResponse::default() }).await
            }
            Answer::Error(kind, message) => results.error(kind, message.as_bytes()).await,
        }
    }

    /// The gate lets no such command pass.
    async fn on_prepare<'a>(
        &'a mut self,
        _query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        info.error(ErrorKind::ER_UNKNOWN_COM_ERROR, &b"Unknown command"[..]).await
    }

    /// The gate lets no such command pass.
    async fn on_execute<'a>(
        &'a mut self,
        _statement: u32,
        _parameters: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        results.error(ErrorKind::ER_UNKNOWN_COM_ERROR, &b"Unknown command"[..]).await
    }

    async fn on_close<'a>(&'a mut self, _statement: u32)
    where
        W: 'async_trait,
    {
    }
}

async fn send<W: AsyncWrite + Send + Unpin>(
    table: &Table,
    results: QueryResultWriter<'_, W>,
) -> io::Result<()> {
    let columns: Vec<Column> = table
        .columns
        .iter()
        .map(|column| {
            let (coltype, colflags) = match column.kind {
                Kind::Text => (ColumnType::MYSQL_TYPE_VAR_STRING, ColumnFlags::empty()),
                Kind::Number => (ColumnType::MYSQL_TYPE_LONGLONG, ColumnFlags::UNSIGNED_FLAG),
            };
            Column { table: String::new(), column: column.name.to_string(), coltype, colflags }
        })
        .collect();
    let mut rows = results.start(&columns).await?;
    for row in &table.rows {
        for cell in row {
            match cell {
                Cell::Null => rows.write_col(None::<&str>)?,
                Cell::Text(text) => rows.write_col(text.as_str())?,
                Cell::Number(number) => rows.write_col(*number)?,
            }
        }
        rows.end_row().await?;
    }
    rows.finish().await
}
