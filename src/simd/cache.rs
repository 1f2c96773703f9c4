//! The sizes of the caches of one core, for block sizes. A wrong answer costs time, never a bit.

use std::sync::OnceLock;

/// Bytes of data that one core's caches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caches {
    /// The first level, for data.
    pub l1: usize,
    /// The second level.
    pub l2: usize,
    /// The third level, which other cores may share; 0 if there is none, or none is known.
    pub l3: usize,
}

impl Caches {
    /// What the CPU says of itself (CPUID on x86-64, `/sys` on Linux elsewhere), read once; where it says nothing, what
    /// most have: 32 KiB, 512 KiB and no third level.
    pub fn detect() -> Self {
        static FOUND: OnceLock<Caches> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let mut caches = Self { l1: 32 << 10, l2: 512 << 10, l3: 0 };
            each(|level, bytes| match level {
                1 => caches.l1 = bytes,
                2 => caches.l2 = bytes,
                3 => caches.l3 = bytes,
                _ => {}
            });
            // An emulator may report nonsense.
            caches.l1 = caches.l1.clamp(8 << 10, 1 << 20);
            caches.l2 = caches.l2.clamp(64 << 10, 64 << 20);
            caches
        })
    }
}

/// Calls `found` with level and bytes of each cache that holds data.
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "newer compilers call the intrinsic safe")]
fn each(mut found: impl FnMut(u32, usize)) {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // Intel and AMD use the same format under different numbers; each answers the other's with zeros, or has no such
    // number.
    for (base, leaf) in [(0, 4), (0x8000_0000, 0x8000_001d)] {
        // SAFETY: every x86-64 CPU has CPUID and its two base leaves.
        if unsafe { __cpuid(base) }.eax < leaf {
            continue;
        }
        for index in 0..16 {
            // SAFETY: the CPU has just said that the leaf is there.
            let r = unsafe { __cpuid_count(leaf, index) };
            let (kind, level) = (r.eax & 31, r.eax >> 5 & 7);
            match kind {
                0 => break,
                // 1: data, 3: both.
                1 | 3 => {
                    let part = |shift: u32, bits: u32| (r.ebx >> shift & ((1 << bits) - 1)) as usize + 1;
                    let sets = r.ecx as usize + 1;
                    found(level, part(0, 12) * part(12, 10) * part(22, 10) * sets);
                }
                _ => {}
            }
        }
    }
}

/// Calls `found` with level and bytes of each cache that holds data.
#[cfg(not(target_arch = "x86_64"))]
fn each(mut found: impl FnMut(u32, usize)) {
    for index in 0..8 {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"))
        };
        let (Ok(level), Ok(kind), Ok(size)) = (read("level"), read("type"), read("size")) else { return };
        let kibibytes = size.trim().strip_suffix('K').and_then(|size| size.parse::<usize>().ok());
        if let (Ok(level), "Data" | "Unified", Some(size)) = (level.trim().parse(), kind.trim(), kibibytes) {
            found(level, size << 10);
        }
    }
}
