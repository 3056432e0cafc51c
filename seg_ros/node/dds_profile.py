# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is wrong with the transport that the environment asks Fast DDS for.

Fast DDS starts with any: it complains of a profile on stderr, of a transport's name not at all,
and takes its defaults, with which large images go in pieces. So somebody has to look.
"""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring, ParseError, TreeBuilder, XMLParser

from rclpy.utilities import get_rmw_implementation_identifier

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Jazzy reads the one, newer distributions the other as well."""

TRANSPORTS_VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'
TRANSPORTS = (
    'NONE',
    'DEFAULT',
    'DEFAULTv6',
    'SHM',
    'UDPv4',
    'UDPv6',
    'LARGE_DATA',
    'LARGE_DATAv6',
    'P2P',
)
"""That some Fast DDS knows; LARGE_DATA with options behind a question mark, too."""

SECTIONS = {'profiles', 'library_settings', 'log', 'types'}
"""What a file can have, as its root or in a root `dds`."""

LARGEST = 2**20
"""Bytes; profiles have some thousand."""


class _Doctype(Exception):
    """It could define entities of entities, which take hours to resolve."""


class _Builder(TreeBuilder):
    """Builds the tree of what has no DOCTYPE."""

    def doctype(self, *facts: object) -> None:
        raise _Doctype


def check_profile() -> str:
    """Return what is wrong and what to do; empty where nothing is, or where Fast DDS is not."""
    if not get_rmw_implementation_identifier().startswith('rmw_fastrtps'):
        return ''
    return '; '.join(_problems())


def _problems() -> Iterator[str]:
    # Often both name the same file.
    named = {value: name for name in PROFILE_VARIABLES if (value := os.environ.get(name))}
    for path, variable in named.items():
        if found := _fault(Path(path)):
            yield (
                f'{variable}: expected a Fast DDS profile; found {path}, which {found}. Where '
                'Fast DDS cannot read one, it goes on with its defaults, and large images go in '
                'pieces. Name config/fastdds_large_images.xml of this package, or no file'
            )
    kind = os.environ.get(TRANSPORTS_VARIABLE, '')
    if kind and kind.partition('?')[0] not in TRANSPORTS:
        yield (
            f'{TRANSPORTS_VARIABLE}: expected one of {", ".join(TRANSPORTS)}; found {kind!r}. '
            'Fast DDS uses DEFAULT instead. Correct it, or unset it'
        )


def _fault(path: Path) -> str:
    """Return what a file is, or has, that a profile is not, or has not; empty for a profile."""
    try:
        if not path.is_file():
            return 'is no file'
        if (size := path.stat().st_size) > LARGEST:
            return f'has {size} bytes, too many for one'
        root = fromstring(path.read_bytes(), XMLParser(target=_Builder()))
    except OSError as error:
        return f'cannot be read: {error.strerror}'
    except (ParseError, ValueError, LookupError) as error:  # the latter two of encodings
        return f'is not well-formed XML: {error}'
    except _Doctype:
        return 'has a DOCTYPE, and is not looked into for that'
    if (name := _name(root)) != 'dds':
        return '' if name in SECTIONS else f'begins with <{name}>, not with <dds>'
    below = {_name(element) for element in root}
    return '' if below & SECTIONS else f'has none of {", ".join(sorted(SECTIONS))} in its <dds>'


def _name(element: Element) -> str:
    """Return an element's name without the namespace, which Fast DDS does not ask for."""
    return element.tag.rpartition('}')[2]
