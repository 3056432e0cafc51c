# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of transport, of images from end to end, and of several cameras."""

import re

from node_fixtures import make_checkpoint, picture
import pytest

from seg_ros.benchmark.live.live_rows import camera_rows, end_to_end_rows, transport_rows
from seg_ros.benchmark.live.measurements import BOTH
from seg_ros.benchmark.rows import BenchmarkRow
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import encode_image
from seg_ros.images.run_length import encode

PICTURE = picture(1, 36, 48)
TORCH = {'device': 'cpu', 'backend': 'torch', 'precision': 'fp32'}


def check(rows: list[dict], benchmark: str, count: int) -> list[BenchmarkRow]:
    found = [BenchmarkRow(**row) for row in rows]
    assert len(found) == count
    for row in found:
        assert row.benchmark == benchmark
        assert row.inside and row.notes
        assert 0 < row.latency_ms['p50'] <= row.latency_ms['p95'] <= row.latency_ms['p99']
    return found


def test_rows_of_transport():
    labels = SampleDrive(seed=7, frames=1, size=(64, 48))[0][1]
    sizes, chosen = [(24, 32), (48, 64)], ['default DDS', BOTH]
    rows = check(transport_rows(labels, sizes, chosen=chosen, frames=4, rate=5.0), 'transport', 15)
    sizes = [[24, 32], *4 * [[48, 64]]]
    assert [row.image_size for row in rows] == 3 * sizes
    lengths = [24 * 32 * 3, 48 * 64 * 3, 48 * 64]
    lengths += [len(encode_image(labels, '.png')), encode(labels).size]
    found = [re.search(r'; (\d+) bytes; 4 of 4 arrived$', row.notes)[1] for row in rows]
    assert [int(length) for length in found] == 3 * lengths
    kinds = [row.notes.split('; ')[1] for row in rows[::5]]
    assert kinds == ['default DDS', BOTH, f'{BOTH}, memory given back']
    for i, row in enumerate(rows):
        assert row.baseline == 'default DDS'
        assert row.ratio == pytest.approx(row.p50 / rows[i % 5].p50)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return str(make_checkpoint(tmp_path_factory.mktemp('weights') / 'small.safetensors', 1))


def test_rows_from_end_to_end(checkpoint):
    rows = end_to_end_rows(
        PICTURE, [(36, 48)], model=checkpoint, parameters=TORCH, chosen=[BOTH], frames=3
    )
    node, relay, engine = check(rows, 'end_to_end', 3)
    for row in (node, engine):
        assert (row.network, row.backend, row.precision) == (checkpoint, 'torch', 'fp32')
        assert (list(row.input_size), row.image_size) == ([96, 128], [36, 48])
        assert row.resize
    assert node.ratio == pytest.approx(node.p50 / (relay.p50 + engine.p50))
    assert node.notes.endswith('3 of 3 arrived') and relay.notes.endswith('3 of 3 arrived')
    assert 50 < node.memory_mb < 4000


def test_rows_of_cameras(checkpoint):
    rows = camera_rows(
        PICTURE, [2], size=(36, 48), model=checkpoint, parameters=TORCH, rate=4.0, seconds=1.0
    )
    (row,) = check(rows, 'cameras', 1)
    assert (row.cameras, row.timing) == (2, 'throughput')
    answered = [float(rate) for rate in re.findall(r'([\d.]+)/s of', row.notes)]
    assert len(answered) == 2 and sum(answered) == row.fps
    assert 0 < row.fps <= 8
    assert float(re.search(r'fairness ([\d.]+)', row.notes)[1]) == pytest.approx(
        min(answered) / max(answered), abs=0.01
    )
