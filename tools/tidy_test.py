#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of tools/tidy fires on what it is for and is silent on what looks like it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
HEAD = '// SPDX-License-Identifier: Apache-2.0\n'


def tidy(files, *flags):
    """(exit status, output) on a tree made of these files; C++ files get their licence line."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(('.h', '.cc')) and 'SPDX' not in text and not text.startswith('!'):
                text = HEAD + ('#pragma once\n' if name.endswith('.h') else '') + text
            path.write_text(text.removeprefix('!'))
        done = subprocess.run([sys.executable, str(HERE / 'tidy'), '--root', folder, *flags],
                              capture_output=True, text=True, check=False)
        ratchet = root / 'tools' / 'ratchet.json'
        return done.returncode, done.stdout + done.stderr, (
            ratchet.read_text() if ratchet.exists() else '')


class RuleTest(unittest.TestCase):
    def fires(self, rule, code, path='src/routing/a.cc', **more):
        status, output, _ = tidy({path: code, **more})
        self.assertIn(f'[{rule}]', output, code)
        self.assertEqual(status, 1, output)

    def silent(self, code, path='src/routing/a.cc', **more):
        status, output, _ = tidy({path: code, **more})
        self.assertEqual(status, 0, output)


class LayerTest(RuleTest):
    def test_upward_include(self):
        self.fires('layer', '#include "policies/catalog.h"\n', 'src/routing/a.cc')
        self.fires('layer', '#include "sim/world.h"\n', 'src/policies/a.h')
        self.fires('layer', '#include "policies/catalog.h"\n', 'src/proxy/a.cc')
        self.fires('layer', '#include "net/http.h"\n', 'src/engines/a.cc')

    def test_downward_and_own(self):
        self.silent('#include "base/rng.h"\n#include "prefix/index.h"\n#include "routing/a.h"\n')
        self.silent('#include "sim/world.h"\n#include "proxy/p.h"\n', 'src/app/a.cc')

    def test_comment_is_no_include(self):
        self.silent('// #include "sim/world.h"\n/* \n#include "sim/world.h"\n*/\n')

    def test_folder_is_required(self):
        self.fires('layer', '#include "rng.h"\n')

    def test_unknown_room(self):
        self.fires('layer', 'int f();\n', 'src/attic/a.h')

    def test_cmake_dependencies(self):
        licence = '# SPDX-License-Identifier: Apache-2.0\n'
        self.fires('layer', licence + 'lodestar_room(learn DEPS policies base)\n',
                   'src/learn/CMakeLists.txt')
        self.silent(licence + 'lodestar_room(learn DEPS routing base LIBS fmt::fmt)\n',
                    'src/learn/CMakeLists.txt')

    def test_asio_below_net(self):
        self.fires('asio', '#include <boost/asio/awaitable.hpp>\n', 'src/engines/a.cc')
        self.silent('#include <boost/asio/awaitable.hpp>\n', 'src/net/a.h')

    def test_heavy_headers(self):
        self.fires('heavy-header', '#include <fmt/format.h>\n', 'src/app/a.h')
        self.silent('#include <fmt/format.h>\n', 'src/app/a.cc')


class BanTest(RuleTest):
    def test_clock(self):
        self.fires('clock', '#include <chrono>\n')
        self.fires('clock', 'auto t = std::chrono::steady_clock::now();\n')
        self.fires('clock', 'long f() { return time(nullptr); }\n')
        self.silent('double f(Run r) { return r.time() + step.time(1); }\n')

    def test_random(self):
        self.fires('random', '#include <random>\n')
        self.fires('random', 'int f() { return std::rand(); }\n')
        self.fires('random', 'int f() { return rand(); }\n')
        self.fires('random', 'void f(V& v, G& g) { std::shuffle(v.begin(), v.end(), g); }\n')
        self.silent('double f(Rng& rng) { return rng.uniform(); }\n')

    def test_threads(self):
        self.fires('thread', '#include <mutex>\n')
        self.fires('thread', 'void f() { std::lock_guard lock(m); }\n')
        self.fires('thread', 'const thread_local int x = 0;\n')

    def test_libm(self):
        for code in ('std::exp(x)', 'std::pow(x, 2)', '::log(x)', 'tanh(x)', '__builtin_expf(x)'):
            self.fires('libm', f'double f(double x) {{ return {code}; }}\n')
        for code in ('det_exp(x)', 'std::sqrt(x)', 'a.exp(x)', 'std::fabs(x)', 'lodestar::exp(x)'):
            self.silent(f'double f(double x) {{ return {code}; }}\n')

    def test_throw(self):
        self.fires('throw', 'void f() { throw 1; }\n')
        self.silent('// we never throw here\nconst char* const k = "throw";\n')

    def test_pointer_order(self):
        self.fires('pointer-order', 'void f(std::map<const Node*, int> m);\n')
        self.silent('void f(std::map<int, Node*> m);\n')

    def test_environment(self):
        self.fires('environment', 'const char* f() { return getenv("A"); }\n')

    def test_shells_and_tests_are_free(self):
        self.silent('#include <chrono>\n#include <thread>\n', 'src/proxy/a.cc')
        self.silent('#include <random>\n#include <thread>\n', 'src/routing/a_test.cc')


class UnorderedTest(RuleTest):
    def test_range_for_over_local(self):
        self.fires('unordered-iteration',
                   'void f() {\n  std::unordered_map<int, std::vector<int>> m;\n'
                   '  for (const auto& [k, v] : m) use(k);\n}\n')

    def test_member_declared_in_header(self):
        header = 'class A {\n  std::unordered_set<int> ids_;\n};\n'
        self.fires('unordered-iteration',
                   '#include "routing/a.h"\nvoid A::f() { for (int i : ids_) g(i); }\n',
                   **{'src/routing/a.h': header})
        self.silent('void A::f() { for (int i : ids_) g(i); }\n', 'src/prefix/b.cc',
                    **{'src/routing/a.h': header})

    def test_begin_and_alias(self):
        self.fires('unordered-iteration', 'using Map = std::unordered_map<int, int>;\n'
                   'int f(const Map& m) { return m.begin()->second; }\n')

    def test_lookup_is_fine(self):
        self.silent('int f(const std::unordered_map<int, int>& m, const std::vector<int>& v) {\n'
                    '  int n = 0;\n  for (int i : v) n += m.count(i);\n'
                    '  return n + (m.find(1) != m.end());\n}\n')


class GlobalTest(RuleTest):
    def test_mutable(self):
        self.fires('mutable-global', 'namespace a {\nint counter = 0;\n}\n')
        self.fires('mutable-global', 'namespace {\nstd::vector<int> g_rows{};\n}\n')
        self.fires('mutable-global', 'int f() {\n  static int calls = 0;\n  return ++calls;\n}\n')

    def test_constant_and_functions(self):
        self.silent('namespace a {\nconstexpr int kA = 1;\ninline const char* const kB = "b";\n'
                    'int f(int x = 3);\nstatic int g() { return 1; }\nusing X = int;\nclass C;\n'
                    '__extension__ using W = unsigned __int128;\n'
                    'constexpr int kRows[] = {1, 2};\n}\n'
                    'struct S {\n  int value = 0;\n  static S make();\n'
                    '  static constexpr int k = 1;\n};\n'
                    'int h() {\n  static const int k = 2;\n  int local = k;\n  return local;\n}\n')


class SizeTest(RuleTest):
    @staticmethod
    def function(lines):
        return 'int f(int x) {\n' + '  x += 1;\n' * (lines - 3) + '  return x;\n}\n'

    def test_function(self):
        self.fires('function-size', self.function(71))
        self.silent(self.function(70))

    def test_constructor_with_braced_members(self):
        body = '  x_ += 1;\n' * 70
        self.fires('function-size', f'A::A(int x) : x_{{x}}, y_{{}} {{\n{body}}}\n')
        self.fires('function-size', f'TEST(Suite, Name) {{\n{body}}}\n')
        self.fires('function-size', f'auto f(O o = {{}}) -> Result<int> {{\n{body}}}\n')

    def test_class_and_table_are_no_functions(self):
        self.silent('class A {\n' + '  int f();\n' * 80 + '};\n')
        self.silent('constexpr int kTable[] = {\n' + '  1,\n' * 80 + '};\n')

    def test_file(self):
        self.fires('file-size', '// row\n' * 401)
        self.silent('// row\n' * 399)

    def test_ratchet_holds(self):
        known = '{"files": {}, "functions": {"src/routing/a.cc:f": 80}}'
        key = {'tools/ratchet.json': known}
        self.silent(self.function(80), **key)
        self.fires('function-size', self.function(81), **key)

    def test_tighten_only_lowers(self):
        known = '{"files": {"src/gone.cc": 500}, "functions": {"src/routing/a.cc:f": 80}}'
        _, _, after = tidy({'src/routing/a.cc': self.function(75), 'tools/ratchet.json': known},
                           '--tighten')
        self.assertIn('75', after)
        self.assertNotIn('gone', after)
        grown = {'src/routing/a.cc': self.function(90), 'tools/ratchet.json': known}
        status, _, after = tidy(grown, '--tighten')
        self.assertEqual(status, 1)
        self.assertIn('80', after)


class TextTest(RuleTest):
    def test_spdx(self):
        self.fires('spdx', '!int f();\n', 'src/app/a.cc')
        self.fires('spdx', 'print(1)\n', 'tools/a.py')

    def test_pragma_once(self):
        self.fires('pragma-once', '!' + HEAD + 'int f();\n', 'src/app/a.h')

    def test_width(self):
        self.fires('width', '// ' + 'x' * 98 + '\n')
        self.silent('// ' + 'x' * 97 + '\n')

    def test_words(self):
        for word in ('TO' 'DO', 'FIX' 'ME', 'st' 'ub', 'ST' 'UBS'):
            self.fires('word', f'// {word}: later\n')
        self.silent('// todos and stubborn are words\n')

    def test_machine_path(self):
        self.fires('machine-path', 'See /ho' 'me/me/notes.\n', 'docs/a.md')
        self.silent('const char* const k = "/v1/completions";  // docs/work/a\n')

    def test_name(self):
        self.fires('name', 'int f(Params model);\n')
        self.silent('int f(Params served_model);  // one model of an engine\n')


class AllowTest(RuleTest):
    def test_allowed_and_stale(self):
        line = {'tools/tidy_allow.txt': 'throw | src/routing/a.cc | start-up only\n'}
        self.silent('void f() { throw 1; }\n', **line)
        self.fires('allow', 'void f();\n', **line)

    def test_reason_is_required(self):
        self.fires('allow', 'void f() { throw 1; }\n',
                   **{'tools/tidy_allow.txt': 'throw | src/routing/a.cc |\n'})


class LiteralTest(RuleTest):
    def test_raw_strings_and_separators(self):
        self.silent('constexpr long kN = 1\'000\'000;\n'
                    'const char* const k = R"x(\nthrow } { std::exp(\n)x";\n'
                    'char f() { return \'{\'; }\nint g() { return 1; }\n')

    def test_conditional_braces(self):
        self.silent('#if A\nint f() {\n#else\nint f(int) {\n#endif\n  return 1;\n}\n')


if __name__ == '__main__':
    unittest.main()
