# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets: every layout is read exactly, and every mistake in one is named."""

from __future__ import annotations

import os
from pathlib import Path
import pickle
import re
import shutil

from dataset_layouts import (
    CITYSCAPES_IDS,
    COCO_STUFF_IDS,
    photograph,
    write_camvid,
    write_camvid32,
    write_cityscapes,
    write_coco_stuff,
    write_folder,
)
import numpy as np
import pytest

from seg_ros.datasets import catalog
from seg_ros.datasets.camvid import camvid, camvid32, COLOURS, GROUPS
from seg_ros.datasets.catalog import DATASETS, DRIVES, open_dataset, SampleDrives
from seg_ros.datasets.cityscapes import (
    CATEGORIES,
    cityscapes,
    INSTANCE_CLASSES,
    instance_file,
    LABEL_IDS,
)
from seg_ros.datasets.coco_stuff import CLASS_IDS, coco_stuff
from seg_ros.datasets.dataset import (
    class_counts,
    Dataset,
    DatasetError,
    LabelledImages,
    read_ahead,
)
from seg_ros.datasets.folder import folder, read_classes
from seg_ros.datasets.synthetic.sample_drive import SampleDrive
from seg_ros.images.image_file import read_image, read_labels, write_image
from seg_ros.images.labels import (
    CAMVID,
    CAMVID32,
    CITYSCAPES,
    COCO_STUFF,
    distinct_palette,
    LabelSet,
)


def check_ids(dataset: Dataset, expected: dict[int, int], length: int) -> None:
    """Compare images and train ids with the files, value by value."""
    assert len(dataset) == length
    seen: set[int] = set()
    for i, (image_path, label_path) in enumerate(dataset.pairs):
        image, labels = dataset[i]
        raw = read_labels(label_path)
        np.testing.assert_array_equal(image, read_image(image_path))
        assert image.shape == (*labels.shape, 3)
        assert labels.dtype == np.uint8
        # Compare each pixel in plain Python.
        assert labels.ravel().tolist() == [expected[id_] for id_ in raw.ravel().tolist()]
        assert dataset.source(i) == str(image_path)
        seen |= set(raw.ravel().tolist())
    assert len(seen) > 5


# Cityscapes


TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip


@pytest.fixture(scope='module')
def cityscapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('cityscapes')
    return write_cityscapes(root, ('train', 'val', 'test', 'train_extra'))


@pytest.mark.parametrize(
    ('split', 'length'), [('train', 4), ('val', 4), ('train+val', 8), ('train+train_extra', 8)]
)
def test_cityscapes_is_read(cityscapes_root: Path, split: str, length: int) -> None:
    dataset = cityscapes(cityscapes_root, split)
    assert (dataset.name, dataset.labels) == ('Cityscapes', CITYSCAPES)
    assert 'non-commercial' in dataset.terms
    check_ids(dataset, {i: TRAIN_IDS.get(i, 255) for i in range(34)}, length)
    kinds = [path.name.split('_')[3] for _, path in dataset.pairs]
    assert kinds == ['gtFine'] * 4 + ['gtCoarse' if 'extra' in split else 'gtFine'] * (length - 4)
    for _, label_path in dataset.pairs:
        assert instance_file(label_path).is_file()
        assert instance_file(label_path).name == label_path.name.replace('label', 'instance')


def test_cityscapes_agrees_with_its_scripts() -> None:
    labels = pytest.importorskip('cityscapesscripts.helpers.labels').labels
    classes = [label for label in labels if label.trainId in range(19)]
    assert tuple(label.id for label in classes) == LABEL_IDS
    assert CITYSCAPES.names == tuple(label.name for label in classes)
    assert CITYSCAPES.palette == tuple(label.color for label in classes)
    assert tuple(label.name for label in classes if label.hasInstances) == INSTANCE_CLASSES
    assert {label.name: label.category for label in classes} == {
        name: category for category, names in CATEGORIES.items() for name in names
    }
    assert list(CATEGORIES) == list(dict.fromkeys(label.category for label in classes))


