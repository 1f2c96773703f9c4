//! One dimension of a convolution: which places of the source an output sums over.
//!
//! ```text
//!   forward      source = output * stride + tap * dilation - padding
//!   transposed   source = (output - tap * dilation + padding) / stride       where that is whole
//! ```
//!
//! Outputs with the same taps inside the source are a [`Segment`], so borders cost no products with zeros and a stride none
//! with zeros between:
//!
//! ```text
//!   kernel 3, padding 1      | 0 |  1  2  3  4  5  6 | 7 |      taps 1 2 | 0 1 2 | 0 1
//!   transposed, stride 2     0 2 4 6: taps 1 3 ...   1 3 5 7: taps 0 2 ...
//! ```

use std::ops::Range;

/// `source = (output * scale + tap * spread + shift) / divisor`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub outputs: usize,
    pub sources: usize,
    pub taps: usize,
    scale: isize,
    spread: isize,
    shift: isize,
    divisor: isize,
}

/// Outputs `first`, `first + step`, ... that have the same taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    /// Which, and where each finds its source for the first output; by that place, ascending.
    pub taps: Vec<(usize, isize)>,
    /// From an output's sources to those of the next.
    pub source_step: usize,
}

impl Line {
    /// A convolution's.
    pub(super) fn forward(
        [outputs, sources, taps]: [usize; 3],
        stride: usize,
        dilation: usize,
        padding: usize,
    ) -> Self {
        let (scale, spread, shift) = (stride as isize, dilation as isize, -(padding as isize));
        Self { outputs, sources, taps, scale, spread, shift, divisor: 1 }
    }

    /// From its outputs back to its inputs: the same numbers, outputs and sources change places.
    pub(super) fn transposed(self) -> Self {
        Self {
            outputs: self.sources,
            sources: self.outputs,
            scale: 1,
            spread: -self.spread,
            shift: -self.shift,
            divisor: self.scale,
            ..self
        }
    }

    /// The outputs in segments, each once; of `most_small` outputs or fewer only where there is no neighbour to join. Joined ones
    /// have all taps of both, some of which then lie outside of the source.
    pub(super) fn segments(&self, most_small: usize) -> Vec<Segment> {
        let residues = (self.divisor as usize).min(self.outputs);
        (0..residues).flat_map(|residue| self.residue(residue, most_small)).collect()
    }

    /// Outputs `residue`, `residue + divisor`, ...
    fn residue(&self, residue: usize, most_small: usize) -> Vec<Segment> {
        let step = self.divisor as usize;
        let count = (self.outputs - residue).div_ceil(step) as isize;
        let sources = self.sources as isize;
        // Tap, source of the first output, and for which outputs that is inside.
        let mut taps: Vec<(usize, isize, isize, isize)> = (0..self.taps)
            .filter_map(|tap| {
                let numerator = residue as isize * self.scale + tap as isize * self.spread + self.shift;
                let source =
                    (numerator.rem_euclid(self.divisor) == 0).then(|| numerator.div_euclid(self.divisor))?;
                let from = (-source).max(0) as usize;
                let to = (sources - source).max(0) as usize;
                let scale = self.scale as usize;
                let bound = |at: usize| (at.div_ceil(scale) as isize).min(count);
                Some((tap, source, bound(from), bound(to)))
            })
            .collect();
        taps.sort_unstable_by_key(|tap| tap.1);
        let mut bounds: Vec<isize> = taps.iter().flat_map(|tap| [tap.2, tap.3]).chain([0, count]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let parts = bounds.windows(2).map(|bound| {
            // By ascending source, both bounds descend.
            let first = taps.partition_point(|tap| tap.2 > bound[0]);
            let end = taps.partition_point(|tap| tap.3 >= bound[1]);
            let inside = first..end.max(first);
            Part { from: bound[0], to: bound[1], taps: vec![inside] }
        });
        let segments = join(parts, most_small).into_iter().map(|part| Segment {
            first: residue + part.from as usize * step,
            step,
            count: part.count(),
            taps: part.union().map(|i| (taps[i].0, taps[i].1 + part.from * self.scale)).collect(),
            source_step: self.scale as usize,
        });
        segments.collect()
    }

    /// The outputs of a forward line for which `tap` is inside the source: first and count.
    pub(super) fn outputs_of(&self, tap: usize) -> (usize, usize) {
        let source = self.source_of(tap);
        let bound =
            |at: isize| usize::try_from(at).unwrap_or(0).div_ceil(self.scale as usize).min(self.outputs);
        let (from, to) = (bound(-source), bound(self.sources as isize - source));
        (from, to - from)
    }

    /// Where `tap` finds the source of output 0 of a forward line.
    pub(super) fn source_of(&self, tap: usize) -> isize {
        tap as isize * self.spread + self.shift
    }
}

/// Outputs of a residue, by their number in it, and which of its taps they have, by ascending source. Long kernels have as many parts as
/// taps: they are joined before any tap is listed.
struct Part {
    from: isize,
    to: isize,
    /// Of each part that was joined.
    taps: Vec<Range<usize>>,
}

impl Part {
    fn count(&self) -> usize {
        (self.to - self.from) as usize
    }

    fn extend(&mut self, next: Self) {
        self.to = next.to;
        self.taps.extend(next.taps);
    }

