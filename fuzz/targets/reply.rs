//! OK, ERR and EOF: no payload makes a parser panic; what is understood survives being written.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::wire::Capabilities;
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::reply::{EofPacket, ErrPacket, OkPacket, StateChange, put_eof, put_err, put_ok};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    tracks: bool,
    entries: Vec<Entry<'a>>,
    payload: &'a [u8],
}

#[derive(Debug, Arbitrary)]
enum Entry<'a> {
    SystemVariable { name: &'a [u8], value: &'a [u8] },
    Schema(&'a [u8]),
    State(bool),
    Gtids { encoding: u8, text: &'a [u8] },
    TransactionCharacteristics(&'a [u8]),
    TransactionState(&'a [u8]),
    Unknown(&'a [u8]),
}

impl<'a> Entry<'a> {
    fn change(&self) -> StateChange<'a> {
        match *self {
            Entry::SystemVariable { name, value } => StateChange::SystemVariable { name, value },
            Entry::Schema(name) => StateChange::Schema(name),
            Entry::State(changed) => StateChange::State(changed),
            Entry::Gtids { encoding, text } => StateChange::Gtids { encoding, text },
            Entry::TransactionCharacteristics(text) => {
                StateChange::TransactionCharacteristics(text)
            }
            Entry::TransactionState(text) => StateChange::TransactionState(text),
            Entry::Unknown(data) => StateChange::Unknown { kind: 100, data },
        }
    }
}

fn encode(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fuzz_target!(|input: Input<'_>| {
    let capabilities =
        if input.tracks { Capabilities::SESSION_TRACK } else { Capabilities::empty() };

    if let Ok(packet) = OkPacket::parse(input.payload, capabilities) {
        let again = encode(|out| put_ok(out, &packet, capabilities));
        let read = OkPacket::parse(&again, capabilities);
        // The flag says whether there is session state, and is written accordingly.
        let mut expected = packet;
        expected.status.set(Status::SESSION_STATE_CHANGED, !packet.session_state.is_empty());
        assert_eq!(read, Ok(expected));
        // Entries written again are the same entries.
        let whole: Result<Vec<StateChange<'_>>, _> = packet.changes().collect();
        if let Ok(changes) = whole {
            let state = encode(|out| changes.iter().for_each(|change| change.put(out)));
            let again = OkPacket { session_state: &state, ..packet };
            assert_eq!(again.changes().collect::<Result<Vec<_>, _>>(), Ok(changes));
        }
    }
    if let Ok(packet) = ErrPacket::parse(input.payload) {
        let again = encode(|out| put_err(out, &packet));
        assert_eq!(ErrPacket::parse(&again), Ok(packet));
        assert_eq!(packet.to_owned().as_packet(), packet);
        let _ = packet.to_owned().to_string();
    }
    if let Ok(packet) = EofPacket::parse(input.payload) {
        let again = encode(|out| put_eof(out, &packet, Capabilities::empty()));
        assert_eq!(EofPacket::parse(&again), Ok(packet));
    }

    let state = encode(|out| input.entries.iter().for_each(|entry| entry.change().put(out)));
    let packet = OkPacket { session_state: &state, ..OkPacket::default() };
    let payload = encode(|out| put_ok(out, &packet, Capabilities::SESSION_TRACK));
    let read =
        OkPacket::parse(&payload, Capabilities::SESSION_TRACK).expect("what we have written");
    let changes: Vec<_> = input.entries.iter().map(Entry::change).collect();
    assert_eq!(read.changes().collect::<Result<Vec<_>, _>>(), Ok(changes));
});
