# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Import: each kind of file is read, none of its code is run, and errors name what is wrong."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
import json
from pathlib import Path
import pickle
from typing import Any

from import_fixtures import load_pair, make_image, make_weights
import numpy as np
from numpy.typing import NDArray
import pytest
from safetensors.torch import save_file
import torch
from torch import Tensor

from seg_ros.__main__ import main
from seg_ros.images.labels import CAMVID, CITYSCAPES
from seg_ros.inference.checkpoint import load_checkpoint
from seg_ros.interop.importers.import_file import IMPORTERS
from seg_ros.interop.importers.weights_file import read_weights

pytestmark = pytest.mark.usefixtures('one_thread')

ARRAYS = {
    'conv.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    'bn._mean': np.array([0.25, -1.5], np.float64),
    'steps': np.array(7, np.int64),
}


def tensors(arrays: dict[str, NDArray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def pickled(path: Path, content: Any, protocol: int = 4) -> None:
    path.write_bytes(pickle.dumps(content, protocol))


FORMS: dict[str, Callable[[Path], Any]] = {
    'whole.safetensors': lambda path: save_file(tensors(ARRAYS), path, {'origin': 'here'}),
    'plain.pth': lambda path: torch.save(tensors(ARRAYS), path),
    'old.pth': lambda path: torch.save(
        tensors(ARRAYS), path, _use_new_zipfile_serialization=False
    ),
    'nested.pt': lambda path: torch.save(
        {'meta': {'CLASSES': ('a',)}, 'state_dict': OrderedDict(tensors(ARRAYS)), 'epoch': 3}, path
    ),
    'parallel.pth': lambda path: torch.save(
        {f'module.{name}': tensor for name, tensor in tensors(ARRAYS).items()}, path
    ),
    'two.pdparams': lambda path: pickled(path, ARRAYS, 2),
    'three.pdparams': lambda path: pickled(path, OrderedDict(ARRAYS), 3),
    'four.pdparams': lambda path: pickled(
        path, {**ARRAYS, 'StructuredToParameterName@@': {'conv.weight': 'conv2d_0.w_0'}}
    ),
    'columns.pdparams': lambda path: pickled(
        path, {name: np.array(array, order='F') for name, array in ARRAYS.items()}
    ),
}


@pytest.mark.parametrize('name', FORMS)
def test_every_form_of_file_is_read(name: str, tmp_path: Path) -> None:
    FORMS[name](tmp_path / name)
    weights = read_weights(tmp_path / name)
    assert list(weights.tensors) == list(ARRAYS) or name.endswith('safetensors')
    assert set(weights.tensors) == set(ARRAYS)
    for key, array in ARRAYS.items():
        found = weights.tensors[key].numpy()
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
    metadata = {'whole.safetensors': {'origin': 'here'}, 'nested.pt': {'CLASSES': ('a',)}}
    assert weights.metadata == metadata.get(name, {})


class Harmful:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, 'harm')


@pytest.mark.parametrize('name', ['x.pth', 'x.pt', 'x.pdparams'])
def test_nothing_in_a_file_is_run(name: str, tmp_path: Path) -> None:
    harm = {'conv.weight': Harmful(tmp_path / 'harm')}
    if name.endswith('pdparams'):
        pickled(tmp_path / name, harm)
    else:
        torch.save(harm, tmp_path / name)
    with pytest.raises(ValueError, match='found other objects, which could run code'):
        read_weights(tmp_path / name)
    assert not (tmp_path / 'harm').exists()


@pytest.mark.parametrize(
    'content',
    [
        {'a': np.array([{}, []], object)},
        {'a': np.array(['text'])},
        {'a': np.arange(3, dtype='>f4')},
        {'a': np.zeros(2, [('x', 'f4')])},
    ],
    ids=['objects', 'text', 'byte order', 'record'],
)
def test_arrays_of_anything_but_numbers_are_refused(content: Any, tmp_path: Path) -> None:
    pickled(tmp_path / 'x.pdparams', content)
    with pytest.raises(ValueError, match='expected tensors alone'):
        read_weights(tmp_path / 'x.pdparams')


@pytest.mark.parametrize('name', FORMS)
def test_a_file_that_is_cut_is_damaged(name: str, tmp_path: Path) -> None:
    FORMS[name](tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for length in {0, 1, 9, len(content) // 3, len(content) - 40}:
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(ValueError, match='Copy or download|Download it again'):
            read_weights(tmp_path / name)


# The command, with files of the project whose network is the smallest

PAIR = 'coincheung_bisenetv2'
MARK = IMPORTERS[0].mark


@pytest.fixture(scope='module')
def published() -> dict[str, Tensor]:
    """Return tensors as in CoinCheung's files: names, shapes, and weights computed from those."""
    return tensors(make_weights(load_pair(PAIR).shapes))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(content: Any, *arguments: str) -> tuple[int, str]:
        if not isinstance(content, Path):
            torch.save(content, tmp_path / 'model.pth')
            content = tmp_path / 'model.pth'
        out = tmp_path / 'new.safetensors'
        code = main(['import_checkpoint', str(content), '--out', str(out), *arguments])
        shown = capsys.readouterr()
        assert code == 0 or not out.exists(), 'a checkpoint of what was refused'
        return code, shown.out + shown.err

    return run


def test_the_command_writes_a_checkpoint_that_says_where_it_is_from(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor], tmp_path: Path
) -> None:
    code, shown = run(published, '--json', str(tmp_path / 'result.json'))
    assert code == 0, shown
    result = json.loads((tmp_path / 'result.json').read_text())
    checkpoint = load_checkpoint(tmp_path / 'new.safetensors')
    assert checkpoint.labels == CITYSCAPES
    assert result['project'] == 'coincheung'
    assert result['architecture'] == checkpoint.architecture
    assert result['input_size'] == list(checkpoint.input_size)
    assert checkpoint.training['imported_from']['file'] == 'model.pth'
    for name, reason in result['left_out'].items():
        assert f'{name}: {reason}' in shown
    expected = load_pair(PAIR).logits
    size = min(expected)
    with torch.no_grad():
        logits = checkpoint.network(torch.from_numpy(make_image(size)))
    assert np.abs(logits.numpy()[..., ::7, ::7] - expected[size][0]).max() < 1e-4


def without(content: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in content.items() if key != name}


def changed(content: dict[str, Tensor], name: str, tensor: Tensor) -> dict[str, Tensor]:
    assert name in content
    return {**content, name: tensor}


def test_what_does_not_fit_is_named(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor]
) -> None:
    victim = next(name for name in published if name.endswith('conv.weight') and name not in MARK)
    weight = published[victim]
    for content, expected in (
        (without(published, victim), f'missing {victim}'),
        ({**published, 'extra.weight': weight}, 'no place for extra.weight'),
        (changed(published, victim, weight[:-1]), f'{victim} is {tuple(weight[:-1].shape)}, exp'),
        (changed(published, victim, weight * torch.nan), f'{victim} has values that are not fin'),
    ):
        code, shown = run(content)
        assert (code, expected in shown) == (2, True), shown


def test_another_network_is_refused_with_what_is_supported(
    run: Callable[..., tuple[int, str]],
) -> None:
    code, shown = run({'encoder.layer1.weight': torch.zeros(3, 2)})
    assert code == 2
    assert 'encoder.layer1.weight (3, 2)' in shown
    for importer in IMPORTERS:
        assert f'{importer.network} of {importer.project}' in shown


def test_another_projects_file_is_refused(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor]
) -> None:
    code, shown = run(published, '--project', 'liminn')
    assert code == 2
    assert 'ICNet of liminn' in shown
    assert next(iter(published)) in shown
    code, shown = run(published, '--project', 'torchvision')
    assert code == 2
    assert "coincheung, mmsegmentation, paddleseg, liminn; found 'torchvision'" in shown


