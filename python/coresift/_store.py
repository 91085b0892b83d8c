"""The store of results, read from outside: runs, their cells, and the artifacts that stages made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ._sampler import CoresetSampler
from ._tensors import tensors

FORMAT = "coresift store 1"


class NotThere(KeyError):
    """There is no such store, run, stage, part or tensor. The message lists what there is."""

    def __str__(self) -> str:
        return self.args[0]


class UnknownFormat(ValueError):
    """The store was made by a newer or older coresift than this package reads."""


class DamagedStore(OSError):
    """A file of the store is missing, or is not what its record says. `coresift cache verify` finds them all."""


def open(store: str | os.PathLike[str] | None = None) -> Store:
    """Opens a store: the folder given, else CORESIFT_STORE, else `.coresift` where the program would look.

    Raises NotThere if there is none, and UnknownFormat if it is of a version that this package does not read.
    """
    return Store(Path(store or os.environ.get("CORESIFT_STORE") or _nearest(Path.cwd())))


def _nearest(folder: Path) -> Path:
    """Beside the nearest `coresift.toml` or repository root, else in the folder itself."""
    for above in (folder, *folder.parents):
        if (above / "coresift.toml").exists() or (above / ".git").exists():
            return above / ".coresift"
    return folder / ".coresift"


class Store:
    """A store. Nothing is read before it is asked for, and nothing is ever written."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)
        try:
            found = (self.root / "format").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise NotThere(f"{self.root} is no store: `coresift run` makes one; `store` names another") from None
        if found != FORMAT:
            raise UnknownFormat(f"{self.root} is a {found!r}, and this package reads {FORMAT!r}")

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def runs(self, pipeline: str | os.PathLike[str] | None = None) -> list[Run]:
        """The runs, oldest first; of one pipeline file, if it is given."""
        runs = [self._read_run(path) for path in sorted((self.root / "runs").glob("*.json"))]
        if pipeline is None:
            return runs
        wanted = os.path.abspath(pipeline)
        return [run for run in runs if os.path.abspath(run.pipeline) == wanted]

    def run(self, which: str | os.PathLike[str] | None = None) -> Run:
        """The newest run; or that of an id or the beginning of one, the newest of a name, or of a pipeline file."""
        runs = self.runs()
        if which is None:
            found = runs
        else:
            text, path = os.fspath(which), os.path.abspath(which)
            found = [run for run in runs if run.id == text]
            found = found or [run for run in runs if run.name == text]
            found = found or [run for run in runs if os.path.abspath(run.pipeline) == path]
            if not found:
                found = [run for run in runs if run.id.startswith(text)]
                if len(found) > 1:
                    raise NotThere(f"{len(found)} runs begin with {text!r}: {_list(run.id for run in found)}")
        if not found:
            what = "no run" if which is None else f"no run {os.fspath(which)!r}"
            raise NotThere(f"{self.root} has {what}; there are: {_list(run.id for run in runs)}")
        return found[-1]

    def artifact(self, key: str) -> Artifact:
        """What the computation of this key made."""
        path = self.root / "records" / key[:2] / f"{key[2:]}.json"
        try:
            record = json.loads(path.read_bytes())["record"]
        except FileNotFoundError:
            raise NotThere(f"{self.root} has no result of the key {key}: it was collected, or never made") from None
        except (ValueError, KeyError) as error:
            raise DamagedStore(f"{path} is not a record: {error}") from None
        return Artifact(self, key, record)

    def _read_run(self, path: Path) -> Run:
        try:
            return Run(self, json.loads(path.read_bytes()))
        except ValueError as error:
            raise DamagedStore(f"{path} is not the record of a run: {error}") from None

    def _object(self, digest: str, size: int) -> Path:
        path = self.root / "objects" / digest[:2] / digest[2:]
        try:
            there = path.stat().st_size
        except FileNotFoundError:
            raise DamagedStore(f"the object {digest} is not in {self.root}: run the pipeline again") from None
        if there != size:
            raise DamagedStore(f"{path} has {there} bytes, and its record says {size}: `coresift cache verify`")
        return path


@dataclass(frozen=True)
class _Node:
    """A computation of a run: its stage, key, state, and the value number of each axis it depends on."""

    stage: str
    key: str | None
    state: str
    place: dict[int, int]


