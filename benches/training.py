#!/usr/bin/env python3
"""Times training and inference here and in PyTorch, in turn, and prints both and their ratio.

usage: benches/training.py [--python PYTHON] [--rounds 5] [--threads 2] [--device cpu] [--only resnet18]
The ratio is ours to theirs, round by round; its median and its range are printed. PYTHON must have torch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

CASES = [
    ("mlp", 128, "1x28x28", "none"),
    ("lenet", 0, "1x28x28", "none"),
    ("resnet18", 16, "1x28x28", "none"),
    ("resnet18", 16, "1x28x28", "crop-flip"),
    ("resnet18", 64, "3x32x32", "crop-flip"),
]


def last_line(command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), NO_COLOR="1")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parse = argparse.ArgumentParser(usage=__doc__)
    parse.add_argument("--python", default=sys.executable)
    parse.add_argument("--binary", default="target/release/coresift")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--seconds", default="3")
    parse.add_argument("--batch", default="128")
    parse.add_argument("--device", default="cpu")
    parse.add_argument("--precision", default="f32")
    parse.add_argument("--compile", action="store_true")
    parse.add_argument("--only", default="")
    parse.add_argument("--report")
    args = parse.parse_args()
    print(f"{'model':34} {'pass':8} {'ours':>9} {'PyTorch':>9} {'ratio':>6}  range", flush=True)
    report = []
    for model, width, sample, augment in CASES:
        name = f"{model}{' w%d' % width if width else ''} {sample} {augment}"
        if args.only not in name:
            continue
        what = ["--model", model, "--sample", sample, "--augment", augment, "--batch", args.batch]
        what += ["--precision", args.precision, "--device", args.device, "--seconds", args.seconds]
        what += ["--width", str(width)] if width else []
        what += ["--threads", str(args.threads)]
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(last_line([args.binary, "bench", *what, "--json"], args.threads))
            peer = [args.python, os.path.join(os.path.dirname(__file__), "peer.py"), *what]
            theirs.append(last_line(peer + (["--compile"] if args.compile else []), args.threads))
        for way in ("train", "forward"):
            ratios = sorted(one[way] / other[way] for one, other in zip(ours, theirs))
            one, other = (statistics.median(row[way] for row in rows) for rows in (ours, theirs))
            ratio = statistics.median(ratios)
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            print(f"{name:34} {way:8} {one:9.0f} {other:9.0f} {ratio:6.2f}  {spread}", flush=True)
            report.append(dict(model=name, way=way, ours=one, theirs=other, ratios=ratios))
    if args.report:
        with open(args.report, "w") as file:
            json.dump(dict(settings=vars(args), rows=report), file, indent=1)


if __name__ == "__main__":
    main()
