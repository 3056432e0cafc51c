# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of robots that lost their power, of disks that failed, of copies that broke off."""

import shutil
import sqlite3
import struct

from bag_files import KINDS, write_bag
import numpy as np
import pytest
import yaml

from seg_ros.bags.bag import Bag, BagError, read_images, read_stamps, topics

IMAGES, LABELS = '/camera/image_raw', '/camera/labels'
BEGIN = 1_700_000_000_000_000_000
MAGIC = b'\x89MCAP0\r\n'


def frames(count=40, seed=0):
    """Make a hundred kB of noise each, so that chunks, which hold a MiB, are several."""
    rng = np.random.RandomState(seed)
    return [
        (
            BEGIN + i * 33_000_000,
            rng.randint(0, 256, (120, 240, 3)).astype(np.uint8),
            rng.randint(0, 11, (120, 240)).astype(np.uint8),
        )
        for i in range(count)
    ]


def storage_files(path):
    """List the files that hold messages, in their order."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.name != 'metadata.yaml')


def read(path):
    """Return the messages, and what is said of the recording at first and in the end."""
    with Bag(path) as bag:
        first = bag.damage
        return list(bag.messages()), first, bag.damage


def metadata_of(path):
    return yaml.safe_load((path / 'metadata.yaml').read_text())['rosbag2_bagfile_information']


def change_metadata(path, **changes):
    content = {'rosbag2_bagfile_information': metadata_of(path) | changes}
    (path / 'metadata.yaml').write_text(yaml.safe_dump(content))


@pytest.mark.parametrize('kind', KINDS)
def test_of_a_cut_file_what_precedes_the_cut_is_read(tmp_path, kind):
    """Never a wrong message, never silence, and the more the later the cut."""
    path = write_bag(tmp_path / 'bag', kind, frames())
    whole, _, damage = read(path)
    assert (len(whole), damage) == (80, '')
    last = storage_files(path)[-1]
    content = last.read_bytes()
    lengths = []
    # What bzip2 compressed is slow to read.
    cuts = 7 if kind == 'ros1_bz2' else 20
    for cut in np.linspace(len(content) - 1, 0, cuts).astype(int):
        last.write_bytes(content[:cut])
        try:
            messages, first, damage = read(path)
        except BagError as error:
            messages, first = [], str(error)
        assert str(path) in first
        assert last.name.removesuffix('.zstd') in first
        assert messages == whole[: len(messages)]
        lengths.append(len(messages))
    assert lengths == sorted(lengths, reverse=True)
    chunked = kind.startswith('ros1') or kind in ('mcap', 'mcap_chunk_zstd', 'mcap_message_zstd')
    assert lengths[0] >= (80 if chunked else 60)
    assert lengths[cuts // 3] >= 30
    assert lengths[-1] == (40 if 'split' in kind else 0)


@pytest.mark.parametrize('kind', [kind for kind in KINDS if not kind.startswith('ros1')])
def test_without_metadata_the_files_are_read(tmp_path, kind):
    path = write_bag(tmp_path / 'bag', kind, frames(24))
    whole, *_ = read(path)
    (path / 'metadata.yaml').unlink()
    messages, first, damage = read(path)
    assert messages == whole
    assert first == damage
    assert 'found that metadata.yaml is missing: the recording was not ended' in damage
    assert 'ros2 bag reindex' in damage
    (path / 'metadata.yaml').write_bytes(bytes(500))
    messages, _, damage = read(path)
    assert messages == whole
    assert 'metadata.yaml breaks off: the recording' in damage


@pytest.mark.parametrize('kind', [kind for kind in KINDS if not kind.startswith('ros1')])
def test_a_file_alone_is_a_recording(tmp_path, kind):
    path = write_bag(tmp_path / 'bag', kind, frames(4))
    whole, *_ = read(path)
    parts = [read(file) for file in storage_files(path)]
    assert [message for messages, *_ in parts for message in messages] == whole
    assert [damage for _, _, damage in parts] == [''] * len(parts)


def test_files_without_metadata_are_read_in_the_order_of_their_numbers(tmp_path):
    """rosbag2 does not pad them: 10 comes after 9."""
    drive = tmp_path / 'drive'
    drive.mkdir()
    expected = []
    for i in range(11):
        part = write_bag(tmp_path / f'part_{i}', 'mcap', frames(1, seed=i))
        expected += read(part)[0]
        shutil.move(part / f'part_{i}.mcap', drive)
    assert read(drive)[0] == expected
    shutil.copy(drive / 'part_0.mcap', drive / 'another_0.mcap')
    with pytest.raises(BagError, match=r'no metadata\.yaml, and no files of one recording'):
        read(drive)


@pytest.mark.parametrize('kind', ['sqlite3_split', 'mcap_split'])
def test_a_missing_file_ends_the_recording(tmp_path, kind):
    path = write_bag(tmp_path / 'bag', kind, frames(8))
    whole, *_ = read(path)
    first_file, second_file = storage_files(path)
    moved = second_file.rename(tmp_path / second_file.name)
    messages, damage, _ = read(path)
    assert messages == whole[:8]
    assert (
        f'{path}: expected a whole recording; found that {second_file.name} is missing' in damage
    )
    with Bag(path) as bag:
        assert bag.counts == {IMAGES: 8, LABELS: 8}  # what was recorded
    moved.rename(second_file)
    first_file.unlink()
    with pytest.raises(BagError, match=f'{first_file.name} is missing'):
        read(path)


@pytest.mark.parametrize('kind', ['mcap_chunk_zstd', 'mcap_message_zstd', 'ros1_bz2', 'sqlite3'])
def test_bytes_that_changed_end_the_recording(tmp_path, kind):
    path = write_bag(tmp_path / 'bag', kind, frames())
    whole, *_ = read(path)
    (file,) = storage_files(path)
    content = file.read_bytes()
    where, length = int(len(content) * 0.5), 40
    if 'zstd' in kind:  # which has no checksum: what follows its magic bytes is checked
        where = content.index(b'\x28\xb5\x2f\xfd', where) + 4
    if kind == 'sqlite3':  # which has none either: so many pages that they say where others are
        length = 120_000
    file.write_bytes(content[:where] + b'\xff' * length + content[where + length :])
    messages, _, damage = read(path)
    assert 20 <= len(messages) < 60
    assert messages == whole[: len(messages)]
    remedy = {'mcap': 'mcap recover', 'ros1': 'rosbag reindex', 'sqlite3': '.recover'}
    assert f'{path}: expected ' in damage
    assert file.name in damage
    assert remedy[kind.partition('_')[0]] in damage


def test_a_wrong_checksum_ends_the_recording(tmp_path):
    path = write_bag(tmp_path / 'bag', 'mcap', frames(16))
    (file,) = storage_files(path)
    content = bytearray(file.read_bytes())
    (length,) = struct.unpack_from('<Q', content, 8 + 1)  # of the header
    chunk = 8 + 9 + length
    assert content[chunk] == 0x06
    content[chunk + 9 + 24 : chunk + 9 + 28] = b'\1\2\3\4'
    file.write_bytes(content)
    messages, _, damage = read(path)
    assert messages == []
    assert 'checksum' in damage
    file.write_bytes(content[:-300])  # found without the index, too
    with pytest.raises(BagError, match='checksum'):
        read(path)


def test_messages_that_the_index_promised_are_missed(tmp_path):
    path = write_bag(tmp_path / 'bag', 'sqlite3', frames(8))
    with sqlite3.connect(storage_files(path)[0]) as database:
        database.execute('DELETE FROM messages WHERE id = 6')
    database.close()
    messages, first, damage = read(path)
    assert (len(messages), first) == (15, '')
    assert f'expected 8 messages on {LABELS}, as its index says; found 7' in damage
    with Bag(path) as bag:
        assert len(list(bag.messages([IMAGES]))) == 8
        assert not bag.damage


def test_without_chunks_messages_come_in_the_order_of_their_time(tmp_path):
    """Of several topics, a recorder writes some a little late."""
    path = write_bag(tmp_path / 'bag', 'mcap_unchunked', frames(8))
    whole, *_ = read(path)
    (file,) = storage_files(path)
    content = file.read_bytes()
    records, where = [], 8
    while where < len(content) - 8:
        end = where + 9 + struct.unpack_from('<Q', content, where + 1)[0]
        records.append(content[where:end])
        where = end
    order = [i for i, record in enumerate(records) if record[0] == 0x05]
    assert len(order) == 16
    records[order[3]], records[order[9]] = records[order[9]], records[order[3]]
    file.write_bytes(MAGIC + b''.join(records) + MAGIC)
    messages, _, damage = read(path)
    assert damage == ''
    assert [message.time for message in messages] == [message.time for message in whole]
    assert sorted(messages) == sorted(whole)


def test_what_a_database_keeps_beside_it_is_read(tmp_path):
    """In WAL mode, as rosbag2's preset `resilient` records, a lost recorder leaves a log."""
    path = write_bag(tmp_path / 'bag', 'sqlite3', frames(8))
    whole, *_ = read(path)
    (file,) = storage_files(path)
    database = sqlite3.connect(file)
    (row,) = database.execute('SELECT topic_id, timestamp, data FROM messages WHERE id = 16')
    database.execute('DELETE FROM messages WHERE id = 16')
    database.commit()
    database.execute('PRAGMA journal_mode = WAL')
    database.execute('INSERT INTO messages VALUES (16, ?, ?, ?)', row)
    database.commit()
    lost = tmp_path / 'lost'
    shutil.copytree(path, lost)
    database.close()
    assert (lost / 'bag.db3-wal').stat().st_size
    messages, first, _ = read(lost)
    assert messages == whole
    assert 'bag.db3 is not whole (bag.db3-wal is beside it)' in first


