//! What a statement changes.

use crate::session::characteristics::Characteristics;
use crate::session::settings::is_of_names;
use crate::session::text_kills::TextKill;
use crate::session::user_variables::Assigned;
use crate::sql::variables::SessionVariable;

/// What a statement changes in the session's settings if it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// SET NAMES, SET CHARACTER SET: what stands behind SET.
    Names(String),
    /// SET ROLE: what stands behind ROLE.
    Role(String),
    /// A user variable, by lower-case name.
    UserVariable { name: String, value: Assigned },
    /// A session variable, lower-case, and a value that reads the same under every `sql_mode`.
    Variable { name: String, value: String },
    /// The variable has its default again.
    Default { name: String },
    /// The variable has the value that the reply tells, or that was asked for; one that is not
    /// known then pins.
    Told { name: &'static str },
    /// All that is said of the next transaction by now.
    NextTransaction(Characteristics),
    /// A text is prepared by this name.
    Text { name: Vec<u8>, kill: Option<TextKill> },
}

impl Change {
    /// Whether literals have another character set or collation after it.
    pub(super) fn recodes(&self) -> bool {
        match self {
            Change::Names(_) => true,
            Change::Variable { name, .. } | Change::Default { name } => is_of_names(name),
            Change::Told { name } => is_of_names(name),
            Change::Role(_)
            | Change::UserVariable { .. }
            | Change::NextTransaction(_)
            | Change::Text { .. } => false,
        }
    }

    /// Whether the change says what becomes of this variable.
    pub(super) fn covers(&self, variable: &SessionVariable) -> bool {
        match self {
            Change::Names(_) => is_of_names(variable.name),
            Change::Variable { name, .. } | Change::Default { name } => name == variable.name,
            Change::Told { name } => *name == variable.name,
            Change::Role(_)
            | Change::UserVariable { .. }
            | Change::NextTransaction(_)
            | Change::Text { .. } => false,
        }
    }
}
