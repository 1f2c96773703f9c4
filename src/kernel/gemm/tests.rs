//! What the public interface cannot show: injected block sizes, and who writes which element.

use super::blocking::{Blocking, MAX_VECTORS, register_tile, tile_rows, turns_in_tile};
use super::driver::{Factor, Operands, product};
use super::pack::{pack_all, packed_len};
use super::plan::{Plan, Shape};
use super::view::{Layout, MatMut, MatRef};
use super::{Epilogue, gemm_with};
use crate::context::Context;
use crate::kernel::activation::Activation;
use crate::kernel::element::Element;
use crate::simd::{Caches, Isa};

fn contexts() -> impl Iterator<Item = Context> {
    Isa::available().map(|isa| Context::new(isa).expect("available"))
}

/// Every register tile, with block and task sizes that reach every edge: the table's own tall tiles, and shorter ones.
fn blockings(isa: Isa) -> Vec<Blocking> {
    let (most_rows, most_vectors) = register_tile(isa);
    let blocks =
        [(1, 1, 1, 1), (2, 5, 2, 7), (3, 2, 1, 100), (5, 3, 3, 5), (7, 4, 1, 13), (6, 1, 2, 6), (4, 2, 1, 9)];
    let mut all = Vec::new();
    for tile_vectors in 1..=most_vectors {
        for shorter in 0..most_rows {
            for (block_rows, task_vectors, block_chunks, task_rows) in blocks {
                all.push(Blocking {
                    tile_vectors,
                    tile_rows: std::array::from_fn(|i| {
                        tile_rows(isa, i + 1).saturating_sub(shorter).max(usize::from(i < most_vectors))
                    }),
                    group_vectors: block_rows,
                    block_rows,
                    block_chunks,
                    task_vectors,
                    task_rows,
                });
            }
        }
    }
    assert!(most_vectors <= MAX_VECTORS);
    all
}

fn fill(len: usize, seed: usize) -> Vec<f32> {
    let mix = |i: usize| (i.wrapping_add(seed * 1_000_003)).wrapping_mul(2_654_435_761) >> 7 & 0xffff;
    (0..len).map(|i| mix(i) as f32 / 32768.0 - 1.0).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Layouts of a rows x cols matrix in a slice of `(rows + 2) * (cols + 2)`: rows, columns, neither.
fn layouts(rows: usize, cols: usize) -> [(isize, isize); 3] {
    [(cols as isize + 2, 1), (1, rows as isize + 2), (-(cols as isize) - 1, -1)]
}

fn view(data: &[f32], rows: usize, cols: usize, (rs, cs): (isize, isize)) -> MatRef<'_, f32> {
    let offset = if rs < 0 { data.len() - 1 } else { 0 };
    MatRef::new(data, offset, rows, cols, rs, cs).expect("fits")
}

fn view_mut(data: &mut [f32], rows: usize, cols: usize, (rs, cs): (isize, isize)) -> MatMut<'_, f32> {
    let offset = if rs < 0 { data.len() - 1 } else { 0 };
    MatMut::new(data, offset, rows, cols, rs, cs).expect("fits")
}