def test_an_error_of_the_reader_is_its_own(tmp_path):
    path = write_bag(tmp_path / 'bag', 'mcap', frames(4))
    whole, *_ = read(path)
    with Bag(path) as bag:
        with pytest.raises(ZeroDivisionError):
            [1 // (message.time - whole[3].time) for message in bag.messages()]
        assert bag.damage == ''
        with pytest.raises(BagError, match=r'expected the topics /other; found /camera/image_raw'):
            next(bag.messages(['/other']))


@pytest.mark.parametrize('kind', KINDS)
def test_reading_may_end_early(tmp_path, kind):
    path = write_bag(tmp_path / 'bag', kind, frames(24))
    with Bag(path) as bag:
        messages = bag.messages()
        next(messages)
    file = storage_files(path)[-1]
    file.write_bytes(file.read_bytes()[:-200])
    with Bag(path) as bag:
        messages = bag.messages()
        next(messages)


def test_functions_that_return_all_refuse_what_is_not_all(tmp_path):
    path = write_bag(tmp_path / 'bag', 'mcap', frames(16))
    file = storage_files(path)[0]
    file.write_bytes(file.read_bytes()[:-200])
    images = read_images(path)
    assert next(images)[0] == BEGIN
    with pytest.raises(
        BagError, match='expected a whole recording; found that bag.mcap is not whole'
    ):
        list(images)
    for function in (read_stamps, topics):
        with pytest.raises(BagError, match=r'is not whole \(.*\)\. `mcap recover`'):
            function(path)


def test_unknown_forms_are_named(tmp_path):
    path = write_bag(tmp_path / 'bag', 'mcap_message_zstd', frames(2))
    change_metadata(path, compression_format='lz5')
    with pytest.raises(BagError, match=r"found .* compression 'lz5'\. Decompress it with `ros2"):
        read(path)
    change_metadata(path, compression_format='zstd', relative_file_paths=[])
    with pytest.raises(BagError, match=r'found .* metadata\.yaml lists no files'):
        read(path)
    path = write_bag(tmp_path / 'other', 'mcap', frames(2))
    change_metadata(path, storage_identifier='odd')
    with pytest.raises(BagError, match=r"found .* storage 'odd'\. Convert it with `ros2 bag"):
        read(path)
