"""What is loaded, and in which portions."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caissond.host.docker import Inspect
from caissond.host.loads import (
    SMALL_BYTES,
    Load,
    count_known,
    is_containerd_store,
    plan_loads,
    plan_whole,
)
from caissond.package.compression import Compression
from caissond.package.image import Image
from caissond.package.layers import Layer

LARGE = SMALL_BYTES + 1
MARK = "0123abcd-u"


def image_of(*sizes: int) -> Image:
    """An image with layers of these sizes, called 0, 1, 2, …"""
    layers = tuple(Layer(str(number), 0, size, Compression.NONE) for number, size in enumerate(sizes))
    return Image("sha256:c", b"the real one", "linux", "arm64", "v8", False, layers)


def portions(loads: tuple[Load, ...]) -> list[list[str]]:
    return [list(load.diff_ids[load.first :]) for load in loads]


@pytest.mark.parametrize(
    ("chains", "known"),
    [
        ([], 0),
        ([[]], 0),
        (["ab"], 2),
        (["abcd"], 3),
        (["abx", "axc", "a"], 2),
        (["bc", "c"], 0),
    ],
    ids=["no image", "no layer", "lower part", "all and more", "longest counts", "same layers elsewhere"],
)
def test_layers_are_known_from_the_bottom_as_far_as_one_image_has_them(chains: list[str], known: int) -> None:
    assert count_known("abc", chains) == known


def test_search_ends_when_all_layers_are_found() -> None:
    """Each chain costs a question to the engine, and it may have hundreds of images."""
    chains = iter(["x", "abc", "abc", "ab"])
    assert (count_known("abc", chains), list(chains)) == (3, ["abc", "ab"])


def test_each_large_layer_is_a_load_of_its_own() -> None:
    assert portions(plan_loads(image_of(LARGE, LARGE, LARGE), 0, MARK)) == [["0"], ["1"], ["2"]]


def test_known_layers_are_left_out() -> None:
    loads = plan_loads(image_of(LARGE, LARGE, LARGE), 2, MARK)
    assert (portions(loads), loads[0].diff_ids) == ([["2"]], ("0", "1", "2"))


def test_image_whose_layers_are_all_known_is_one_load_without_any() -> None:
    (load,) = plan_loads(image_of(LARGE, LARGE), 2, MARK)
    assert (load.config, load.first, load.stop) == (b"the real one", 2, 2)


def test_small_layers_go_together_and_never_with_a_large_one() -> None:
    sizes = (LARGE, 10, 10, SMALL_BYTES - 20, 10, LARGE, 10)
    assert portions(plan_loads(image_of(*sizes), 0, MARK)) == [["0"], ["1", "2", "3"], ["4"], ["5"], ["6"]]


@pytest.mark.parametrize(("size_mb", "count"), [(1, 16), (2, 16), (8, 60)])
def test_many_layers_go_in_few_portions_that_take_little_room(size_mb: int, count: int) -> None:
    loads = portions(plan_loads(image_of(*[size_mb << 20] * 120), 0, MARK))
    assert len(loads) <= count + 2
    assert max(len(portion) * size_mb for portion in loads) <= 16


@given(sizes=st.lists(st.sampled_from([0, 10, SMALL_BYTES // 2, LARGE]), max_size=127), known=st.integers(0))
def test_any_image_is_loaded_layer_after_layer_to_its_end(sizes: list[int], known: int) -> None:
    image = image_of(*sizes)
    loads = plan_loads(image, min(known, len(sizes)), MARK)
    assert [name for portion in portions(loads) for name in portion] == [
        layer.diff_id for layer in image.layers[known:]
    ]
    assert [load.config == image.config for load in loads] == [*[False] * (len(loads) - 1), True]
    assert all(one.stop == other.first for one, other in pairwise(loads))
    assert len({load.config_hex for load in loads}) == len(loads)


def test_image_in_between_is_marked_and_for_the_same_machine() -> None:
    between = json.loads(plan_loads(image_of(LARGE, LARGE), 0, MARK)[0].config)
    assert (between["os"], between["architecture"]) == ("linux", "arm64")
    assert between["config"]["Labels"] == {"io.caisson.ingest": MARK}
    assert between["rootfs"] == {"type": "layers", "diff_ids": ["0"]}


def test_whole_image_is_one_load_of_every_layer() -> None:
    load = plan_whole(image_of(LARGE, 1))
    assert (load.config, load.first, load.diff_ids) == (b"the real one", 0, ("0", "1"))


@pytest.mark.parametrize(
    ("engine", "is_one"),
    [
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, True),
        ({"DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]}, False),
        ({"DriverStatus": None}, False),
        ({}, False),
    ],
)
def test_containerd_store_is_known_by_its_driver(engine: Inspect, is_one: bool) -> None:
    assert is_containerd_store(engine) is is_one
