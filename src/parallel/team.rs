//! The protocol of a team: one leader, some helpers, phases made of tiles.
//!
//! This file knows neither rayon nor threads. `mod.rs` hands it a way to call a helper; `loom/` compiles it with loom's
//! atomics and tries the interleavings.
//!
//! # The picture
//!
//! ```text
//!             slot 0            slot 1            slot 2          one padded cache line (pair) per member
//!           left phase done   left phase done   left phase done
//!  leader    4                 4     p           4     p          per slot: writes the job, then `left`, then `phase`
//!  member    4,3,2,1,0         4,3,2,1,0         4,3,2,1,0        counts a slot's `left` down: claims one of its tiles,
//!                \__________________\_______________/             its own slot's first, then the others'
//!  helper                            +4                +4         adds to its own `done` when a slot is dry
//!  leader    sum of the `done` of all helpers == tiles that the leader did not run itself: the phase is over
//!
//!  tiles   | 0 1 2 3 | 4 5 6 7 | 8 9 10 11 |     home ranges: contiguous, the same for the same number of tiles
//! ```
//!
//! # Why it is sound
//!
//! A *claim* is a compare-and-swap of a `left` from n > 0 to n - 1. It names tile `end of the slot's range - n`.
//!
//! 1. **A claim is unique.** All changes of one `left` are in one total order, and between two stores of the leader's
//!    each number, down to 1, is swapped away once.
//! 2. **A claim is always a claim in the phase that is running.** Nothing about the phase is read before the claim, so
//!    there is nothing that could be out of date: no generation, no ABA. However long a helper was away, the number that
//!    it gets stands for a tile that nobody else has, of the job whose store it took the number from.
//! 3. **A claim keeps its phase alive.** The leader leaves `phase` only when every tile was counted, and a tile is
//!    counted after it ran. So the job may be read after the claim, and the borrow behind it is still good. A helper
//!    without a claim holds nothing of the caller's: it touches its `Arc` of the shared state, no more. That is the gate:
//!    a late helper, or one that is out in the pool, finds nothing to claim, for ever. Nobody has to wait for it, not
//!    on unwind either: the only place where the caller's data is in other hands is inside `phase`, which catches panics.
//! 4. **What happens before what.** The leader writes the job, then stores `left` (Release). A claim (Acquire) reads from
//!    that store or from a chain of claims that begins with it (a release sequence), so the job is visible and its
//!    next write is ordered after every read (5).
//! 5. A helper runs its tiles, then stores `done` (Release). The leader loads every `done` (Acquire) until the sum is
//!    right. Each `done` only grows, and all together cannot exceed the sum, so when the sum is right each of them
//!    is the last of its helper: all writes of all tiles happen before `phase` returns, and by (4) before the tiles of
//!    the next phase, whoever runs them.
//! 6. **The leader needs nobody.** It reads the `left` that it wrote itself or something newer, never older, so it stops
//!    only at slots that are really dry. What it then waits for are tiles that have been claimed, which is to say: that
//!    a thread is running, on top of its stack.
//! 7. **A member number is one thread's.** A slot has `taken` set from the call of its helper until that helper is gone
//!    (Release to Acquire), and only then another is called. Helpers run tiles in `run` alone, not while they rest.
//!
//! A leader may keep its crew when a team ends, and lead the next one with it. To the protocol that is one team with more phases: none
//! of the above asks how long it is until the next. `parked` and `away` are hints, which nothing of it depends on: a helper that
//! finds nothing while the crew is parked leaves, and a crew with a helper that may be busy elsewhere is not worth keeping.
//!
//! `phase` in the slot is a doorbell, nothing depends on it: it tells a spinning helper that looking is worth it. It is in
//! the slot's line, with `left`, the job and `done`, so a phase costs one line there and one line back per helper.
//!
//! The counts may wrap: `done` is compared modulo 2^n, and a doorbell that rings 2^n times while a helper is away costs
//! that helper one phase.

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, SPINS, UnsafeCell, spin_loop, yield_now};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// One piece of a phase, and who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Which piece: below the number of tiles of the phase.
    pub(crate) index: usize,
    /// Who runs it: below the width of the team. At no time do two threads run with the same number, so scratch memory
    /// per member is exclusive. The leader is 0.
    pub(crate) member: usize,
}

