#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of docs/results/learning.md from the JSON of `lodestar sim --suite`.

    tools/learning_results.py paper.json [more.json ...] [--policy lodestar]

Each cell and load is one row; below, the lines of the goal. Ratios are prefix-cache / policy,
geometric means of paired per-seed ratios with their 95 % interval, as the suite computed them.
The best rule of a seed is the one that is best on the other seeds of its cell.
"""
import argparse
import json
import math
import sys


def gmean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def number(x, digits=2):
    return "–" if x is None else f"{x:.{digits}f}"


def value(row, *path):
    for key in path:
        row = (row or {}).get(key)
    return row


def rows_of(files):
    rows = {}
    for name in files:
        with open(name, encoding="utf-8") as f:
            for r in json.load(f)["summary"]:
                rows.setdefault((r["cell"], r["load"]), {})[r["label"]] = r
    return rows


def table(rows, policy):
    print("| cell | load | seeds | mean | P99 | TPOT | E2E | ÷ best rule: mean (95 %) | P99 | "
          "oracle: mean / P99 | coverage | MAPE | first 100 |")
    print("|-|-|-|-|-|-|-|-|-|-|-|-|-|")
    for (cell, load), by in sorted(rows.items(), key=lambda i: (i[0][0], i[0][1] or 0)):
        r = by.get(policy)
        if not r:
            continue
        best = value(r, "against_best_rule", "ttft_mean") or {}
        interval = (f"{number(best.get('mean'), 3)} ({number(best.get('low'), 3)}–"
                    f"{number(best.get('high'), 3)})" if best else "–")
        oracle = by.get("oracle", {})
        print(f"| {cell} | {number(load)} | {r['seeds']} "
              f"| {number(value(r, 'ratio', 'ttft_mean', 'mean'))} "
              f"| {number(value(r, 'ratio', 'ttft_p99', 'mean'))} "
              f"| {number(value(r, 'ratio', 'tpot_mean', 'mean'))} "
              f"| {number(value(r, 'ratio', 'e2e_mean', 'mean'))} | {interval} "
              f"| {number(value(r, 'against_best_rule', 'ttft_p99', 'mean'), 3)} "
              f"| {number(value(oracle, 'ratio', 'ttft_mean', 'mean'))} / "
              f"{number(value(oracle, 'ratio', 'ttft_p99', 'mean'))} "
              f"| {number(value(r, 'predictions', 'coverage'), 3)} "
              f"| {number(value(r, 'predictions', 'mean_relative_error'), 3)} "
              f"| {number(value(r, 'first_100', 'mean'))} |"
              + (" **lost: more failures than prefix-cache**" if r.get("lost") else ""))


def line(text, values, digits=3):
    values = [v for v in values if v is not None]
    if values:
        print(f"| {text} | {len(values)} | {gmean(values):.{digits}f} | {min(values):.{digits}f} | "
              f"{max(values):.{digits}f} |")


def goals(rows, policy):
    mixed = ("V100", "L20", "H100-", "xH100-6", "5+4")
    is_mixed = {k: any(m in k[0] for m in mixed) and not k[0].startswith("8x") for k in rows}
    pick = {k: by for k, by in rows.items() if policy in by}
    print("\n| line | cells | geometric mean | least | most |")
    print("|-|-|-|-|-|")
    for load in sorted({k[1] for k in pick if k[1]}):
        at = {k: by for k, by in pick.items() if k[1] == load}
        of = lambda by, *path: value(by[policy], *path)
        line(f"÷ best rule, mean TTFT, load {load}",
             [of(by, "against_best_rule", "ttft_mean", "mean") for by in at.values()])
        line(f"÷ best rule, P99 TTFT, load {load}",
             [of(by, "against_best_rule", "ttft_p99", "mean") for by in at.values()])
        for kind, wanted in (("homogeneous", False), ("mixed", True)):
            some = [by for k, by in at.items() if is_mixed[k] == wanted and "oracle" in by]
            line(f"share of the oracle's mean ratio, {kind}, load {load}",
                 [of(by, "share_of_reference", "ttft_mean", "mean") for by in some])
            line(f"share of the oracle's P99 ratio, {kind}, load {load}",
                 [of(by, "share_of_reference", "ttft_p99", "mean") for by in some])
    for name in ("tpot_mean", "e2e_mean"):
        line(f"{name[:4].strip('_').upper()} against prefix-cache",
             [value(by[policy], "ratio", name, "mean") for by in pick.values()])
    line("first 100 requests, prefix-cache ÷ policy",
         [value(by[policy], "first_100", "mean") for by in pick.values()])
    line("coverage of the 90 % interval",
         [value(by[policy], "predictions", "coverage") for by in pick.values()])
    served = [by[policy].get("served_to_90_percent") for by in pick.values()]
    served = [s for s in served if s is not None]
    if served:
        print(f"\nRequests served until 90 % of the final gain: at most {max(served)}, "
              f"in {sum(s <= 300 for s in served)} of {len(served)} cells at most 300.")
    for other in ("lodestar-paper",):
        both = [by for by in pick.values() if other in by]
        if both:
            for name in ("ttft_mean", "ttft_p99"):
                mean = lambda row: value(row, "ratio", name, "mean")
                v = [mean(by[policy]) / mean(by[other]) for by in both]
                print(f"\n{other} ÷ {policy}, {name}: {gmean(v):.3f} over {len(v)} cells "
                      f"({min(v):.3f} to {max(v):.3f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="JSON files of `lodestar sim --suite`")
    parser.add_argument("--policy", default="lodestar")
    args = parser.parse_args()
    try:
        rows = rows_of(args.files)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"learning_results.py: {error}")
    table(rows, args.policy)
    goals(rows, args.policy)


if __name__ == "__main__":
    main()
