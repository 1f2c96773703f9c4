//! The checksum of zip, gzip and Python's `zlib.crc32` (CRC-32 of ISO 3309, polynomial 0x04c11db7, reflected).
//!
//! It finds every flip of one bit, every odd number of flips and every damage that spans at most 32 bits; another damage
//! goes unnoticed once in 2^32 times.

use std::io::{self, Write};

const POLYNOMIAL: u32 = 0xedb8_8320;

/// Eight bytes at a time: `TABLES[k][byte]` is what `byte` does with k bytes behind it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (POLYNOMIAL & (value & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// A checksum of what was written to it so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32 {
    state: u32,
}

impl Crc32 {
    pub(crate) const fn new() -> Self {
        Self { state: !0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut state = self.state;
        for word in words {
            let [a, b, c, d, e, f, g, h] = *word;
            let low = state ^ u32::from_le_bytes([a, b, c, d]);
            let [a, b, c, d] = low.to_le_bytes();
            state = TABLES[7][usize::from(a)]
                ^ TABLES[6][usize::from(b)]
                ^ TABLES[5][usize::from(c)]
                ^ TABLES[4][usize::from(d)]
                ^ TABLES[3][usize::from(e)]
                ^ TABLES[2][usize::from(f)]
                ^ TABLES[1][usize::from(g)]
                ^ TABLES[0][usize::from(h)];
        }
        for &byte in rest {
            state = (state >> 8) ^ TABLES[0][usize::from(state as u8 ^ byte)];
        }
        self.state = state;
    }

    pub(crate) const fn value(self) -> u32 {
        !self.state
    }
}

impl Write for Crc32 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Crc32;

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = Crc32::new();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn known_values() {
        // The check value of the catalogue of parametrised CRC algorithms; the others by Python's zlib.crc32.
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(&(0..=255).collect::<Vec<u8>>()), 0x2905_8c73);
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..100_u8).map(|i| i.wrapping_mul(37)).collect();
        for cut in 0..bytes.len() {
            let mut crc32 = Crc32::new();
            crc32.update(&bytes[..cut]);
            crc32.update(&bytes[cut..]);
            assert_eq!(crc32.value(), crc(&bytes));
        }
    }
}
