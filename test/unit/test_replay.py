# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `replay`: the same scores as `evaluate`, outputs that are whole, faults named."""

import json
from pathlib import Path

from bag_files import write_bag
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from small_replays import (
    check_scores_of_a_bag,
    draw_frames,
    FRAMES,
    IMAGES,
    LABELS,
    NETWORK,
    run,
    scores,
    SIZE,
    without_times,
    write_fleet,
)
import torch

from seg_ros.bags.bag import read_images, read_labels, read_messages, topics
from seg_ros.bags.writer import BagWriter
from seg_ros.commands import replay as replay_tool
from seg_ros.commands.sample_drive import write_drive
from seg_ros.datasets.mappings import CAMVID_TO_CITYSCAPES
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import decode_image, encode_image, write_image
from seg_ros.images.overlay import overlay
from seg_ros.images.video_file import read_video
from seg_ros.inference.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from seg_ros.inference.segmenter import Segmenter
from seg_ros.metrics.evaluate import evaluate
from seg_ros.replay.offline import _behind, AHEAD

MASKS, CONFIDENCE, OVERLAYS = (
    f'/camera/segmentation/{name}' for name in ('mask', 'confidence', 'overlay')
)

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def segmenter():
    return Segmenter(**NETWORK)


@pytest.fixture(scope='module')
def frames():
    return draw_frames()


@pytest.fixture(scope='module')
def bag(frames, tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('bag') / 'drive', 'mcap', frames)


@pytest.fixture(autouse=True)
def loaded_once(request, segmenter, monkeypatch):
    """Let the command take the network that is loaded, unless it is asked for another one."""
    load = replay_tool.make_segmenter
    if request.node.originalname == 'test_what_the_result_says':
        return

    def make(args):
        return segmenter if args.model == segmenter.model else load(args)

    monkeypatch.setattr(replay_tool, 'make_segmenter', make)


def refused(capsys, *arguments):
    """Run it, see that it is refused as a fault of the input, and return why."""
    assert run(*arguments) == 2
    return capsys.readouterr().err


# The scores


@pytest.mark.parametrize('kind', ['sqlite3_old', 'sqlite3_split', 'mcap_chunk_zstd', 'ros1_lz4'])
def test_any_bag_scores_as_the_data_set_does(kind, frames, segmenter, tmp_path):
    check_scores_of_a_bag(kind, frames, segmenter, tmp_path)


@pytest.mark.parametrize('image_format', ['png', 'jpg'])
def test_compressed_images_score_as_their_pixels_do(image_format, frames, segmenter, tmp_path):
    path = write_bag(tmp_path / 'drive', 'mcap_chunk_zstd', frames, image_format=image_format)
    pixels = [decode_image(encode_image(image, f'.{image_format}')) for _, image, _ in frames]
    expected = evaluate(segmenter, [(p, labels) for p, (_, _, labels) in zip(pixels, frames)])
    found = scores(tmp_path, path, '--labels', LABELS)
    assert found['miou'] == expected.miou()
    assert list(found['drives'][0]['cameras']) == [f'{IMAGES}/compressed']


def test_twice_is_the_same(bag, tmp_path):
    first = scores(tmp_path, bag, '--labels', LABELS)
    assert without_times(scores(tmp_path, bag, '--labels', LABELS)) == without_times(first)
    # Nor does it matter what else is made of it.
    more = scores(
        tmp_path, bag, '--labels', LABELS, '--out', tmp_path / 'out', '--video', tmp_path / 'v.mp4'
    )
    assert (more.pop('confidence_image'), first.pop('confidence_image')) == (True, False)
    assert without_times(more) == without_times(first)


