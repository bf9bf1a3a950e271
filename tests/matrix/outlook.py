"""What to expect of a device once caissond has settled. Pure."""

from dataclasses import dataclass

from tests.matrix.scenario import Scenario, Way
from tests.matrix.strikes import Meanwhile
from tests.matrix.target import EARLIER, NEW, OLD

_DATABASE_LOST = (Meanwhile.NO_DATABASE, Meanwhile.TORN_DATABASE, Meanwhile.STALE_DATABASE)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of a device."""

    scenario: Scenario
    ends: frozenset[str]
    """`old`, `new`."""
    handled: bool
    """Whether the package has had its turn."""

    @property
    def history_lost(self) -> bool:
        """With the database."""
        return self.scenario.meanwhile in _DATABASE_LOST

    @property
    def gate_said_no(self) -> bool:
        """Nothing else can have failed before, and it is not forgotten."""
        judged = self.handled and self.scenario.is_bad and self.scenario.strike.ends_process
        return judged and not self.history_lost

    def which(self, version: str) -> str:
        """Whether this is the old release or the new one, for the scenario."""
        new = EARLIER if self.scenario.way is Way.ROLLBACK else NEW
        return "new" if version == new else "old" if version == OLD else version
