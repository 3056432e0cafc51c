# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A user's own data set: folders of images and labels, and a table that names the classes."""

from __future__ import annotations

from collections.abc import Iterator
import csv
from functools import partial
from pathlib import Path

from ..images.image_file import IMAGE_SUFFIXES
from ..images.labels import distinct_palette, IGNORE, LabelSet
from .dataset import Dataset, DatasetError, IdTable, Pair, pairs_of

TERMS = 'not stated'
"""The terms of use of a folder without ``terms.txt``."""

IGNORED = 'ignored'
"""The name, in a table of classes or a mapping, of what belongs to no class."""

COLOUR = ('red', 'green', 'blue')
"""The columns of a class's colour in a table of classes."""


def folder(root: str | Path, split: str) -> Dataset:
    """
    Open a split of a user's own data set.

    :param root: the folder that holds ``images``, ``labels`` and ``classes.csv``. It may also hold
        ``terms.txt``, with a line for each source that says how its data may be used.
    :param split: a folder in both ``images`` and ``labels``, or several joined by ``+``. Each
        folder inside it, if there are any, stands for a camera.
    :raises DatasetError: ``classes.csv`` or ``terms.txt`` is wrong, a split is empty, or an image
        or a label file has no counterpart.
    """
    root = Path(root)
    labels, known = read_classes(root / 'classes.csv')
    layout = 'images/SPLIT/**.{png,jpg,...} and labels/SPLIT/**.png of the same names'
    pairs = pairs_of(root, split, lambda name: _pairs(root, name), layout)
    name = root.resolve().name
    terms = _terms(root / 'terms.txt')
    decode = IdTable(name, known, f'Name them in {root / "classes.csv"}')
    return Dataset(name, labels, pairs, decode, terms, partial(_camera, root, split))


def _terms(path: Path) -> str:
    try:
        lines = path.read_text('utf-8').splitlines()
    except FileNotFoundError:
        return TERMS
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: expected text in UTF-8: {error}') from error
    return '; '.join(line.strip() for line in lines if line.strip()) or TERMS


def _camera(root: Path, split: str, image: Path) -> str:
    """Return the folder of an image below its split's folder; empty if it lies directly there."""
    folders = [root / 'images' / name for name in split.split('+')]
    within = next(image.relative_to(f) for f in folders if image.is_relative_to(f))
    return within.parts[0] if len(within.parts) > 1 else ''


def _pairs(root: Path, name: str) -> list[Pair]:
    images, labels = root / 'images' / name, root / 'labels' / name
    image_of: dict[Path, Path] = {}
    for image in _image_files(images):
        label = (labels / image.relative_to(images)).with_suffix('.png')
        if label in image_of:
            raise DatasetError(
                f'{image}: expected one image for {label}; found {image_of[label]}, too'
            )
        image_of[label] = image
    for label in _image_files(labels):
        if label not in image_of:
            raise DatasetError(
                f'{label}: expected the labels, in PNG, of an image of the same name in {images}; '
                'found no such image'
            )
    return [(image, label) for label, image in image_of.items()]


def _image_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)


def read_classes(path: Path) -> tuple[LabelSet, dict[int, int]]:
    """
    Read a table of classes: CSV with the columns id and name, and optionally red, green and blue.

    A row named ``ignored`` marks an id that belongs to no class, as 255 always does.

    :returns: the classes in the order of their ids, and the train id, or 255, of each id.
    :raises DatasetError: the table is missing or wrong; the message names the line.
    """
    names: dict[int, str] = {}
    ignored: set[int] = set()
    colours: dict[int, tuple[int, int, int]] = {}
    for where, row in _rows(path):
        id_, name = _number(row['id'], f'{where}: id'), row['name']
        taken = {*names.values(), ''} if name != IGNORED else {''}
        if id_ in names or id_ in ignored or name in taken:
            raise DatasetError(
                f'{where}: expected an id and a name that no other row has; found id {id_}, '
                f'name {name!r}'
            )
        if name == IGNORED:
            ignored.add(id_)
            continue
        if id_ == IGNORE:
            raise DatasetError(f'{where}: expected an id below 255, which is always ignored')
        names[id_] = name
        if 'red' in row:
            red, green, blue = (_number(row[c], f'{where}: {c}') for c in COLOUR)
            colours[id_] = red, green, blue
    if not names:
        raise DatasetError(f'{path}: expected at least one class; found none')
    ids = sorted(names)
    palette = tuple(colours[id_] for id_ in ids) if colours else distinct_palette(len(ids))
    train_ids = {id_: i for i, id_ in enumerate(ids)} | dict.fromkeys(ignored, IGNORE)
    return LabelSet(tuple(names[id_] for id_ in ids), palette), train_ids


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place (file and line) of each row, and its values by column."""
    try:
        # Spreadsheets write a byte order mark, which utf-8-sig skips.
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.reader(file)
            columns = [field.strip() for field in next(reader, [])]
            if not {'id', 'name'} <= set(columns) or 0 < len({*COLOUR} & {*columns}) < 3:
                raise DatasetError(
                    f'{path}:1: expected the columns id,name or id,name,red,green,blue; found '
                    f'{",".join(columns)!r}'
                )
            for fields in reader:
                where = f'{path}:{reader.line_num}'
                if fields and len(fields) != len(columns):
                    raise DatasetError(
                        f'{where}: expected {len(columns)} values; found {",".join(fields)!r}'
                    )
                if fields:
                    yield where, {c: field.strip() for c, field in zip(columns, fields)}
    except FileNotFoundError as error:
        raise DatasetError(
            f'{path}: expected a table of the classes, with the columns id,name; found no such '
            'file'
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f'{path}: expected CSV in UTF-8; found {error}') from error


def _number(text: str, where: str) -> int:
    if not text.isdecimal() or int(text) > 255:
        raise DatasetError(f'{where}: expected a number from 0 to 255; found {text!r}')
    return int(text)