/// Any register tile and any block sizes give the bits of the table's, with every storage, epilogue and width.
#[test]
fn block_sizes_do_not_change_a_bit() {
    let shapes = [
        (1, 1, 1),
        (2, 15, 3),
        (7, 33, 5),
        (13, 16, 0),
        (8, 130, 2),
        (23, 90, 600),
        (97, 40, 65),
        (9, 17, 1030),
    ];
    for context in contexts() {
        for (turn, &(m, n, k)) in shapes.iter().enumerate() {
            let room = |rows: usize, cols: usize| (rows + 2) * (cols + 2);
            let (a, b, c) = (fill(room(m, k), 1), fill(room(k, n), 2), fill(room(m, n), 3));
            let (bias, saved) = (fill(n, 4), fill(m * n, 5));
            let epilogue = Epilogue {
                bias: Some(&bias),
                activation: Activation::Relu,
                derivative: Some((Activation::Relu, MatRef::row_major(&saved, m, n).expect("fits"))),
                tile_function: None,
            };
            for (case, blocking) in blockings(context.isa()).into_iter().enumerate() {
                let epilogue = if case % 3 == 0 { epilogue } else { Epilogue::default() };
                let (in_a, in_b) = (layouts(m, k)[(case + turn) % 3], layouts(k, n)[(case / 3 + turn) % 3]);
                let in_c = layouts(m, n)[(case / 2) % 3];
                let (a, b) = (view(&a, m, k, in_a), view(&b, k, n, in_b));
                let beta = [0.0, 1.0, -0.5][(case + turn) % 3];
                let mut expected = c.clone();
                gemm_with(&context, 1.5, a, b, beta, &mut view_mut(&mut expected, m, n, in_c), &epilogue)
                    .expect("shapes fit");
                for width in [1, 3] {
                    let mut got = c.clone();
                    let mut view = view_mut(&mut got, m, n, in_c);
                    product(
                        &context,
                        1.5,
                        a,
                        Factor::Matrix(b),
                        beta,
                        &mut view,
                        &epilogue,
                        width,
                        Some(blocking),
                    )
                    .expect("shapes fit");
                    assert!(
                        bits(&got) == bits(&expected),
                        "{context:?} {blocking:?} {m} x {n} x {k} {in_a:?} {in_b:?} {in_c:?} width {width}"
                    );
                }
            }
        }
    }
}

/// The ownership map: runs every task alone on a C full of a marker and looks at what changed.
///
/// Every element belongs to exactly one task, whatever the order of the tasks, and is finished by it. Tasks run from
/// the last to the first with member numbers in turn and all buffers full of NaN before each, so a task that leans on
/// another's work, or reads beyond what it packed, gives a wrong number.
fn ownership(
    context: &Context,
    (m, n, k): (usize, usize, usize),
    (in_a, in_b, in_c): ((isize, isize), (isize, isize), (isize, isize)),
    blocking: Option<Blocking>,
    width: usize,
) {
    const MARKER: f32 = 0.5;
    let room = |rows: usize, cols: usize| (rows + 2) * (cols + 2);
    let (a, b) = (vec![1.0_f32; room(m, k)], vec![1.0_f32; room(k, n)]);
    let (a, b) = (view(&a, m, k, in_a), view(&b, k, n, in_b));
    let mut c = vec![MARKER; room(m, n)];
    let shape = Shape {
        a: a.layout(),
        b: b.layout(),
        c: view_mut(&mut c, m, n, in_c).layout(),
        packed: false,
        by_column: false,
    };
    let plan = Plan::new::<f32>(context, &shape, width, blocking);
    let case = format!("{context:?} {plan:?} {in_a:?} {in_b:?} {in_c:?} width {width}");
    let len = plan.workspace_len();
    let mut workspace = vec![f32::NAN; len * width + 16];
    let mut owner = vec![None; m * n];
    for task in (0..plan.tasks()).rev() {
        let member = task % width;
        c.fill(MARKER);
        workspace.fill(f32::NAN);
        let operands = Operands {
            a: a.pointer(),
            a_row_stride: in_a.0,
            a_col_stride: in_a.1,
            b: b.pointer(),
            b_row_stride: in_b.0,
            b_col_stride: in_b.1,
            c: view_mut(&mut c, m, n, in_c).pointer(),
            c_row_stride: in_c.0,
            c_col_stride: in_c.1,
            alpha: 1.0,
            beta: 0.0,
            bias: std::ptr::null(),
            activation: Activation::Identity,
            derivative: Activation::Identity,
            saved: std::ptr::null(),
            saved_row_stride: 0,
            tile_function: None,
            workspace: workspace[member * len..].as_mut_ptr(),
        };
        // SAFETY: views and buffers have the plan's sizes; one task runs after the other.
        unsafe { plan.run(context, &operands, task) };
        let (own, others) = (member * len..(member + 1) * len, &workspace);
        let outside = others.iter().enumerate().filter(|(i, x)| !own.contains(i) && !x.is_nan());
        assert_eq!(outside.count(), 0, "{case}: task {task} wrote outside its member's buffers");
        let mut changed = c.iter().filter(|&&x| x != MARKER).count();
        let c = view(&c, m, n, in_c);
        for i in 0..m {
            for j in 0..n {
                let value = c.get(i, j).expect("inside");
                if value != MARKER {
                    changed -= 1;
                    let other = owner[i * n + j].replace(task);
                    assert_eq!(other, None, "{case}: ({i}, {j}) is task {task}'s too");
                    assert_eq!(value, k as f32, "{case}: task {task} at ({i}, {j})");
                }
            }
        }
        assert_eq!(changed, 0, "{case}: task {task} wrote outside C");
    }
    assert!(owner.iter().all(Option::is_some), "{case}: each element is some task's");
}

