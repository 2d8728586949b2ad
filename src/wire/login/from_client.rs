//! Our side when a client logs in to us.
//!
//! The machine conducts the exchange; whether what the client answered is right, its driver knows.

use zeroize::Zeroizing;

use super::to_server::Payload;
use super::{AuthSwitch, FAST_OK, FULL, KEY_REQUEST, MORE_DATA};
use crate::wire::auth::{Nonce, Plugin, xor};
use crate::wire::codec::Malformed;

/// The payload that tells a client of caching_sha2_password that its scramble was right. The final
/// OK follows it.
pub const FAST_AUTH_OK: [u8; 2] = [MORE_DATA, FAST_OK];

/// What the driver has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Demand {
    /// Send this payload, read the client's next packet, give it to
    /// [`receive`](LoginFromClient::receive).
    Exchange(Vec<u8>),
    /// Send the RSA public key by [`public_key`](LoginFromClient::public_key).
    PublicKey,
    /// Decrypt this with the RSA private key, give the result to
    /// [`decrypted`](LoginFromClient::decrypted).
    Decrypt(Vec<u8>),
    /// The client says that it has no password.
    NoPassword,
    /// Check this answer to the nonce. If it cannot be checked, or (caching_sha2_password) is not
    /// right, ask for the password itself by [`full`](LoginFromClient::full).
    Scramble(Vec<u8>),
    /// The password itself.
    Password(Payload),
}

/// Where the exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next packet is the first answer under our plugin.
    Answer,
    /// The next packet is the password, its ciphertext, or the wish for the key.
    Password,
    /// The next packet is the ciphertext.
    Ciphertext,
}

/// One client's exchange under one plugin.
#[derive(Debug)]
pub struct LoginFromClient {
    plugin: Plugin,
    nonce: Nonce,
    /// TLS or a Unix socket, where clients send the password as it is.
    secure: bool,
    stage: Stage,
}

impl LoginFromClient {
    /// `plugin`: the account's; the exchanges known here are mysql_native_password's and
    /// caching_sha2_password's, and every other plugin is served by the latter, which gets at the
    /// password.
    pub fn new(plugin: Plugin, nonce: Nonce, secure: bool) -> Self {
        let plugin = match plugin {
            Plugin::NativePassword => Plugin::NativePassword,
            _ => Plugin::CachingSha2Password,
        };
        LoginFromClient { plugin, nonce, secure, stage: Stage::Answer }
    }

    /// Begins with the client's response to the greeting.
    pub fn begin(&self, plugin: Option<&[u8]>, response: &[u8]) -> Result<Demand, Malformed> {
        // A client without plugins scrambles as mysql_native_password does.
        let plugin = plugin.unwrap_or(Plugin::NativePassword.name());
        if plugin == self.plugin.name() { self.answer(response) } else { Ok(self.switch()) }
    }

    /// Begins with a request to change over to our plugin. The nonce stays that of the greeting:
    /// libmysqlclient and libmariadb answer mysql_native_password's request within
    /// COM_CHANGE_USER by the first nonce, whatever the request carries.
    pub fn switch(&self) -> Demand {
        let mut data = self.nonce.as_bytes().to_vec();
        data.push(0);
        let mut payload = Vec::new();
        AuthSwitch { plugin: self.plugin.name(), data: &data }.put(&mut payload);
        Demand::Exchange(payload)
    }

    /// Takes the client's next packet.
    pub fn receive(&mut self, payload: &[u8]) -> Result<Demand, Malformed> {
        match self.stage {
            Stage::Answer => self.answer(payload),
            Stage::Password if payload == [KEY_REQUEST] => {
                self.stage = Stage::Ciphertext;
                Ok(Demand::PublicKey)
            }
            Stage::Password if self.secure => password(Zeroizing::new(payload.to_vec())),
            // A client that was given the key beforehand does not ask for it.
            Stage::Password | Stage::Ciphertext => Ok(Demand::Decrypt(payload.to_vec())),
        }
    }

    fn answer(&self, response: &[u8]) -> Result<Demand, Malformed> {
        match (self.plugin, response) {
            // caching_sha2_password's client library sends an empty string with its terminator.
            (_, []) | (Plugin::CachingSha2Password, [0]) => Ok(Demand::NoPassword),
            (Plugin::NativePassword, scramble) if scramble.len() == 20 => {
                Ok(Demand::Scramble(scramble.to_vec()))
            }
            (Plugin::CachingSha2Password, scramble) if scramble.len() == 32 => {
                Ok(Demand::Scramble(scramble.to_vec()))
            }
            _ => Err(Malformed("a scramble of the wrong length")),
        }
    }

    /// Asks for the password itself. `None` under mysql_native_password, where there is no way.
    pub fn full(&mut self) -> Option<Demand> {
        if self.plugin != Plugin::CachingSha2Password {
            return None;
        }
        self.stage = Stage::Password;
        Some(Demand::Exchange(vec![MORE_DATA, FULL]))
    }

    /// Sends the RSA public key (PEM).
    pub fn public_key(&self, pem: &[u8]) -> Demand {
        Demand::Exchange([&[MORE_DATA], pem].concat())
    }

    /// Takes the decrypted packet.
    pub fn decrypted(&self, mut cleartext: Payload) -> Result<Demand, Malformed> {
        xor(&mut cleartext, self.nonce.as_bytes());
        password(cleartext)
    }
}

