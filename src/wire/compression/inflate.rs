//! The payload of one frame, uncompressed piece by piece as it arrives.

use zlib_rs::{Inflate, InflateFlush, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::{Algorithm, FrameError};

/// Base-2 logarithm of the window that zlib streams may have.
const ZLIB_WINDOW: u8 = 15;
/// The same of zstd's: no frame holds more than its 16 MiB, and a decoder allocates what is asked.
const ZSTD_WINDOW: u32 = 24;

/// What a decoder did with a piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub consumed: usize,
    pub produced: usize,
    /// The payload has ended.
    pub ended: bool,
}

/// A decoder; it can be used for one payload after another.
pub(super) enum Inflater {
    Zlib(Inflate),
    Zstd(Decoder<'static>),
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Inflater::Zlib(_) => "zlib",
            Inflater::Zstd(_) => "zstd",
        })
    }
}

impl Inflater {
    pub fn new(algorithm: Algorithm) -> Result<Self, FrameError> {
        match algorithm {
            Algorithm::Zlib => Ok(Inflater::Zlib(Inflate::new(true, ZLIB_WINDOW))),
            Algorithm::Zstd { .. } => {
                // It fails for want of memory.
                let failed = |_| FrameError::Uncompress;
                let mut decoder = Decoder::new().map_err(failed)?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).map_err(failed)?;
                Ok(Inflater::Zstd(decoder))
            }
        }
    }

    /// Makes ready for the next payload.
    pub fn begin(&mut self) -> Result<(), FrameError> {
        match self {
            Inflater::Zlib(inflate) => inflate.reset(true),
            Inflater::Zstd(decoder) => decoder.reinit().map_err(|_| FrameError::Uncompress)?,
        }
        Ok(())
    }

    /// Uncompresses from `input` what `output` has room for.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, FrameError> {
        match self {
            Inflater::Zlib(inflate) => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let status = inflate
                    .decompress(input, output, InflateFlush::NoFlush)
                    .map_err(|_| FrameError::Uncompress)?;
                Ok(Step {
                    consumed: (inflate.total_in() - before_in) as usize,
                    produced: (inflate.total_out() - before_out) as usize,
                    ended: status == Status::StreamEnd,
                })
            }
            Inflater::Zstd(decoder) => {
                let status =
                    decoder.run_on_buffers(input, output).map_err(|_| FrameError::Uncompress)?;
                Ok(Step {
                    consumed: status.bytes_read,
                    produced: status.bytes_written,
                    ended: status.remaining == 0,
                })
            }
        }
    }
}
