"""Who is told besides the log, the service manager and the status file: LEDs, the console, hooks."""

from collections.abc import Callable, Sequence

from caissond.model.paths import Paths
from caissond.model.settings import Settings
from caissond.report.bus import Bus, Sink
from caissond.report.console import Console
from caissond.report.hooks import Hooks
from caissond.report.leds import Leds


class Outlets:
    """All three, for the daemon."""

    def __init__(self, paths: Paths) -> None:
        self.leds = Leds(paths.leds, paths.leds_socket)
        self.console = Console()
        self.hooks = Hooks(paths.hooks, paths.hooks_socket)

    @property
    def sinks(self) -> Sequence[Sink]:
        return (self.leds, self.console, self.hooks)

    def configure(self, settings: Settings, bus: Bus) -> None:
        """Take over settings; what goes wrong with the outlets themselves is told to the bus."""
        self.leds.configure(settings.leds, bus.tell)
        self.console.configure(settings.console, bus.tell)
        self.hooks.configure(settings.hooks, bus.tell)

    def close(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """The LEDs go off at once; the hooks get their time to hear the rest.

        Args:
            on_wait: called again and again meanwhile.
        """
        self.leds.close()
        self.hooks.close(on_wait)
        self.console.close()
