# SPDX-License-Identifier: GPL-2.0-or-later
"""The QAPI generator; scripts/qapi-gen.py is its command line."""
