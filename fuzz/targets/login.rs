//! Both sides of a login: whatever the peer says it ends, soon, and no password goes out readable
//! without TLS.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::wire::auth::{Nonce, Plugin, Secret};
use rwproxy::wire::login::from_client::{Demand, LoginFromClient};
use rwproxy::wire::login::to_server::{LoginToServer, Payload, Step};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    ToServer(ToServer<'a>),
    FromClient(FromClient<'a>),
}

#[derive(Debug, Arbitrary)]
struct ToServer<'a> {
    password: &'a [u8],
    encrypted: bool,
    nonce: [u8; 20],
    plugin: Named<'a>,
    packets: Vec<Packet<'a>>,
}

#[derive(Debug, Arbitrary)]
struct FromClient<'a> {
    plugin: u8,
    nonce: [u8; 20],
    secure: bool,
    first: Option<(Option<Named<'a>>, &'a [u8])>,
    /// What the client sends, and whether the password itself is asked for before it.
    packets: Vec<(bool, &'a [u8])>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Named<'a> {
    Native,
    CachingSha2,
    Sha256,
    Clear,
    Ed25519,
    Parsec,
    Other(&'a [u8]),
}

impl Named<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Named::Native => b"mysql_native_password",
            Named::CachingSha2 => b"caching_sha2_password",
            Named::Sha256 => b"sha256_password",
            Named::Clear => b"mysql_clear_password",
            Named::Ed25519 => b"client_ed25519",
            Named::Parsec => b"parsec",
            Named::Other(name) => name,
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Packet<'a> {
    Switch { plugin: Named<'a>, data: &'a [u8] },
    More(&'a [u8]),
    Raw(&'a [u8]),
}

impl Packet<'_> {
    fn payload(&self) -> Vec<u8> {
        match self {
            Packet::Switch { plugin, data } => [&[0xFE], plugin.name(), &[0], data].concat(),
            Packet::More(data) => [&[0x01], *data].concat(),
            Packet::Raw(payload) => payload.to_vec(),
        }
    }
}

fn to_server(input: &ToServer<'_>) {
    let secret = Secret::from_password(input.password);
    let nonce = Nonce::from(input.nonce);
    let random = [7; 32];
    let mut login =
        LoginToServer::new(&secret, input.encrypted, nonce, input.plugin.name(), random);
    let _ = login.plugin();
    if login.response().is_err() {
        return;
    }
    for packet in &input.packets {
        match login.receive(&packet.payload()) {
            Ok(Step::Read) => {}
            Ok(Step::Send(answer)) => {
                let readable =
                    answer.strip_suffix(b"\0").is_some_and(|text| text == input.password);
                assert!(input.encrypted || input.password.is_empty() || !readable);
            }
            Ok(Step::Encrypt { cleartext, .. }) => {
                assert_eq!(cleartext.len(), input.password.len() + 1);
            }
            Ok(Step::Done) => return,
            Err(error) => {
                let _ = error.to_string();
                return;
            }
        }
    }
    // A server that only goes on asking is given up.
    let patience = (0..100).take_while(|_| login.receive(b"\x01\x03").is_ok()).count();
    assert!(patience < 100);
}

fn from_client(input: &FromClient<'_>) {
    const PLUGINS: [Plugin; 4] = [
        Plugin::NativePassword,
        Plugin::CachingSha2Password,
        Plugin::Sha256Password,
        Plugin::ClearPassword,
    ];
    let plugin = PLUGINS[usize::from(input.plugin) % PLUGINS.len()];
    let mut login = LoginFromClient::new(plugin, Nonce::from(input.nonce), input.secure);
    if let Some((name, response)) = &input.first {
        let _ = login.begin(name.as_ref().map(Named::name), response);
    }
    for (full, payload) in &input.packets {
        if *full {
            let _ = login.full();
        }
        match login.receive(payload) {
            Ok(Demand::Password(password)) => {
                assert!(input.secure, "a password was taken that was sent readable");
                assert_eq!(payload.strip_suffix(b"\0"), Some(&password[..]));
            }
            Ok(Demand::Decrypt(ciphertext)) => {
                let _ = login.decrypted(Payload::new(ciphertext));
            }
            Ok(Demand::PublicKey) => {
                let _ = login.public_key(b"PEM");
            }
            Ok(Demand::Exchange(_) | Demand::NoPassword | Demand::Scramble(_)) => {}
            Err(_) => return,
        }
    }
}

fuzz_target!(|input: Input<'_>| match input {
    Input::ToServer(input) => to_server(&input),
    Input::FromClient(input) => from_client(&input),
});