def test_another_class_count_wants_names(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor], tmp_path: Path
) -> None:
    fewer = {
        name: tensor[:11] if len(tensor.shape) and len(tensor) == len(CITYSCAPES) else tensor
        for name, tensor in published.items()
    }
    code, shown = run(fewer)
    assert code == 2
    assert 'found 11 classes without names' in shown
    code, shown = run(published, '--classes', 'camvid')
    assert code == 2
    assert 'a network of 11 classes (sky, building, pole, ...); found one of 19' in shown
    code, shown = run(published, '--classes', 'nowhere.csv')
    assert code == 2
    assert "found 'nowhere.csv', which is neither" in shown
    assert run(fewer, '--classes', 'camvid')[0] == 0
    assert load_checkpoint(tmp_path / 'new.safetensors').labels == CAMVID
    table = tmp_path / 'classes.csv'
    table.write_text('id,name\n' + ''.join(f'{i},thing {i}\n' for i in range(11)))
    assert run(fewer, '--classes', str(table))[0] == 0
    assert load_checkpoint(tmp_path / 'new.safetensors').labels.names[10] == 'thing 10'


@pytest.mark.parametrize('release', [0, 1])
def test_classes_that_the_file_names_are_taken(
    run: Callable[..., tuple[int, str]],
    published: dict[str, Tensor],
    tmp_path: Path,
    release: int,
) -> None:
    """The metadata are those that mmsegmentation stores before and since its release 1.0."""
    names = tuple(f'class {i}' for i in range(19))
    palette = [[i, 2 * i, 255 - i] for i in range(19)]
    meta = (
        {'CLASSES': names, 'PALETTE': palette},
        {'dataset_meta': {'classes': names, 'palette': palette}},
    )[release]
    code, shown = run({'meta': meta, 'state_dict': published})
    assert code == 0, shown
    labels = load_checkpoint(tmp_path / 'new.safetensors').labels
    assert labels.names == names
    assert labels.palette[3] == (3, 6, 252)


