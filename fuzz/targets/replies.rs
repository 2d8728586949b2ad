//! The scanner finds in a well-formed reply exactly the packets that were put there, and its end.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::wire::Capabilities;
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::codec::Writer;
use rwproxy::wire::packet::Header;
use rwproxy::wire::reply::{EofPacket, ErrPacket, OkPacket, put_eof, put_err, put_ok};
use rwproxy::wire::scanner::{Expect, Scanner, Significant};
use rwproxy_fuzz::{deprecate_eof, scan};

#[derive(Debug, Arbitrary)]
struct Reply {
    deprecate_eof: bool,
    metadata: Metadata,
    shape: Shape,
    /// What follows the reply on the stream.
    behind: Vec<u8>,
    steps: Vec<u8>,
}

/// Whether columns are defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Metadata {
    Always,
    /// Both sides have agreed that they may be left out, and they are or not.
    Optional {
        follow: bool,
    },
}

#[derive(Debug, Arbitrary)]
enum Shape {
    /// COM_QUERY.
    Results { results: Vec<ResultSet>, last: ResultSet },
    /// COM_STMT_PREPARE.
    Prepared { statement: u32, columns: Vec<Vec<u8>>, parameters: Vec<Vec<u8>> },
    /// COM_STMT_FETCH.
    Fetched { rows: Vec<Row>, end: End },
    /// COM_FIELD_LIST.
    Fields { columns: Vec<Vec<u8>> },
}

#[derive(Debug, Arbitrary)]
enum ResultSet {
    Ok {
        affected: u64,
        insert_id: u64,
        info: Vec<u8>,
        session_state: Vec<u8>,
        status: u16,
    },
    /// The first column is there always: a result set has at least one.
    Rows {
        first: Vec<u8>,
        columns: Vec<Vec<u8>>,
        rows: Vec<Row>,
        end: End,
    },
    Infile(Vec<u8>),
    Err {
        code: u16,
        message: Vec<u8>,
    },
}

#[derive(Debug, Arbitrary)]
enum Row {
    /// A text row: `None` is NULL.
    Text { first: Option<Vec<u8>>, rest: Vec<u8> },
    /// A binary row.
    Binary(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
enum End {
    Whole { warnings: u16, status: u16 },
    Err { code: u16 },
}

/// Writes a reply and notes what is significant in it.
struct Stream {
    bytes: Vec<u8>,
    sequence: u8,
    capabilities: Capabilities,
    metadata: Metadata,
    expected: Vec<Significant>,
}

impl Stream {
    fn packet(&mut self, payload: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        Header { length: payload.len(), sequence: self.sequence }.put(&mut self.bytes);
        self.bytes.extend_from_slice(payload);
    }

    fn with(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        put(&mut payload);
        self.packet(&payload);
    }

    fn err(&mut self, code: u16, message: &[u8]) {
        self.with(|out| put_err(out, &ErrPacket { code, state: *b"HY000", message }));
        self.expected.push(Significant::Err);
    }

    /// What says whether definitions follow.
    fn metadata_follow(&self) -> &'static [u8] {
        match self.metadata {
            Metadata::Always => &[],
            Metadata::Optional { follow: false } => &[0],
            Metadata::Optional { follow: true } => &[1],
        }
    }

    fn definition(&mut self, definition: &[u8]) {
        if self.metadata == (Metadata::Optional { follow: false }) {
            return;
        }
        // A definition begins with its catalog, `def`.
        self.packet(&[b"\x03def", definition].concat());
    }

    /// The EOF behind definitions.
    fn legacy_eof(&mut self) {
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.packet(&[0xFE, 0, 0, 2, 0]);
        }
    }

    fn row(&mut self, row: &Row) {
        self.with(|out| match row {
            Row::Text { first, rest } => {
                match first {
                    Some(value) => out.put_lenenc_bytes(value),
                    None => out.push(0xFB),
                }
                out.put_lenenc_bytes(rest);
            }
            Row::Binary(bytes) => {
                out.push(0);
                out.extend_from_slice(bytes);
            }
        });
    }

    /// True when a further result may follow.
    fn end(&mut self, end: &End, more: bool) -> bool {
        match *end {
            End::Whole { warnings, status } => {
                let packet = EofPacket { warnings, status: flags(status, more) };
                let capabilities = self.capabilities;
                self.with(|out| put_eof(out, &packet, capabilities));
                let deprecated = self.capabilities.contains(Capabilities::DEPRECATE_EOF);
                // No session state is written, so its flag is not either.
                let told = packet.status - Status::SESSION_STATE_CHANGED;
                self.expected.push(match deprecated {
                    true => Significant::Ok(told),
                    false => Significant::Eof(packet.status),
                });
                true
            }
            End::Err { code } => {
                self.err(code, b"");
                false
            }
        }
    }

