#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`lodestar serve` as a process, before emulated engines as processes."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BIN = os.environ.get('LODESTAR_BIN')
MODEL = 'llama-3.1-8b'
PATIENCE_S = 60


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Process:
    """A lodestar subcommand; its output goes to a file."""

    def __init__(self, *args):
        self.log = tempfile.TemporaryFile('w+')
        self.popen = subprocess.Popen([BIN, *args], stdout=self.log, stderr=subprocess.STDOUT)

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def wait_for(self, text):
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.output():
            assert self.popen.poll() is None, f'ended early:\n{self.output()}'
            assert time.monotonic() < deadline, f'no "{text}" in:\n{self.output()}'
            time.sleep(0.02)
        return self.output()

    def stop(self, how=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        return self.popen.wait(PATIENCE_S)


class Engine(Process):
    def __init__(self, port=0, **options):
        args = [f'--{k.replace("_", "-")}={v}' for k, v in options.items()]
        super().__init__('engine', '--gpu', 'a30', '--served-model', MODEL, '--port', str(port),
                         *args)
        ready = self.wait_for('ready at http://')
        self.port = int(re.search(r'ready at http://[^:]+:(\d+)', ready).group(1))
        self.url = f'http://127.0.0.1:{self.port}'


class Router(Process):
    def __init__(self, engines, *args, wait=True):
        self.port = free_port()
        listed = [f'--engine={e.url}' for e in engines]
        super().__init__('serve', f'--listen=127.0.0.1:{self.port}', *listed, *args)
        self.wait_for('ready at')
        if wait:
            until(lambda: len(re.findall(r'^lodestar_instance_up\{.*\} 1$', self.get('/metrics')[2],
                                         re.M)) == len(engines))

    def connect(self):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE_S)

    def request(self, method, path, body=None, headers=None):
        connection = self.connect()
        if isinstance(body, dict):
            body = json.dumps(body)
        connection.request(method, path, body,
                           {'Content-Type': 'application/json', **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), text

    def get(self, path):
        return self.request('GET', path)

    def complete(self, tokens=4, stream=False, headers=None, **more):
        body = {'model': MODEL, 'prompt': 'a b c', 'max_tokens': tokens, 'ignore_eos': True,
                'stream': stream, **more}
        return self.request('POST', '/v1/completions', body, headers)

    def metric(self, name):
        found = re.search(rf'^{re.escape(name)} (\S+)$', self.get('/metrics')[2], re.M)
        return float(found.group(1)) if found else None


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, 'it never came to pass'
        time.sleep(0.02)


def run(*args):
    return subprocess.run([BIN, *args], capture_output=True, text=True, timeout=PATIENCE_S,
                          check=False)


def events(text):
    return [line[6:] for line in text.split('\n') if line.startswith('data: ')]


class LiveCase(unittest.TestCase):
    """Starts processes and ends them all."""

    def setUp(self):
        self.processes = []

    def tearDown(self):
        for p in self.processes:
            p.stop(signal.SIGKILL)
            p.log.close()

    def engine(self, **options):
        self.processes.append(Engine(**options))
        return self.processes[-1]

    def router(self, engines, *args, **more):
        self.processes.append(Router(engines, *args, **more))
        return self.processes[-1]


class LiveTest(LiveCase):
    def test_zero_configuration(self):
        a, b = self.engine(time_scale=10), self.engine(time_scale=10)
        r = self.router([a, b])
        self.assertIn(f'http://127.0.0.1:{r.port}/v1', r.output())
        self.assertIn(MODEL, r.wait_for('policy'))
        status, headers, text = r.complete()
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(text)['usage']['completion_tokens'], 4)
        self.assertIn('x-lodestar-instance', headers)  # on by itself on loopback
        self.assertEqual(headers['x-lodestar-policy'], 'lodestar')  # the default
        status, headers, _ = r.complete(headers={'routing-strategy': 'round-robin'})
        self.assertEqual(headers['x-lodestar-policy'], 'round-robin')
        status, _, text = r.complete(headers={'routing-strategy': 'no-such'})
        self.assertEqual(status, 400)
        self.assertIn('prefix-cache', text)
        status, _, text = r.complete(tokens=20, stream=True)
        self.assertEqual(events(text)[-1], '[DONE]')
        self.assertEqual(len(json.loads(r.get('/v1/models')[2])['data']), 1)
        self.assertEqual(r.get('/healthz')[0], 200)
        self.assertEqual(r.get('/readyz')[0], 200)

    def test_clear_answers_to_wrong_requests(self):
        r = self.router([self.engine()])
        for body, status, word in [('{"model":', 400, 'JSON'), ('', 400, 'empty'),
                                   ('{}', 400, 'model'),
                                   ('{"model":"nope"}', 404, '`nope` does not exist')]:
            got, _, text = r.request('POST', '/v1/chat/completions', body)
            self.assertEqual(got, status, body)
            self.assertIn(word, json.loads(text)['error']['message'])
        self.assertEqual(r.get('/v1/chat/completions')[0], 405)
        self.assertEqual(r.get('/nothing')[0], 404)
        status, _, text = r.complete(prompt='word ' * 200_000)  # 1 MB; the engine refuses it
        self.assertEqual(status, 400)
        self.assertIn('maximum context length', text)

    def test_metrics_page_is_well_formed(self):
        r = self.router([self.engine(time_scale=10)])
        self.assertEqual(r.complete(stream=True)[0], 200)
        page = r.get('/metrics')[2]
        for line in page.rstrip('\n').split('\n'):
            self.assertRegex(line, r'^(# (HELP|TYPE) lodestar_\w+ .+|lodestar_\w+(\{.*\})? \S+)$')
        names = re.findall(r'^# TYPE (\S+)', page, re.M)
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(names, re.findall(r'^# HELP (\S+)', page, re.M))
        if shutil.which('promtool'):
            checked = subprocess.run(['promtool', 'check', 'metrics'], input=page, text=True,
                                     capture_output=True, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_a_killed_engine_is_an_error_event_and_then_no_candidate(self):
        a, b = self.engine(), self.engine()
        r = self.router([a, b])
        connection = r.connect()
        connection.request('POST', '/v1/completions',
                           json.dumps({'model': MODEL, 'prompt': 'x', 'max_tokens': 4000,
                                       'ignore_eos': True, 'stream': True}),
                           {'Content-Type': 'application/json'})
        answer = connection.getresponse()
        first = answer.read1(100)
        used = answer.getheader('x-lodestar-instance')
        dead = a if used.endswith(str(a.port)) else b
        dead.stop(signal.SIGKILL)
        text = (first + answer.read()).decode()
        self.assertEqual(events(text)[-1], '[DONE]')
        self.assertIn('error', json.loads(events(text)[-2]))
        for _ in range(6):
            self.assertEqual(r.complete()[0], 200)
        label = f'{{instance="127.0.0.1:{dead.port}"}}'
        until(lambda: r.metric(f'lodestar_instance_up{label}') == 0)
        self.engine(port=dead.port)
        until(lambda: r.metric(f'lodestar_instance_up{label}') == 1)
        self.assertEqual(r.metric(f'lodestar_instance_incarnation{label}'), 1)
        self.assertEqual(r.metric('lodestar_router_open_leases'), 0)

    def test_a_client_that_leaves_frees_the_engine(self):
        a = self.engine()
        r = self.router([a])
        connection = r.connect()
        connection.request('POST', '/v1/completions',
                           json.dumps({'model': MODEL, 'prompt': 'x', 'max_tokens': 4000,
                                       'ignore_eos': True, 'stream': True}),
                           {'Content-Type': 'application/json'})
        connection.getresponse().read1(10)
        self.assertEqual(r.metric('lodestar_router_open_leases'), 1)
        connection.close()
        until(lambda: r.metric('lodestar_router_open_leases') == 0)
        until(lambda: r.metric(f'lodestar_instance_running{{instance="127.0.0.1:{a.port}"}}') == 0)

    def test_sigterm_drains(self):
        r = self.router([self.engine()])
        result = []
        thread = threading.Thread(target=lambda: result.append(r.complete(tokens=60, stream=True)))
        thread.start()
        until(lambda: r.metric('lodestar_inflight_requests') == 1)
        r.popen.send_signal(signal.SIGTERM)
        until(lambda: r.get('/readyz')[0] == 503)
        status, headers, _ = r.complete()
        self.assertEqual(status, 503)
        self.assertIn('retry-after', headers)
        thread.join()
        self.assertEqual(result[0][0], 200)
        self.assertEqual(events(result[0][2])[-1], '[DONE]')
        self.assertEqual(r.popen.wait(PATIENCE_S), 0)

    def test_a_second_signal_stops_at_once(self):
        r = self.router([self.engine()])
        connection = r.connect()
        connection.request('POST', '/v1/completions',
                           json.dumps({'model': MODEL, 'prompt': 'x', 'max_tokens': 4000,
                                       'ignore_eos': True, 'stream': True}),
                           {'Content-Type': 'application/json'})
        connection.getresponse().read1(10)
        r.popen.send_signal(signal.SIGTERM)
        r.wait_for('draining')
        r.popen.send_signal(signal.SIGTERM)
        self.assertEqual(r.popen.wait(PATIENCE_S), 1)

    def test_the_journal_replays_and_holds_no_prompt(self):
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, 'journal')
            r = self.router([self.engine(time_scale=20), self.engine(time_scale=20)],
                            f'--journal={log}')
            secret = 'the prompt that nobody may read'
            for i in range(20):
                self.assertEqual(r.complete(prompt=f'{secret} {i} ' * 40, stream=True)[0], 200)
            self.assertEqual(r.stop(), 0)
            self.assertNotIn(secret, r.output())
            with open(log, encoding='utf-8') as f:
                self.assertNotIn(secret, f.read())
            done = run('replay', '--log', log)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn('20 decisions', done.stdout)
            with open(log, encoding='utf-8') as f:
                lines = f.read().split('\n')
            at = next(i for i, line in enumerate(lines) if '"x":"dispatch"' in line)
            lines[at] = re.sub(r'"to":\[\[0,\d+', '"to":[[0,9', lines[at])
            with open(log, 'w', encoding='utf-8') as f:
                f.write('\n'.join(lines))
            done = run('replay', '--log', log)
            self.assertEqual(done.returncode, 1)
            self.assertIn('first difference: record', done.stdout)

    def test_doctor_says_why(self):
        a = self.engine()
        done = run('doctor', '--engine', a.url, '--engine', f'http://127.0.0.1:{free_port()}',
                   '--wait', '1')
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(f'serves {MODEL}', done.stdout)
        self.assertIn('not a candidate', done.stdout)
        self.assertIn('refused', done.stdout)
        done = run('doctor', '--engine', a.url)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_bad_configurations_say_what_is_wrong(self):
        cases = [(['serve'], '--engine'), (['serve', '--engine', 'https://x'], 'https'),
                 (['serve', '--engine', 'x:1', '--policy', 'lmetrik'], 'lmetric'),
                 (['serve', '--engine', 'x:1', '--listen', 'nowhere'], 'host:port'),
                 (['serve', '--config', 'configs/serve.yaml', '--check-config'], 'valid'),
                 (['serve', '--config', 'configs/serve-full.yaml', '--check-config'], 'valid')]
        for args, word in cases:
            done = run(*args)
            self.assertEqual(done.returncode, 0 if word == 'valid' else 2, args)
            self.assertIn(word, done.stdout + done.stderr)
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            done = run('serve', '--engine', 'x:1', '--listen',
                       f'127.0.0.1:{taken.getsockname()[1]}')
            self.assertEqual(done.returncode, 2)
            self.assertIn('in use', done.stderr)


if __name__ == '__main__':
    if not BIN:
        print('LODESTAR_BIN is not set: no binary to test')
        sys.exit(77)
    unittest.main(verbosity=2)
