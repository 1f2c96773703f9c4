//! Arrays as the crate's tensors have them, and inputs that are the same in every run and in `peers/elementwise.py`.

use std::ops::{Deref, DerefMut};

/// f32 from a 64-byte boundary on.
pub struct Buffer {
    memory: Vec<f32>,
    begin: usize,
    len: usize,
}

impl Buffer {
    pub fn zeros(len: usize) -> Self {
        let memory = vec![0.0_f32; len + 16];
        let begin = memory.as_ptr().align_offset(64);
        assert!(begin < 16, "no 64-byte boundary");
        Self { memory, begin, len }
    }

    pub fn ones(len: usize) -> Self {
        let mut ones = Self::zeros(len);
        ones.fill(1.0);
        ones
    }

    /// Numbers in [low, high), evenly spread, neighbours far apart: a cycle of 65,536.
    pub fn spread(len: usize, low: f64, high: f64) -> Self {
        let mut numbers = Self::zeros(len);
        for (i, x) in numbers.iter_mut().enumerate() {
            *x = (low + (high - low) * ((i * 40_503) % 65_536) as f64 / 65_536.0) as f32;
        }
        numbers
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.memory[self.begin..self.begin + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.begin..self.begin + self.len]
    }
}
