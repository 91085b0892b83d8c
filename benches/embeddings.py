#!/usr/bin/env python3
"""What each selector costs on n embeddings without labels, and what FAISS, scikit-learn and apricot take for the same.

usage: benches/embeddings.py [--n 100000] [--d 512] [--folder DIR] [--only NAME ...] [--budget 1000] [--limit 600]

Makes clustered embeddings (heaps of 500 along 16 directions each, one sample in a hundred a near copy) once in --folder, loads
them once, and runs each stage alone, on the CPU: wall seconds, CPU seconds, peak MiB of the process. A stage with a peer
has it beside it, run in a process of its own right after; needs faiss-cpu, scikit-learn and apricot-select where
they are asked for. CORESIFT is the program (target/release/coresift).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

# By name: the stages it needs beside `data`, as TOML, the one that is timed, and a peer's program over x and k.
GRAPH = """
[stage.graph]
use  = "graph.knn"
from = { data = "data" }
with = { neighbors = 20, metric = "cosine", search = "clusters" }
"""


def select(name, with_, ports='data = "data"'):
    return f'\n[stage.{name}]\nuse  = "select.{name}"\nfrom = {{ {ports} }}\nwith = {{ {with_} }}\n'


BUDGET = "budget = BUDGET"
ON_GRAPH = 'data = "data", graph = "graph"'
SCORE = '\n[stage.zcore]\nuse  = "score.zcore"\nfrom = { data = "data" }\n'
PROTOTYPE = '\n[stage.prototype]\nuse  = "score.prototype"\nfrom = { data = "data" }\n'
SCORED = 'data = "data", scores = "prototype"'
KNN_EXACT = """
import faiss
index = faiss.IndexFlatIP(x.shape[1])
y = x / np.linalg.norm(x, axis=1, keepdims=True)
index.add(y)
index.search(y, 21)
"""
KNN_CLUSTERS = """
import faiss
clusters = round(len(x) ** .5)
index = faiss.index_factory(x.shape[1], f"IVF{clusters},Flat", faiss.METRIC_INNER_PRODUCT)
index.cp.max_points_per_centroid = 40
y = x / np.linalg.norm(x, axis=1, keepdims=True)
index.train(y)
index.add(y)
index.nprobe = 8
_, found = index.search(y, 21)
flat = faiss.IndexFlatIP(x.shape[1])
flat.add(y)
checked = np.arange(0, len(x), max(1, len(x) // 1000))
_, truth = flat.search(y[checked], 21)
hit = sum(len(set(a) & set(b) - {i}) for i, a, b in zip(checked, found[checked], truth))
print(f"recall {hit / sum(len(set(t) - {i}) for i, t in zip(checked, truth)):.3f}", end=" ")
"""
K_CENTER = """
first, apart, picks = 0, np.full(len(x), np.inf, np.float32), []
squares = (x * x).sum(1)
for _ in range(k):
    picks.append(first)
    np.minimum(apart, squares + squares[first] - 2 * (x @ x[first]), out=apart)
    first = int(apart.argmax())
"""
K_MEANS = """
import faiss
faiss.Kmeans(x.shape[1], round(len(x) ** .5), niter=20, max_points_per_centroid=10**9).train(x)
"""
FACILITY = """
from apricot import FacilityLocationSelection
FacilityLocationSelection(k, metric="cosine", optimizer="lazy").fit(x)
"""
STAGES = {
    "random": (select("random", BUDGET), "random", None),
    "k-center": (select("k-center", BUDGET), "k-center", K_CENTER),
    "herding": (select("herding", BUDGET), "herding", None),
    "prototype": (PROTOTYPE, "prototype", None),
    "dedup": (select("dedup", "keep = 0.9"), "dedup", K_MEANS),
    "zcore": (SCORE, "zcore", None),
    "nearest-query": (
        select("random", "budget = 100") + select("nearest-query", "keep = 0.1", 'data = "data", query = "random"'),
        "nearest-query",
        None,
    ),
    "graph": (GRAPH, "graph", KNN_CLUSTERS),
    "graph-exact": (GRAPH.replace('"clusters"', '"exact"'), "graph", KNN_EXACT),
    "facility-location": (
        GRAPH + select("facility-location", 'keep = 0.1, rule.features = "embedding"', ON_GRAPH),
        "facility-location",
        None,
    ),
    "facility-location-dense": (
        select("facility-location", BUDGET + ', rule.features = "embedding"'),
        "facility-location",
        FACILITY,
    ),
    "graph-cut": (GRAPH + select("graph-cut", 'keep = 0.1, rule.features = "embedding"', ON_GRAPH), "graph-cut", None),
    "graph-cut-dense": (select("graph-cut", BUDGET + ', rule.features = "embedding"'), "graph-cut", None),
    "dedup-on-graph": (GRAPH + select("dedup", "keep = 0.9", ON_GRAPH), "dedup", None),
    "d2": (
        GRAPH + PROTOTYPE + select("d2", "keep = 0.1", 'data = "data", scores = "prototype", graph = "graph"'),
        "d2",
        None,
    ),
    "infomax": (
        GRAPH + PROTOTYPE + select("infomax", "keep = 0.1", 'data = "data", scores = "prototype", graph = "graph"'),
        "infomax",
        None,
    ),
    "ccs": (PROTOTYPE + select("ccs", "keep = 0.1", 'scores = "prototype"'), "ccs", None),
    "top": (PROTOTYPE + select("top", "keep = 0.1", 'scores = "prototype"'), "top", None),
}


def make(path, n, d):
    """Writes the embeddings: float32 of length 1."""
    import numpy as np

    rng = np.random.default_rng(0)
    heaps = max(20, n // 500)
    centres = rng.standard_normal((heaps, d), np.float32)
    spread = rng.standard_normal((heaps, 16, d), np.float32) * 0.4
    out = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    for start in range(0, n, 20000):
        rows = min(20000, n - start)
        heap = rng.integers(0, heaps, rows)
        inside = rng.standard_normal((rows, 16), np.float32)
        x = centres[heap] + np.einsum("ik,ikd->id", inside, spread[heap]) + 0.1 * rng.standard_normal((rows, d), np.float32)
        copies = rng.random(rows) < 0.01
        x[copies] = x[rng.integers(0, rows, copies.sum())] + 1e-3 * rng.standard_normal((copies.sum(), d), np.float32)
        out[start : start + rows] = x / np.linalg.norm(x, axis=1, keepdims=True)
    out.flush()


def run(command, limit, **more):
    """Returns wall seconds, CPU seconds and peak MiB of a command, and what it printed."""
    begin = time.monotonic()
    log = more.pop("log")
    with open(log, "w") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **more)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begin > limit:
                child.kill()
                os.wait4(child.pid, 0)
                return None
            time.sleep(0.05)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(map(str, command))} failed: {Path(log).read_text()[-2000:]}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, Path(log).read_text()


def told(figures):
    if figures is None:
        return "stopped by the limit"
    wall, cpu, peak, _ = figures
    return f"{wall:8.1f} s wall {cpu:8.1f} CPU s {peak:8.0f} MiB"


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--n", type=int, default=100_000)
    args.add_argument("--d", type=int, default=512)
    args.add_argument("--budget", type=int, default=1000)
    args.add_argument("--limit", type=float, default=600)
    args.add_argument("--folder", type=Path, default=Path("embeddings-bench"))
    args.add_argument("--only", nargs="*", choices=STAGES, default=list(STAGES))
    args.add_argument("--peers", action="store_true", help="time the peers too")
    args.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    args = args.parse_args()
    if args.make:
        return make(args.make, args.n, args.d)
    program = os.path.abspath(os.environ.get("CORESIFT", "target/release/coresift"))
    args.folder.mkdir(parents=True, exist_ok=True)
    data = args.folder / f"x-{args.n}x{args.d}.npy"
    if not data.exists():
        # In a process of its own: a child's peak memory begins with that of the process that starts it.
        size = ["--n", str(args.n), "--d", str(args.d)]
        subprocess.run([sys.executable, __file__, *size, "--make", str(data)], check=True)
    head = f'[stage.data]\nuse  = "load.features"\nwith = {{ train = "{data.name}" }}\n'

    def coresift(name, text, target):
        file = args.folder / f"{name}.toml"
        file.write_text(head + text.replace("BUDGET", str(args.budget)))
        command = [program, "run", file.name, "--target", target, "--store", f"store-{args.n}", "--device", "cpu"]
        return run([*command, "--no-table"], args.limit, cwd=args.folder, log=args.folder / f"{name}.log")

    print(f"{'load':24} {told(coresift('load', '', 'data'))}")
    for name in args.only:
        text, target, peer = STAGES[name]
        for needed in ("graph", "prototype", "random"):
            if needed != target and f"[stage.{needed}]" in text:
                coresift(f"{name}-needs", text, needed)
        figures = coresift(name, text, target)
        recall = [line for line in (figures[3].splitlines() if figures else []) if "recall" in line]
        print(f"{name:24} {told(figures)} {recall[0].split(':')[1].strip() if recall else ''}", flush=True)
        if args.peers and peer:
            code = f"import numpy as np\nx = np.load({str(data)!r})\nk = {args.budget}\n{peer}"
            other = run([sys.executable, "-c", code], args.limit, log=args.folder / f"{name}.peer.log")
            ratio = f"{other[0] / figures[0]:.2f} times ours" if other and figures else ""
            print(f"{'  peer':24} {told(other)} {other[3].strip() if other else ''} {ratio}", flush=True)


if __name__ == "__main__":
    main()