def test_the_public_test_split_of_cityscapes_is_void(cityscapes_root: Path) -> None:
    test = cityscapes(cityscapes_root, 'test')
    assert len(test) == 4
    assert all((test[i][1] == 255).all() for i in range(4))
    with pytest.raises(DatasetError, match=r'(?s)labelled pixels.*4 images, .*leftImg8bit\.png'):
        class_counts(test)


def test_cityscapes_with_parts_missing(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, ('train',), images=3)
    labels = tmp_path / 'gtFine/train/zurich/zurich_000001_000019_gtFine_labelIds.png'
    # Other files beside it are no substitute.
    labels.rename(labels.with_name(labels.name.replace('labelIds', 'labelTrainIds')))
    with pytest.raises(DatasetError, match=r'zurich_000001_000019_gtFine_labelIds\.png: expected'):
        cityscapes(tmp_path, 'train')
    labels.with_name(labels.name.replace('labelIds', 'labelTrainIds')).rename(labels)
    for split, name in (('val', 'val'), ('train+val', 'val'), ('', '')):
        message = f"images in split '{name}'; found none.*leftImg8bit/SPLIT/CITY"
        with pytest.raises(DatasetError, match=message):
            cityscapes(tmp_path, split)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({12: 34}, r'labelIds\.png: expected the ids of Cityscapes; found \[34\]'),
        ({12: 99, 13: 254}, r'labelIds\.png: expected the ids of Cityscapes; found \[99, 254\]'),
    ],
)
def test_cityscapes_of_other_ids(tmp_path: Path, change: dict[int, int], message: str) -> None:
    dataset = cityscapes(write_cityscapes(tmp_path, ('val',), images=1), 'val')
    path = dataset.pairs[0][1]
    labels = read_labels(path)
    labels[0, :2] = 12, 13
    for old, new in change.items():
        labels[labels == old] = new
    write_image(path, labels)
    with pytest.raises(DatasetError, match=message):
        dataset[0]


def test_train_ids_are_not_label_ids(tmp_path: Path) -> None:
    dataset = cityscapes(write_cityscapes(tmp_path, ('val',), images=1), 'val')
    path = dataset.pairs[0][1]
    train_ids = dataset[0][1]
    assert 255 in train_ids
    write_image(path, train_ids)
    with pytest.raises(DatasetError, match=r'labelIds\.png: .*found train ids.*labelTrainIds'):
        dataset[0]
    # A licence plate stored as 255 in a street, or an image of void alone, is no mistake.
    for labels in (np.array([[255, 26, 7]], np.uint8), np.full((1, 3), 255, np.uint8)):
        write_image(path, labels)
        write_image(dataset.pairs[0][0], np.zeros((1, 3, 3), np.uint8))
        expected = [[255, 13, 0]] if 26 in labels else [[255, 255, 255]]
        assert dataset[0][1].tolist() == expected


# CamVid


@pytest.fixture(scope='module')
def camvid_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp('camvid'))


IDS = {**{i: i for i in range(11)}, 11: 255}


@pytest.mark.parametrize(('split', 'length'), [('train', 4), ('train+val', 8)])
def test_camvid_is_read(camvid_root: Path, split: str, length: int) -> None:
    dataset = camvid(camvid_root, split)
    assert (dataset.name, dataset.labels) == ('CamVid', CAMVID)
    assert 'research' in dataset.terms
    check_ids(dataset, IDS, length)


def test_camvid_of_relative_paths_and_jpeg(camvid_root: Path, tmp_path: Path) -> None:
    shutil.copytree(camvid_root / 'testannot', tmp_path / 'testannot')
    lines = []
    for path in sorted((camvid_root / 'test').iterdir(), reverse=True):
        write_image(tmp_path / 'test' / f'{path.stem}.jpg', read_image(path))
        lines.append(f'test/{path.stem}.jpg testannot/{path.name}')
    (tmp_path / 'test.txt').write_text('\n'.join(lines))
    dataset = camvid(tmp_path, 'test')
    check_ids(dataset, IDS, 4)
    # The order of the list is kept.
    assert [path.stem for path, _ in dataset.pairs] == ['00003', '00002', '00001', '00000']


