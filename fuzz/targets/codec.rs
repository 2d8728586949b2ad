//! What is written is read again, and reading takes no more than there is.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::wire::codec::{Reader, Writer};

#[derive(Debug, Arbitrary)]
struct Input {
    written: Vec<Value>,
    /// How to read what nobody has written.
    reads: Vec<Read>,
    bytes: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Value {
    Int(u64),
    Bytes(Vec<u8>),
    Terminated(Vec<u8>),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Read {
    U8,
    U16,
    U24,
    U32,
    U64,
    Int,
    Bytes,
    Nullable,
    Terminated,
    Count(u64),
}

fuzz_target!(|input: Input| {
    let mut out = Vec::new();
    for value in &input.written {
        match value {
            Value::Int(value) => out.put_lenenc_int(*value),
            Value::Bytes(bytes) => out.put_lenenc_bytes(bytes),
            Value::Terminated(bytes) => out.put_null_terminated(bytes),
        }
    }
    let mut reader = Reader::new(&out);
    for value in &input.written {
        match value {
            Value::Int(value) => assert_eq!(reader.lenenc_int(), Ok(*value)),
            Value::Bytes(bytes) => assert_eq!(reader.lenenc_bytes(), Ok(&bytes[..])),
            Value::Terminated(bytes) => {
                let first = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                assert_eq!(reader.null_terminated(), Ok(first));
                // The terminator inside has cut the value in two.
                if first.len() < bytes.len() {
                    let rest = bytes.len() - first.len();
                    assert!(reader.bytes(rest).is_ok());
                }
            }
        }
    }
    assert!(reader.is_empty());

    let mut reader = Reader::new(&input.bytes);
    for read in input.reads {
        let before = reader.remaining();
        let took = match read {
            Read::U8 => reader.u8().map(|_| 1),
            Read::U16 => reader.u16().map(|_| 2),
            Read::U24 => reader.u24().map(|_| 3),
            Read::U32 => reader.u32().map(|_| 4),
            Read::U64 => reader.u64().map(|_| 8),
            Read::Int => reader.lenenc_int().map(|_| 1),
            Read::Bytes => reader.lenenc_bytes().map(|bytes| bytes.len() + 1),
            Read::Nullable => {
                reader.nullable_lenenc_bytes().map(|bytes| bytes.map_or(0, <[u8]>::len) + 1)
            }
            Read::Terminated => reader.null_terminated().map(|bytes| bytes.len() + 1),
            Read::Count(count) => reader.bytes(count as usize).map(<[u8]>::len),
        };
        if let Ok(took) = took {
            assert!(before - reader.remaining() >= took, "less was taken than was given");
        }
    }
});
