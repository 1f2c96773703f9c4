//! Threads: a team that never waits for who has not come.
//!
//! ```text
//!   caller, on any thread            the rayon pool that the caller is in, or the global one
//!   with_team(3, body)
//!     leads: member 0                job: member 1          job: member 2
//!     body:  phase(8, f)  - - - - ->  comes, takes tiles     (its thread is busy)
//!            phase(5, g)              takes tiles            comes, takes tiles
//!                                     rests: rayon::yield_now, so that the host's jobs run
//!     parks                           waits a moment, goes   finds the team parked, goes
//! ```
//!
//! `team.rs` is the protocol; this file is the only one that knows rayon. A helper is a job of its own (`rayon::spawn`)
//! that owns its share of the team's state. `rayon::scope` would not do: it waits for jobs that never began, and runs
//! other jobs of the host's on the caller's stack meanwhile, whatever locks the caller holds. The leader here never
//! enters rayon but to spawn. A thread keeps the crew of its last team, so that many small calls have the same helpers.

mod cores;
#[cfg_attr(not(feature = "rayon"), allow(dead_code, reason = "without rayon nobody is called to a team"))]
mod sync;
#[cfg_attr(not(feature = "rayon"), allow(dead_code, reason = "without rayon nobody is called to a team"))]
mod team;
#[cfg(test)]
mod tests;

pub use cores::available_threads;
pub(crate) use team::{Team, Tile};

use crate::context::Parallelism;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// From the beginning of a call to that of the next: a worker of the pool is still awake 20 microseconds after its last job, and the
/// calls that ask take up to 35.
const ROW: Duration = Duration::from_micros(50);

/// The same for calls so short that a helper has to be there: it looks for the next team for some ten microseconds.
const CLOSE_ROW: Duration = Duration::from_micros(10);

/// Where no helper came to this many short calls, or phases, in a row, ...
const TRIES: u32 = 8;

/// ... only those of so many are shared: the time that a sleeping thread takes to come, and then little enough of all.
const OF_CALLS: u32 = 128;

/// No call uses more threads, whatever it asks for: `Max(usize::MAX)` is not worth a slot each.
const MAX_WIDTH: usize = 1024;

/// The most threads that a call may use.
///
/// `Max` is taken at its word, also beyond the number of cores. `Auto` may build rayon's global pool: where the work is
/// too small to share, do not ask.
pub(crate) fn limit(parallelism: Parallelism) -> usize {
    if cfg!(not(feature = "rayon")) {
        return 1;
    }
    match parallelism {
        Parallelism::Serial => 1,
        Parallelism::Max(most) => most.clamp(1, MAX_WIDTH),
        Parallelism::Auto => match available_threads() {
            1 => 1,
            threads => threads.min(pool_threads()).clamp(1, MAX_WIDTH),
        },
    }
}

/// True if this thread asked the same a moment ago: so threads that slept are woken for the second of many small calls, and are
/// awake for the others, and nobody pays for waking them who makes one call now and then.
pub(crate) fn in_a_row() -> bool {
    since_last_asked().is_some_and(|time| time < ROW)
}

/// [`in_a_row`] for calls that are only worth sharing with a helper that is there already. Where all threads of a pool are busy, nobody
/// comes: then few of these calls ask for it.
pub(crate) fn close_in_a_row() -> bool {
    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }
    let close = since_last_asked().is_some_and(|time| time < CLOSE_ROW);
    close
        && (helper_came()
            || CALLS
                .try_with(|calls| calls.replace(calls.get().wrapping_add(1)) % OF_CALLS < TRIES)
                .unwrap_or(false))
}

/// Since this thread called this last; `None` for the first time.
fn since_last_asked() -> Option<Duration> {
    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    // No clock there, and no threads.
    if cfg!(target_family = "wasm") {
        return None;
    }
    let now = Instant::now();
    // No thread-local storage: this thread is ending.
    let last = LAST.try_with(|last| last.replace(Some(now))).ok().flatten();
    last.map(|last| now.duration_since(last))
}

/// For the bench of what a region costs: a region of up to `width` members, and in it as many phases as `body` asks
/// for, of so many tiles that call a function with the member's number.
#[doc(hidden)]
pub fn region<R>(width: usize, body: impl FnOnce(&dyn Fn(usize, &(dyn Fn(usize) + Sync))) -> R) -> R {
    with_team(width, |team| body(&|tiles, run| team.phase(tiles, &|tile| run(tile.member))))
}

