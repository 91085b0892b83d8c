"""The module against the program: what it reads from a store is what `coresift export` and `table` say.

    python -m unittest discover python/tests

needs the package installed, or PYTHONPATH=python and CORESIFT_PROGRAM.
"""

import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import coresift
import numpy as np

PIPELINE = """
title = "three selectors"

[stage.data]
use  = "load.synthetic"
with = { n = 600, test = 100, d = 8, classes = 4 }

[stage.proxy]
use  = "proxy-train"
from = { data = "data" }
with = { model = "mlp", width = 16, epochs = 3 }

[stage.hardness]
use  = "score.el2n"
from = { proxy = "proxy" }

[stage.subset]
use  = "select.top"
from = { scores = "hardness" }
with = { keep = 0.1 }

[stage.student]
use  = "train"
from = { data = "data", subset = "subset" }
with = { model = "mlp", width = 16, epochs = 2 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }

[matrix]
"subset.with.keep" = [0.1, 0.5]
seed               = [0, 1]

[matrix.selector]
top   = {}
craig = { subset = { use = "select.craig", from = { proxy = "proxy" } } }
full  = { subset = { use = "select.full", from = { data = "data" } } }
"""


class StoreTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.pipeline = cls.folder / "three.toml"
        cls.pipeline.write_text(PIPELINE)
        cls.root = cls.folder / "store"
        cls.events = list(coresift.run(cls.pipeline, store=cls.root, device="cpu", quiet=True))
        cls.store = coresift.open(cls.root)
        cls.made = cls.store.run(cls.pipeline)

    def program(self, *arguments):
        command = [coresift.program(), *arguments, "--store", self.root]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def test_events_and_run(self):
        self.assertEqual(self.made.summary["failed"], 0)
        self.assertEqual(sum(event.get("event") == "finished" for event in self.events), self.made.summary["computed"])
        self.assertEqual(self.made.axes, {"keep": [0.1, 0.5], "seed": [0, 1], "selector": ["top", "craig", "full"]})
        self.assertEqual(self.store.run().id, self.made.id)
        self.assertEqual(self.store.run(self.made.id[:-2]).id, self.made.id)

    def test_subsets_are_those_of_export(self):
        for selector in ("top", "craig"):
            to = self.folder / f"{selector}.txt"
            self.program(
                "export", self.pipeline, "subset", "--to", to,
                "--cell", f"selector={selector}", "--cell", "keep=0.1", "--cell", "seed=1",
            )
            subset = self.made.one("subset", keep=0.1, seed=1, selector=selector)
            self.assertEqual(subset.indices.tolist(), np.loadtxt(to, usecols=0, ndmin=1).astype(int).tolist())
        weights = self.made.one("subset", keep=0.1, seed=1, selector="craig").weights
        self.assertEqual(weights.shape, (60,))
        self.assertEqual(len({subset.key for _, subset in self.made.cells("subset", selector="full")}), 2)
        self.assertIsNone(self.made.one("subset", keep=0.5, seed=1, selector="top").weights)

    def test_scores_are_those_of_export(self):
        to = self.folder / "scores.npy"
        self.program("export", self.pipeline, "hardness", "--to", to, "--cell", "seed=0")
        scores = self.made.one("hardness", seed=0).scores
        np.testing.assert_array_equal(scores, np.load(to))
        self.assertFalse(scores.flags.writeable)

    def test_table_is_that_of_the_program(self):
        rows = self.made.table()
        self.assertEqual(len(rows), 12)
        theirs = json.loads(self.program("table", self.pipeline, "--json"))["rows"]
        for row in theirs:
            at = {name.rsplit(".", 1)[-1]: value for name, value in row["coords"].items()}
            ours = [r["accuracy"] for r in rows if r["selector"] == at["selector"] and str(r["keep"]) == at["keep"]]
            self.assertAlmostEqual(np.mean(ours), row["metrics"]["accuracy"]["mean"], places=12)
        self.assertEqual(len(self.made.table(keep=0.5, selector="full")), 2)

    def test_a_checkpoint_gives_the_accuracy_of_the_table(self):
        model = self.made.one("student", keep=0.5, seed=0, selector="top")
        data = self.made.one("data", seed=0)
        x = next(data.part(part) for part in data.parts if "test" in data.part(part) and part != "labels")["test"]
        meta, state = model.meta, model.state_dict
        x = (x.astype(np.float32).reshape(len(x), -1) - meta["mean"]) / meta["std"]
        layers = sorted(name for name in state if name.endswith("weight"))
        for name in layers:
            x = x @ state[name].T + state[name.replace("weight", "bias")]
            x = x if name == layers[-1] else np.maximum(x, 0)
        accuracy = (x.argmax(1) == data.part("labels")["test"]).mean()
        self.assertEqual(accuracy, self.made.one("result", keep=0.5, seed=0, selector="top").metrics["accuracy"])

    def test_a_sampler_yields_each_sample_once_an_epoch(self):
        subset = self.made.one("subset", keep=0.1, seed=1, selector="craig")
        sampler = subset.sampler(seed=3)
        first, second = list(sampler), list(sampler)
        self.assertEqual(sorted(first), subset.indices.tolist())
        self.assertNotEqual(first, second)
        sampler.set_epoch(0)
        self.assertEqual(list(sampler), first)
        shares = [list(subset.sampler(seed=3, rank=rank, world=7)) for rank in range(7)]
        self.assertEqual({len(share) for share in shares}, {9})
        self.assertEqual(set(sum(shares, [])), set(first))
        drawn = coresift.CoresetSampler([5, 9], [0.0, 2.0], draw="weights")
        self.assertEqual(list(drawn), [9, 9])

    def test_what_is_not_there_is_told_with_what_is(self):
        with self.assertRaisesRegex(coresift.NotThere, "no stage 'subsets'.*hardness"):
            self.made.cells("subsets")
        with self.assertRaisesRegex(coresift.NotThere, "no axis 'kept'.*keep"):
            self.made.cells("subset", kept=0.1)
        with self.assertRaisesRegex(coresift.NotThere, "no value 0.3.*0.1"):
            self.made.cells("subset", keep=0.3)
        with self.assertRaisesRegex(coresift.NotThere, "4 artifacts"):
            self.made.one("subset", selector="top")
        with self.assertRaisesRegex(coresift.NotThere, "no store"):
            coresift.open(self.folder / "nowhere")
        with self.assertRaisesRegex(coresift.ProgramError, "nothing.toml") as caught:
            list(coresift.run(self.folder / "nothing.toml", store=self.root, quiet=True))
        self.assertEqual(caught.exception.code, 2)

    def test_a_shortened_object_is_refused(self):
        copy = self.folder / "copy"
        shutil.copytree(self.root, copy)
        scores = coresift.open(copy).run().one("hardness", seed=0)
        path = scores.path("scores")
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-4])
        with self.assertRaisesRegex(coresift.DamagedStore, "cache verify"):
            scores.scores  # noqa: B018

    def test_a_store_of_another_format_is_refused(self):
        other = self.folder / "other"
        other.mkdir()
        (other / "format").write_text("coresift store 9\n")
        with self.assertRaisesRegex(coresift.UnknownFormat, "store 9"):
            coresift.open(other)


if __name__ == "__main__":
    unittest.main()