def test_camvid_without_a_list_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'test\.txt: expected a list.*test_labels.*--root'):
        camvid(tmp_path, 'test')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('train/0.png trainannot/9.png', r'train\.txt:2: .*trainannot/9\.png does not exist'),
        ('train/9.png trainannot/00000.png', r'train\.txt:2: .*train/9\.png does not exist'),
        ('train/0.png', r"train\.txt:2: expected an image and a label file; found 'train/0\.png'"),
        ('a b c', r"train\.txt:2: expected an image and a label file; found 'a b c'"),
    ],
)
def test_a_wrong_line_of_the_list_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_camvid(tmp_path, ('train',), images=1)
    shutil.copy(tmp_path / 'train/00000.png', tmp_path / 'train/0.png')
    (tmp_path / 'train.txt').write_text(f'train/00000.png trainannot/00000.png\n{line}\n')
    with pytest.raises(DatasetError, match=message):
        camvid(tmp_path, 'train')


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'train.txt').write_text('\n')
    with pytest.raises(DatasetError, match="expected images in split 'train'; found none"):
        camvid(tmp_path, 'train')


def test_wrong_label_files_are_named(tmp_path: Path) -> None:
    train = camvid(write_camvid(tmp_path, ('train',), images=6), 'train')
    folder = tmp_path / 'trainannot'
    labels = train[0][1] % 11
    strange = labels.copy()
    strange[3, 4], strange[5, 6] = 12, 200
    write_image(folder / '00000.png', strange)
    write_image(folder / '00001.png', labels[:, :-1])
    write_image(folder / '00002.png', np.stack([labels * 20] * 2 + [labels], -1))
    (folder / '00003.png').write_text('junk')
    (folder / '00004.png').unlink()
    (tmp_path / 'train/00005.png').write_bytes((tmp_path / 'train/00000.png').read_bytes()[:90])
    messages = [
        r'0\.png: expected the ids of CamVid; found \[12, 200\]. They are 0 to 11',
        r'1\.png: expected labels of the size of 00001\.png, \(64, 96\); found \(64, 95\)',
        r"2\.png: expected ids, or CamVid's 32 colours; found red, green, blue \[\d+, \d+, \d+\]",
        r'annot/00003\.png: expected .*found 4 bytes',
        r'annot/00004\.png',
        r'train/00005\.png: expected .*found 90 bytes',
    ]
    for i, message in enumerate(messages):
        with pytest.raises(DatasetError, match=message):
            train[i]


def test_ignored_pixels_of_label_files_stay_ignored(tmp_path: Path) -> None:
    train = camvid(write_camvid(tmp_path, ('train',), images=1), 'train')
    write_image(tmp_path / 'trainannot' / '00000.png', np.full((64, 96), 255, np.uint8))
    assert (train[0][1] == 255).all()


@pytest.fixture(scope='module')
def camvid32_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid32(tmp_path_factory.mktemp('camvid32'))


# The original colours that make each of the 11 classes, written down apart from the package.
COLOURS_BY_HAND = {
    255: [(0, 0, 0)],
    0: [(128, 128, 128)],
    1: [(0, 128, 64), (128, 0, 0), (64, 192, 0), (64, 0, 64), (192, 0, 128)],
    2: [(192, 192, 128), (0, 0, 64)],
    3: [(128, 64, 128), (128, 0, 192), (192, 0, 64)],
    4: [(0, 0, 192), (64, 192, 128), (128, 128, 192)],
    5: [(128, 128, 0), (192, 192, 0)],
    6: [(192, 128, 128), (128, 128, 64), (0, 64, 64)],
    7: [(64, 64, 128)],
    8: [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],
    9: [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],
    10: [(0, 128, 192), (192, 0, 192)],
}


