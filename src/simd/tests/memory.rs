//! Loads and stores touch their own elements and no others.

use super::guard::{Guarded, Plain};
use super::{Number, lanes, selections};
use crate::simd::{Kernel, Selected, Simd, Vector};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a buffer holds where nothing may be written.
fn canary<T: Number>(i: usize) -> T {
    T::from(1000 + i).unwrap()
}

/// `load_first`, then a full store.
struct LoadFirst<'a, T> {
    source: &'a [T],
    lanes: &'a mut [T],
}

impl<T: Number> Kernel for LoadFirst<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        T::V::<S>::load_first(s, self.source).store(self.lanes);
    }
}

/// A full load, then `store_first`.
struct StoreFirst<'a, T> {
    lanes: &'a [T],
    target: &'a mut [T],
}

impl<T: Number> Kernel for StoreFirst<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        T::V::<S>::load(s, self.lanes).store_first(self.target);
    }
}

/// A full load and a full store.
struct Copy<'a, T> {
    source: &'a [T],
    target: &'a mut [T],
}

impl<T: Number> Kernel for Copy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        T::V::<S>::load(s, self.source).store(self.target);
    }
}

/// Lanes that are all different and none of them a canary.
fn distinct<T: Number>(lanes: usize) -> Vec<T> {
    (0..lanes).map(|i| T::from(i + 1).unwrap()).collect()
}

fn check_load<T: Number>(selected: Selected, source: &[T]) {
    let mut lanes = vec![canary::<T>(0); lanes::<T>(selected)];
    selected.run(LoadFirst { source, lanes: &mut lanes });
    for (i, x) in lanes.iter().enumerate() {
        let want = source.get(i).map_or(0, |x| x.bits());
        assert_eq!(x.bits(), want, "{} {} elements, lane {i}", selected.isa(), source.len());
    }
}

fn check_store<T: Number>(selected: Selected, target: &mut [T]) {
    let lanes = distinct::<T>(lanes::<T>(selected));
    selected.run(StoreFirst { lanes: &lanes, target });
    let count = target.len().min(lanes.len());
    assert_eq!(target[..count], lanes[..count], "{} {count} elements", selected.isa());
}

fn check_canaries<T: Number>() {
    for selected in selections() {
        let lanes = lanes::<T>(selected);
        for count in 0..=lanes {
            // Every alignment.
            for begin in lanes..2 * lanes {
                let mut buffer: Vec<T> = (0..4 * lanes).map(canary).collect();
                check_load(selected, &buffer[begin..begin + count]);
                check_store(selected, &mut buffer[begin..begin + count]);
                for (i, &x) in buffer.iter().enumerate() {
                    let inside = (begin..begin + count).contains(&i);
                    assert!(inside || x == canary(i), "{} {count} at {begin}: wrote {i}", selected.isa());
                }
            }
        }
        // A longer slice counts as LANES.
        let mut buffer: Vec<T> = (0..lanes + 3).map(canary).collect();
        check_load(selected, &buffer);
        check_store(selected, &mut buffer);
        assert!((lanes..lanes + 3).all(|i| buffer[i] == canary(i)), "{}", selected.isa());
    }
}

#[test]
fn partial_access_spares_the_neighbours() {
    check_canaries::<f32>();
    check_canaries::<f64>();
}

fn check_guards<T: Number + Plain>() {
    for selected in selections() {
        let lanes = lanes::<T>(selected);
        let mut guarded = Guarded::<T>::new(lanes);
        for count in 0..=lanes {
            guarded.at_end(count).copy_from_slice(&distinct(lanes)[..count]);
            check_load(selected, guarded.at_end(count));
            check_store(selected, guarded.at_end(count));
            guarded.at_start(count).copy_from_slice(&distinct(lanes)[..count]);
            check_load(selected, guarded.at_start(count));
            check_store(selected, guarded.at_start(count));
        }
        // With slack behind or before, so that a vector straddles the guard's edge at every offset.
        for slack in 0..lanes {
            for count in 0..=slack {
                check_load(selected, &guarded.at_end(slack)[..count]);
                check_store(selected, &mut guarded.at_end(slack)[..count]);
            }
        }
        let mut target = distinct::<T>(lanes);
        selected.run(Copy { source: guarded.at_end(lanes), target: &mut target });
        selected.run(Copy { source: guarded.at_start(lanes), target: &mut target });
        selected.run(Copy { source: &target, target: guarded.at_end(lanes) });
        selected.run(Copy { source: &target, target: guarded.at_start(lanes) });
    }
}

#[test]
fn no_access_beyond_the_guards() {
    check_guards::<f32>();
    check_guards::<f64>();
}

/// The guards guard: a child process that reads one element too far dies of a signal.
#[test]
fn guards_are_armed() {
    let mut guarded = Guarded::<f32>::new(1);
    let end = guarded.at_end(1).as_mut_ptr().wrapping_add(1);
    let start = guarded.at_start(1).as_mut_ptr().wrapping_sub(1);
    for address in [end, start] {
        // SAFETY: the child makes one volatile read and leaves; it takes no lock and allocates nothing.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: this is the access that the page refuses; if not, the child leaves with success.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                libc::signal(libc::SIGBUS, libc::SIG_DFL);
                address.read_volatile();
                libc::_exit(0);
            }
        }
        let mut status = 0;
        // SAFETY: waits for the child that was made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFSIGNALED(status), "the guard page let a read pass");
    }
}

fn check_short<T: Number>() {
    for selected in selections() {
        let lanes = distinct::<T>(lanes::<T>(selected));
        let mut target = lanes.clone();
        let short = &lanes[..lanes.len() - 1];
        let load = AssertUnwindSafe(|| selected.run(Copy { source: short, target: &mut target }));
        assert!(catch_unwind(load).is_err(), "{} loaded too much", selected.isa());
        let short = &mut target[..lanes.len() - 1];
        let store = AssertUnwindSafe(|| selected.run(Copy { source: &lanes, target: short }));
        assert!(catch_unwind(store).is_err(), "{} stored too much", selected.isa());
    }
}

#[test]
fn full_access_checks_the_length() {
    check_short::<f32>();
    check_short::<f64>();
}