#[test]
fn every_element_belongs_to_one_task() {
    let shapes = [
        (1, 1, 1),
        (2, 15, 3),
        (7, 33, 5),
        (13, 16, 0),
        (8, 130, 2),
        (11, 50, 600),
        (97, 40, 65),
        (5, 17, 1030),
        (40, 7, 19),
        (45, 26, 1025),
    ];
    for context in contexts() {
        for (turn, &shape) in shapes.iter().enumerate() {
            let (m, n, k) = shape;
            let strides = |case: usize| {
                (
                    layouts(m, k)[(case + turn) % 3],
                    layouts(k, n)[(case / 3 + turn) % 3],
                    layouts(m, n)[(case / 2) % 3],
                )
            };
            for (case, blocking) in blockings(context.isa()).into_iter().enumerate() {
                ownership(&context, shape, strides(case), Some(blocking), 1 + case % 4);
            }
            for case in 0..18 {
                ownership(&context, shape, strides(case), None, 1 + case % 4);
            }
        }
        // Few rows times a B above L2: rows of A at a multiple of 4 KiB, which have tiles of fewer rows, and not.
        for (m, k) in [(1, 600), (5, 1022), (7, 520), (8, 520), (8, 1022)] {
            let shape = (m, Caches::detect().l2 / (4 * k) + 37, k);
            let (m, n, k) = shape;
            let row_major = (layouts(m, k)[0], layouts(k, n)[0], layouts(m, n)[0]);
            for (case, blocking) in blockings(context.isa()).into_iter().enumerate() {
                ownership(&context, shape, row_major, Some(blocking), 1 + case % 4);
            }
            for width in [1, 2, 3, 8] {
                ownership(&context, shape, row_major, None, width);
            }
        }
        // The table's own blocks, above one block of rows, and a B that is copied.
        for width in [1, 3] {
            let shape = (900, 300, 70);
            let row_major = (layouts(900, 70)[0], layouts(70, 300)[0], layouts(900, 300)[0]);
            let turned = (layouts(900, 70)[1], layouts(70, 300)[1], layouts(900, 300)[0]);
            ownership(&context, shape, row_major, None, width);
            ownership(&context, shape, turned, None, width);
        }
    }
}

/// Blocks follow the caches, within what the loops can do.
#[test]
fn blocks_follow_the_caches() {
    for isa in Isa::available() {
        let mut last = 0;
        for l2 in [64 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 64 << 20] {
            let caches = Caches { l1: 32 << 10, l2, l3: 0 };
            let blocking = Blocking::of(isa, caches);
            assert!(blocking.block_chunks >= last.max(1) && blocking.block_rows >= 96, "{blocking:?}");
            assert_eq!(blocking.block_rows % 12, 0, "{blocking:?}");
            last = blocking.block_chunks;
        }
        let Blocking { group_vectors, block_chunks, .. } =
            Blocking::of(isa, Caches { l1: 32 << 10, l2: 1 << 20, l3: 0 });
        assert_eq!(group_vectors * block_chunks, 8);
    }
}

