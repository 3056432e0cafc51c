# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Thousands of damaged images."""

from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[2]

MUTANTS = """
import random, re, resource, struct, sys
import cv2, numpy as np
from seg_ros.images.image_file import decode_image, decode_labels, FORMATS, ImageFileError
from seg_ros.images.image_header import read_header

random.seed(int(sys.argv[1]))
image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
seeds = [cv2.imencode(ending, image, options)[1].tobytes() for ending, options in (
    ('.jpg', []), ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), ('.png', []), ('.webp', []),
    ('.webp', [cv2.IMWRITE_WEBP_QUALITY, 101]), ('.bmp', []), ('.tif', []), ('.ppm', []),
    ('.tif', [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
)]
if hasattr(cv2, 'imencodemulti'):  # an animation
    seeds.append(cv2.imencodemulti('.png', [image, image[::-1]])[1].tobytes())
used = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, -1))
decoded = 0
for _ in range(int(sys.argv[2])):
    content = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        first = random.choice((0, max(0, len(content) - 200)))  # where a TIFF has its directory
        at = random.randrange(first, min(len(content), first + random.choice((64, 200, 9999))))
        number = random.choice((0, 1, 255, 8191, 32767, 65535, 65536, 2**26, 2**31 - 1, 2**32 - 1))
        form = random.choice(('<I', '>I', '<H', '>H'))
        number = struct.pack(form, number & (0xFFFF if form[1] == 'H' else 0xFFFFFFFF))
        change = random.random()
        if change < 0.5:
            content[at] ^= random.randrange(1, 256)
        elif change < 0.8:
            content[at : at + len(number)] = number
        elif change < 0.9:
            del content[at : at + random.randrange(1, 20)]
        else:
            content[at:at] = content[at // 2 :][: random.randrange(1, 30)]
    content = bytes(content)
    header = read_header(content)
    for decode in (decode_image, decode_labels):
        try:
            found = decode(content, formats=FORMATS)
        except ImageFileError:
            continue
        decoded += 1
        # Turned, maybe, as Exif says.
        assert sorted(found.shape[:2]) == sorted((header.height, header.width)), header
print(decoded)
"""


@pytest.mark.parametrize('seed', range(2))
def test_thousands_of_damaged_images_neither_crash_nor_fill_memory(seed):
    """In a process of its own, as damage that passed the header check did end it (PNG)."""
    done = subprocess.run(
        [sys.executable, '-c', MUTANTS, str(seed), '3000'],
        cwd=ROOT, text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300  # or the damage is always seen at once
