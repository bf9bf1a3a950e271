"""The scenarios that differ in what strikes: while no caissond runs, and while one does."""

from dataclasses import replace

from tests.matrix.scenario import Points
from tests.matrix.scenarios_plain import CRASH, EITHER, GOOD, LAYERS, OLD
from tests.matrix.strikes import Meanwhile, Strike

MEANWHILE = (
    replace(
        GOOD,
        name="live-restore",
        words="dockerd is killed too, live-restore on",
        live_restore=True,
        meanwhile=Meanwhile.RESTART,
        points=Points.STATES,
    ),
    replace(
        CRASH,
        name="crash-live-restore",
        words="the same, and it exits",
        live_restore=True,
        meanwhile=Meanwhile.RESTART,
        points=Points.STATES,
        pairs_every=9,
    ),
    replace(
        GOOD,
        name="dockerd-killed",
        words="dockerd is killed too",
        meanwhile=Meanwhile.RESTART,
        points=Points.STATES,
        pairs_every=9,
    ),
    replace(
        GOOD,
        name="power-cut",
        words="everything is killed",
        meanwhile=Meanwhile.POWER_CUT,
        points=Points.STATES,
        pairs_every=9,
    ),
    replace(
        LAYERS,
        name="pruned-after",
        words="killed, then docker system prune -f",
        meanwhile=Meanwhile.PRUNE,
        points=Points.STATES,
    ),
    replace(
        GOOD,
        name="no-database",
        words="the database is deleted",
        meanwhile=Meanwhile.NO_DATABASE,
        points=Points.STATES,
    ),
    replace(
        CRASH,
        name="crash-no-database",
        words="it exits, the database is deleted",
        meanwhile=Meanwhile.NO_DATABASE,
        points=Points.STATES,
        ends=OLD,
    ),
    replace(
        GOOD,
        name="torn-database",
        words="half of the database is put back",
        meanwhile=Meanwhile.TORN_DATABASE,
        points=Points.STATES,
        updated_before=True,
    ),
    replace(
        GOOD,
        name="stale-database",
        words="the database loses its newest writes",
        meanwhile=Meanwhile.STALE_DATABASE,
        updated_before=True,
        points=Points.STATES,
    ),
)
ALIVE = (
    replace(GOOD, name="term", words="SIGTERM", strike=Strike.TERM),
    replace(
        CRASH,
        name="crash-term",
        words="SIGTERM, and it exits",
        strike=Strike.TERM,
        points=Points.CHANGES,
    ),
    replace(LAYERS, name="prune", words="docker system prune -f", strike=Strike.PRUNE, ends=EITHER),
    replace(GOOD, name="drop", words="a connection is lost", strike=Strike.DROP, ends=EITHER),
    replace(GOOD, name="error", words="Docker answers 500", strike=Strike.ERROR, ends=EITHER),
    replace(
        CRASH,
        name="crash-error",
        words="it exits, Docker answers 500",
        strike=Strike.ERROR,
        points=Points.CHANGES,
    ),
    replace(
        GOOD,
        name="hang",
        words="a request is never answered",
        strike=Strike.HANG,
        ends=EITHER,
        points=Points.CHANGES,
    ),
    replace(
        GOOD,
        name="late",
        words="an answer comes late",
        strike=Strike.LATE,
        points=Points.CHANGES,
    ),
    replace(
        LAYERS,
        name="cut",
        words="an answer breaks off",
        strike=Strike.CUT,
        ends=EITHER,
        points=Points.CHANGES,
    ),
    replace(
        LAYERS,
        name="no-space",
        words="a change of a file fails: ENOSPC",
        strike=Strike.NO_SPACE,
        ends=EITHER,
    ),
    replace(
        LAYERS,
        name="io-error",
        words="a change of a file fails: EIO",
        strike=Strike.IO_ERROR,
        ends=EITHER,
    ),
    replace(
        LAYERS,
        name="read-only",
        words="a change of a file fails: EROFS",
        strike=Strike.READ_ONLY,
        ends=EITHER,
    ),
)