/// What a phase runs, from one slot. The lifetime of the closure is erased: see (3) above.
#[derive(Clone, Copy)]
struct Job {
    run: *const (dyn Fn(Tile) + Sync + 'static),
    /// One past the last tile of the slot's home range.
    end: usize,
}

/// What the members of a team share about one of them: all in one cache line, so that a phase moves one line per helper
/// there and back (a job in a line of its own was one more miss on the way). Aligned to two lines, which x86 fetches as a
/// pair.
#[repr(C, align(128))]
struct Slot {
    /// The tiles of this member's home range that are not claimed.
    left: AtomicUsize,
    /// The number of the last phase, `NEVER`, or `CLOSED`.
    phase: AtomicUsize,
    /// How many tiles this member's helpers have run since the team began, modulo 2^n. Written by that helper alone.
    done: AtomicUsize,
    /// Written by the leader between phases, read by who holds a claim on this slot.
    job: UnsafeCell<Job>,
    /// A helper for this slot was called and is not gone.
    taken: AtomicBool,
    /// The helper rests, which may take long. A hint.
    away: AtomicBool,
}

/// Before the first phase.
const NEVER: usize = 0;
/// After the last.
const CLOSED: usize = usize::MAX;

type Payload = Box<dyn Any + Send>;

struct Shared {
    slots: Box<[Slot]>,
    /// No team is open: helpers need not rest. A hint.
    parked: AtomicBool,
    /// A tile of this phase panicked: the others are only counted.
    failed: AtomicBool,
    /// The first panic of the phase. Written by who set `failed`, read by the leader after the phase.
    payload: UnsafeCell<Option<Payload>>,
}

// SAFETY: the raw pointer in `job` and the cells are what keeps these from being automatic. The pointer's target is
// Sync, and is used under a claim alone (3). `job` is written by the leader while there are no claims, and read under a
// claim (4, 5). `payload` holds a Send value and is written by the one claim that set `failed`, read after the phase (5).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(width: usize) -> Self {
        let slot = |_| Slot {
            left: AtomicUsize::new(0),
            phase: AtomicUsize::new(NEVER),
            done: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { run: &|_| {}, end: 0 }),
            taken: AtomicBool::new(false),
            away: AtomicBool::new(false),
        };
        Self {
            slots: (0..width).map(slot).collect(),
            parked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            payload: UnsafeCell::new(None),
        }
    }

    /// Runs all the tiles that it can claim, calls `report` with their number after each slot that gave some.
    fn work(&self, member: usize, mut report: impl FnMut(usize)) {
        let (before, from) = self.slots.split_at(member);
        for slot in from.iter().chain(before) {
            let mut count = 0;
            let mut left = slot.left.load(Ordering::Relaxed);
            while left > 0 {
                // Not `fetch_sub`: it would also write to a dry slot, at the same time as the leader, which does no harm
                // but is beyond what loom models (RMW next to a concurrent plain store).
                if let Err(now) =
                    slot.left.compare_exchange_weak(left, left - 1, Ordering::Acquire, Ordering::Relaxed)
                {
                    left = now;
                    continue;
                }
                // SAFETY: this thread holds a claim that has not been reported, so nobody writes the job (4, 5).
                let job = slot.job.with(|job| unsafe { *job });
                let tile = Tile { index: job.end - left, member };
                // SAFETY: the claim keeps the phase alive, and with it the closure that `phase` borrows (3).
                self.guard(|| unsafe { (*job.run)(tile) });
                count += 1;
                left = slot.left.load(Ordering::Relaxed);
            }
            // Before the next slot is looked at: the leader may be waiting for just this.
            if count > 0 {
                report(count);
            }
        }
    }

    /// Calls `run` unless the phase has failed, and keeps the payload if it is the first to panic. The caller holds a
    /// claim, or is the leader within a phase.
    fn guard(&self, run: impl FnOnce()) {
        if self.failed.load(Ordering::Relaxed) {
            return;
        }
        let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else { return };
        if self.failed.swap(true, Ordering::Relaxed) {
            // Not the first. What its destructor throws is nobody's.
            if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(another);
            }
        } else {
            // SAFETY: `failed` is set once per phase, so this is the only writer; the leader reads after the phase (5).
            self.payload.with_mut(|first| unsafe { *first = Some(payload) });
        }
    }
}

