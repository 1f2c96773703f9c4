"""Writes callbacks.csv: what Keras' EarlyStopping does on given figures, and averages by PyTorch's AveragedModel: the golden
values of tests/callbacks.rs.

    python tests/golden/callbacks.py > tests/golden/callbacks.csv                             with PyTorch
    KERAS_BACKEND=numpy python tests/golden/callbacks.py >> tests/golden/callbacks.csv        with Keras

    stopping,NAME,epoch it stopped after or 0,best epoch,epoch whose weights the model has,wait after each epoch ...
    average,NAME,numbers after 50 updates ...

All epochs count from 1. `figure` and `weight` are repeated by the test; multiples of 2^-10, exact in f32.
"""


def figure(kind, epoch):
    """The figure of an epoch, from 1."""
    wave = (epoch * 37 % 11) / 1024
    return {
        "falls": 1.0 - epoch / 64 + wave,
        "turns": abs(epoch - 12.25) / 16 + wave,
        "rests": (1.0 if epoch < 6 else 0.25) + wave,
        "rises": epoch / 32 + wave,
    }[kind]


def weight(step, element):
    return ((step * 7919 + element * 104729) % 2048) / 1024 - 1.0


def stopping():
    import keras

    class Model:
        stop_training = False

        def get_weights(self):
            return self.weights

        def set_weights(self, weights):
            self.weights = weights

    for kind in ["falls", "turns", "rests", "rises"]:
        for name, options in {
            "default": {},
            "patience": {"patience": 3},
            "restore": {"patience": 4, "restore_best_weights": True},
            "delta": {"patience": 2, "min_delta": 0.03},
            "baseline": {"patience": 5, "baseline": 0.4, "restore_best_weights": True},
            "unreached": {"patience": 4, "baseline": -5.0, "restore_best_weights": True},
            "late": {"patience": 2, "start_from_epoch": 8, "restore_best_weights": True},
            "max": {"patience": 3, "mode": "max", "restore_best_weights": True},
            "max_delta": {"patience": 2, "mode": "max", "min_delta": 0.02},
        }.items():
            callback = keras.callbacks.EarlyStopping(**{"monitor": "val_loss", "mode": "min", **options})
            model = Model()
            callback.set_model(model)
            callback.on_train_begin()
            waits, stopped = [], 0
            for epoch in range(25):
                model.weights = epoch + 1
                callback.on_epoch_end(epoch, {"val_loss": figure(kind, epoch + 1)})
                waits.append(callback.wait)
                if model.stop_training:
                    stopped = epoch + 1
                    break
            callback.on_train_end()
            best = callback.best_epoch + 1
            print(",".join(map(str, ["stopping", f"{kind}_{name}", stopped, best, model.weights, *waits])))


def average():
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    for kind, real in {"f32": torch.float32, "f64": torch.float64}.items():
        for decay in [0.999, 0.9, 0.5, 0.25, 0.0]:
            module = torch.nn.Module()
            module.p = torch.nn.Parameter(torch.zeros(21, dtype=real))
            averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
            for step in range(1, 51):
                module.p.data = torch.tensor([weight(step, i) for i in range(21)], dtype=real)
                averaged.update_parameters(module)
            print(",".join(["average", f"{kind}_{decay}", *(repr(float(x)) for x in averaged.module.p.detach())]))


if __name__ == "__main__":
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        import keras

        print(f"# keras {keras.__version__}")
        stopping()
    else:
        print(f"# torch {torch.__version__}")
        average()
