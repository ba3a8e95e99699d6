# SPDX-License-Identifier: Apache-2.0
"""The layer table: which room may include which, and where Asio may be seen."""
import re

from . import cpp

# Room -> rooms it may include besides itself. A room that is not here is an error.
EDGES = {
    'base': '',
    'prefix': 'base',
    'routing': 'prefix base',
    'config': 'base',
    'learn': 'routing prefix base',
    'policies': 'learn routing prefix base',
    'scaling': 'routing prefix base',
    'telemetry': 'routing base',
    'sim': 'policies learn scaling telemetry routing config prefix base',
    'engines': 'routing base',
    'net': 'base',
    'control': 'engines net routing base',
    'proxy': 'control engines net telemetry routing prefix config base',
    'extproc': 'control engines net telemetry routing prefix config base',
    'emulator': 'sim net config base',
    'loadgen': 'sim net config base',
    'app': '*',
}
ASIO_ROOMS = {'net', 'control', 'proxy', 'extproc', 'emulator', 'loadgen', 'app'}
# Slow to compile: they belong in .cc files.
HEAVY = ('fmt/', 'nlohmann/', 'yaml-cpp/', 'simdjson', 'boost/beast', 'rapidcheck', 'CLI/')


def allowed(room, other):
    edges = EDGES[room]
    return other == room or edges == '*' or other in edges.split()


def room_of(path):
    parts = path.split('/')
    return parts[1] if len(parts) >= 3 and parts[0] == 'src' else None


def check_includes(path, text, report):
    room = room_of(path)
    if room is None:
        return
    if room not in EDGES:
        report('layer', path, 1,
               f'room "{room}" is not in the layer table (tools/tidylib/layers.py)')
        return
    for line, header, quoted in cpp.includes(text):
        first = header.split('/')[0]
        if first == 'boost' and room not in ASIO_ROOMS:
            report('asio', path, line, f'{room} is below net: Boost may not be included here')
        elif quoted and '/' not in header:
            report('layer', path, line, f'write the path from src/: "{room}/{header}"')
        elif quoted and first in EDGES and not allowed(room, first):
            report('layer', path, line, f'{room} may not include {first} '
                   f'(allowed: {EDGES[room] or "nothing but itself"})')
        elif quoted and first not in EDGES:
            report('layer', path, line, f'"{first}" is no room; third-party headers go in <>')
        if path.endswith('.h') and header.startswith(HEAVY):
            report('heavy-header', path, line,
                   f'<{header}> is slow to compile; include it in .cc files')


def check_cmake(path, text, report):
    """The dependencies as built may not be wider than the table."""
    for match in re.finditer(r'lodestar_room\(\s*(\w+)([^)]*)\)', text):
        room, rest = match.group(1), match.group(2)
        line = text.count('\n', 0, match.start()) + 1
        if room not in EDGES:
            report('layer', path, line, f'room "{room}" is not in the layer table')
            continue
        deps = re.search(r'\bDEPS\b((?:\s+(?!LIBS\b|TEST_LIBS\b)\w+)*)', rest)
        for dep in deps.group(1).split() if deps else []:
            if not allowed(room, dep):
                report('layer', path, line, f'{room} may not link {dep}')
