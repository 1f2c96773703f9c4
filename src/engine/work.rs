//! How much work a task is, and how many threads that is worth.

use super::Task;
use super::graph::{Graph, Op};
use crate::context::Context;
use crate::parallel;

/// Multiply-adds of a step that a thread should have at least: below, meeting costs more than it saves.
const WORK_PER_THREAD: f64 = 2.5e5;

/// The most threads that `task` on `batch` samples may use and is worth. An update has `touched` numbers of sparse gradients.
pub(crate) fn width(context: &Context, graph: &Graph, batch: usize, task: Task, touched: usize) -> usize {
    let rows = if task == Task::Apply { 8.0 * touched as f64 } else { 0.0 };
    let threads = threads_worth(count_work(graph, batch, task) + rows);
    if threads == 1 { 1 } else { parallel::limit(context.parallelism()).min(threads) }
}

/// Multiply-adds of the products, and about as much for the rest. Asked before every step, so it makes nothing.
pub(crate) fn count_work(graph: &Graph, batch: usize, task: Task) -> f64 {
    if task == Task::Apply {
        return 8.0 * graph.dense_len() as f64;
    }
    let mut work = 0.0;
    for (index, node) in graph.nodes.iter().enumerate() {
        let (inputs, outputs) = (graph.width(node.input()) as f64, graph.width(node.output) as f64);
        work += batch as f64
            * match (node.op, task.is_training()) {
                (Op::Dense { positions, .. }, training) => {
                    let first = index == 0 && !task.wants_d_input();
                    let times = if !training {
                        1.0
                    } else if first {
                        2.0
                    } else {
                        3.0
                    };
                    times * inputs * outputs / positions as f64
                }
                (Op::Function(function), training) => {
                    let work = graph.functions[function].function.function().work().max(8.0 * outputs);
                    if training { 3.0 * work } else { work }
                }
                (Op::Activation(_) | Op::Softmax { .. } | Op::Noise { .. } | Op::Custom { .. }, _) => {
                    8.0 * outputs
                }
            };
    }
    work
}

pub(crate) fn threads_worth(work: f64) -> usize {
    if work < 2.0 * WORK_PER_THREAD { 1 } else { (work / WORK_PER_THREAD) as usize }
}
