//! Answers that the proxy gives by itself.

use super::session::{End, Session};
use crate::wire::Flavour;
use crate::wire::reply::{OkPacket, ServerError, put_err, put_ok};

impl Session {
    pub(super) async fn answer_ok(&mut self, is_statement: bool) -> Result<(), End> {
        self.state.outcome.answered_ok(is_statement);
        let warnings = match self.dialect.flavour {
            Flavour::MySql => self.state.outcome.warnings,
            Flavour::MariaDb => 0,
        };
        let ok = OkPacket { status: self.state.status(), warnings, ..OkPacket::default() };
        let mut payload = Vec::with_capacity(16);
        put_ok(&mut payload, &ok, self.client.capabilities);
        Ok(self.client.write_packet(1, &payload).await?)
    }

    pub(super) async fn answer_error(
        &mut self,
        sequence: u8,
        error: &ServerError,
    ) -> Result<(), End> {
        self.state.outcome.refused(error);
        self.write_error(sequence, error).await
    }

    /// Answers with an error that MySQL adds to those of the statement before.
    pub(super) async fn answer_further_error(&mut self, error: &ServerError) -> Result<(), End> {
        self.take_diagnostics_along().await?;
        self.state.outcome.refused_besides(error);
        self.write_error(1, error).await
    }

    async fn write_error(&mut self, sequence: u8, error: &ServerError) -> Result<(), End> {
        let mut payload = Vec::with_capacity(16 + error.message.len());
        put_err(&mut payload, &error.as_packet());
        Ok(self.client.write_packet(sequence, &payload).await?)
    }
}
