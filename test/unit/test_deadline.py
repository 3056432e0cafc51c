# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Deadlines: the choice of operating points, their networks, and the deadline benchmark."""

from itertools import pairwise

from deadline_fixtures import (
    picture,
    SIZE,
    small_checkpoint,
    small_segmenter,
)
import numpy as np
import pytest
import torch

from seg_ros.benchmark.deadline_plot import deadline_plot
from seg_ros.inference import deadline as deadline_module
from seg_ros.inference.deadline import (
    CALM,
    make_scheduler,
    MEMORY,
    OperatingPoint,
    Scheduler,
)
from seg_ros.inference.deployed import Deployed
from seg_ros.inference.quantization import calibrate, quantize, QuantizedConv
from seg_ros.inference.segmenter import Segmenter
from seg_ros.models.cascade import EXITS

pytestmark = pytest.mark.usefixtures('one_thread', 'timed_briefly')

SECONDS = {'640x480': 0.040, '480x352': 0.024, '320x256': 0.0145}
PERIOD = 0.1


@pytest.fixture
def timed_briefly(monkeypatch):
    """Time each operating point only once, as these tests do not depend on the times."""
    monkeypatch.setattr(deadline_module, 'ROUNDS', 1)
    monkeypatch.setattr(deadline_module, 'ROUNDS_SECONDS', 0.0)


def scheduler_of(seconds=SECONDS) -> Scheduler:
    """Return a scheduler of operating points with these times, which have no networks."""
    return Scheduler([OperatingPoint(name, None, each) for name, each in seconds.items()])


# Which operating point


def drive(scheduler, deadline, load, *, noise=0.0, frames=600, period=PERIOD, seed=0):
    """
    Simulate a camera and a worker that takes the newest frame.

    :param load: a function of the time in seconds and a point's name that returns the factor by
        which the point is slower then.
    :returns: time, age and operating point of each frame that was segmented; the frames sent.
    """
    random = np.random.default_rng(seed)
    answered, free, frame = [], 0.0, 0
    while frame < frames:
        frame = max(frame, int(free / period + 1e-9))  # older frames were replaced by newer ones
        published = frame * period
        start = max(published, free)
        point = scheduler.choose(deadline - (start - published))
        took = (
            SECONDS[point.name] * load(start, point.name) * float(np.exp(random.normal(0, noise)))
        )
        scheduler.observe(point, took)
        free = start + took
        answered.append((published, free - published, point.name))
        frame += 1
    return answered, frames


def inside(answered, sent, deadline):
    return sum(age <= deadline for _, age, _ in answered) / sent


def fourfold(time, name):
    """Return a load that makes all points four times slower in every second five seconds."""
    return 4.0 if time % 10 >= 5 else 1.0


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('noise', [0.02, 0.2])
def test_frames_are_in_time_under_a_load_that_a_fixed_depth_cannot_follow(noise, seed):
    deadline = 0.1
    fixed = Scheduler([OperatingPoint('640x480', None, SECONDS['640x480'])])
    at_full_depth = inside(*drive(fixed, deadline, fourfold, noise=noise, seed=seed), deadline)
    answered, sent = drive(scheduler_of(), deadline, fourfold, noise=noise, seed=seed)
    assert at_full_depth < 0.55
    assert inside(answered, sent, deadline) >= 0.95
    # Without load, after the first second, nearly all frames get the most accurate point.
    unloaded = [name for time, _, name in answered if 1 <= time % 10 < 5]
    assert unloaded.count('640x480') / len(unloaded) > 0.98
    assert {name for *_, name in answered} >= {'640x480', '320x256'}


