//! What is called for a bad argument: the process's `xerbla_` or `cblas_xerbla`, or a message if it has none.

use crate::call::Order;
use std::arch::global_asm;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// The process's handlers, as its linker found them.
#[repr(C)]
struct Handlers {
    /// SRNAME, INFO, and the length of SRNAME as Fortran compilers pass it.
    fortran: Option<unsafe extern "C" fn(*const c_char, *const c_int, usize)>,
    /// The argument's position, the routine, a format and what it formats.
    c: Option<unsafe extern "C" fn(c_int, *const c_char, *const c_char, ...)>,
}

// References that may stay without a definition, which stable Rust has no other word for. The dynamic linker takes the
// program's own handlers first, then those of the BLAS behind this library; a link of a program against this library
// alone exports the program's handlers, which looking them up by `dlsym` would not. None is defined here: a default
// one in front of another BLAS would replace that one's, for routines that are none of this library's business.
global_asm!(
    ".weak xerbla_",
    ".weak cblas_xerbla",
    ".pushsection .data.rel.ro.gemmule_blas_handlers, \"aw\", %progbits",
    ".balign 8",
    ".globl gemmule_blas_handlers",
    ".hidden gemmule_blas_handlers",
    "gemmule_blas_handlers:",
    ".dc.a xerbla_",
    ".dc.a cblas_xerbla",
    ".popsection",
);

unsafe extern "C" {
    safe static gemmule_blas_handlers: Handlers;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Tells that the argument at `position` is bad, in the way of Fortran. `routine` has six letters.
#[cold]
pub fn fortran(routine: &CStr, position: c_int) {
    match gemmule_blas_handlers.fortran {
        // SAFETY: this is how xerbla_ is called.
        Some(xerbla) => unsafe { xerbla(routine.as_ptr(), &raw const position, routine.count_bytes()) },
        None => print(&format!(
            " ** On entry to {} parameter number {position:2} had an illegal value",
            routine.to_string_lossy().trim_end()
        )),
    }
}

/// Tells that the argument at `position` is bad, in the way of C. For row-major sizes it is the position in the call
/// with A and B, m and n exchanged. `form` shows `value`, or is empty.
#[cold]
pub fn c(routine: &CStr, order: Option<Order>, position: c_int, form: &CStr, value: c_int) {
    let exchanged = order == Some(Order::Rows);
    let own = match position {
        4 if exchanged => 5,
        5 if exchanged => 4,
        9 if exchanged => 11,
        11 if exchanged => 9,
        _ => position,
    };
    match gemmule_blas_handlers.c {
        // Netlib's handlers, and those made after it, exchange positions back if this variable of Netlib's says so.
        Some(xerbla) => match row_major_flag() {
            Some(flag) => {
                flag.store(c_int::from(exchanged), Ordering::Relaxed);
                // SAFETY: this is how cblas_xerbla is called.
                unsafe { xerbla(position, routine.as_ptr(), form.as_ptr(), value) };
                flag.store(0, Ordering::Relaxed);
            }
            // SAFETY: as above.
            None => unsafe { xerbla(own, routine.as_ptr(), form.as_ptr(), value) },
        },
        None => {
            let form = form.to_string_lossy().replace("%d", &value.to_string());
            let line = format!("Parameter {own} to routine {} was incorrect", routine.to_string_lossy());
            print(format!("{line}\n{form}").trim_end());
        }
    }
}

/// `RowMajorStrg`, if the process has it. By `dlsym`, which also knows what to do if it is thread-local.
fn row_major_flag() -> Option<&'static AtomicI32> {
    // SAFETY: a name, and the search order of the process (RTLD_DEFAULT).
    let flag = unsafe { dlsym(ptr::null_mut(), c"RowMajorStrg".as_ptr()) };
    // SAFETY: an int of whoever defines it, as long as it is loaded.
    (!flag.is_null()).then(|| unsafe { AtomicI32::from_ptr(flag.cast()) })
}

/// One line for stderr, if there is one: `eprintln!` would panic without.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