/// A password and its terminator.
fn password(mut cleartext: Payload) -> Result<Demand, Malformed> {
    match cleartext.pop() {
        Some(0) if cleartext.is_empty() => Ok(Demand::NoPassword),
        Some(0) => Ok(Demand::Password(cleartext)),
        _ => Err(Malformed("a password without terminator")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::auth::{CACHING_SHA2_PASSWORD, NATIVE_PASSWORD, SHA256_PASSWORD};

    const NONCE: [u8; 20] = *b"0123456789abcdefghij";

    fn login(plugin: Plugin, secure: bool) -> LoginFromClient {
        LoginFromClient::new(plugin, NONCE.into(), secure)
    }

    fn exchange(bytes: &[u8]) -> Result<Demand, Malformed> {
        Ok(Demand::Exchange(bytes.to_vec()))
    }

    fn clear(bytes: &[u8]) -> Result<Demand, Malformed> {
        Ok(Demand::Password(Zeroizing::new(bytes.to_vec())))
    }

    #[test]
    fn the_first_answer_counts_when_the_plugin_fits() {
        let native = login(Plugin::NativePassword, false);
        let scramble = Ok(Demand::Scramble(vec![7; 20]));
        assert_eq!(native.begin(Some(NATIVE_PASSWORD), &[7; 20]), scramble);
        assert_eq!(native.begin(None, &[7; 20]), scramble);
        assert_eq!(native.begin(None, b""), Ok(Demand::NoPassword));
        assert!(native.begin(None, &[7; 19]).is_err());
        let sha2 = login(Plugin::CachingSha2Password, false);
        let scramble = Ok(Demand::Scramble(vec![7; 32]));
        assert_eq!(sha2.begin(Some(CACHING_SHA2_PASSWORD), &[7; 32]), scramble);
        for empty in [&b""[..], b"\0"] {
            let first = sha2.begin(Some(CACHING_SHA2_PASSWORD), empty);
            assert_eq!(first, Ok(Demand::NoPassword));
        }
        assert!(sha2.begin(Some(CACHING_SHA2_PASSWORD), b"secret\0").is_err());
    }

    #[test]
    fn another_plugin_is_asked_to_change() {
        let mut login = login(Plugin::CachingSha2Password, true);
        let switch = b"\xFEcaching_sha2_password\x000123456789abcdefghij\0";
        assert_eq!(login.begin(Some(NATIVE_PASSWORD), &[7; 20]), exchange(switch));
        assert_eq!(login.begin(None, &[7; 20]), exchange(switch));
        assert_eq!(login.receive(&[9; 32]), Ok(Demand::Scramble(vec![9; 32])));
    }

    #[test]
    fn plugins_without_an_exchange_of_their_own_get_at_the_password() {
        let login = login(Plugin::Sha256Password, true);
        let first = login.begin(Some(SHA256_PASSWORD), b"pw\0");
        assert_eq!(first, exchange(b"\xFEcaching_sha2_password\x000123456789abcdefghij\0"));
    }

    #[test]
    fn the_password_inside_tls() {
        let mut login = login(Plugin::CachingSha2Password, true);
        assert_eq!(login.full(), Some(Demand::Exchange(vec![1, 4])));
        assert_eq!(login.receive(b"pw\0"), clear(b"pw"));
        assert_eq!(login.receive(b"\0"), Ok(Demand::NoPassword));
        assert!(login.receive(b"pw").is_err());
        assert!(login.receive(b"").is_err());
        assert!(
            super::LoginFromClient::new(Plugin::NativePassword, NONCE.into(), true)
                .full()
                .is_none()
        );
    }

    #[test]
    fn the_password_by_rsa() {
        let mut login = login(Plugin::CachingSha2Password, false);
        login.full();
        assert_eq!(login.receive(&[2]), Ok(Demand::PublicKey));
        assert_eq!(login.public_key(b"PEM"), Demand::Exchange(b"\x01PEM".to_vec()));
        assert_eq!(login.receive(&[8; 256]), Ok(Demand::Decrypt(vec![8; 256])));
        let mut masked = Zeroizing::new(b"pw\0".to_vec());
        xor(&mut masked, &NONCE);
        assert_eq!(login.decrypted(masked), clear(b"pw"));
        assert!(login.decrypted(Zeroizing::new(b"??".to_vec())).is_err());
    }

    #[test]
    fn a_client_that_has_the_key_encrypts_at_once() {
        let mut login = login(Plugin::CachingSha2Password, false);
        login.full();
        assert_eq!(login.receive(&[8; 256]), Ok(Demand::Decrypt(vec![8; 256])));
    }

    proptest::proptest! {
        #[test]
        fn no_packets_make_it_panic(
            native: bool,
            secure: bool,
            payloads: Vec<Vec<u8>>,
        ) {
            let plugin =
                if native { Plugin::NativePassword } else { Plugin::CachingSha2Password };
            let mut login = login(plugin, secure);
            for payload in payloads {
                let _ = login.begin(Some(&payload), &payload);
                if let Ok(Demand::Scramble(_)) = login.receive(&payload) {
                    login.full();
                }
                let _ = login.decrypted(Zeroizing::new(payload));
            }
        }
    }
}
