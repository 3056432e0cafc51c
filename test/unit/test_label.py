# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `label`: confident predictions become a data set, existing labels are kept."""

import json
from pathlib import Path

from bag_files import write_bag
import numpy as np
import pytest
import torch

from seg_ros.__main__ import main
from seg_ros.datasets.catalog import open_dataset
from seg_ros.datasets.teacher import merged_labels, thinned
from seg_ros.images.image_file import read_labels, write_image
from seg_ros.images.labels import CAMVID, IGNORE
from seg_ros.images.video_file import VideoWriter
from seg_ros.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from seg_ros.inference.preprocessing import resize
from seg_ros.models import build_model

SIZE = 32, 64


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """Return the file of an untrained network whose classes differ from pixel to pixel."""
    torch.manual_seed(3)
    spec = {'name': 'bisenetv2', 'num_classes': len(CAMVID), 'head_width': 16}
    network = build_model(spec)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, *SIZE))
        network.head[1].weight.mul_(8)  # so that it is sure of some pixels
    path = tmp_path_factory.mktemp('teacher') / 'net.safetensors'
    save_checkpoint(path, Checkpoint(network.eval(), spec, CAMVID, SIZE))
    return path


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 72, 3), np.uint8)


def label(teacher, out, *arguments):
    result = Path(f'{out}.json')
    code = main(
        ['label', *map(str, arguments), '--out', str(out), '--model', str(teacher), '--json',
         str(result)]
    )  # fmt: skip
    return json.loads(result.read_text()) if code == 0 else code


def reference(teacher, image, scales, least):
    """Return labels computed without Segmenter: in float64, one image at a time."""
    checkpoint = load_checkpoint(teacher)
    network = checkpoint.network.double()
    mean, std = (
        np.array(v) for v in (checkpoint.preprocessing.mean, checkpoint.preprocessing.std)
    )
    total = 0
    for scale in scales:
        size = [round(scale * side) for side in SIZE]
        pixels = resize(torch.from_numpy(image)[None], size)[0].numpy()
        x = torch.from_numpy((pixels - mean) / std).movedim(-1, 0)[None]
        for flip in (False, True):
            with torch.no_grad():
                logits = network.coarse_logits(x.flip(3) if flip else x)
            p = torch.nn.functional.interpolate(
                logits, image.shape[:2], mode='bilinear', align_corners=network.align_corners
            ).softmax(1)
            total = total + (p.flip(3) if flip else p)
    p = (total / (2 * len(scales)))[0].numpy()
    return np.where(p.max(0) < least, IGNORE, p.argmax(0)), p


def test_labels_are_the_mean_over_scales_and_mirror_images(teacher, tmp_path):
    write_image(tmp_path / 'in/front/a.png', picture(0))
    write_image(tmp_path / 'in/rear/a.png', picture(1))
    found = label(
        teacher, tmp_path / 'out', tmp_path / 'in', '--scales', '1', '1.5', '--least-confidence',
        '0.3', '--precision', 'fp32',
    )  # fmt: skip
    data = open_dataset('folder', tmp_path / 'out', 'train')
    assert data.labels.names == CAMVID.names
    known = 0
    for i, name in enumerate(('front/a', 'rear/a')):
        image, labels = data[i]
        assert data.source(i).endswith(f'{name}.png')
        np.testing.assert_array_equal(image, picture(i))
        expected, p = reference(teacher, image, (1, 1.5), 0.3)
        clear = (np.sort(p, 0)[-1] - np.sort(p, 0)[-2] > 1e-3) & (abs(p.max(0) - 0.3) > 1e-3)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(labels[clear], expected[clear])
        known += np.count_nonzero(labels != IGNORE)
    assert found['images'] == 2
    assert found['labelled'] == pytest.approx(known / (2 * 40 * 72))
    assert 0.05 < found['labelled'] < 0.95, 'the test should see sure and unsure pixels'


def test_an_interrupted_run_goes_on(teacher, tmp_path):
    for i in range(3):
        write_image(tmp_path / f'in/{i}.png', picture(i))
    out = tmp_path / 'out'
    whole = label(teacher, out, tmp_path / 'in')
    first, second = (out / f'labels/train/{i}.png' for i in (0, 1))
    write_image(first, np.full((40, 72), 3, np.uint8))  # the network would label it otherwise
    expected = second.read_bytes()
    second.unlink()
    again = label(teacher, out, tmp_path / 'in')
    assert (read_labels(first) == 3).all()
    assert second.read_bytes() == expected
    assert again['images'] == whole['images'] == 3


