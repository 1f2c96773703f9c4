//! Tests of the team. The interleavings are tried by loom (`loom/`); here are the pools, the panics and the load.
//!
//! Without the `rayon` feature every team is a team of one, and the same tests hold.

use super::*;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const WIDTHS: [usize; 5] = [1, 2, 3, 5, 16];

/// Aborts the process if it lives for too long: a hang must be a failure that says where.
struct Watchdog(Option<mpsc::Sender<()>>);

impl Watchdog {
    fn new(what: &'static str) -> Self {
        let (alive, heard) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if heard.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("stuck for 60 s: {what}");
                std::process::abort();
            }
        });
        Self(Some(alive))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// SplitMix64: any numbers will do.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// One plain number per tile, written without atomics: what a kernel does.
struct Cells(Vec<UnsafeCell<u64>>);

// SAFETY: the tests give each cell to one tile at a time; that the team does so is what they test.
unsafe impl Sync for Cells {}

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn update(&self, index: usize, change: impl FnOnce(u64) -> u64) {
        let cell = self.0[index].get();
        // SAFETY: the caller's tile owns this cell in this phase.
        unsafe { *cell = change(*cell) }
    }

    fn get(&self, index: usize) -> u64 {
        // SAFETY: nobody writes this cell in this phase.
        unsafe { *self.0[index].get() }
    }
}

fn spin(turns: usize) {
    (0..turns).for_each(|_| std::hint::spin_loop());
}

/// Phases of one team: every tile exactly once, what one phase wrote is what the next reads, members are exclusive.
fn exercise(width: usize, tiles: usize, phases: u64, delay: &(dyn Fn() + Sync)) {
    let members: Vec<AtomicBool> = (0..width.max(1)).map(|_| AtomicBool::new(false)).collect();
    let (from, to) = (Cells::new(tiles), Cells::new(tiles));
    with_team(width, |team| {
        assert!(team.width() <= width.max(1));
        let leader = std::thread::current().id();
        for phase in 0..phases {
            let (from, to) = if phase % 2 == 0 { (&from, &to) } else { (&to, &from) };
            team.phase(tiles, &|tile| {
                assert!(tile.member < team_width(width) && tile.index < tiles);
                assert!(!members[tile.member].swap(true, Ordering::AcqRel), "two threads are one member");
                assert_eq!(tile.member == 0, std::thread::current().id() == leader);
                delay();
                // The next tile's number: of the last phase, and probably another member's.
                let neighbour = (tile.index + 1) % tiles;
                assert_eq!(from.get(neighbour), phase);
                assert_eq!(to.get(tile.index), phase.saturating_sub(1));
                to.update(tile.index, |_| phase + 1);
                members[tile.member].store(false, Ordering::Release);
            });
            (0..tiles).for_each(|index| assert_eq!(to.get(index), phase + 1, "tile {index} of {tiles}"));
        }
    });
}

/// The width that a team gets here.
fn team_width(width: usize) -> usize {
    if cfg!(feature = "rayon") { width.max(1) } else { 1 }
}

fn exercise_all() {
    for width in WIDTHS {
        for tiles in [0, 1, 2, 3, 4, 7, 16, 17, 64, 1000] {
            exercise(width, tiles, 6, &|| {});
        }
    }
}

/// Runs `test` inside a host's pool of `threads`, where there is rayon.
fn in_pool<R: Send>(threads: usize, test: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "rayon")]
    return rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(test);
    #[cfg(not(feature = "rayon"))]
    {
        let _ = threads;
        test()
    }
}

#[test]
fn each_tile_once_from_the_main_thread() {
    let _watchdog = Watchdog::new("each_tile_once_from_the_main_thread");
    exercise_all();
    exercise(0, 3, 2, &|| {});
}

#[test]
fn each_tile_once_in_pools() {
    let _watchdog = Watchdog::new("each_tile_once_in_pools");
    for threads in [1, 2, 4] {
        in_pool(threads, exercise_all);
    }
}

