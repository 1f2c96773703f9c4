"""Golden values of dense layers and activations: the harness itself, tried on what is known.

    python tests/golden/layers_dense.py > tests/golden/layers_dense.txt
"""

import layers

golden = layers.Golden(seed=1)
for number in range(10):
    draw = golden.random
    widths = [draw.choice([1, 2, 5, 16, 33]) for _ in range(draw.randint(2, 4))]
    pairs = []
    for inputs, outputs in zip(widths, widths[1:]):
        pairs += [layers.linear(inputs, outputs, draw.random() < 0.7), layers.activation(draw.choice(["relu", "tanh", "gelu", "silu"]))]
    name = f"{number}: {'-'.join(map(str, widths))}"
    golden.case(name, widths[:1], draw.choice([1, 3, 20]), pairs, x=draw.choice(["signed:1", "signed:2", "steps:4", "positive:1"]))
# Work for three threads.
golden.case("large", [200], 48, [layers.linear(200, 65), layers.activation("tanh"), layers.linear(65, 30)])
golden.end()
