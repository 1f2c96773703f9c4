//! Dense layers and activations against PyTorch, as `tests/golden/layers_dense.txt` has it; and the harness that all layers share.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::nn::{OptionValue, Spec};

const CASES: &str = include_str!("golden/layers_dense.txt");

#[test]
fn dense_layers_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 11);
    // Compared at all.
    assert!(report.f32 > 1e-9, "{report:?}");
}

#[test]
fn gradients_are_those_of_differences() {
    let smooth = |case: &layers::Case| !case.has("relu") && case.parameter_count() < 1000;
    assert!(layers::check_differences(CASES, smooth) >= 3);
}

#[test]
fn descriptions_are_read() {
    let found = layers::spec(
        "a(n=-3, x=0.5, f=true, t=\"b, c\", l=[1, 2.5], e=[], s=b(m=1), z=c(), y=[c(), d(n=1)])",
    )
    .unwrap();
    let wanted = Spec::new("a").with("n", -3).with("x", 0.5).with("f", true).with("t", "b, c");
    let wanted =
        wanted.with("l", vec![1.0, 2.5]).with("e", Vec::<f64>::new()).with("s", Spec::new("b").with("m", 1));
    let wanted =
        wanted.with("z", Spec::new("c")).with("y", vec![Spec::new("c"), Spec::new("d").with("n", 1)]);
    assert_eq!(found, wanted);
    assert_eq!(found.get("n"), Some(&OptionValue::Integer(-3)));
    for wrong in ["a(", "a(n=1", "a(n=1))", "a(n=1 m=2)", "a(n=)", "[1]", "a(l=[1; 2])", "a(l=[c(), 1])"] {
        assert!(layers::spec(wrong).is_none(), "{wrong}");
    }
}

/// What is said of the first case after a change of its records.
fn failure(from: &str, to: &str) -> String {
    let first = CASES[..CASES.find("case 1").unwrap()].replacen(from, to, 1) + "end 1";
    let error = std::panic::catch_unwind(|| layers::check(&first)).expect_err(from);
    error.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_difference_is_found() {
    let sum = failure(" -0.0866705532377", " -0.0866705542377");
    assert!(sum.contains("0: 33-1: output: f64") && !sum.contains("f32"), "{sum}");
    let sample = failure(" -0.171807874623", " -0.171807874723");
    assert!(sample.contains("0: 33-1: predicted: f64"), "{sample}");
    let count = failure("d:0.bias 1 ", "d:0.bias 2 0 ");
    assert!(count.contains("d:0.bias: f64"), "{count}");
    let name = failure("parameter 0.weight", "parameter 0.kernel");
    assert!(name.contains("0.kernel") && name.contains("0.weight"), "{name}");
    let line = failure("layer silu()", "layer silu");
    assert!(line.contains("line 6: not a record"), "{line}");
    let end = failure("\ncase 0", "\n# case 0");
    assert!(end.contains("not a record"), "{end}");
}
