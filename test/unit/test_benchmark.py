# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `benchmark`: what is counted is right, what is timed is what it says."""

import json

from benchmark_fixtures import check_cost, on_meta
import cv2
import numpy as np
import pytest
import torch
from torch import nn

from seg_ros.__main__ import main
from seg_ros.benchmark.baselines import (
    baselines_of,
    BISENETV2,
    Eager,
    HALF_PSPNET50,
    TWICE,
)
from seg_ros.benchmark.benchmark_report import table
from seg_ros.benchmark.branch_times import branch_rows, BranchTimes
from seg_ros.benchmark.cases import Case, with_baselines
from seg_ros.benchmark.engine_benchmark import compared
from seg_ros.benchmark.networks import find_network
from seg_ros.benchmark.peak import best
from seg_ros.benchmark.power import Power
from seg_ros.benchmark.rows import BenchmarkRow, read, result
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.inference.segmenter import Segmenter
from seg_ros.models import SegmentationNetwork
from seg_ros.models.cost import Cost, cost_by_branch, total
from seg_ros.reports.text_table import as_markdown

pytestmark = pytest.mark.usefixtures('one_thread')

SMALL = (64, 128)
PEAK = {'copy_gb_s': 10.0, 'tflops': {'fp32': 0.5, 'bf16': 2.0, 'int8': None}}


# What networks cost


@pytest.mark.parametrize(
    ('spec', 'size', 'gmac'),
    [
        ({'name': 'bisenetv2'}, (512, 1024), 24.6),
        ({'name': 'icnet', 'width': 0.5}, (1024, 2048), 28.8),
        ({'name': 'pspnet50', 'width': 0.5}, (1024, 2048), 367.7),
    ],
)
def test_cost_is_the_published_one_and_every_layer_is_in_a_branch(spec, size, gmac):
    check_cost(spec, size, gmac)


def test_branches_of_bisenetv2_cost_what_is_published():
    costs = cost_by_branch(on_meta(name='bisenetv2'), (512, 1024))
    found = {name: cost.macs / 1e9 for name, cost in costs.items()}
    assert found == pytest.approx(
        {'detail': 11.7, 'semantic': 1.35, 'aggregation': 1.74, 'head': 9.82}, rel=0.01
    )


def test_an_early_exit_costs_what_runs_before_it():
    names = {}
    sums = []
    for ends in ('sub4', 'sub24', 'sub124'):
        costs = cost_by_branch(on_meta(name='icnet', width=0.5, exit=ends), (1024, 2048))
        names[ends] = list(costs)
        sums.append(total(costs).macs)
    assert names == {
        'sub4': ['trunk', 'sub4'],
        'sub24': ['trunk', 'sub4', 'sub24 fusion'],
        'sub124': ['trunk', 'sub4', 'sub24 fusion', 'sub1', 'sub124 head'],
    }
    assert sums == sorted(sums)


