//! Which positions of a sequence count.
//!
//! ```text
//!   tokens   7 3 9 0 0   --Embedding-->   value (L, E)   --Dense, norm, ..-->   value (L, F)   --attention, LSTM-->
//!                 \                          :                                     :              |
//!                  `--not padding-->  mask 1 1 1 0 0  . . . carried on . . . . . . .  ------------'
//! ```
//!
//! A mask is a value of the graph like any other: what computes it runs only if somebody takes it.

use super::builder::Builder;
use super::graph::Value;
use crate::error::Result;

impl Builder {
    /// The mask of a sequence, if it has one: a value of (L), above 0 for each position that counts.
    ///
    /// Operations that work position by position, or keep all dimensions, carry the mask of their first input on; so do attention and
    /// layers that return a step for each step. Flattening and whatever else changes the dimensions drops it.
    pub fn mask(&self, value: Value) -> Option<Value> {
        self.masks.iter().rev().find(|(of, _)| *of == value).map(|&(_, mask)| mask)
    }

    /// Says which positions of the sequence `value`, (L, ..), count: those where `mask`, (L), is above 0.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) if the mask is not of (L); [`Error::State`](crate::Error::State) if a value is of another model.
    pub fn set_mask(&mut self, value: Value, mask: Value) -> Result<()> {
        self.check_value(value)?;
        self.check_value(mask)?;
        let (dims, of_mask) = (self.dims(value), self.dims(mask));
        if dims.len() < 2 || dims[..1] != *of_mask {
            let expected = "a mask with one number for each position of a sequence, (L) for (L, E)";
            return Err(self.refusal(expected, format_args!("{of_mask:?} for {dims:?}")));
        }
        self.masks.push((value, mask));
        Ok(())
    }

    /// The mask of `from` is that of `to`, too: the first dimension is the same steps.
    pub(super) fn carry_mask(&mut self, from: Value, to: Value) {
        if let Some(mask) = self.mask(from)
            && self.dims(to).len() > 1
            && self.dims(to)[0] == self.dims(from)[0]
        {
            self.masks.push((to, mask));
        }
    }
}
