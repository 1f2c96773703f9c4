//! Training follows PyTorch: losses, weights and optimiser state against `tests/golden/mlp.txt`.

#[path = "common/golden.rs"]
mod golden;
