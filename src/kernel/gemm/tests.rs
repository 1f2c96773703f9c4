//! What the public interface cannot show: injected block sizes, and who writes which element.

use super::blocking::{Blocking, K_CHUNK, register_tile};
use super::driver::{Operands, Plan, product};
use super::view::{MatMut, MatRef};
use super::{Epilogue, gemm_with};
use crate::context::Context;
use crate::kernel::activation::Activation;
use crate::simd::Isa;

fn contexts() -> impl Iterator<Item = Context> {
    Isa::available().map(|isa| Context::new(isa).expect("available"))
}

/// Every pair of register tile and block size that reaches an edge of its own.
fn blockings(isa: Isa) -> Vec<Blocking> {
    let (most_rows, most_vectors) = register_tile(isa);
    let mut all = Vec::new();
    for tile_rows in 1..=most_rows {
        for tile_vectors in 1..=most_vectors {
            for (block_rows, block_vectors) in [(1, 1), (2, 5), (3, 2), (5, 3), (7, 4), (6, 1), (4, 2)] {
                all.push(Blocking { tile_rows, tile_vectors, block_rows, block_vectors });
            }
        }
    }
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
                    product(&context, 1.5, a, b, beta, &mut view, &epilogue, width, Some(blocking))
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

/// The ownership map: runs every tile alone on a C full of a marker and looks at what changed.
///
/// In each compute phase every element of the phase's columns belongs to exactly one tile, whatever the order of the
/// tiles; a phase that packs writes no element; over all phases each element is written once per chunk. Tiles run from
/// the last to the first with member numbers in turn and packed A full of NaN before each, so a tile that leans on
/// another's work gives a wrong number.
fn ownership(
    context: &Context,
    (m, n, k): (usize, usize, usize),
    (in_a, in_b, in_c): ((isize, isize), (isize, isize), (isize, isize)),
    blocking: Blocking,
    width: usize,
) {
    const MARKER: f32 = 0.5;
    let case = format!("{context:?} {blocking:?} {m} x {n} x {k} {in_a:?} {in_b:?} {in_c:?} width {width}");
    let room = |rows: usize, cols: usize| (rows + 2) * (cols + 2);
    let (a, b) = (vec![1.0_f32; room(m, k)], vec![1.0_f32; room(k, n)]);
    let (a, b) = (view(&a, m, k, in_a), view(&b, k, n, in_b));
    let plan = Plan::new::<f32>(context, a.layout(), b.layout(), width, Some(blocking));
    let (b_len, a_len) = (plan.packed_b_len(), plan.packed_a_len());
    let mut packed_b = vec![f32::NAN; b_len + 16];
    let mut packed_a = vec![f32::NAN; a_len * width + 16];
    let mut c = vec![MARKER; room(m, n)];
    let packed = b_len > 0;
    let chunks = if packed { k.div_ceil(K_CHUNK) } else { 1 };
    let mut times = vec![0; m * n];
    for phase in 0..plan.phases() {
        let mut owner = vec![None; m * n];
        for tile in (0..plan.tiles(phase)).rev() {
            c.fill(MARKER);
            packed_a.fill(f32::NAN);
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
                output: std::ptr::null(),
                output_row_stride: 0,
                output_col_stride: 0,
                packed_b: packed_b.as_mut_ptr(),
                packed_a: packed_a.as_mut_ptr(),
            };
            // SAFETY: views and buffers have the plan's sizes; one tile runs after the other.
            unsafe { plan.run(context, &operands, phase, tile, tile % width) };
            for member in (0..width).filter(|&member| member != tile % width) {
                let other = &packed_a[member * a_len..(member + 1) * a_len];
                assert!(
                    other.iter().all(|x| x.is_nan()),
                    "{case}: tile {tile} wrote member {member}'s packed A"
                );
            }
            let mut changed = c.iter().filter(|&&x| x != MARKER).count();
            if changed == 0 {
                continue;
            }
            let c = view(&c, m, n, in_c);
            for i in 0..m {
                for j in 0..n {
                    let value = c.get(i, j).expect("inside");
                    if value == MARKER {
                        continue;
                    }
                    changed -= 1;
                    let other = owner[i * n + j].replace(tile);
                    assert_eq!(other, None, "{case}: phase {phase}: ({i}, {j}) is tile {tile}'s too");
                    let chunk = times[i * n + j];
                    times[i * n + j] += 1;
                    let expected = if packed {
                        let depth = (k - chunk * K_CHUNK).min(K_CHUNK) as f32;
                        depth + if chunk == 0 { 0.0 } else { MARKER }
                    } else {
                        k as f32
                    };
                    assert_eq!(value, expected, "{case}: phase {phase} tile {tile} at ({i}, {j})");
                }
            }
            assert_eq!(changed, 0, "{case}: phase {phase} tile {tile} wrote outside C");
        }
        let of_row = |i: usize| (0..n).filter(|j| owner[i * n + j].is_some()).collect::<Vec<_>>();
        for i in 1..m {
            assert_eq!(of_row(i), of_row(0), "{case}: phase {phase}: row {i} has other columns");
        }
        let computes = !packed || phase % 2 == 1;
        assert_eq!(owner.iter().any(Option::is_some), computes, "{case}: phase {phase}");
    }
    assert!(times.iter().all(|&count| count == chunks), "{case}: each element once per chunk");
    assert!(packed_b[b_len..].iter().all(|x| x.is_nan()), "{case}: wrote behind packed B");
    assert!(packed_a[a_len * width..].iter().all(|x| x.is_nan()), "{case}: wrote behind packed A");
}

#[test]
fn every_element_belongs_to_one_tile() {
    let shapes = [
        (1, 1, 1),
        (2, 15, 3),
        (7, 33, 5),
        (13, 16, 0),
        (8, 130, 2),
        (11, 50, 600),
        (97, 40, 65),
        (5, 17, 1030),
    ];
    for context in contexts() {
        for (turn, &shape) in shapes.iter().enumerate() {
            let (m, n, k) = shape;
            for (case, blocking) in blockings(context.isa()).into_iter().enumerate() {
                let strides = (
                    layouts(m, k)[(case + turn) % 3],
                    layouts(k, n)[(case / 3 + turn) % 3],
                    layouts(m, n)[(case / 2) % 3],
                );
                ownership(&context, shape, strides, blocking, 1 + case % 4);
            }
            let strides = (layouts(m, k)[0], layouts(k, n)[1], layouts(m, n)[0]);
            ownership(&context, shape, strides, Blocking::of(context.isa()), 2);
        }
        // The table's own blocks, above one block of rows and of columns.
        let strides = (layouts(200, 3)[1], layouts(3, 4112)[1], layouts(200, 4112)[0]);
        for width in [1, 3] {
            ownership(&context, (200, 4112, 3), strides, Blocking::of(context.isa()), width);
        }
    }
}