class TwoLayers(SegmentationNetwork):
    """A convolution of 3 to 8 channels that halves the size, and a linear layer of its means."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.linear = nn.Linear(8, 5)

    def coarse_logits(self, images):
        return self.linear(self.conv(images).mean((2, 3)))


def test_multiply_adds_and_numbers_moved_of_two_layers():
    costs = cost_by_branch(TwoLayers().bfloat16(), (32, 64))
    assert total(costs) == Cost(
        macs=8 * 16 * 32 * 3 * 9 + 8 * 5,
        weights=8 * 3 * 9 + 8 * 5,
        activations=3 * 32 * 64 + 8 * 16 * 32 + 8 + 5,
    )


def test_roofline_is_the_slower_of_computing_and_moving():
    cost = Cost(macs=10**9, weights=10**6, activations=10**6)
    assert cost.at_peak(PEAK, 'fp32') == pytest.approx(4.0)  # 2e9 operations at 0.5e12
    assert cost.at_peak(PEAK, 'bf16') == pytest.approx(1.0)
    assert cost.at_peak(PEAK, 'bf16', batch=3) == pytest.approx(3.0)
    # 1 + 3 million numbers of 4 bytes at 10e9 a second
    moving = Cost(macs=0, weights=10**6, activations=10**6)
    assert moving.at_peak(PEAK, 'fp32', batch=3) == pytest.approx(1.6)
    assert cost.at_peak(PEAK, 'int8') is None
    assert cost.at_peak(PEAK, 'fp16') is None


# Networks by name


def test_a_network_of_no_weights_is_the_same_every_time_and_its_values_stay_small():
    one, two = (find_network('icnet:width=0.5,exit=sub24', SMALL) for _ in range(2))
    assert one.architecture == {
        'name': 'icnet', 'num_classes': 19, 'width': 0.5, 'exit': 'sub24'
    }  # fmt: skip
    state, other = one.network.state_dict(), two.network.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)
    largest = []
    for module in one.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *call: largest.append(call[2].abs().max()))
    pixels = torch.from_numpy(SampleDrive(frames=1)[0][0]).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        one.network(one.preprocessing.normalise(pixels))
    assert max(largest) < 20_000  # float16 holds 65504


def test_trained_weights_take_another_exit_or_a_wider_head():
    early = find_network('icnet_camvid:exit=sub4', SMALL)
    assert early.network.exit == early.architecture['exit'] == 'sub4'
    narrow, wide = (
        find_network(f'bisenetv2_camvid{more}', SMALL) for more in ('', ':head_width=1024')
    )
    assert wide.network.head[1].in_channels == 1024 > narrow.network.head[1].in_channels
    x = torch.randn(1, 3, *SMALL)
    with torch.inference_mode():
        torch.testing.assert_close(wide.network(x), narrow.network(x), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('nothing_like_it', 'expected a shipped network'),
        ('icnet:width', 'expected arguments as in width=0.5'),
        ('icnet:depth=3', 'icnet takes num_classes, width, exit'),
        ('icnet:exit=sub8', 'sub124'),
        ('bisenetv2_camvid:exit=sub4', 'expected nothing after the name of trained weights'),
        ('bisenetv2_camvid:head_width=100', 'expected a multiple of'),
    ],
)
def test_no_such_network_is_an_input_error(name, said, capsys):
    assert main(['benchmark', 'engine', '--networks', name, '--sizes', '64x32']) == 2
    assert said in capsys.readouterr().err


# How others run them


def test_the_eager_way_sees_what_ours_sees():
    height, width = 96, 128
    checkpoint = find_network('bisenetv2_camvid', (height, width))
    eager = Eager(checkpoint.network, checkpoint.preprocessing, (height, width), 'cpu')
    image = SampleDrive(seed=3, frames=1, size=(width, height))[0][0]
    ours = Segmenter(
        checkpoint, input_height=height, input_width=width, device='cpu', backend='torch',
        precision='fp32',
    )  # fmt: skip
    (labels,) = eager.predict([image])
    assert labels.dtype == np.uint8
    assert (labels == ours.predict(image).labels).mean() > 0.999
    large = cv2.resize(image, (2 * width, 2 * height))
    assert eager.predict([large])[0].shape == (2 * height, 2 * width)


def test_each_network_is_compared_with_its_own_kind():
    def baselines(name):
        return baselines_of(name, find_network(name, SMALL).network)

    assert baselines('bisenetv2:head_width=64') == (BISENETV2,)
    assert baselines('bisenetv2_camvid') == ('bisenetv2_camvid:head_width=1024',)
    assert baselines('icnet:width=0.5') == baselines('icnet_camvid') == (TWICE, HALF_PSPNET50)
    assert baselines(HALF_PSPNET50) == (HALF_PSPNET50,)
    cases = [Case('icnet_camvid', SMALL, SMALL, batch=batch) for batch in (1, 6)]
    others = with_baselines(cases)[:-2]
    assert [(case.network, case.eager, case.batch) for case in others] == [
        (TWICE, True, 1), (HALF_PSPNET50, True, 1)
    ]  # fmt: skip


def test_ratios_are_of_milliseconds_an_image_at_the_same_size():
    def row(benchmark, milliseconds, batch=1, size=SMALL, **fields):
        return BenchmarkRow(
            benchmark, 'other' if benchmark == 'baseline' else 'ours', baseline='other',
            input_size=size, image_size=size, batch=batch,
            latency_ms={'p50': milliseconds} if milliseconds else {}, **fields,
        )  # fmt: skip

    rows = compared(
        [
            row('baseline', 200.0),
            row('engine', 50.0),
            row('engine', 120.0, batch=6),
            row('engine', None, timing='throughput', fps=40.0),
            row('engine', 50.0, size=(32, 64)),
            BenchmarkRow('overlay', latency_ms={'p50': 5.0}, ratio=0.1),
        ]
    )
    assert [r.ratio for r in rows] == pytest.approx([1.0, 0.25, 0.1, 0.125, None, 0.1])


# What the machine can do


def test_the_best_peak_counts():
    def peak(copy, fp32, int8):
        return {'device': 'cpu', 'copy_gb_s': copy, 'tflops': {'fp32': fp32, 'int8': int8}}

    found = best([peak(10.0, 0.3, None), peak(12.0, 0.2, None)])
    assert found == peak(12.0, 0.3, None)


def test_power_is_energy_over_time_also_where_a_counter_starts_anew(tmp_path):
    def write(package, microjoules):
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        (folder / 'energy_uj').write_text(f'{microjoules}\n')
        (folder / 'max_energy_range_uj').write_text('1000000000\n')

    write('intel-rapl:0', 5_000_000)
    write('intel-rapl:1', 999_000_000)
    write('intel-rapl:0:0', 0)  # a part of the first
    with Power('cpu', tmp_path) as power:
        started = power._start
        write('intel-rapl:0', 8_000_000)
        write('intel-rapl:1', 1_000_000)
        write('intel-rapl:0:0', 900_000_000)
    assert started > 0
    assert power.watts is not None
    with Power('cpu', tmp_path / 'nothing') as power:
        pass
    assert power.watts is None


def test_branches_add_up_to_the_whole():
    network = find_network('icnet:width=0.25,exit=sub24', SMALL).network
    times = BranchTimes(network, SMALL, 'cpu', 'fp32')
    for _ in range(3):
        times.run()
    rows = branch_rows(times, 'name', SMALL, PEAK)
    assert [r['branch'] for r in rows] == ['trunk', 'sub4', 'sub24 fusion', 'rest', 'whole']
    *parts, whole = rows
    assert whole['ms'] == pytest.approx(sum(part['ms'] for part in parts))
    assert whole['gmac'] == pytest.approx(sum(part['gmac'] or 0 for part in parts))
    assert all(part['ms'] > 0 for part in parts)
    assert not any(module._forward_hooks for module in network.modules())


def test_two_files_make_one_table(tmp_path, capsys):
    one, both = tmp_path / 'one.json', tmp_path / 'both.json'
    sizes = {'input_size': [32, 64], 'image_size': [64, 96]}
    network = 'icnet:width=0.25,exit=sub4'
    rows = [
        BenchmarkRow('engine', network, backend='torch', latency_ms={'p50': 1.5}, **sizes),
        BenchmarkRow('overlay', network, latency_ms={'p50': 0.5}, **sizes),
    ]
    one.write_text(json.dumps(result(rows, 'seg_ros benchmark engine', peak=PEAK)))
    assert read(one)['results'] == rows
    how = ['--markdown', '--json', str(both)]
    assert main(['benchmark', 'table', str(one), str(one), *how]) == 0
    shown = capsys.readouterr().out
    assert shown.count('| engine | icnet:width=0.25,exit=sub4 | torch |') == 2
    made = json.loads(both.read_text())
    assert made['results'] == 2 * json.loads(one.read_text())['results']
    assert made['command'] == 'seg_ros benchmark engine && seg_ros benchmark engine'


def test_a_table_leaves_out_what_no_row_has():
    rows = [
        BenchmarkRow('transport', notes='a|b', latency_ms={'p50': 1.5}),
        BenchmarkRow('transport'),
    ]
    assert as_markdown(table(rows)).splitlines() == [
        '| benchmark | batch | timing | resize | p50 ms | notes |',
        '| --- | --- | --- | --- | --- | --- |',
        r'| transport | 1 | latency | no | 1.50 | a\|b |',
        '| transport | 1 | latency | no |  |  |',
    ]


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['engine', 'a.json'], 'expected files after table and after nothing else'),
        (['table'], 'expected files after table and after nothing else'),
        (['table', 'missing.json'], 'missing.json'),
        (['engine', '--plot', 'a.txt'], 'expected a file ending .svg, .png, .pdf'),
        (['engine', '--report', 'missing/a.html'], 'a folder that exists'),
        (['engine', '--sizes', '64x32', '--backends', 'abacus'], "found 'abacus'"),
        (['engine', '--sizes', '64x32', '--precisions', 'fp8'], "found 'fp8'"),
        (['engine', '--sizes', '64x32', '--device', 'cuda:77'], "found 'cuda:77'"),
    ],
)
def test_input_errors(arguments, said, capsys):
    assert main(['benchmark', *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments', [['engine', '--sizes', '64'], ['engine', '--rounds', '0'], ['motor']]
)
def test_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(['benchmark', *arguments])
    assert stopped.value.code == 2


def test_a_file_that_is_no_result_is_an_input_error(tmp_path, capsys):
    for content in ('{}', '[', '{"machine": {}, "results": [{"speed": 3}]}'):
        path = tmp_path / 'a.json'
        path.write_text(content)
        assert main(['benchmark', 'table', str(path)]) == 2
        assert 'expected what `benchmark --json` writes' in capsys.readouterr().err


def test_a_result_names_machine_and_command():
    made = result([BenchmarkRow('engine')], 'seg_ros benchmark engine', PEAK, branches=[])
    assert made['command'] == 'seg_ros benchmark engine'
    assert made['peak'] == PEAK and made['branches'] == []
    assert made['machine']['torch'] and made['machine']['cores'] >= 1
    assert made['results'][0]['benchmark'] == 'engine'
