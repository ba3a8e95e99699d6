#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The closing line of a test run counts what happened, and nothing better."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parent / 'ctest_summary'
CTEST = '''<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux" tests="5" failures="1" disabled="0" skipped="2">
 <testcase name="base/A.b" classname="base/A.b" time="0.5" status="run"><system-out/></testcase>
 <testcase name="base/A.c" classname="base/A.c" time="1.5" status="fail">
  <failure message=""/></testcase>
 <testcase name="sim/T.s" time="0" status="notrun">
  <skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
  <system-out>x.cc:1: Skipped&#10;no shared traces</system-out></testcase>
 <testcase name="net_test_NOT_BUILT" time="0" status="notrun">
  <skipped message="Unable to find executable"/></testcase>
 <testcase name="base/A.d" time="0" status="disabled"><skipped message="Disabled"/></testcase>
</testsuite>'''


def run(*arguments):
    done = subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout


class SummaryTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def test_counts(self):
        (self.folder / 'release.xml').write_text(CTEST)
        status, output = run(self.folder)
        self.assertEqual(output.strip().split('\n')[-1], '1 passed, 3 failed')
        self.assertEqual(status, 1)
        self.assertIn('FAILED  release: net_test_NOT_BUILT', output)
        self.assertIn('skipped  release: sim/T.s: x.cc:1: Skipped', output)

    def test_nothing_ran_is_a_failure(self):
        status, output = run(self.folder)
        self.assertEqual(status, 1)
        self.assertTrue(output.strip().endswith('0 passed, 0 failed'))

    def test_broken_report_is_a_failure(self):
        (self.folder / 'a.xml').write_text('<testsuite><testcase')
        status, output = run(self.folder)
        self.assertEqual(status, 1)
        self.assertIn('0 passed, 1 failed', output)

    def test_recorded_steps(self):
        report = self.folder / 'steps.xml'
        for name, result in (('tidy', 'pass'), ('fuzz', 'pass'), ('v4', 'skip: no AVX-512')):
            self.assertEqual(run('--record', report, name, result)[0], 0)
        status, output = run(self.folder)
        self.assertEqual(status, 0)
        self.assertTrue(output.strip().endswith('2 passed, 0 failed'))
        self.assertIn('no AVX-512', output)
        run('--record', report, 'build', 'fail')
        self.assertEqual(run(self.folder)[0], 1)


if __name__ == '__main__':
    unittest.main()
