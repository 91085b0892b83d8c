"""Compares the weights of two networks, safetensors both: the norm of the difference over the norm.
compare.py ONE OTHER; exits with 1 if a tensor is more than 1 % apart."""
import array
import json
import math
import struct
import sys


def weights(path):
    with open(path, "rb") as file:
        bytes_ = file.read()
    (length,) = struct.unpack("<Q", bytes_[:8])
    found = {}
    for name, about in json.loads(bytes_[8 : 8 + length]).items():
        if name != "__metadata__" and about["dtype"] == "F32":
            begin, end = about["data_offsets"]
            found[name] = array.array("f", bytes_[8 + length + begin : 8 + length + end])
    return found


one, other = weights(sys.argv[1]), weights(sys.argv[2])
if not one or one.keys() != other.keys():
    sys.exit("they are of different shapes")
worst = 0.0
for name, values in one.items():
    apart = math.sqrt(sum((a - b) ** 2 for a, b in zip(values, other[name])))
    worst = max(worst, apart / max(math.sqrt(sum(a * a for a in values)), 1e-30))
print(f"{len(one)} tensors, at most {worst:.1e} of its norm apart")
sys.exit(worst > 1e-2)
