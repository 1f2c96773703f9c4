//! Buffers by lifetime, and the pointers that a running team follows.
//!
//! A plan names its buffers; each lives from the first phase that writes it to the last that reads it. Buffers that
//! never live at the same time share memory. All of them, the parameters and the gradients are flat arrays.

use crate::error::{Error, Result};
use crate::kernel::gemm::view::{Layout, MatMut};
use crate::kernel::{Element, update::AnyStep};
use crate::tensor::AlignedBuffer;

/// A buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(usize);

impl BufferId {
    /// Where it is.
    pub(crate) fn slot(self, slots: &[Slot]) -> Slot {
        slots[self.0]
    }
}

/// A buffer's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub offset: usize,
    /// Not 0: each member of the team has one of its own, with as many rows as a tile, so far from the next member's.
    pub member_stride: usize,
}

#[derive(Clone, Debug)]
struct Lifetime {
    len: usize,
    first: usize,
    last: usize,
    local: bool,
}

/// The buffers of a plan while it is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    lifetimes: Vec<Lifetime>,
}

impl Buffers {
    /// A buffer of `len` elements, live at the time `now`.
    pub(crate) fn add(&mut self, len: usize, now: usize) -> BufferId {
        self.lifetimes.push(Lifetime { len, first: now, last: now, local: false });
        BufferId(self.lifetimes.len() - 1)
    }

    /// The buffer is still needed at the time `now`.
    pub(crate) fn touch(&mut self, id: BufferId, now: usize) {
        let lifetime = &mut self.lifetimes[id.0];
        lifetime.last = lifetime.last.max(now);
    }

    /// Each member of the team has one of its own, of `len` elements: one tile after the other uses it.
    pub(crate) fn make_local(&mut self, id: BufferId, len: usize) {
        let lifetime = &mut self.lifetimes[id.0];
        (lifetime.len, lifetime.local) = (len, true);
    }

    /// The times from `start` to `end` are one phase: tiles run side by side, so what is used in it by more than a tile is
    /// used during all of it.
    pub(crate) fn close_phase(&mut self, start: usize, end: usize) {
        let used = |life: &Lifetime| life.first <= end && life.last >= start;
        for life in self.lifetimes.iter_mut().filter(|life| !life.local && used(life)) {
            if life.first >= start {
                life.first = start;
            }
            life.last = life.last.max(end);
        }
    }

    /// A place for every buffer, and how long the arena must be. What is local to a member lies together, after all else: a
    /// member can be anywhere in its tile while another is at its end, so they share nothing.
    pub(crate) fn assign(&self, members: usize) -> Result<(Vec<Slot>, usize)> {
        let mut slots = vec![Slot { offset: 0, member_stride: 0 }; self.lifetimes.len()];
        let shared = self.place(false, &mut slots)?;
        let each = self.place(true, &mut slots)?;
        for (slot, _) in slots.iter_mut().zip(&self.lifetimes).filter(|(_, life)| life.local) {
            *slot = Slot { offset: shared + slot.offset, member_stride: each };
        }
        let total = each.checked_mul(members).and_then(|locals| locals.checked_add(shared));
        Ok((slots, total.ok_or_else(|| Error::overflow("plan", "the buffers of a step"))?))
    }

    /// Places those that are local, or the others: the largest first, each at the lowest place that is free during its whole
    /// life. Returns the end.
    fn place(&self, local: bool, slots: &mut [Slot]) -> Result<usize> {
        let mut order: Vec<usize> =
            (0..self.lifetimes.len()).filter(|&i| self.lifetimes[i].local == local).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.lifetimes[i].len));
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
                .map(|&j| (slots[j].offset, slots[j].offset + self.lifetimes[j].len.next_multiple_of(16)))
                .collect();
            taken.sort_unstable();
            let mut at = 0_usize;
            for (start, end) in taken {
                if at.saturating_add(life.len) <= start {
                    break;
                }
                at = at.max(end);
            }
            slots[i].offset = at;
            let end = at
                .checked_add(life.len)
                .and_then(|end| end.checked_next_multiple_of(16))
                .ok_or_else(|| Error::overflow("plan", "the buffers of a step"))?;
            total = total.max(end);
            placed.push(i);
        }
        Ok(total)
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

/// The rows of the batch that a tile of a chain works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileRows {
    pub first: usize,
    pub count: usize,
    /// Rows of a whole tile.
    pub most: usize,
    pub member: usize,
}

