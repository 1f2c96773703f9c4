//! Libraries in Rust: gemmule, faer, gemm, matrixmultiply.
#![allow(unsafe_code, reason = "gemm and matrixmultiply take pointers")]

use super::{Library, Real, Settings};
use crate::operands::Operands;
use faer::{Accum, Par};
use gemmule::{Context, Isa, MatMut, MatRef, Parallelism};

/// The version of a dependency, by the lock file that this was built with.
fn locked(name: &str) -> String {
    let mut lines = include_str!("../../Cargo.lock").lines();
    let wanted = format!("name = \"{name}\"");
    lines.find(|&line| line == wanted);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"').to_owned()
}

/// Ours.
pub struct Gemmule {
    context: Context,
}

impl Gemmule {
    pub fn new(settings: Settings) -> Result<Self, String> {
        let parallelism = match settings.threads {
            1 => Parallelism::Serial,
            threads => Parallelism::Max(threads),
        };
        let context = Context::new(settings.isa).map_err(|error| error.to_string())?;
        Ok(Self { context: context.with_parallelism(parallelism) })
    }
}

impl<T: Real> Library<T> for Gemmule {
    fn version(&self) -> String {
        match gemmule::runtime_info() {
            // The kernel that it names is that of f32.
            Ok(info) if T::NAME == "f32" => {
                format!("{}, {}, {}, {}", info.version, info.gemm_kernel, info.rustc, info.target)
            }
            Ok(info) => format!("{}, {}, {}", info.version, info.rustc, info.target),
            Err(error) => error.to_string(),
        }
    }

    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String> {
        let Operands { shape, a, b, c } = operands;
        let view = |data, rows, columns, transposed| {
            if transposed {
                MatRef::col_major(data, rows, columns)
            } else {
                MatRef::row_major(data, rows, columns)
            }
        };
        (|| {
            let a = view(a.as_slice(), shape.m, shape.k, shape.a_transposed)?;
            let b = view(b.as_slice(), shape.k, shape.n, shape.b_transposed)?;
            let mut c = MatMut::row_major(c.as_mut_slice(), shape.m, shape.n)?;
            gemmule::gemm(&self.context, T::ONE, a, b, T::ZERO, &mut c)
        })()
        .map_err(|error: gemmule::Error| error.to_string())
    }
}

/// faer's matmul.
pub struct Faer {
    settings: Settings,
    par: Par,
}

impl Faer {
    pub fn new(settings: Settings) -> Self {
        let par = if settings.threads == 1 { Par::Seq } else { Par::rayon(settings.threads) };
        Self { settings, par }
    }
}

impl<T: Real> Library<T> for Faer {
    fn version(&self) -> String {
        format!("{} with private-gemm-x86 {}", locked("faer"), locked("private-gemm-x86"))
    }

    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String> {
        // faer itself always takes AVX-512 where there is some, but for one row, which it computes elsewhere, with what
        // it was compiled for.
        if self.settings.isa == Isa::Avx2 && operands.shape.m > 1 {
            private_gemm(operands, self.settings.threads);
            return Ok(());
        }
        let Operands { shape, a, b, c } = operands;
        let view = |data, rows, columns, transposed| {
            if transposed {
                faer::MatRef::from_column_major_slice(data, rows, columns)
            } else {
                faer::MatRef::from_row_major_slice(data, rows, columns)
            }
        };
        faer::linalg::matmul::matmul(
            faer::MatMut::from_row_major_slice_mut(c.as_mut_slice(), shape.m, shape.n),
            Accum::Replace,
            view(a.as_slice(), shape.m, shape.k, shape.a_transposed),
            view(b.as_slice(), shape.k, shape.n, shape.b_transposed),
            T::ONE,
            self.par,
        );
        Ok(())
    }
}

/// What faer calls for products above 16 cubed, with its own threshold for threads, told to stop at AVX2.
fn private_gemm<T: Real>(operands: &mut Operands<T>, threads: usize) {
    use private_gemm_x86::{Accum, DstKind, IType, InstrSet, gemm};
    let Operands { shape, a, b, c } = operands;
    let [a_row, a_column] = strides(shape.a_strides());
    let [b_row, b_column] = strides(shape.b_strides());
    let alpha = T::ONE;
    let large = shape.m * shape.n * shape.k >= 4096 * size_of::<T>();
    // SAFETY: the operands have the elements that the sizes and strides say, C is writable and apart from A and B, the
    // indices and the diagonal are not used if they are null, and alpha is of the element's type.
    unsafe {
        gemm(
            T::PRIVATE_GEMM,
            IType::U64,
            InstrSet::Avx256,
            shape.m,
            shape.n,
            shape.k,
            c.as_mut_slice().as_mut_ptr().cast(),
            shape.n as isize,
            1,
            std::ptr::null(),
            std::ptr::null(),
            DstKind::Full,
            Accum::Replace,
            a.as_slice().as_ptr().cast(),
            a_row,
            a_column,
            false,
            std::ptr::null(),
            0,
            b.as_slice().as_ptr().cast(),
            b_row,
            b_column,
            false,
            (&raw const alpha).cast(),
            if large { threads } else { 1 },
        );
    }
}