#[test]
fn home_ranges_are_contiguous_and_cover() {
    // With one tile per turn and nobody else there, the leader's order shows the ranges: its own first.
    for width in WIDTHS {
        for tiles in [2, 5, 16, 33] {
            let order = std::sync::Mutex::new(Vec::new());
            in_pool(1, || {
                with_team(width, |team| {
                    team.phase(tiles, &|tile| order.lock().unwrap().push((tile.index, tile.member)));
                });
            });
            let expected: Vec<_> = (0..tiles).map(|index| (index, 0)).collect();
            assert_eq!(order.into_inner().unwrap(), expected);
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn helpers_come_and_stay_at_home() {
    let _watchdog = Watchdog::new("helpers_come_and_stay_at_home");
    // Every tile waits for all the others, so each member gets one, and by the home ranges it is its own. Not for ever: on a
    // busy machine a helper may have rested too long and left just when a phase began.
    in_pool(3, || {
        with_team(3, |team| {
            for phase in 0..100 {
                let (here, homes) = (AtomicUsize::new(0), AtomicUsize::new(0));
                team.phase(3, &|tile| {
                    here.fetch_add(1, Ordering::AcqRel);
                    let since = Instant::now();
                    while here.load(Ordering::Acquire) < 3 && since.elapsed() < Duration::from_millis(20) {
                        std::thread::yield_now();
                    }
                    homes.fetch_add(usize::from(tile.index == tile.member), Ordering::Relaxed);
                });
                // The first to come may find the others' tiles first.
                assert!(phase < 50 || homes.load(Ordering::Relaxed) >= 1);
            }
        });
    });
}

#[cfg(feature = "rayon")]
#[test]
fn helpers_that_left_are_called_again() {
    let _watchdog = Watchdog::new("helpers_that_left_are_called_again");
    in_pool(2, || {
        with_team(2, |team| {
            for _ in 0..5 {
                let here = AtomicUsize::new(0);
                // Ends only if the helper is there.
                while here.swap(0, Ordering::AcqRel) < 2 {
                    let members = [AtomicBool::new(false), AtomicBool::new(false)];
                    team.phase(2, &|tile| {
                        if !members[tile.member].swap(true, Ordering::AcqRel) {
                            here.fetch_add(1, Ordering::AcqRel);
                        }
                        spin(1000);
                    });
                }
                // Longer than helpers rest.
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    });
}

/// A crew that is parked is left by its helpers, though nobody closes it, and goes on with others.
#[test]
fn a_parked_crew_is_left() {
    let _watchdog = Watchdog::new("a_parked_crew_is_left");
    let threads = std::cell::RefCell::new(Vec::new());
    let call = |helper: team::Helper| {
        threads.borrow_mut().push(std::thread::spawn(move || helper.run(|_| true)));
    };
    let mut team = Team::new(3, &call);
    for round in 0..20 {
        let cells = Cells::new(3);
        team.phase(3, &|tile| cells.update(tile.index, |x| x + 1));
        (0..3).for_each(|index| assert_eq!(cells.get(index), 1));
        if round % 2 == 0 {
            // Until they have come, or have never been needed.
            std::thread::sleep(Duration::from_millis(1));
        }
        let crew = team.park().expect("a team of three has one");
        if round % 3 == 0 {
            // `rest` lets them stay for ever: only the parking ends them.
            threads.take().into_iter().for_each(|thread: std::thread::JoinHandle<()>| thread.join().unwrap());
            assert!(crew.fits(3));
        }
        assert!(!crew.fits(2) && !crew.fits(4));
        team = Team::with(crew, &call);
    }
    assert!(Team::alone().park().is_none());
    drop(team);
    threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
}

/// A helper that rests may be busy with something else for long: its crew is not kept.
#[test]
fn a_crew_whose_helper_is_away() {
    let _watchdog = Watchdog::new("a_crew_whose_helper_is_away");
    let (rests, go) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let call = |helper: team::Helper| {
            let (rests, go) = (&rests, &go);
            scope.spawn(move || {
                helper.run(|_| {
                    rests.store(true, Ordering::Release);
                    while !go.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                    false
                });
            });
        };
        let team = Team::new(2, &call);
        team.phase(2, &|_| {});
        while !rests.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let crew = team.park().expect("a team of two has one");
        assert!(!crew.fits(2));
        // The next team makes do without it.
        let team = Team::with(crew, &call);
        let cells = Cells::new(5);
        team.phase(5, &|tile| cells.update(tile.index, |x| x + 1));
        (0..5).for_each(|index| assert_eq!(cells.get(index), 1));
        assert!(team.park().expect("as above").alone() >= 1);
        go.store(true, Ordering::Release);
    });
}

#[cfg(feature = "rayon")]
#[test]
fn inside_the_hosts_jobs() {
    let _watchdog = Watchdog::new("inside_the_hosts_jobs");
    for threads in [1, 2, 4] {
        in_pool(threads, || {
            rayon::join(exercise_all, || rayon::join(exercise_all, exercise_all));
            rayon::scope(|scope| (0..8).for_each(|_| scope.spawn(|_| exercise_all())));
        });
    }
    rayon::scope(|scope| (0..8).for_each(|_| scope.spawn(|_| exercise_all())));
}

#[cfg(feature = "rayon")]
#[test]
fn a_pool_whose_workers_are_all_busy() {
    let _watchdog = Watchdog::new("a_pool_whose_workers_are_all_busy");
    let (go, busy) = (AtomicBool::new(false), AtomicUsize::new(0));
    in_pool(4, || {
        rayon::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|_| {
                    busy.fetch_add(1, Ordering::AcqRel);
                    while !go.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                });
            }
            while busy.load(Ordering::Acquire) < 3 {
                std::thread::yield_now();
            }
            // Nobody comes, many times over: more teams than helpers may wait in the queue.
            (0..1000).for_each(|_| exercise(4, 9, 2, &|| {}));
            go.store(true, Ordering::Release);
        });
        exercise(4, 9, 100, &|| {});
    });
}