def check_colours(dataset: Dataset, expected: dict[tuple[int, ...], int]) -> None:
    """Compare train ids with the colours in the files, pixel by pixel."""
    seen = set()
    for i, (_, label_path) in enumerate(dataset.pairs):
        colours = [tuple(colour) for colour in read_image(label_path).reshape(-1, 3).tolist()]
        labels = dataset[i][1]
        assert labels.dtype == np.uint8
        for colour, label in zip(colours, labels.ravel().tolist()):
            assert label == expected.get(colour, label), colour
        seen |= set(colours)
    assert seen >= expected.keys()


def test_the_original_camvid_is_read_in_11_classes(camvid32_root: Path) -> None:
    dataset = camvid(camvid32_root, 'train+val+test')
    assert (dataset.labels, len(dataset)) == (CAMVID, 12)
    expected = {colour: i for i, colours in COLOURS_BY_HAND.items() for colour in colours}
    assert len(expected) == 32
    check_colours(dataset, expected)
    # Every class except Void is in one group, and each group contains the class of its colour.
    assert sorted(n for names in GROUPS.values() for n in names) == sorted(CAMVID32.names)
    assert tuple(GROUPS) == CAMVID.names
    for names, colour in zip(GROUPS.values(), CAMVID.palette):
        assert colour in [COLOURS[name] for name in names]


def test_the_original_camvid_is_read_in_32_classes(camvid32_root: Path) -> None:
    dataset = camvid32(camvid32_root, 'train')
    assert (dataset.name, dataset.labels, len(dataset)) == ('CamVid32', CAMVID32, 4)
    assert len(CAMVID32) == len(set(CAMVID32.palette)) == 31
    names = {(128, 128, 128): 'Sky', (64, 192, 128): 'ParkingBlock', (128, 128, 64): 'Misc_Text'}
    train_ids = {colour: CAMVID32.names.index(name) for colour, name in names.items()}
    check_colours(dataset, {**train_ids, (0, 0, 0): 255})
    # The same in the layout of lists, where label files are recognised as colours.
    lines = [' '.join(str(f.relative_to(camvid32_root)) for f in pair) for pair in dataset.pairs]
    (camvid32_root / 'listed.txt').write_text('\n'.join(lines))
    listed = camvid32(camvid32_root, 'listed')
    for i in range(4):
        np.testing.assert_array_equal(listed[i][1], dataset[i][1])


def test_camvid_of_other_colours(tmp_path: Path, camvid_root: Path) -> None:
    dataset = camvid32(write_camvid32(tmp_path, ('train',), images=1), 'train')
    colours = read_image(dataset.pairs[0][1])
    colours[3, 5] = 1, 2, 3
    write_image(dataset.pairs[0][1], colours)
    with pytest.raises(DatasetError, match=r'0_L\.png: .* \[1, 2, 3\] in row 3, column 5\.'):
        dataset[0]
    ids = camvid32(camvid_root, 'train')
    with pytest.raises(DatasetError, match=r'00000\.png: .*found \[0, .*need the original labels'):
        ids[0]
    dataset.pairs[0][1].unlink()
    with pytest.raises(DatasetError, match=r'train_labels/00000_L\.png: expected the labels of'):
        camvid32(tmp_path, 'train')
    table = tmp_path / 'label_colors.txt'
    text = table.read_text()
    for line in ('64 128 65\tAnimal', '1 2 3 Unicorn', 'Animal 64 128 64'):
        table.write_text(f'{text}\n{line}\n')
        with pytest.raises(DatasetError, match=f'label_colors.txt:34: expected .*{line[:3]}'):
            camvid32(tmp_path, 'train')


# COCO-Stuff


@pytest.fixture(scope='module')
def coco_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco_stuff(tmp_path_factory.mktemp('coco'))


