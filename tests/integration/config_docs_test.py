#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/config.md is what the declarations say."""
import os
import subprocess
import sys

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
command = [os.environ["LODESTAR_BIN"], "config-docs"]
printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
committed = open(os.path.join(root, "docs/config.md"), encoding="utf-8").read()
if printed != committed:
    sys.exit("docs/config.md is out of date: run `lodestar config-docs > docs/config.md`")
