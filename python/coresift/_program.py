"""Where the program is, and running it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class ProgramError(RuntimeError):
    """The program ended with an exit code other than 0.

    `code` is the exit code: 1 a stage failed, 2 a mistake in the file, 3 the store is damaged. `mistakes` are those of
    a file, each a dict with file, line, column, message and hint.
    """

    def __init__(self, message: str, code: int, hint: str | None = None, mistakes: list[dict[str, Any]] | None = None):
        self.code = code
        self.hint = hint
        self.mistakes = mistakes or []
        lines = [message]
        lines += [f"{each['file']}:{each['line']}:{each['column']}: {each['message']}" for each in self.mistakes]
        super().__init__("\n".join(lines))


def program() -> Path:
    """The path of the program: CORESIFT_PROGRAM, else what this package was installed with, else PATH's."""
    name = "coresift.exe" if os.name == "nt" else "coresift"
    asked = os.environ.get("CORESIFT_PROGRAM")
    if asked:
        return Path(asked)
    user = sysconfig.get_preferred_scheme("user")
    target = Path(__file__).resolve().parent.parent / "bin"  # pip install --target
    folders = [sysconfig.get_path("scripts"), Path(sys.prefix) / "bin", target, sysconfig.get_path("scripts", user)]
    for folder in folders:
        path = Path(folder) / name
        if path.is_file():
            return path
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            "the program coresift was not found beside this Python or on PATH; "
            "install the wheel again, or let CORESIFT_PROGRAM name it"
        )
    return Path(found)


def run(
    pipeline: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    set: Mapping[str, Any] | None = None,
    device: str | None = None,
    target: str | None = None,
    cell: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> Iterator[dict[str, Any]]:
    """Runs a pipeline; yields the program's events as dicts while it goes on.

    `set` lays settings over the file, such as {"subset.with.keep": 0.3}. Closing the iterator early interrupts
    the run; what was finished is kept. `quiet` keeps the progress off stderr.

    Raises ProgramError if a stage fails or the file has a mistake.
    """
    command = [str(program()), "run", os.fspath(pipeline), "--json"]
    if quiet:
        command.append("--quiet")
    if store is not None:
        command += ["--store", os.fspath(store)]
    for path, value in (set or {}).items():
        command += ["--set", f"{path}={_toml(value)}"]
    for axis, value in (cell or {}).items():
        command += ["--cell", f"{axis}={value}"]
    options = {"--device": device, "--target": target, "--jobs": jobs}
    for flag, value in options.items():
        if value is not None:
            command += [flag, str(value)]
    return _events(command)


def _events(command: list[str]) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, encoding="utf-8")
    failure: dict[str, Any] | None = None
    assert process.stdout is not None
    try:
        for line in process.stdout:
            event = json.loads(line)
            if "error" in event:
                failure = event
            yield event
    except BaseException:
        process.terminate()
        raise
    finally:
        process.stdout.close()
        code = process.wait()
    if code != 0:
        error = (failure or {}).get("error", {})
        message = error.get("message", f"coresift ended with exit code {code}")
        raise ProgramError(message, code, error.get("hint"), (failure or {}).get("mistakes"))


def _toml(value: Any) -> str:
    """Writes a Python value as TOML, as `--set` reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value.item() if hasattr(value, "item") else value)
