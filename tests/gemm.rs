//! GEMM: values within a proven bound, order to the bit, hostile shapes refused, nothing touched that is not an element.

mod common;
#[path = "gemm/guard.rs"]
mod guard;
#[path = "gemm/hostile.rs"]
mod hostile;
#[path = "gemm/order.rs"]
mod order;
#[path = "gemm/support.rs"]
mod support;
#[path = "gemm/values.rs"]
mod values;
