"""Features of each image, from 0 to 1, in features/train.npy and features/test.npy; the last column is the label."""

from pathlib import Path

import numpy as np
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())["features"]

Path("features").mkdir()
for name in ("train", "test"):
    table = np.loadtxt(f"data/{name}.csv", delimiter=",")
    images = table[:, 1:].reshape(-1, 8, 8) / 16
    columns = [images.reshape(-1, 64)]
    if params["profiles"]:
        columns += [images.mean(axis=1), images.mean(axis=2)]
    np.save(f"features/{name}.npy", np.column_stack([*columns, table[:, 0]]))
    print(f"{name}: {sum(part.shape[1] for part in columns)} features")