def test_a_network_of_finer_classes_is_scored_in_those_of_the_labels(tmp_path):
    write_drive(tmp_path / 'drive', seed=3, frames=2, size=SIZE)
    street = Segmenter(**(NETWORK | {'model': 'bisenetv2_street'}))
    drive = SampleDrive(seed=3, frames=2, size=SIZE)
    hits, either = np.zeros(11), np.zeros(11)
    for i in range(2):
        image, truth = drive[i]
        names = np.array([*street.labels.names])[street.predict(image).labels]
        for c, name in enumerate(drive.labels.names):
            said, true = np.isin(names, CAMVID_TO_CITYSCAPES[name]), truth == c
            hits[c] += np.sum(said & true)
            either[c] += np.sum((said | true) & (truth != 255))
    for model, ids in (('bisenetv2_street', 'auto'), ('bisenetv2_street', 'camvid')):
        options = ('--labels', LABELS, '--model', model, '--label-ids', ids)
        found = scores(tmp_path, tmp_path / 'drive', *options)
        assert list(found['iou']) == list(drive.labels.names)
        np.testing.assert_allclose(
            [np.nan if v is None else v for v in found['iou'].values()],
            np.where(either > 0, hits / np.maximum(1, either), np.nan),
        )
    # The copy of a drive notes the same.
    out = ('--labels', LABELS, '--model', 'bisenetv2_street', '--out', tmp_path / 'copy')
    assert scores(tmp_path, tmp_path / 'drive', *out)['miou'] == found['miou']
    again = ('--topic', IMAGES, '--labels', LABELS, '--model', 'bisenetv2_street')
    assert scores(tmp_path, tmp_path / 'copy', *again)['miou'] == found['miou']


def test_what_the_result_says(bag, frames, segmenter, tmp_path):
    found = scores(tmp_path, bag)
    assert (found['model'], found['input_size']) == ('bisenetv2_camvid', [96, 128])
    assert (found['precision'], found['device']) == (segmenter.precision, segmenter.device)
    assert found['miou'] is None and found['iou'] is None
    predictions = [segmenter.predict(image) for _, image, _ in frames]
    assert found['confidence'] == pytest.approx(
        np.mean([prediction.mean_confidence for prediction in predictions])
    )
    share = np.mean([np.bincount(p.labels.ravel(), minlength=11) for p in predictions], axis=0)
    assert list(found['class_share'].values())[:-1] == pytest.approx(
        (share / SIZE[0] / SIZE[1]).tolist(), abs=1e-6
    )
    assert 0 < found['flicker'] < 0.5
    assert 0 < found['latency_ms']['p50'] <= found['latency_ms']['p95']
    assert 0 < found['network_seconds'] < found['seconds']
    assert found['reference_ms'] > 0
    assert found['fps'] == pytest.approx(FRAMES / found['network_seconds'])


def test_mean_confidence_is_that_of_the_coarse_probabilities(frames, segmenter):
    image = frames[0][1]
    expected = segmenter.logits([image])[0].softmax(1).max(1).values.mean()
    assert segmenter.predict(image).mean_confidence == pytest.approx(float(expected), abs=1e-6)
    full = segmenter.predict(image, confidence=True)
    assert full.mean_confidence == pytest.approx(full.confidence.mean() / 255, abs=0.02)


def test_what_is_done_behind_a_gpu_keeps_its_order_and_its_errors():
    """On a CPU the network leaves no core for it, so no replay here goes that way."""
    made, done = [], []

    def items():
        for i in range(30):
            made.append(i)
            yield i

    def work(item):
        done.append(item)
        assert len(made) - item <= AHEAD + 2  # it holds up what is made, when it is slow
        if len(done) > 30:
            raise ValueError(f'item {item} of the second round')

    _behind(work, items())
    assert done == list(range(30))
    made.clear()
    with pytest.raises(ValueError, match='item 0 of the second round'):
        _behind(work, items())
    assert len(made) <= AHEAD + 2


# Ground truth


