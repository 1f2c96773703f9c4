//! Sums of two f64, for the few arguments that one cannot hold well enough.

/// `high + low`, |low| at most half an ULP of high.
#[derive(Clone, Copy)]
pub struct Double {
    /// The rounded value.
    pub high: f64,
    /// What it lacks.
    pub low: f64,
}

impl Double {
    /// A constant in two parts.
    pub const fn new(high: f64, low: f64) -> Self {
        Self { high, low }
    }

    /// a + b, exactly (Knuth's two-sum).
    pub fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let other = high - a;
        Self { high, low: (a - (high - other)) + (b - other) }
    }

    /// a b, exactly but for underflow.
    pub fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        Self { high, low: a.mul_add(b, -high) }
    }

    /// Times a number; relative error below 2^-103.
    pub fn times(self, factor: f64) -> Self {
        let product = Self::product(self.high, factor);
        let low = self.low.mul_add(factor, product.low);
        Self::sum(product.high, low)
    }

    /// Times a sum of two; relative error below 2^-101.
    pub fn times_double(self, factor: Self) -> Self {
        let product = Self::product(self.high, factor.high);
        let low = self.high.mul_add(factor.low, self.low.mul_add(factor.high, product.low));
        Self::sum(product.high, low)
    }

    /// Plus a number.
    pub fn plus(self, other: f64) -> Self {
        let sum = Self::sum(self.high, other);
        Self::sum(sum.high, sum.low + self.low)
    }
}
