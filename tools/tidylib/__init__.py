# SPDX-License-Identifier: Apache-2.0
"""The rules behind tools/tidy. Standard library only; a pass takes about a second."""
