//! Buffers by lifetime, and the pointers that a running team follows.
//!
//! A plan names its buffers; each lives from the first phase that writes it to the last that reads it. Buffers that
//! never live at the same time share memory. All of them, the parameters and the gradients are flat arrays.

use crate::error::{Error, Result};
use crate::kernel::{Element, update::AnyStep};
use crate::tensor::AlignedBuffer;

/// A buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(usize);

impl BufferId {
    /// Its place among a plan's offsets.
    pub(crate) fn within(self, offsets: &[usize]) -> usize {
        offsets[self.0]
    }
}

#[derive(Clone, Debug)]
struct Lifetime {
    len: usize,
    first: usize,
    last: usize,
}

/// The buffers of a plan while it is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    lifetimes: Vec<Lifetime>,
}

impl Buffers {
    /// A buffer of `len` elements, live from phase `now`.
    pub(crate) fn add(&mut self, len: usize, now: usize) -> BufferId {
        self.lifetimes.push(Lifetime { len, first: now, last: now });
        BufferId(self.lifetimes.len() - 1)
    }

    /// The buffer is still needed in phase `now`.
    pub(crate) fn touch(&mut self, id: BufferId, now: usize) {
        let lifetime = &mut self.lifetimes[id.0];
        lifetime.last = lifetime.last.max(now);
    }

    /// A place for every buffer, and how long the arena must be: the largest first, each at the lowest place that is
    /// free during its whole life.
    pub(crate) fn assign(&self) -> Result<(Vec<usize>, usize)> {
        let mut order: Vec<usize> = (0..self.lifetimes.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.lifetimes[i].len));
        let mut offsets = vec![0; self.lifetimes.len()];
        let mut placed: Vec<usize> = Vec::new();
        let mut total = 0_usize;
        for i in order {
            let life = &self.lifetimes[i];
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .filter(|&&j| {
                    let other = &self.lifetimes[j];
                    life.first <= other.last && other.first <= life.last
                })
                .map(|&j| (offsets[j], offsets[j] + self.lifetimes[j].len.next_multiple_of(16)))
                .collect();
            taken.sort_unstable();
            let mut at = 0_usize;
            for (start, end) in taken {
                if at.saturating_add(life.len) <= start {
                    break;
                }
                at = at.max(end);
            }
            offsets[i] = at;
            let end = at
                .checked_add(life.len)
                .and_then(|end| end.checked_next_multiple_of(16))
                .ok_or_else(|| Error::overflow("plan", "the buffers of a step"))?;
            total = total.max(end);
            placed.push(i);
        }
        Ok((offsets, total))
    }
}

/// Where an operand begins: in which flat array, and at which element.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In the arena.
    Buffer(BufferId),
    /// In the parameters.
    Parameters(usize),
    /// In the gradients.
    Gradients(usize),
    /// Nowhere.
    Null,
}

/// The flat arrays of a model while a step runs: what the members of a team share.
pub(crate) struct Memory<'a, T> {
    arena: *mut T,
    arena_len: usize,
    offsets: &'a [usize],
    parameters: *mut T,
    gradients: *mut T,
    states: [*mut T; AnyStep::STATES],
    flat_len: usize,
    lifetime: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the pointers are followed only in this type's unsafe methods, whose callers vouch that no two threads hold
// the same elements at once.
unsafe impl<T: Send> Send for Memory<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Memory<'_, T> {}

impl<'a, T: Element> Memory<'a, T> {
    /// Borrows the flat arrays. Parameters, gradients and states are as long as each other, or empty.
    pub(crate) fn new(
        arena: &'a mut AlignedBuffer<T>,
        offsets: &'a [usize],
        parameters: &'a mut AlignedBuffer<T>,
        gradients: &'a mut AlignedBuffer<T>,
        states: &'a mut [AlignedBuffer<T>; AnyStep::STATES],
    ) -> Self {
        let flat_len = parameters.len();
        Self {
            arena: arena.as_mut_ptr(),
            arena_len: arena.len(),
            offsets,
            parameters: parameters.as_mut_ptr(),
            gradients: gradients.as_mut_ptr(),
            states: states.each_mut().map(|state| state.as_mut_ptr()),
            flat_len,
            lifetime: std::marker::PhantomData,
        }
    }

