//! Bad arguments with handlers that the program provides, as any program may: they are called, with the numbers of
//! reference BLAS, and C is not touched.

#[allow(dead_code, reason = "shared")]
mod common;

use common::{BAD_C, BAD_FORTRAN, Real, bad, letters};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};

thread_local! {
    static CALLS: RefCell<Vec<(String, c_int)>> = const { RefCell::new(Vec::new()) };
}

fn note(name: String, position: c_int) {
    CALLS.with_borrow_mut(|calls| calls.push((name, position)));
}

#[unsafe(no_mangle)]
extern "C" fn xerbla_(name: *const c_char, position: *const c_int, length: usize) {
    // SAFETY: a text of that length, and a number.
    let (name, position) = unsafe { (std::slice::from_raw_parts(name.cast(), length), *position) };
    note(String::from_utf8_lossy(name).into_owned(), position);
}

/// Variadic in C. Stable Rust cannot define that; arguments that are named come in the same places.
#[unsafe(no_mangle)]
extern "C" fn cblas_xerbla(position: c_int, name: *const c_char, form: *const c_char, value: c_int) {
    // SAFETY: both are texts.
    let (name, form) = unsafe { (CStr::from_ptr(name), CStr::from_ptr(form)) };
    let form = form.to_string_lossy().replace("%d", &value.to_string());
    note(format!("{} {form}", name.to_string_lossy()), position);
}

fn called() -> Vec<(String, c_int)> {
    CALLS.take()
}

fn both<T: Real>() {
    for (settings, sizes, lds, position) in BAD_FORTRAN {
        // SAFETY: refused before anything is read.
        unsafe { T::fortran(bad(letters(settings), sizes, lds)) };
        assert_eq!(called(), [(T::FORTRAN_NAME.to_owned(), position)], "{settings} {sizes:?} {lds:?}");
    }
    for (layout, settings, sizes, lds, position) in BAD_C {
        // SAFETY: as above.
        unsafe { T::c(layout, bad(settings, sizes, lds)) };
        let form = match position {
            1 => format!("Illegal layout setting, {layout}\n"),
            2 => format!("Illegal TransA setting, {}\n", settings[0]),
            3 => format!("Illegal TransB setting, {}\n", settings[1]),
            _ => String::new(),
        };
        let expected = [(format!("{} {form}", T::C_NAME), position)];
        assert_eq!(called(), expected, "{layout} {settings:?} {sizes:?} {lds:?}");
    }
}

#[test]
fn the_program_s_handlers_are_called() {
    both::<f32>();
    both::<f64>();
}