/// A team of threads, seen by its leader.
///
/// It is neither Send nor Sync, so a tile cannot start a phase of the team that it belongs to.
pub(crate) struct Team<'a> {
    /// None for a team of one.
    crew: Option<Crew>,
    /// Takes a helper to where it will run some time, or drops it. It must not wait.
    call: &'a dyn Fn(Helper),
}

impl<'a> Team<'a> {
    /// The leader alone: no atomics.
    pub(crate) fn alone() -> Self {
        Self { crew: None, call: &|_| {} }
    }

    /// A leader and up to `width - 1` helpers, each called when a phase has a use for it.
    pub(crate) fn new(width: usize, call: &'a dyn Fn(Helper)) -> Self {
        Self { crew: (width > 1).then(|| Crew::new(width)), call }
    }

    /// A leader with a crew that was parked.
    pub(crate) fn with(crew: Crew, call: &'a dyn Fn(Helper)) -> Self {
        crew.shared.parked.store(false, Ordering::Relaxed);
        Self { crew: Some(crew), call }
    }

    /// Ends the team, but keeps its crew for the next one of this thread's.
    pub(crate) fn park(self) -> Option<Crew> {
        let crew = self.crew?;
        crew.shared.parked.store(true, Ordering::Relaxed);
        Some(crew)
    }

    /// The number of members that there may be: member numbers are below it.
    pub(crate) fn width(&self) -> usize {
        self.crew.as_ref().map_or(1, |crew| crew.shared.slots.len())
    }

    /// Runs `run` once for each of `tiles` tiles, and returns when all are done. What tiles wrote is visible afterwards,
    /// and to all tiles of later phases.
    ///
    /// # Panics
    /// With the payload of the first tile that panicked, after the phase: tiles that had begun were finished, others
    /// skipped. The team can go on.
    pub(crate) fn phase(&self, tiles: usize, run: &(dyn Fn(Tile) + Sync)) {
        match &self.crew {
            // One tile is the leader's own, and not worth waking anyone.
            Some(crew) if tiles > 1 => crew.phase(tiles, run, self.call),
            _ => (0..tiles).for_each(|index| run(Tile { index, member: 0 })),
        }
    }
}

/// The helpers of a team, also between two teams.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    /// The number of the last phase.
    phase: Cell<usize>,
    /// The sum of all `done` when no phase is running, modulo 2^n.
    helped: Cell<usize>,
    /// Phases since one in which a helper ran some tiles.
    alone: Cell<u32>,
}

impl Crew {
    fn new(width: usize) -> Self {
        let shared = Arc::new(Shared::new(width));
        Self { shared, phase: Cell::new(NEVER), helped: Cell::new(0), alone: Cell::new(0) }
    }

    /// How many phases, up to the last one, no helper ran any tile of.
    pub(crate) fn alone(&self) -> u32 {
        self.alone.get()
    }

    /// True if a team of `width` can do no better than go on with this crew: any other width would give its helpers numbers
    /// that the team has not.
    pub(crate) fn fits(&self, width: usize) -> bool {
        let slots = &self.shared.slots;
        slots.len() == width && !slots[1..].iter().any(|slot| slot.away.load(Ordering::Relaxed))
    }

