"""What the campaigns share: a pipeline of every kind of stage, and what a store must hold of it."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PIPELINE = """
[stage.data]
use  = "load.synthetic"
with = {{ n = {samples}, test = 120, d = 16, classes = 4 }}

[stage.noisy]
use  = "corrupt.labels"
from = {{ data = "data" }}
with = {{ kind = "symmetric", rate = 0.1 }}

[stage.proxy]
use  = "proxy-train"
from = {{ data = "noisy" }}
with = {{ model = "mlp", epochs = {epochs}, batch = 32, checkpoint-every = 1 }}

[stage.hardness]
use  = "score.grand"
from = {{ proxy = "proxy" }}

[stage.subset]
use  = "select.top"
from = {{ scores = "hardness" }}
with = {{ keep = 0.2, balance = "class" }}

[stage.student]
use  = "train"
from = {{ data = "noisy", subset = "subset" }}
with = {{ model = "mlp", epochs = {epochs}, batch = 32, checkpoint-every = 1 }}

[stage.result]
use  = "evaluate"
from = {{ data = "data", model = "student" }}

[stage.job]
use  = "command"
from = {{ subset = "subset" }}
with = {{ run = ["sh", "job.sh"], files = ["job.sh"], output = "metrics" }}
"""

MATRIX = """
[matrix]
seed = [0, 1]

[matrix.selector]
top     = {}
random  = { subset = { use = "select.random", from = { data = "noisy" }, with = { keep = 0.2 } } }
herding = { subset = { use = "select.herding", from = { proxy = "proxy" }, with = { keep = 0.2 } } }
"""

# A child in the background: it must be gone with the run, too.
JOB = """sleep {pause} &
wait
cat in/subset/* | cksum >sum
read -r sum size <sum
echo "{{\\"sum\\": $sum, \\"size\\": $size}}" >out/metrics.json
"""


def program():
    """The program to try: $CORESIFT, or the release build of this checkout."""
    built = pathlib.Path(__file__).resolve().parent.parent / "target/release/coresift"
    found = pathlib.Path(os.environ.get("CORESIFT", built)).resolve()
    if not found.is_file():
        sys.exit(f"there is no {found}: build it, or name the program in CORESIFT")
    return str(found)


def folder(name):
    """A new folder, in memory where there is one: a campaign is no test of a disk."""
    memory = "/dev/shm"
    above = memory if "TMPDIR" not in os.environ and os.access(memory, os.W_OK) else None
    return pathlib.Path(tempfile.mkdtemp(prefix=f"coresift-{name}-", dir=above))


def write_pipeline(work, samples, epochs, pause, matrix):
    """Writes the pipeline and the program of its command stage."""
    text = PIPELINE.format(samples=samples, epochs=epochs) + (MATRIX if matrix else "")
    (work / "p.toml").write_text(text)
    (work / "job.sh").write_text(JOB.format(pause=pause))


def output(record):
    """What a record says was made: kind, and digest and size of each part."""
    return json.dumps(record["output"], sort_keys=True)


def outputs(store):
    """The output of every record, by key; those that cannot be read by name and with None."""
    found = {}
    for path in sorted(pathlib.Path(store).glob("records/??/*.json")):
        key = path.parent.name + path.name.removesuffix(".json")
        try:
            found[key] = output(json.loads(path.read_text())["record"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError):
            found[key] = None
    return found


def processes_in(place):
    """The processes whose working directory or command line is below `place`."""
    place, found = str(place), []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if os.readlink(entry / "cwd").startswith(place) or place in words:
                found.append((int(entry.name), words.strip()))
        except OSError:
            continue
    return found


def gone(place, patience=5.0):
    """Waits until no process is at work in `place`; returns those that do not go."""
    until = time.monotonic() + patience
    while (left := processes_in(place)) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def verify(coresift, store):
    """Returns what `cache verify` finds wrong."""
    done = subprocess.run(
        [coresift, "--store", str(store), "--json", "cache", "verify"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [{"what": f"cache verify ends with {done.returncode}: {done.stdout}{done.stderr}"}]
    return report["findings"]


def block(title, figures):
    """Prints the figures of a campaign."""
    print(f"\n{title}")
    width = max(len(name) for name, _ in figures)
    for name, value in figures:
        print(f"  {name:{width}}  {value}")