    /// Where an operand begins; null for [`Place::Null`].
    pub(crate) fn pointer(&self, place: Place) -> *mut T {
        match place {
            Place::Buffer(id) => self.arena.wrapping_add(id.within(self.offsets)),
            Place::Parameters(at) => self.parameters.wrapping_add(at),
            Place::Gradients(at) => self.gradients.wrapping_add(at),
            Place::Null => std::ptr::null_mut(),
        }
    }

    /// `len` elements of a buffer from element `start`.
    ///
    /// # Safety
    /// No thread writes them while the slice lives.
    pub(crate) unsafe fn read(&self, id: BufferId, start: usize, len: usize) -> &[T] {
        let at = id.within(self.offsets) + start;
        assert!(at + len <= self.arena_len, "a plan's buffer lies in its arena");
        // SAFETY: within the arena; the caller vouches that nobody writes it.
        unsafe { std::slice::from_raw_parts(self.arena.add(at), len) }
    }

    /// `len` elements of a buffer from element `start`.
    ///
    /// # Safety
    /// No thread reads or writes them while the slice lives, but through it.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that the element ranges are disjoint")]
    pub(crate) unsafe fn write(&self, id: BufferId, start: usize, len: usize) -> &mut [T] {
        let at = id.within(self.offsets) + start;
        assert!(at + len <= self.arena_len, "a plan's buffer lies in its arena");
        // SAFETY: within the arena; the caller vouches that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.arena.add(at), len) }
    }

    /// Elements `start .. start + len` of parameters, gradients and the first `states` states; the other
    /// states are empty.
    ///
    /// # Safety
    /// No thread reads or writes them while the slices live, but through them; `states` of them exist.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that the element ranges are disjoint")]
    pub(crate) unsafe fn flat(&self, start: usize, len: usize, states: usize) -> FlatSlices<'_, T> {
        assert!(start + len <= self.flat_len, "a chunk of the flat arrays lies in them");
        let slice = |pointer: *mut T, exists: bool| {
            // SAFETY: the arrays that exist are `flat_len` long; the caller vouches that nobody else touches these.
            unsafe { if exists { std::slice::from_raw_parts_mut(pointer.add(start), len) } else { &mut [] } }
        };
        FlatSlices {
            parameters: slice(self.parameters, true),
            gradients: slice(self.gradients, true),
            states: std::array::from_fn(|i| slice(self.states[i], i < states)),
        }
    }
}

/// The same range of all flat arrays.
pub(crate) struct FlatSlices<'a, T> {
    pub parameters: &'a mut [T],
    pub gradients: &'a mut [T],
    pub states: [&'a mut [T]; AnyStep::STATES],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_live_together_do_not_overlap_and_others_share() {
        let mut buffers = Buffers::default();
        let mut ids = Vec::new();
        for i in 0..40_usize {
            let first = i * 7 % 13;
            let id = buffers.add(1 + i * 37 % 100, first);
            buffers.touch(id, first + i * 5 % 4);
            ids.push(id);
        }
        let (offsets, total) = buffers.assign().unwrap();
        let mut sum = 0;
        for (i, a) in buffers.lifetimes.iter().enumerate() {
            sum += a.len;
            assert!(offsets[i] + a.len <= total && offsets[i].is_multiple_of(16));
            for (j, b) in buffers.lifetimes.iter().enumerate().skip(i + 1) {
                if a.first <= b.last && b.first <= a.last {
                    assert!(
                        offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i],
                        "buffers {i} and {j} overlap"
                    );
                }
            }
        }
        assert!(total < sum, "nothing was shared: {total} of {sum}");
    }
}