/// Few columns are computed along m, and only where C allows it.
#[test]
fn thin_products_are_turned() {
    // Ten columns are few for 16 lanes only, which all sets have but the portable one.
    for isa in Isa::available().filter(|isa| isa.has_fma()) {
        let context = Context::new(isa).expect("available");
        let plan = |(m, n, k): (usize, usize, usize), a: usize, b: usize, c: usize, by_column: bool| {
            let data = vec![0.0_f32; 1 << 20];
            let layout = |rows, cols, kind| {
                if kind == 0 {
                    MatRef::row_major(&data, rows, cols).expect("fits").layout()
                } else {
                    MatRef::col_major(&data, rows, cols).expect("fits").layout()
                }
            };
            let (a, b, c) = (layout(m, k, a), layout(k, n, b), layout(m, n, c));
            Plan::new::<f32>(&context, &Shape { a, b, c, packed: false, by_column }, 1, None)
        };
        let swaps = |sizes, a, b, c, by_column| plan(sizes, a, b, c, by_column).is_swapped();
        // Where tiles turn A themselves, that costs next to nothing.
        let in_tile = turns_in_tile(isa);
        for sizes in [(128, 10, 512), (128, 4, 512), (160, 20, 40)] {
            let plan = plan(sizes, 0, 0, 0, true);
            assert_eq!(plan.is_swapped(), in_tile, "{isa} {sizes:?}: the last layer of a classifier");
            assert_eq!(plan.turns_in_tiles(), in_tile, "{isa} {sizes:?}");
        }
        assert!(
            !plan((128, 10, 1024), 0, 0, 0, true).turns_in_tiles(),
            "{isa}: its rows crowd into one set of L1"
        );
        assert!(!plan((128, 10, 512), 0, 1, 0, true).turns_in_tiles(), "{isa}: B by columns");
        assert!(!plan((128, 10, 3), 0, 0, 0, true).turns_in_tiles(), "{isa}: too short");
        assert!(swaps((512, 10, 128), 1, 0, 0, true), "{isa}: its gradient by the weights");
        assert!(!swaps((8, 10, 512), 0, 0, 0, true), "{isa}: no more rows than columns");
        assert!(!swaps((128, 16, 512), 0, 0, 0, true), "{isa}: a whole vector");
        assert!(!swaps((128, 64, 512), 0, 0, 0, true), "{isa}: wide enough");
        assert!(swaps((128, 64, 512), 0, 0, 1, false), "{isa}: C stored by columns");
        assert!(!swaps((128, 64, 512), 0, 0, 1, true), "{isa}: C stored by columns, with a bias");
    }
}

/// Operands of one product, in either type: what [`one_hash`] runs again and again.
struct Case<T> {
    sizes: (usize, usize, usize),
    strides: [(isize, isize); 3],
    data: [Vec<T>; 5],
    panels: Option<Vec<T>>,
}

impl<T: Element> Case<T> {
    fn new(sizes: (usize, usize, usize), [in_a, in_b, in_c]: [usize; 3], packs: Option<&Context>) -> Self {
        let (m, n, k) = sizes;
        let room = |rows: usize, cols: usize| (rows + 2) * (cols + 2);
        // Full significands: products round in f64 too.
        let value = |x: f32| T::from_f64(f64::from(x) + f64::from(x * 0.37) / f64::from(1 << 24));
        let make = |len, seed| fill(len, seed).into_iter().map(value).collect();
        let data =
            [make(room(m, k), 1), make(room(k, n), 2), make(room(m, n), 3), make(n, 4), make(m * n, 5)];
        let strides = [layouts(m, k)[in_a], layouts(k, n)[in_b], layouts(m, n)[in_c]];
        let mut case = Self { sizes, strides, data, panels: None };
        if let Some(context) = packs {
            let mut panels = vec![T::zero(); packed_len(k, n, 64 / size_of::<T>()).expect("small")];
            pack_all(context, case.factor(1, k, n), &mut panels);
            case.panels = Some(panels);
        }
        case
    }

