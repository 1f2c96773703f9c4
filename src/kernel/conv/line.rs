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
        (0..residues).flat_map(|residue| join(self.residue(residue), most_small)).collect()
    }

    /// Outputs `residue`, `residue + divisor`, ...
    fn residue(&self, residue: usize) -> Vec<Segment> {
        let step = self.divisor as usize;
        let count = (self.outputs - residue).div_ceil(step) as isize;
        let sources = self.sources as isize;
        // Tap, source of the first output, and for which outputs that is inside.
        let taps: Vec<(usize, isize, isize, isize)> = (0..self.taps)
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
        let mut bounds: Vec<isize> = taps.iter().flat_map(|tap| [tap.2, tap.3]).chain([0, count]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let segments = bounds.windows(2).map(|bound| {
            let (from, to) = (bound[0], bound[1]);
            let inside = taps.iter().filter(|tap| tap.2 <= from && to <= tap.3);
            let mut taps: Vec<_> = inside.map(|tap| (tap.0, tap.1 + from * self.scale)).collect();
            taps.sort_unstable_by_key(|tap| tap.1);
            Segment {
                first: residue + from as usize * step,
                step,
                count: (to - from) as usize,
                taps,
                source_step: self.scale as usize,
            }
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

/// Small segments joined with the next, the last with the one before.
fn join(segments: Vec<Segment>, most_small: usize) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::new();
    for segment in segments {
        match joined.last_mut() {
            Some(last) if last.count <= most_small => last.extend(segment),
            _ => joined.push(segment),
        }
    }
    if joined.last().is_some_and(|last| last.count <= most_small)
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
    fn extend(&mut self, next: Self) {
        let back = (self.count * self.source_step) as isize;
        for (tap, source) in next.taps {
            if self.taps.iter().all(|found| found.0 != tap) {
                self.taps.push((tap, source - back));
            }
        }
        self.taps.sort_unstable_by_key(|tap| tap.1);
        self.count += next.count;
    }

    /// The lowest place that a tap reads, and the highest.
    pub(super) fn reach(&self) -> Option<(isize, isize)> {
        let (first, last) = (self.taps.first()?.1, self.taps.last()?.1);
        Some((first, last + ((self.count - 1) * self.source_step) as isize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every output and tap, by the formula.
    fn naive(line: &Line) -> Vec<Vec<(usize, usize)>> {
        let of = |output: usize| {
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
        };
        (0..line.outputs).map(of).collect()
    }

    #[test]
    fn segments_have_every_output_once_with_the_taps_inside() {
        for (sources, taps, stride, dilation, padding) in [
            (7, 3, 1, 1, 1),
            (8, 3, 2, 1, 1),
            (5, 5, 3, 1, 4),
            (9, 2, 4, 3, 0),
            (3, 7, 1, 1, 3),
            (13, 3, 2, 2, 3),
            (1, 1, 1, 1, 0),
            (4, 1, 3, 1, 2),
        ] {
            let outputs = (sources + 2 * padding - dilation * (taps - 1) - 1) / stride + 1;
            let forward = Line::forward([outputs, sources, taps], stride, dilation, padding);
            let expected = naive(&forward);
            for tap in 0..taps {
                let with = |output: &usize| expected[*output].iter().any(|found| found.0 == tap);
                let all: Vec<usize> = (0..outputs).filter(with).collect();
                let (first, count) = forward.outputs_of(tap);
                assert_eq!(all.len(), count, "{forward:?}");
                assert!(all.is_empty() || all == (first..first + count).collect::<Vec<_>>());
            }
            for line in [forward, forward.transposed()] {
                let expected = naive(&line);
                for most_small in [0, 1, 3, 100] {
                    let mut seen = vec![None; line.outputs];
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
                            assert!(seen[segment.first + i * segment.step].replace(taps).is_none());
                        }
                    }
                    let seen: Option<Vec<_>> = seen.into_iter().collect();
                    assert_eq!(seen.as_ref(), Some(&expected), "{line:?} {most_small}");
                }
            }
        }
    }
}
