//! Our side when we log in to a server.

use zeroize::Zeroizing;

use super::{
    AUTH_SWITCH, AuthSwitch, FAST_OK, FULL, KEY_REQUEST, KEY_REQUEST_SHA256, MORE_DATA, NEXT_FACTOR,
};
use crate::wire::auth::signature::{self, CHALLENGE};
use crate::wire::auth::{
    CLEAR_PASSWORD, Nonce, Plugin, Secret, native_scramble, sha2_scramble, xor,
};
use crate::wire::codec::Malformed;
use crate::wire::reply::{self, ErrPacket, ServerError};

/// A server that goes on asking after so many packets is not going to let us in.
const MOST_ROUNDS: u8 = 16;

/// A secret on its way out.
pub type Payload = Zeroizing<Vec<u8>>;

/// What to do after a packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the next packet.
    Read,
    /// Send this payload, then read.
    Send(Payload),
    /// Encrypt `cleartext` by RSA-OAEP (SHA-1) with the key in `public_key` (PEM) and send that,
    /// then read.
    Encrypt { public_key: Vec<u8>, cleartext: Payload },
    /// The packet was the final OK.
    Done,
}

/// Why a login cannot succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server's own refusal.
    #[error("{0}")]
    Refused(ServerError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the server asks for the authentication plugin {0}, which is not known here")]
    UnknownPlugin(String),
    /// Only the hash of mysql_native_password is known, and the server asks for more.
    #[error("the server asks for {0}, but only a hash of the password is known")]
    NeedsPassword(String),
    #[error("{CLEAR} would send the password readable without TLS", CLEAR = String::from_utf8_lossy(CLEAR_PASSWORD))]
    NeedsTls,
}

/// One login to a server, from the greeting to the final OK.
#[derive(Debug)]
pub struct LoginToServer<'a> {
    secret: &'a Secret,
    /// TLS, so that a password may be sent as it is.
    encrypted: bool,
    plugin: Plugin,
    nonce: Nonce,
    /// The nonce of a plugin that signs.
    challenge: [u8; CHALLENGE],
    /// For such a plugin.
    random: [u8; CHALLENGE],
    rounds: u8,
}

impl<'a> LoginToServer<'a> {
    /// Begins with the nonce and the default plugin of the greeting. `random` bytes serve this
    /// login alone.
    pub fn new(
        secret: &'a Secret,
        encrypted: bool,
        nonce: Nonce,
        default_plugin: &[u8],
        random: [u8; CHALLENGE],
    ) -> Self {
        let plugin = match (secret, Plugin::from_name(default_plugin)) {
            (
                Secret::Empty | Secret::Password(_),
                Some(plugin @ (Plugin::CachingSha2Password | Plugin::Sha256Password)),
            ) => plugin,
            // What was taken from mysql_native_password fits nothing else, the cleartext is not
            // offered before it is asked for, and a greeting's nonce is too short to be signed.
            // The server names what it wants instead.
            _ => Plugin::NativePassword,
        };
        let challenge = [0; CHALLENGE];
        LoginToServer { secret, encrypted, plugin, nonce, challenge, random, rounds: 0 }
    }

    /// The plugin to name in the response to the greeting.
    pub fn plugin(&self) -> Plugin {
        self.plugin
    }

    /// The first answer under the current plugin.
    ///
    /// # Errors
    /// The secret does not suffice for the plugin.
    pub fn response(&self) -> Result<Payload, LoginError> {
        let bytes = match self.plugin {
            Plugin::NativePassword => match self.secret.native_stage1() {
                Some(stage1) => native_scramble(&stage1, &self.nonce).to_vec(),
                None => Vec::new(),
            },
            Plugin::CachingSha2Password => match self.password()? {
                b"" => Vec::new(),
                password => sha2_scramble(password, &self.nonce).to_vec(),
            },
            Plugin::Sha256Password => match self.password()? {
                // An empty string and its terminator: no password.
                b"" => vec![0],
                password if self.encrypted => terminated(password),
                _ => vec![KEY_REQUEST_SHA256],
            },
            Plugin::ClearPassword if self.encrypted => terminated(self.password()?),
            Plugin::ClearPassword => return Err(LoginError::NeedsTls),
            Plugin::Ed25519 => signature::ed25519(self.password()?, &self.challenge).to_vec(),
            // The server sends the account's salt next.
            Plugin::Parsec => Vec::new(),
        };
        Ok(Zeroizing::new(bytes))
    }

