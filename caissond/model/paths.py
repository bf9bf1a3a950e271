"""Where things are on a device: every path hangs below one root, so that several can live side by side."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files of one Caisson."""

    config: Path
    services: Path
    allowed_signers: Path
    revoked_keys: Path
    hooks: Path
    leds: Path
    state_dir: Path
    run_dir: Path
    config_is_named: bool = False
    """Somebody said where the settings are, so they have to be there."""

    @classmethod
    def below(
        cls,
        root: Path = Path("/"),
        *,
        config: Path | None = None,
        services: Path | None = None,
        state_dir: Path | None = None,
    ) -> "Paths":
        """The paths below `root`; what is named besides overrides it."""
        root = root.absolute()
        etc = root / "etc/caisson"
        return cls(
            config=(config or etc / "caissond.toml").absolute(),
            services=(services or etc / "services.toml").absolute(),
            allowed_signers=etc / "allowed_signers",
            revoked_keys=etc / "revoked_keys",
            hooks=etc / "hooks.d",
            leds=root / "sys/class/leds",
            state_dir=(state_dir or root / "var/lib/caisson").absolute(),
            run_dir=root / "run/caisson",
            config_is_named=config is not None,
        )

    @property
    def inbox(self) -> Path:
        return self.state_dir / "inbox"

    @property
    def work(self) -> Path:
        return self.state_dir / "work"

    @property
    def receipts(self) -> Path:
        return self.state_dir / "receipts"

    @property
    def database(self) -> Path:
        return self.state_dir / "state.db"

    @property
    def lock(self) -> Path:
        return self.state_dir / "lock"

    @property
    def daemon_lock(self) -> Path:
        return self.state_dir / "daemon.lock"

    @property
    def media(self) -> Path:
        return self.run_dir / "media"

    @property
    def hooks_socket(self) -> Path:
        return self.run_dir / "hooks.sock"

    @property
    def leds_socket(self) -> Path:
        return self.run_dir / "leds.sock"

    @property
    def stick_socket(self) -> Path:
        return self.run_dir / "stick.sock"

    @property
    def hold(self) -> Path:
        """While it is there, no update begins."""
        return self.run_dir / "hold"

    @property
    def status(self) -> Path:
        return self.run_dir / "status.json"
