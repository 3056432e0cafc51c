# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of deadlines, as its command with the node and a load; compiled exits."""

import json

from deadline_fixtures import check_compiled_exits_are_kept_apart
import pytest

from seg_ros.__main__ import main
from seg_ros.benchmark.live import deadline_benchmark as benchmark
from seg_ros.benchmark.rows import read
from seg_ros.inference import DEFAULT_MODEL


@pytest.mark.usefixtures('one_thread')
@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_compiled_exits_and_sizes_are_kept_apart(precision, tmp_path, monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setenv('SEG_ROS_CACHE', str(tmp_path))
    check_compiled_exits_are_kept_apart(tmp_path, precision)


def test_the_benchmark_runs_the_node_both_ways(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, 'CALM_SECONDS', 2.0)
    monkeypatch.setattr(benchmark, 'LOAD_SECONDS', 4.0)
    paths = {name: tmp_path / name for name in ('a.json', 'a.svg', 'a.html')}
    assert main([
        'benchmark', 'deadline', '--sizes', '96x64', '--input-size', '128x96', '--rounds', '1',
        '--device', 'cpu', '--backends', 'torch', '--precisions', 'fp32', '--deadline-ms', '300',
        '--rate', '4', '--json', str(paths['a.json']), '--plot', str(paths['a.svg']),
        '--report', str(paths['a.html']),
    ]) == 0  # fmt: skip
    rows = read(paths['a.json'])['results']
    assert [(r.benchmark, r.network) for r in rows] == [('deadline', DEFAULT_MODEL)] * 2
    (found,) = json.loads(paths['a.json'].read_text())['deadlines']
    assert (found['deadline_ms'], found['rate']) == (300, 4)
    assert found['busy_processes'] >= 1 and found['slower'] > 0
    fixed, scheduler = found['runs']
    assert (fixed['name'], scheduler['name']) == (benchmark.FIXED, benchmark.SCHEDULED)
    for run in fixed, scheduler:
        assert len(run['frames']) == 4 * (2 * benchmark.CALM_SECONDS + benchmark.LOAD_SECONDS)
        ((begin, end),) = run['loaded']
        assert benchmark.CALM_SECONDS < end - begin < 3 * benchmark.LOAD_SECONDS
        answered = [frame for frame in run['frames'] if frame[1] is not None]
        assert answered
        # The pixels of every mask are those of an operating point.
        assert {point for *_, point in answered} <= {'128x96', '96x64', '64x32', '64x64'}
        assert 0 < run['in_time_of_sent'] <= run['in_time_of_answered'] <= 1
    assert fixed['rungs']['128x96'] == 1
    assert '<svg' in paths['a.svg'].read_text()
    assert 'Which masks came in time?' in paths['a.html'].read_text()
