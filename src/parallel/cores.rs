//! How many threads are worth having.

use std::sync::OnceLock;

/// The number of threads that [`Parallelism::Auto`](crate::Parallelism::Auto) uses at most: the physical cores that this
/// process may run on, within its affinity and its cgroup's limit.
///
/// Two threads of one core share its vector units, so the second gains nothing here. Measured at the first call, on the
/// thread that makes it, and kept.
pub fn available_threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let logical = std::thread::available_parallelism().map_or(1, usize::from);
        physical_cores().map_or(logical, |cores| cores.clamp(1, logical))
    })
}

/// The physical cores among the CPUs that the calling thread may run on.
#[cfg(target_os = "linux")]
fn physical_cores() -> Option<usize> {
    use std::fs::read_to_string;

    let status = read_to_string("/proc/thread-self/status").ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    count_cores(allowed, |cpu| {
        // One file of two names: older kernels know the second alone. It lists the CPUs that are one core, which is
        // clearer than pairs of package and core: core numbers repeat per die on some machines, and are -1 on others.
        let topology = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        read_to_string(format!("{topology}/core_cpus_list"))
            .or_else(|_| read_to_string(format!("{topology}/thread_siblings_list")))
            .ok()
    })
}

#[cfg(not(target_os = "linux"))]
fn physical_cores() -> Option<usize> {
    None
}

/// The number of cores among the CPUs of the list `allowed`, where `siblings` lists the CPUs of a CPU's core.
#[cfg(any(target_os = "linux", test))]
pub(super) fn count_cores(allowed: &str, siblings: impl Fn(usize) -> Option<String>) -> Option<usize> {
    let mut seen = std::collections::HashSet::new();
    let mut cores = 0;
    for cpu in parse_list(allowed)? {
        if !seen.contains(&cpu) {
            cores += 1;
            seen.insert(cpu);
            seen.extend(parse_list(&siblings(cpu)?)?);
        }
    }
    Some(cores)
}

/// The kernel's lists: `0-3,8,10-11`.
#[cfg(any(target_os = "linux", test))]
pub(super) fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in list.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        // More CPUs than any kernel has: not a list to trust.
        if last >= 1 << 20 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}