def test_coco_stuff_is_read(coco_root: Path) -> None:
    assert len(COCO_STUFF) == len(CLASS_IDS) == 171
    at = {0: 'person', 12: 'stop sign', 89: 'toothbrush', 91: 'banner', 148: 'road', 181: 'wood'}
    for id_, name in at.items():
        assert COCO_STUFF.names[CLASS_IDS.index(id_)] == name
    expected = {id_: i for i, id_ in enumerate(sorted(COCO_STUFF_IDS)[:-1])}
    assert expected[181] == 170
    dataset = coco_stuff(coco_root, 'train+val')
    check_ids(dataset, {**expected, 255: 255}, 8)
    assert (dataset.name, dataset.labels) == ('COCO-Stuff', COCO_STUFF)
    grey, upright = dataset[0][0], dataset[1][0]
    assert (grey == grey[..., :1]).all()
    assert (grey.shape, upright.shape) == ((64, 96, 3), (96, 64, 3))
    assert [p.parent.name for p, _ in dataset.pairs] == ['train2017'] * 4 + ['val2017'] * 4


def test_coco_stuff_with_stuffthingmaps_beside_the_annotations(coco_root: Path, tmp_path: Path):
    shutil.copytree(coco_root / 'images', tmp_path / 'images')
    shutil.copytree(coco_root / 'annotations', tmp_path / 'stuffthingmaps')
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_val2017.json').write_text('{}')
    dataset, other = coco_stuff(tmp_path, 'val'), coco_stuff(coco_root, 'val')
    assert 'stuffthingmaps' in str(dataset.pairs[0][1])
    for i in range(4):
        np.testing.assert_array_equal(dataset[i][1], other[i][1])


def test_coco_stuff_with_parts_missing(coco_root: Path, tmp_path: Path) -> None:
    shutil.copytree(coco_root / 'images', tmp_path / 'images')
    with pytest.raises(DatasetError, match=r'annotations/val2017/000000001000\.png: expected the'):
        coco_stuff(tmp_path, 'val')
    with pytest.raises(DatasetError, match="split: expected train, val or .*found 'test'"):
        coco_stuff(tmp_path, 'test')
    shutil.rmtree(tmp_path / 'images/train2017')
    with pytest.raises(DatasetError, match="in split 'train'; found none"):
        coco_stuff(tmp_path, 'train')


@pytest.mark.parametrize('id_', [11, 90, 182])
def test_coco_stuff_has_no_class_for_some_ids(tmp_path: Path, id_: int) -> None:
    dataset = coco_stuff(write_coco_stuff(tmp_path, ('val',), images=1), 'val')
    labels = read_labels(dataset.pairs[0][1])
    labels[9, 9] = id_
    write_image(dataset.pairs[0][1], labels)
    with pytest.raises(DatasetError, match=rf'0\.png: .*COCO-Stuff; found \[{id_}\]\. .*stuffth'):
        dataset[0]


@pytest.mark.parametrize('count', [1, 171, 255])
def test_colours_by_rule(count: int) -> None:
    palette = distinct_palette(count)
    assert palette[:3] == ((128, 0, 0), (0, 128, 0), (128, 128, 0))[:count]
    assert len({*palette, (0, 0, 0)}) == count + 1
    assert all(0 <= value <= 255 for colour in palette for value in colour)
    assert count < 9 or palette[7:9] == ((64, 0, 0), (192, 0, 0))


# A folder


def test_a_folder_is_read(tmp_path: Path) -> None:
    dataset = folder(write_folder(tmp_path / 'my farm', classes=17), 'train+val')
    assert dataset.name == 'my farm'
    assert dataset.labels.names == tuple(f'class {i}' for i in range(1, 35, 2))
    assert dataset.labels.palette == distinct_palette(17)
    check_ids(dataset, {0: 255, 255: 255, **{2 * i + 1: i for i in range(17)}}, 8)
    assert {path.suffix for path, _ in dataset.pairs} == {'.png', '.jpg'}


def test_the_terms_of_a_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / 'farm', classes=3)
    assert folder(root, 'val').terms == 'not stated'
    (root / 'terms.txt').write_text('Field: CC BY 4.0\n\n  Barn: for research use \n')
    assert folder(root, 'val').terms == 'Field: CC BY 4.0; Barn: for research use'
    (root / 'terms.txt').write_bytes(b'\xff\xfe')
    with pytest.raises(DatasetError, match='terms.txt: expected text in UTF-8'):
        folder(root, 'val')


