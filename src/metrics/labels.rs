//! The values of labels: enums, so that a counter is found by index and names are bounded.

/// A label whose values are known in advance.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];
    /// As it is shown.
    fn name(self) -> &'static str;
    /// Its place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$value,)+];

            fn name(self) -> &'static str {
                match self {
                    $($name::$value => $text,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// Where a statement was answered.
    Destination {
        Primary = "primary",
        Replica = "replica",
        /// By the proxy itself.
        Local = "local",
    }
}

labels! {
    /// Which limit turned a client away.
    Refusal {
        MaxConnections = "max_connections",
        PerUser = "per_user",
        PerAddress = "per_address",
    }
}

labels! {
    /// Why a login failed.
    LoginFailure {
        AccessDenied = "access_denied",
        Timeout = "timeout",
        /// No header of the PROXY protocol, or a wrong one, where one must be.
        ProxyHeader = "proxy_header",
        /// Bytes that are no login.
        Malformed = "malformed",
        /// TLS is required, or its handshake failed.
        Tls = "tls",
        /// The account's authentication plugin cannot be served.
        Plugin = "plugin",
        /// The primary could not be asked, or none was ever seen.
        Backend = "backend",
        /// The client went away.
        Closed = "closed",
    }
}

labels! {
    /// What became of reads that must see something which no replica was known to have.
    FreshRead {
        /// A replica had it, or got it in time.
        Waited = "waited",
        /// The replica that was asked did not get it in time.
        TimedOut = "timed_out",
        /// The replica that was asked gave no answer.
        NoAnswer = "no_answer",
        /// The primary served it: none could be asked, or the answer was no.
        Primary = "primary",
    }
}

labels! {
    /// Errors that clients got from the proxy itself, and ends of sessions that were none of
    /// theirs.
    ErrorKind {
        /// No server may take the statement.
        NoBackend = "no_backend",
        WritesStopped = "writes_stopped",
        LeaseTimeout = "lease_timeout",
        Dial = "dial",
        /// A connection could not be brought to the session's state.
        Restore = "restore",
        /// A server went away in the middle.
        BackendLost = "backend_lost",
        /// A server sent what is no reply.
        BackendProtocol = "backend_protocol",
        ClientProtocol = "client_protocol",
        ClientTimeout = "client_timeout",
        Killed = "killed",
        Shutdown = "shutdown",
    }
}

labels! {
    /// What has happened to the servers; the events of one kind are counted together.
    EventKind {
        /// Listed by Docker or `proxy.toml`, or started anew; not asked yet.
        ServerFound = "server_found",
        /// No longer listed.
        ServerGone = "server_gone",
        /// Answers the monitor.
        ServerUp = "server_up",
        ServerDown = "server_down",
        /// The monitor's account is refused, or lacks a privilege.
        ServerNoAccess = "server_no_access",
        /// It cannot be used as it is set up.
        ServerLeftOut = "server_left_out",
        RoleChanged = "role_changed",
        ReadsPossible = "reads_possible",
        ReadsStopped = "reads_stopped",
        /// A replica lags too far for reads.
        LagOut = "lag_out",
        /// One that did takes reads again.
        LagIn = "lag_in",
        /// Writes go to another server than the last time.
        PrimaryChanged = "primary_changed",
        WritesStopped = "writes_stopped",
        /// They go on, on the server where they went last.
        WritesPossible = "writes_possible",
        /// Commits are no longer acknowledged by replicas, or will soon not be.
        SemiSyncLost = "semi_sync_lost",
        /// They were not between two probes.
        SemiSyncLapsed = "semi_sync_lapsed",
        SemiSyncBack = "semi_sync_back",
        /// The number of replicas that acknowledge.
        SemiSyncReplicas = "semi_sync_replicas",
        /// It is switched on or off, or set otherwise.
        SemiSyncChanged = "semi_sync_changed",
        /// A step of a switchover, or how it ended.
        Switchover = "switchover",
        /// Something is wrong though the server serves.
        Warning = "warning",
        /// It no longer is.
        WarningOver = "warning_over",
        /// A look at the cluster has found something that needs mending.
        Finding = "finding",
        /// The latest look no longer finds it.
        FindingOver = "finding_over",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label>() {
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index);
            assert!(L::ALL[..index].iter().all(|other| other.name() != label.name()));
        }
    }

    #[test]
    fn every_value_has_its_place_and_name() {
        check::<Destination>();
        check::<Refusal>();
        check::<LoginFailure>();
        check::<ErrorKind>();
        check::<FreshRead>();
        check::<EventKind>();
    }
}
