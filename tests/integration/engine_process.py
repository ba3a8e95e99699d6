# SPDX-License-Identifier: Apache-2.0
"""`lodestar` subcommands as processes, for the tests of the engine and the load generator."""
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get('LODESTAR_BIN')
PATIENCE_S = 60


def require_binary():
    if not BIN or not os.path.exists(BIN):
        print('SKIPPED: LODESTAR_BIN names no binary', file=sys.stderr)
        sys.exit(77)


def lodestar(*args, check=True, timeout=240):
    done = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f'{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}')
    return done


class Engine:
    """One `lodestar engine` on a free port."""

    def __init__(self, *args):
        self.log = tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen([BIN, 'engine', '--port', '0', *map(str, args)],
                                        stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = re.search(r'ready at http://[^ ]+:(\d+) ', self.output())
            if found:
                break
            assert self.process.poll() is None and time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        self.port = int(found.group(1))
        self.url = f'http://127.0.0.1:{self.port}'

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def request(self, method, path, body=None, headers=None):
        """(status, headers, text) of one request."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE_S)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        headers = {'Content-Type': 'application/json', **(headers or {})}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, response.headers, text

    def metric(self, name, **labels):
        page = self.request('GET', '/metrics')[2]
        for line in page.splitlines():
            if line.startswith(name + '{') and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.rsplit(' ', 1)[1])
        raise AssertionError(f'no {name} {labels} on the page')

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, 'it never came true'
            time.sleep(0.05)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        self.log.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()
