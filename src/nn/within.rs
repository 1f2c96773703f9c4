//! Layers made of layers.

use super::layer::Layer;
use crate::engine::{Builder, Value};
use crate::error::Result;

/// Lowers a layer that is part of the one that is being lowered: `segment` goes before its parameters' names.
pub(super) fn within(builder: &mut Builder, segment: &str, layer: &dyn Layer, input: Value) -> Result<Value> {
    let previous = builder.previous().to_owned();
    let outer = builder.enter(segment, &layer.describe(), &previous);
    let output = layer.lower(builder, input)?;
    builder.puts_out(output);
    builder.leave(outer);
    Ok(output)
}
