# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `benchmark` where it really times: what it writes, and what it says of it."""

import json

from benchmark_fixtures import check_cost, on_meta
import pytest
import torch

from seg_ros.__main__ import main
from seg_ros.benchmark.baselines import baseline_network, BISENETV2, TWICE
from seg_ros.benchmark.cases import Case, with_baselines
from seg_ros.benchmark.engine_benchmark import measure
from seg_ros.benchmark.peak import measure as measure_peak
from seg_ros.benchmark.peak_memory import peak_memory
from seg_ros.benchmark.rows import BenchmarkRow, read
from seg_ros.models.cost import cost_by_branch, total

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.mark.parametrize(
    ('spec', 'size', 'gmac'),
    [
        ({'name': 'bisenetv2'}, (512, 1024), 24.6),
        ({'name': 'bisenetv2'}, (1024, 2048), 98.4),
        ({'name': 'bisenetv2', 'head_width': 256}, (512, 1024), 17.2),
        ({'name': 'bisenetv2', 'head_width': 128}, (512, 1024), 16.0),
        ({'name': 'icnet', 'width': 0.5}, (1024, 2048), 28.8),
        ({'name': 'icnet', 'width': 1}, (1024, 2048), 75.8),
        ({'name': 'pspnet50', 'width': 0.5}, (1024, 2048), 367.7),
        ({'name': 'pspnet50'}, (1024, 2048), 1470),
    ],
)
def test_cost_is_the_published_one_and_every_layer_is_in_a_branch(spec, size, gmac):
    check_cost(spec, size, gmac)


