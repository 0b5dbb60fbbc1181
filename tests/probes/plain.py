"""Load saved networks with plain Keras, without echobench, and run each on given tokens.

For a model NAME.keras, NAME.tokens.npy and NAME.output.npy lie in the current folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(*models: str) -> None:
    import keras

    for model in map(Path, models):
        network = keras.saving.load_model(model)  # safe mode, the default
        tokens = np.load(f"{model.stem}.tokens.npy")  # [batches, batch, n_in]
        x = np.eye(100, dtype="float32")[tokens]
        inputs = network.inputs
        states = [np.zeros((x.shape[1], i.shape[-1]), "float32") for i in inputs[1:]]
        answers = []
        for batch in x:
            outputs = network.predict_on_batch([batch, *states] if states else batch)
            y, *states = outputs if states else [outputs]
            answers.append(np.asarray(y))
        np.save(f"{model.stem}.output.npy", np.stack(answers))
    assert not any(name.startswith("echobench") for name in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