    /// Takes the server's next packet.
    ///
    /// # Errors
    /// The login has failed; nothing more may be sent.
    pub fn receive(&mut self, payload: &[u8]) -> Result<Step, LoginError> {
        self.rounds += 1;
        if self.rounds > MOST_ROUNDS {
            return Err(Malformed("a login without end").into());
        }
        match payload.first() {
            Some(&reply::OK) => Ok(Step::Done),
            Some(&reply::ERR) => Err(LoginError::Refused(ErrPacket::parse(payload)?.to_owned())),
            Some(&AUTH_SWITCH) => self.switch(AuthSwitch::parse(payload)?),
            Some(&MORE_DATA) => self.more_data(&payload[1..]),
            // MariaDB sends a plugin's data as it is where its first byte means nothing else.
            Some(_) if self.plugin == Plugin::Parsec => self.more_data(payload),
            Some(&NEXT_FACTOR) => {
                Err(LoginError::UnknownPlugin("a second factor (multi-factor login)".into()))
            }
            _ => Err(Malformed("an unknown packet in the login").into()),
        }
    }

    fn switch(&mut self, request: AuthSwitch<'_>) -> Result<Step, LoginError> {
        self.plugin = Plugin::from_name(request.plugin)
            .ok_or_else(|| LoginError::UnknownPlugin(text(request.plugin)))?;
        match self.plugin {
            Plugin::NativePassword | Plugin::CachingSha2Password | Plugin::Sha256Password => {
                self.nonce = request.nonce()?;
            }
            Plugin::Ed25519 | Plugin::Parsec => self.challenge = request.challenge()?,
            Plugin::ClearPassword => {}
        }
        self.response().map(Step::Send)
    }

    fn more_data(&mut self, data: &[u8]) -> Result<Step, LoginError> {
        match (self.plugin, data) {
            (Plugin::CachingSha2Password, [FAST_OK]) => Ok(Step::Read),
            (Plugin::CachingSha2Password, [FULL]) if self.encrypted => {
                Ok(Step::Send(Zeroizing::new(terminated(self.password()?))))
            }
            (Plugin::CachingSha2Password, [FULL]) => {
                Ok(Step::Send(Zeroizing::new(vec![KEY_REQUEST])))
            }
            (Plugin::CachingSha2Password | Plugin::Sha256Password, public_key)
                if !self.encrypted =>
            {
                let mut cleartext = Zeroizing::new(terminated(self.password()?));
                xor(&mut cleartext, self.nonce.as_bytes());
                Ok(Step::Encrypt { public_key: public_key.to_vec(), cleartext })
            }
            (Plugin::Parsec, parameters) => {
                let password = self.password()?;
                let answer =
                    signature::parsec(password, parameters, &self.challenge, &self.random)?;
                Ok(Step::Send(Zeroizing::new(answer)))
            }
            _ => Err(Malformed("authentication data that was not asked for").into()),
        }
    }

    fn password(&self) -> Result<&'a [u8], LoginError> {
        self.secret.password().ok_or_else(|| LoginError::NeedsPassword(text(self.plugin.name())))
    }
}

