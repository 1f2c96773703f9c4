"""Writes schedules.csv: the rates of PyTorch's schedulers before each of the first 121 steps, the golden values of
tests/schedules.rs; with Keras' inverse time decay and its polynomial one with an end and cycles.

    python tests/golden/schedules.py > tests/golden/schedules.csv                              with PyTorch
    KERAS_BACKEND=tensorflow python tests/golden/schedules.py >> tests/golden/schedules.csv   with Keras

Each line: name, then the rates; the momentums of those that set it stand in a line of their own. A schedule on a plateau
sees the figures of `figure` below, which the test repeats, one after each step.

PyTorch's recurrences drift: where it has a closed form too, that is what is written.
"""

import math
import sys
import warnings

STEPS = 121
warnings.filterwarnings("ignore")


def figure(step):
    """Falls, rests, falls, rests; multiples of 2^-10."""
    wave = (step * 37 % 11) / 1024
    return {0: 1.0 - step / 64, 1: 0.5 + wave, 2: 0.5 - (step - 60) / 256, 3: 0.375 + wave}[min(step // 30, 3)]


def write(name, values):
    print(name + "," + ",".join(repr(float(value)) for value in values))


def pytorch():
    import torch
    from torch.optim import SGD, Adam
    from torch.optim import lr_scheduler as s

    print(f"# torch {torch.__version__}")

    def run(name, make, base=0.1, optimizer=None, momentum=False, figures=None):
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = (optimizer or (lambda p: SGD(p, lr=base, momentum=0.5)))([parameter])
        scheduler = make(optimizer)
        group = optimizer.param_groups[0]
        # Without it the learning rate is a recurrence.
        closed = getattr(scheduler, "_get_closed_form_lr", None)
        rates, momentums = [], []
        for step in range(STEPS):
            rates.append(closed()[0] if closed else group["lr"])
            assert math.isclose(rates[-1], group["lr"], rel_tol=1e-9, abs_tol=1e-15), (name, step)
            momentums.append(group["betas"][0] if "betas" in group else group["momentum"])
            optimizer.step()
            if step < STEPS - 1:
                scheduler.step(*([figures(step)] if figures else []))
        write(name, rates)
        if momentum:
            write(name + "/momentum", momentums)

    run("constant", lambda o: s.ConstantLR(o))
    run("constant_all", lambda o: s.ConstantLR(o, factor=0.25, total_iters=50))
    run("linear", lambda o: s.LinearLR(o))
    run("linear_all", lambda o: s.LinearLR(o, start_factor=0.9, end_factor=0.2, total_iters=100))
    run("step", lambda o: s.StepLR(o, 30))
    run("step_all", lambda o: s.StepLR(o, 7, gamma=0.8))
    run("multi_step", lambda o: s.MultiStepLR(o, [30, 80]))
    run("multi_step_all", lambda o: s.MultiStepLR(o, [10, 40, 40, 70, 119], gamma=0.5))
    run("exponential", lambda o: s.ExponentialLR(o, 0.95))
    run("exponential_all", lambda o: s.ExponentialLR(o, 1.01), base=3e-4)
    run("polynomial", lambda o: s.PolynomialLR(o))
    run("polynomial_all", lambda o: s.PolynomialLR(o, total_iters=100, power=0.9))
    run("polynomial_square", lambda o: s.PolynomialLR(o, total_iters=110, power=2.0))
    run("cosine", lambda o: s.CosineAnnealingLR(o, 120))
    run("cosine_all", lambda o: s.CosineAnnealingLR(o, 50, eta_min=0.003))
    run("restarts", lambda o: s.CosineAnnealingWarmRestarts(o, 10))
    run("restarts_all", lambda o: s.CosineAnnealingWarmRestarts(o, 7, T_mult=2, eta_min=1e-4))
    run("restarts_three", lambda o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=3, eta_min=0.01))
    run("lambda", lambda o: s.LambdaLR(o, lambda t: 1.0 / (1 + t)))
    run("one_cycle", lambda o: s.OneCycleLR(o, 0.1, total_steps=121), momentum=True)
    run("one_cycle_linear", lambda o: s.OneCycleLR(o, 0.4, total_steps=121, anneal_strategy="linear"), momentum=True)
    run("one_cycle_three", lambda o: s.OneCycleLR(o, 1.0, total_steps=121, three_phase=True), momentum=True)
    adam = lambda p: Adam(p, lr=0.5)
    run(
        "one_cycle_all",
        lambda o: s.OneCycleLR(
            o,
            0.01,
            epochs=11,
            steps_per_epoch=11,
            pct_start=0.45,
            anneal_strategy="linear",
            base_momentum=0.8,
            max_momentum=0.9,
            div_factor=10,
            final_div_factor=100,
            three_phase=True,
        ),
        optimizer=adam,
        momentum=True,
    )
    run("one_cycle_down", lambda o: s.OneCycleLR(o, 0.1, total_steps=121, pct_start=0.0, cycle_momentum=False))
    run("cyclic", lambda o: s.CyclicLR(o, 0.001, 0.1), momentum=True)
    run("cyclic_short", lambda o: s.CyclicLR(o, 0.001, 0.1, step_size_up=13), momentum=True)
    run(
        "cyclic_triangular2",
        lambda o: s.CyclicLR(o, 0.01, 0.2, step_size_up=8, step_size_down=15, mode="triangular2"),
        optimizer=adam,
        momentum=True,
    )
    run(
        "cyclic_exp_range",
        lambda o: s.CyclicLR(
            o,
            0.02,
            0.3,
            step_size_up=10,
            step_size_down=6,
            mode="exp_range",
            gamma=0.99,
            base_momentum=0.7,
            max_momentum=0.95,
        ),
        momentum=True,
    )
    run("cyclic_alone", lambda o: s.CyclicLR(o, 0.0, 0.1, step_size_up=20, cycle_momentum=False))
    run(
        "sequential",
        lambda o: s.SequentialLR(
            o,
            [
                s.LinearLR(o, start_factor=0.1, total_iters=20),
                s.CosineAnnealingLR(o, 60, eta_min=0.001),
                s.StepLR(o, 10, gamma=0.5),
            ],
            [20, 80],
        ),
    )
    run(
        "sequential_constant",
        lambda o: s.SequentialLR(o, [s.ConstantLR(o, factor=0.1, total_iters=25), s.ExponentialLR(o, 0.9)], [25]),
    )
    for inner, make in {
        "step": lambda o: s.StepLR(o, 30),
        "multi_step": lambda o: s.MultiStepLR(o, [30, 80]),
        "exponential": lambda o: s.ExponentialLR(o, 0.95),
        "polynomial": lambda o: s.PolynomialLR(o, total_iters=90),
        "cosine": lambda o: s.CosineAnnealingLR(o, 110),
        "restarts": lambda o: s.CosineAnnealingWarmRestarts(o, 10, T_mult=2),
    }.items():
        run(
            f"warmup_{inner}",
            lambda o: s.SequentialLR(o, [s.LinearLR(o, start_factor=0.01, total_iters=11), make(o)], [11]),
        )
    plateau = s.ReduceLROnPlateau
    run("plateau", lambda o: plateau(o), figures=figure)
    run("plateau_short", lambda o: plateau(o, patience=3, factor=0.5), figures=figure)
    run("plateau_cooldown", lambda o: plateau(o, patience=2, cooldown=5, factor=0.3), figures=figure)
    run("plateau_floor", lambda o: plateau(o, patience=1, factor=0.5, min_lr=0.003), figures=figure)
    run("plateau_eps", lambda o: plateau(o, patience=1, factor=0.5, eps=0.01), figures=figure)
    run(
        "plateau_abs",
        lambda o: plateau(o, patience=2, threshold=0.02, threshold_mode="abs", factor=0.7),
        figures=figure,
    )
    run("plateau_max", lambda o: plateau(o, mode="max", patience=4, factor=0.8), figures=lambda t: 1 - figure(t))
    run(
        "plateau_max_abs",
        lambda o: plateau(o, mode="max", patience=2, threshold=0.01, threshold_mode="abs", factor=0.8),
        figures=lambda t: 1 - figure(t),
    )
    nan = lambda t: math.nan if t % 9 == 0 else figure(t)
    run("plateau_nan", lambda o: plateau(o, patience=2, factor=0.9), figures=nan)


def keras():
    import keras
    import tensorflow

    # Keras computes in the type of the first rate, but rounds the others to float32 before: that holds all of these.
    rate = tensorflow.constant(0.125, tensorflow.float64)
    print(f"# keras {keras.__version__}")
    s = keras.optimizers.schedules

    def run(name, schedule):
        write(name, [float(schedule(step)) for step in range(STEPS)])

    run("inverse_time", s.InverseTimeDecay(rate, decay_steps=1, decay_rate=0.5))
    run("inverse_time_slow", s.InverseTimeDecay(rate, decay_steps=20, decay_rate=0.75))
    run("inverse_time_staircase", s.InverseTimeDecay(rate, decay_steps=9, decay_rate=0.375, staircase=True))
    run("keras_polynomial", s.PolynomialDecay(rate, decay_steps=100, end_learning_rate=2**-13, power=1.0))
    run("keras_polynomial_cycle", s.PolynomialDecay(rate, 30, end_learning_rate=2**-7, power=0.5, cycle=True))
    run("keras_polynomial_power", s.PolynomialDecay(rate, 80, end_learning_rate=2**-9, power=2.0))


if __name__ == "__main__":
    try:
        pytorch()
    except ModuleNotFoundError:
        keras()
    sys.stdout.flush()
