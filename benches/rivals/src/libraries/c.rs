//! Libraries in C, loaded at run time: whatever has `cblas_sgemm` (OpenBLAS, MKL), and oneDNN.
#![allow(unsafe_code, reason = "loads libraries and calls their functions")]

use super::{Library, Real};
use crate::operands::Operands;
use std::any::Any;
use std::error::Error;
use std::ffi::{CStr, c_char, c_int};
use std::path::Path;

/// `cblas_sgemm` and `cblas_dgemm` with integers of 32 bits.
type CblasGemm<T> = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    T,
    *const T,
    c_int,
    *const T,
    c_int,
    T,
    *mut T,
    c_int,
);

const ROW_MAJOR: c_int = 101;
const NOT_TRANSPOSED: c_int = 111;
const TRANSPOSED: c_int = 112;

/// OpenBLAS and MKL.
pub struct Cblas<T> {
    gemm: CblasGemm<T>,
    version: String,
    /// The functions above are its code.
    _library: libloading::Library,
}

impl<T: Real> Cblas<T> {
    /// Also finds the functions of SciPy's build of OpenBLAS, which have a prefix.
    pub fn load(path: &Path) -> Result<Self, String> {
        let library = load(path)?;
        for prefix in ["", "scipy_"] {
            let name = format!("{prefix}{}", T::CBLAS);
            // SAFETY: the type is what the CBLAS interface says of this name, with 32-bit integers, as libraries have
            // that do not say `64` in the names of their functions.
            if let Ok(gemm) = unsafe { library.get::<CblasGemm<T>>(name.as_str()) } {
                let gemm = *gemm;
                return Ok(Self { gemm, version: blas_version(&library, prefix), _library: library });
            }
        }
        Err(format!("{} has neither {} nor scipy_{}", path.display(), T::CBLAS, T::CBLAS))
    }
}

impl<T: Real> Library<T> for Cblas<T> {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String> {
        let shape = &operands.shape;
        let transposed = |is| if is { TRANSPOSED } else { NOT_TRANSPOSED };
        let [m, n, k] = [shape.m, shape.n, shape.k].map(|size| size as c_int);
        // SAFETY: the operands have the elements that the sizes and strides say, and C is writable and apart from A
        // and B; all sizes are small against 2^31.
        unsafe {
            (self.gemm)(
                ROW_MAJOR,
                transposed(shape.a_transposed),
                transposed(shape.b_transposed),
                m,
                n,
                k,
                T::ONE,
                operands.a.as_slice().as_ptr(),
                if shape.a_transposed { m } else { k },
                operands.b.as_slice().as_ptr(),
                if shape.b_transposed { k } else { n },
                T::ZERO,
                operands.c.as_mut_slice().as_mut_ptr(),
                n,
            );
        }
        Ok(())
    }
}

/// `dnnl_sgemm`: row-major.
type DnnlGemm = unsafe extern "C" fn(
    c_char,
    c_char,
    i64,
    i64,
    i64,
    f32,
    *const f32,
    i64,
    *const f32,
    i64,
    f32,
    *mut f32,
    i64,
) -> c_int;

/// oneDNN, which has no product of f64.
pub struct OneDnn {
    gemm: DnnlGemm,
    version: String,
    /// The function above is its code.
    _library: libloading::Library,
}

impl OneDnn {
    pub fn load(path: &Path) -> Result<Self, String> {
        let library = load(path)?;
        // SAFETY: the type is that of `dnnl.h`.
        let gemm = *unsafe { library.get::<DnnlGemm>("dnnl_sgemm") }
            .map_err(|_| format!("{} has no dnnl_sgemm", path.display()))?;
        // SAFETY: `dnnl_version` returns a pointer to a constant structure that begins with three integers.
        let version = unsafe {
            library.get::<unsafe extern "C" fn() -> *const [c_int; 3]>("dnnl_version").map(|f| *f())
        };
        let version = version.map_or_else(|_| "unknown".into(), |[a, b, c]| format!("{a}.{b}.{c}"));
        // SAFETY: `dnnl_get_effective_cpu_isa` returns an enumeration.
        let isa = unsafe {
            library.get::<unsafe extern "C" fn() -> c_int>("dnnl_get_effective_cpu_isa").map(|f| f())
        };
        let version = isa.map_or(version.clone(), |isa| format!("{version}, {}", isa_name(isa)));
        Ok(Self { gemm, version, _library: library })
    }
}

impl<T: Real> Library<T> for OneDnn {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String> {
        let operands: &mut dyn Any = operands;
        let operands = operands.downcast_mut::<Operands<f32>>().ok_or("oneDNN has no product of f64")?;
        let shape = &operands.shape;
        let transposed = |is| if is { b'T' } else { b'N' } as c_char;
        let [m, n, k] = [shape.m, shape.n, shape.k].map(|size| size as i64);
        // SAFETY: the operands have the elements that the sizes and strides say, and C is writable and apart from A
        // and B.
        let status = unsafe {
            (self.gemm)(
                transposed(shape.a_transposed),
                transposed(shape.b_transposed),
                m,
                n,
                k,
                1.0,
                operands.a.as_slice().as_ptr(),
                if shape.a_transposed { m } else { k },
                operands.b.as_slice().as_ptr(),
                if shape.b_transposed { k } else { n },
                0.0,
                operands.c.as_mut_slice().as_mut_ptr(),
                n,
            )
        };
        if status == 0 { Ok(()) } else { Err(format!("dnnl_sgemm returns {status}")) }
    }
}

/// The names of `dnnl_cpu_isa_t` that say whether AVX-512 is used.
fn isa_name(isa: c_int) -> String {
    match isa {
        0x7 => "avx2".into(),
        0xf => "avx2_vnni".into(),
        0x27 => "avx512_core".into(),
        0x67 => "avx512_core_vnni".into(),
        0xe7 => "avx512_core_bf16".into(),
        _ => format!("dnnl_cpu_isa_t {isa:#x}"),
    }
}

fn load(path: &Path) -> Result<libloading::Library, String> {
    // SAFETY: a library that the user names, whose initialisation is made to run in any program.
    unsafe { libloading::Library::new(path) }.map_err(|error| match error.source() {
        Some(source) => format!("cannot load {}: {source}", path.display()),
        None => format!("cannot load {}: {error}", path.display()),
    })
}

/// What OpenBLAS or MKL says of itself.
fn blas_version(library: &libloading::Library, prefix: &str) -> String {
    type Text = unsafe extern "C" fn() -> *const c_char;
    type Write = unsafe extern "C" fn(*mut c_char, c_int);
    let text = |name: String| {
        // SAFETY: OpenBLAS's functions of these names take nothing and return a text that stays.
        let text = unsafe { library.get::<Text>(name.as_str()).ok().map(|function| function()) }?;
        // SAFETY: as above; it ends with a zero.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    };
    if let Some(config) = text(format!("{prefix}openblas_get_config")) {
        let core = text(format!("{prefix}openblas_get_corename")).unwrap_or_default();
        return format!("{}, kernels {core}", config.trim());
    }
    let mut buffer = [0_u8; 256];
    // SAFETY: MKL's function writes a text to a buffer of the length that it is told.
    let written = unsafe {
        library
            .get::<Write>("mkl_get_version_string")
            .map(|function| function(buffer.as_mut_ptr().cast(), buffer.len() as c_int))
    };
    let text = String::from_utf8_lossy(&buffer);
    if written.is_ok() { text.trim_end_matches(['\0', ' ']).to_owned() } else { "unknown".into() }
}
