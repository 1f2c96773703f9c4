//! Parts that have the classes in the same proportions.
//!
//! ```text
//!              part 0    part 1    part 2
//!   class 0    6.3       1.8       0.9        9        exact shares: class x part / all
//!   class 1    0.7       0.2       0.1        1
//!              7         2         1         10        rounded up or down so that both margins stay
//! ```

use super::classes::Classes;
use crate::error::{Error, Result};
use crate::rng::Rng;
use std::collections::VecDeque;

/// Splits the samples into parts of `sizes`, which sum to their number, each class in proportion. Every class has a
/// stream of its own, and every part is shuffled in the end.
pub(super) fn split(
    operation: &'static str,
    labels: &[u32],
    sizes: &[usize],
    rng: &Rng,
) -> Result<Vec<Vec<usize>>> {
    let classes = Classes::ascending(operation, labels)?;
    classes.check_least(operation, sizes.len(), "one per part")?;
    if let Some(part) = sizes.iter().position(|&size| size < classes.len()) {
        let expected = format!("at least {} samples (one per class)", classes.len());
        return Err(Error::data(operation, format!("part {part}"), expected, sizes[part]));
    }
    let counts: Vec<usize> = classes.counts().collect();
    let table = apportion(&counts, sizes);
    let mut parts: Vec<Vec<usize>> = sizes.iter().map(|&size| Vec::with_capacity(size)).collect();
    for ((label, members), row) in classes.members().zip(table.chunks_exact(sizes.len())) {
        let mut members = members.to_vec();
        rng.stream(u64::from(label)).shuffle(&mut members);
        let mut rest = members.as_slice();
        for (part, &count) in parts.iter_mut().zip(row) {
            let (own, after) = rest.split_at(count);
            part.extend_from_slice(own);
            rest = after;
        }
    }
    // Streams beyond those of the labels.
    let after_labels = 1 << 32;
    for (part, samples) in (after_labels..).zip(&mut parts) {
        rng.stream(part).shuffle(samples);
    }
    Ok(parts)
}

/// How many samples of each class (a row) go to each part (a column): `count size / n`, rounded down or up so that the
/// rows sum to `counts` and the columns to `sizes`; n is the sum of either.
///
/// Such a table always exists (the exact shares are a point of a transportation polytope, whose corners are whole). The
/// largest remainders are rounded up first. What then has no place left makes some by chains of moves, along which others are
/// rounded the other way.
fn apportion(counts: &[usize], sizes: &[usize]) -> Vec<usize> {
    let (parts, n) = (sizes.len(), counts.iter().map(|&count| count as u128).sum::<u128>().max(1));
    let exact: Vec<u128> = counts
        .iter()
        .flat_map(|&count| sizes.iter().map(move |&size| count as u128 * size as u128))
        .collect();
    let mut table: Vec<usize> = exact.iter().map(|exact| (exact / n) as usize).collect();
    let mut left_of_class: Vec<usize> = counts
        .iter()
        .zip(table.chunks(parts))
        .map(|(count, row)| count - row.iter().sum::<usize>())
        .collect();
    let mut left_of_part: Vec<usize> = sizes
        .iter()
        .enumerate()
        .map(|(part, size)| size - table.iter().skip(part).step_by(parts).sum::<usize>())
        .collect();
    // Cells that can be rounded up; the largest remainder first.
    let mut cells: Vec<usize> = (0..exact.len()).filter(|&cell| !exact[cell].is_multiple_of(n)).collect();
    cells.sort_by_key(|&cell| std::cmp::Reverse(exact[cell] % n));
    let mut up = vec![false; exact.len()];
    for cell in cells {
        let (class, part) = (cell / parts, cell % parts);
        if left_of_class[class] > 0 && left_of_part[part] > 0 {
            up[cell] = true;
            left_of_class[class] -= 1;
            left_of_part[part] -= 1;
        }
    }
    for (class, &left) in left_of_class.iter().enumerate() {
        for _ in 0..left {
            let free = |cell: usize, up: &[bool]| !up[cell] && !exact[cell].is_multiple_of(n);
            let end = make_place(class, counts.len(), parts, &mut up, &left_of_part, free);
            left_of_part[end] -= 1;
        }
    }
    table.iter_mut().zip(up).for_each(|(count, up)| *count += usize::from(up));
    table
}

/// Rounds one more cell of `class` up: the shortest chain of class, part (up), class (down), part (up) ... to a part that
/// has a place left, which is returned.
fn make_place(
    class: usize,
    classes: usize,
    parts: usize,
    up: &mut [bool],
    left_of_part: &[usize],
    free: impl Fn(usize, &[bool]) -> bool,
) -> usize {
    // The cell by which each part was reached, and each class but the first.
    let mut to_part = vec![None; parts];
    let mut to_class = vec![None; classes];
    let mut queue = VecDeque::from([class]);
    while let Some(from) = queue.pop_front() {
        for part in 0..parts {
            let cell = from * parts + part;
            if to_part[part].is_some() || !free(cell, up) {
                continue;
            }
            to_part[part] = Some(cell);
            if left_of_part[part] > 0 {
                let (mut end, mut steps) = (cell, true);
                while steps {
                    up[end] = true;
                    let before = end / parts;
                    steps = before != class;
                    if steps {
                        let down: usize = to_class[before].expect("reached through a cell");
                        up[down] = false;
                        end = to_part[down % parts].expect("reached through a cell");
                    }
                }
                return part;
            }
            for (next, reached) in to_class.iter_mut().enumerate() {
                let cell = next * parts + part;
                if next != class && reached.is_none() && up[cell] {
                    *reached = Some(cell);
                    queue.push_back(next);
                }
            }
        }
    }
    unreachable!("the exact shares are such a table, not rounded")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// About one table in sixty needs a chain of moves.
    #[test]
    fn every_count_is_the_exact_share_rounded_and_the_margins_stay() {
        let mut rng = Rng::new(7);
        for case in 0..20_000 {
            let classes = 1 + rng.below(6) as usize;
            let parts = 1 + rng.below(6) as usize;
            let counts: Vec<usize> = (0..classes).map(|_| rng.below(12) as usize).collect();
            let n: usize = counts.iter().sum();
            let mut cuts: Vec<usize> = (1..parts).map(|_| rng.below(n as u64 + 1) as usize).collect();
            cuts.extend([0, n]);
            cuts.sort_unstable();
            let sizes: Vec<usize> = cuts.windows(2).map(|cut| cut[1] - cut[0]).collect();
            let table = apportion(&counts, &sizes);
            for (class, row) in table.chunks(parts).enumerate() {
                assert_eq!(row.iter().sum::<usize>(), counts[class], "case {case}");
                for (part, &count) in row.iter().enumerate() {
                    let exact = counts[class] as f64 * sizes[part] as f64 / n.max(1) as f64;
                    assert!((count as f64 - exact).abs() < 1.0, "case {case}: {count} for {exact}");
                }
            }
            for (part, &size) in sizes.iter().enumerate() {
                assert_eq!(table.iter().skip(part).step_by(parts).sum::<usize>(), size, "case {case}");
            }
        }
    }

    #[test]
    fn the_largest_remainder_is_rounded_up() {
        // Shares of the second part: 0.9, 0.6, 0.5.
        assert_eq!(apportion(&[9, 6, 5], &[18, 2]), [8, 1, 5, 1, 5, 0]);
        assert_eq!(apportion(&[5, 5], &[5, 5]), [3, 2, 2, 3]);
    }
}
