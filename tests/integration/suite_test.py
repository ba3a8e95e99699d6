#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`lodestar sim --suite`: cache, resumption, budget, interruption, damage, outputs."""
import json
import os
import signal
import subprocess
import tempfile
import time

LODESTAR = os.environ["LODESTAR_BIN"]
SUITE = """
policies: [prefix-cache, lmetric, least-request]
reference: lmetric
seeds: 2
cells:
  - {name: small, cluster: c.yaml, workload: w.yaml, rates_rps: [4, 8]}
  - {name: elsewhere, cluster: absent.yaml, workload: w.yaml, optional: true}
"""
CLUSTER = "groups: [{count: 2, gpu: a30, served_model: llama-3.1-8b, jitter: {sigma: 0.03}}]\n"
WORKLOAD = """
synthetic: {kind: shared-prefix, prompt_tokens: [500, 2000], output_tokens: {min: 20, max: 60}}
arrivals: {kind: poisson, rate_rps: 4}
max_requests: 600
warmup_requests: 100
"""


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def run(*args, code=0):
    done = subprocess.run(
        [LODESTAR, "sim", "--suite", "s.yaml", "--cache", "cache", *args],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def entries():
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk("cache")
        for name in names
        if name.endswith(".run")
    )


def without_timings(result):
    """Everything that must not depend on whether a run came from the cache."""
    for cell in result["cells"]:
        cell.pop("wall_s"), cell.pop("decision_us")
    for row in result["summary"]:
        row.pop("decision_us")
    result.pop("status")
    return result


def test_cache_and_outputs():
    done = run("--json", "a.json", "--html", "a.html", "--jobs", "2")
    assert 'SKIPPED cell "elsewhere"' in done.stderr, done.stderr
    assert "small, 8 requests/s" in done.stdout, done.stdout
    first = load("a.json")
    assert len(first["cells"]) == 12 and len(first["summary"]) == 6
    assert first["status"]["from_cache"] == 0 and first["status"]["skipped"]
    page = open("a.html", encoding="utf-8").read()
    assert "Suite s" in page and "http" not in page
    assert len(entries()) == 12
    run("--json", "b.json", "--jobs", "1")
    second = load("b.json")
    assert second["status"]["from_cache"] == 12
    assert without_timings(first) == without_timings(second)
    run("--json", "c.json", "--no-cache", "--quiet")
    third = load("c.json")
    assert third["status"]["from_cache"] == 0
    assert without_timings(third) == second, "the same seeds give the same results"


def test_damage_and_changes():
    victim = entries()[3]
    blob = open(victim, "rb").read()
    with open(victim, "wb") as file:
        file.write(blob[:-10] + b"0123456789")
    done = run("--json", "d.json")
    assert "1 damaged" in done.stderr, done.stderr
    status = load("d.json")["status"]
    assert status["from_cache"] == 11 and status["damaged_cache_entries"] == 1
    assert open(victim, "rb").read() != blob[:-10] + b"0123456789", "it was written again"
    run("--json", "e.json", "--policy", "lmetric,random")
    e = load("e.json")
    assert {row["label"] for row in e["summary"]} == {"prefix-cache", "lmetric", "random"}
    assert e["status"]["from_cache"] == 8, "what had been run before is not run again"
    write("w.yaml", WORKLOAD.replace("600", "500"))
    run("--json", "f.json")
    assert load("f.json")["status"]["from_cache"] == 0, "another workload, another key"


def test_budget_and_interrupt():
    write("w.yaml", WORKLOAD.replace("600", "20000").replace("500, 2000", "501, 2000"))
    done = run("--budget", "0.05s", "--jobs", "1", "--json", "g.json", code=1)
    assert "INCOMPLETE, the budget of 0.05s is spent" in done.stderr, done.stderr
    g = load("g.json")
    assert 1 <= len(g["cells"]) < 12 and g["status"]["missing"]
    # One seed of a point with all policies comes before the next seed.
    assert {cell["seed"] for cell in g["cells"]} == {1}
    command = [LODESTAR, "sim", "--suite", "s.yaml", "--cache", "cache", "--jobs", "1"]
    process = subprocess.Popen(
        [*command, "--json", "h.json"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    before = len(entries())
    while len(entries()) == before and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, (process.returncode, stderr)
    assert "INCOMPLETE, interrupted" in stderr, stderr
    kept = len(load("h.json")["cells"])
    assert 0 < kept < 12
    run("--json", "i.json", "--jobs", "1")
    i = load("i.json")
    assert i["status"]["from_cache"] == kept and len(i["cells"]) == 12


def test_bad_input():
    for args, words in [
        (["--budget", "soon"], "expected e.g. 90s"),
        (["--cell", "nothing like it"], "no cell's name contains"),
        (["--policy", "lmetrik"], 'did you mean "lmetric"'),
        (["--cluster", "c.yaml"], "leave --cluster"),
        (["--cache", "s.yaml/below"], "--no-cache"),
    ]:
        done = subprocess.run(
            [LODESTAR, "sim", "--suite", "s.yaml", *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": os.path.abspath("home")},
        )
        assert done.returncode == 2, (args, done.returncode, done.stderr)
        assert words in done.stderr, (args, done.stderr)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write("s.yaml", SUITE)
        write("c.yaml", CLUSTER)
        write("w.yaml", WORKLOAD)
        test_cache_and_outputs()
        test_damage_and_changes()
        test_budget_and_interrupt()
        test_bad_input()
        os.chdir("/")


if __name__ == "__main__":
    main()
