//! Losses, optimisers and clipping as names and values, and back.

use crate::engine::Loss;
use crate::error::{Error, Result};
use crate::nn::spec::Spec;
use crate::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd,
};

/// Both directions for all losses. A loss or a field that is missing here does not compile.
macro_rules! losses {
    ($($kind:literal, $name:ident { $($number:ident),* ; $($flag:ident),* })*) => {
        /// The description of a loss.
        pub(crate) fn loss_spec(loss: Loss) -> Spec {
            match loss {
                $(Loss::$name { $($number,)* $($flag,)* } => {
                    Spec::new($kind)$(.with(stringify!($number), $number))*$(.with(stringify!($flag), $flag))*
                })*
            }
        }

        /// A loss from its description.
        pub(crate) fn loss_of(spec: &Spec) -> Result<Loss> {
            match spec.kind.as_str() {
                $($kind => {
                    spec.has_only(&[$(stringify!($number),)* $(stringify!($flag),)*])?;
                    Ok(Loss::$name {
                        $($number: spec.number(stringify!($number))?,)*
                        $($flag: spec.flag(stringify!($flag))?,)*
                    })
                })*
                kind => Err(Error::argument("load", "loss", [$($kind),*].join(", "), kind)),
            }
        }
    };
}

losses! {
    "mean_squared_error", MeanSquaredError { ; }
    "mean_absolute_error", MeanAbsoluteError { ; }
    "huber", Huber { delta; }
    "smooth_l1", SmoothL1 { beta; }
    "log_cosh", LogCosh { ; }
    "poisson_nll", PoissonNll { eps; log_input, full }
    "gaussian_nll", GaussianNll { eps; full }
    "cross_entropy", CrossEntropy { ; }
    "smoothed_cross_entropy", SmoothedCrossEntropy { label_smoothing; }
    "negative_log_likelihood", NegativeLogLikelihood { ; }
    "kl_divergence", KlDivergence { ; log_target }
    "binary_cross_entropy", BinaryCrossEntropy { ; }
    "hinge", Hinge { margin; }
    "squared_hinge", SquaredHinge { margin; }
    "multi_margin", MultiMargin { margin; squared }
}

/// The description of how gradients are bounded.
pub(crate) fn clip_spec(clip: Clip) -> Spec {
    match clip {
        Clip::Off => Spec::new("off"),
        Clip::Value(limit) => Spec::new("value").with("limit", limit),
        Clip::Norm(limit) => Spec::new("norm").with("limit", limit),
    }
}

/// How gradients are bounded, from its description.
pub(crate) fn clip_of(spec: &Spec) -> Result<Clip> {
    let (clip, names): (_, &[&str]) = match spec.kind.as_str() {
        "off" => (Clip::Off, &[]),
        "value" => (Clip::Value(spec.number("limit")?), &["limit"]),
        "norm" => (Clip::Norm(spec.number("limit")?), &["limit"]),
        kind => return Err(Error::argument("load", "clip", "off, value or norm", kind)),
    };
    spec.has_only(names).map(|()| clip)
}

/// Both directions for all optimisers. A field that is missing here does not compile.
macro_rules! optimizers {
    ($($kind:literal, $name:ident { $($number:ident),* ; $($flag:ident),* })*) => {
        /// The description of an optimiser.
        pub(crate) fn optimizer_spec(optimizer: &Optimizer) -> Spec {
            match optimizer {
                $(Optimizer::$name(options) => {
                    let $name { $($number,)* $($flag,)* } = *options;
                    Spec::new($kind)$(.with(stringify!($number), $number))*$(.with(stringify!($flag), $flag))*
                })*
            }
        }

        /// An optimiser from its description.
        pub(crate) fn optimizer_of(spec: &Spec) -> Result<Optimizer> {
            match spec.kind.as_str() {
                $($kind => {
                    spec.has_only(&[$(stringify!($number),)* $(stringify!($flag),)*])?;
                    Ok($name {
                        $($number: spec.number(stringify!($number))?,)*
                        $($flag: spec.flag(stringify!($flag))?,)*
                    }.into())
                })*
                kind => Err(Error::argument("load", "optimiser", [$($kind),*].join(", "), kind)),
            }
        }
    };
}

optimizers! {
    "sgd", Sgd {
        learning_rate, momentum, dampening, weight_decay, l1; nesterov, decoupled_weight_decay, maximize
    }
    "adagrad", Adagrad {
        learning_rate, learning_rate_decay, initial_accumulator, epsilon, weight_decay, l1; maximize
    }
    "rmsprop", RmsProp { learning_rate, alpha, epsilon, momentum, weight_decay, l1; centered, maximize }
    "adadelta", Adadelta { learning_rate, rho, epsilon, weight_decay, l1; maximize }
    "adam", Adam { learning_rate, beta1, beta2, epsilon, weight_decay, l1; amsgrad, maximize }
    "adamw", AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, l1; amsgrad, maximize }
    "adamax", Adamax { learning_rate, beta1, beta2, epsilon, weight_decay, l1; maximize }
    "nadam", NAdam {
        learning_rate, beta1, beta2, epsilon, momentum_decay, weight_decay, l1; decoupled_weight_decay, maximize
    }
    "radam", RAdam { learning_rate, beta1, beta2, epsilon, weight_decay, l1; decoupled_weight_decay, maximize }
    "lion", Lion { learning_rate, beta1, beta2, weight_decay, l1; maximize }
}

#[cfg(test)]
mod tests {
    use super::{clip_of, clip_spec, loss_of, loss_spec, optimizer_of, optimizer_spec};
    use crate::engine::Loss;
    use crate::nn::spec::{OptionValue, Spec};
    use crate::optim::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd,
    };

    #[test]
    fn all_come_back_with_every_option() {
        let all: [Optimizer; 10] = [
            Sgd::default().into(),
            Adagrad::default().into(),
            RmsProp::default().into(),
            Adadelta::default().into(),
            Adam::default().into(),
            AdamW::default().into(),
            Adamax::default().into(),
            NAdam::default().into(),
            RAdam::default().into(),
            Lion::default().into(),
        ];
        for optimizer in all {
            let mut spec = optimizer_spec(&optimizer);
            assert_eq!(optimizer_of(&spec).unwrap(), optimizer);
            // Each option reaches its field.
            for (at, (_, value)) in spec.options.iter_mut().enumerate() {
                *value = match value {
                    OptionValue::Flag(flag) => OptionValue::Flag(!*flag),
                    _ => OptionValue::Number(0.5 + at as f64 / 64.0),
                };
            }
            let changed = optimizer_of(&spec).unwrap();
            assert_eq!(optimizer_spec(&changed), spec);
            assert!(optimizer_of(&spec.with("surprise", 1)).is_err());
        }
        assert!(optimizer_of(&Spec::new("magic")).unwrap_err().to_string().contains("got magic"));
        for loss in [
            Loss::MeanSquaredError,
            Loss::CrossEntropy,
            Loss::BinaryCrossEntropy,
            Loss::Huber { delta: 0.5 },
            Loss::PoissonNll { log_input: false, full: true, eps: 1e-3 },
            Loss::MultiMargin { margin: 2.0, squared: true },
        ] {
            assert_eq!(loss_of(&loss_spec(loss)).unwrap(), loss);
        }
        for clip in [Clip::Off, Clip::Value(0.5), Clip::Norm(1.0)] {
            assert_eq!(clip_of(&clip_spec(clip)).unwrap(), clip);
        }
    }
}
