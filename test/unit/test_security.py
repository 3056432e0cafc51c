# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What comes from others: images, messages, checkpoints and recordings that mean harm."""

import ast
from contextlib import contextmanager
import io
import json
import os
from pathlib import Path
import pickle
import re
import resource
import shutil
import sqlite3
import struct
from types import SimpleNamespace

from bag_files import write_bag
import cv2
import numpy as np
import pytest
from safetensors.torch import save
import torch

from seg_ros.bags import types
from seg_ros.bags.bag import Bag
from seg_ros.images.encodings import ImageError, to_rgb
from seg_ros.images.files import MAX_FILE
from seg_ros.images.image_file import (
    decode_image,
    decode_labels,
    encode_image,
    FORMATS,
    ImageFileError,
    read_image,
    read_labels,
    SENT,
)
from seg_ros.images.image_header import (
    Header,
    MAX_CHUNKS,
    MAX_PIXELS,
    MAX_SCANS,
    MAX_SEGMENTS,
    MAX_SIDE,
    read_header,
)
from seg_ros.images.labels import LabelSet
from seg_ros.inference.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from seg_ros.models import build_model
from seg_ros.training.pretrained import load_pretrained

ROOT = Path(__file__).parents[2]
PICTURE = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
ENDINGS = {'JPEG': '.jpg', 'PNG': '.png', 'WebP': '.webp', 'BMP': '.bmp', 'TIFF': '.tif',
           'PNM': '.ppm'}  # fmt: skip
SPEC = {'name': 'bisenetv2', 'num_classes': 2, 'head_width': 8, 'booster_width': 8, 'alpha': 0.25}
LABELS = LabelSet(('road', 'car'), ((1, 2, 3), (4, 5, 6)))