#[test]
fn nested_in_tiles() {
    let _watchdog = Watchdog::new("nested_in_tiles");
    for threads in [1, 2, 4] {
        in_pool(threads, || {
            for (outer, inner) in [(2, 2), (3, 5), (5, 1), (1, 3), (16, 16)] {
                let count = AtomicUsize::new(0);
                with_team(outer, |team| {
                    for _ in 0..20 {
                        team.phase(6, &|_| {
                            exercise(inner, 7, 3, &|| {});
                            with_team(inner, |team| {
                                team.phase(5, &|_| _ = count.fetch_add(1, Ordering::Relaxed));
                            });
                        });
                    }
                    // Another team in the body, between phases.
                    exercise(inner, 9, 2, &|| {});
                    team.phase(3, &|_| _ = count.fetch_add(1, Ordering::Relaxed));
                });
                assert_eq!(count.into_inner(), 20 * 6 * 5 + 3);
            }
        });
    }
}

#[test]
fn from_many_threads_at_once() {
    let _watchdog = Watchdog::new("from_many_threads_at_once");
    std::thread::scope(|scope| {
        (0..16).for_each(|_| _ = scope.spawn(exercise_all));
    });
}

/// Without the message that the hook would print two hundred times.
fn quietly<R>(test: impl FnOnce() -> R) -> R {
    static HOOK: std::sync::Once = std::sync::Once::new();
    thread_local!(static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let expected =
                info.payload().downcast_ref::<String>().is_some_and(|text| text.starts_with("tile "));
            if !expected && !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = test();
    QUIET.set(false);
    result
}

#[test]
fn a_panic_reaches_the_leader() {
    let _watchdog = Watchdog::new("a_panic_reaches_the_leader");
    for threads in [1, 2, 4] {
        in_pool(threads, || {
            for round in 0..200 {
                let (width, tiles) = (WIDTHS[round % WIDTHS.len()], 1 + round % 23);
                let bad = (round * 7) % tiles;
                with_team(width, |team| {
                    let run = Cells::new(tiles);
                    let payload = quietly(|| {
                        catch_unwind(AssertUnwindSafe(|| {
                            team.phase(tiles, &|tile| {
                                run.update(tile.index, |count| count + 1);
                                if tile.index == bad {
                                    panic!("tile {} of round {round}", tile.index);
                                }
                            });
                        }))
                    })
                    .unwrap_err();
                    let text = payload.downcast::<String>().unwrap();
                    assert_eq!(*text, format!("tile {bad} of round {round}"));
                    assert_eq!(run.get(bad), 1);
                    assert!((0..tiles).all(|index| run.get(index) <= 1));

                    // Several at once: one of them.
                    let payload = quietly(|| {
                        catch_unwind(AssertUnwindSafe(|| {
                            team.phase(tiles, &|tile| panic!("tile {}", tile.index));
                        }))
                    });
                    assert!(payload.unwrap_err().downcast::<String>().unwrap().starts_with("tile "));

                    // The team goes on.
                    let sum = AtomicUsize::new(0);
                    team.phase(tiles, &|tile| _ = sum.fetch_add(tile.index, Ordering::Relaxed));
                    assert_eq!(sum.into_inner(), tiles * (tiles - 1) / 2);
                });
                exercise(width, tiles, 2, &|| {});
            }
        });
    }
}

#[test]
fn a_body_that_unwinds() {
    let _watchdog = Watchdog::new("a_body_that_unwinds");
    for threads in [1, 2, 4] {
        in_pool(threads, || {
            for round in 0..200 {
                let payload = quietly(|| {
                    catch_unwind(AssertUnwindSafe(|| {
                        // On the stack, and gone when the body has unwound: a helper that still ran would be found out
                        // by the sanitizer.
                        let cells = Cells::new(64);
                        with_team(4, |team| {
                            team.phase(64, &|tile| cells.update(tile.index, |count| count + 1));
                            if round % 2 == 0 {
                                std::panic::panic_any(round);
                            }
                            team.phase(64, &|_| std::panic::resume_unwind(Box::new(round)));
                        });
                    }))
                });
                assert_eq!(*payload.unwrap_err().downcast::<usize>().unwrap(), round);
            }
            exercise(4, 64, 10, &|| {});
        });
    }
}

#[test]
fn delays_and_too_many_threads() {
    let _watchdog = Watchdog::new("delays_and_too_many_threads");
    // Cores have other work too.
    let (stop, seed) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    spin(5000);
                    std::thread::yield_now();
                }
            });
        }
        let delay = || {
            let mut random = Random(u64::from(seed.fetch_add(1, Ordering::Relaxed)));
            match random.below(64) {
                0 => std::thread::yield_now(),
                1 => std::thread::sleep(Duration::from_micros(50)),
                turns => spin(turns * turns / 8),
            }
        };
        let mut random = Random(7);
        let trials = |count: usize, random: &mut Random| {
            for _ in 0..count {
                let (width, tiles) = (1 + random.below(8), random.below(20));
                exercise(width, tiles, 1 + random.below(4) as u64, &delay);
                if random.below(16) == 0 {
                    std::thread::sleep(Duration::from_micros(random.below(3000) as u64));
                }
            }
        };
        trials(500, &mut random);
        for threads in [1, 2, 8] {
            in_pool(threads, || trials(500, &mut random));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn limits() {
    let rayon = cfg!(feature = "rayon");
    assert_eq!(limit(Parallelism::Serial), 1);
    for most in [0, 1, 2, 3, 16, 100] {
        assert_eq!(limit(Parallelism::Max(most)), if rayon { most.max(1) } else { 1 });
    }
    assert!(limit(Parallelism::Max(usize::MAX)) >= 1);
    assert!((1..=available_threads()).contains(&limit(Parallelism::Auto)));
    assert_eq!(in_pool(1, || limit(Parallelism::Auto)), 1);
    assert_eq!(with_team(1, |team| team.width()), 1);
    assert_eq!(with_team(5, |team| team.width()), team_width(5));
}

#[test]
fn cores_are_counted_once() {
    assert_eq!(cores::parse_list("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
    assert_eq!(cores::parse_list("\t7\n"), Some(vec![7]));
    assert_eq!(cores::parse_list(""), Some(vec![]));
    for bad in ["a", "1-", "-1", "0-99999999999", "1,,x"] {
        assert_eq!(cores::parse_list(bad), None, "{bad}");
    }
    // Four cores of two threads; half of them allowed, in two ways.
    let siblings = HashMap::from([(0, "0,4"), (1, "1,5"), (2, "2,6"), (3, "3,7"), (4, "0,4"), (5, "1,5")]);
    let siblings = |cpu: usize| siblings.get(&cpu).map(|&list| list.to_owned());
    assert_eq!(cores::count_cores("0-3", siblings), Some(4));
    assert_eq!(cores::count_cores("0-1,4-5", siblings), Some(2));
    assert_eq!(cores::count_cores("5", siblings), Some(1));
    assert_eq!(cores::count_cores("0,9", siblings), None);
    assert!(available_threads() >= 1);
}

/// Only a call that follows close on another of the same thread is one in a row.
#[test]
#[cfg(not(target_family = "wasm"))]
fn what_is_in_a_row() {
    std::thread::spawn(|| {
        assert!(!in_a_row());
        // The thread may lose its core between two calls, but not each time.
        assert!((0..1000).any(|_| in_a_row()));
        // Nobody came: most go alone.
        let shared = (0..1600).filter(|_| close_in_a_row()).count();
        assert!((1..=8 * 1600 / 128 + 8).contains(&shared), "{shared}");
        std::thread::sleep(Duration::from_millis(1));
        assert!(!in_a_row());
        std::thread::spawn(|| assert!(!in_a_row())).join().unwrap();
    })
    .join()
    .unwrap();
}
