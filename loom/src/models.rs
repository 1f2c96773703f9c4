//! The models. In each, every tile must run exactly once; what it writes is plain memory (loom's `UnsafeCell`, which
//! reports two accesses that nothing orders), written again by another tile in the next phase and read by the leader in
//! between. A helper is a thread, so loom runs it early, late, in the middle of a phase, and after the team is closed.

use crate::team::{Helper, Team, Tile};
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Plain memory, one per tile. In an `Arc`, so that loom also sees if it is used after the leader has freed it.
struct Memory(Vec<UnsafeCell<u32>>);

// SAFETY: that no two threads use a cell at the same time is what loom checks.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(tiles: usize) -> Self {
        Self((0..tiles).map(|_| UnsafeCell::new(0)).collect())
    }

    fn get(&self, index: usize) -> u32 {
        // SAFETY: loom reports a concurrent write.
        self.0[index].with(|cell| unsafe { *cell })
    }

    fn add(&self, index: usize) {
        // SAFETY: loom reports a concurrent access.
        self.0[index].with_mut(|cell| unsafe { *cell += 1 });
    }
}

/// Runs `body` with a team whose helpers are threads that look `rests` times more before they leave, and joins them.
///
/// They look without yielding to loom, and a small number of times: where two threads yield to each other loom goes on
/// with the same one for ever. A helper that is still there in the next phase is one that loom interrupted.
fn with_team(width: usize, rests: u32, body: impl FnOnce(&Team<'_>)) {
    let threads = RefCell::new(Vec::new());
    let call = |helper: Helper| {
        threads.borrow_mut().push(loom::thread::spawn(move || helper.run(|round| round < rests)));
    };
    body(&Team::new(width, &call));
    threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
}

/// Tries the interleavings of `model` with up to `preemptions` preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    let begin = std::time::Instant::now();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&count);
    builder.check(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    println!(
        "{name}: {} interleavings, {:?}",
        count.load(std::sync::atomic::Ordering::Relaxed),
        begin.elapsed()
    );
}

/// `phases[i]` tiles in phase i, each touching its own cell and reading its neighbour's of the phase before.
fn phases(width: usize, rests: u32, phases: &'static [usize]) {
    let most = phases.iter().copied().max().unwrap_or(0);
    // Each phase has memory of its own, read by the next.
    let memory: Vec<Memory> = phases.iter().map(|_| Memory::new(most)).collect();
    with_team(width, rests, |team| {
        for (number, &tiles) in phases.iter().enumerate() {
            let shared = Memory::new(most);
            team.phase(tiles, &|tile: Tile| {
                assert!(tile.member < width && tile.index < tiles);
                memory[number].add(tile.index);
                shared.add(tile.index);
                if number > 0 && phases[number - 1] > 0 {
                    let neighbour = (tile.index + 1) % phases[number - 1];
                    assert_eq!(memory[number - 1].get(neighbour), 1);
                }
            });
            // `shared` is freed here, by a leader that has seen all of it.
            for index in 0..most {
                assert_eq!(shared.get(index), u32::from(index < tiles));
                assert_eq!(memory[number].get(index), u32::from(index < tiles));
            }
        }
    });
}

/// One helper that stays: late, in time, or after the end.
#[test]
fn two_phases() {
    check(2, || phases(2, 1, &[2, 2]));
}

/// The ranges move: the same slot stands for other tiles in the next phase.
#[test]
fn phases_of_other_lengths() {
    check(2, || phases(2, 1, &[3, 2]));
}

/// The helper leaves as soon as there is nothing to do, also while the next phase begins, and another is called.
#[test]
fn a_helper_that_leaves() {
    check(3, || phases(2, 0, &[2, 2]));
}

/// It leaves and comes back through two more phases.
#[test]
fn helpers_that_leave_and_are_called_again() {
    check(1, || phases(2, 0, &[2, 2, 2]));
}

/// Two helpers: they also take from each other.
#[test]
fn two_helpers() {
    check(1, || phases(3, 0, &[3, 2]));
}

/// One memory for all phases, as a gradient is: what one member wrote another adds to.
#[test]
fn the_same_memory_in_each_phase() {
    check(2, || {
        let memory = Memory::new(3);
        with_team(2, 0, |team| {
            team.phase(3, &|tile| memory.add(tile.index));
            team.phase(3, &|tile| memory.add(2 - tile.index));
            (0..3).for_each(|index| assert_eq!(memory.get(index), 2));
        });
    });
}

/// Scratch per member: never two threads at once, also when the helper of a slot is another than before.
#[test]
fn scratch_of_a_member() {
    check(2, || {
        let scratch = Memory::new(2);
        with_team(2, 0, |team| {
            (0..2).for_each(|_| team.phase(2, &|tile| scratch.add(tile.member)));
            assert_eq!(scratch.get(0) + scratch.get(1), 4);
        });
    });
}

/// The team is closed with a helper on its way, waiting, or at work on the last tiles; the leader goes on at once.
#[test]
fn closed_at_once() {
    check(3, || {
        let memory = Arc::new(Memory::new(2));
        let theirs = Arc::clone(&memory);
        with_team(2, 1, move |team| {
            team.phase(2, &|tile| theirs.add(tile.index));
            // The leader has all of it to itself, while the helper may still look around.
            (0..2).for_each(|index| theirs.add(index));
        });
        let memory = Arc::try_unwrap(memory).ok().expect("nobody else has it");
        memory.0.into_iter().for_each(|cell| assert_eq!(cell.into_inner(), 2));
    });
}

/// A body that makes no phase, and one that unwinds between phases.
#[test]
fn a_body_that_unwinds() {
    check(3, || {
        with_team(2, 0, |_| {});
        let memory = Memory::new(2);
        with_team(2, 1, |_| {});
        let threads = RefCell::new(Vec::new());
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let call = |helper: Helper| {
                threads.borrow_mut().push(loom::thread::spawn(move || helper.run(|_| false)));
            };
            let team = Team::new(2, &call);
            team.phase(2, &|tile| memory.add(tile.index));
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
        (0..2).for_each(|index| assert_eq!(memory.get(index), 1));
        threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Two teams with one crew: the helper waits for the second one, or leaves between them and another is called.
#[test]
fn a_crew_that_is_kept() {
    check(2, || {
        let threads = RefCell::new(Vec::new());
        let call = |helper: Helper| {
            threads.borrow_mut().push(loom::thread::spawn(move || helper.run(|round| round < 1)));
        };
        let mut team = Team::new(2, &call);
        for _ in 0..2 {
            // Freed before the next team is there.
            let memory = Memory::new(2);
            team.phase(2, &|tile| memory.add(tile.index));
            (0..2).for_each(|index| assert_eq!(memory.get(index), 1));
            let crew = team.park().expect("a team of two has one");
            drop(memory);
            team = Team::with(crew, &call);
        }
        drop(team);
        threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Every tile panics, on both threads: the first payload reaches the leader, the next phase is a whole one.
#[test]
fn panics() {
    check(2, || {
        let memory = Memory::new(2);
        with_team(2, 0, |team| {
            let payload = catch_unwind(AssertUnwindSafe(|| {
                team.phase(2, &|tile| std::panic::resume_unwind(Box::new(tile.index)));
            }));
            assert!(*payload.unwrap_err().downcast::<usize>().unwrap() < 2);
            team.phase(2, &|tile| memory.add(tile.index));
            (0..2).for_each(|index| assert_eq!(memory.get(index), 1));
        });
    });
}

/// A helper that is dropped instead of run: the leader does the work and calls again.
#[test]
fn a_call_that_is_refused() {
    check(2, || {
        let (memory, calls) = (Memory::new(2), Cell::new(0));
        let call = |helper: Helper| {
            calls.set(calls.get() + 1);
            drop(helper);
        };
        let team = Team::new(2, &call);
        team.phase(2, &|tile| memory.add(tile.index));
        team.phase(2, &|tile| memory.add(tile.index));
        (0..2).for_each(|index| assert_eq!(memory.get(index), 2));
        assert_eq!(calls.get(), 2);
    });
}
