"""A score and a selector over a proxy's embeddings, in PyTorch."""

import json
import sys

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F


def score(x, y, classes, settings):
    """How little a network that did not see a sample believes its label: cross-fitted loss."""
    folds = torch.randperm(len(x)) % settings["folds"]
    losses = torch.empty(len(x))
    for fold in range(settings["folds"]):
        seen, held = folds != fold, folds == fold
        model = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, classes)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
        for _ in range(settings["epochs"]):
            optimizer.zero_grad()
            F.cross_entropy(model(x[seen]), y[seen]).backward()
            optimizer.step()
        with torch.no_grad():
            losses[held] = F.cross_entropy(model(x[held]), y[held], reduction="none")
        print(f"progress {fold + 1}/{settings['folds']} loss={losses[held].mean():.4f}")
    return {"scores": losses}


def select(x, budget, settings):
    """k-means with k = budget; each centre's nearest sample, weighted by its cluster's size."""
    first = torch.randint(len(x), (1,))
    centres, nearest = x[first], torch.cdist(x, x[first]).squeeze(1)
    for _ in range(budget - 1):  # k-means++
        one = torch.multinomial(nearest.square(), 1)
        centres = torch.cat([centres, x[one]])
        nearest = torch.minimum(nearest, torch.cdist(x, x[one]).squeeze(1))
    for step in range(settings["rounds"]):
        cluster = torch.cdist(x, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add(0, cluster, x)
        sizes = torch.bincount(cluster, minlength=budget)
        centres = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp(min=1), centres)
        print(f"progress {step + 1}/{settings['rounds']}")
    distances = torch.cdist(x, centres)
    sizes = torch.bincount(distances.argmin(1), minlength=budget)
    indices = []
    for centre in range(budget):  # a sample stands for one centre only
        one = distances[:, centre].argmin()
        distances[one] = torch.inf
        indices.append(int(one))
    return {"indices": torch.tensor(indices), "weights": sizes.clamp(min=1).float()}


request = json.load(open("request.json"))
torch.manual_seed(request["seed"])
torch.set_num_threads(request["threads"])
parts = request["inputs"]["proxy"]["parts"]
embeddings = F.normalize(load_file(parts["outputs"])["embeddings"])
if sys.argv[1] == "score":
    labels = load_file(parts["labels"])["train"]
    answer = score(embeddings, labels, request["classes"], request["settings"])
    save_file(answer, "out/scores.safetensors")
else:
    answer = select(embeddings, request["budget"], request["settings"])
    save_file(answer, "out/indices.safetensors")
