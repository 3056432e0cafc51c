# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A cache that cannot be, and transports whose profiles are wrong, around the real node."""

from fault_fixtures import models_fixture, Rig, SMALL  # noqa: F401
from node_fixtures import picture, WARN
import pytest

from seg_ros.inference.segmenter import Segmenter

DIM = picture(1, 40, 60)
COMPILED = {'backend': 'openvino', 'precision': 'fp32'}
WRONG = """<?xml version="1.0" encoding="UTF-8"?>
<dds><profiles><transport_descriptors><transport_descriptor>
<transport_id>own</transport_id><type>PIGEON</type>
</transport_descriptor></transport_descriptors>
<participant profile_name="p" is_default_profile="true"><rtps>
<userTransports><transport_id>own</transport_id></userTransports>
<useBuiltinTransports>false</useBuiltinTransports>
</rtps></participant></profiles></dds>
"""


def test_a_cache_that_cannot_be_is_said_and_done_without(tmp_path, models):
    pytest.importorskip('openvino')
    (tmp_path / 'file').write_text('no folder')
    environment = {'SEG_ROS_CACHE': str(tmp_path / 'file' / 'cache')}
    with Rig(tmp_path, models[0], ['other'], environment, 'compiled', **COMPILED) as rig:
        rig.segmenter = Segmenter(models[0], **{**SMALL, **COMPILED})
        rig.cameras['other'].ask(DIM)
        rig.node.wait_for_log('cannot keep the engine for the next start')


@pytest.mark.parametrize(
    'content', [None, 'this is no XML <', WRONG, '<?xml version="1.0"?><svg/>'],
    ids=['missing', 'not XML', 'wrong', 'of something else'],
)  # fmt: skip
def test_an_invalid_dds_profile_is_said_and_the_default_serves(tmp_path, models, content):
    profile = tmp_path / 'profile.xml'
    if content is not None:
        profile.write_text(content)
    variables = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
    environment = dict.fromkeys(variables, str(profile))
    with Rig(tmp_path, models[0], ['other'], environment, 'profiled') as rig:
        rig.cameras['other'].ask(DIM)
        rig.node.wait_for_log('XMLPARSER.*Error')  # by Fast DDS, which alone knows all of it
        if content != WRONG:
            rig.diagnostics.wait_for('network', WARN, str(profile))
            assert '[ERROR]' in rig.node.log
        assert str(profile) in rig.node.log