@contextmanager
def memory_for(megabytes):
    """Let whoever wants more than that fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(re.search(r'VmSize:\s+(\d+)', Path('/proc/self/status').read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# Compressed images.


def tiff(order, big, *entries):
    """Return a TIFF that has a directory, and nothing else."""
    head = (b'II' if order == '<' else b'MM') + struct.pack(f'{order}H', 43 if big else 42)
    head += struct.pack(f'{order}HHQ', 8, 0, 16) if big else struct.pack(f'{order}I', 8)
    counts = 'Q' if big else 'I'
    rows = [
        struct.pack(f'{order}HH{counts}', tag, kind, 1)
        + struct.pack(order + ('H2x' if kind == 3 else 'I') + ('4x' if big else ''), value)
        for tag, kind, value in entries
    ]
    return head + struct.pack(order + ('Q' if big else 'H'), len(rows)) + b''.join(rows) + bytes(8)


def png(width, height, *chunks):
    """Return a PNG of so many pixels with these chunks in it, whose sums are not looked at."""
    parts = [(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)), *chunks]
    body = [
        struct.pack('>I', len(c)) + kind + c + bytes(4) for kind, c in [*parts, (b'IEND', b'')]
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(body)


def webp(kind, content):
    return b'RIFF' + bytes(4) + b'WEBP' + kind + bytes(4) + content + bytes(16)


def jpeg(width, height, between=b''):
    size = struct.pack('>HBHH', 17, 8, height, width)
    return b'\xff\xd8\xff\xe0' + struct.pack('>H', 2) + between + b'\xff\xc2' + size + bytes(40)


TOO_LARGE = f'expected {MAX_PIXELS} pixels at most, and {MAX_SIDE} a side'

BOMBS = [
    ('PNG', 32769, 1, png(32769, 1)),
    ('JPEG', 65500, 65500, jpeg(65500, 65500)),
    ('JPEG', 65500, 65500, jpeg(65500, 65500, b'junk\xff\xff\xff\xe1\0\2')),
    ('PNG', 60000, 60000, png(60000, 60000)),
    ('PNG', 2**32 - 1, 1, png(2**32 - 1, 1)),
    ('WebP', 16383, 16383, webp(b'VP8 ', bytes(6) + struct.pack('<HH', 16383, 16383))),
    ('WebP', 16384, 16384, webp(b'VP8L', b'\x2f' + b'\xff' * 4)),
    ('WebP', 2**24, 2**24, webp(b'VP8X', bytes(4) + b'\xff' * 6)),
    ('BMP', 60000, 60000, b'BM' + bytes(12) + struct.pack('<Iii', 40, 60000, -60000) + bytes(40)),
    ('BMP', 65535, 65535, b'BM' + bytes(12) + struct.pack('<IHH', 12, 65535, 65535) + bytes(40)),
    ('TIFF', 60000, 60000, tiff('<', False, (256, 3, 60000), (257, 4, 60000))),
    ('TIFF', 2**31, 60000, tiff('>', True, (256, 4, 2**31), (257, 3, 60000))),
    ('TIFF', 2**24, 2**24, tiff('>', False, (256, 3, 8), (257, 3, 8), (322, 4, 2**24),
                                (323, 4, 2**24))),
    ('TIFF', 60000, 60000, tiff('<', False, (256, 3, 9), (256, 3, 60000), (257, 3, 60000))),
    ('PNM', 60000, 60000, b'P6\n# a comment 12 12\n60000 #\n60000\n255\n'),
]  # fmt: skip


@pytest.mark.parametrize(('kind', 'width', 'height', 'content'), BOMBS)
def test_an_image_that_promises_too_much_is_refused_by_its_header(kind, width, height, content):
    expected = f'bomb: {TOO_LARGE}; found {width}x{height}, as {kind}. Make it smaller'
    with memory_for(100), pytest.raises(ImageFileError) as error:
        decode_image(content, 'bomb', FORMATS)
    assert str(error.value) == expected


@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize('shape', [(24, 32), (33, 17), (1, 1)])
def test_the_size_in_the_header_is_the_images(kind, shape):
    image = np.zeros((*shape, 3), np.uint8)
    content = encode_image(image, ENDINGS[kind])
    assert read_header(content) == Header(kind, shape[1], shape[0])
    assert decode_image(content, formats=FORMATS).shape == image.shape


@pytest.mark.parametrize('kind', FORMATS)
def test_a_header_that_breaks_off_is_none(kind):
    content = encode_image(PICTURE, ENDINGS[kind])
    for length in range(len(content) if kind == 'TIFF' else 30):
        header = read_header(content[:length])
        assert header in (None, Header(kind, 32, 24)), length
    assert read_header(content[:8]) is None


@pytest.mark.parametrize('kind', FORMATS)
def test_messages_hold_what_cameras_send_and_files_what_data_sets_have(tmp_path, kind):
    path = tmp_path / f'image{ENDINGS[kind]}'
    path.write_bytes(encode_image(PICTURE, ENDINGS[kind]))
    assert read_image(path).shape == PICTURE.shape
    if kind in SENT:
        assert decode_image(path.read_bytes()).shape == PICTURE.shape
    else:
        with pytest.raises(ImageFileError, match='expected a JPEG, PNG or WebP; found .* none'):
            decode_image(path.read_bytes())


@pytest.mark.parametrize('ending', ['.jp2', '.gif', '.avif', '.hdr', '.pfm', '.ras', '.pam'])
def test_what_else_opencv_knows_is_not_decoded(ending):
    image = np.tile(PICTURE, (4, 4, 1))
    if ending in ('.hdr', '.pfm'):
        image = image.astype(np.float32)
    try:
        encoded, content = cv2.imencode(ending, image)
    except cv2.error:
        pytest.skip(f'this OpenCV does not write {ending}')
    assert encoded
    for decode in (decode_image, decode_labels):
        with pytest.raises(ImageFileError):
            decode(content.tobytes(), formats=FORMATS)


@pytest.mark.parametrize(
    'content',
    [
        pytest.param(png(32, 24, (b'acTL', bytes(8)), (b'IDAT', bytes(20))), id='an animation'),
        pytest.param(png(32, 24)[:33] + b'\x7f\xff\xff\xffIDAT' + bytes(99), id='a long chunk'),
        pytest.param(png(32, 24, *[(b'IDAT', b'')] * MAX_CHUNKS), id='many chunks'),
        pytest.param(png(32, 24)[:33], id='no end'),
        pytest.param(jpeg(32, 24, b'\xff\xe1\0\2' * MAX_SEGMENTS), id='many segments'),
        pytest.param(jpeg(32, 24) + b'\xff\xda' * (MAX_SCANS + 1) + b'\xff\xd9', id='many scans'),
        pytest.param(jpeg(32, 24).replace(b'\xff\xc2', b'\xff\xd9'), id='ends early'),
        pytest.param(tiff('<', False, *[(254, 4, 0)] * 1001), id='many entries'),
        pytest.param(tiff('<', False, (256, 9, 32), (257, 9, 24)), id='signed sides'),
        pytest.param(b'II+\0\x08\0\0\0' + b'\xff' * 40, id='an offset beyond all'),
        pytest.param(b'P6\n32 99999999999999999999\n255\n', id='a long number'),
    ],
)
def test_what_would_keep_or_crash_a_decoder_does_not_reach_it(content):
    assert read_header(content) is None
    with pytest.raises(ImageFileError, match='found .* none, or damaged'):
        decode_image(content, formats=FORMATS)


# Raw images.


def raw(**changes):
    fields = {'height': 6, 'width': 8, 'encoding': 'rgb8', 'is_bigendian': 0, 'step': 24,
              'data': bytes(144)}  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize('encoding', ['rgb8', 'mono16', 'bayer_rggb16', 'yuv422'])
@pytest.mark.parametrize(
    'changes',
    [
        {'height': 2**32 - 1, 'width': 2**32 - 2, 'step': 2**32 - 1},
        {'height': 2**16, 'width': 2**16, 'step': 2**16 * 6},
        {'height': 2**31, 'width': 2, 'step': 2**31},
        {'height': 0, 'width': 2**32 - 2, 'step': 0, 'data': b''},
        {'height': 2**32 - 1, 'width': 0, 'step': 0, 'data': b''},
        {'step': 2**32 - 1},
    ],
)
def test_a_raw_image_is_as_large_as_its_data(encoding, changes):
    with memory_for(100), pytest.raises(ImageError, match='expected .*; found'):
        to_rgb(raw(encoding=encoding, **changes))


def test_a_raw_image_may_be_too_large_even_with_all_its_data():
    side = 8192
    data = np.zeros(side * (side + 1), np.uint8)  # which nobody touches, so it takes no memory
    with pytest.raises(ImageError, match=f'{TOO_LARGE}; found 8192x8193'):
        to_rgb(raw(encoding='mono8', height=side + 1, width=side, step=side, data=data))


def test_a_raw_image_may_be_too_long():
    data = np.zeros(2**15 + 1, np.uint8)
    for height, width in ((1, data.size), (data.size, 1)):
        with pytest.raises(ImageError, match=f'{TOO_LARGE}; found {width}x{height}'):
            to_rgb(raw(encoding='mono8', height=height, width=width, step=width, data=data))


def test_what_somebody_else_writes_fills_no_log_and_orders_no_terminal():
    with pytest.raises(ImageError) as error:
        to_rgb(raw(encoding='\x1b[2J\n[FATAL] all is lost' + 'a' * 10**6))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


# Checkpoints.


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
    """Return the tensors and the metadata of a good checkpoint."""
    path = tmp_path_factory.mktemp('parts') / 'good.safetensors'
    save_checkpoint(path, Checkpoint(build_model(SPEC).eval(), SPEC, LABELS, (64, 96)))
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
    return load_checkpoint(path).network.state_dict(), header['__metadata__']


def forged(**changes):
    return pytest.param(changes, id=', '.join(f'{k}: {v!r:.60}' for k, v in changes.items()))


@pytest.mark.parametrize(
    'changes',
    [
        *(
            forged(architecture={**SPEC, **wrong})
            for wrong in (
                {'num_classes': 10**9},
                {'num_classes': 10**30},
                {'num_classes': -1},
                {'num_classes': True},
                {'num_classes': None},
                {'num_classes': [2]},
                {'head_width': 10**9},
                {'head_width': 2.5},
                {'head_width': 4096},
                {'depth': 10**9},
                {'depth': 4096},
                {'alpha': 1e9},
                {'alpha': float('nan')},
                {'alpha': float('inf')},
                {'alpha': 1e-300},
                {'name': 'os.system'},
                {'name': ['icnet']},
                {'__class__': 1},
                {'self': 1},
            )
        ),
        forged(architecture=[1]),
        forged(architecture={'name': 'icnet', 'num_classes': 2, 'width': 10**9}),
        forged(architecture={'name': 'icnet', 'num_classes': 2, 'exit': 'sub' * 10**6}),
        forged(architecture={'name': 'pspnet50', 'num_classes': 2, 'width': 4096}),
        forged(input_size=[0, 64]),
        forged(input_size=[10**9, 10**9]),
        forged(input_size=[4097, 4096]),
        forged(input_size=['a', 64]),
        forged(input_size=[float('inf'), 64]),
        forged(input_size=64),
        *(
            forged(labels={'names': ['road', name], 'palette': [[1, 2, 3], [4, 5, 6]]})
            for name in ('', 'a\nb', '\x1b[31mred', '\ud800', '\u202ecar', 'x' * 101, 7, None, [])
        ),
        *(
            forged(labels={'names': ['road', 'car'], 'palette': [[1, 2, 3], color]})
            for color in ([4, 5, 256], [4, 5, -1], [4, 5, 6.5], ['4', 5, 6], [4, 5], 'red', None)
        ),
        forged(labels={'names': ['road'] * 300, 'palette': [[1, 2, 3]] * 300}),
        *(
            forged(preprocessing={**kept, **wrong})
            for kept in [{'mean': [1, 2, 3], 'std': [1, 2, 3], 'channel_order': 'rgb'}]
            for wrong in (
                {'mean': [float('nan'), 2, 3]},
                {'mean': [10**400, 2, 3]},
                {'mean': ['a', 2, 3]},
                {'mean': [1, 2]},
                {'std': [1, 0, 3]},
                {'std': [1, float('inf'), 3]},
                {'channel_order': 'cmyk'},
            )
        ),
        forged(activation_ranges={'head.0.0': [float('nan'), 1]}),
        forged(activation_ranges={'__class__': [0, 1]}),
    ],
)
def test_metadata_that_means_harm_is_refused(tmp_path, parts, changes):
    tensors, metadata = parts
    metadata = {**metadata, **{name: json.dumps(value) for name, value in changes.items()}}
    (tmp_path / 'odd.safetensors').write_bytes(save(tensors, metadata))
    with memory_for(300), pytest.raises(CheckpointError, match=r'odd\.safetensors: ') as error:
        load_checkpoint(tmp_path / 'odd.safetensors')
    assert len(str(error.value)) < 5000


@pytest.mark.parametrize('text', ['', '{', '[' * 10**5, 'NaN', '"\ud800"', '{"name": ' * 5000])
@pytest.mark.parametrize('key', ['architecture', 'labels', 'training'])
def test_metadata_that_is_no_json_is_refused(tmp_path, parts, key, text):
    tensors, metadata = parts
    text = text.encode(errors='replace').decode()
    (tmp_path / 'odd.safetensors').write_bytes(save(tensors, {**metadata, key: text}))
    if (key, text) in (('training', 'NaN'), ('training', '"?"')):
        load_checkpoint(tmp_path / 'odd.safetensors')  # free-form
    else:
        with pytest.raises(CheckpointError, match=r'odd\.safetensors: '):
            load_checkpoint(tmp_path / 'odd.safetensors')


def safetensors(header, data=b''):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


@pytest.mark.parametrize(
    'content',
    [
        b'',
        bytes(7),
        struct.pack('<Q', 2**64 - 1) + b'{}',
        struct.pack('<Q', 2**40) + b'{}',
        safetensors({}),
        safetensors({'__metadata__': None}),
        safetensors(b'{' * 10**6),
        safetensors(b'\xff' * 100),
        safetensors({'a': {'dtype': 'F32', 'shape': [2**62, 2**62], 'data_offsets': [0, 4]}}),
        safetensors({'a': {'dtype': 'F32', 'shape': [2**40], 'data_offsets': [0, 2**42]}}),
        safetensors({'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [4, 0]}}, bytes(4)),
        pickle.dumps({'a': 1}),
    ],
)
def test_a_file_whose_head_means_harm_is_refused(tmp_path, content):
    (tmp_path / 'odd.safetensors').write_bytes(content)
    with memory_for(100), pytest.raises(CheckpointError, match=r'odd\.safetensors: '):
        load_checkpoint(tmp_path / 'odd.safetensors')


class Trap:
    """What runs when somebody unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize('ending', ['.safetensors', '.pth', '.pt'])
