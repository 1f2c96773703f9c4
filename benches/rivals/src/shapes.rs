//! The products that are measured.

/// C (m x n) = A (m x k) B (k x n), all row-major; a transposed operand is stored as k x m or n x k.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub name: String,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a_transposed: bool,
    pub b_transposed: bool,
}

impl Shape {
    fn new(name: String, [m, n, k]: [usize; 3]) -> Self {
        Self { name, m, n, k, a_transposed: false, b_transposed: false }
    }

    /// Named by `word` and the sizes.
    fn named(word: &str, sizes: [usize; 3]) -> Self {
        Self::new(format!("{word} {}x{}x{}", sizes[0], sizes[1], sizes[2]), sizes)
    }

    fn square(size: usize) -> Self {
        Self::new(format!("square {size}"), [size; 3])
    }

    fn a_transposed(self) -> Self {
        Self { a_transposed: true, ..self }
    }

    fn b_transposed(self) -> Self {
        Self { b_transposed: true, ..self }
    }

    /// Multiplications and additions.
    pub fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// So few rows of A that reading B once is what limits the product.
    pub fn bound_by_memory(&self) -> bool {
        self.m <= 8
    }

    /// Distance of neighbours in A: down its columns, along its rows.
    pub fn a_strides(&self) -> (usize, usize) {
        if self.a_transposed { (1, self.m) } else { (self.k, 1) }
    }

    /// The same of B.
    pub fn b_strides(&self) -> (usize, usize) {
        if self.b_transposed { (1, self.k) } else { (self.n, 1) }
    }
}

/// All shapes for f32 or (`double`) f64.
pub fn all(double: bool) -> Vec<Shape> {
    let squares: &[usize] = if double {
        &[64, 96, 128, 192, 256, 384, 512, 1024, 2048]
    } else {
        &[32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096]
    };
    let mut all: Vec<Shape> = squares.iter().map(|&size| Shape::square(size)).collect();
    // Batch x outputs x inputs, then what the same layers do backward.
    for sizes in [[32, 64, 784], [128, 64, 784], [128, 512, 784], [512, 4096, 4096], [128, 10, 512]] {
        all.push(Shape::named("forward", sizes));
    }
    for sizes in [[784, 512, 128], [4096, 4096, 512], [512, 10, 128]] {
        all.push(Shape::named("dW", sizes).a_transposed());
    }
    for sizes in [[128, 784, 512], [512, 4096, 4096]] {
        all.push(Shape::named("dX", sizes).b_transposed());
    }
    if !double {
        for sizes in [[1, 4096, 4096], [8, 4096, 4096]] {
            all.push(Shape::named("rows", sizes));
        }
        // A convolution of 5 x 5 x 32 to 64 channels on 64 images of 14 x 14, as one product.
        all.push(Shape::named("conv", [12544, 64, 800]));
        for sizes in [[100, 100, 100], [257, 129, 65], [1000, 1000, 1000], [33, 1000, 17]] {
            all.push(Shape::named("odd", sizes));
        }
    }
    all
}

/// Those of [`all`] whose name contains `word`.
pub fn filtered(double: bool, word: Option<&str>) -> Result<Vec<Shape>, String> {
    let all = all(double);
    let Some(word) = word else { return Ok(all) };
    let chosen: Vec<Shape> = all.iter().filter(|shape| shape.name.contains(word)).cloned().collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|shape| shape.name.as_str()).collect();
        return Err(format!("--filter {word}: no such product; there are {}", names.join(", ")));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        for double in [false, true] {
            let all = all(double);
            let names: HashSet<&str> = all.iter().map(|shape| shape.name.as_str()).collect();
            assert_eq!(names.len(), all.len());
        }
    }

    #[test]
    fn a_filter_that_fits_nothing_is_an_error() {
        assert_eq!(filtered(false, Some("dX")).map(|shapes| shapes.len()), Ok(2));
        assert!(filtered(false, Some("cube")).is_err_and(|error| error.contains("square 64")));
    }
}
