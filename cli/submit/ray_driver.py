"""Runs the jobs of a submitted run as Ray tasks. coresift starts it and says on stdin, as JSON, what is to run:

{"address": null, "retries": 2, "stopped": "a file", "jobs": [{"name": "00-000-0000", "command": ["…"], "folder": "…",
 "log": "a file", "after": [0], "cpus": 1, "gpus": 0, "memory": null}]}

A job waits for those whose places are in "after". It says on stdout, a line of JSON each, what became of it: "done",
"failed" (a stage failed, and its log says why), "skipped" (one before it did not make what it needs) or "lost".
"""

import json
import os
import subprocess
import sys
import time

import ray

# Exit codes of a job that is to run again: killed (also by its memory limit), or told to end before it was through.
AGAIN = (137, 143, 85)


class Lost(Exception):
    """The program was killed: another try may get through."""


def run(command, folder, log, cpus, *before):
    if not all(state == "done" for state in before):
        return "skipped"
    environment = {**os.environ, "CORESIFT_JOB_CPUS": str(max(1, int(cpus)))}
    with open(log, "ab") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            code = None
            while code is None:
                # A wait without end would not hear that the task is cancelled.
                time.sleep(0.1)
                code = process.poll()
        except BaseException:
            # Cancelled: it keeps a checkpoint.
            process.terminate()
            process.wait()
            raise
    if code < 0 or code in AGAIN:
        raise Lost(f"it ended with {code}")
    return "done" if code == 0 else "failed"


def say(**what):
    print(json.dumps(what), flush=True)


def lacking(jobs):
    """What jobs ask for beyond all that the cluster has."""
    there = ray.cluster_resources()
    asked = {
        "CPU": max(job["cpus"] for job in jobs),
        "GPU": max(job["gpus"] for job in jobs),
        "memory": max(job["memory"] or 0 for job in jobs),
    }
    return {name: (most, there.get(name, 0)) for name, most in asked.items() if most > there.get(name, 0)}


def main():
    told = json.load(sys.stdin)
    ray.init(address=told["address"], log_to_driver=False, logging_level="error")
    jobs = told["jobs"]
    for name, (most, there) in lacking(jobs).items():
        say(note=f"a job asks for {most:g} {name}, and the Ray cluster has {there:g}: it waits until a node joins")
    task = ray.remote(run)
    refs = []
    for job in jobs:
        own = task.options(
            name=job["name"],
            num_cpus=job["cpus"],
            num_gpus=job["gpus"],
            memory=job["memory"],
            max_retries=told["retries"],
            retry_exceptions=[Lost],
        )
        before = [refs[at] for at in job["after"]]
        refs.append(own.remote(job["command"], job["folder"], job["log"], job["cpus"], *before))
    waiting = {ref: job["name"] for ref, job in zip(refs, jobs)}
    try:
        while waiting and not os.path.exists(told["stopped"]):
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=1)
            for ref in ready:
                try:
                    say(job=waiting.pop(ref), state=ray.get(ref))
                except ray.exceptions.RayError as error:
                    say(job=waiting.pop(ref, ""), state="lost", why=str(error).strip().splitlines()[-1])
    except KeyboardInterrupt:
        pass
    for ref in waiting:
        ray.cancel(ref)
    if waiting:
        ray.wait(list(waiting), num_returns=len(waiting), timeout=60)


if __name__ == "__main__":
    main()
