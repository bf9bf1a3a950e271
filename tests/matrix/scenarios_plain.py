"""The scenarios of one service in one plain container: what comes to it, how, and what it is like."""

from dataclasses import replace

from tests.matrix.scenario import Points, Scenario, Way
from tests.matrix.strikes import Meddling
from tests.matrix.target import Release

OLD, NEW, EITHER = frozenset({"old"}), frozenset({"new"}), frozenset({"old", "new"})
GOOD = Scenario("good", "a good release")
CRASH = Scenario("crash-loop", "a release that exits", release=Release.CRASHES, ends=OLD)
LAYERS = replace(GOOD, package_format=2, large_layers=3)

UPDATES = (
    GOOD,
    replace(LAYERS, name="good-layers-2", words="a good release, format 2, layer by layer"),
    replace(
        LAYERS,
        name="good-layers-1",
        words="the same in format 1",
        package_format=1,
        points=Points.STATES,
    ),
    Scenario(
        "unhealthy",
        "a release whose health check fails",
        release=Release.SICK,
        ends=OLD,
        points=Points.STATES,
    ),
    CRASH,
    replace(
        GOOD,
        name="port-taken",
        words="its port is taken when it starts",
        meddling=Meddling(takes_port=True),
        points=Points.STATES,
        ends=EITHER,
        unhindered="old",
    ),
    Scenario(
        "start-fails",
        "a release without its program",
        release=Release.NO_PROGRAM,
        ends=OLD,
        points=Points.STATES,
    ),
    Scenario(
        "create-fails",
        "a release that cannot be created",
        release=Release.NO_COMMAND,
        ends=OLD,
        points=Points.STATES,
    ),
    replace(LAYERS, name="load-fails", words="a damaged layer", damaged=True, ends=OLD, points=Points.STATES),
    replace(
        GOOD, name="updated-before", words="not the first update", updated_before=True, points=Points.STATES
    ),
    replace(
        CRASH,
        name="crash-updated-before",
        words="not the first update, and it exits",
        updated_before=True,
        points=Points.STATES,
        pairs_every=9,
    ),
    Scenario(
        "old-pruned",
        "the old container is pruned in the gate",
        release=Release.SICK,
        points=Points.STATES,
        pairs_every=9,
        ends=OLD,
        meddling=Meddling(prune_at_start=True),
    ),
)
SERVICES = (
    replace(
        GOOD, name="stopped", words="a service that was stopped before", stopped=True, points=Points.STATES
    ),
    replace(GOOD, name="always", words="restart policy always", policy="always", points=Points.STATES),
    replace(GOOD, name="no", words="restart policy no", policy="no", points=Points.STATES),
    replace(
        GOOD,
        name="on-failure",
        words="restart policy on-failure",
        policy="on-failure",
        points=Points.STATES,
        pairs_every=9,
    ),
    replace(
        CRASH,
        name="crash-always",
        words="it exits, restart policy always",
        policy="always",
        points=Points.STATES,
        pairs_every=9,
    ),
    replace(
        CRASH,
        name="crash-no",
        words="it exits, restart policy no",
        policy="no",
        points=Points.STATES,
        pairs_every=9,
    ),
)
WAYS = (
    replace(GOOD, name="stick", words="the package stays on the stick", way=Way.STICK, points=Points.STATES),
    replace(
        CRASH,
        name="crash-stick",
        words="a bad package stays on the stick",
        way=Way.STICK,
        points=Points.STATES,
        pairs_every=9,
    ),
    Scenario("rollback", "caisson rollback", way=Way.ROLLBACK, updated_before=True, ends=EITHER),
    Scenario(
        "rollback-gone",
        "caisson rollback, the earlier image was removed",
        way=Way.ROLLBACK,
        updated_before=True,
        earlier_image_gone=True,
        ends=OLD,
    ),
)
