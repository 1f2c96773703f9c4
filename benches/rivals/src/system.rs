//! What is asked of the system: cores, clocks, stopping and continuing a process.
#![allow(unsafe_code, reason = "calls of the C library")]

use std::io;
use std::mem::{size_of, zeroed};

/// Restricts this process, and all that it starts, to `count` of its cores: to `first` if one core is wanted and that one
/// is named, else to the last ones. Returns them.
pub fn restrict_cores(count: usize, named: Option<usize>) -> Result<Vec<usize>, String> {
    // SAFETY: a set of cores is an array of integers, and all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: writes at most the size that is given to a place of that size.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if failed != 0 {
        return Err(format!("cannot ask which cores there are: {}", io::Error::last_os_error()));
    }
    let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the number is below the set's size.
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect();
    let chosen = match named {
        Some(_) if count != 1 => return Err("--core is for one thread: several are not pinned".into()),
        Some(core) if cores.contains(&core) => vec![core],
        Some(core) => return Err(format!("--core {core}: this process may use {cores:?}")),
        None if count > cores.len() => {
            return Err(format!("--threads {count}: this process may use {} core(s)", cores.len()));
        }
        None => cores[cores.len() - count..].to_vec(),
    };
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for &core in &chosen {
        // SAFETY: the number is below the set's size.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: reads a set of the size that is given.
    let failed = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if failed != 0 {
        return Err(format!("cannot restrict this process to {chosen:?}: {}", io::Error::last_os_error()));
    }
    Ok(chosen)
}

/// Seconds of processor time that all threads of this process have used.
pub fn process_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time to a place of its type.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "every Linux has this clock");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Has this process killed when its parent ends, also while it is stopped.
pub fn end_with_parent() -> Result<(), String> {
    // SAFETY: sets a number of this process; the signal is a valid one.
    let failed = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    if failed == 0 { Ok(()) } else { Err(format!("prctl: {}", io::Error::last_os_error())) }
}

/// Stops the child and returns when all its threads stand still. A child that has ended is no error here.
pub fn pause(child: u32) -> Result<(), String> {
    signal(child, libc::SIGSTOP)?;
    // SAFETY: the structure is plain numbers.
    let mut state: libc::siginfo_t = unsafe { zeroed() };
    // `WNOWAIT` leaves the child's end for `Child::wait`.
    let flags = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
    // SAFETY: writes a state to a place of its type.
    let failed = unsafe { libc::waitid(libc::P_PID, child, &raw mut state, flags) };
    if failed == 0 { Ok(()) } else { Err(format!("waitid: {}", io::Error::last_os_error())) }
}

/// Lets the child go on.
pub fn resume(child: u32) -> Result<(), String> {
    signal(child, libc::SIGCONT)
}

fn signal(child: u32, signal: libc::c_int) -> Result<(), String> {
    let id = libc::pid_t::try_from(child).map_err(|_| format!("{child} is no process"))?;
    // SAFETY: a child that has not been waited for, so the number is its own.
    let failed = unsafe { libc::kill(id, signal) };
    if failed == 0 { Ok(()) } else { Err(format!("kill: {}", io::Error::last_os_error())) }
}