def test_a_load_is_followed_at_once_and_left_within_a_few_frames():
    answered, _ = drive(scheduler_of(), 0.1, fourfold, frames=100)
    names = [name for *_, name in answered]
    # One frame is late, as the load is new, and takes so long that the next frame is replaced.
    late = [round(time / PERIOD) for time, age, _ in answered if age > 0.1]
    assert late[0] == 50 and len(late) <= 2
    assert set(names[:50]) == {'640x480'} and names[51] == '320x256'
    again, _ = drive(scheduler_of(), 0.1, fourfold, frames=110)
    calm = [name for time, _, name in again if time >= 10 - 1e-9]
    assert set(calm[:CALM]) == {'320x256'} and set(calm[CALM:]) == {'640x480'}


def test_a_load_that_short_frames_do_not_feel_costs_one_frame_in_twenty():
    """A container with a limit on processor time in each period has such a load."""

    def load(time, name):
        return 4.0 if name == '640x480' else 1.0

    answered, sent = drive(scheduler_of(), 0.1, load)
    late = [name for _, age, name in answered if age > 0.1]
    assert 0 < len(late) <= sent / MEMORY
    assert inside(answered, sent, 0.1) >= 0.95


@pytest.mark.parametrize('measured', [(1.5, 1, 1), (1, 1.6, 1), (1, 1, 1.6), (4, 4, 4), (3, 5, 5)])
def test_a_start_that_was_disturbed_is_made_up_for(measured):
    """Each point's time was measured too long at the start, by the factors given."""
    seconds = {name: times * SECONDS[name] for name, times in zip(SECONDS, measured)}
    answered, sent = drive(scheduler_of(seconds), 0.1, fourfold, noise=0.05)
    assert inside(answered, sent, 0.1) >= 0.95
    unloaded = [name for time, _, name in answered if 1 <= time % 10 < 5]
    assert unloaded.count('640x480') / len(unloaded) > 0.95


def test_what_is_around_the_network_does_not_keep_it_shallow():
    """Six milliseconds are much of the fastest point's time, and little of the most accurate's."""

    def load(time, name):
        return fourfold(time, name) + 0.006 / SECONDS[name]

    answered, _ = drive(scheduler_of(), 0.06, load, frames=300)
    unloaded = [name for time, _, name in answered if 1 <= time % 10 < 5]
    assert set(unloaded) == {'640x480'}


def test_the_deepest_that_fits_is_chosen_and_always_one():
    scheduler = scheduler_of()
    chosen = {left: scheduler.choose(left).name for left in (float('inf'), 1, 0.05, 0.04, 0.02)}
    assert chosen == {
        float('inf'): '640x480', 1: '640x480', 0.05: '640x480', 0.04: '480x352', 0.02: '320x256'
    }  # fmt: skip
    # If no point is fast enough the last is chosen, even if it was measured no faster at the
    # start.
    assert [scheduler.choose(left).name for left in (0.001, 0, -3)] == ['320x256'] * 3
    disturbed = scheduler_of({'deep': 0.03, 'middle': 0.01, 'last': 0.01})
    assert disturbed.choose(0.001).name == 'last'


def test_a_single_operating_point_needs_no_time():
    scheduler = Scheduler([OperatingPoint('only', None)])
    for seconds in (0.0, 5.0, 0.001):
        assert scheduler.choose(-1).name == 'only'
        scheduler.observe(scheduler.points[0], seconds)
    assert scheduler.shares() == {'only': 1.0}


def test_shares_are_of_the_frames_answered_lately():
    scheduler = scheduler_of()
    assert scheduler.shares() == dict.fromkeys(SECONDS, 0)
    for i in range(400):
        scheduler.observe(scheduler.points[1 if i < 300 else i % 4 == 0], 0.02)
    assert scheduler.shares() == {'640x480': 0.75, '480x352': 0.25, '320x256': 0}


# The networks of operating points


