//! How much is read from a stream at once.

/// How much is read at once while there is no buffer.
pub(super) const FIRST: usize = 2 * 1024;
/// What a stream begins with, and again once its buffer was given back.
const LEAST: usize = 1024;
/// A read of this size is some twenty times dearer than the call for it.
const MOST: usize = 64 * 1024;

/// The size of a stream's reads, and so of its buffer: small commands and replies need no more than
/// a page's part, while a large result costs a call for each read. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk(usize);

impl Chunk {
    pub fn bytes(self) -> usize {
        self.0
    }

    /// Learns from a read: one that has used all of its room has probably left something behind.
    /// Short ones tell nothing, since a large result ends with one, too.
    pub fn note(&mut self, count: usize, room: usize) {
        if count == room {
            self.0 = (self.0.max(room / 2) * 2).min(MOST);
        }
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_with_what_comes() {
        let mut chunk = Chunk::default();
        chunk.note(80, FIRST);
        chunk.note(300, LEAST);
        assert_eq!(chunk.bytes(), LEAST);
        chunk.note(FIRST, FIRST);
        assert_eq!(chunk.bytes(), FIRST);
        for _ in 0..20 {
            chunk.note(chunk.bytes(), chunk.bytes());
        }
        assert_eq!(chunk.bytes(), MOST);
        chunk.note(10, MOST);
        assert_eq!(chunk.bytes(), MOST);
        // A buffer has had more room than was asked for.
        let mut chunk = Chunk::default();
        chunk.note(1 << 20, 1 << 20);
        assert_eq!(chunk.bytes(), MOST);
    }
}
