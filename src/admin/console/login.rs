//! Whether a client may use the console, pure.

use std::net::IpAddr;

use crate::config;
use crate::wire::auth::{self, Nonce};

/// How a client has answered the greeting, told apart by length alone: clients without
/// caching_sha2_password answer by mysql_native_password, whatever the greeting asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    NoPassword,
    Native(&'a [u8; 20]),
    CachingSha2(&'a [u8; 32]),
    Other,
}

impl<'a> Answer<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        match bytes {
            // caching_sha2_password of some clients sends the empty password with its NUL.
            [] | [0] => Answer::NoPassword,
            _ => match (bytes.try_into(), bytes.try_into()) {
                (Ok(native), _) => Answer::Native(native),
                (_, Ok(sha2)) => Answer::CachingSha2(sha2),
                _ => Answer::Other,
            },
        }
    }

    fn proves(self, password: &[u8], nonce: &Nonce) -> bool {
        match self {
            Answer::NoPassword => password.is_empty(),
            Answer::Native(scramble) => {
                let stage1 = auth::native_stage1(password);
                auth::same_secret(scramble, &auth::native_scramble(&stage1, nonce))
            }
            Answer::CachingSha2(scramble) => auth::sha2_verify(scramble, nonce, password),
            Answer::Other => false,
        }
    }
}

/// Whether a client may come in. Without a password in the configuration only clients on this
/// machine may, and with an empty one.
pub fn is_admitted(
    account: &config::Admin,
    peer: Option<IpAddr>,
    nonce: &Nonce,
    user: &[u8],
    answer: Answer<'_>,
) -> bool {
    let is_proved = match &account.password {
        Some(password) => answer.proves(password.expose().as_bytes(), nonce),
        None => peer.is_none_or(|ip| ip.is_loopback()) && answer == Answer::NoPassword,
    };
    is_proved && user == account.user.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn who_may_come_in() {
        let nonce = Nonce::from_random([7; Nonce::LENGTH]);
        let native = auth::native_scramble(&auth::native_stage1(b"secret"), &nonce);
        let sha2 = auth::sha2_scramble(b"secret", &nonce);
        let here = Some("127.0.0.1".parse().unwrap());
        let there = Some("10.0.0.1".parse().unwrap());
        let table = [
            (None, here, "admin", &b""[..], true),
            (None, here, "admin", &b"\0"[..], true),
            (None, None, "admin", &b""[..], true),
            (None, there, "admin", &b""[..], false),
            (None, here, "root", &b""[..], false),
            (None, here, "admin", &sha2[..], false),
            (Some("secret"), there, "admin", &native[..], true),
            (Some("secret"), there, "admin", &sha2[..], true),
            (Some("secret"), here, "admin", &b""[..], false),
            (Some("secret"), here, "admin", &b"secret\0"[..], false),
            (Some("other"), here, "admin", &sha2[..], false),
            (Some("secret"), here, "root", &sha2[..], false),
        ];
        for (password, peer, user, answer, admitted) in table {
            let account = config::Admin {
                password: password.map(|text| Secret::new(text.to_owned())),
                ..config::Admin::default()
            };
            assert_eq!(
                is_admitted(&account, peer, &nonce, user.as_bytes(), Answer::of(answer)),
                admitted,
                "{password:?} {peer:?} {user} {}",
                answer.len()
            );
        }
    }
}
