//! The figures of a run.

/// The figures of an epoch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EpochLog {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean training loss over the epoch's samples, each taken before its update.
    pub loss: f64,
    /// The share of training samples that were right, each before its update; only for class targets.
    pub accuracy: Option<f64>,
    /// The mean loss on the validation samples after the epoch.
    pub validation_loss: Option<f64>,
    /// The share of validation samples that are right after the epoch; only for class targets.
    pub validation_accuracy: Option<f64>,
    /// The metrics that were asked for, by name; those of the validation samples as `validation_` and the name.
    pub metrics: Vec<(String, f64)>,
    /// The step size of the epoch's last step.
    pub learning_rate: f64,
    /// Training samples that were seen.
    pub samples: usize,
    /// Seconds that the training steps took, without the validation.
    pub seconds: f64,
}

impl EpochLog {
    /// Training samples per second.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds
    }

    /// The figure of this name: `loss`, `accuracy`, `validation_loss`, `validation_accuracy`, `learning_rate`, or a metric's;
    /// `None` if there is none.
    pub fn value(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.loss),
            "accuracy" => self.accuracy,
            "validation_loss" => self.validation_loss,
            "validation_accuracy" => self.validation_accuracy,
            "learning_rate" => Some(self.learning_rate),
            _ => self.metrics.iter().find(|(metric, _)| metric == name).map(|&(_, value)| value),
        }
    }

    /// Names and values of all figures that [`value`](Self::value) knows, in one order for all epochs of a run.
    pub fn values(&self) -> Vec<(&str, f64)> {
        let named = ["loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate"];
        let first = named.into_iter().filter_map(|name| Some((name, self.value(name)?)));
        let others = self.metrics.iter().map(|(name, value)| (name.as_str(), *value));
        first.chain(others.filter(|(name, _)| !named.contains(name))).collect()
    }
}

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// One entry per epoch, in order; of a run that was resumed, those before it too.
    pub epochs: Vec<EpochLog>,
    /// True if a callback stopped the run.
    pub stopped: bool,
}

impl History {
    /// The figures as a table: a column per figure, a row per epoch; empty where an epoch has no such figure. Numbers are as short as
    /// reads back exactly.
    ///
    /// ```
    /// use gemmule::train::History;
    /// assert_eq!(History::default().to_csv(), "epoch,samples,seconds\n");
    /// ```
    pub fn to_csv(&self) -> String {
        let names = self.figures();
        let mut text = String::from("epoch");
        for name in &names {
            text += &format!(",{}", csv_field(name));
        }
        text += ",samples,seconds\n";
        for log in &self.epochs {
            text += &log.epoch.to_string();
            for name in &names {
                text += &log.value(name).map_or(",".to_owned(), |value| format!(",{value:?}"));
            }
            text += &format!(",{},{:?}\n", log.samples, log.seconds);
        }
        text
    }

    /// The names of all figures, in the order in which they first occur.
    pub(super) fn figures(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.epochs.iter().flat_map(EpochLog::values) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// A name as a field of a CSV file (RFC 4180).
pub(super) fn csv_field(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}
