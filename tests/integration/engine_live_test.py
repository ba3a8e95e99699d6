#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`lodestar engine` as a process: what a client, a scraper and an operator meet."""
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from engine_process import BIN, PATIENCE_S, Engine, lodestar, require_binary

GROUP = '''# One group's keys at top level, without presets.
gpu: {peak_tflops: 165, bandwidth_gb_s: 933, eta_c: 0.74, eta_m: 0.75, eta_kv: 0.8, eta_kvm: 0.4,
      eta_a: 0.6, p: 2.0, memory_gb: 24}
served_model: llama-3.1-8b
kv_capacity_tokens: 20000
max_model_len: 8000
'''


class EngineLive(unittest.TestCase):
    def test_serves_from_a_group_file_and_ends_on_sigterm(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
            f.write(GROUP)
            f.flush()
            with Engine('--config', f.name, '--time-scale', 20) as engine:
                self.assertIn('context 8000', engine.output())
                card = json.loads(engine.request('GET', '/v1/models')[2])['data'][0]
                self.assertEqual((card['id'], card['max_model_len']), ('llama-3.1-8b', 8000))
                status, _, text = engine.request(
                    'POST', '/v1/completions',
                    {'model': 'llama-3.1-8b', 'prompt': 'one two three', 'max_tokens': 5})
                self.assertEqual(status, 200, text)
                self.assertEqual(json.loads(text)['usage']['prompt_tokens'], 3)
                self.assertEqual(engine.stop(), 0)

    def test_bad_files_and_names_are_explained(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
            f.write(GROUP + 'kv_capacity_tokenz: 3\n')
            f.flush()
            done = lodestar('engine', '--config', f.name, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn('kv_capacity_tokenz', done.stderr)
            self.assertIn(f'{f.name}:7', done.stderr)
        done = lodestar('engine', '--gpu', 'abacus', check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn('a30', done.stderr)
        self.assertEqual(lodestar('engine', check=False).returncode, 2)

    def test_an_absurd_max_tokens_is_refused_at_once(self):
        with Engine('--gpu', 'a30') as engine:
            body = {'prompt': 'x', 'max_tokens': 2**63 - 1, 'ignore_eos': True}
            status, _, text = engine.request('POST', '/v1/completions', body)
            self.assertEqual(status, 400, text)
            self.assertEqual(engine.request('GET', '/health')[0], 200)

    def test_disconnect_is_an_abort_and_frees_the_cache(self):
        with Engine('--gpu', 'a30') as engine:
            connection = http.client.HTTPConnection('127.0.0.1', engine.port, timeout=PATIENCE_S)
            body = {'prompt': 'x ' * 2000, 'max_tokens': 30000, 'ignore_eos': True, 'stream': True}
            connection.request('POST', '/v1/completions', json.dumps(body),
                               {'Content-Type': 'application/json'})
            response = connection.getresponse()
            response.read(200)
            self.assertEqual(engine.metric('vllm:num_requests_running'), 1)
            response.close()
            connection.close()
            engine.until(lambda: engine.metric('vllm:request_success_total',
                                               finished_reason='abort') == 1)
            engine.until(lambda: json.loads(engine.request('GET', '/load')[2])['server_load'] == 0)

    def test_promtool_finds_only_what_it_finds_on_vllms_own_page(self):
        promtool = shutil.which('promtool') or os.environ.get('PROMTOOL')
        if not promtool:
            self.skipTest('promtool is not installed (Debian package prometheus)')
        with Engine('--gpu', 'a30', '--time-scale', 50) as engine:
            engine.request('POST', '/v1/completions', {'prompt': 'x', 'max_tokens': 5})
            page = engine.request('GET', '/metrics')[2]
        done = subprocess.run([promtool, 'check', 'metrics'], input=page, capture_output=True,
                              text=True)
        complaints = [line for line in (done.stdout + done.stderr).splitlines()
                      if "should not contain ':'" not in line
                      and not line.startswith('vllm:iteration_tokens_total non-counter')]
        self.assertEqual(complaints, [])
        self.assertIn(done.returncode, (0, 3))  # 3: lint only, the page parses

    def test_official_python_client(self):
        try:
            import openai
        except ImportError:
            self.skipTest('the openai package is not installed')
        with Engine('--gpu', 'h100', '--time-scale', 20) as engine:
            client = openai.OpenAI(base_url=engine.url + '/v1', api_key='none', max_retries=0)
            chat = client.chat.completions.create(
                model='llama-3.1-8b', messages=[{'role': 'user', 'content': 'hi'}], max_tokens=5)
            self.assertEqual(chat.usage.prompt_tokens, 8)
            stream = client.chat.completions.create(
                model='llama-3.1-8b', messages=[{'role': 'user', 'content': 'hi'}], max_tokens=5,
                stream=True, extra_body={'ignore_eos': True})
            text = ''.join(c.choices[0].delta.content or '' for c in stream if c.choices)
            self.assertEqual(len(text), 25)
            with self.assertRaises(openai.NotFoundError):
                client.completions.create(model='gpt-x', prompt='hi')
            with self.assertRaises(openai.BadRequestError):
                client.completions.create(model='llama-3.1-8b', prompt='hi', n=2)


if __name__ == '__main__':
    require_binary()
    unittest.main(verbosity=2)
