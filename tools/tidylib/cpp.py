# SPDX-License-Identifier: Apache-2.0
"""Just enough C++ reading for the rules: blanking of comments and literals, and scopes.

No parser: heuristics that hold for the style of this repository. tidy_test.py pins them.
"""
import re

_TOKEN = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|(?:u8|[uUL])?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'",
    re.S)
_DIRECTIVE = re.compile(r'^[ \t]*#(?:[^\n\\]|\\\n|\\.)*', re.M)
_SCOPE_WORD = re.compile(r'\b(namespace|class|struct|union|enum|extern)\b')
_CTOR_INIT = re.compile(r'\)\s*(?:noexcept\s*)?:(?!:)')
_TAIL_WORDS = {'const', 'noexcept', 'override', 'final', 'mutable', 'try'}


def _blank(text):
    return ''.join('\n' if c == '\n' else ' ' for c in text)


def strip(text):
    """Comments and literals become blanks; offsets and line numbers stay as they were."""
    def replace(match):
        token = match.group(0)
        if token.startswith('/'):
            return _blank(token)
        if len(token) < 2 or '\n' in token:
            return _blank(token)
        return token[0] + ' ' * (len(token) - 2) + token[-1]
    return _TOKEN.sub(replace, text)


def includes(text):
    """(line number, header, quoted) of each #include, none of those in comments."""
    plain = re.sub(r'//[^\n]*|/\*.*?\*/', lambda m: _blank(m.group(0)), text, flags=re.S)
    found = []
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', plain, re.M):
        line = plain.count('\n', 0, match.start(1)) + 1
        found.append((line, match.group(2), match.group(1) == '"'))
    return found


def _without_directives(code):
    """Blanks preprocessor lines, and the #else branch of each conditional with them."""
    code = _DIRECTIVE.sub(lambda m: m.group(0) if _conditional(m.group(0)) else _blank(m.group(0)),
                          code)
    lines = code.split('\n')
    skipping = []  # one entry per open conditional: are we past its first branch?
    for i, line in enumerate(lines):
        word = _conditional(line)
        if word in ('if', 'ifdef', 'ifndef'):
            skipping.append(False)
        elif word in ('else', 'elif', 'elifdef', 'elifndef') and skipping:
            skipping[-1] = True
        elif word == 'endif' and skipping:
            skipping.pop()
        if word or any(skipping):
            lines[i] = ' ' * len(line)
    return '\n'.join(lines)


def _conditional(line):
    match = re.match(r'[ \t]*#[ \t]*(if|ifdef|ifndef|else|elif|elifdef|elifndef|endif)\b', line)
    return match.group(1) if match else None


def _match_brace(code, start):
    depth = 0
    for match in re.compile(r'[{}]').finditer(code, start):
        depth += 1 if match.group(0) == '{' else -1
        if depth == 0:
            return match.start()
    return len(code) - 1


def _kind(header):
    """What a '{' after this header opens: 'scope', 'function' or 'value'."""
    text = header.strip()
    if not text or text.endswith(('=', 'return', ',')):
        return 'value'
    paren = text.find('(')
    word = _SCOPE_WORD.search(re.sub(r'\btemplate\s*<.*?>\s*(?=\w)', '', text, flags=re.S))
    if word and (paren < 0 or text.find(word.group(0)) < paren) and not re.search(
            r'\)\s*(const|noexcept|override|final|->.*)*\s*$', text, re.S):
        return 'scope'
    if paren < 0 and 'operator' not in text:
        return 'value'
    if _CTOR_INIT.search(text) and not text.endswith((')', '}')):
        last = re.search(r'(\w+)$', text)
        if not last or last.group(1) not in _TAIL_WORDS:
            return 'value'  # a member initialised with braces
    return 'function'


def _name(header):
    text = ' '.join(header.split())
    text = re.sub(r'^(?:template <.*?> )?', '', text)
    head = text.split('(', 1)
    words = re.findall(r'[\w:~]+(?: ?[^\w\s(]+)?$', head[0].strip())
    name = words[0] if words else head[0][-40:]
    if name.startswith(('TEST', 'RC_GTEST', 'INSTANTIATE', 'BENCHMARK')) and len(head) > 1:
        name += '(' + head[1].split(')')[0] + ')'
    return name.strip()


class Layout:
    """Functions and namespace-scope statements of one stripped file.

    functions: (name, first line, number of lines), outermost bodies only, lambdas counted inside.
    globals: (line, text) of statements that end in ';' outside functions and classes.
    """

    def __init__(self, code):
        self.functions = []
        self.globals = []
        self._walk(_without_directives(code))

    def _walk(self, code):
        scopes = []  # 'namespace' or 'class'
        start = 0    # where the current statement began
        parens = 0
        i, end = 0, len(code)
        step = re.compile(r'[(){};]')
        while True:
            match = step.search(code, i)
            if not match:
                return
            i = match.end()
            c = match.group(0)
            if c in '()':
                parens = max(0, parens + (1 if c == '(' else -1))
            elif c == ';' and parens == 0:
                self._statement(code, start, i, scopes)
                start = i
            elif c == '}':
                if scopes:
                    scopes.pop()
                start = i
            elif c == '{':
                if parens:
                    i = _match_brace(code, i - 1) + 1
                    continue
                header = re.sub(r'^\s*(?:public|private|protected)\s*:', '', code[start:i - 1])
                kind = _kind(header)
                if kind == 'scope':
                    space = re.search(r'\b(namespace|extern)\b', header)
                    scopes.append('namespace' if space else 'class')
                    start = i
                    continue
                close = min(_match_brace(code, i - 1), end - 1)
                if kind == 'function':
                    first = code.count('\n', 0, start + self._lead(code, start)) + 1
                    last = code.count('\n', 0, close) + 1
                    self.functions.append((_name(header), first, last - first + 1))
                    start = close + 1
                i = close + 1

    @staticmethod
    def _lead(code, start):
        return len(code[start:]) - len(code[start:].lstrip()) if start < len(code) else 0

    def _statement(self, code, start, stop, scopes):
        if any(s == 'class' for s in scopes):
            return
        text = ' '.join(code[start:stop].split())
        if text and text != ';':
            line = code.count('\n', 0, start + self._lead(code, start)) + 1
            self.globals.append((line, text))
