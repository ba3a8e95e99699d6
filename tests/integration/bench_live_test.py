#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`lodestar bench` against live emulated engines."""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

from engine_process import BIN, Engine, lodestar, require_binary

OPEN_LOOP = '''
synthetic:
  {kind: shared-prefix, share: 0.5, prompt_tokens: [500, 1000], prefixes_per_length: 4,
   uses_per_prefix: 20, output_tokens: {min: 10, max: 30}}
arrivals: {kind: poisson, rate_rps: 5}
max_requests: 60
warmup_requests: 10
'''
TURNS = '''
synthetic:
  {kind: multi-turn, sessions: 5, turns: 4, system_prompt_tokens: 100, new_tokens: 50,
   think_time_s: 0.5, output_tokens: 40}
arrivals: {kind: closed, concurrency: 5}
'''


class BenchLive(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, text=''):
        path = os.path.join(self.folder.name, name)
        if text:
            with open(path, 'w') as f:
                f.write(text)
        return path

    def bench(self, url, workload, *args, check=True):
        out = self.file('out.json')
        done = lodestar('bench', '--target', url, '--workload', self.file('w.yaml', workload),
                        '--json', out, *args, check=check)
        with open(out) as f:
            return done, json.load(f)

    def test_prompts_are_exact_and_the_result_has_the_simulators_form(self):
        with Engine('--gpu', 'a30', '--time-scale', 5) as engine:
            samples = self.file('samples.jsonl')
            done, result = self.bench(engine.url, OPEN_LOOP, '--time-scale', 5,
                                      '--samples', samples, '--label', 'direct')
            cell, bench = result['cells'][0], result['bench']
            self.assertEqual((cell['policy'], cell['requests'], cell['failed']), ('direct', 50, 0))
            self.assertNotIn('decision_hash', cell)
            for name in ('ttft_ms', 'tpot_ms', 'e2e_ms'):
                self.assertEqual(set(cell[name]), {'mean', 'p50', 'p90', 'p99'})
            # The engine counted every prompt as the workload planned it.
            self.assertEqual(bench['prompts_as_planned'], 60)
            self.assertGreater(cell['prefix_hit_ratio'], 0.2)
            self.assertAlmostEqual(bench['wall']['ttft_ms']['mean'] * 5, cell['ttft_ms']['mean'], 6)
            with open(samples) as f:
                rows = [json.loads(line) for line in f]
            self.assertEqual(len(rows), 60)
            self.assertTrue(all(row['ok'] for row in rows))
            self.assertIn('TTFT', done.stdout)
            self.assertIn('sent', done.stderr)  # progress lines

    def test_chat_adds_the_documented_template(self):
        with Engine('--gpu', 'a30', '--time-scale', 20) as engine:
            samples = self.file('samples.jsonl')
            self.bench(engine.url, OPEN_LOOP, '--time-scale', 20, '--endpoint', 'chat',
                       '--samples', samples)
            with open(samples) as f:
                self.assertEqual({json.loads(line)['prompt_tokens'] for line in f}, {507, 1007})

    def test_later_turns_hit_generated_blocks(self):
        for endpoint in ('completions', 'chat'):
            with Engine('--gpu', 'a30', '--time-scale', 20) as engine:
                samples = self.file('samples.jsonl')
                self.bench(engine.url, TURNS, '--time-scale', 20, '--endpoint', endpoint,
                           '--samples', samples)
                with open(samples) as f:
                    rows = [json.loads(line) for line in f]
                self.assertEqual(len(rows), 20)
                # The last turn's prompt is all history but for its question: what is not
                # cached is that question and less than two blocks.
                last = max(row['prompt_tokens'] for row in rows)
                for row in rows:
                    if row['prompt_tokens'] == last:
                        self.assertLess(last - row['cached_tokens'], 50 + 8 + 32, row)

    def test_failures_are_counted_with_reasons(self):
        with Engine('--gpu', 'a30', '--time-scale', 20, '--fail-after', 20) as engine:
            done, result = self.bench(engine.url, OPEN_LOOP, '--time-scale', 20, check=False)
            self.assertEqual(done.returncode, 1)
            failures = result['bench']['failures']
            self.assertGreaterEqual(sum(failures.values()), 40)
            self.assertTrue(all(reason.startswith('connection') for reason in failures), failures)

    def test_interrupt_prints_partial_results(self):
        with Engine('--gpu', 'a30') as engine:
            out = self.file('out.json')
            process = subprocess.Popen(
                [BIN, 'bench', '--target', engine.url, '--workload', self.file('w.yaml', OPEN_LOOP),
                 '--json', out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(3)
            process.send_signal(signal.SIGINT)
            stdout, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1)
            self.assertIn('stopped early', stdout)
            with open(out) as f:
                bench = json.load(f)['bench']
            self.assertTrue(bench['interrupted'])
            self.assertEqual(bench['sent'] + bench['unsent'], 60)
            engine.until(lambda: json.loads(engine.request('GET', '/load')[2])['server_load'] == 0)

    def test_bad_input_is_explained(self):
        workload = self.file('w.yaml', OPEN_LOOP)
        done = lodestar('bench', '--target', 'https://x', '--workload', workload, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn('https', done.stderr)
        done = lodestar('bench', '--target', 'http://127.0.0.1:1', '--workload', workload,
                        check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn('127.0.0.1:1', done.stderr)


if __name__ == '__main__':
    require_binary()
    unittest.main(verbosity=2)
