//! Operands and result between pages that nothing may touch: no load or store reaches outside, not even masked lanes.

use crate::common::contexts;
use crate::support::{Dense, Real};
use gemmule::kernel::activation::Activation;
use gemmule::{Epilogue, MatMut, MatRef, gemm_packed, gemm_with, pack_b, packed_b_len};

#[path = "../common/guard.rs"]
pub mod pages;
use pages::{Guarded, Plain};

/// One matrix in its own guarded memory, at either end.
struct Pages<T: Plain>(Guarded<T>);

impl<T: Real + Plain> Pages<T> {
    fn room(&mut self, at_end: bool, len: usize) -> &mut [T] {
        if at_end { self.0.at_end(len) } else { self.0.at_start(len) }
    }

    fn place(&mut self, at_end: bool, values: &[T]) -> &mut [T] {
        let room = self.room(at_end, values.len());
        room.copy_from_slice(values);
        room
    }
}

fn layout(transposed: bool, rows: usize, cols: usize) -> (isize, isize) {
    if transposed { (1, rows as isize) } else { (cols as isize, 1) }
}

fn all<T: Real + Plain>(most: usize, step: usize) {
    let mut pages: Vec<Pages<T>> = (0..5).map(|_| Pages(Guarded::new(8 * most.max(most * most)))).collect();
    let [a_pages, b_pages, c_pages, bias_pages, saved_pages] = pages.as_mut_slice() else { unreachable!() };
    for context in contexts() {
        for m in (1..=most).step_by(step) {
            for n in (1..=most).step_by(step) {
                for k in [1, 2, 7] {
                    let (a, b) = (Dense::<T>::random(m, k, 80), Dense::random(k, n, 81));
                    let (c, bias) = (Dense::<T>::random(m, n, 82), Dense::<T>::random(1, n, 83));
                    for turn in 0..16 {
                        let (flip_a, flip_b, flip_c) = (turn & 1 != 0, turn & 2 != 0, turn & 4 != 0);
                        let at_end = turn & 8 != 0;
                        let (ra, ca) = layout(flip_a, m, k);
                        let (rb, cb) = layout(flip_b, k, n);
                        let (rc, cc) = layout(flip_c, m, n);
                        let a = MatRef::new(a_pages.place(at_end, &a.data), 0, m, k, ra, ca).expect("fits");
                        let b = MatRef::new(b_pages.place(at_end, &b.data), 0, k, n, rb, cb).expect("fits");
                        let saved = &*saved_pages.place(at_end, &c.data);
                        let bias = &*bias_pages.place(at_end, &bias.data);
                        let c_room = c_pages.place(at_end, &c.data);
                        let mut c = MatMut::new(c_room, 0, m, n, rc, cc).expect("fits");
                        let one = <T as num_traits::One>::one();
                        let with = Epilogue {
                            bias: Some(bias),
                            activation: Activation::Relu,
                            derivative: Some((
                                Activation::Relu,
                                MatRef::row_major(saved, m, n).expect("fits"),
                            )),
                            tile_function: None,
                        };
                        for epilogue in [Epilogue::default(), with] {
                            gemm_with(&context, one, a, b, one, &mut c, &epilogue).expect("shapes fit");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn small_products_f32() {
    all::<f32>(20, 1);
}

#[test]
fn small_products_f64() {
    all::<f64>(20, 1);
}

/// Wide enough for whole tiles and for several.
#[test]
fn products_over_several_tiles() {
    all::<f32>(140, 23);
    all::<f64>(80, 13);
}

/// A and B as a factor can lie, C likewise: strides of a matrix that fills its memory from end to end.
#[derive(Clone, Copy, Debug)]
enum Lies {
    Rows,
    Cols,
    /// Rows of this many elements more than the matrix has columns; the last one ends with its last element.
    Padded(usize),
    /// From the last element backwards.
    Backwards,
}

impl Lies {
    /// Offset, strides and length.
    fn of(self, rows: usize, cols: usize) -> (usize, isize, isize, usize) {
        let len = rows * cols;
        match self {
            Self::Rows => (0, cols as isize, 1, len),
            Self::Cols => (0, 1, rows as isize, len),
            Self::Padded(gap) => {
                let stride = cols + gap;
                (0, stride as isize, 1, if len == 0 { 0 } else { (rows - 1) * stride + cols })
            }
            Self::Backwards => (len.saturating_sub(1), -(cols as isize), -1, len),
        }
    }
}

/// One product with each of A, B, C, the packed B, bias and derivative in pages of their own, at the start and at the end.
fn between_pages<T: Real + Plain>(pages: &mut [Pages<T>], m: usize, n: usize, k: usize, lies: [Lies; 3]) {
    let [a_pages, b_pages, c_pages, bias_pages, saved_pages, packed_pages] = pages else { unreachable!() };
    let values = Dense::<T>::random(1, 64, 84).data;
    let fill = |room: &mut [T]| room.iter_mut().enumerate().for_each(|(i, x)| *x = values[i % 61]);
    let (one, half) = (<T as num_traits::One>::one(), T::from_f64(0.5));
    let [(oa, ra, ca, la), (ob, rb, cb, lb), (oc, rc, cc, lc)] =
        [lies[0].of(m, k), lies[1].of(k, n), lies[2].of(m, n)];
    for at_end in [false, true] {
        let place = |pages: &mut Pages<T>, len: usize| {
            fill(pages.room(at_end, len));
        };
        place(a_pages, la);
        place(b_pages, lb);
        place(saved_pages, m * n);
        place(bias_pages, n);
        let a = MatRef::new(a_pages.room(at_end, la), oa, m, k, ra, ca).expect("fits");
        let b = MatRef::new(b_pages.room(at_end, lb), ob, k, n, rb, cb).expect("fits");
        let saved = MatRef::row_major(saved_pages.room(at_end, m * n), m, n).expect("fits");
        let with = Epilogue {
            bias: Some(&*bias_pages.room(at_end, n)),
            activation: Activation::Relu,
            derivative: Some((Activation::Relu, saved)),
            tile_function: None,
        };
        for context in contexts() {
            for epilogue in [Epilogue::default(), with] {
                for beta in [<T as num_traits::Zero>::zero(), half] {
                    // B as it is, and packed.
                    let mut results = [Vec::new(), Vec::new()];
                    for (packs, result) in results.iter_mut().enumerate() {
                        let room = c_pages.room(at_end, lc);
                        fill(room);
                        let mut c = MatMut::new(room, oc, m, n, rc, cc).expect("fits");
                        if packs == 0 {
                            gemm_with(&context, one, a, b, beta, &mut c, &epilogue).expect("shapes fit");
                        } else {
                            let room = packed_pages.room(at_end, packed_b_len::<T>(k, n).expect("small"));
                            let packed = pack_b(&context, b, room).expect("large enough");
                            gemm_packed(&context, one, a, &packed, beta, &mut c, &epilogue).expect("fits");
                        }
                        *result = c_pages.room(at_end, lc).iter().map(|x| x.bits()).collect();
                    }
                    assert!(results[0] == results[1], "{context:?} {m} x {n} x {k} {lies:?} packed differs");
                }
            }
        }
    }
}

fn pages<T: Real + Plain>(most: usize) -> Vec<Pages<T>> {
    (0..6).map(|_| Pages(Guarded::new(most))).collect()
}

/// Few columns, which are computed along m, and C by columns: every cut last vector.
fn turned<T: Real + Plain>() {
    let mut pages = pages::<T>(40_000);
    for m in [16, 17, 23, 31, 32, 40, 65, 100] {
        for n in [1, 2, 7, 10, 15, 29] {
            for k in [1, 4, 5, 6, 8, 16, 33, 39] {
                for (a, b, c) in [
                    (Lies::Rows, Lies::Rows, Lies::Rows),
                    (Lies::Cols, Lies::Rows, Lies::Rows),
                    (Lies::Rows, Lies::Cols, Lies::Cols),
                    (Lies::Padded(3), Lies::Padded(2), Lies::Padded(5)),
                    (Lies::Backwards, Lies::Backwards, Lies::Backwards),
                ] {
                    between_pages(&mut pages, m, n, k, [a, b, c]);
                }
            }
        }
    }
}

#[test]
fn turned_products_f32() {
    turned::<f32>();
}

#[test]
fn turned_products_f64() {
    turned::<f64>();
}

/// Tiles of one to four vectors with 1 to 13 rows, 12 of them and 8 the most of tall tiles, and their masked tails.
fn every_tile<T: Real + Plain>() {
    let mut pages = pages::<T>(40_000);
    let lanes = 64 / size_of::<T>();
    for m in [1, 2, 5, 6, 7, 8, 9, 11, 12, 13, 16, 24, 25, 97] {
        for n in [
            1,
            lanes - 1,
            lanes,
            lanes + 1,
            2 * lanes,
            2 * lanes + 3,
            3 * lanes - 1,
            3 * lanes,
            4 * lanes - 5,
        ]
        .into_iter()
        .chain([4 * lanes, 4 * lanes + 1, 6 * lanes + 5, 7 * lanes, 8 * lanes - 1, 9 * lanes])
        {
            for (k, lies) in [
                (3, [Lies::Rows; 3]),
                (lanes + 1, [Lies::Cols, Lies::Cols, Lies::Rows]),
                (lanes, [Lies::Rows, Lies::Cols, Lies::Cols]),
                (2, [Lies::Padded(1), Lies::Padded(7), Lies::Backwards]),
            ] {
                between_pages(&mut pages, m, n, k, lies);
            }
        }
    }
}

#[test]
fn every_tile_f32() {
    every_tile::<f32>();
}

#[test]
fn every_tile_f64() {
    every_tile::<f64>();
}

/// A B whose rows are far apart and whose panels the tiles copy; blocks of k beyond one chunk; more rows than a block.
fn blocks<T: Real + Plain>() {
    let mut pages = pages::<T>(900_000);
    let far = 1280 / size_of::<T>();
    for (m, n, k) in
        [(144, 70, 64), (150, 64, 70), (145, 33, 600), (200, 130, 65), (145, 17, 1100), (800, 40, 70)]
    {
        for lies in [
            [Lies::Rows, Lies::Padded(far), Lies::Rows],
            [Lies::Cols, Lies::Padded(far + 1), Lies::Cols],
            [Lies::Rows, Lies::Cols, Lies::Padded(1)],
            [Lies::Cols, Lies::Backwards, Lies::Backwards],
        ] {
            between_pages(&mut pages, m, n, k, lies);
        }
    }
}

#[test]
fn blocks_f32() {
    blocks::<f32>();
}

#[test]
fn blocks_f64() {
    blocks::<f64>();
}