@dataclass
class Run:
    """A run: the computations of a pipeline, cell by cell."""

    store: Store
    record: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def name(self) -> str | None:
        """The name that `coresift run --name` gave it."""
        return self.record.get("name")

    @property
    def pipeline(self) -> str:
        """The path of the pipeline file."""
        return self.record["pipeline"]

    @property
    def summary(self) -> dict[str, int] | None:
        """The counts of computations by outcome; None while it runs, or if it was killed."""
        return self.record["summary"]

    def __repr__(self) -> str:
        return f"Run({self.id!r}, {self.pipeline!r})"

    @cached_property
    def axes(self) -> dict[str, list[Any]]:
        """The axes of the matrix by their short names, as `coresift table` has them, and their values."""
        return {name: [_value(text) for text in values] for name, (_, values) in self._axes.items()}

    @cached_property
    def stages(self) -> list[str]:
        """The names of the stages."""
        return list(dict.fromkeys(node.stage for node in self._nodes))

    def cells(self, stage: str, **at: Any) -> list[tuple[dict[str, Any], Artifact]]:
        """What a stage made: the coordinates of each artifact on the axes it depends on, and the artifact.

        An artifact that several cells share comes once. `at` picks coordinates: `cells("subset", keep=0.1)`; of an
        axis that the stage does not depend on, any value is right.

        Raises NotThere for a stage or an axis that the run does not have. What failed or was not reached is left out.
        """
        wanted = self._wanted(at)
        found = []
        for node in self._of(stage):
            if node.key is None or node.state not in ("hit", "computed"):
                continue
            if all(node.place.get(axis, value) == value for axis, value in wanted.items()):
                found.append((self._coordinates(node.place), self.store.artifact(node.key)))
        return found

    def one(self, stage: str, **at: Any) -> Artifact:
        """The one artifact of a stage at these coordinates. Raises NotThere if there are none or several."""
        found = self.cells(stage, **at)
        if len(found) != 1:
            places = _list(str(place) for place, _ in found)
            raise NotThere(f"{len(found)} artifacts of {stage!r} are at {at}: {places}")
        return found[0][1]

    def table(self, stage: str | None = None, **at: Any) -> list[dict[str, Any]]:
        """One dict for each cell of the matrix: its coordinates, and the numbers among the metrics of `stage`.

        `stage` is the one that ends in metrics, if there is only one. A cell that has no result yet is left out.
        """
        stage = stage or self._evaluation()
        wanted = self._wanted(at)
        nodes = [node for node in self._of(stage) if node.key and node.state in ("hit", "computed")]
        rows: list[dict[str, Any]] = []
        kept: dict[str, dict[str, float]] = {}
        for cell in self._cells():
            if any(cell[axis] != value for axis, value in wanted.items()):
                continue
            for node in nodes:
                if all(cell[axis] == value for axis, value in node.place.items()):
                    if node.key not in kept:
                        kept[node.key] = self.store.artifact(node.key).numbers
                    rows.append({**self._coordinates(dict(enumerate(cell))), **kept[node.key]})
                    break
        return rows

    @cached_property
    def _axes(self) -> dict[str, tuple[int, list[str]]]:
        names = [name for name, _ in self.record["axes"]]
        ends = [name.rsplit(".", 1)[-1] for name in names]
        found = {}
        for at, (name, values) in enumerate(self.record["axes"]):
            short = ends[at] if ends.count(ends[at]) == 1 else name
            found[short] = (at, values)
        return found

    @cached_property
    def _nodes(self) -> list[_Node]:
        nodes = []
        for node in self.record["nodes"]:
            cell = node.get("c", [])
            axes = node.get("a", range(len(cell)))
            nodes.append(_Node(node["n"], node.get("k"), node["s"], {axis: cell[axis] for axis in axes}))
        return nodes

    def _of(self, stage: str) -> list[_Node]:
        nodes = [node for node in self._nodes if node.stage == stage]
        if not nodes:
            raise NotThere(f"run {self.id} has no stage {stage!r}; there are: {_list(self.stages)}")
        return nodes

    def _wanted(self, at: Mapping[str, Any]) -> dict[int, int]:
        """The value numbers asked for, by axis."""
        wanted = {}
        for name, value in at.items():
            if name not in self._axes:
                full = {long: short for short, (i, _) in self._axes.items() for long in [self.record["axes"][i][0]]}
                if name not in full:
                    raise NotThere(f"run {self.id} has no axis {name!r}; there are: {_list(self._axes)}")
                name = full[name]
            axis, texts = self._axes[name]
            matches = [i for i, text in enumerate(texts) if text == str(value) or _value(text) == value]
            if not matches:
                raise NotThere(f"the axis {name!r} has no value {value!r}; there are: {_list(texts)}")
            wanted[axis] = matches[0]
        return wanted

    def _coordinates(self, place: Mapping[int, int]) -> dict[str, Any]:
        return {name: _value(values[place[axis]]) for name, (axis, values) in self._axes.items() if axis in place}

    def _cells(self) -> Iterator[tuple[int, ...]]:
        listed = self.record.get("cells")
        if listed is not None:
            return (tuple(cell) for cell in listed)
        return product(*(range(len(values)) for _, values in self.record["axes"]))

    def _evaluation(self) -> str:
        kinds = {}
        for node in self._nodes:
            if node.stage not in kinds and node.key and node.state in ("hit", "computed"):
                kinds[node.stage] = self.store.artifact(node.key).kind
        found = [stage for stage, kind in kinds.items() if kind == "metrics"]
        if len(found) != 1:
            raise NotThere(f"run {self.id} has {len(found)} stages that end in metrics: {_list(found)}; name one")
        return found[0]


