//! One hash whatever the threads, the pools and what else the machine does.

use crate::common::{HASH_START, contexts, hash};
use crate::support::{Dense, Real, Storage, Stored};
use gemmule::kernel::activation::Activation;
use gemmule::{Context, Epilogue, Parallelism, gemm_packed, gemm_with, pack_b, packed_b_len};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Enough work for several threads each: plain, thin, one row, deep, packed by the tiles, turned B, A, C.
const CASES: [(usize, usize, usize, [Storage; 3]); 11] = {
    use Storage::{Cols, PaddedRows, Rows, Upwards};
    [
        (200, 210, 150, [Rows, Rows, Rows]),
        (1500, 10, 300, [Rows, Rows, Rows]),
        (5000, 1, 700, [Rows, Rows, Rows]),
        (3, 1500, 700, [Rows, Rows, Rows]),
        (1, 5000, 600, [Rows, Rows, Rows]),
        (40, 50, 2500, [Rows, Rows, Rows]),
        (300, 150, 110, [Rows, PaddedRows(300), Rows]),
        (130, 150, 220, [Rows, Cols, Rows]),
        (120, 100, 600, [Cols, Rows, Upwards]),
        (150, 170, 180, [Rows, Rows, Cols]),
        (100, 90, 520, [Cols, Cols, Cols]),
    ]
};

/// A product and all that it needs, made once.
struct Product<T> {
    a: Stored<T>,
    b: Stored<T>,
    c: Stored<T>,
    bias: Vec<T>,
    packed: Option<Vec<T>>,
}

impl<T: Real> Product<T> {
    fn new((m, n, k, [in_a, in_b, in_c]): (usize, usize, usize, [Storage; 3]), packs: bool) -> Self {
        Self {
            a: Stored::new(&Dense::full(m, k, 600), in_a),
            b: Stored::new(&Dense::full(k, n, 601), in_b),
            c: Stored::new(&Dense::full(m, n, 602), in_c),
            bias: Dense::full(1, n, 603).data,
            packed: packs.then(|| vec![T::nan(); packed_b_len::<T>(k, n).expect("small")]),
        }
    }

    /// The hash of the result, and of every place around it.
    fn hash(&mut self, context: &Context) -> u64 {
        let mut c = self.c.clone();
        let (alpha, beta) = (T::from_f64(0.7), T::from_f64(-1.3));
        let epilogue = Epilogue {
            bias: (self.a.rows.is_multiple_of(20)).then_some(self.bias.as_slice()),
            activation: Activation::Tanh,
            ..Epilogue::default()
        };
        if let Some(buffer) = &mut self.packed {
            let b = pack_b(context, self.b.view(), buffer).expect("large enough");
            gemm_packed(context, alpha, self.a.view(), &b, beta, &mut c.view_mut(), &epilogue)
        } else {
            gemm_with(context, alpha, self.a.view(), self.b.view(), beta, &mut c.view_mut(), &epilogue)
        }
        .expect("shapes fit");
        hash(&c.data, HASH_START)
    }
}

/// Pools of 1, 2, 3, 4, 8 and 16 threads, each asked for as many threads, for more and for fewer.
fn any_pool<T: Real>() {
    let pools = [1, 2, 3, 4, 8, 16].map(|threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be had")
    });
    for case in CASES {
        for packs in [false, true] {
            let mut product = Product::<T>::new(case, packs);
            let mut fused = None;
            for context in contexts() {
                let expected = product.hash(&context.with_parallelism(Parallelism::Serial));
                if context.isa().has_fma() {
                    assert_eq!(*fused.get_or_insert(expected), expected, "{context:?} {case:?}");
                }
                for pool in &pools {
                    for width in [2, pool.current_num_threads(), 16] {
                        let context = context.with_parallelism(Parallelism::Max(width));
                        let got = pool.install(|| product.hash(&context));
                        let threads = pool.current_num_threads();
                        assert_eq!(got, expected, "{context:?} {case:?} {packs} in a pool of {threads}");
                    }
                }
            }
        }
    }
}

#[test]
fn any_pool_f32() {
    any_pool::<f32>();
}

#[test]
fn any_pool_f64() {
    any_pool::<f64>();
}

/// 1,000 products on up to 8 threads each while others burn the cores: helpers come late, in the middle or never.
#[test]
fn thousand_repeats_under_load() {
    let stop = AtomicBool::new(false);
    let burnt = AtomicU64::new(0);
    let burners = std::thread::available_parallelism().map_or(2, |n| n.get()) + 1;
    let cases = [
        (240, 280, 130, [Storage::Rows; 3]),
        (2200, 10, 400, [Storage::Rows; 3]),
        (300, 96, 300, [Storage::Rows, Storage::PaddedRows(400), Storage::Rows]),
        (180, 170, 300, [Storage::Cols, Storage::Cols, Storage::Cols]),
        (5, 3200, 530, [Storage::Rows; 3]),
    ];
    let mut products = cases.map(|case| Product::<f32>::new(case, case.0 == 5));
    let context = contexts()[0];
    let expected: Vec<u64> =
        products.iter_mut().map(|p| p.hash(&context.with_parallelism(Parallelism::Serial))).collect();
    std::thread::scope(|scope| {
        for _ in 0..burners {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    burnt.fetch_add(1, Relaxed);
                    std::hint::spin_loop();
                }
            });
        }
        // Stops the burners also where an assertion fails.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _stop = Stop(&stop);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().expect("threads can be had");
        for repeat in 0..1000 {
            let which = repeat % products.len();
            let context = context.with_parallelism(Parallelism::Max(8));
            // From the host's thread, and from within the pool.
            let got = if repeat % 2 == 0 {
                products[which].hash(&context)
            } else {
                pool.install(|| products[which].hash(&context))
            };
            assert_eq!(got, expected[which], "repeat {repeat} of {:?}", cases[which]);
        }
    });
    assert!(burnt.into_inner() > 0, "nothing else ran");
}