/// The crate gemm.
pub struct Gemm {
    parallelism: gemm::Parallelism,
}

impl Gemm {
    pub fn new(settings: Settings) -> Self {
        let parallelism = match settings.threads {
            1 => gemm::Parallelism::None,
            threads => gemm::Parallelism::Rayon(threads),
        };
        Self { parallelism }
    }
}

impl<T: Real> Library<T> for Gemm {
    fn version(&self) -> String {
        locked("gemm")
    }

    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String> {
        let Operands { shape, a, b, c } = operands;
        let [a_row, a_column] = strides(shape.a_strides());
        let [b_row, b_column] = strides(shape.b_strides());
        // SAFETY: the operands have the elements that the sizes and strides say, and C is writable and apart from A
        // and B.
        unsafe {
            gemm::gemm(
                shape.m,
                shape.n,
                shape.k,
                c.as_mut_slice().as_mut_ptr(),
                1,
                shape.n as isize,
                false,
                a.as_slice().as_ptr(),
                a_column,
                a_row,
                b.as_slice().as_ptr(),
                b_column,
                b_row,
                T::ZERO,
                T::ONE,
                false,
                false,
                false,
                self.parallelism,
            );
        }
        Ok(())
    }
}

/// `matrixmultiply::sgemm` or `dgemm`.
pub type MatrixMultiply<T> = unsafe fn(
    usize,
    usize,
    usize,
    T,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    isize,
    T,
    *mut T,
    isize,
    isize,
);

/// The crate matrixmultiply; threads by the environment.
pub struct Matrixmultiply;

impl<T: Real> Library<T> for Matrixmultiply {
    fn version(&self) -> String {
        locked("matrixmultiply")
    }

    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String> {
        let Operands { shape, a, b, c } = operands;
        let [a_row, a_column] = strides(shape.a_strides());
        let [b_row, b_column] = strides(shape.b_strides());
        // SAFETY: the operands have the elements that the sizes and strides say, and C is writable and apart from A
        // and B.
        unsafe {
            (T::MATRIXMULTIPLY)(
                shape.m,
                shape.k,
                shape.n,
                T::ONE,
                a.as_slice().as_ptr(),
                a_row,
                a_column,
                b.as_slice().as_ptr(),
                b_row,
                b_column,
                T::ZERO,
                c.as_mut_slice().as_mut_ptr(),
                shape.n as isize,
                1,
            );
        }
        Ok(())
    }
}

fn strides((row, column): (usize, usize)) -> [isize; 2] {
    [row as isize, column as isize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libraries::{Kind, open, unfit};
    use crate::operands::check;

    #[test]
    fn locked_versions_are_found() {
        assert!(locked("faer").starts_with("0."));
        assert_eq!(locked("no such crate"), "unknown");
    }

    /// Both elements, both transposes, on every instruction set that this build and this CPU have.
    #[test]
    fn all_agree() {
        fn agree<T: Real>(double: bool) {
            for isa in [Isa::Avx512, Isa::Avx2].into_iter().filter(|isa| isa.is_available()) {
                for threads in [1, 2] {
                    let settings = Settings { isa, threads };
                    for kind in [Kind::Gemmule, Kind::Faer, Kind::Gemm, Kind::Matrixmultiply] {
                        if unfit(kind, settings, double).is_some() {
                            continue;
                        }
                        let mut library = open::<T>(kind, settings, None).expect("nothing to load");
                        for shape in crate::shapes::all(double) {
                            if shape.operations() > 1e8 {
                                continue;
                            }
                            let mut operands = Operands::new(shape.clone()).expect("enough memory");
                            library.multiply(&mut operands).expect("shapes fit");
                            let checked = check::<T>(&shape, &operands.answer());
                            assert_eq!(checked, Ok(()), "{kind}, {isa}, {}", shape.name);
                        }
                    }
                }
            }
        }
        agree::<f32>(false);
        agree::<f64>(true);
    }
}
