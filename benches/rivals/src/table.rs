//! From times to figures to lines of Markdown.

use crate::libraries::Kind;
use crate::shapes::Shape;
use crate::support::median;

/// What was measured one after the other.
pub struct Round {
    /// Operations per second.
    pub peak: f64,
    /// Bytes per second, for shapes that are bound by memory.
    pub bandwidth: Option<f64>,
    /// Of one product, by library; ours first.
    pub seconds: Vec<f64>,
}

/// A shape's figures.
pub struct Row {
    name: String,
    /// Medians, in GFLOP/s.
    peak: f64,
    rates: Vec<f64>,
    /// Ours: medians of the ratios within a round.
    share: f64,
    bandwidth_share: Option<f64>,
    /// The rival with the highest median, and ours over its rate within a round: median, lowest, highest.
    best: usize,
    ratio: [f64; 3],
}

impl Row {
    /// `element_bytes`: 4 or 8. There is at least one round, and in it ours and at least one rival.
    pub fn new(shape: &Shape, element_bytes: usize, rounds: &[Round]) -> Self {
        let over = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
        let operations = shape.operations();
        let libraries = rounds.first().map_or(0, |round| round.seconds.len());
        let rates: Vec<f64> =
            (0..libraries).map(|i| median(over(&|round| operations / round.seconds[i])) / 1e9).collect();
        let best = (1..libraries).max_by(|&i, &j| rates[i].total_cmp(&rates[j])).unwrap_or(0);
        let mut ratios = over(&|round| round.seconds[best] / round.seconds[0]);
        ratios.sort_by(f64::total_cmp);
        let b_bytes = (shape.k * shape.n * element_bytes) as f64;
        let bandwidth_shares: Vec<f64> = rounds
            .iter()
            .filter_map(|round| round.bandwidth.map(|rate| b_bytes / round.seconds[0] / rate))
            .collect();
        Self {
            name: shape.name.clone(),
            peak: median(over(&|round| round.peak)) / 1e9,
            share: median(over(&|round| operations / round.seconds[0] / round.peak)),
            bandwidth_share: (!bandwidth_shares.is_empty()).then(|| median(bandwidth_shares)),
            best,
            ratio: [median(ratios.clone()), ratios[0], ratios[ratios.len() - 1]],
            rates,
        }
    }

    /// Whether ours is at least as fast as the best rival.
    pub fn ahead(&self) -> bool {
        self.ratio[0] >= 1.0
    }

    /// A line of the table that [`header`] begins.
    pub fn line(&self, kinds: &[Kind]) -> String {
        let mut cells = vec![
            format!("{:<NAME$}", self.name),
            format!("{:>7.1}", self.peak),
            format!("{:>5.1}", 100.0 * self.share),
            self.bandwidth_share.map_or_else(|| " ".repeat(9), |share| format!("{:>9.1}", 100.0 * share)),
        ];
        for (kind, rate) in kinds.iter().zip(&self.rates) {
            cells.push(format!("{rate:>width$.1}", width = width(*kind)));
        }
        let [ratio, lowest, highest] = self.ratio;
        cells.push(format!("{:<14}", kinds[self.best].to_string()));
        cells.push(format!("{ratio:>5.2}"));
        cells.push(format!("{:<12}", format!("{lowest:.2} to {highest:.2}")));
        format!("| {} |", cells.join(" | "))
    }
}

/// The two lines that a table begins with.
pub fn header(kinds: &[Kind]) -> String {
    let mut cells = vec![format!("{:<NAME$}", "product")];
    cells.extend(["   peak", "share", "bandwidth"].map(str::to_owned));
    cells.extend(kinds.iter().map(|&kind| format!("{kind:>width$}", width = width(kind))));
    cells.extend(["best rival    ", "ratio", "lowest, highest"].map(str::to_owned));
    format!("| {} |\n|{}", cells.join(" | "), " --- |".repeat(cells.len()))
}

/// Columns of a product's name.
const NAME: usize = 22;

fn width(kind: Kind) -> usize {
    kind.to_string().len().max(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let shape = &crate::shapes::filtered(false, Some("rows 1x")).expect("there is one")[0];
        let round = |ours: f64, first: f64, second: f64| Round {
            peak: 2.0 * shape.operations(),
            bandwidth: Some(2.0 * (4 * 4096 * 4096) as f64),
            seconds: vec![ours, first, second],
        };
        // The clock halves in the second round: rates move, ratios do not.
        let row = Row::new(shape, 4, &[round(1.0, 2.0, 1.5), round(2.0, 4.0, 3.0), round(1.0, 2.0, 1.4)]);
        assert_eq!(row.best, 2);
        assert_eq!(row.ratio, [1.5, 1.4, 1.5]);
        assert_eq!(row.share, 0.5);
        assert_eq!(row.bandwidth_share, Some(0.5));
        assert!(row.ahead());
        let kinds = [Kind::Gemmule, Kind::Faer, Kind::Mkl];
        let cells = |line: &str| line.matches('|').count();
        let header = header(&kinds);
        assert!(header.lines().all(|line| cells(line) == cells(&row.line(&kinds))));
    }
}
