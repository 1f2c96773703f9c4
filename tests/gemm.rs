//! GEMM: values within a proven bound, order to the bit, hostile shapes refused, nothing touched that is not an element.

mod common;
#[path = "gemm/epilogue.rs"]
mod epilogue;
#[path = "gemm/few_rows.rs"]
mod few_rows;
#[path = "gemm/guard.rs"]
mod guard;
#[path = "gemm/hostile.rs"]
mod hostile;
#[path = "gemm/order.rs"]
mod order;
#[path = "gemm/packed.rs"]
mod packed;
#[path = "gemm/random.rs"]
mod random;
#[path = "gemm/support.rs"]
mod support;
#[path = "gemm/threads.rs"]
mod threads;
#[path = "gemm/tiles.rs"]
mod tiles;
#[path = "gemm/values.rs"]
mod values;
