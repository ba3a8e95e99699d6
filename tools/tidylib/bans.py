# SPDX-License-Identifier: Apache-2.0
"""What the deterministic rooms may not use: clocks, chance, threads, library maths, hash order."""
import re

from . import cpp
from .layers import room_of

CORE_ROOMS = {'base', 'prefix', 'routing', 'learn', 'policies', 'scaling', 'sim'}

_LIBM = ('exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|'
         'asinh|acosh|atanh|cbrt|hypot|erf|erfc|tgamma|lgamma')
_BARE_LIBM = _LIBM.replace('exp2|', '').replace('|log|', '|')  # log() is also our logger

# rule -> (pattern on stripped code, why)
PATTERNS = {
    'clock': (r'\b(?:system_clock|steady_clock|high_resolution_clock|clock_gettime|gettimeofday|'
              r'__rdtsc|__DATE__|__TIME__)\b|'
              r'(?<![\w.>:])(?:std::)?(?:time|clock)\s*\(\s*(?:nullptr|NULL|0|&\w+)?\s*\)',
              'time is an argument'),
    'random': (r'\bstd::(?:rand|srand|mt19937(?:_64)?|random_device|default_random_engine|shuffle|'
               r'sample|\w+_distribution)\b|(?<![\w.>:])s?rand\s*\(',
               'use base/rng.h, passed in'),
    'thread': (r'\bstd::(?:jthread|thread|mutex|recursive_mutex|shared_mutex|timed_mutex|atomic\w*|'
               r'condition_variable\w*|async|future|promise|lock_guard|unique_lock|scoped_lock|'
               r'call_once|this_thread)\b|\bthread_local\b|\bpthread_\w+',
               'the core has one owner and no threads'),
    'libm': (rf'\bstd::(?:{_LIBM})[fl]?\s*\(|(?<![\w.>:])(?:{_BARE_LIBM})[fl]?\s*\(|'
             rf'(?<![\w:])::(?:{_LIBM})[fl]?\s*\(|\b__builtin_(?:{_LIBM})[fl]?\s*\(',
             'its bits depend on the CPU; use base/math.h'),
    'throw': (r'(?<!\w)throw\b', 'errors are values: Result<T> of base/result.h'),
    'pointer-order': (r'\bstd::(?:map|set|multimap|multiset)\s*<\s*(?:const\s+)?'
                      r'[\w:]+(?:\s+const)?\s*\*',
                      'addresses differ between runs; order by a stable id'),
    'environment': (r'\b(?:getenv|secure_getenv|setlocale)\s*\(',
                    'the environment is not an argument'),
}
_COMPILED = {rule: (re.compile(p), why) for rule, (p, why) in PATTERNS.items()}
_HEADERS = {'chrono': 'clock', 'ctime': 'clock', 'time.h': 'clock', 'sys/time.h': 'clock',
            'random': 'random', 'thread': 'thread', 'mutex': 'thread', 'shared_mutex': 'thread',
            'atomic': 'thread', 'condition_variable': 'thread', 'future': 'thread',
            'semaphore': 'thread', 'latch': 'thread', 'barrier': 'thread', 'stop_token': 'thread'}
_UNORDERED = re.compile(r'\bunordered_(?:map|set|multimap|multiset)\s*<')
_STATIC = re.compile(r'\bstatic\s+(?!const\b|constexpr\b|constinit\s+const\b|_?assert)'
                     r'(?:inline\s+)?(?!const\b|constexpr\b)([\w:<>,\s*&]+?)\s*([=({;\[])')
_NOT_A_VARIABLE = re.compile(
    r'^(?:using|typedef|class|struct|union|enum|template|friend|static_assert|namespace|extern|'
    r'concept|requires|export|return|TEST|INSTANTIATE)\b|\b(?:const|constexpr|operator)\b')


def is_core(path):
    """Core code proper: tests beside it may use threads, clocks and the library."""
    return room_of(path) in CORE_ROOMS and not path.endswith('_test.cc')


def _line(code, offset):
    return code.count('\n', 0, offset) + 1


def check_bans(path, text, code, report):
    for line, header, quoted in cpp.includes(text):
        if not quoted and header in _HEADERS:
            rule = _HEADERS[header]
            report(rule, path, line, f'<{header}>: {PATTERNS[rule][1]}')
    for rule, (pattern, why) in _COMPILED.items():
        for match in pattern.finditer(code):
            report(rule, path, _line(code, match.start()), f'"{match.group(0).strip()}": {why}')


def _after_template(code, start):
    """Offset behind the '>' that closes the '<' at start."""
    depth = 0
    for i in range(start, len(code)):
        depth += {'<': 1, '>': -1}.get(code[i], 0)
        if depth == 0:
            return i + 1
    return len(code)


def unordered_names(code):
    """Names of variables, members and parameters whose type is an unordered container."""
    names, aliases = set(), set()
    for match in _UNORDERED.finditer(code):
        end = _after_template(code, match.end() - 1)
        before = code[max(0, match.start() - 80):match.start()]
        alias = re.search(r'\busing\s+(\w+)\s*=\s*(?:std::)?$', before)
        if alias:
            aliases.add(alias.group(1))
            continue
        name = re.match(r'\s*(?:const\b)?\s*[&*]{0,2}\s*(\w+)\s*[;={,)\[]', code[end:end + 120])
        if name:
            names.add(name.group(1))
    for alias in aliases:
        declared = rf'\b{alias}\b(?:\s+const)?\s*[&*]{{0,2}}\s+[&*]{{0,2}}(\w+)\s*[;={{,)]'
        names.update(re.findall(declared, code))
    return names


def check_unordered(path, code, names, report):
    if not names:
        return
    any_name = '|'.join(sorted(re.escape(n) for n in names))
    loops = re.compile(rf'\bfor\s*\([^;()]*[^:]:(?!:)\s*[^;{{}}]*?\b({any_name})\s*\)')
    begins = re.compile(rf'\b({any_name})\s*(?:\.|->)\s*c?begin\s*\(|'
                        rf'\bstd::(?:ranges::)?c?begin\s*\(\s*[\w.>-]*?\b({any_name})\s*\)')
    for pattern in (loops, begins):
        for match in pattern.finditer(code):
            name = next(g for g in match.groups() if g)
            report('unordered-iteration', path, _line(code, match.start()),
                   f'"{name}" has no fixed order; sort by a stable id or use a vector')


def check_globals(path, code, layout, report):
    for match in _STATIC.finditer(code):
        if match.group(2) != '(' and 'const' not in match.group(1).split():
            report('mutable-global', path, _line(code, match.start()),
                   'static mutable state: pass it in instead')
    for line, text in layout.globals:
        text = re.sub(r'\[\[.*?\]\]|\b__extension__\b', '', text).strip()
        head = re.split(r'[={]', text, maxsplit=1)[0].strip(' ;')
        if '(' in head or text.startswith('static ') or _NOT_A_VARIABLE.search(head):
            continue
        if len(head.split()) >= 2:
            report('mutable-global', path, line, f'"{head}": namespace-scope mutable state')