def test_labels_of_a_folder(bag, frames, tmp_path):
    expected = scores(tmp_path, bag, '--labels', LABELS)['miou']
    in_order, by_stamp = tmp_path / 'in_order', tmp_path / 'by_stamp'
    for i, (stamp, _, labels) in enumerate(frames):
        write_image(in_order / f'frame_{i:03}.png', labels)
        write_image(by_stamp / f'{stamp}.png', labels)
    assert scores(tmp_path, bag, '--labels', in_order)['miou'] == expected
    assert scores(tmp_path, bag, '--labels', by_stamp)['miou'] == expected


def test_a_few_labelled_frames_are_enough(bag, frames, segmenter, tmp_path, capsys):
    for stamp, _, labels in frames[2::3]:
        write_image(tmp_path / 'labels' / f'{stamp}.png', labels)
    write_image(tmp_path / 'labels' / '9999999999.png', frames[0][2])
    found = scores(tmp_path, bag, '--labels', tmp_path / 'labels')
    expected = evaluate(segmenter, [(image, labels) for _, image, labels in frames[2::3]])
    assert found['miou'] == expected.miou()
    camera = found['drives'][0]['cameras'][IMAGES]
    assert (camera['labelled'], camera['labels_unmatched']) == (2, 1)
    assert [value is not None for value in camera['timeline']['miou']] == [
        i % 3 == 2 for i in range(FRAMES)
    ]
    assert '1 labels have the stamp of no image' in capsys.readouterr().out


def test_numbers_are_no_words(bag, frames, segmenter, tmp_path):
    """Not 0, 1, 10, 2; nor are stamps of the first seconds of a simulation no stamps."""
    more = [(stamp + i * 10**9, *rest) for i in (0, 1) for stamp, *rest in frames]
    path = write_bag(tmp_path / 'more', 'mcap', more)
    young = tmp_path / 'young'
    with BagWriter(young) as writer:
        for i, (_, image, _) in enumerate(more):
            writer.write_image(IMAGES, image, 10**8 * (i + 1), 'camera', 'rgb8')
    for i, (_, _, labels) in enumerate(more):
        write_image(tmp_path / 'numbered' / f'{i}.png', labels)
        write_image(tmp_path / 'stamped' / f'{10**8 * (i + 1)}.png', labels)
    expected = evaluate(segmenter, [pair for _, *pair in more]).miou()
    assert scores(tmp_path, path, '--labels', tmp_path / 'numbered')['miou'] == expected
    assert scores(tmp_path, young, '--labels', tmp_path / 'stamped')['miou'] == expected


@pytest.mark.parametrize('order', ['late', 'early'])
def test_labels_may_be_recorded_apart_from_their_images(order, frames, segmenter, tmp_path):
    path = tmp_path / 'bag'
    moved = 10**11 if order == 'late' else -(10**9)
    with BagWriter(path) as writer:
        for stamp, image, labels in frames:
            writer.write_image(IMAGES, image, stamp, 'camera', 'rgb8')
            writer.write_image(LABELS, labels, stamp, 'camera', 'mono8', time_ns=stamp + moved)
    found = scores(tmp_path, path, '--labels', LABELS)
    assert found['miou'] == evaluate(segmenter, [pair for _, *pair in frames]).miou()
    assert found['drives'][0]['cameras'][IMAGES]['labels_unmatched'] == 0


def test_labels_may_come_late_early_or_never(frames, segmenter, tmp_path):
    """On a topic, with another time of recording than their images."""
    store = tmp_path / 'bag'
    with BagWriter(store) as writer:
        for i, (stamp, image, labels) in enumerate(frames):
            writer.write_image(IMAGES, image, stamp, 'camera', 'rgb8')
            if i % 4 < 3:
                moved = stamp + (i % 4 - 1) * 3 * 10**8
                writer.write_image(LABELS, labels, stamp, 'camera', 'mono8', time_ns=moved)
    found = scores(tmp_path, store, '--labels', LABELS)
    labelled = [(image, labels) for i, (_, image, labels) in enumerate(frames) if i % 4 < 3]
    assert found['miou'] == evaluate(segmenter, labelled).miou()
    assert found['drives'][0]['cameras'][IMAGES]['labelled'] == len(labelled)
    stamps = [stamp for stamp, *_ in frames]
    assert found['drives'][0]['cameras'][IMAGES]['timeline']['stamp_ns'] == stamps