/// The flat arrays of a model while a step runs: what the members of a team share.
pub(crate) struct Memory<'a, T> {
    arena: *mut T,
    arena_len: usize,
    slots: &'a [Slot],
    parameters: *mut T,
    gradients: *mut T,
    states: [*mut T; AnyStep::STATES],
    flat_len: usize,
    /// A buffer whose rows are the caller's, where they are; nobody writes it.
    lent: Option<(BufferId, &'a [T])>,
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
        slots: &'a [Slot],
        parameters: &'a mut AlignedBuffer<T>,
        gradients: &'a mut AlignedBuffer<T>,
        states: &'a mut [AlignedBuffer<T>; AnyStep::STATES],
    ) -> Self {
        let flat_len = parameters.len();
        Self {
            arena: arena.as_mut_ptr(),
            arena_len: arena.len(),
            slots,
            parameters: parameters.as_mut_ptr(),
            gradients: gradients.as_mut_ptr(),
            states: states.each_mut().map(|state| state.as_mut_ptr()),
            flat_len,
            lent: None,
            lifetime: std::marker::PhantomData,
        }
    }

    /// The rows of buffer `id`, which nothing writes but the gather, are `lent`, if there are any.
    pub(crate) fn lend(self, id: Option<BufferId>, lent: Option<&'a [T]>) -> Self {
        Self { lent: id.zip(lent), ..self }
    }

    /// The caller's rows that stand for a buffer.
    pub(crate) fn lent(&self, id: BufferId) -> Option<&'a [T]> {
        self.lent.and_then(|(lent, rows)| (lent == id).then_some(rows))
    }

    /// Where the rows of a buffer begin that a tile works on, in elements from its first: its part, if it has one.
    pub(crate) fn start(&self, id: BufferId, rows: &TileRows, row: usize) -> usize {
        match id.slot(self.slots).member_stride {
            0 => row * rows.first,
            stride => stride * rows.member,
        }
    }

    /// Where an operand begins; null for [`Place::Null`].
    pub(crate) fn pointer(&self, place: Place) -> *mut T {
        match place {
            Place::Buffer(id) => match self.lent(id) {
                Some(rows) => rows.as_ptr().cast_mut(),
                None => self.arena.wrapping_add(id.slot(self.slots).offset),
            },
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
        if let Some(rows) = self.lent(id) {
            return &rows[start..start + len];
        }
        let at = id.slot(self.slots).offset + start;
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
        assert!(self.lent(id).is_none(), "nobody writes what is lent");
        let at = id.slot(self.slots).offset + start;
        assert!(at + len <= self.arena_len, "a plan's buffer lies in its arena");
        // SAFETY: within the arena; the caller vouches that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.arena.add(at), len) }
    }

    /// Elements `start .. start + len` of the parameters.
    ///
    /// # Safety
    /// No thread writes them while the slice lives.
    pub(crate) unsafe fn parameters(&self, start: usize, len: usize) -> &[T] {
        assert!(start + len <= self.flat_len, "a piece of the flat arrays lies in them");
        // SAFETY: within the array; the caller vouches that nobody writes it.
        unsafe { std::slice::from_raw_parts(self.parameters.add(start), len) }
    }

    /// Elements `start .. start + len` of the gradients.
    ///
    /// # Safety
    /// No thread writes them while the slice lives.
    pub(crate) unsafe fn gradients(&self, start: usize, len: usize) -> &[T] {
        assert!(start + len <= self.flat_len, "a piece of the flat arrays lies in them");
        // SAFETY: within the array; the caller vouches that nobody writes it.
        unsafe { std::slice::from_raw_parts(self.gradients.add(start), len) }
    }

    /// The same to write to.
    ///
    /// # Safety
    /// No thread reads or writes them while the slice lives, but through it.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that the element ranges are disjoint")]
    pub(crate) unsafe fn gradients_mut(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start + len <= self.flat_len, "a piece of the flat arrays lies in them");
        // SAFETY: within the array; the caller vouches that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.gradients.add(start), len) }
    }

    /// Elements `start .. start + len` of the parameters to write to.
    ///
    /// # Safety
    /// No thread reads or writes them while the slice lives, but through it.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that the element ranges are disjoint")]
    pub(crate) unsafe fn parameters_mut(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start + len <= self.flat_len, "a piece of the flat arrays lies in them");
        // SAFETY: within the array; the caller vouches that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.parameters.add(start), len) }
    }

    /// What an update takes, as matrices whose first elements are at `start`: of the states the first `states`, the others
    /// are empty.
    ///
    /// # Safety
    /// No thread reads or writes these elements while the views live, but through them; the states exist.
    pub(crate) unsafe fn flat(&self, start: usize, layout: Layout, states: usize) -> FlatViews<'_, T> {
        let inside = match (layout.rows, layout.cols) {
            (0, _) | (_, 0) => 0,
            (rows, cols) => (rows - 1) * layout.row_stride.unsigned_abs() + cols,
        };
        assert!(layout.col_stride == 1 && layout.row_stride >= 0, "rows follow each other upwards");
        assert!(start + inside <= self.flat_len, "a piece of the flat arrays lies in them");
        let none = Layout { rows: 0, cols: 0, row_stride: 0, col_stride: 1 };
        // SAFETY: the arrays that exist are `flat_len` long; the caller vouches that nobody else touches these elements.
        unsafe {
            FlatViews {
                parameters: MatMut::from_raw(self.parameters.add(start), layout),
                gradients: MatMut::from_raw(self.gradients.add(start), layout),
                states: std::array::from_fn(|i| {
                    let layout = if i < states { layout } else { none };
                    MatMut::from_raw(self.states[i].wrapping_add(start), layout)
                }),
            }
        }
    }
}

/// The same part of all flat arrays.
pub(crate) struct FlatViews<'a, T> {
    pub parameters: MatMut<'a, T>,
    pub gradients: MatMut<'a, T>,
    pub states: [MatMut<'a, T>; AnyStep::STATES],
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
        let (slots, total) = buffers.assign(1).unwrap();
        let offsets: Vec<usize> = slots.iter().map(|slot| slot.offset).collect();
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
