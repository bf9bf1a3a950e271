"""The scenarios of services that are more than one plain container, or less: Compose's, several in one package, with
what lives in their network, and those that do their work and end.
"""

from dataclasses import replace

from tests.matrix.scenario import Points, Scenario
from tests.matrix.scenarios_plain import EITHER, OLD
from tests.matrix.strikes import Meanwhile, Strike
from tests.matrix.target import COMPOSED, JOB, PAIR, SCALED, WITH_SIDECAR, Release

_COMPOSED = Scenario(
    "compose-good",
    "a Compose service, a good release",
    targets=(COMPOSED,),
    points=Points.STATES,
    every=3,
    sampled=1,
    pairs_every=18,
)
_SCALED = replace(
    _COMPOSED,
    name="compose-scaled-good",
    words="a Compose service of two containers",
    targets=(SCALED,),
    every=1,
)
_BUNDLE = Scenario(
    "bundle-good",
    "two services in one package",
    targets=PAIR,
    package_format=2,
    points=Points.STATES,
    sampled=1,
    pairs_every=18,
)
_SIDECAR = Scenario(
    "dependant-good",
    "a container lives in the service's network",
    targets=(WITH_SIDECAR,),
    network="none",
    points=Points.STATES,
    every=2,
    sampled=1,
    pairs_every=18,
)
_ONCE = Scenario(
    "once-good",
    "a service that does its work and ends",
    targets=(JOB,),
    policy="no",
    points=Points.STATES,
    sampled=1,
    pairs_every=18,
)

TOGETHER = (
    _COMPOSED,
    replace(
        _COMPOSED, name="compose-crash", words="the same, and it exits", release=Release.CRASHES, ends=OLD
    ),
    replace(_COMPOSED, name="compose-stopped", words="a Compose service that was stopped", stopped=True),
    replace(_SCALED, pairs_every=6),
    replace(
        _SCALED,
        name="compose-scaled-one-exits",
        words="one of its two containers exits",
        release=Release.ONE_CRASHES,
        ends=OLD,
        every=2,
    ),
    replace(
        _SCALED,
        name="compose-scaled-power-cut",
        words="everything is killed",
        meanwhile=Meanwhile.POWER_CUT,
        every=2,
    ),
    replace(
        _SCALED,
        name="compose-scaled-no-database",
        words="the database is deleted",
        meanwhile=Meanwhile.NO_DATABASE,
        every=2,
    ),
    replace(
        _SCALED,
        name="compose-scaled-error",
        words="Docker answers 500",
        strike=Strike.ERROR,
        points=Points.CHANGES,
        ends=EITHER,
    ),
    replace(_BUNDLE, pairs_every=9),
    replace(
        _BUNDLE,
        name="bundle-one-crashes",
        words="the second of the two exits",
        release=Release.CRASHES,
        ends=OLD,
        every=2,
    ),
    replace(
        _BUNDLE, name="bundle-power-cut", words="everything is killed", meanwhile=Meanwhile.POWER_CUT, every=2
    ),
    _SIDECAR,
    replace(
        _SIDECAR,
        name="dependant-crash",
        words="the same, and the service exits",
        release=Release.CRASHES,
        ends=OLD,
    ),
    _ONCE,
    replace(
        _ONCE, name="once-fails", words="the same, and its work fails", release=Release.CRASHES, ends=OLD
    ),
)
