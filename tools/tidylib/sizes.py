# SPDX-License-Identifier: Apache-2.0
"""Size ratchets: what is under a limit may not cross it, what is over may not grow."""
import json

FUNCTION_LINES = 70
FILE_LINES = 400
EXTENSIONS = ('.h', '.cc', '.py')


class Ratchet:
    """Recorded sizes. Entries are only ever lowered or removed by the tool."""

    def __init__(self, path):
        self.path = path
        self.recorded = {'files': {}, 'functions': {}}
        if path.exists():
            self.recorded.update(json.loads(path.read_text()))
        self.seen = {'files': {}, 'functions': {}}

    def _check(self, kind, key, size, limit, what, path, line, report):
        if size <= limit:
            return
        self.seen[kind][key] = max(size, self.seen[kind].get(key, 0))
        known = self.recorded[kind].get(key)
        if known is None:
            report(f'{kind[:-1]}-size', path, line,
                   f'{what} has {size} lines, the limit is {limit}: split it')
        elif size > known:
            report(f'{kind[:-1]}-size', path, line,
                   f'{what} grew from {known} to {size} lines; it may only shrink (limit {limit})')

    def check_file(self, path, lines, report):
        self._check('files', path, lines, FILE_LINES, 'the file', path, 1, report)

    def check_functions(self, path, functions, report):
        for name, line, size in functions:
            self._check('functions', f'{path}:{name}', size, FUNCTION_LINES, f'{name}()',
                        path, line, report)

    def stale(self):
        """Keys whose recorded size is above what is there now: the ratchet can be tightened."""
        return [key for kind, known in self.recorded.items() for key, size in known.items()
                if self.seen[kind].get(key, 0) < size]

    def tighten(self):
        """Writes the file with lowered entries; never raises or adds one."""
        for kind, known in self.recorded.items():
            self.recorded[kind] = {key: min(size, self.seen[kind][key])
                                   for key, size in sorted(known.items()) if key in self.seen[kind]}
        self.path.write_text(json.dumps(self.recorded, indent=1) + '\n')