def test_nothing_is_unpickled(tmp_path, ending):
    trap, sprung = tmp_path / f'trap{ending}', tmp_path / 'sprung'
    torch.save({'state_dict': {'conv.weight': Trap(sprung)}}, trap)
    torch.load(io.BytesIO(trap.read_bytes()), weights_only=False)
    assert sprung.exists()  # it works
    sprung.unlink()
    with pytest.raises(CheckpointError):
        load_checkpoint(trap)
    with pytest.raises(ValueError, match='trap'):
        load_pretrained(build_model(SPEC), trap)
    assert not sprung.exists()


RUNS_CODE = {
    'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen', 'pickle.load',
    'pickle.loads', 'yaml.load', 'yaml.unsafe_load', 'yaml.full_load', 'marshal.loads',
}  # fmt: skip


def test_the_code_has_no_call_that_runs_what_it_reads():
    for path in sorted((ROOT / 'seg_ros').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call):
                called, options = ast.unparse(node.func), [ast.unparse(k) for k in node.keywords]
                where = f'{path.name}:{node.lineno}: {called}'
                assert called not in RUNS_CODE, where
                assert not {'shell=True', 'allow_pickle=True'} & set(options), where
                assert called != 'torch.load' or 'weights_only=True' in options, where


# Files that are none.


