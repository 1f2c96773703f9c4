//! Normalisation: statistics, the normalised numbers, and their gradients.
//!
//! ```text
//! channels   positions x channels, channels last: statistics by channel              batch and group normalisation
//! rows       rows x width: statistics by row                                         layer and RMS normalisation
//! ```
//!
//! With mean m, variance v and r = 1 / sqrt(v + eps), over the n numbers x that are normalised together:
//!
//! ```text
//! forward    y   = (x - m) r w + b                                                   w, b by channel or by column
//! backward   g   = d_y w
//!            d_x = r (g - mean of g - (x - m) r mean of (g (x - m) r))
//!            d_w = sum of d_y (x - m) r       d_b = sum of d_y
//! ```
//!
//! The variance never is a difference of large numbers: squares are taken about a mean of a part, and parts are put together
//! by their means (Chan, Golub and LeVeque 1979), in f64 where there are few of them. The mean is taken off before anything
//! is multiplied. Ioffe and Szegedy 2015 (batch), Ba, Kiros and Hinton 2016 (layer), Wu and He 2018 (group), Zhang and
//! Sennrich 2019 (RMS).
//!
//! The order of every sum depends on the shape alone. Nothing here allocates or has threads.

mod channels;
mod plane;
mod pool;
mod rows;

pub(crate) use channels::{Derive, Moments, Scale, Sums, derive, scale};
pub(crate) use plane::{Plane, repeat};
pub(crate) use pool::{Parts, Pool, Total};
pub(crate) use rows::{RowDerive, RowScale, RowSums};

use super::compiled::compiled;

compiled! {
    Moments<'a, Self>,
    Scale<'a, Self>,
    Sums<'a, Self>,
    Derive<'a, Self>,
    Pool<'a, Self>,
    Total<'a, Self>,
    RowScale<'a, Self>,
    RowDerive<'a, Self>,
    RowSums<'a, Self>,
}
