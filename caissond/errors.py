"""Every error that Caisson raises on purpose. The hint that belongs to a code stands in `model.events`.

CaissonError
├── Refusal              the package (or the host it is meant for) is refused; nothing was changed
│   └── Truncated        the file ends early: it may still be growing, it is never called invalid
├── SourceGone           the stick or file went away while it was read: an ordinary event
├── ConfigError          settings or catalog: names the file, the line and what was expected
├── StoreError           the state database
│   └── StoreFull        no space left for it
├── DockerError          the engine answered, with an error
│   ├── NotFound
│   └── Conflict
├── HostUnavailable      the engine does not answer: leave the record as it is, recover later
├── Stopping             we were asked to stop; what runs is undone
├── GateFailed           the verdict of the health gate
├── Unprobeable          a service cannot be asked from here: that says nothing about it
└── LockBusy             somebody else is updating
"""


class CaissonError(Exception):
    """A failure with a stable code; the message reads "cannot ...", lower case, no full stop."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def message(self) -> str:
        return str(self)


class Refusal(CaissonError):
    pass


class Truncated(Refusal):
    pass


class SourceGone(CaissonError):
    pass


class ConfigError(CaissonError):
    pass


class StoreError(CaissonError):
    pass


class StoreFull(StoreError):
    pass


class DockerError(CaissonError):
    pass


class NotFound(DockerError):
    pass


class Conflict(DockerError):
    pass


class HostUnavailable(CaissonError):
    pass


class Stopping(CaissonError):
    pass


class GateFailed(CaissonError):
    pass


class Unprobeable(CaissonError):
    pass


class LockBusy(CaissonError):
    pass
