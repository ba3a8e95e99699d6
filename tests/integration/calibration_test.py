#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One workload through two live engines and through the simulator: mean TTFT and TPOT agree.

The engine's decisions are the same by construction; what is measured here is what the wall
clock, the HTTP face and the load generator add. A busy machine adds more, so the best of a
few tries counts; a wrong engine is wrong in all of them.
"""
import json
import os
import tempfile
import unittest

from engine_process import Engine, lodestar, require_binary

TIME_SCALE = 4
TRIES = 3
TOLERANCE = 0.05
WORKLOAD = '''
synthetic:
  {kind: shared-prefix, share: 0.5, prompt_tokens: [1000, 2000, 4000], prefixes_per_length: 10,
   uses_per_prefix: 10, output_tokens: {min: 50, max: 150}}
arrivals: {kind: poisson, rate_rps: 4}
max_requests: 240
warmup_requests: 20
seed: 1
'''
CLUSTER = '''
groups:
- {count: 2, gpu: a30, served_model: llama-3.1-8b}
'''


class Calibration(unittest.TestCase):
    def test_two_live_engines_agree_with_the_simulator(self):
        with tempfile.TemporaryDirectory() as folder:
            def path(name):
                return os.path.join(folder, name)

            for name, text in (('w.yaml', WORKLOAD), ('c.yaml', CLUSTER)):
                with open(path(name), 'w') as f:
                    f.write(text)
            lodestar('sim', '--cluster', path('c.yaml'), '--workload', path('w.yaml'),
                     '--policy', 'round-robin', '--json', path('sim.json'))
            with open(path('sim.json')) as f:
                expected = json.load(f)['cells'][0]
            for attempt in range(TRIES):
                live = self.live(path)
                errors = {name: live[name]['mean'] / expected[name]['mean'] - 1
                          for name in ('ttft_ms', 'tpot_ms')}
                hit = live['prefix_hit_ratio'] - expected['prefix_hit_ratio']
                print(f'try {attempt + 1}: hit {hit:+.4f}')
                for name, error in errors.items():
                    print(f'  {name} {live[name]["mean"]:.1f} live, '
                          f'{expected[name]["mean"]:.1f} simulated ({100 * error:+.1f} %)')
                if all(abs(error) <= TOLERANCE for error in errors.values()):
                    break
            else:
                self.fail(f'further than {TOLERANCE:.0%} from the simulator in {TRIES} tries')
            self.assertLess(abs(hit), 0.02)

    def live(self, path):
        engines = [Engine('--config', path('c.yaml'), '--instance', i, '--time-scale', TIME_SCALE)
                   for i in range(2)]
        try:
            lodestar('bench', '--target', ','.join(e.url for e in engines), '--workload',
                     path('w.yaml'), '--time-scale', TIME_SCALE, '--json', path('live.json'),
                     '--quiet')
        finally:
            for engine in engines:
                engine.stop()
        with open(path('live.json')) as f:
            cell = json.load(f)['cells'][0]
        self.assertEqual(cell['failed'], 0)
        return cell


if __name__ == '__main__':
    require_binary()
    unittest.main(verbosity=2)
