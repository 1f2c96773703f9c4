//! Operands and result between pages that nothing may touch: no load or store reaches outside, not even masked lanes.

use crate::common::contexts;
use crate::support::{Dense, Real};
use gemmule::kernel::activation::Activation;
use gemmule::{Epilogue, MatMut, MatRef, gemm_with};

#[path = "../common/guard.rs"]
mod pages;
use pages::{Guarded, Plain};

/// One matrix in its own guarded memory, at either end.
struct Pages<T: Plain>(Guarded<T>);

impl<T: Real + Plain> Pages<T> {
    fn place(&mut self, at_end: bool, values: &[T]) -> &mut [T] {
        let room = if at_end { self.0.at_end(values.len()) } else { self.0.at_start(values.len()) };
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