def test_a_folder_of_255_classes(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_image(tmp_path / 'images/val/a.png', photograph(np.random.default_rng(0), labels))
    write_image(tmp_path / 'labels/val/a.png', labels)
    rows = [f'{i},c{i},{255 - i},{i},7' for i in reversed(range(255))]
    (tmp_path / 'classes.csv').write_text('\n'.join(['id,name,red,green,blue', *rows]))
    dataset = folder(tmp_path, 'val')
    assert len(dataset.labels) == 255
    assert dataset.labels.names[254] == 'c254'
    assert dataset.labels.palette[254] == (1, 254, 7)
    np.testing.assert_array_equal(dataset[0][1], labels)
    assert class_counts(dataset).tolist() == [[1] * 256]


def test_unknown_ids_of_a_folder_are_named(tmp_path: Path) -> None:
    dataset = folder(write_folder(tmp_path, classes=3), 'val')
    path = dataset.pairs[2][1]
    labels = read_labels(path)
    labels[0, 0] = 8
    write_image(path, labels)
    with pytest.raises(DatasetError, match=r'1\.png: .*found \[8\]\. Name them in .*classes\.csv'):
        dataset[2]


def test_a_folder_whose_files_do_not_pair_up(tmp_path: Path) -> None:
    write_folder(tmp_path, images=2)
    label = tmp_path / 'labels/train/drive0/0000.png'
    away = tmp_path / 'away.png'
    label.rename(away)
    with pytest.raises(DatasetError, match=r'labels/train/drive0/0000\.png: expected the labels'):
        folder(tmp_path, 'train')
    away.rename(label)
    other = label.with_name('0009.png')
    shutil.copy(label, other)
    with pytest.raises(DatasetError, match=r'drive0/0009\.png: .*found no such image'):
        folder(tmp_path, 'train')
    other.rename(label.with_suffix('.bmp'))
    with pytest.raises(DatasetError, match=r'drive0/0000\.bmp: .*in PNG'):
        folder(tmp_path, 'train')
    label.with_suffix('.bmp').unlink()
    shutil.copy(label, tmp_path / 'images/train/drive0/0000.bmp')
    with pytest.raises(DatasetError, match=r'drive0/0000\.png: expected one image .*0000\.bmp'):
        folder(tmp_path, 'train')
    for split, name in (('val+test', 'test'), ('val+', '')):
        with pytest.raises(DatasetError, match=f"in split '{name}'; found none"):
            folder(tmp_path, split)


def test_classes_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    path = tmp_path / 'classes.csv'
    text = (
        'name,id,red,green,blue\r\n"tree, old",7,1,2,3\r\n\r\nignored,9,,,\r\n Ähre ,2,4,5,6\r\n'
    )
    path.write_bytes(b'\xef\xbb\xbf' + text.encode())
    labels, ids = read_classes(path)
    assert labels == LabelSet(('Ähre', 'tree, old'), ((4, 5, 6), (1, 2, 3)))
    assert ids == {2: 0, 7: 1, 9: 255}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', r'csv:1: expected the columns id,name or'),
        ('id;name\n1;car\n', r"csv:1: expected the columns .*found 'id;name'"),
        ('1,car\n', r"csv:1: expected the columns .*found '1,car'"),
        ('id,name,red\n1,car,3\n', r'csv:1: expected the columns'),
        ('id,name\n', r'csv: expected at least one class'),
        ('id,name\n3,ignored\n', r'csv: expected at least one class'),
        ('id,name\n\n1\n', r"csv:3: expected 2 values; found '1'"),
        ('id,name\n1,traffic light, red\n', r'csv:2: expected 2 values'),
        ('id,name\none,car\n', r"csv:2: id: expected a number from 0 to 255; found 'one'"),
        ('id,name\n-1,car\n', r"csv:2: id: .*found '-1'"),
        ('id,name\n256,car\n', r"csv:2: id: .*found '256'"),
        ('id,name\n²,car\n', r"csv:2: id: .*found '²'"),
        ('id,name\n255,car\n', r'csv:2: expected an id below 255'),
        ('id,name\n1,car\n1,bus\n', r"csv:3: .*no other row has; found id 1, name 'bus'"),
        ('id,name\n1,car\n2,car\n', r"csv:3: .*no other row has; found id 2, name 'car'"),
        ('id,name\n1,ignored\n1,car\n', r'csv:3: .*no other row has'),
        ('id,name\n1,ignored\n1,ignored\n', r'csv:3: .*no other row has'),
        ('id,name\n1,\n', r"csv:2: .*found id 1, name ''"),
        ('id,name,red,green,blue\n1,car,0,256,0\n', r"csv:2: green: .*found '256'"),
        ('id,name,red,green,blue\n1,car,0,0,\n', r"csv:2: blue: .*found ''"),
        ('id,name\n1,caf\xe9\n', r'csv: expected CSV in UTF-8'),
    ],
)
def test_a_wrong_class_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write_folder(tmp_path, images=1)
    encoding = 'latin-1' if '\xe9' in text else 'utf-8'
    (tmp_path / 'classes.csv').write_text(text, encoding=encoding)
    with pytest.raises(DatasetError, match=f'classes.{message}'):
        folder(tmp_path, 'train')