    /// Each tap once, ascending: later outputs have the earlier ones.
    fn union(&self) -> impl Iterator<Item = usize> {
        let mut seen = 0;
        self.taps.iter().rev().flat_map(move |range| {
            let first = range.start.max(seen);
            seen = seen.max(range.end);
            first..range.end
        })
    }
}

/// Small parts joined with the next, the last with the one before.
fn join(parts: impl Iterator<Item = Part>, most_small: usize) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if last.count() <= most_small => last.extend(part),
            _ => joined.push(part),
        }
    }
    if joined.last().is_some_and(|last| last.count() <= most_small)
        && let Some(last) = joined.pop()
    {
        match joined.last_mut() {
            Some(previous) => previous.extend(last),
            None => joined.push(last),
        }
    }
    joined
}

impl Segment {
    /// The lowest place that a tap reads, and the highest.
    pub(super) fn reach(&self) -> Option<(isize, isize)> {
        let (first, last) = (self.taps.first()?.1, self.taps.last()?.1);
        Some((first, last + ((self.count - 1) * self.source_step) as isize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The taps of an output and their sources, by the formula.
    fn naive(line: &Line, output: usize) -> Vec<(usize, usize)> {
        let inside = (0..line.taps).filter_map(|tap| {
            let numerator = output as isize * line.scale + tap as isize * line.spread + line.shift;
            let whole = numerator % line.divisor == 0;
            let source =
                usize::try_from(numerator / line.divisor).ok().filter(|_| whole && numerator >= 0)?;
            (source < line.sources).then_some((tap, source))
        });
        let mut taps: Vec<_> = inside.collect();
        taps.sort_unstable_by_key(|tap| tap.1);
        taps
    }

    fn forward([sources, taps, stride, dilation, padding]: [usize; 5]) -> Line {
        let outputs = (sources + 2 * padding - dilation * (taps - 1) - 1) / stride + 1;
        Line::forward([outputs, sources, taps], stride, dilation, padding)
    }

    /// Every output is in one segment, with its taps.
    fn check(line: &Line, most_small: usize) {
        let mut seen = vec![false; line.outputs];
        for segment in line.segments(most_small) {
            for i in 0..segment.count {
                let at = (i * segment.source_step) as isize;
                let taps = segment.taps.iter().filter_map(|&(tap, source)| {
                    let source = usize::try_from(source + at).ok()?;
                    (source < line.sources).then_some((tap, source))
                });
                let taps: Vec<_> = taps.collect();
                if most_small == 0 {
                    assert_eq!(taps.len(), segment.taps.len(), "{line:?}: a tap outside");
                }
                let output = segment.first + i * segment.step;
                assert_eq!(taps, naive(line, output), "{line:?} {most_small}");
                assert!(!std::mem::replace(&mut seen[output], true));
            }
            let listed = |output: usize| naive(line, output).into_iter().map(|tap| tap.0);
            let outputs = (0..segment.count).map(|i| segment.first + i * segment.step);
            let all: HashSet<usize> = outputs.flat_map(listed).collect();
            assert_eq!(segment.taps.len(), all.len(), "{line:?} {most_small}: a tap of no output");
        }
        assert!(seen.iter().all(|&seen| seen), "{line:?} {most_small}");
    }

    #[test]
    fn segments_have_every_output_once_with_the_taps_inside() {
        for sizes in [
            [7, 3, 1, 1, 1],
            [8, 3, 2, 1, 1],
            [5, 5, 3, 1, 4],
            [9, 2, 4, 3, 0],
            [3, 7, 1, 1, 3],
            [13, 3, 2, 2, 3],
            [1, 1, 1, 1, 0],
            [4, 1, 3, 1, 2],
            // Taps between those of neighbours that no output has.
            [1, 7, 3, 1, 6],
            [2, 9, 5, 1, 9],
        ] {
            let forward = forward(sizes);
            for tap in 0..forward.taps {
                let with = |output: &usize| naive(&forward, *output).iter().any(|found| found.0 == tap);
                let all: Vec<usize> = (0..forward.outputs).filter(with).collect();
                let (first, count) = forward.outputs_of(tap);
                assert_eq!(all.len(), count, "{forward:?}");
                assert!(all.is_empty() || all == (first..first + count).collect::<Vec<_>>());
            }
            for line in [forward, forward.transposed()] {
                for most_small in [0, 1, 3, 100] {
                    check(&line, most_small);
                }
            }
        }
    }

    /// As many parts as taps: with a comparison for every tap of every two parts, each line takes minutes.
    #[test]
    fn kernels_of_thousands() {
        for sizes in [[3000, 3000, 1, 1, 1500], [2000, 1001, 2, 3, 1500]] {
            let forward = forward(sizes);
            for line in [forward, forward.transposed()] {
                let segments = line.segments(5);
                assert!(segments.iter().all(|segment| segment.count > 5));
                assert_eq!(segments.iter().map(|segment| segment.count).sum::<usize>(), line.outputs);
                // The first, the last, and one between.
                for segment in [0, segments.len() / 2, segments.len() - 1].map(|at| &segments[at]) {
                    let outputs = (0..segment.count).map(|i| segment.first + i * segment.step);
                    let taps = outputs.flat_map(|output| naive(&line, output)).map(|tap| tap.0);
                    let listed = segment.taps.iter().map(|tap| tap.0);
                    assert_eq!(listed.collect::<HashSet<_>>(), taps.collect::<HashSet<_>>(), "{line:?}");
                    assert!(segment.taps.is_sorted_by(|a, b| a.1 < b.1));
                }
            }
        }
    }
}