    fn factor(&self, which: usize, rows: usize, cols: usize) -> MatRef<'_, T> {
        let (rs, cs) = self.strides[which];
        let offset = if rs < 0 { self.data[which].len() - 1 } else { 0 };
        MatRef::new(&self.data[which], offset, rows, cols, rs, cs).expect("fits")
    }

    /// FNV-1a over the bits of C and what lies around it.
    fn hash(&self, context: &Context, blocking: Option<Blocking>, width: usize, with: bool) -> u64 {
        let (m, n, k) = self.sizes;
        let mut c = self.data[2].clone();
        let (rs, cs) = self.strides[2];
        let offset = if rs < 0 { c.len() - 1 } else { 0 };
        let mut view = MatMut::new(&mut c, offset, m, n, rs, cs).expect("fits");
        let saved = MatRef::row_major(&self.data[4], m, n).expect("fits");
        let epilogue = Epilogue {
            bias: with.then_some(self.data[3].as_slice()),
            activation: Activation::Sigmoid,
            derivative: with.then_some((Activation::Tanh, saved)),
            tile_function: None,
        };
        let b = match &self.panels {
            Some(panels) => Factor::Packed(panels, Layout { rows: k, cols: n, row_stride: 1, col_stride: 1 }),
            None => Factor::Matrix(self.factor(1, k, n)),
        };
        let (alpha, beta) = (T::from_f64(0.7), T::from_f64(-1.3));
        let a = self.factor(0, m, k);
        product(context, alpha, a, b, beta, &mut view, &epilogue, width, blocking).expect("shapes fit");
        c.iter().fold(0xcbf2_9ce4_8422_2325, |hash, x| (hash ^ x.bits()).wrapping_mul(0x0100_0000_01b3))
    }
}

/// Thin, turned, packed or plain: one hash for any blocks and any number of members, on every fused instruction set.
fn one_hash<T: Element>() {
    let shapes = [
        (40, 7, 19),
        (33, 1, 1030),
        (150, 40, 70),
        (29, 70, 600),
        (70, 15, 520),
        (45, 26, 1025),
        (3, 150, 65),
    ];
    for (turn, sizes) in shapes.into_iter().enumerate() {
        // A, B and C by rows, by columns, and backwards.
        for storages in [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [2, 2, 2], [0, 2, 1]] {
            for (packs, with) in [(false, false), (false, true), (true, turn % 2 == 0)] {
                let mut fused = None;
                for context in contexts() {
                    let case = Case::<T>::new(sizes, storages, packs.then_some(&context));
                    let expected = case.hash(&context, None, 1, with);
                    if context.isa().has_fma() {
                        assert_eq!(*fused.get_or_insert(expected), expected, "{context:?} {sizes:?}");
                    }
                    let table = register_tile(context.isa()).1;
                    let blockings = blockings(context.isa()).into_iter().enumerate();
                    // Panels of the caller's are as wide as the table's tile. One in three, each time others.
                    let blockings = blockings
                        .filter(|(index, blocking)| {
                            (!packs || blocking.tile_vectors == table)
                                && (index + turn + storages[0] + usize::from(with)) % 3 == 0
                        })
                        .map(|(index, blocking)| (Some(blocking), [1, 2, 3, 4, 8, 16][index / 3 % 6]));
                    let own = [1, 2, 3, 4, 8, 16].map(|width| (None, width));
                    for (blocking, width) in own.into_iter().chain(blockings) {
                        let got = case.hash(&context, blocking, width, with);
                        assert_eq!(
                            got, expected,
                            "{context:?} {sizes:?} {storages:?} packed: {packs} epilogue: {with} \
                             {blocking:?} width {width}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn one_hash_f32() {
    one_hash::<f32>();
}

#[test]
fn one_hash_f64() {
    one_hash::<f64>();
}
