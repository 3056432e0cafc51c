# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the policy of SROS 2 says of the node."""

from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
NODE = 'segmentation_node'


def test_the_policy_denies_by_saying_nothing():
    root = ElementTree.parse(ROOT / 'config/sros2/policy.xml').getroot()
    assert (root.tag, root.get('version')) == ('policy', '0.2.0')
    assert [enclave.get('path') for enclave in root.iter('enclave')] == [f'/{NODE}']
    text = (ROOT / 'config/sros2/policy.xml').read_text()
    assert '*' not in text
    assert 'request=' not in text
