"""What happens between the death of a process and the start of the next one."""

import os
from collections.abc import Iterable
from pathlib import Path

from caissond.model.paths import Paths
from caissond.store.database import Database
from caissond.store.journal import Journal
from tests.matrix.dead_man import broken_without_caissond
from tests.matrix.lab import Lab
from tests.matrix.proxy import prune
from tests.matrix.scenario import Scenario
from tests.matrix.strikes import Meanwhile


def happen(lab: Lab, scenario: Scenario, paths: Paths, events: Iterable[str]) -> list[str]:
    """What the scenario says; what is broken by then.

    Args:
        events: of the process that died.
    """
    engine, database, broken = lab.engine, paths.database, list[str]()
    match scenario.meanwhile:
        case Meanwhile.PRUNE:
            prune(engine.socket)
        case Meanwhile.RESTART:
            engine.kill()
            engine.start()
            _start_services(lab, scenario, database)
        case Meanwhile.POWER_CUT:
            engine.power_cut()
            engine.start()
            broken = broken_without_caissond(lab, scenario, events)
            _start_services(lab, scenario, database)
        case Meanwhile.NO_DATABASE:
            _remove(database, "", "-wal", "-shm")
        case Meanwhile.TORN_DATABASE:
            _remove(database, "-wal", "-shm")
            if database.exists():
                os.truncate(database, database.stat().st_size // 2)
        case Meanwhile.STALE_DATABASE:
            _remove(database, "-wal", "-shm")
        case Meanwhile.NOTHING:
            pass
    return broken


def _start_services(lab: Lab, scenario: Scenario, path: Path) -> None:
    """The end of dockerd alone takes down what not every restart policy brings back. Where no update is under way
    that is for an admin.
    """
    database = Database.read_only(path)
    is_under_way = bool(Journal(database).unfinished())
    database.close()
    if not is_under_way:
        lab.start_all(scenario)


def _remove(database: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        database.with_name(database.name + suffix).unlink(missing_ok=True)
