# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`replay` in several processes, interrupted, of every kind of bag, and of all of CamVid."""

from functools import partial
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from bag_files import KINDS, write_bag
import pytest
from small_replays import (
    check_scores_of_a_bag,
    draw_frames,
    FRAMES,
    IMAGES,
    LABELS,
    NETWORK,
    scores,
    SIZE,
    SMALL,
    without_times,
    write_fleet,
)

from seg_ros.__main__ import main
from seg_ros.bags.writer import BagWriter
from seg_ros.datasets.camvid import camvid
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.inference.segmenter import Segmenter
from seg_ros.replay.drive_outputs import OutputChoice
from seg_ros.replay.fleet import replay_all
from seg_ros.replay.offline import ReplaySettings

CAMVID = os.environ.get('SEG_ROS_CAMVID')


@pytest.fixture(scope='module')
def segmenter():
    return Segmenter(**NETWORK)


@pytest.fixture(scope='module')
def frames():
    return draw_frames()


@pytest.fixture
def fleet(frames, tmp_path):
    return write_fleet(tmp_path / 'fleet', frames)


@pytest.mark.parametrize('kind', KINDS)
def test_any_bag_scores_as_the_data_set_does(kind, frames, segmenter, tmp_path):
    check_scores_of_a_bag(kind, frames, segmenter, tmp_path)


@pytest.mark.skipif(CAMVID is None, reason='SEG_ROS_CAMVID does not name the folder of CamVid')
@pytest.mark.parametrize('kind', ['sqlite3', 'mcap_chunk_zstd', 'ros1', 'compressed'])
def test_camvid_scores_as_evaluate_does(kind, tmp_path):
    assert main([
        'evaluate', '--dataset', 'camvid', '--root', CAMVID, '--split', 'val',
        '--json', str(tmp_path / 'evaluate.json'),
    ]) == 0  # fmt: skip
    expected = json.loads((tmp_path / 'evaluate.json').read_text())
    val = camvid(CAMVID, 'val')
    frames = [(10**9 + round(i * 10**9 / 15), *val[i]) for i in range(len(val))]
    path = tmp_path / 'val'
    if kind == 'compressed':  # the very files, as a camera that compresses would send them
        with BagWriter(path) as writer:
            for i, (stamp, _, labels) in enumerate(frames):
                content = Path(val.source(i)).read_bytes()
                writer.write_compressed_image(f'{IMAGES}/compressed', content, 'jpeg', stamp, 'c')
                writer.write_image(LABELS, labels, stamp, 'c', 'mono8')
    else:
        path = write_bag(path, kind, frames)
    results = []
    for name in ('first', 'second'):
        result = tmp_path / f'{name}.json'
        assert main(['replay', str(path), '--labels', LABELS, '--json', str(result)]) == 0
        results.append(json.loads(result.read_text()))
    assert without_times(results[0]) == without_times(results[1])
    assert results[0]['frames_out'] == 101
    for key in ('miou', 'iou', 'pixel_accuracy'):
        assert results[0][key] == expected[key]


# Several processes


def test_a_list_and_several_processes_give_the_same(fleet, tmp_path):
    listing = tmp_path / 'drives.txt'
    listing.write_text('# this week\nfleet/monday\n\nfleet/tuesday\n')
    alone = scores(tmp_path, listing, '--labels', LABELS)
    assert without_times(scores(tmp_path, listing, '--labels', LABELS, '--jobs', '2')) == (
        without_times(alone)
    )


def test_torchrun_shares_the_drives(fleet, tmp_path):
    alone = scores(tmp_path, fleet / 'monday', fleet / 'tuesday', '--labels', LABELS)
    path = tmp_path / 'shared.json'
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    subprocess.run(
        [sys.executable, *launch, '-m', 'seg_ros', 'replay', fleet / 'monday', fleet / 'tuesday',
         '--labels', LABELS, '--json', path, *SMALL],
        check=True, capture_output=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert without_times(json.loads(path.read_text())) == without_times(alone)


class Killer:
    """Ends the process that reads it from a queue."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_killed_process_costs_its_drive_alone(fleet, segmenter, frames):
    settings = ReplaySettings(
        [], [], 'camvid', OutputChoice(None, None, segmenter.labels),
        progress=False,
    )  # fmt: skip
    jobs = [
        (fleet / 'monday', settings),
        (fleet / 'gone', Killer()),
        (fleet / 'tuesday', settings),
    ]
    drives = replay_all(partial(Segmenter, **NETWORK), jobs, processes=2)
    assert [len(drive.cameras) for drive in drives] == [1, 0, 1]
    assert [len(drive.cameras[0].stamps) for drive in drives[::2]] == [FRAMES, 5]
    assert drives[1].error.startswith(f'{fleet / "gone"}: expected to finish; found its process')


@pytest.mark.parametrize('jobs', ['1', '2'])
def test_ctrl_c_ends_all_and_leaves_nothing(jobs, tmp_path):
    drive = SampleDrive(seed=3, frames=4, size=SIZE)
    for name in ('monday', 'tuesday', 'wednesday'):
        long = [(10**9 + i * 10**8, *drive[i % 4]) for i in range(400)]
        write_bag(tmp_path / 'fleet' / name, 'mcap', long)
    command = ['replay', *SMALL, tmp_path / 'fleet', '--out', tmp_path / 'out', '--jobs', jobs]
    process = subprocess.Popen(
        [sys.executable, '-m', 'seg_ros', *command],
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    end = time.monotonic() + 600
    while not list(tmp_path.glob('out/.*')) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert 'interrupted' in process.stderr.read()
    assert not list(tmp_path.glob('out/.*')) and len(list(tmp_path.glob('out/*'))) < 3