@pytest.mark.parametrize('own', EXITS)
def test_operating_points_of_icnet_are_its_exits(own):
    segmenter = small_segmenter(exit=own)
    said = []
    scheduler = make_scheduler(segmenter, [(48, 64), (30, 40)], said.append)
    assert scheduler.points[0].segmenter is segmenter
    assert [point.name for point in scheduler.points] == [*reversed(EXITS[: EXITS.index(own) + 1])]
    assert said[-1].startswith(f'operating points: {own} ')
    image = picture((48, 64))
    masks = []
    seconds = [point.seconds for point in scheduler.points]
    assert seconds == sorted(seconds, reverse=True) and seconds[-1] > 0
    for point in scheduler.points:
        built = small_segmenter(exit=point.name)
        mask = point.segmenter.predict(image).labels
        np.testing.assert_array_equal(mask, built.predict(image).labels)
        masks.append(mask)
    assert all((a != b).any() for a, b in pairwise(masks))


def test_operating_points_of_other_networks_are_input_sizes():
    segmenter = small_segmenter(name='bisenetv2', size=(96, 160))
    scheduler = make_scheduler(segmenter, [(48, 64)], lambda line: None)
    assert [point.name for point in scheduler.points] == ['160x96', '128x64', '96x64']
    image = picture((48, 64))
    for point in scheduler.points:
        width, height = map(int, point.name.split('x'))
        built = Segmenter(
            segmenter.checkpoint, input_height=height, input_width=width, device='cpu',
            backend='torch', precision='fp32',
        )  # fmt: skip
        found = point.segmenter.predict(image).labels
        np.testing.assert_array_equal(found, built.predict(image).labels)


@pytest.mark.parametrize(
    ('name', 'size', 'points'),
    [
        ('bisenetv2', (224, 320), ['320x224', '256x160', '160x128']),
        ('bisenetv2', (64, 64), ['64x64', '32x32']),
        ('bisenetv2', (32, 32), ['32x32']),
        ('pspnet50', (129, 257), ['257x129', '193x97', '129x65']),
    ],
)
def test_sizes_are_what_strides_divide(name, size, points):
    segmenter = small_segmenter(name=name, size=size)
    scheduler = make_scheduler(segmenter, [], lambda line: None)
    assert [point.name for point in scheduler.points] == points


def test_pytorch_holds_the_weights_once():
    scheduler = make_scheduler(small_segmenter(), [(48, 64)], lambda line: None)
    deepest, *others = (
        dict(r.segmenter.engine._network.named_parameters()) for r in scheduler.points
    )
    for weights in others:
        alike = [n for n, w in weights.items() if n in deepest]
        assert len(alike) > 50
        assert all(weights[n].data_ptr() == deepest[n].data_ptr() for n in alike)
        # Only the classifier of its exit is its own.
        assert {n.rpartition('.')[0].split('.')[-1] for n in weights.keys() - alike} == {'guide'}


@pytest.mark.parametrize('leaves', EXITS)
def test_a_deployed_exit_carries_what_runs(leaves):
    checkpoint = small_checkpoint(exit=leaves)
    deployed = Deployed(checkpoint)
    ran = set()
    for name, module in deployed.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
    deployed(torch.zeros(1, *SIZE, 3, dtype=torch.uint8))
    weights = {name.rpartition('.')[0] for name, _ in deployed.named_parameters()}
    assert weights - {'mean', 'std'} <= ran
    # The checkpoint's own network still has all its modules, and so have those that share them.
    assert checkpoint.network.ending('sub124').forward_train(torch.randn(2, 3, *SIZE))


def test_an_exit_of_a_network_shares_its_weights_and_leaves_it_alone():
    network = small_checkpoint().network
    early = network.ending('sub4')
    assert (network.exit, early.exit) == ('sub124', 'sub4')
    assert all(a is b for a, b in zip(network.parameters(), early.parameters(), strict=True))
    with pytest.raises(ValueError, match='sub4, sub24, sub124'):
        network.ending('sub8')


