"""A linear classifier: a row of weights for each digit in model.npy, its bias last; loss.csv says how it learned."""

from pathlib import Path

import numpy as np
import yaml
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

params = yaml.safe_load(Path("params.yaml").read_text())["train"]
table = np.load("features/train.npy")
features, labels = table[:, :-1], table[:, -1].astype(int)
model = SGDClassifier(
    loss="log_loss", learning_rate="constant", eta0=params["rate"], random_state=params["seed"], shuffle=False
)

with Path("loss.csv").open("w") as file:
    file.write("epoch,loss\n")
    for epoch in range(params["epochs"]):
        model.partial_fit(features, labels, classes=range(10))
        loss = log_loss(labels, model.predict_proba(features))
        file.write(f"{epoch},{loss:.6f}\n")
print(f"loss after {params['epochs']} epochs: {loss:.4f}")
np.save("model.npy", np.column_stack([model.coef_, model.intercept_]))
