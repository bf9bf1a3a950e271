"""All scenarios by name: one row of the table each."""

from tests.matrix.scenarios_plain import SERVICES, UPDATES, WAYS
from tests.matrix.scenarios_struck import ALIVE, MEANWHILE
from tests.matrix.scenarios_together import TOGETHER

SCENARIOS = {one.name: one for one in (*UPDATES, *SERVICES, *WAYS, *MEANWHILE, *ALIVE, *TOGETHER)}
