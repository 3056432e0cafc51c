# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Checking the transport settings of Fast DDS in the environment.

Fast DDS starts with any settings: it reports a bad profile only on stderr and a bad transport's
name not at all, and then uses its defaults, which send large images in pieces. So the node checks
them.
"""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring, ParseError, TreeBuilder, XMLParser

from rclpy.utilities import get_rmw_implementation_identifier

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""The variables that name the profile: Jazzy reads the first, newer distributions both."""

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
"""
The names of transports that some version of Fast DDS knows; options may follow the name after a
question mark, as with LARGE_DATA.
"""

SECTIONS = {'profiles', 'library_settings', 'log', 'types'}
"""The elements of a profile: each can be the file's root, or below a root `dds`."""

LARGEST = 2**20
"""The most bytes of a file that is read; profiles have some thousand."""


class _Doctype(Exception):
    """The file has a DOCTYPE, which could define nested entities that take hours to resolve."""


class _Builder(TreeBuilder):
    """Builds an XML tree, but raises at a DOCTYPE."""

    def doctype(self, *declaration: object) -> None:
        raise _Doctype


def check_profile() -> str:
    """Return what is wrong and how to mend it; empty if all is well or Fast DDS is not used."""
    if not get_rmw_implementation_identifier().startswith('rmw_fastrtps'):
        return ''
    return '; '.join(_problems())


def _problems() -> Iterator[str]:
    # Both variables often name the same file, which is then checked once.
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
    """Return why a file is not a profile, as the end of a sentence; empty if it is one."""
    try:
        if not path.is_file():
            return 'is no file'
        if (size := path.stat().st_size) > LARGEST:
            return f'has {size} bytes, too many for one'
        root = fromstring(path.read_bytes(), XMLParser(target=_Builder()))
    except OSError as error:
        return f'cannot be read: {error.strerror}'
    except (ParseError, ValueError, LookupError) as error:  # the last two: of its encoding
        return f'is not well-formed XML: {error}'
    except _Doctype:
        return 'has a DOCTYPE, and is not looked into for that'
    if (name := _name(root)) != 'dds':
        return '' if name in SECTIONS else f'begins with <{name}>, not with <dds>'
    below = {_name(element) for element in root}
    return '' if below & SECTIONS else f'has none of {", ".join(sorted(SECTIONS))} in its <dds>'


def _name(element: Element) -> str:
    """Return an element's name without its namespace, which Fast DDS ignores."""
    return element.tag.rpartition('}')[2]
