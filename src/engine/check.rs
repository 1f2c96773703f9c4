//! What the leader of a run looks at between phases: whether inputs, outputs, losses and gradients are finite, and the norm of the
//! gradients.

use super::Engine;
use super::arena::BufferId;
use super::findings::{Findings, NONE};
use super::graph::Parameter;
use super::run::{Run, pieces};
use super::touched::Touched;
use crate::error::{Error, Result};
use crate::kernel::update::{self, Clip, Squares};
use crate::kernel::{Element, reduce};
use crate::parallel::Team;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl<T: Element> Run<'_, T> {
    pub(super) fn non_finite(&self, what: &'static str, place: String, index: usize, value: T) -> Error {
        Error::NonFinite { what, place, step: self.step, index, value: value.to_f64() }
    }

    pub(super) fn check_input(&self, input: BufferId, findings: &Findings) -> Result<()> {
        let index = findings.input.load(Ordering::Relaxed);
        if index == NONE {
            return Ok(());
        }
        // Not what the source says: it may say something else by now.
        let width = self.graph.width(self.graph.input);
        // SAFETY: between phases only the leader runs.
        let value = unsafe { self.memory.read(input, index, 1) }[0];
        let place = format!("sample {} (feature {})", self.indices[index / width], index % width);
        Err(self.non_finite("input", place, index % width, value))
    }

    pub(super) fn check_refused(&self, findings: &Findings) -> Result<()> {
        if !findings.refuses.load(Ordering::Relaxed) {
            return Ok(());
        }
        let refused = *findings.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(refused) = refused else { return Ok(()) };
        let (sample, element) = (self.indices[refused.index / refused.row], refused.index % refused.row);
        let layer = &self.graph.layers[refused.layer];
        let what = format!("layer {layer}, sample {sample}, element {element}");
        let expected = self.graph.functions[refused.function].function.function().expects();
        Err(Error::data("batch", what, expected, f64::from_bits(refused.value)))
    }

    /// The mean loss, if it and the outputs are finite; else the first place that is not.
    pub(super) fn mean_loss(&self, losses: BufferId, findings: &Findings) -> Result<T> {
        // SAFETY: between phases only the leader runs.
        let losses = unsafe { self.memory.read(losses, 0, self.plan.batch) };
        let mean = if self.divisor == losses.len() as f64 {
            reduce::mean(self.context, losses)?
        } else if self.divisor == 0.0 {
            // Every loss is 0, or NaN.
            reduce::sum(self.context, losses) * T::zero()
        } else {
            T::from_f64(reduce::sum(self.context, losses).to_f64() / self.divisor)
        };
        if mean.is_finite() && findings.output.load(Ordering::Relaxed) == NONE {
            return Ok(mean);
        }
        for output in &self.plan.outputs {
            // SAFETY: as above; the forward buffers live until after the loss.
            let values = unsafe { self.memory.read(output.buffer, 0, self.plan.batch * output.width) };
            if let Some(index) = reduce::first_non_finite(self.context, values) {
                let place = format!("layer {}", self.graph.layers[output.layer]);
                return Err(self.non_finite("output", place, index, values[index]));
            }
        }
        Err(match reduce::first_non_finite(self.context, losses) {
            Some(index) => {
                let place = format!("sample {}", self.indices[index]);
                self.non_finite("loss", place, index, losses[index])
            }
            // Each is finite, their sum is not.
            None => self.non_finite("mean loss", "the batch".to_owned(), 0, mean),
        })
    }

    /// What a run without an update hands out is finite: outputs where there is no loss that tells, gradients where
    /// no update does.
    pub(super) fn check_results(&self, touched: &Touched) -> Result<()> {
        let forward = self.phases.start == 0;
        if let (true, None, Some(output)) = (forward, self.plan.loss, self.plan.outputs.last()) {
            // SAFETY: between phases only the leader runs; the last output lives to the end.
            let values = unsafe { self.memory.read(output.buffer, 0, self.plan.batch * output.width) };
            if let Some(index) = reduce::first_non_finite(self.context, values) {
                let sample = self.indices[index / output.width];
                let place = format!("layer {} (sample {sample})", self.graph.layers[output.layer]);
                return Err(self.non_finite("output", place, index % output.width, values[index]));
            }
        }
        let Some(d_input) = self.plan.d_input.filter(|_| self.phases.end == self.plan.phases.len()) else {
            return Ok(());
        };
        self.check_all_gradients(touched)?;
        let width = self.graph.width(self.graph.input);
        // SAFETY: as above.
        let values = unsafe { self.memory.read(d_input, 0, self.plan.batch * width) };
        match reduce::first_non_finite(self.context, values) {
            None => Ok(()),
            Some(index) => {
                let place = format!("the input, sample {}", self.indices[index / width]);
                Err(self.non_finite("gradient", place, index % width, values[index]))
            }
        }
    }

    pub(super) fn check_all_gradients(&self, touched: &Touched) -> Result<()> {
        for parameter in self.graph.parameters.iter().filter(|parameter| !parameter.frozen) {
            let find = |start: usize, len: usize| {
                // SAFETY: between phases only the leader runs.
                let gradients = unsafe { self.memory.gradients(parameter.offset + start, len) };
                let index = reduce::first_non_finite(self.context, gradients)?;
                Some((start + index, gradients[index]))
            };
            let found = match parameter.sparse {
                None => find(0, parameter.len()),
                Some(sparse) => {
                    let rows = touched.rows(sparse).fresh().iter();
                    let found = rows.filter_map(|&row| find(row as usize * sparse.width, sparse.width));
                    found.min_by_key(|(index, _)| *index)
                }
            };
            if let Some((index, value)) = found {
                let place = format!("{} in layer {}", parameter.name, self.graph.layers[parameter.layer]);
                return Err(self.non_finite("gradient", place, index, value));
            }
        }
        Ok(())
    }

    /// What the gradients are multiplied by, so that their norm is at most the limit; 1 if there is none. The norm is
    /// summed by tiles of `UPDATE_ELEMENTS`, in their order, so its bits do not depend on the team.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if there is a norm and it is not finite: nothing is updated.
    pub(super) fn bounding_scale(&self, team: &Team<'_>, touched: &mut Touched) -> Result<f64> {
        let Clip::Norm(limit) = self.clip else { return Ok(1.0) };
        // What is zero is left out, which changes no bit.
        touched.arrange(self.graph);
        let touched = &*touched;
        let tiles = touched.tiles(self.graph);
        team.phase(tiles.len(), &|tile| {
            let sum = self.tile_squares(tiles[tile.index], 1.0, touched);
            self.squares[tile.index].store(sum.to_bits(), Ordering::Relaxed);
        });
        let sums =
            self.squares[..tiles.len()].iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed)));
        let sum = sums.fold(0.0, |total, sum| total + sum);
        let norm = match update::other_scale(sum) {
            None => sum.sqrt(),
            Some(scale) => {
                let sums = tiles.iter().map(|&tile| self.tile_squares(tile, scale, touched));
                sums.fold(0.0, |total, sum| total + sum).sqrt() / scale
            }
        };
        if !norm.is_finite() {
            self.check_all_gradients(touched)?;
            let (what, place) = ("gradient norm", "all parameters".to_owned());
            return Err(Error::NonFinite { what, place, step: self.step, index: 0, value: norm });
        }
        Ok(update::norm_scale(norm, limit))
    }

    fn tile_squares(&self, tile: u32, scale: f64, touched: &Touched) -> f64 {
        let mut sum = 0.0;
        for (start, end, _) in pieces(&self.graph.segments, tile) {
            let mut squares = Squares::new(scale);
            touched.parts(self.graph, start..end, |part| {
                // SAFETY: nobody writes gradients while they are summed, before the update.
                let gradients = unsafe { self.memory.gradients(part.start, part.len()) };
                squares.add(self.context, part.start - start, gradients);
            });
            sum += squares.sum();
        }
        sum
    }
}

impl<T: Element> Engine<T> {
    /// Marks the model and names the first gradient, else parameter, else state of the optimiser that is not finite.
    pub(super) fn poison(&mut self, step: u64) -> Error {
        let arrays = [("gradient", &self.gradients), ("parameter", &self.parameters)];
        let arrays = arrays.into_iter().chain(self.states.iter().map(|state| ("optimiser state", state)));
        // The update watches what these arrays hold alone.
        let mut found = ("parameter", "no layer".to_owned(), 0, f64::NAN);
        'search: for (what, array) in arrays {
            let is_stale = |parameter: &&Parameter| !(what == "gradient" && parameter.frozen);
            for parameter in self.graph.parameters.iter().filter(is_stale) {
                let values = array.get(parameter.range()).unwrap_or(&[]);
                if let Some(index) = reduce::first_non_finite(&self.context, values) {
                    let place = format!("{} in layer {}", parameter.name, self.graph.layers[parameter.layer]);
                    found = (what, place, index, values[index].to_f64());
                    break 'search;
                }
            }
        }
        let (what, place, index, value) = found;
        self.poisoned = Some((step, place.clone()));
        Error::NonFinite { what, place, step, index, value }
    }
}