def test_a_folder_needs_a_class_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'classes\.csv: expected a table.*id,name'):
        folder(tmp_path, 'train')


# All of them


WRITERS = {
    'camvid': write_camvid,
    'camvid32': write_camvid32,
    'cityscapes': write_cityscapes,
    'coco_stuff': write_coco_stuff,
    'folder': write_folder,
}


@pytest.mark.parametrize('name', DATASETS)
def test_data_sets_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in WRITERS:
        WRITERS[name](tmp_path)
    monkeypatch.setitem(catalog.DRIVES, 'train', (3,))  # for speed
    images: LabelledImages = open_dataset(name, tmp_path, 'train')
    assert images.name
    assert images.terms
    image, labels = images[len(images) - 1]
    assert (image.shape, image.dtype, labels.dtype) == ((*labels.shape, 3), np.uint8, np.uint8)
    assert set(np.unique(labels).tolist()) <= {*range(len(images.labels)), 255}
    assert images.source(0) != images.source(1)
    with pytest.raises(IndexError):
        images[len(images)]
    # Loader processes that are not forked get a copy.
    copy = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(copy[0][1], images[0][1])
    with pytest.raises(DatasetError, match='nowhere'):
        open_dataset(name, tmp_path, 'nowhere')


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(DatasetError, match="dataset: expected one of camvid, .*; found 'pascal'"):
        open_dataset('pascal', '', 'train')


def test_sample_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    drives = SampleDrives((3, 4), frames=2, size=(64, 48))
    assert len(drives) == 4
    for i, (seed, frame) in enumerate([(3, 0), (3, 1), (4, 0), (4, 1)]):
        expected = SampleDrive(seed, 2, (64, 48))[frame]
        for found, drawn in zip(drives[i], expected):
            np.testing.assert_array_equal(found, drawn)
        assert drives.source(i) == f'seed {seed}, frame {frame}'
    seeds = [seed for name in ('train', 'val', 'test') for seed in DRIVES[name]]
    assert len(set(seeds)) == len(seeds)
    assert 0 not in seeds
    monkeypatch.setattr(catalog, 'SampleDrives', lambda seeds: seeds)
    assert open_dataset('sample_drive', '', 'val+0+12') == (*DRIVES['val'], 0, 12)
    for split in ('', 'trian', 'train+', '-1', '1.5'):
        with pytest.raises(DatasetError, match='expected train, val, test or seeds, joined'):
            open_dataset('sample_drive', '', split)


# Counting


def test_classes_are_counted(cityscapes_root: Path) -> None:
    dataset = cityscapes(cityscapes_root, 'train+val')
    expected = [0] * 256
    for _, path in dataset.pairs:
        for id_ in read_labels(path).ravel().tolist():
            expected[TRAIN_IDS.get(id_, 255)] += 1
    counts = class_counts(dataset, progress=False)
    assert counts.shape == (len(dataset), 256)
    assert counts.sum(0).tolist() == expected
    for i in (0, 5):
        assert counts[i].tolist() == np.bincount(dataset[i][1].ravel(), minlength=256).tolist()
    # Cases that the generated data set does not have.
    assert {12, 31}.isdisjoint(CITYSCAPES_IDS)
    assert expected[TRAIN_IDS[12]] == expected[TRAIN_IDS[31]] == 0


