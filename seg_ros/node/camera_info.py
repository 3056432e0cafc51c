# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera_info of a resized image."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header


def fits(info: CameraInfo, height: int, width: int) -> bool:
    """Return whether a camera_info, as a whole or its region, fits an image of this size."""
    binning = max(1, info.binning_y), max(1, info.binning_x)
    sizes = (info.height, info.width), (info.roi.height, info.roi.width)
    return any((h // binning[0], w // binning[1]) == (height, width) for h, w in sizes)


def scale_camera_info(
    info: CameraInfo, header: Header, scale_x: float, scale_y: float
) -> CameraInfo:
    """
    Return the camera_info of an image resized by these factors, as image_proc's ResizeNode does.

    :param header: the header of the resized image.
    """
    # The first rows of K and P give u, the second rows v. The distortion does not change, as it
    # is in normalised coordinates.
    k = np.reshape(info.k, (3, 3)) * [[scale_x], [scale_y], [1]]
    p = np.reshape(info.p, (3, 4)) * [[scale_x], [scale_y], [1]]
    scaled = CameraInfo(
        header=header,
        width=round(info.width * scale_x),
        height=round(info.height * scale_y),
        distortion_model=info.distortion_model,
        d=info.d,
        k=k.ravel(),
        r=info.r,
        p=p.ravel(),
        binning_x=info.binning_x,
        binning_y=info.binning_y,
    )
    scaled.roi.x_offset = int(info.roi.x_offset * scale_x)
    scaled.roi.y_offset = int(info.roi.y_offset * scale_y)
    scaled.roi.width = int(info.roi.width * scale_x)
    scaled.roi.height = int(info.roi.height * scale_y)
    scaled.roi.do_rectify = info.roi.do_rectify
    return scaled
