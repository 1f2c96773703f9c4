//! Feature-wise transforms: fitted on the training part, then applied to every part.
//!
//! ```text
//!   training part --fit--> numbers (f64) --to_parts--> a file of named numbers --from_parts--> the same
//!                             |
//!   any part -----------------+--apply--> a view: the samples stay as they are, a row is transformed while it is gathered
//! ```
//!
//! A transformed set shares the samples with the set that it was made of: bytes stay bytes, and all parts together cost
//! 16 bytes per feature and step (8 more where columns are picked). What is computed is computed in `f64`, from the
//! stored value through all steps, and rounded once to the model's type.

mod min_max;
mod one_hot;
mod parts;
mod pipeline;
mod standardize;
mod statistics;

pub use min_max::MinMax;
pub use one_hot::{OneHot, Unknown};
pub use parts::Parts;
pub use pipeline::{Transform, Transforms};
pub use standardize::Standardize;
