#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every policy over standard cells with `lodestar sim` and writes a Markdown table.

Usage: tools/results.py [--bin PATH] [--cells DIR] [--seeds N] [--jitter S] [--out FILE]
                        [--policies a,b]

Each cell is run at 50, 70 and 85 % of the sustainable rate that stands in the
cells' README. Intervals are 95 % (Student's t) over the seeds; ratios are formed
per seed (same trace rows, same arrivals) and averaged, so that what all policies
share cancels out.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

RATES = {  # cells/README.md: sustainable requests per second
    ("8xA30", "conv50"): 28.3,
    ("8xA30", "tool100"): 26.1,
    ("7xA30-8xV100", "conv50"): 44.7,
    ("7xA30-8xV100", "tool100"): 42.6,
}
LOADS = (0.50, 0.70, 0.85)
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def mean_ci(values):
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, float("nan")
    var = sum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, T95.get(n - 1, 1.96) * math.sqrt(var / n)


def run_cell(args, cluster, workload, rate, policies):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [
            args.bin,
            "sim",
            "--cluster",
            f"{args.cells}/cluster-{cluster}.yaml",
            "--workload",
            f"{args.cells}/workload-{workload}.yaml",
            "--rate",
            f"{rate:.3f}",
            "--policy",
            ",".join(policies),
            "--seeds",
            str(args.seeds),
            "--jitter",
            str(args.jitter),
            "--quiet",
            "--json",
            out.name,
        ]
        subprocess.run(command, check=True)
        return json.load(open(out.name))["cells"]


def table(cells, policies, baseline):
    by = {(c["policy"], c["seed"]): c for c in cells}
    seeds = sorted({c["seed"] for c in cells})
    lines = [
        "| policy | TTFT mean ms | TTFT P99 ms | TPOT mean ms | prefix hit"
        " | mean ratio | P99 ratio | failed |",
        "|-|-|-|-|-|-|-|-|",
    ]
    rows = []
    for p in policies:
        mine = [by[(p, s)] for s in seeds]
        base = [by[(baseline, s)] for s in seeds]
        ttft, ttft_ci = mean_ci([c["ttft_ms"]["mean"] for c in mine])
        p99, p99_ci = mean_ci([c["ttft_ms"]["p99"] for c in mine])
        tpot, tpot_ci = mean_ci([c["tpot_ms"]["mean"] for c in mine])
        hit, _ = mean_ci([c["prefix_hit_ratio"] for c in mine])
        r, r_ci = mean_ci([b["ttft_ms"]["mean"] / c["ttft_ms"]["mean"] for b, c in zip(base, mine)])
        q, q_ci = mean_ci([b["ttft_ms"]["p99"] / c["ttft_ms"]["p99"] for b, c in zip(base, mine)])
        failed = sum(c["failed"] + c["unfinished"] for c in mine)
        rows.append(
            (
                ttft,
                f"| `{p}` | {ttft:.0f} ± {ttft_ci:.0f} | {p99:.0f} ± {p99_ci:.0f} | "
                f"{tpot:.1f} ± {tpot_ci:.1f} | {hit:.3f} | {r:.2f} ± {r_ci:.2f} "
                f"| {q:.2f} ± {q_ci:.2f} | {failed} |",
            )
        )
    return lines + [line for _, line in sorted(rows)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bin", default="build/release/src/app/lodestar")
    parser.add_argument(
        "--cells", default=os.environ.get("LODESTAR_SHARED", "../shared") + "/cells"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jitter", type=float, default=0.03)
    parser.add_argument("--policies", default="")
    parser.add_argument("--out", default="docs/results/all-policies.md")
    args = parser.parse_args()
    if not os.path.isdir(args.cells):
        sys.exit(
            f"{args.cells}: no such folder; the standard cells are needed (set LODESTAR_SHARED)"
        )
    names = (
        args.policies.split(",")
        if args.policies
        else subprocess.run(
            [args.bin, "sim", "--list-policies"], check=True, capture_output=True, text=True
        ).stdout.split()
    )
    baseline = "prefix-cache"
    out = [
        f"# All policies on four standard cells",
        "",
        f"`tools/results.py --seeds {args.seeds} --jitter {args.jitter}`"
        f" (release build). {args.seeds} seeds; ± is the 95 % interval over seeds; engines have"
        f" {args.jitter * 100:.0f} % lognormal jitter per step; 10,000 requests of which the first"
        " 1,000 are"
        " not counted; the router's exact view (16-token blocks), gauges scraped each 100 ms.",
        f"Ratio = `{baseline}` ÷ policy, formed per seed: above 1 is better than `{baseline}`."
        " Sorted by mean TTFT. `oracle` reads the engines' true state: a yardstick, not a policy.",
        "",
    ]
    for (cluster, workload), sustainable in RATES.items():
        for load in LOADS:
            begin = time.time()
            cells = run_cell(args, cluster, workload, load * sustainable, names)
            out += [
                f"## {cluster} {workload}, {load:.0%} load ({load * sustainable:.2f} requests/s)",
                "",
            ]
            out += table(cells, names, baseline) + [""]
            print(f"{cluster} {workload} {load:.0%}: {time.time() - begin:.0f} s", file=sys.stderr)
            os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
            open(args.out, "w").write("\n".join(out))


if __name__ == "__main__":
    main()