@pytest.mark.parametrize('kind', ['video', 'bag'])
def test_of_a_drive_one_frame_in_n(teacher, tmp_path, kind):
    images = [picture(i // 2) for i in range(6)]
    if kind == 'video':
        drive = tmp_path / 'drive.mp4'
        with VideoWriter(drive) as writer:
            for image in images:
                writer.write(image)
    else:
        drive = tmp_path / 'drive'
        write_bag(drive, 'mcap', [(i + 1, image, None) for i, image in enumerate(images)])
    found = label(teacher, tmp_path / 'out', drive, '--every', '2')
    assert found['images'] == 3
    names = sorted(p.name for p in (tmp_path / 'out/images/train/drive').iterdir())
    assert names == ['000000.jpg', '000002.jpg', '000004.jpg']


def test_frames_that_show_nothing_new_are_left_out():
    base = np.full((36, 64, 3), 100, np.uint8)
    images = [base, base + 1, base + 4, base + 7, base + 20]
    kept = [frame.name for frame in thinned('drive', images, least_change=4)]
    assert kept == ['drive/000000', 'drive/000002', 'drive/000004']


def test_given_labels_are_kept_or_averaged():
    # Two classes, four pixels: the network gives the first class these probabilities.
    first = np.array([[0.9, 0.6, 0.55, 0.2]], np.float32)
    p = np.stack([first, 1 - first])
    given = np.array([[1, 1, IGNORE, 0]], np.uint8)
    assert merged_labels(p).tolist() == [[0, 0, 0, 1]]
    assert merged_labels(p, given).tolist() == [[1, 1, 0, 0]]
    # Half of each: .45 .3 .55 .6 for the first class.
    assert merged_labels(p, given, 0.5).tolist() == [[1, 1, 0, 0]]
    # A quarter of theirs: .675 .45 .55 .4.
    assert merged_labels(p, given, 0.25).tolist() == [[0, 1, 0, 1]]
    assert merged_labels(p, given, 0.25, 0.6).tolist() == [[0, IGNORE, IGNORE, 1]]


def test_ground_truth_beside_the_images_wins(teacher, tmp_path):
    truth = np.full((40, 72), IGNORE, np.uint8)
    truth[:20] = 7
    write_image(tmp_path / 'in/a.png', picture(0))
    write_image(tmp_path / 'in/b.png', picture(1))
    write_image(tmp_path / 'truth/a.png', truth)
    label(teacher, tmp_path / 'plain', tmp_path / 'in')
    label(teacher, tmp_path / 'out', tmp_path / 'in', '--merge', tmp_path / 'truth')
    made = {n: read_labels(tmp_path / f'out/labels/train/{n}.png') for n in 'ab'}
    plain = {n: read_labels(tmp_path / f'plain/labels/train/{n}.png') for n in 'ab'}
    assert (made['a'][:20] == 7).all()
    np.testing.assert_array_equal(made['a'][20:], plain['a'][20:])
    np.testing.assert_array_equal(made['b'], plain['b'])


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['none.png'], 'none.png: expected an image, a folder, a video or a bag'),
        (['in', '--least-confidence', '1.5'], '--least-confidence: expected 0 to 1; found 1.5'),
        (['in', '--every', '0'], '--every: expected 1 or more'),
        (['in', '--scales', '0'], '--scales: expected more than 0'),
        (['in', '--merge', 'nowhere'], '--merge: expected a folder of labels'),
        (['in', '--merge', 'wrong'], 'a: expected labels of (40, 72) with ids below 11'),
        (['in', 'other'], 'found a in both'),
        (['empty'], 'empty: expected images in this folder'),
    ],
)
def test_wrong_input(teacher, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    write_image(Path('in/a.png'), picture(0))
    write_image(Path('other/a.png'), picture(0))
    write_image(Path('wrong/a.png'), np.full((40, 72), 40, np.uint8))
    Path('empty').mkdir()
    assert label(teacher, 'out', *arguments) == 2
    assert said in capsys.readouterr().err


def test_another_class_list_is_refused(teacher, tmp_path, capsys):
    write_image(tmp_path / 'in/a.png', picture(0))
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/classes.csv').write_text('id,name\n0,road\n')
    assert label(teacher, tmp_path / 'out', tmp_path / 'in') == 2
    assert 'classes.csv: expected the classes of the labelling network' in capsys.readouterr().err
    assert (tmp_path / 'out/classes.csv').read_text() == 'id,name\n0,road\n'