def test_void_of_camvid_is_ignored(bag, frames, segmenter, tmp_path, capsys):
    voids = [labels.copy() for _, _, labels in frames]
    for labels in voids:
        labels[:40] = 11
        write_image(tmp_path / 'labels' / f'{len(list(tmp_path.rglob("*.png"))):03}.png', labels)
    ignored = [np.where(labels == 11, 255, labels).astype(np.uint8) for labels in voids]
    expected = evaluate(segmenter, [(f[1], labels) for f, labels in zip(frames, ignored)])
    assert scores(tmp_path, bag, '--labels', tmp_path / 'labels')['miou'] == expected.miou()
    said = refused(capsys, bag, '--labels', tmp_path / 'labels', '--label-ids', 'train')
    assert '000.png: expected the ids of 11 classes and 255; found [11]' in said
    assert 'camvid' in said


# What is written


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3', 'ros1_lz4'])
def test_the_bag_has_what_was_recorded_and_what_the_node_would_publish(
    kind, frames, segmenter, tmp_path
):
    path, out = write_bag(tmp_path / 'drive', kind, frames), tmp_path / 'out'
    assert run(path, '--out', out) == 0
    assert topics(out) == {
        **topics(path), **dict.fromkeys((MASKS, CONFIDENCE, OVERLAYS), 'sensor_msgs/msg/Image')
    }  # fmt: skip
    names = [*topics(path)]
    assert list(read_messages(out, names)) == list(read_messages(path))
    masks, confidences = list(read_labels(out, MASKS)), list(read_labels(out, CONFIDENCE))
    overlays = list(read_images(out, OVERLAYS))
    assert len(masks) == len(confidences) == len(overlays) == FRAMES
    for i, (stamp, image, _) in enumerate(frames):
        expected = segmenter.predict(image, confidence=True)
        assert masks[i][0] == confidences[i][0] == overlays[i][0] == stamp
        np.testing.assert_array_equal(masks[i][1], expected.labels)
        np.testing.assert_array_equal(confidences[i][1], expected.confidence)
        drawn = overlay(image, expected.labels, segmenter.labels.palette)
        np.testing.assert_array_equal(overlays[i][2], drawn)
    # A mask is recorded when its image was.
    with AnyReader([out]) as reader:
        times = {}
        for connection, time, _ in reader.messages():
            times.setdefault(connection.topic, []).append(time)
    assert times[MASKS] == times[IMAGES]


