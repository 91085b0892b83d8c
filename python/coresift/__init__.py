"""Read what coresift made: runs, coresets, scores, metrics and checkpoints, as NumPy arrays.

    import coresift

    run = coresift.open().run()                       # the newest run of the store
    for at, subset in run.cells("subset", keep=0.1):  # at = {"keep": 0.1, "seed": 0, ...}
        subset.indices                                # int64, positions in the training set
        subset.weights                                # float32, or None where all count the same
    run.table()                                       # a list of dicts: pandas.DataFrame(run.table())

The program itself is `coresift` on the command line, or `python -m coresift`. This package never writes
to a store.
"""

from ._program import ProgramError, program, run
from ._sampler import CoresetSampler
from ._store import Artifact, DamagedStore, NotThere, Run, Store, UnknownFormat, open

__all__ = [
    "Artifact",
    "CoresetSampler",
    "DamagedStore",
    "NotThere",
    "ProgramError",
    "Run",
    "Store",
    "UnknownFormat",
    "open",
    "program",
    "run",
]
