//! No login packet makes a parser panic; what is understood survives being written and read.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::wire::Capabilities;
use rwproxy::wire::handshake::{ChangeUser, ClientHello, Greeting, Response};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Greeting(&'a [u8]),
    Hello(&'a [u8]),
    ChangeUser { capabilities: u64, payload: &'a [u8] },
}

fn encode(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn greeting(payload: &[u8]) {
    let Ok(greeting) = Greeting::parse(payload) else { return };
    let again = encode(|out| greeting.put(out));
    assert_eq!(Greeting::parse(&again), Ok(greeting));
}

fn response(response: Response<'_>) {
    let _ = format!("{response:?}");
    let capabilities = response.prelude.capabilities;
    // We write for servers, which all have one of these.
    let lengths = Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH_LENENC;
    if !capabilities.intersects(lengths) {
        return;
    }
    let again = encode(|out| response.put(out));
    let expected = match capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
        // A client that leaves the level out gets the default one.
        true => Response { zstd_level: response.zstd_level.or(Some(3)), ..response },
        false => response,
    };
    assert_eq!(ClientHello::parse(&again), Ok(ClientHello::Response(expected)));
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Greeting(payload) => greeting(payload),
    Input::Hello(payload) => match ClientHello::parse(payload) {
        Ok(ClientHello::SslRequest(prelude)) => {
            let again = encode(|out| prelude.put(out));
            assert_eq!(ClientHello::parse(&again), Ok(ClientHello::SslRequest(prelude)));
        }
        Ok(ClientHello::Response(parsed)) => response(parsed),
        Ok(ClientHello::BeforeProtocol41) | Err(_) => {}
    },
    Input::ChangeUser { capabilities, payload } => {
        let capabilities = Capabilities::from_bits_retain(capabilities);
        let Ok(command) = ChangeUser::parse(payload, capabilities) else { return };
        let _ = format!("{command:?}");
        if command.collation.is_some() {
            let again = encode(|out| command.put(out, capabilities));
            assert_eq!(ChangeUser::parse(&again, capabilities), Ok(command));
        }
    }
});