def backbone_macs(height, width):
    """Multiply-adds of the dilated ResNet-50 with a deep stem, from its table."""

    def conv(inputs, outputs, kernel, stride):
        return inputs * outputs * kernel**2 * (height // stride) * (width // stride)

    macs = conv(3, 64, 3, 2) + conv(64, 64, 3, 2) + conv(64, 128, 3, 2)
    inputs = 128
    for blocks, middle, stride in ((3, 64, 4), (4, 128, 8), (6, 256, 8), (3, 512, 8)):
        for block in range(blocks):
            macs += conv(inputs, middle, 1, stride) + conv(middle, middle, 3, stride)
            macs += conv(middle, 4 * middle, 1, stride)
            if block == 0:
                macs += conv(inputs, 4 * middle, 1, stride)
            inputs = 4 * middle
    return macs


def test_the_icnet_of_two_backbones_costs_what_its_structure_says():
    """Ten times as much as ICNet, though its small image is a sixteenth."""
    network = baseline_network(TWICE, (64, 128)).network
    costs = cost_by_branch(network, (1024, 2048))
    eighth, sixteenth = 128 * 256, 64 * 128
    assert costs['backbone, twice'].macs == backbone_macs(512, 1024) + backbone_macs(256, 512)
    assert costs['sub1'].macs == 9 * (3 * 32 * 64 + 32 * 32 * 16 + 32 * 64 * 4) * eighth // 4
    assert costs['sub24 fusion'].macs == (9 * 2048 + 512 + 19) * 128 * sixteenth
    assert costs['sub124 head'].macs == ((9 * 128 + 64 + 19) + 4 * 19) * 128 * eighth
    assert total(costs).macs / 1e9 == pytest.approx(293.5, abs=0.05)
    # The published 28.3 million are these and the classifier that ImageNet has left behind.
    parameters = sum(p.numel() for p in network.parameters()) + 2048 * 1000 + 1000
    assert parameters / 1e6 == pytest.approx(28.3, abs=0.05)


def test_peak_is_measured_in_what_is_asked_for():
    peak = measure_peak('cpu', ['fp32', 'bf16', 'fp32'])
    assert (peak['device'], peak['threads']) == ('cpu', 1)
    assert list(peak['tflops']) == ['bf16', 'fp32']
    assert 1e-3 < peak['tflops']['fp32'] < 100
    assert 0.1 < peak['copy_gb_s'] < 10000


def test_memory_is_that_of_the_work_alone():
    held = bytearray(300_000_000)
    assert 80 < peak_memory('cpu', torch.ones, 20_000_000) < 160
    assert len(held) == 300_000_000


@pytest.fixture(scope='module')
def measured():
    """Return rows of a run with a baseline, and what could not be had."""
    size = (32, 64)
    cases = [
        Case('bisenetv2:head_width=16', size, size, 'cpu', 'torch', 'fp32', batch)
        for batch in (1, 2)
    ]
    cases.append(Case('bisenetv2:head_width=16', size, size, 'cpu', 'torch', 'int8'))
    steps = []
    found = measure(with_baselines(cases), rounds=1, memory=False, advance=steps.append)
    assert len(steps) == 4 * 2
    return found


def test_rows_say_what_was_measured(measured):
    rows, left_out, peak = measured
    kinds = [(r.benchmark, r.network, r.backend, r.batch, r.timing) for r in rows]
    assert kinds == [
        ('baseline', BISENETV2, 'eager', 1, 'latency'),
        ('engine', 'bisenetv2:head_width=16', 'torch', 1, 'latency'),
        ('engine', 'bisenetv2:head_width=16', 'torch', 1, 'throughput'),
        ('overlay', 'bisenetv2:head_width=16', 'torch', 1, 'latency'),
        ('engine', 'bisenetv2:head_width=16', 'torch', 2, 'latency'),
    ]
    assert [name for name in left_out if 'int8' in name] == list(left_out) != []
    assert set(peak['tflops']) == {'fp32'}
    one = rows[1]
    assert (one.device, one.precision, one.resize) == ('cpu', 'fp32', False)
    assert one.input_size == one.image_size == [32, 64]
    assert 0 < one.latency_ms['p50'] <= one.latency_ms['p95'] <= one.latency_ms['p99']
    assert one.ratio == pytest.approx(one.p50 / rows[0].p50)
    costs = cost_by_branch(on_meta(name='bisenetv2', head_width=16), (32, 64))
    assert one.gmac == total(costs).macs / 1e9 == rows[4].gmac / 2
    assert one.roofline_ms == total(costs).at_peak(peak, 'fp32')
    assert rows[2].fps > 0 and rows[2].p50 is None
    assert rows[3].ratio == pytest.approx(rows[3].p50 / one.p50)


def test_json_plot_report_and_table(tmp_path, capsys):
    paths = {name: tmp_path / name for name in ('a.json', 'a.svg', 'a.html', 'b.json')}
    assert main([
        'benchmark', 'engine', '--networks', 'icnet:width=0.25,exit=sub4', '--sizes', '64x32',
        '96x64', '--input-size', '64x32', '--device', 'cpu', '--backends', 'torch',
        '--precisions', 'fp32', '--rounds', '1', '--branches', '--quick',
        '--json', str(paths['a.json']), '--plot', str(paths['a.svg']),
        '--report', str(paths['a.html']),
    ]) == 0  # fmt: skip
    found = json.loads(paths['a.json'].read_text())
    assert {'machine', 'command', 'peak', 'results', 'left_out', 'branches'} <= set(found)
    engines = [row for row in found['results'] if row['benchmark'] == 'engine']
    assert [(r['image_size'], r['resize']) for r in engines] == [
        ([32, 64], False),
        ([64, 96], True),
    ]
    assert found['machine']['threads'] == 1 and 'torch' in found['machine']
    assert [BenchmarkRow(**row) for row in found['results']] == read(paths['a.json'])['results']
    assert '<svg' in paths['a.svg'].read_text()
    assert 'icnet:width=0.25,exit=sub4' in paths['a.html'].read_text()
    capsys.readouterr()
    a = str(paths['a.json'])
    assert main(['benchmark', 'table', a, a, '--markdown', '--json', str(paths['b.json'])]) == 0
    shown = capsys.readouterr().out
    assert shown.count('| engine | icnet:width=0.25,exit=sub4 | torch |') == 4
    both = json.loads(paths['b.json'].read_text())
    assert both['results'] == 2 * found['results']


def test_what_needs_ros_is_measured_in_the_sizes_asked_for(tmp_path):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    path = tmp_path / 'a.json'
    assert main([
        'benchmark', 'cameras', '--sizes', '64x48', '--input-size', '128x64', '--cameras', '2',
        '--device', 'cpu', '--backends', 'torch', '--precisions', 'fp32', '--json', str(path),
    ]) == 0  # fmt: skip
    (row,) = read(path)['results']
    assert (row.benchmark, row.cameras, row.backend, row.precision) == (
        'cameras', 2, 'torch', 'fp32'
    )  # fmt: skip
    assert (row.image_size, row.input_size, row.resize) == ([48, 64], [64, 128], True)
    assert row.fps > 0 and row.p50 > 0 and row.memory_mb > 0
