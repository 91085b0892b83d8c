"""Counts what a training step asks of the driver.   steps.py TRACE

A step is what lies between two launches of a recorded step (a CUDA graph); the last two fifths of all steps are
counted, since the first ones compile kernels. Prints the medians as one line."""
import statistics
import sys
from collections import Counter

rows = [line.rstrip("\n").split("\t") for line in open(sys.argv[1])]
calls = [(row[3], row[4] if len(row) > 4 else "") for row in rows]
starts = [at for at, (call, _) in enumerate(calls) if call == "cuGraphLaunch"]
starts = starts[int(len(starts) * 0.6):]
steps = []
for begin, end in zip(starts, starts[1:]):
    step = Counter()
    for call, about in calls[begin:end]:
        step["launches"] += call == "cuLaunchKernel"
        step["recorded steps"] += call == "cuGraphLaunch"
        step["copies to the device"] += call.startswith("cuMemcpy") and "to the device" in about
        step["copies to the host"] += call.startswith("cuMemcpy") and "to the host" in about
        step["waits"] += about == "waits"
    steps.append(step)
if not steps:
    sys.exit("no step was found")
names = ["recorded steps", "launches", "copies to the device", "copies to the host", "waits"]
print(f"{len(steps)} steps: " + ", ".join(f"{statistics.median(step[name] for step in steps):g} {name}" for name in names))
