//! The first layer's weight, stored in panels of columns.
//!
//! ```text
//!   rows x cols, row by row           panels: all rows of the first columns, then all rows of the next
//!   | a a b b c c |                   | a a |  | b b |  | c c |
//!   | a a b b c c |                   | a a |  | b b |  | c c |
//! ```
//!
//! A panel belongs to one member of the team: forward it multiplies the batch with it, and in the same step it alone writes its
//! gradient, states and new values. Cut by rows of the batch, every core would read all of the weight, half of which another
//! one wrote; before that one can write a line again, it has to be called back from the reader's cache. On Zen 4 this takes 8 ns a
//! line for two cores of one cluster, 70 ns for two of different ones (there, for 784 x 64, more than all else in a step with batch 32).
//! And columns of rows that stand side by side are fetched by the other core's prefetchers, so they have to stand apart.
//!
//! Later layers need all of a weight for the gradient of their input: there each core reads what another one wrote anyway.

use super::form::simplified;
use super::graph::{Graph, Op};

/// Columns of a panel: of f32, two cache lines.
const PANEL: usize = 32;

/// The most elements of a weight that is stored so: small enough for a cache of its own, half of a common L2. Larger ones spend
/// their time in the products.
const MOST: usize = 128 << 10;

impl Graph {
    /// Stores the weight in panels that the first operation multiplies the inputs by. By shapes alone, so that norms over the flat
    /// arrays have the same bits everywhere.
    pub(super) fn store_in_panels(&mut self) {
        let Some(Op::Dense { weight, positions: 1, .. }) = self.nodes.first().map(|node| node.op) else {
            return;
        };
        let parameter = &mut self.parameters[weight.index];
        let (rows, cols) = (parameter.rows, parameter.cols);
        if cols < 2 * PANEL || !cols.is_multiple_of(PANEL) || parameter.len() > MOST {
            return;
        }
        // The outputs are shown first, and all other strides are rows of them.
        let inputs = parameter.axes[1..].iter().map(|&(len, stride)| (len, stride / cols * PANEL));
        let outputs = [(cols / PANEL, rows * PANEL), (PANEL, 1)];
        parameter.axes = simplified(outputs.into_iter().chain(inputs));
        parameter.panel = Some(PANEL);
    }
}
