//! Random orders.

use super::Rng;

impl Rng {
    /// The numbers `0..n` in random order. See [`shuffle`](Self::shuffle).
    ///
    /// ```
    /// use gemmule::rng::Rng;
    /// let mut order = Rng::new(7).permutation(5);
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// ```
    #[must_use]
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Puts the items in random order, each order with the same probability (Fisher and Yates, from the last item
    /// down). Advances by 2 per item but the first, rejections apart: see [`below`](Self::below).
    pub fn shuffle<I>(&mut self, items: &mut [I]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last as u64 + 1) as usize;
            items.swap(last, chosen);
        }
    }
}