/// Calls `body` with a team of up to `width` members, the caller included. A width of 1 never touches rayon.
///
/// May be called anywhere: on any thread, inside rayon's jobs, inside a tile. How many members come depends on how busy
/// the pool is; the answer must not (see [`Team::phase`]).
pub(crate) fn with_team<R>(width: usize, body: impl FnOnce(&Team<'_>) -> R) -> R {
    #[cfg(feature = "rayon")]
    if width > 1 && pool_threads() > 0 {
        return pool::with_team(width.min(MAX_WIDTH), body);
    }
    let _ = width;
    body(&Team::alone())
}

#[cfg(not(feature = "rayon"))]
fn pool_threads() -> usize {
    0
}

#[cfg(not(feature = "rayon"))]
fn helper_came() -> bool {
    false
}

#[cfg(feature = "rayon")]
use pool::{helper_came, threads as pool_threads};

#[cfg(feature = "rayon")]
mod pool {
    use super::TRIES;
    use super::team::{Crew, Helper, Team};
    use crate::environment;
    use std::cell::Cell;
    use std::error::Error;
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock};
    use std::time::{Duration, Instant};

    /// How long a helper rests before it leaves: longer than a batch takes to gather, shorter than anyone notices.
    const REST: Duration = Duration::from_millis(1);

    /// How many helpers that have not begun one thread may have in the pool. Where all workers are busy for long, a loop
    /// of small calls would otherwise fill the queue with jobs for teams that are long gone.
    const QUEUED: usize = 256;

    thread_local! {
        /// The helpers that this thread called and that have not begun.
        static CALLED: Arc<AtomicUsize> = Arc::new(AtomicUsize::new(0));

        /// The crew of this thread's last team. (A thread's pool is always the same.)
        static KEPT: Cell<Option<Crew>> = const { Cell::new(None) };
    }

    /// True if the last crew of this thread has, or had lately.
    pub(super) fn helper_came() -> bool {
        let came = |kept: &Cell<Option<Crew>>| {
            let crew = kept.take();
            let came = crew.as_ref().is_some_and(|crew| crew.alone() < TRIES);
            kept.set(crew);
            came
        };
        KEPT.try_with(came).unwrap_or(false)
    }

    /// Calls `body` with a team. Where one follows close on another of the same thread, the helpers are still there: calling one
    /// takes 2 to 3 microseconds until it comes, as long as a product of 64 x 64 x 64.
    pub(super) fn with_team<R>(width: usize, body: impl FnOnce(&Team<'_>) -> R) -> R {
        let call = |helper| spawn(width, helper);
        // No thread-local storage: this thread is ending.
        let kept = KEPT.try_with(Cell::take).ok().flatten();
        let team = match kept.filter(|crew| crew.fits(width)) {
            Some(crew) => Team::with(crew, &call),
            None => Team::new(width, &call),
        };
        let result = body(&team);
        let _ = KEPT.try_with(|kept| kept.set(team.park()));
        result
    }

    /// The number of threads in the pool that the caller would use; 0 if there is none.
    pub(super) fn threads() -> usize {
        if rayon::current_thread_index().is_some() || global() { rayon::current_num_threads() } else { 0 }
    }

    /// True if rayon's global pool is there. It is built if need be.
    fn global() -> bool {
        static BUILT: OnceLock<bool> = OnceLock::new();
        *BUILT.get_or_init(|| {
            // rayon's own lazy way panics, with a message, where threads cannot be had. Where there are none by design,
            // though, it has a fallback that building by hand does not have.
            if cfg!(not(target_family = "wasm")) {
                match rayon::ThreadPoolBuilder::new().build_global() {
                    Ok(()) => return true,
                    Err(error) if error.source().is_some() => return false,
                    // Somebody was first, but it may have failed for them.
                    Err(_) => {}
                }
            }
            catch_unwind(rayon::current_num_threads).is_ok()
        })
    }

    /// Sends `helper` to the pool, or drops it if too many are waiting there.
    fn spawn(width: usize, helper: Helper) {
        // No thread-local storage: this thread is ending.
        let Ok(called) = CALLED.try_with(Arc::clone) else { return };
        if called.load(Ordering::Relaxed) >= QUEUED.max(2 * width) {
            return;
        }
        // Only a bound: no order needed.
        called.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(move || {
            called.fetch_sub(1, Ordering::Relaxed);
            drop(called);
            // A worker may flush subnormal numbers where the caller does not, and the bits would tell who came.
            if !environment::is_default() {
                return;
            }
            let since = Cell::new(None);
            helper.run(|round| rest(round, &since));
        });
    }

    /// Gives the core to the host's jobs, or to whoever wants it. False if it is time to go.
    fn rest(round: u32, since: &Cell<Option<Instant>>) -> bool {
        // No clock there.
        if cfg!(target_family = "wasm") {
            return false;
        }
        let now = Instant::now();
        if round == 0 {
            since.set(Some(now));
        }
        if since.get().is_none_or(|since| now.duration_since(since) > REST) {
            return false;
        }
        if matches!(rayon::yield_now(), Some(rayon::Yield::Executed)) {
            // The host's job may have left another environment behind.
            return environment::is_default();
        }
        std::thread::yield_now();
        true
    }
}
