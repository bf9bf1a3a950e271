"""The scenarios: one row of the table each."""

from dataclasses import replace

from tests.matrix.scenario import Points, Release, Scenario, Way
from tests.matrix.strikes import Meanwhile, Meddling, Strike

OLD, NEW, EITHER = frozenset({"old"}), frozenset({"new"}), frozenset({"old", "new"})
_GOOD = Scenario("good", "a good release")
_BRIDGED = replace(_GOOD, network="bridge")
_CRASH = Scenario("crash-loop", "a release that exits", release=Release.CRASHES, ends=OLD)
_LAYERS = replace(_GOOD, package_format=2, large_layers=3)

_UPDATES = (
    _GOOD,
    replace(_LAYERS, name="good-layers-2", words="a good release, format 2, layer by layer"),
    replace(
        _LAYERS, name="good-layers-1", words="the same in format 1", package_format=1, points=Points.CHANGES
    ),
    Scenario(
        "unhealthy",
        "a release whose health check fails",
        release=Release.SICK,
        ends=OLD,
        points=Points.CHANGES,
    ),
    _CRASH,
    replace(
        _GOOD,
        name="port-taken",
        words="its port is taken when it starts",
        meddling=Meddling(takes_port=True),
        points=Points.CHANGES,
        ends=EITHER,
        unhindered="old",
    ),
    Scenario(
        "start-fails",
        "a release without its program",
        release=Release.NO_PROGRAM,
        ends=OLD,
        points=Points.CHANGES,
    ),
    Scenario(
        "create-fails",
        "a release that cannot be created",
        release=Release.NO_COMMAND,
        ends=OLD,
        points=Points.CHANGES,
    ),
    replace(
        _LAYERS, name="load-fails", words="a damaged layer", damaged=True, ends=OLD, points=Points.CHANGES
    ),
    replace(
        _GOOD, name="updated-before", words="not the first update", updated_before=True, points=Points.CHANGES
    ),
    replace(
        _CRASH,
        name="crash-updated-before",
        words="not the first update, and it exits",
        updated_before=True,
        points=Points.CHANGES,
    ),
    Scenario(
        "old-pruned",
        "the old container is pruned in the gate",
        release=Release.SICK,
        points=Points.CHANGES,
        ends=OLD,
        meddling=Meddling(prune_at_start=True),
    ),
)
_SERVICES = (
    replace(
        _GOOD, name="stopped", words="a service that was stopped before", stopped=True, points=Points.CHANGES
    ),
    replace(_GOOD, name="always", words="restart policy always", policy="always", points=Points.CHANGES),
    replace(_GOOD, name="no", words="restart policy no", policy="no", points=Points.CHANGES),
    replace(
        _GOOD,
        name="on-failure",
        words="restart policy on-failure",
        policy="on-failure",
        points=Points.CHANGES,
    ),
    replace(
        _CRASH,
        name="crash-always",
        words="it exits, restart policy always",
        policy="always",
        points=Points.CHANGES,
    ),
    replace(_CRASH, name="crash-no", words="it exits, restart policy no", policy="no", points=Points.CHANGES),
)
_WAYS = (
    replace(
        _GOOD, name="stick", words="the package stays on the stick", way=Way.STICK, points=Points.CHANGES
    ),
    replace(
        _CRASH,
        name="crash-stick",
        words="a bad package stays on the stick",
        way=Way.STICK,
        points=Points.CHANGES,
    ),
    Scenario("rollback", "caisson rollback", way=Way.ROLLBACK, updated_before=True, ends=EITHER),
    Scenario(
        "rollback-gone",
        "caisson rollback, the earlier image was removed",
        way=Way.ROLLBACK,
        updated_before=True,
        earlier_image_gone=True,
        ends=OLD,
        pairs=False,
    ),
)
_MEANWHILE = (
    replace(
        _GOOD,
        name="live-restore",
        words="dockerd is killed too, live-restore on",
        live_restore=True,
        meanwhile=Meanwhile.RESTART,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _CRASH,
        name="crash-live-restore",
        words="the same, and it exits",
        live_restore=True,
        meanwhile=Meanwhile.RESTART,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _GOOD,
        name="dockerd-killed",
        words="dockerd is killed too",
        meanwhile=Meanwhile.RESTART,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _GOOD,
        name="power-cut",
        words="everything is killed",
        meanwhile=Meanwhile.POWER_CUT,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _LAYERS,
        name="pruned-after",
        words="killed, then docker system prune -f",
        meanwhile=Meanwhile.PRUNE,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _GOOD,
        name="no-database",
        words="the database is deleted",
        meanwhile=Meanwhile.NO_DATABASE,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _CRASH,
        name="crash-no-database",
        words="it exits, the database is deleted",
        meanwhile=Meanwhile.NO_DATABASE,
        points=Points.CHANGES,
        pairs=False,
        ends=OLD,
    ),
    replace(
        _GOOD,
        name="torn-database",
        words="half of the database is put back",
        meanwhile=Meanwhile.TORN_DATABASE,
        points=Points.CHANGES,
        pairs=False,
        updated_before=True,
    ),
    replace(
        _GOOD,
        name="stale-database",
        words="the database loses its newest writes",
        meanwhile=Meanwhile.STALE_DATABASE,
        updated_before=True,
        points=Points.CHANGES,
        pairs=False,
    ),
)
_ALIVE = (
    replace(_GOOD, name="term", words="SIGTERM", strike=Strike.TERM, pairs=False),
    replace(
        _CRASH,
        name="crash-term",
        words="SIGTERM, and it exits",
        strike=Strike.TERM,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _LAYERS, name="prune", words="docker system prune -f", strike=Strike.PRUNE, ends=EITHER, pairs=False
    ),
    replace(_GOOD, name="drop", words="a connection is lost", strike=Strike.DROP, ends=EITHER, pairs=False),
    replace(_GOOD, name="error", words="Docker answers 500", strike=Strike.ERROR, ends=EITHER, pairs=False),
    replace(
        _CRASH,
        name="crash-error",
        words="it exits, Docker answers 500",
        strike=Strike.ERROR,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _GOOD,
        name="hang",
        words="a request is never answered",
        strike=Strike.HANG,
        ends=EITHER,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _GOOD,
        name="late",
        words="an answer comes late",
        strike=Strike.LATE,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _LAYERS,
        name="cut",
        words="an answer breaks off",
        strike=Strike.CUT,
        ends=EITHER,
        points=Points.CHANGES,
        pairs=False,
    ),
    replace(
        _LAYERS,
        name="no-space",
        words="a change of a file fails: ENOSPC",
        strike=Strike.NO_SPACE,
        ends=EITHER,
        pairs=False,
    ),
    replace(
        _LAYERS,
        name="io-error",
        words="a change of a file fails: EIO",
        strike=Strike.IO_ERROR,
        ends=EITHER,
        pairs=False,
    ),
    replace(
        _LAYERS,
        name="read-only",
        words="a change of a file fails: EROFS",
        strike=Strike.READ_ONLY,
        ends=EITHER,
        pairs=False,
    ),
)

SCENARIOS = {one.name: one for one in (*_UPDATES, *_SERVICES, *_WAYS, *_MEANWHILE, *_ALIVE)}
