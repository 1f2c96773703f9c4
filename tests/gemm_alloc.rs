//! What products allocate: nothing after the first of their size on one thread, and what entering rayon takes on
//! several. Counts every allocation of the process: a binary of its own.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

mod common;

use allocator::{bytes, calls};
use common::{cast, contexts, random};
use gemmule::kernel::activation::Activation;
use gemmule::{
    Context, Element, Epilogue, MatMut, MatRef, Parallelism, gemm, gemm_packed, gemm_with, pack_b,
    packed_b_len,
};

/// Allocations and their bytes while `work` ran, on any thread.
fn count(work: impl FnOnce()) -> (usize, usize) {
    let before = (calls(), bytes());
    work();
    (calls() - before.0, bytes() - before.1)
}

/// Rows, columns or neither contiguous: strides of a matrix in a slice of `(rows + 1) * (cols + 1) * 2`.
fn strides(kind: usize, rows: usize, cols: usize) -> (isize, isize) {
    match kind {
        0 => (cols as isize, 1),
        1 => (1, rows as isize),
        _ => (2 * cols as isize + 1, 2),
    }
}

/// One product and its memory.
struct Product<T> {
    shape: (usize, usize, usize),
    kinds: [usize; 3],
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
    bias: Vec<T>,
    saved: Vec<T>,
    panels: Vec<T>,
}

impl<T: Element> Product<T> {
    fn new((m, n, k): (usize, usize, usize), kinds: [usize; 3]) -> Self {
        let make = |seed, rows: usize, cols: usize| cast(&random(seed, (rows + 1) * (cols + 1) * 2));
        let panels = cast(&vec![0.0; packed_b_len::<T>(k, n).expect("small")]);
        let (a, b, c) = (make(1, m, k), make(2, k, n), make(3, m, n));
        Self { shape: (m, n, k), kinds, a, b, c, bias: make(4, 1, n), saved: make(5, m, n), panels }
    }

    /// `gemm`, `gemm_with` and everything that an epilogue can do, `pack_b` and `gemm_packed`.
    fn run(&mut self, context: &Context) {
        let (m, n, k) = self.shape;
        let one = T::from_f64(1.0);
        let [(ra, ca), (rb, cb), (rc, cc)] =
            [strides(self.kinds[0], m, k), strides(self.kinds[1], k, n), strides(self.kinds[2], m, n)];
        let a = MatRef::new(&self.a, 0, m, k, ra, ca).expect("fits");
        let b = MatRef::new(&self.b, 0, k, n, rb, cb).expect("fits");
        let mut c = MatMut::new(&mut self.c, 0, m, n, rc, cc).expect("fits");
        gemm(context, one, a, b, one, &mut c).expect("shapes fit");
        let look = |_: usize, _: usize, tile: MatMut<'_, T>| assert!(tile.get(0, 0).is_some());
        let epilogue = Epilogue {
            bias: Some(&self.bias[..n]),
            activation: Activation::Tanh,
            derivative: Some((Activation::Tanh, MatRef::row_major(&self.saved, m, n).expect("fits"))),
            tile_function: Some(&look),
        };
        gemm_with(context, one, a, b, one, &mut c, &epilogue).expect("shapes fit");
        let packed = pack_b(context, b, &mut self.panels).expect("large enough");
        gemm_packed(context, one, a, &packed, one, &mut c, &epilogue).expect("shapes fit");
    }
}

const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (7, 19, 0),
    (8, 33, 40),
    (64, 10, 50),
    (300, 1, 30),
    (150, 64, 50),
    (170, 150, 530),
    (1, 2000, 300),
    (1000, 15, 300),
];

fn serial<T: Element>() {
    for context in contexts() {
        for shape in SHAPES {
            let work = shape.0 * shape.1 * shape.2;
            for parallelism in [Parallelism::Serial, Parallelism::Auto, Parallelism::Max(8)] {
                // Below, there is too little for a second thread, and rayon is not touched.
                if parallelism != Parallelism::Serial && work >= 250_000 {
                    continue;
                }
                let context = context.with_parallelism(parallelism);
                for turn in (0..27).step_by(if work < 100_000 { 1 } else { 4 }) {
                    let mut product = Product::<T>::new(shape, [turn % 3, turn / 3 % 3, turn / 9]);
                    // The first of its size may grow the thread's buffer.
                    product.run(&context);
                    let (calls, bytes) = count(|| product.run(&context));
                    let what = format!("{context:?} {shape:?} {:?}", product.kinds);
                    assert_eq!((calls, bytes), (0, 0), "{what}: {calls} allocations of {bytes} bytes");
                }
            }
        }
    }
}

/// Measured on up to `width` threads, where no helper stays for the next product: what the members share (2 allocations) and a job
/// for each thread beside the caller, `width + 1` a product, all together less than 190 bytes for each of `width`; and a block of
/// rayon's queue, of 1,520 bytes, for every 63 jobs. Where they stay: nothing. The buffers for packing, which are larger, are not
/// among them.
fn threads<T: Element>() {
    const RUNS: usize = 40;
    // `run` makes three products.
    const PRODUCTS: usize = 3 * RUNS;
    let shapes = [((90, 260, 100), [0; 3]), ((110, 120, 180), [1; 3]), ((450, 10, 500), [0; 3])];
    for context in contexts() {
        for width in [2, 4, 8] {
            let (other, context) =
                [width + 1, width].map(|most| context.with_parallelism(Parallelism::Max(most))).into();
            for (shape, kinds) in shapes {
                let mut product = Product::<T>::new(shape, kinds);
                // Workers start and take what they keep.
                (0..10).for_each(|_| product.run(&context));
                let (calls, bytes) = count(|| (0..RUNS).for_each(|_| product.run(&context)));
                let what = format!("{context:?} {shape:?}: {calls} allocations of {bytes} bytes");
                // The members of a team share nothing with those of one of another width.
                product.run(&other);
                let (first, _) = count(|| product.run(&context));
                assert!(first >= 2, "{what}: no threads");
                // Work may be worth fewer threads than `width`, never more. Two blocks may be begun.
                let blocks = (width - 1) * PRODUCTS / 63 + 2;
                assert!(calls <= (width + 1) * PRODUCTS + blocks, "{what}");
                assert!(bytes <= 200 * width * PRODUCTS + 1520 * blocks, "{what}");
            }
        }
    }
}

/// The counter counts.
fn counter() {
    let (calls, bytes) = count(|| drop(std::hint::black_box(vec![0_u8; 1000])));
    assert!(calls >= 1 && bytes >= 1000, "{calls} {bytes}");
}

// One test: others in parallel would count too.
#[test]
fn products_do_not_allocate() {
    counter();
    serial::<f32>();
    serial::<f64>();
    threads::<f32>();
    threads::<f64>();
}
