#!/usr/bin/env python3
# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run the command that this file, installed under each verb's name, is called by."""

from pathlib import Path
import sys

from seg_ros.__main__ import main

if __name__ == '__main__':  # not where a worker process of it reads this file again
    sys.exit(main([Path(sys.argv[0]).name, *sys.argv[1:]]))
