# SPDX-License-Identifier: Apache-2.0
"""Rules on text: licence line, width, words, paths, names."""
import re

WIDTH = 100
SPDX = 'SPDX-License-Identifier: Apache-2.0'
_CODE = ('.h', '.cc', '.py', '.sh', '.cmake', '.js', 'CMakeLists.txt', 'Makefile', 'tools/tidy',
         '.ci/run', '.clang-format', '.clang-tidy')
_WIDE = ('.h', '.cc', '.py', '.sh', 'tools/tidy', '.ci/run')
# Put together from parts, so that this file does not name itself.
_UNDONE = re.compile(r'\b(?:' + '|'.join(('TO' 'DO', 'FIX' 'ME', 'XX' 'X', 'HA' 'CK')) + r')\b|'
                     r'(?i:\bst' r'ub(?:s|bed)?\b)')
_MACHINE_PATH = re.compile(r'(?<![\w.$})/-])/(?:wo' r'rk|home|root|Users)/[\w.]')
_ALONE = re.compile(r'\b(?:model|Model|model_)\b')


def is_source(path):
    return path.endswith(_CODE)


def check_text(path, text, report):
    lines = text.split('\n')
    if is_source(path) and not any(SPDX in line for line in lines[:3]):
        report('spdx', path, 1, f'the first line must carry "{SPDX}"')
    if path.endswith('.h') and '#pragma once' not in text:
        report('pragma-once', path, 1, 'a header needs #pragma once')
    for number, line in enumerate(lines, 1):
        if path.endswith(_WIDE) and len(line) > WIDTH and not re.search(r'https?://\S{40}', line):
            report('width', path, number, f'{len(line)} columns, the limit is {WIDTH}')
        undone = _UNDONE.search(line)
        if undone:
            report('word', path, number,
                   f'"{undone.group(0)}": finish it or say plainly what is missing')
        machine = _MACHINE_PATH.search(line)
        if machine:
            report('machine-path', path, number,
                   f'"{machine.group(0)}…" exists on one machine only')


def check_names(path, code, report):
    """The word alone could mean three things: served model, predictor, engine model."""
    for match in _ALONE.finditer(code):
        report('name', path, code.count('\n', 0, match.start()) + 1,
               f'"{match.group(0)}" alone: say served_model, predictor or engine')
