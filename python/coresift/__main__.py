"""`python -m coresift`: the program, with the arguments it was given."""

import os
import subprocess
import sys

from ._program import program


def main() -> int:
    command = [str(program()), *sys.argv[1:]]
    if os.name == "posix":
        os.execv(command[0], command)
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
