# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed where, by pip and by colcon."""

import os
from pathlib import Path
import shutil
import subprocess
import sys
import zipfile

import pytest

from seg_ros.__main__ import verbs

ROOT = Path(__file__).parents[2]
EXECUTABLES = {'segmentation_node', *verbs()}


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """Return a copy of the sources, as building leaves its traces beside them."""
    folder = tmp_path_factory.mktemp('sources') / 'seg_ros'
    folder.mkdir()
    for name in ('package.xml', 'setup.py', 'setup.cfg', 'README.md', 'LICENSE', 'CHANGELOG.rst'):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    for name in ('seg_ros', 'resource', 'launch', 'config'):
        skip = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=skip)
    return folder


def installed_files():
    """List what belongs in an installation's share/, relative to it."""
    found = [path for name in ('launch', 'config') for path in (ROOT / name).rglob('*')]
    files = {str(path.relative_to(ROOT)) for path in found if path.is_file()}
    files = {name for name in files if not name.endswith('.pyc')}
    return {'ament_index/resource_index/packages/seg_ros', 'seg_ros/package.xml'} | {
        f'seg_ros/{name}' for name in files
    }


def check_installation(prefix):
    """Check the files of an installation, then run the executables in it."""
    for name in installed_files():
        assert (prefix / 'share' / name).is_file(), name
    assert {path.name for path in (prefix / 'lib/seg_ros').iterdir()} == EXECUTABLES
    assert {path.name for path in (prefix / 'bin').iterdir()} == {'segmentation_node'}
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    (site,) = prefix.rglob('site-packages')
    if (site / 'seg_ros').is_dir():  # linked otherwise
        environment['PYTHONPATH'] = str(site)
    result = subprocess.run(
        [prefix / 'lib/seg_ros/predict', '--help'],
        capture_output=True, text=True, env=environment, cwd=prefix,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert 'usage: seg_ros predict' in result.stdout


def test_pip_installs_everything_and_no_everyday_words_in_bin(copy, tmp_path):
    pytest.importorskip('setuptools', reason='pip needs setuptools here to build')
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
    build = ['wheel', '--no-deps', '--no-index', '--no-build-isolation', '--use-pep517']
    subprocess.run([*pip, *build, '--wheel-dir', tmp_path, copy], check=True)
    (wheel,) = tmp_path.glob('seg_ros-*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / 'seg_ros').rglob('*'):
        if path.suffix in ('.py', '.safetensors', '.html') or path.name == 'py.typed':
            assert str(path.relative_to(ROOT)) in names
    prefix = tmp_path / 'prefix'
    # unless told to ignore it, pip would remove the environment's own seg_ros first
    install = ['install', '--no-deps', '--no-index', '--no-warn-script-location']
    install += ['--ignore-installed', '--prefix']
    subprocess.run([*pip, *install, prefix, wheel], check=True)
    check_installation(prefix)


@pytest.mark.skipif(not shutil.which('colcon'), reason='colcon is not installed')
@pytest.mark.parametrize('options', [(), ('--symlink-install',)], ids=['copied', 'linked'])
def test_colcon_builds(copy, tmp_path, options):
    workspace = tmp_path / 'workspace'
    shutil.copytree(copy, workspace / 'src/seg_ros', symlinks=True)
    result = subprocess.run(
        ['colcon', 'build', *options], cwd=workspace, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    check_installation(workspace / 'install/seg_ros')
