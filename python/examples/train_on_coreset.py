"""Trains a PyTorch network on the coresets of a run, and prints how well each does.

    coresift run pipelines/digits.toml
    python python/examples/train_on_coreset.py          # needs torch

The data comes from the store, so it is what the proxy saw: the same order, the same wrong labels.
"""

import coresift
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def split(data: coresift.Artifact, which: str) -> TensorDataset:
    """The training or test samples of a data artifact, normalised by the mean and deviation it was stored with."""
    meta = data.meta
    mean, std = (np.array(meta[name], dtype=np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    pixels = (data.part("images")[which].astype(np.float32) / 255 - mean) / std
    return TensorDataset(torch.from_numpy(pixels), torch.from_numpy(data.part("labels")[which].copy()))


def accuracy(model: nn.Module, test: TensorDataset) -> float:
    x, y = test.tensors
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main() -> None:
    run = coresift.open().run("pipelines/digits.toml")
    for at, subset in run.cells("subset", keep=0.1, seed=0):
        data = run.one("noisy", seed=at["seed"])
        train, test = split(data, "train"), split(data, "test")
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        weights = torch.from_numpy(subset.weight_of(len(train)))
        loader = DataLoader(
            TensorDataset(*train.tensors, weights), batch_size=64, sampler=subset.sampler(seed=at["seed"])
        )
        for _ in range(100):
            for x, y, weight in loader:
                loss = (nn.functional.cross_entropy(model(x), y, reduction="none") * weight).mean()
                sgd.zero_grad()
                loss.backward()
                sgd.step()
        print(f"{at['selector']:10} {len(subset.indices):5} samples  accuracy {100 * accuracy(model, test):.2f} %")


if __name__ == "__main__":
    main()