@pytest.mark.parametrize('read', [read_image, read_labels, load_checkpoint])
def test_what_is_no_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to('/dev/zero')
    with (tmp_path / 'sparse').open('wb') as file:
        file.truncate(2**40)
    for name, found in {
        tmp_path / 'pipe': 'expected a regular file',
        tmp_path / 'link': 'expected a regular file',
        '/dev/zero': 'expected a regular file',
        tmp_path / 'sparse': f'expected {MAX_FILE} bytes at most; found {2**40}',
        tmp_path: 'directory',
    }.items():
        with memory_for(100), pytest.raises((OSError, CheckpointError), match=f'(?i){found}'):
            read(name)


# Recordings.


@pytest.mark.parametrize(
    'kind',
    [
        "sensor_msgs/msg/Image:\n    open('{mark}', 'w')\nclass A",
        "sensor_msgs/msg/Image'''; open('{mark}', 'w'); '''",
        'sensor_msgs/msg/Image"""\n    open("{mark}", "w")\n    """',
        "a/msg/B', open('{mark}', 'w'), '",
        '../../{mark}',
    ],
)
@pytest.mark.parametrize(
    'definition',
    [
        'uint8 a',
        'uint8 a\nstring B=\'\\\' + str(open("{mark}", "w")) + \\\'\'',
        'uint8[2] a, open("{mark}", "w")',
        'a/msg/open("{mark}", "w") b',
        '=' * 80
        + '\nIDL: a/msg/B\nmodule a { module msg { struct B { long open("{mark}"); }; }; };',
    ],
)
def test_a_recordings_types_run_nothing(tmp_path, kind, definition):
    mark = tmp_path / 'mark'
    write_bag(tmp_path / 'bag', 'sqlite3', [(10**9, PICTURE, None)])
    (file,) = (tmp_path / 'bag').glob('*.db3')
    kind, definition = (text.replace('{mark}', str(mark)) for text in (kind, definition))
    with sqlite3.connect(file) as database:
        database.execute('UPDATE topics SET type = ?', [kind])
        database.execute('UPDATE message_definitions SET topic_type = ?', [kind])
        database.execute('UPDATE message_definitions SET encoded_message_definition = ?',
                         [definition])  # fmt: skip
    database.close()
    shutil.copy(file, tmp_path / 'alone.db3')
    with Bag(tmp_path / 'alone.db3') as bag:
        for topic in bag.topics:
            assert bag.types.describe(topic) is None
    assert not mark.exists()


@pytest.mark.parametrize(
    'types_found',
    [
        {'a/msg/B:\n    evil()': ([], [])},
        {'a/msg/B': ([], [('b: evil()', (1, ('uint8', 0)))])},
        {'a/msg/B': ([('C = evil()', 'uint8', 1)], [])},
        {'a/msg/B': ([], [('b', (2, 'c/msg/D"] + evil()'))])},
        {'a/msg/B': ([], [('b', (3, ((1, ('uint8); evil()', 0)), 3)))])},
        {'a/msg/B': ([], [('b', (4, ((2, 'c/msg/D'), 'evil()')))])},
    ],
)
def test_what_rosbags_would_make_code_of_is_names_alone(types_found):
    """Whatever its grammar lets through, now or in another release."""
    with pytest.raises(ValueError, match='expected names|invalid literal'):
        types._check_names(types_found)


def test_the_types_of_ros_pass():
    store = types.get_typestore(types.Stores.ROS2_JAZZY)
    assert len(store.fielddefs) > 100
    types._check_names(store.fielddefs)