def test_8_bit_ranges_of_what_an_exit_does_not_run_are_left_alone():
    whole = small_checkpoint()
    pixels = torch.from_numpy(picture())[None]
    ranges = calibrate(whole, [pixels])
    assert {'shallow.1.0', 'fusion12.refine.0'} <= ranges.keys()
    for leaves in EXITS:
        deployed = Deployed(small_checkpoint(exit=leaves))
        quantized = quantize(deployed, ranges)
        rounded = [m for m in quantized.modules() if isinstance(m, QuantizedConv)]
        running = {n for n, _ in deployed.network.named_modules()}
        assert len(rounded) == len(running & ranges.keys()) > 20
        exact, found = deployed(pixels), quantized(pixels)
        assert 0 < (found - exact).norm() < 0.5 * exact.norm()


# The benchmark


def benchmark_module():
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from seg_ros.benchmark.live import deadline_benchmark

    return deadline_benchmark


def test_shares_in_time_are_of_what_was_sent_and_of_what_came():
    in_time = benchmark_module().in_time
    assert in_time([10.0, 50.0, None, 50.1, None], 50) == {
        'in_time_of_sent': 0.4, 'in_time_of_answered': pytest.approx(2 / 3)
    }  # fmt: skip
    assert in_time([None, None], 50) == {'in_time_of_sent': 0, 'in_time_of_answered': 0}


def test_operating_points_share_the_masks_that_came():
    benchmark = benchmark_module()
    made = ['deep', 'deep', 'cheap', '', '?']
    frames = [benchmark.TimedFrame(i, 9.0 if name else None, name) for i, name in enumerate(made)]
    assert benchmark.shares(frames, ['deep', 'middle', 'cheap']) == {
        'deep': 0.5, 'middle': 0, 'cheap': 0.25, '?': 0.25
    }  # fmt: skip
    assert benchmark.shares(frames[3:4], ['deep']) == {'deep': 0}


def test_the_load_is_what_makes_masks_four_times_as_old(monkeypatch):
    """Each process of the simulated load adds the 20 ms that a mask takes without load."""
    benchmark = benchmark_module()
    running = []

    class Load:
        def __init__(self, count):
            self.count = count

        def __enter__(self):
            running.append(self.count)

        def __exit__(self, *error):
            running.append(0)

    class Camera:
        def call(self, method, image, mask, count, pause, patience):
            return [20.0 * (1 + sum(running[-1:]))] * count

    monkeypatch.setattr(benchmark, 'busy_processes', Load)
    assert benchmark.find_load(Camera(), 'image', 'mask', 20.0) == (3, 4.0)
    assert running[-1] == 0


def found_of(frames, deadline=50, loaded=((1.0, 2.0),)):
    benchmark = benchmark_module()
    ages = [age for _, age, _ in frames]
    run = {
        'name': 'with the deadline', **benchmark.in_time(ages, deadline), 'loaded': loaded,
        'rungs': benchmark.shares([benchmark.TimedFrame(*f) for f in frames], ['deep', 'cheap']),
        'frames': frames,
    }  # fmt: skip
    return {'deadline_ms': deadline, 'runs': [run]}


def test_every_mask_is_in_the_plot_in_its_points_colour():
    frames = [[0.0, 20.0, 'deep'], [1.0, 900.0, 'deep'], [1.5, 30.0, 'cheap'], [1.9, None, '']]
    drawing = deadline_plot([found_of(frames)])
    (axes,) = drawing.axes
    drawn = {}
    for line in axes.lines:
        if line.get_marker() in '.x' and len(line.get_xdata()):
            points = list(zip(line.get_xdata(), line.get_ydata()))
            drawn.setdefault((line.get_marker(), line.get_color()), []).extend(points)
    # Frames later than four deadlines are drawn at the end of the axis.
    assert list(drawn.values()) == [[(0.0, 20.0), (1.0, 200.0)], [(1.5, 30.0)], [(1.9, 0)]]
    assert axes.get_title('left') == ('with the deadline: 50.0% of 4 images answered within 50 ms')
