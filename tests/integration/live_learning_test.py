#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `lodestar serve` learns: by default, on the metrics page, and across restarts."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from engine_process import require_binary
from proxy_live_test import MODEL, LiveCase, Router, run, until

LABELS = f'policy="lodestar",served_model="{MODEL}"'


class LiveLearning(LiveCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = os.path.join(folder.name, 'state')
        self.journal = os.path.join(folder.name, 'journal')
        self.config = os.path.join(folder.name, 'serve.yaml')

    def serve(self, engines, *args, save_every_s=3600):
        """A router with a state file and a decision log of its own."""
        with open(self.config, 'w', encoding='utf-8') as f:
            f.write(f'learning: {{state_file: {self.state}, save_every_s: {save_every_s}}}\n'
                    'expose_routing: true\nengines:\n')
            for i, engine in enumerate(engines):
                f.write(f'  - {{url: "{engine.url}", name: e{i}}}\n')
        self.processes.append(ConfiguredRouter(len(engines), '--config', self.config,
                                               '--journal', self.journal, *args))
        return self.processes[-1]

    def ask(self, router, count, tag='x', stream=True):
        for i in range(count):
            status, headers, _ = router.complete(tokens=8, stream=stream,
                                                 prompt=f'{tag} {i} ' * 300)
            self.assertEqual(status, 200)
        return headers

    def learn(self, router, name, labels=LABELS):
        return router.metric(f'lodestar_{name}{{{labels}}}')

    def replay(self):
        done = run('replay', '--log', self.journal)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('all effects as logged', done.stdout)
        return done.stdout

    def test_it_is_the_default_and_says_what_it_expects(self):
        r = self.serve([self.engine(time_scale=10), self.engine(time_scale=10)])
        headers = self.ask(r, 40)
        self.assertEqual(headers['x-lodestar-policy'], 'lodestar')
        self.assertGreater(float(headers['x-lodestar-predicted-ttft-ms']), 0)
        self.assertEqual(self.learn(r, 'learn_samples_total'), 40)
        self.assertEqual(self.learn(r, 'learn_decisions_total'), 40)
        self.assertEqual(self.learn(r, 'prediction_error_seconds_count'), 40)
        self.assertLess(self.learn(r, 'learn_last_successful_update_age_seconds'), 10)
        for of in ('ttft', 'tpot', 'e2e'):
            of_all = [self.learn(r, 'learn_intervals_total', f'{LABELS},instance="e{i}",of="{of}"')
                      for i in (0, 1)]
            self.assertEqual(sum(of_all), 40, of)
        for i in (0, 1):
            self.assertGreater(self.learn(r, 'learn_pace_ratio', f'{LABELS},instance="e{i}"'), 0)
        for reason in ('cold', 'out_of_range', 'nan'):
            self.assertEqual(
                self.learn(r, 'learn_fallback_share_ratio', f'{LABELS},reason="{reason}"'), 0)
        if shutil.which('promtool'):
            checked = subprocess.run(['promtool', 'check', 'metrics'], input=r.get('/metrics')[2],
                                     text=True, capture_output=True, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertEqual(r.stop(), 0)
        with open(self.journal, encoding='utf-8') as f:
            told = [line for line in f if '"ttft90_ms":[' in line]
        self.assertEqual(len(told), 40)
        self.assertRegex(self.replay(), r'expected against observed TTFT: 40 requests')

    def test_what_was_learned_survives_a_restart_and_replays(self):
        engines = [self.engine(time_scale=10), self.engine(time_scale=10)]
        r = self.serve(engines)
        self.assertIn('no learned state yet', r.output())
        self.ask(r, 40)
        pace = self.learn(r, 'learn_pace_ratio', f'{LABELS},instance="e0"')
        self.assertEqual(r.stop(), 0)

        r = self.serve(engines)
        self.assertIn('loaded states=1', r.output())
        self.assertEqual(r.metric('lodestar_learn_state_loaded_total'), 1)
        self.ask(r, 1, 'y')
        samples = [self.learn(r, 'learn_instance_samples_total', f'{LABELS},instance="e{i}"')
                   for i in (0, 1)]
        self.assertEqual(sum(samples), 41)
        now = self.learn(r, 'learn_pace_ratio', f'{LABELS},instance="e0"')
        self.assertLess(abs(now / pace - 1), 0.2)
        self.assertEqual(r.stop(), 0)
        os.remove(self.state)  # the log alone must do
        self.replay()

    def test_it_is_saved_while_running_and_kill_9_loses_little(self):
        r = self.serve([self.engine(time_scale=10)], save_every_s=1)
        self.ask(r, 20)
        saves = r.metric('lodestar_learn_state_saves_total')
        until(lambda: r.metric('lodestar_learn_state_saves_total') >= saves + 1)
        r.stop(9)
        self.assertFalse(os.path.exists(self.state + '.tmp'))
        r = self.serve([self.engine(time_scale=10)])
        self.assertEqual(r.metric('lodestar_learn_state_loaded_total'), 1)

    def test_a_router_without_requests_keeps_the_file(self):
        engines = [self.engine(time_scale=10)]
        self.ask(self.serve(engines), 10)
        self.processes[-1].stop()
        with open(self.state, 'rb') as f:
            before = f.read()
        self.serve(engines).stop()
        with open(self.state, 'rb') as f:
            self.assertEqual(f.read(), before)

    def test_a_bad_file_is_kept_aside_and_learning_starts_cold(self):
        engines = [self.engine(time_scale=10)]
        self.ask(self.serve(engines), 10)
        self.processes[-1].stop()
        with open(self.state, 'rb') as f:
            good = f.read()
        other = bytearray(good)
        other[12] = 1  # the kind
        for bad, why in [(good[:100] + b'!' + good[101:], 'checksum'), (b'', 'empty'),
                         (b'not at all', 'LODEPRED'), (bytes(other), 'kind is 1')]:
            with open(self.state, 'wb') as f:
                f.write(bad)
            r = self.serve(engines)
            self.assertRegex(r.output(), rf'error learning .*{why}.*starts cold')
            self.assertEqual(r.metric('lodestar_learn_state_refused_total'), 1)
            with open(self.state + '.bad', 'rb') as f:
                self.assertEqual(f.read(), bad)
            self.ask(r, 3, why)
            self.assertEqual(r.stop(), 0)
            self.assertTrue(os.path.exists(self.state))  # and is kept from now on

    def test_a_place_that_cannot_be_written_is_counted_and_serves_on(self):
        self.state = '/proc/no-such-folder/state'
        r = self.serve([self.engine(time_scale=10)], save_every_s=1)
        self.ask(r, 5)
        until(lambda: r.metric('lodestar_learn_state_save_failures_total') >= 1)
        self.assertIn('cannot write /proc', r.output())
        self.assertEqual(r.stop(), 0)

    def test_trap_18_a_dead_learner_shows_in_the_age_of_its_last_update(self):
        # Nothing else shows it: requests are answered, decisions made, nothing fails.
        r = self.serve([self.engine(time_scale=10)], '--policy', 'lodestar:freeze_after=5')
        labels = f'policy="lodestar:freeze_after=5",served_model="{MODEL}"'
        age = 'learn_last_successful_update_age_seconds'
        self.ask(r, 10)
        frozen = self.learn(r, age, labels)
        time.sleep(1.5)
        self.ask(r, 3, 'y')
        self.assertGreater(self.learn(r, age, labels), frozen + 1.4)
        self.assertEqual(self.learn(r, 'learn_decisions_total', labels), 13)
        self.assertEqual(r.metric('lodestar_router_fallback_decisions_total') or 0, 0)


class ConfiguredRouter(Router):
    def __init__(self, engines, *args):
        super().__init__([], *args, wait=False)
        until(lambda: len(re.findall(r'^lodestar_instance_up\{.*\} 1$', self.get('/metrics')[2],
                                     re.M)) == engines)


if __name__ == '__main__':
    require_binary()
    unittest.main(verbosity=2)
