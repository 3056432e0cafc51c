# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CamVid: the SegNet tutorial's 480x360 images in 11 classes, and the original in 32 colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..images.image_file import Image, IMAGE_SUFFIXES, ImageFileError, read_image
from ..images.labels import CAMVID, CAMVID32, IGNORE
from .dataset import Dataset, DatasetError, IdTable, Pair, pairs_of

VOID = 11
TERMS = (
    'CamVid (Brostow, Fauqueur, Cipolla: Semantic object classes in video, 2008): for research use'
)
Colour = tuple[int, int, int]
COLOURS: dict[str, Colour] = {**dict(zip(CAMVID32.names, CAMVID32.palette)), 'Void': (0, 0, 0)}
"""The original colour of each of the 32 classes: red, green, blue."""

GROUPS = {
    'sky': ('Sky',),
    'building': ('Archway', 'Bridge', 'Building', 'Tunnel', 'Wall'),
    'pole': ('Column_Pole', 'TrafficCone'),
    'road': ('LaneMkgsDriv', 'LaneMkgsNonDriv', 'Road'),
    'pavement': ('ParkingBlock', 'RoadShoulder', 'Sidewalk'),
    'tree': ('Tree', 'VegetationMisc'),
    'sign': ('Misc_Text', 'SignSymbol', 'TrafficLight'),
    'fence': ('Fence',),
    'car': ('Car', 'OtherMoving', 'SUVPickupTruck', 'Train', 'Truck_Bus'),
    'pedestrian': ('Animal', 'CartLuggagePram', 'Child', 'Pedestrian'),
    'bicyclist': ('Bicyclist', 'MotorcycleScooter'),
}
"""The original classes that make each of the 11 classes, as in the SegNet tutorial's labels."""


def camvid(root: str | Path, split: str) -> Dataset:
    """
    Open a split of CamVid in 11 classes.

    :param root: the folder that holds ``train.txt``, each line of which names an image and its
        label file, or ``train/`` and ``train_labels/``. Labels are ids, or colours of the 32
        classes.
    :param split: ``train``, ``val``, ``test``, or several joined by ``+``.
    :raises DatasetError: a list or a file that it names is missing, or a split is empty.
    """
    return Dataset('CamVid', CAMVID, _pairs(Path(root), split), DECODE, TERMS)


def camvid32(root: str | Path, split: str) -> Dataset:
    """
    Open a split of CamVid in its original classes, of which Void is ignored.

    The parameters and errors are those of :func:`camvid`, but labels must be colours.
    """
    colours = {colour: i for i, colour in enumerate(CAMVID32.palette)}
    remedy = 'The 32 classes need the original labels, in colours'
    decode = _IdsOrColours('CamVid32', {}, colours, remedy)
    return Dataset('CamVid32', CAMVID32, _pairs(Path(root), split), decode, TERMS)


class _IdsOrColours(IdTable):
    """
    Reads label files of one channel as ids, and all others as colours.

    :param colours: train id of each colour that may occur; the colour of Void is ignored.
    """

    def __init__(
        self, name: str, known: Mapping[int, int], colours: Mapping[Colour, int], remedy: str
    ) -> None:
        super().__init__(name, known, remedy)
        colours = {**colours, COLOURS['Void']: IGNORE}
        packed = _packed(np.array(list(colours), np.uint8))
        order = packed.argsort()
        self.colours = packed[order]
        self.train_ids = np.array(list(colours.values()), np.uint8)[order]

    def __call__(self, path: Path) -> Image:
        """
        Return the train ids of a label file, uint8 (H, W).

        :raises OSError: the file cannot be read.
        :raises ImageFileError: it is not an image.
        :raises DatasetError: it holds an unknown id or colour.
        """
        try:
            return super().__call__(path)
        except ImageFileError:
            image = read_image(path)
        packed = _packed(image)
        place = np.searchsorted(self.colours, packed).clip(max=len(self.colours) - 1)
        unknown = self.colours[place] != packed
        if unknown.any():
            y, x = np.argwhere(unknown)[0].tolist()
            raise DatasetError(
                f"{path}: expected ids, or CamVid's 32 colours; found red, green, blue "
                f'{image[y, x].tolist()} in row {y}, column {x}. Labels that were scaled smoothly '
                'or stored as JPEG have lost their colours: take the originals'
            )
        return self.train_ids[place]


def _packed(rgb: Image) -> np.ndarray:
    """Return each colour, (..., 3), as one number, (...)."""
    red, green, blue = np.moveaxis(rgb.astype(np.uint32), -1, 0)
    return red << 16 | green << 8 | blue


DECODE = _IdsOrColours(
    'CamVid',
    {**{i: i for i in range(len(CAMVID))}, VOID: IGNORE},
    {COLOURS[name]: CAMVID.names.index(group) for group in GROUPS for name in GROUPS[group]},
    'They are 0 to 11, and 255',
)


def _pairs(root: Path, split: str) -> list[Pair]:
    def pairs(name: str) -> Iterator[Pair]:
        listing, images, labels = root / f'{name}.txt', root / name, root / f'{name}_labels'
        if listing.is_file():
            yield from _listed(root, listing)
        elif images.is_dir() and labels.is_dir():
            for image in sorted(images.iterdir()):
                if image.suffix.lower() in IMAGE_SUFFIXES:
                    yield image, labels / f'{image.stem}_L.png'
        else:
            raise DatasetError(
                f'{listing}: expected a list of image and label files, or folders {name} and '
                f'{name}_labels; found neither. Point --root at the folder that holds train.txt, '
                'val.txt and test.txt'
            )

    _check_colour_table(root / 'label_colors.txt')
    return pairs_of(
        root,
        split,
        pairs,
        'SPLIT.txt with lines "IMAGE LABELS", or SPLIT/*.png and SPLIT_labels/*_L.png',
    )


def _listed(root: Path, listing: Path) -> Iterator[Pair]:
    for number, line in enumerate(listing.read_text(errors='replace').splitlines(), 1):
        if not line.strip():
            continue
        # The tutorial's own lists hold absolute paths from its author's machine.
        files = [_resolve(root, field) for field in line.split()]
        if len(files) != 2:
            raise DatasetError(
                f'{listing}:{number}: expected an image and a label file; found {line!r}'
            )
        for file in files:
            if not file.is_file():
                raise DatasetError(f'{listing}:{number}: {file} does not exist')
        yield files[0], files[1]


def _resolve(root: Path, field: str) -> Path:
    path = root / field.lstrip('/')
    return path if path.exists() else root.joinpath(*Path(field).parts[-2:])


def _check_colour_table(path: Path) -> None:
    """Raise :class:`DatasetError` if the data set's own colour table differs from ours."""
    known = {f'{red} {green} {blue} {name}' for name, (red, green, blue) in COLOURS.items()}
    lines = path.read_text(errors='replace').splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if line.strip() and ' '.join(line.split()) not in known:
            raise DatasetError(
                f"{path}:{number}: expected one of CamVid's classes and its colour, as in "
                f'"64 128 64 Animal"; found {line!r}. Convert labels in other colours to ids, and '
                'open them as the data set folder'
            )
