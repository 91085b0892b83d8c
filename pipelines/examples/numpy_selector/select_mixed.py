"""Keeps samples of every class evenly spread from easy to hard, the very hardest left out."""

import json

import numpy as np
from safetensors.numpy import load_file

request = json.load(open("request.json"))
parts = request["inputs"]["scores"]["parts"]
scores = load_file(parts["scores"])["scores"]
labels = load_file(parts["labels"])["train"]
skip = request["settings"]["skip"]

# Each class gets its share of the budget; what rounding leaves goes to the first classes.
sizes = np.bincount(labels, minlength=request["classes"])
shares = request["budget"] * sizes / sizes.sum()
budgets = np.floor(shares).astype(int)
left = request["budget"] - budgets.sum()
budgets[np.argsort(budgets - shares, kind="stable")[:left]] += 1

kept = []
for label, budget in enumerate(budgets):
    members = np.flatnonzero(labels == label)
    order = members[np.argsort(scores[members], kind="stable")]
    order = order[: max(budget, round(len(order) * (1 - skip)))]
    places = np.linspace(0, len(order) - 1, budget).round().astype(int)
    kept.append(order[places])
    print(f"progress {label + 1}/{len(budgets)}")

np.save("out/indices.npy", np.concatenate(kept))