    fn result(&mut self, result: &ResultSet, more: bool) -> bool {
        match result {
            ResultSet::Ok { affected, insert_id, info, session_state, status } => {
                let status = flags(*status, more) & !Status::SESSION_STATE_CHANGED;
                let packet = OkPacket {
                    affected_rows: *affected,
                    last_insert_id: *insert_id,
                    status,
                    info,
                    session_state,
                    ..OkPacket::default()
                };
                self.with(|out| put_ok(out, &packet, Capabilities::SESSION_TRACK));
                let tracked = match session_state.is_empty() {
                    true => Status::empty(),
                    false => Status::SESSION_STATE_CHANGED,
                };
                self.expected.push(Significant::Ok(status | tracked));
                true
            }
            ResultSet::Rows { first, columns, rows, end } => {
                let follow = self.metadata_follow();
                self.with(|out| {
                    out.put_lenenc_int(columns.len() as u64 + 1);
                    out.extend_from_slice(follow);
                });
                self.definition(first);
                columns.iter().for_each(|column| self.definition(column));
                self.legacy_eof();
                rows.iter().for_each(|row| self.row(row));
                self.end(end, more)
            }
            ResultSet::Infile(name) => {
                self.packet(&[b"\xFB", &name[..]].concat());
                self.expected.push(Significant::LocalInfile);
                // The server's verdict on the file follows in every case.
                self.with(|out| {
                    put_ok(
                        out,
                        &OkPacket { status: flags(2, more), ..OkPacket::default() },
                        Capabilities::empty(),
                    )
                });
                self.expected.push(Significant::Ok(flags(2, more)));
                true
            }
            ResultSet::Err { code, message } => {
                self.err(*code, message);
                false
            }
        }
    }

    fn group(&mut self, definitions: &[Vec<u8>]) {
        definitions.iter().for_each(|definition| self.definition(definition));
        if !definitions.is_empty() {
            self.legacy_eof();
        }
    }
}

/// Any flags, but for those that say whether more follows.
fn flags(bits: u16, more: bool) -> Status {
    let mut status = Status::from_bits_retain(bits)
        - Status::OUT_PARAMETERS
        - Status::CURSOR_EXISTS
        - Status::MORE_RESULTS;
    status.set(Status::MORE_RESULTS, more);
    status
}

fuzz_target!(|reply: Reply| {
    let mut capabilities = deprecate_eof(reply.deprecate_eof);
    let metadata = reply.metadata;
    capabilities.set(Capabilities::OPTIONAL_RESULTSET_METADATA, metadata != Metadata::Always);
    let (bytes, expected) = (Vec::new(), Vec::new());
    let mut stream = Stream { bytes, sequence: 0, capabilities, metadata, expected };
    let expect = match &reply.shape {
        Shape::Results { results, last } => {
            if results.iter().all(|result| stream.result(result, true)) {
                stream.result(last, false);
            }
            Expect::Results
        }
        Shape::Prepared { statement, columns, parameters } => {
            let counts = [columns.len() as u16, parameters.len() as u16];
            let [id, columns_count, parameters_count] =
                [&statement.to_le_bytes()[..], &counts[0].to_le_bytes(), &counts[1].to_le_bytes()];
            let follow = stream.metadata_follow();
            stream
                .packet(&[&[0], id, columns_count, parameters_count, &[0, 0, 0], follow].concat());
            stream.group(parameters);
            stream.group(columns);
            stream.expected.push(Significant::PrepareOk {
                statement: *statement,
                columns: counts[0],
                parameters: counts[1],
                warnings: 0,
            });
            Expect::Prepare
        }
        Shape::Fetched { rows, end } => {
            rows.iter().for_each(|row| stream.row(row));
            stream.end(end, false);
            Expect::Rows
        }
        Shape::Fields { columns } => {
            columns.iter().for_each(|column| stream.definition(column));
            stream.end(&End::Whole { warnings: 0, status: 2 }, false);
            Expect::Fields
        }
    };
    let length = stream.bytes.len();
    // What follows belongs to the next reply and must not be looked at.
    stream.bytes.extend_from_slice(&reply.behind);
    let scanned = scan(Scanner::new(expect, capabilities), &stream.bytes, &reply.steps);
    assert_eq!(scanned.found, stream.expected);
    assert_eq!(scanned.end, Ok((length, true)));
});
