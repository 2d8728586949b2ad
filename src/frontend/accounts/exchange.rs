//! Which exchange to begin with a client, by what the servers' accounts are.

use crate::session::accounts::Directory;
use crate::wire::auth::{NATIVE_PASSWORD, Plugin};

/// Plugins of servers that sign with the password itself, which their clients never send: only the
/// configuration can tell it.
const NEEDS_LISTING: [&[u8]; 2] = [b"ed25519", b"parsec"];

/// Plugins of servers that no password satisfies: they ask for a key, a ticket or a socket.
const OUT_OF_REACH: [&[u8]; 14] = [
    b"auth_socket",
    b"authentication_fido",
    b"authentication_kerberos",
    b"authentication_ldap_sasl",
    b"authentication_oci",
    b"authentication_openid_connect",
    b"authentication_webauthn",
    b"authentication_windows",
    b"gssapi",
    b"mysql_no_login",
    b"mysql_old_password",
    b"named_pipe",
    b"no_login",
    b"unix_socket",
];

/// Which exchange proves a client, and whether that can lead anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    Native,
    CachingSha2,
    /// The password must stand in the configuration.
    NeedsListing {
        plugin: String,
    },
    /// Every way to log in as the account asks for what we cannot have.
    OutOfReach {
        plugin: String,
    },
}

pub(super) fn default_exchange(default: Plugin) -> Exchange {
    match default {
        Plugin::NativePassword => Exchange::Native,
        _ => Exchange::CachingSha2,
    }
}

/// The exchange that fits what the directory says of a user.
pub(super) fn exchange(directory: &Directory, user: &[u8], default: Plugin) -> Exchange {
    if !directory.is_read() {
        // Whatever the account's plugin is, the password itself is enough for it.
        return Exchange::CachingSha2;
    }
    let rows = match directory.own_rows(user) {
        [] => directory.own_rows(b""),
        own => own,
    };
    let Some(first) = rows.first() else {
        return default_exchange(default);
    };
    let reach = |plugin: &[u8]| match plugin {
        b"" | NATIVE_PASSWORD => Exchange::Native,
        plugin if NEEDS_LISTING.contains(&plugin) => {
            Exchange::NeedsListing { plugin: String::from_utf8_lossy(plugin).into_owned() }
        }
        plugin if OUT_OF_REACH.contains(&plugin) => {
            Exchange::OutOfReach { plugin: String::from_utf8_lossy(plugin).into_owned() }
        }
        _ => Exchange::CachingSha2,
    };
    // The password itself serves rows of every kind, a hash only its own.
    let exchanges = || rows.iter().map(|row| reach(&row.plugin));
    if exchanges().any(|exchange| exchange == Exchange::CachingSha2) {
        Exchange::CachingSha2
    } else if exchanges().any(|exchange| exchange == Exchange::Native) {
        Exchange::Native
    } else {
        exchanges()
            .find(|exchange| matches!(exchange, Exchange::NeedsListing { .. }))
            .unwrap_or_else(|| reach(&first.plugin))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{directory, row};
    use super::*;

    #[test]
    fn the_exchange_follows_the_rows() {
        let listing = || Exchange::NeedsListing { plugin: "ed25519".into() };
        let out = || Exchange::OutOfReach { plugin: "unix_socket".into() };
        let table: [(&[&str], Exchange); 9] = [
            (&[], Exchange::Native),
            (&["mysql_native_password"], Exchange::Native),
            (&["", "unix_socket"], Exchange::Native),
            (&["unix_socket", "mysql_native_password"], Exchange::Native),
            (&["mysql_native_password", "caching_sha2_password"], Exchange::CachingSha2),
            (&["sha256_password"], Exchange::CachingSha2),
            (&["pam"], Exchange::CachingSha2),
            (&["unix_socket", "ed25519"], listing()),
            (&["unix_socket"], out()),
        ];
        for (plugins, expected) in table {
            let rows: Vec<_> = plugins.iter().map(|plugin| ("app", row(plugin))).collect();
            let found = exchange(&directory(1, &rows), b"app", Plugin::NativePassword);
            assert_eq!(found, expected, "{plugins:?}");
        }
        // The anonymous account stands in for names that have none.
        let anonymous = directory(1, &[("", row("caching_sha2_password"))]);
        assert_eq!(exchange(&anonymous, b"x", Plugin::NativePassword), Exchange::CachingSha2);
        let unread = Directory::unread();
        assert_eq!(exchange(&unread, b"app", Plugin::NativePassword), Exchange::CachingSha2);
    }
}