class Artifact:
    """What one computation made: data, a proxy, scores, a subset, a model or metrics."""

    def __init__(self, store: Store, key: str, record: dict[str, Any]):
        self.store = store
        self.key = key
        self.record = record

    def __repr__(self) -> str:
        return f"Artifact({self.kind}, {self.method}, parts {self.parts})"

    @property
    def kind(self) -> str:
        """data, proxy, scores, subset, model or metrics."""
        return self.record["output"]["kind"]

    @property
    def method(self) -> str:
        """The method that made it, such as `select.herding`."""
        return self.record["recipe"]["method"]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings it was made with, defaults filled in."""
        return self.record["recipe"]["settings"]

    @property
    def seed(self) -> int | None:
        """The seed, if the method draws random numbers."""
        return self.record["recipe"].get("seed")

    @property
    def parts(self) -> list[str]:
        """The names of the files it consists of."""
        return list(self.record["output"]["parts"])

    def path(self, part: str) -> Path:
        """The file of a part: safetensors or JSON. It is read-only and named by its content."""
        try:
            about = self.record["output"]["parts"][part]
        except KeyError:
            raise NotThere(f"a {self.kind} of {self.method} has no {part!r}; there are: {_list(self.parts)}") from None
        return self.store._object(about["digest"], about["size"])

    def part(self, name: str) -> Any:
        """A part: a dict of read-only, memory-mapped arrays, or what its JSON says."""
        path = self.path(name)
        with path.open("rb") as file:
            first = file.read(8)
        # safetensors begin with the size of their header, in eight bytes; JSON has no zero bytes.
        return tensors(path) if b"\0" in first else json.loads(path.read_bytes())

    @property
    def meta(self) -> dict[str, Any]:
        """What a file beside the tensors says: names of classes, counts, the architecture."""
        return self.part("meta")

    @property
    def indices(self) -> np.ndarray:
        """The samples of a subset: int64 (k,), positions in the training set, ascending."""
        return self.part("subset")["indices"]

    @property
    def weights(self) -> np.ndarray | None:
        """How much each sample of a subset counts: float32 (k,), aligned to `indices`; None if all count the same."""
        return self.part("subset").get("weights")

    def weight_of(self, n: int | None = None) -> np.ndarray:
        """The weight of each of the n training samples: float32 (n,), 0 for what is not in the subset."""
        n = self.meta["n"] if n is None else n
        weights = np.zeros(n, dtype=np.float32)
        weights[self.indices] = 1 if self.weights is None else self.weights
        return weights

    def sampler(self, **settings: Any) -> CoresetSampler:
        """The subset as the sampler of a PyTorch DataLoader: see CoresetSampler."""
        return CoresetSampler(self.indices, self.weights, **settings)

    @property
    def scores(self) -> np.ndarray:
        """The score of each training sample: (n,), float32 or float64."""
        return self.part("scores")["scores"]

    @property
    def labels(self) -> np.ndarray:
        """The classes of the training samples, as the stage saw them: int64 (n,)."""
        return self.part("labels")["train"]

    @property
    def state_dict(self) -> dict[str, np.ndarray]:
        """The tensors of a model or proxy under PyTorch's names: `torch.from_numpy(array.copy())` loads them."""
        return dict(self.part("weights"))

    @property
    def metrics(self) -> dict[str, Any]:
        """All that an evaluation measured: numbers, and lists such as the confusion matrix."""
        return self.part("metrics")

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers among the metrics, by name."""
        return {
            name: value
            for name, value in self.metrics.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }


def _value(text: str) -> Any:
    """A value of an axis as Python has it: a number where it is one, else the text."""
    if text in ("true", "false"):
        return text == "true"
    if not re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", text):
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _list(names: Any) -> str:
    names = list(names)
    shown = ", ".join(names[:20]) or "none"
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