def test_names_without_colours_are_kept(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor], tmp_path: Path
) -> None:
    names = [f'class {i}' for i in range(19)]
    meta = {'CLASSES': names, 'PALETTE': None}
    code, shown = run({'meta': meta, 'state_dict': published})
    assert (code, 'classes: as the file names them' in shown) == (0, True), shown
    assert load_checkpoint(tmp_path / 'new.safetensors').labels.names == tuple(names)
    code, shown = run(published)
    assert 'classes: taken to be those of the public data set of 19' in shown


@pytest.mark.parametrize(
    'meta', [{'dataset_meta': ['a']}, {'CLASSES': 3}, {'CLASSES': ['a'] * 19, 'PALETTE': [[1, 2]]}]
)
def test_classes_that_cannot_be_read_are_refused(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor], meta: dict[str, Any]
) -> None:
    code, shown = run({'meta': meta, 'state_dict': published})
    assert (code, 'found what cannot be read' in shown) == (2, True), shown


def test_tensors_that_are_no_plain_floats_are_refused(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor]
) -> None:
    victim = next(name for name in published if name.endswith('conv.weight') and name not in MARK)
    weight = published[victim]
    for other in (weight.to(torch.int16), weight.to(torch.complex64), weight.to_sparse()):
        code, shown = run(changed(published, victim, other))
        assert (code, f'{victim} is {other.dtype}, expected plain floats' in shown) == (2, True)
    code, shown = run({'neck.cff_24.conv_low.conv.weight': weight,
                       'decode_head.conv_seg.weight': torch.ones(())})  # fmt: skip
    assert code == 2, shown


def test_a_file_cannot_claim_more_than_it_holds(tmp_path: Path) -> None:
    torch.save({'a.weight': torch.ones(1).expand(10**12)}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='found 4000000000000 bytes of tensors in'):
        read_weights(tmp_path / 'x.pth')
    array = np.ones(10**5, np.float32)
    pickled(tmp_path / 'x.pdparams', dict.fromkeys(map(str, range(100)), array))
    assert (tmp_path / 'x.pdparams').stat().st_size < 10**6
    with pytest.raises(ValueError, match='expected tensors'):
        read_weights(tmp_path / 'x.pdparams')


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content['state_dict'] = content
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='found no tensor'):
        read_weights(tmp_path / 'x.pth')


def test_what_nobody_could_load_is_not_written(
    run: Callable[..., tuple[int, str]], published: dict[str, Tensor]
) -> None:
    code, shown = run(published, '--input-height', '100000', '--input-width', '100000')
    assert (code, 'expected an input size of 1 to' in shown) == (2, True), shown


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--input-height', '-1'], 'input height and width of 0 or more; found -1'),
        (['--out', 'x.pth'], r'expected a file to write, NEW.safetensors; found x.pth'),
        (['--out', '.'], r'expected a file to write, NEW.safetensors; found .'),
    ],
)
def test_other_arguments_are_refused(
    run: Callable[..., tuple[int, str]],
    published: dict[str, Tensor],
    arguments: list[str],
    message: str,
) -> None:
    code, shown = run(published, *arguments)
    assert (code, message in shown) == (2, True), shown


def test_what_is_no_file_is_refused(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    for path in (tmp_path / 'none.pth', tmp_path):
        code, shown = run(path)
        assert (code, f'{path}: expected a file of weights' in shown) == (2, True), shown
