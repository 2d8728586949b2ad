//! The payload of one frame, compressed at once or piece by piece.

use std::cell::RefCell;

use bytes::BytesMut;
use zlib_rs::{Deflate, DeflateFlush, Status};
use zstd::bulk::Compressor;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::{Algorithm, Level};

/// zlib's default, which servers use.
const ZLIB_LEVEL: i32 = 6;
const ZLIB_WINDOW: u8 = 15;
/// Base-2 logarithm of the window of zstd for payloads whose length is not known: as much as it
/// allocates.
const ZSTD_WINDOW: u32 = 17;
/// Room that is made for a piece of compressed bytes.
const ROOM: usize = 16 * 1024;

thread_local! {
    /// What compressing needs between the first byte of a payload and its last: some hundred KiB,
    /// which no session has to hold, as no payload is left half compressed.
    static TOOLS: RefCell<Tools> = RefCell::default();
}

#[derive(Default)]
struct Tools {
    zlib: Option<Deflate>,
    zstd: Option<(Level, Compressor<'static>)>,
}

/// Compresses `payload` into `target`; how many bytes it takes there, or `None` when there is no
/// room for it.
pub(super) fn deflate(algorithm: Algorithm, payload: &[u8], target: &mut [u8]) -> Option<usize> {
    TOOLS.with_borrow_mut(|tools| match algorithm {
        Algorithm::Zlib => {
            let tool =
                tools.zlib.get_or_insert_with(|| Deflate::new(ZLIB_LEVEL, true, ZLIB_WINDOW));
            tool.reset();
            let status = tool.compress(payload, target, DeflateFlush::Finish).ok()?;
            (status == Status::StreamEnd).then(|| tool.total_out() as usize)
        }
        Algorithm::Zstd { level } => {
            let tool = match &mut tools.zstd {
                Some((present, tool)) => {
                    if *present != level {
                        tool.set_compression_level(level.get().into()).ok()?;
                        *present = level;
                    }
                    tool
                }
                none => {
                    let tool = Compressor::new(level.get().into()).ok()?;
                    &mut none.insert((level, tool)).1
                }
            };
            tool.compress_to_buffer(payload, target).ok()
        }
    })
}

/// Compresses a payload that comes in pieces. Appends to `out`.
pub(super) enum Deflater {
    Zlib(Deflate),
    Zstd(Encoder<'static>),
}

impl std::fmt::Debug for Deflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Deflater::Zlib(_) => "zlib",
            Deflater::Zstd(_) => "zstd",
        })
    }
}

impl Deflater {
    /// `None` for want of memory.
    pub fn new(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Zlib => Some(Deflater::Zlib(Deflate::new(ZLIB_LEVEL, true, ZLIB_WINDOW))),
            Algorithm::Zstd { level } => {
                let mut encoder = Encoder::new(level.get().into()).ok()?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW)).ok()?;
                Some(Deflater::Zstd(encoder))
            }
        }
    }

    /// Takes a piece, the last one if it is to `end`. `None` when nothing more can be compressed.
    pub fn feed(&mut self, mut piece: &[u8], end: bool, out: &mut BytesMut) -> Option<()> {
        loop {
            let start = out.len();
            out.resize(start + ROOM, 0);
            let (consumed, produced, done) = self.step(piece, end, &mut out[start..])?;
            out.truncate(start + produced);
            piece = &piece[consumed..];
            if done {
                return Some(());
            }
        }
    }

    /// Bytes taken, bytes given, and whether there is no more to give.
    fn step(&mut self, piece: &[u8], end: bool, out: &mut [u8]) -> Option<(usize, usize, bool)> {
        match self {
            Deflater::Zlib(deflate) => {
                let (before_in, before_out) = (deflate.total_in(), deflate.total_out());
                let flush = if end { DeflateFlush::Finish } else { DeflateFlush::NoFlush };
                let status = deflate.compress(piece, out, flush).ok()?;
                let consumed = (deflate.total_in() - before_in) as usize;
                let produced = (deflate.total_out() - before_out) as usize;
                let done = match end {
                    true => status == Status::StreamEnd,
                    false => consumed == piece.len() && produced < out.len(),
                };
                Some((consumed, produced, done))
            }
            Deflater::Zstd(encoder) => {
                let mut input = InBuffer::around(piece);
                let mut output = OutBuffer::around(out);
                while input.pos() < piece.len() && output.pos() < output.capacity() {
                    encoder.run(&mut input, &mut output).ok()?;
                }
                let mut done = input.pos() == piece.len();
                if done && end {
                    done = encoder.finish(&mut output, false).ok()? == 0;
                }
                Some((input.pos(), output.pos(), done))
            }
        }
    }
}
