"""The digits that scikit-learn carries, as data/train.csv and data/test.csv: a label, then 64 pixels."""

from pathlib import Path

import numpy as np
import yaml
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

params = yaml.safe_load(Path("params.yaml").read_text())["split"]
digits = load_digits()
rows = np.column_stack([digits.target, digits.data]).astype(int)
parts = train_test_split(rows, test_size=params["test"], random_state=params["seed"], stratify=digits.target)

Path("data").mkdir()
for name, part in zip(("train", "test"), parts, strict=True):
    np.savetxt(f"data/{name}.csv", part, fmt="%d", delimiter=",")
    print(f"{name}: {len(part):,} images")
