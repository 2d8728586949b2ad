//! What a client asks for: the first byte of a command packet and what stands behind it.

use super::scanner::Expect;

/// Command bytes (`enum_server_command` in MySQL's my_command.h; MariaDB adds 0xFA).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    Quit,
    InitDb,
    Query,
    FieldList,
    CreateDb,
    DropDb,
    Refresh,
    Shutdown,
    Statistics,
    ProcessInfo,
    ProcessKill,
    Debug,
    Ping,
    ChangeUser,
    BinlogDump,
    TableDump,
    RegisterReplica,
    StmtPrepare,
    StmtExecute,
    StmtSendLongData,
    StmtClose,
    StmtReset,
    SetOption,
    StmtFetch,
    BinlogDumpGtid,
    ResetConnection,
    /// MariaDB's COM_STMT_BULK_EXECUTE.
    StmtBulkExecute,
    /// Anything else: internal commands of servers (COM_SLEEP, COM_CONNECT …), unknown bytes.
    Unknown(u8),
}

impl Command {
    pub fn from_byte(byte: u8) -> Self {
        use Command::*;
        match byte {
            0x01 => Quit,
            0x02 => InitDb,
            0x03 => Query,
            0x04 => FieldList,
            0x05 => CreateDb,
            0x06 => DropDb,
            0x07 => Refresh,
            0x08 => Shutdown,
            0x09 => Statistics,
            0x0A => ProcessInfo,
            0x0C => ProcessKill,
            0x0D => Debug,
            0x0E => Ping,
            0x11 => ChangeUser,
            0x12 => BinlogDump,
            0x13 => TableDump,
            0x15 => RegisterReplica,
            0x16 => StmtPrepare,
            0x17 => StmtExecute,
            0x18 => StmtSendLongData,
            0x19 => StmtClose,
            0x1A => StmtReset,
            0x1B => SetOption,
            0x1C => StmtFetch,
            0x1E => BinlogDumpGtid,
            0x1F => ResetConnection,
            0xFA => StmtBulkExecute,
            other => Unknown(other),
        }
    }

    /// The shape of the server's reply, or `None` for commands that have none.
    pub fn expects(self) -> Option<Expect> {
        use Command::*;
        match self {
            Quit | StmtSendLongData | StmtClose => None,
            Query | ProcessInfo | StmtExecute | StmtBulkExecute => Some(Expect::Results),
            FieldList => Some(Expect::Fields),
            StmtPrepare => Some(Expect::Prepare),
            StmtFetch => Some(Expect::Rows),
            Statistics => Some(Expect::Text),
            BinlogDump | BinlogDumpGtid | TableDump => Some(Expect::Stream),
            InitDb | CreateDb | DropDb | Refresh | Shutdown | ProcessKill | Debug | Ping
            | ChangeUser | RegisterReplica | StmtReset | SetOption | ResetConnection
            | Unknown(_) => Some(Expect::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_without_reply() {
        for byte in 0..=u8::MAX {
            let command = Command::from_byte(byte);
            assert_eq!(
                command.expects().is_none(),
                matches!(byte, 0x01 | 0x18 | 0x19),
                "{command:?}"
            );
        }
    }
}