    fn phase(&self, tiles: usize, run: &(dyn Fn(Tile) + Sync), call: &dyn Fn(Helper)) {
        let shared = &*self.shared;
        let width = shared.slots.len();
        // SAFETY: only the lifetime changes. The pointer is used under a claim, and all claims end before this function
        // returns; between the first store to a `left` and the end of the phase nothing here can unwind.
        let run = unsafe {
            std::mem::transmute::<*const (dyn Fn(Tile) + Sync + '_), *const (dyn Fn(Tile) + Sync + 'static)>(
                run,
            )
        };
        let mut number = self.phase.get().wrapping_add(1);
        if number == CLOSED {
            number = NEVER + 1;
        }
        self.phase.set(number);
        // Members without a home tile are left in peace: there are as many others as there are tiles.
        let homes = &shared.slots[..width.min(tiles)];
        let (each, more) = (tiles / width, tiles % width);
        let mut end = 0;
        for (member, slot) in homes.iter().enumerate() {
            let length = each + usize::from(member < more);
            end += length;
            // SAFETY: this slot is dry since the last phase and until the next line, so there is no claim on it, and
            // all reads under earlier ones have happened (5).
            slot.job.with_mut(|job| unsafe { *job = Job { run, end } });
            slot.left.store(length, Ordering::Release);
            if member > 0 {
                slot.phase.store(number, Ordering::Release);
            }
        }
        for (member, slot) in homes.iter().enumerate().skip(1) {
            if !slot.taken.load(Ordering::Acquire) {
                slot.taken.store(true, Ordering::Relaxed);
                let helper = Helper { shared: Arc::clone(&self.shared), member };
                // The phase is running: if the call panics, that too is raised after it.
                shared.guard(|| call(helper));
            }
        }

        let mut mine = 0;
        shared.work(0, |count| mine += count);
        let helped = self.helped.get().wrapping_add(tiles - mine);
        self.helped.set(helped);
        self.alone.set(if mine < tiles { 0 } else { self.alone.get().saturating_add(1) });
        if mine < tiles {
            let mut spins = 0;
            while shared.slots[1..]
                .iter()
                .fold(0_usize, |sum, slot| sum.wrapping_add(slot.done.load(Ordering::Acquire)))
                != helped
            {
                // The helper may have lost its core to this very loop.
                if spins < SPINS {
                    spins += 1;
                    spin_loop();
                } else {
                    yield_now();
                }
            }
        }

        if shared.failed.load(Ordering::Relaxed) {
            shared.failed.store(false, Ordering::Relaxed);
            // SAFETY: the phase is over: whoever wrote the payload has reported its tile (5).
            if let Some(payload) = shared.payload.with_mut(|first| unsafe { (*first).take() }) {
                resume_unwind(payload);
            }
        }
    }
}

impl Drop for Crew {
    /// Sends the helpers away, also when the body unwinds. There is nothing to wait for: see (3).
    fn drop(&mut self) {
        for slot in &self.shared.slots[1..] {
            slot.phase.store(CLOSED, Ordering::Release);
        }
    }
}

/// One helper: to be run once, or dropped, by some thread at some time.
pub(crate) struct Helper {
    shared: Arc<Shared>,
    member: usize,
}

impl Helper {
    /// Helps until the team is closed, or parked for some time, or `rest` returns false.
    ///
    /// `rest` is called when there was no work for a while, with the number of times that it has been called since. It
    /// may do anything for as long as it likes: nobody waits for a helper that rests.
    pub(crate) fn run(self, mut rest: impl FnMut(u32) -> bool) {
        let slot = &self.shared.slots[self.member];
        if self.shared.parked.load(Ordering::Relaxed) {
            return;
        }
        let (mut seen, mut spins, mut rests) = (NEVER, 0, 0);
        loop {
            let phase = slot.phase.load(Ordering::Acquire);
            if phase == CLOSED {
                return;
            }
            if phase != seen {
                (seen, spins, rests) = (phase, 0, 0);
                self.shared.work(self.member, |count| {
                    // Nobody else writes it: a load and a store do.
                    let done = slot.done.load(Ordering::Relaxed);
                    slot.done.store(done.wrapping_add(count), Ordering::Release);
                });
            } else if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                // The next team of this leader's has not come in all that time.
                if self.shared.parked.load(Ordering::Relaxed) {
                    return;
                }
                slot.away.store(true, Ordering::Relaxed);
                let stays = rest(rests);
                slot.away.store(false, Ordering::Relaxed);
                if !stays {
                    return;
                }
                rests = rests.saturating_add(1);
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.slots[self.member].taken.store(false, Ordering::Release);
    }
}