fn terminated(password: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(password.len() + 1);
    bytes.extend_from_slice(password);
    bytes.push(0);
    bytes
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::auth::CACHING_SHA2_PASSWORD;

    const NONCE: [u8; 20] = *b"0123456789abcdefghij";
    const OTHER: [u8; 20] = *b"jihgfedcba9876543210";

    fn login<'a>(secret: &'a Secret, encrypted: bool, plugin: &[u8]) -> LoginToServer<'a> {
        LoginToServer::new(secret, encrypted, NONCE.into(), plugin, [3; 32])
    }

    fn switch_to(plugin: &[u8]) -> Vec<u8> {
        [&[AUTH_SWITCH], plugin, &[0], &OTHER, &[0]].concat()
    }

    fn send(bytes: &[u8]) -> Result<Step, LoginError> {
        Ok(Step::Send(Zeroizing::new(bytes.to_vec())))
    }

    const FINAL_OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

    #[test]
    fn fast_path_of_caching_sha2() {
        let secret = Secret::from_password("pw");
        let mut login = login(&secret, false, CACHING_SHA2_PASSWORD);
        assert_eq!(login.response().unwrap().as_slice(), sha2_scramble(b"pw", &NONCE.into()));
        assert_eq!(login.receive(&[1, 3]), Ok(Step::Read));
        assert_eq!(login.receive(FINAL_OK), Ok(Step::Done));
    }

    #[test]
    fn full_caching_sha2_inside_tls_sends_the_password() {
        let secret = Secret::from_password("pw");
        let mut login = login(&secret, true, CACHING_SHA2_PASSWORD);
        assert_eq!(login.receive(&[1, 4]), send(b"pw\0"));
        assert_eq!(login.receive(FINAL_OK), Ok(Step::Done));
    }

    #[test]
    fn full_caching_sha2_in_the_clear_asks_for_the_key() {
        let secret = Secret::from_password("pw");
        let mut login = login(&secret, false, CACHING_SHA2_PASSWORD);
        assert_eq!(login.receive(&[1, 4]), send(&[2]));
        let Ok(Step::Encrypt { public_key, mut cleartext }) = login.receive(b"\x01PEM") else {
            panic!("no request to encrypt");
        };
        assert_eq!(public_key, b"PEM");
        xor(&mut cleartext, &NONCE);
        assert_eq!(cleartext.as_slice(), b"pw\0");
    }

    #[test]
    fn a_switch_brings_its_own_nonce() {
        let secret = Secret::from_password("pw");
        let mut login = login(&secret, false, CACHING_SHA2_PASSWORD);
        let stage1 = crate::wire::auth::native_stage1(b"pw");
        let scramble = native_scramble(&stage1, &OTHER.into());
        assert_eq!(login.receive(&switch_to(b"mysql_native_password")), send(&scramble));
    }

    #[test]
    fn a_hash_serves_the_native_plugin_alone() {
        let stage1 = crate::wire::auth::native_stage1(b"pw");
        let secret = Secret::NativeStage1(Zeroizing::new(stage1));
        let mut login = login(&secret, true, CACHING_SHA2_PASSWORD);
        assert_eq!(login.plugin(), Plugin::NativePassword);
        assert_eq!(*login.response().unwrap(), native_scramble(&stage1, &NONCE.into()));
        assert_eq!(
            login.receive(&switch_to(CACHING_SHA2_PASSWORD)),
            Err(LoginError::NeedsPassword("caching_sha2_password".into()))
        );
    }

    #[test]
    fn the_clear_plugin_needs_tls() {
        let secret = Secret::from_password("pw");
        let request = [&[AUTH_SWITCH], CLEAR_PASSWORD, &[0]].concat();
        assert_eq!(login(&secret, false, b"").receive(&request), Err(LoginError::NeedsTls));
        assert_eq!(login(&secret, true, b"").receive(&request), send(b"pw\0"));
        // It is not offered before it is asked for.
        assert_eq!(login(&secret, true, CLEAR_PASSWORD).plugin(), Plugin::NativePassword);
    }

    #[test]
    fn sha256_password() {
        let secret = Secret::from_password("pw");
        let mut plain = login(&secret, false, b"sha256_password");
        assert_eq!(plain.response().unwrap().as_slice(), [1]);
        assert!(matches!(plain.receive(b"\x01PEM"), Ok(Step::Encrypt { .. })));
        let tls = login(&secret, true, b"sha256_password");
        assert_eq!(tls.response().unwrap().as_slice(), b"pw\0");
    }

    #[test]
    fn plugins_that_sign_have_a_nonce_of_their_own() {
        let secret = Secret::from_password("pw");
        let mut login = login(&secret, false, b"");
        let request = [b"\xFEclient_ed25519\0", &[5; 32][..]].concat();
        assert_eq!(login.receive(&request), send(&signature::ed25519(b"pw", &[5; 32])));
        let request = [b"\xFEparsec\0", &[5; 32][..]].concat();
        assert_eq!(login.receive(&request), send(b""));
        let parameters = [b"P\0", &[8; 18][..]].concat();
        let answer = signature::parsec(b"pw", &parameters, &[5; 32], &[3; 32]).unwrap();
        assert_eq!(login.receive(&parameters), send(&answer));
        assert_eq!(login.receive(FINAL_OK), Ok(Step::Done));
        let short = [b"\xFEclient_ed25519\0", &[5; 20][..]].concat();
        assert!(login.receive(&short).is_err());
    }

    #[test]
    fn empty_passwords_send_nothing() {
        for plugin in [&b"mysql_native_password"[..], CACHING_SHA2_PASSWORD] {
            let login = login(&Secret::Empty, false, plugin);
            assert!(login.response().unwrap().is_empty());
        }
    }

    #[test]
    fn refusals_are_kept_verbatim() {
        let secret = Secret::from_password("pw");
        let error = login(&secret, false, b"").receive(b"\xFF\x15\x04#28000Access denied");
        let expected = ServerError::new(1045, b"28000", "Access denied");
        assert_eq!(error, Err(LoginError::Refused(expected)));
    }

    #[test]
    fn what_a_server_should_not_send_is_an_error() {
        let secret = Secret::from_password("pw");
        let table: [&[u8]; 8] = [
            b"",
            b"\x01",
            b"\x01\x05",
            b"\xFE",
            b"\xFEmysql_native_password",
            b"\xFEmysql_native_password\0short",
            b"\x0A8.0",
            b"\x02",
        ];
        for payload in table {
            let mut login = login(&secret, true, b"mysql_native_password");
            assert!(login.receive(payload).is_err(), "{payload:?}");
        }
        let mut login = login(&secret, false, CACHING_SHA2_PASSWORD);
        let end = (0..100).find(|_| login.receive(&[1, 3]).is_err());
        assert_eq!(end, Some(usize::from(MOST_ROUNDS)));
    }

    proptest::proptest! {
        #[test]
        fn no_packets_make_it_panic(
            payloads in proptest::collection::vec(packet(), 0..20),
            encrypted: bool,
            stage1: bool,
        ) {
            let secret = if stage1 {
                Secret::NativeStage1(Zeroizing::new([1; 20]))
            } else {
                Secret::from_password("pw")
            };
            let mut login = login(&secret, encrypted, CACHING_SHA2_PASSWORD);
            for payload in payloads {
                if login.receive(&payload).is_err() {
                    break;
                }
            }
        }
    }

    /// Anything, and what a server may send with anything behind it.
    fn packet() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let heads = proptest::sample::select(vec![
            &b""[..],
            b"\x01",
            b"\x01\x04",
            b"P\x01",
            b"\xFEmysql_native_password\0",
            b"\xFEcaching_sha2_password\0",
            b"\xFEsha256_password\0",
            b"\xFEclient_ed25519\0",
            b"\xFEparsec\0",
        ]);
        (heads, any::<Vec<u8>>()).prop_map(|(head, tail)| [head, &tail].concat())
    }
}