def test_an_earlier_runs_masks_are_replaced(bag, frames, segmenter, tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    assert run(bag, '--out', first, '--confidence-threshold', '0.9') == 0
    assert run(first, '--topic', IMAGES, '--out', second) == 0
    masks = list(read_labels(second, MASKS))
    assert len(masks) == FRAMES
    np.testing.assert_array_equal(masks[0][1], segmenter.predict(frames[0][1]).labels)
    assert (next(read_labels(first, MASKS))[1] == 255).any()


def test_the_video_has_every_frame_and_a_panel(bag, segmenter, frames, tmp_path):
    assert run(bag, '--video', tmp_path / 'drive.mp4') == 0
    pictures = list(read_video(tmp_path / 'drive.mp4'))
    assert len(pictures) == FRAMES
    assert pictures[0].shape[1] > SIZE[0] + 40
    image = frames[3][1]
    drawn = overlay(image, segmenter.predict(image).labels, segmenter.labels.palette)
    error = np.abs(pictures[3][: SIZE[1], : SIZE[0]].astype(int) - drawn)
    assert error.mean() < 12  # H.264 of a small picture


def test_a_camera_may_change_its_size(frames, segmenter, tmp_path):
    path, large = tmp_path / 'bag', SampleDrive(seed=3, frames=FRAMES, size=(160, 128))
    pairs = [frames[0][1:], large[1], large[2], frames[3][1:]]
    with BagWriter(path) as writer:
        for i, (image, labels) in enumerate(pairs):
            writer.write_image(IMAGES, image, 10**9 * (i + 1), 'camera', 'rgb8')
            writer.write_image(LABELS, labels, 10**9 * (i + 1), 'camera', 'mono8')
    out, video = tmp_path / 'out', tmp_path / 'v.mp4'
    found = scores(tmp_path, path, '--labels', LABELS, '--out', out, '--video', video)
    assert found['miou'] == evaluate(segmenter, pairs).miou()
    assert [mask.shape for _, mask in read_labels(out, MASKS)] == [n.shape for _, n in pairs]
    assert len({picture.shape for picture in read_video(video)}) == 1
    assert len(list(read_video(video))) == 4


def test_several_cameras(frames, segmenter, tmp_path):
    path = tmp_path / 'bag'
    with BagWriter(path) as writer:
        for stamp, image, labels in frames:
            for camera, picture, ids in (
                ('front', image, labels),
                ('rear', image[:, ::-1], labels[:, ::-1]),
            ):
                writer.write_image(f'/{camera}/image', picture, stamp, camera, 'rgb8')
                writer.write_image(f'/{camera}/labels', ids, stamp, camera, 'mono8')
    cameras = ['--topic', '/front/image', '--topic', '/rear/image']
    found = scores(
        tmp_path, path, *cameras, '--labels', '/front/labels', '--labels', '/rear/labels',
        '--out', tmp_path / 'out', '--video', tmp_path / 'v.mp4', '--report', tmp_path / 'r.html',
    )  # fmt: skip
    pairs = [(image, labels) for _, image, labels in frames]
    flipped = [
        (np.ascontiguousarray(i[:, ::-1]), np.ascontiguousarray(n[:, ::-1])) for i, n in pairs
    ]
    by_camera = found['drives'][0]['cameras']
    assert by_camera['/front/image']['miou'] == evaluate(segmenter, pairs).miou()
    assert by_camera['/rear/image']['miou'] == evaluate(segmenter, flipped).miou()
    assert found['miou'] == evaluate(segmenter, pairs + flipped).miou()
    assert found['frames_out'] == 2 * FRAMES
    assert {'/front/segmentation/mask', '/rear/segmentation/mask'} <= set(topics(tmp_path / 'out'))
    for camera in ('front', 'rear'):
        assert len(list(read_video(tmp_path / f'v_{camera}.mp4'))) == FRAMES
    page = (tmp_path / 'r.html').read_text()
    assert '/front/image' in page and '/rear/image' in page


def test_cameras_below_one_name_get_topics_of_their_own(frames, tmp_path):
    path = tmp_path / 'bag'
    with BagWriter(path) as writer:
        for name in ('left', 'right'):
            writer.write_image(f'/zed/{name}', frames[0][1], 10**9, name, 'rgb8')
    assert (
        run(path, '--topic', '/zed/left', '--topic', '/zed/right', '--out', tmp_path / 'out') == 0
    )
    found = {topic for topic in topics(tmp_path / 'out') if topic.endswith('/mask')}
    assert found == {'/zed/left/segmentation/mask', '/zed/right/segmentation/mask'}


# What is refused


def test_faults_of_the_input_are_named(bag, frames, tmp_path, capsys):
    two, none = tmp_path / 'two', tmp_path / 'none'
    with BagWriter(two) as writer:
        for topic in ('/front', '/rear'):
            writer.write_image(topic, frames[0][1], 10**9, 'camera', 'rgb8')
    with BagWriter(none) as writer:
        writer.write_camera_info('/info', np.eye(3), SIZE, 10**9, 'camera')
    missing = tmp_path / 'missing'
    for arguments, said in (
        ([missing], f'{missing}: expected a bag; found nothing there'),
        ([none], f'{none}: expected an image topic; found /info'),
        ([bag, '--topic', '/rear'], f'expected the image topic /rear; found {IMAGES}'),
        ([two], 'expected one image topic, or to be told which; found /front, /rear'),
        ([bag, '--labels', '/truth'], 'expected labels in a folder or on a topic /truth; found'),
        (
            [bag, '--labels', LABELS, '--labels', LABELS],
            'one topic or folder of labels for each of the 1',
        ),
        ([bag, '--jobs', '0'], '--jobs: expected 1 or more; found 0'),
        ([bag, '--opacity', '2'], '--opacity: expected 0 to 1; found 2'),
        ([bag, '--confidence-threshold', '5'], '--confidence-threshold: expected 0 to 1; found 5'),
        ([bag, '--max-miou-drop', '-0.1'], '--max-miou-drop: expected 0 or more'),
        ([bag, '--max-flicker-rise', 'nan'], '--max-flicker-rise: expected 0 or more'),
        ([bag, '--baseline', 'a.json', '--json', './a.json'], '--json: expected another file'),
        ([bag, '--report', tmp_path], '--report: expected a file to write; found the folder'),
        ([bag, '--out', bag, '--overwrite'], f'{bag}: expected another place'),
        (
            [bag / f'{bag.name}.mcap', '--out', bag, '--overwrite'],
            f'{bag}: expected another place',
        ),
        ([bag, '--out', tmp_path / 'o', '--video', 'v.avi'], 'expected a name that ends in .mp4'),
        ([bag, '--label-ids', 'coco_stuff'], 'expected a network of its 171 classes'),
        ([bag, bag], 'expected each bag once'),
        ([bag, '--baseline', missing], str(missing)),
    ):
        assert said in refused(capsys, *arguments), arguments
    assert sorted(path.name for path in tmp_path.iterdir()) == ['none', 'two']


@pytest.mark.parametrize('source', ['topic', 'folder'])
def test_labels_of_another_size_are_refused(source, frames, tmp_path, capsys):
    halves = [labels[::2, ::2].copy() for _, _, labels in frames]
    path = tmp_path / 'bag'
    with BagWriter(path) as writer:
        for (stamp, image, _), half in zip(frames, halves):
            writer.write_image(IMAGES, image, stamp, 'camera', 'rgb8')
            writer.write_image(LABELS, half, stamp, 'camera', 'mono8')
            write_image(tmp_path / 'labels' / f'{stamp}.png', half)
    labels = LABELS if source == 'topic' else tmp_path / 'labels'
    said = refused(capsys, path, '--labels', labels, '--out', tmp_path / 'out')
    assert f'{labels}: expected labels of the size of the images of {IMAGES}, 128x96' in said
    assert 'found 64x48' in said and 'Resize' in said
    assert not (tmp_path / 'out').exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['bag', 'labels']


def test_a_folder_with_too_few_labels_is_refused(bag, frames, tmp_path, capsys):
    write_image(tmp_path / 'labels' / 'a.png', frames[0][2])
    said = refused(capsys, bag, '--labels', tmp_path / 'labels')
    assert f'expected one PNG for each of the {FRAMES} images of {IMAGES}' in said
    assert 'found 1, a.png the first' in said


def test_labels_without_the_stamps_of_images_are_refused(bag, frames, tmp_path, capsys):
    write_image(tmp_path / 'labels' / '77777777777.png', frames[0][2])
    said = refused(capsys, bag, '--labels', tmp_path / 'labels')
    assert f'labels with the stamps of images of {IMAGES}, 1000000000 ns the first' in said


def test_a_codec_that_is_not_known_is_named(frames, tmp_path, capsys):
    path = tmp_path / 'bag'
    with BagWriter(path) as writer:
        for stamp, *_ in frames:
            writer.write_compressed_image('/camera/compressed', b'\0\0\0\1g', 'h264', stamp, 'c')
    said = refused(capsys, path, '--out', tmp_path / 'out')
    assert '/camera/compressed' in said and 'h264' in said and 'expected' in said
    assert not (tmp_path / 'out').exists()


# What is damaged


def test_frames_that_cannot_be_read_are_counted_and_the_rest_goes_on(
    frames, segmenter, tmp_path, capsys
):
    path = tmp_path / 'bag'
    with BagWriter(path) as writer:
        for i, (stamp, image, labels) in enumerate(frames):
            content = encode_image(image, '.png')
            content = content[:40] if i == 2 else content
            writer.write_compressed_image(f'{IMAGES}/compressed', content, 'png', stamp, 'c')
            writer.write_image(LABELS, labels, stamp, 'c', 'mono8')
    found = scores(tmp_path, path, '--labels', LABELS, '--out', tmp_path / 'out', code=1)
    said = capsys.readouterr().err
    assert f'1 of {FRAMES} images of {IMAGES}/compressed could not be read' in said
    assert (found['frames_in'], found['frames_out']) == (FRAMES, FRAMES - 1)
    whole = [(image, labels) for i, (_, image, labels) in enumerate(frames) if i != 2]
    assert found['miou'] == evaluate(segmenter, whole).miou()
    assert len(found['drives'][0]['cameras'][f'{IMAGES}/compressed']['failed']) == 1
    assert len(list(read_labels(tmp_path / 'out', MASKS))) == FRAMES - 1
    assert len(list(read_messages(tmp_path / 'out', [f'{IMAGES}/compressed']))) == FRAMES


@pytest.mark.parametrize('kind', ['mcap', 'mcap_message_zstd'])
def test_the_frames_before_the_damage(kind, segmenter, tmp_path, capsys):
    drive = SampleDrive(seed=3, frames=12, size=(320, 240))  # several chunks of 1 MB
    frames = [(10**9 + i * 10**8, *drive[i]) for i in range(12)]
    path = write_bag(tmp_path / 'drive', kind, frames)
    (storage,) = path.glob('*.mcap*')
    content = storage.read_bytes()
    storage.write_bytes(content[: len(content) * 2 // 3])
    found = scores(
        tmp_path, path, '--labels', LABELS, '--out', tmp_path / 'out',
        '--video', tmp_path / 'v.mp4', '--report', tmp_path / 'r.html', code=1,
    )  # fmt: skip
    said = capsys.readouterr().err
    assert str(storage) in said or str(path) in said
    count = found['frames_out']
    assert 0 < count < 12
    assert found['drives'][0]['error'] in said
    stamps = found['drives'][0]['cameras'][IMAGES]['timeline']['stamp_ns']
    assert stamps == [stamp for stamp, *_ in frames[:count]]
    assert len(list(read_labels(tmp_path / 'out', MASKS))) == count
    assert len(list(read_video(tmp_path / 'v.mp4'))) == count
    assert (tmp_path / 'r.html').exists()


# The gate


@pytest.fixture(scope='module')
def worse(tmp_path_factory):
    """Write the shipped network with noise in its weights."""
    checkpoint = load_checkpoint(find_checkpoint('bisenetv2_camvid'))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in checkpoint.network.parameters():
            weight += 0.25 * weight.std() * torch.randn_like(weight) if weight.numel() > 1 else 0
    path = tmp_path_factory.mktemp('worse') / 'worse.safetensors'
    save_checkpoint(path, checkpoint)
    return path


def test_the_gate_lets_the_same_network_pass_and_no_worse_one(bag, worse, tmp_path, capsys):
    old = tmp_path / 'old.json'
    assert run(bag, '--labels', LABELS, '--json', old) == 0
    gate = ['--labels', LABELS, '--baseline', old]
    patient = ['--max-latency-rise', '1000']  # a test machine is busy
    found = scores(tmp_path, bag, *gate, *patient)
    shown = capsys.readouterr()
    assert 'mIoU' in shown.out and 'REGRESSION' not in shown.out
    assert not any(change['regression'] for change in found['regression'])
    found = scores(tmp_path, bag, *gate, *patient, '--model', worse, code=1)
    shown = capsys.readouterr()
    assert 'REGRESSION' in shown.out
    assert 'mIoU' in shown.err
    failed = {change['measure'] for change in found['regression'] if change['regression']}
    assert 'mIoU' in failed
    assert found['model'] == str(worse)


def test_the_gate_sees_a_slower_network(bag, tmp_path, capsys):
    old = tmp_path / 'old.json'
    assert run(bag, '--json', old) == 0
    result = json.loads(old.read_text())
    result['latency_ms']['p50'] /= 1000
    old.write_text(json.dumps(result))
    found = scores(tmp_path, bag, '--baseline', old, code=1)
    (change,) = [change for change in found['regression'] if change['regression']]
    assert change['measure'] == 'latency ratio'
    assert 'latency' in capsys.readouterr().err


def test_a_baseline_that_does_not_fit(bag, frames, tmp_path, capsys):
    no_result, other = tmp_path / 'no.json', tmp_path / 'other.json'
    no_result.write_text('{"miou": 0.5}')
    assert 'expected a result of `seg_ros replay' in refused(capsys, bag, '--baseline', no_result)
    shorter = write_bag(tmp_path / 'shorter', 'mcap', frames[:-1])
    assert run(shorter, '--json', other) == 0
    # Found after the work, of which nothing is thrown away.
    found = scores(tmp_path, bag, '--baseline', other, code=1)
    assert f'{FRAMES - 1} frames' in capsys.readouterr().err
    assert found['frames_out'] == FRAMES


# Many drives


@pytest.fixture
def fleet(frames, tmp_path):
    return write_fleet(tmp_path / 'fleet', frames)


def test_a_fleet_is_one_result_and_its_damaged_bag_is_named(
    fleet, frames, segmenter, tmp_path, capsys
):
    found = scores(
        tmp_path, fleet, '--labels', LABELS, '--out', tmp_path / 'out',
        '--video', tmp_path / 'videos', '--report', tmp_path / 'fleet.html', code=1,
    )  # fmt: skip
    pairs = [(image, labels) for _, image, labels in frames]
    assert found['miou'] == evaluate(segmenter, pairs + pairs[:5]).miou()
    assert found['frames_out'] == FRAMES + 5
    monday, tuesday, wednesday = found['drives']
    assert [Path(drive['bag']).name for drive in found['drives']] == [
        'monday', 'tuesday', 'wednesday.mcap',
    ]  # fmt: skip
    assert monday['error'] is tuesday['error'] is None
    assert 'wednesday.mcap' in wednesday['error'] and wednesday['cameras'] == {}
    assert 'wednesday.mcap: expected' in capsys.readouterr().err
    assert tuesday['cameras'][IMAGES]['miou'] == evaluate(segmenter, pairs[:5]).miou()
    assert len(list(read_labels(tmp_path / 'out/monday', MASKS))) == FRAMES
    assert len(list(read_video(tmp_path / 'videos/tuesday.mp4'))) == 5
    page = (tmp_path / 'fleet.html').read_text()
    assert all(name in page for name in ('monday', 'tuesday', 'wednesday'))


def test_a_fleet_of_which_nothing_can_be_read(tmp_path, capsys):
    (tmp_path / 'a.mcap').write_bytes(b'nothing')
    (tmp_path / 'b.bag').write_bytes(b'nothing')
    said = refused(capsys, tmp_path)
    assert 'a.mcap' in said and 'b.bag' in said
    (tmp_path / 'empty').mkdir()
    assert 'expected a bag' in refused(capsys, tmp_path / 'empty')


def test_bags_of_one_name_cannot_share_a_folder(bag, tmp_path, capsys, frames):
    other = write_bag(tmp_path / bag.name, 'mcap', frames)
    said = refused(capsys, bag, other, '--out', tmp_path / 'out')
    assert 'expected bags of different names' in said