def test_images_are_read_ahead_in_order(cityscapes_root: Path) -> None:
    dataset = cityscapes(cityscapes_root, 'train+val')
    indices = [*range(len(dataset)), 2, 2, 0] * 3
    found = list(read_ahead(dataset, indices))
    assert len(found) == len(indices) > 8
    for index, (image, labels) in zip(indices, found):
        np.testing.assert_array_equal(image, dataset[index][0])
        np.testing.assert_array_equal(labels, dataset[index][1])
    assert list(read_ahead(dataset, [])) == []
    with pytest.raises(IndexError):
        list(read_ahead(dataset, [0, len(dataset)]))


def test_drawn_images_are_counted() -> None:
    drives = SampleDrives((3,), frames=6, size=(64, 48))
    again = SampleDrive(3, 6, (64, 48))
    expected = sum(np.bincount(again[i][1].ravel(), minlength=256) for i in range(6))
    np.testing.assert_array_equal(class_counts(drives).sum(0), expected)


@pytest.mark.parametrize('fault', ['missing', 'size', 'coloured', 'id', 'image'])
def test_the_first_wrong_file_of_a_set_is_named(tmp_path: Path, fault: str) -> None:
    dataset = cityscapes(write_cityscapes(tmp_path, ('train',), images=12), 'train')
    for image_path, label_path in (dataset.pairs[5], dataset.pairs[9]):
        labels = read_labels(label_path)
        if fault == 'missing':
            label_path.unlink()
        elif fault == 'size':
            write_image(image_path, read_image(image_path)[:-1])
        elif fault == 'coloured':
            write_image(label_path, np.stack([labels] * 3, -1))
        elif fault == 'id':
            write_image(label_path, np.full_like(labels, 77))
        else:
            image_path.write_bytes(image_path.read_bytes()[:100])
    with pytest.raises(DatasetError) as error:
        class_counts(dataset)
    assert str(dataset.pairs[5][fault != 'image']) in str(error.value)


@pytest.mark.skipif(
    'SEG_ROS_CAMVID' not in os.environ,
    reason='SEG_ROS_CAMVID does not name the folder of CamVid',
)
def test_the_real_camvid() -> None:
    root = os.environ['SEG_ROS_CAMVID']
    assert [len(camvid(root, split)) for split in ('train', 'val', 'test')] == [367, 101, 233]
    counts = class_counts(camvid(root, 'train')).sum(0)
    shares = 100 * counts[:11] / counts[:11].sum()
    # Of labelled training pixels, as counted by others.
    expected = [17.5, 24.2, 1.02, 33.0, 4.67, 10.1, 1.22, 1.17, 6.11, 0.67, 0.30]
    np.testing.assert_allclose(shares, expected, rtol=0.015)
    assert counts.sum() == 367 * 480 * 360


def test_the_documentation_is_right(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / 'doc' / 'datasets.md').read_text()
    table = text[text.index('    id,name') :].partition('\n\n')[0]
    (tmp_path / 'classes.csv').write_text(table.replace('    ', ''))
    labels, ids = read_classes(tmp_path / 'classes.csv')
    assert labels.names == ('road', 'grass', 'crate')
    assert ids == {0: 255, 1: 0, 2: 1, 10: 2}
    assert re.findall(r'^\| `(\w+)`', text, re.MULTILINE) == [*sorted(DATASETS)]
    seeds = re.search(
        r'seeds (\d) to (\d), `val` those of (\d) and (\d), `test` those of (\d) and (\d)', text
    )
    assert seeds
    first, last, *others = map(int, seeds.groups())
    assert [*range(first, last + 1), *others] == [s for split in DRIVES.values() for s in split]
