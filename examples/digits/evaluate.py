"""How good the model is on the test images: metrics.json, and each answer in confusion.csv."""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

table, model = np.load("features/test.npy"), np.load("model.npy")
features, labels = table[:, :-1], table[:, -1].astype(int)
predicted = np.argmax(features @ model[:, :-1].T + model[:, -1], axis=1)

metrics = {
    "accuracy": round(accuracy_score(labels, predicted), 4),
    "f1": {"macro": round(f1_score(labels, predicted, average="macro"), 4)},
}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
with Path("confusion.csv").open("w") as file:
    file.write("actual,predicted\n")
    file.writelines(f"{a},{p}\n" for a, p in zip(labels, predicted, strict=True))
print(f"accuracy {metrics['accuracy']}")
