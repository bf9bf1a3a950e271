"""Every event and every refusal, in one table: code, number to say over the phone, severity, sentence, hint.

The journal catalog and the troubleshooting table of the README are made from it; codes and numbers never change.
"""

import uuid
from dataclasses import dataclass, field
from enum import IntEnum

_NAMESPACE = uuid.UUID("6c0e3c5f-6b0b-4f0e-9d55-0c1b3b0a9e11")


class Severity(IntEnum):
    """The journal's priorities (syslog.h)."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@dataclass(frozen=True, slots=True)
class EventSpec:
    """A row of the table."""

    code: str
    number: int
    severity: Severity
    sentence: str
    hint: str

    @property
    def spoken(self) -> str:
        """What is said over the phone: `E-214`."""
        return f"E-{self.number}"

    @property
    def message_id(self) -> str:
        """The journal's MESSAGE_ID: 32 hexadecimal digits, the same for ever."""
        return uuid.uuid5(_NAMESPACE, self.code).hex


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, ready to be told."""

    code: str
    text: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> EventSpec:
        return EVENTS[self.code]


_NEW_COPY = "copy the package again, or ask its maker for a new one"
_MAKER = "ask the maker of the package for a corrected one"
_BUILD = "make the package with caisson package build; if it was made so, do not use this copy"
_PACK = (
    "pack it with: tar -cf NAME.edgepkg manifest.toml image.tar; if it was not packed by hand, do not use it"
)
_MAYBE_TAMPERED = "do not use this package; ask its maker where it comes from"

_E, _W, _N, _I = Severity.ERROR, Severity.WARNING, Severity.NOTICE, Severity.INFO

_ROWS: tuple[tuple[str, int, Severity, str, str], ...] = (
    # 1xx: the archive
    ("archive.read_failed", 101, _E, "The file is not a package.", "copy the package again; it must be a plain tar, not compressed"),
    ("archive.entry_read_failed", 102, _E, "The package is damaged inside.", _NEW_COPY),
    ("archive.truncated", 103, _W, "The package ends too early.", "let the copy finish, or copy it again"),
    ("archive.trailing_data", 104, _E, "Something stands behind the end of the package.", _MAYBE_TAMPERED),
    ("archive.too_many_entries", 105, _E, "The package has far too many entries.", _MAKER),
    ("archive.invalid_entry_size", 106, _E, "An entry of the package has an impossible size.", _MAKER),
    ("archive.empty_entry_path", 107, _E, "An entry of the package has no name.", _MAKER),
    ("archive.invalid_entry_path", 108, _E, "An entry of the package has a forbidden name.", _PACK),
    ("archive.nested_entry", 109, _E, "An entry of the package is not at its root.", _PACK),
    ("archive.duplicate_entry", 110, _E, "The package holds the same entry twice.", _MAYBE_TAMPERED),
    ("archive.unsafe_entry_type", 111, _E, "The package holds a link, device or other special entry.", _MAYBE_TAMPERED),
    ("archive.missing_manifest", 112, _E, "The package has no manifest.toml.", _MAKER),
    ("archive.missing_image", 113, _E, "The package has no image.tar.", _MAKER),
    ("archive.wrong_order", 114, _E, "The parts of the package are not in their order.", _BUILD),
    ("archive.unexpected_entry", 115, _E, "The package holds something that has no place in it.", _BUILD),
    ("archive.dirty_padding", 116, _E, "There is something between the entries of the package.", _MAYBE_TAMPERED),
    ("archive.missing_layout", 117, _E, "A part of the package that says where its images are is missing.", _BUILD),
    ("archive.not_ustar", 118, _E, "The package is not written as plain ustar.", _BUILD),
    # 2xx: the manifest and the package as such
    ("manifest.parse_failed", 201, _E, "The manifest cannot be read.", _MAKER),
    ("manifest.too_large", 202, _E, "The manifest is larger than 64 KiB.", _MAKER),
    ("manifest.invalid_utf8", 203, _E, "The manifest is not UTF-8 text.", _MAKER),
    ("manifest.unsupported_format_version", 204, _E, "The package has a format this version does not know.", "update Caisson on the device, or ask for a package of format 1"),
    ("manifest.invalid_created_at", 205, _E, "The package's date cannot be read.", _MAKER),
    ("manifest.invalid_package_version", 206, _E, "The package's version is not a version.", _MAKER),
    ("manifest.invalid_min_updater_version", 207, _E, "The version of Caisson that the package asks for is not a version.", _MAKER),
    ("manifest.empty_field", 208, _E, "A field of the manifest is empty.", _MAKER),
    ("manifest.invalid_reference", 209, _E, "The image reference in the manifest is not one.", _MAKER),
    ("manifest.hidden_characters", 210, _E, "The manifest holds characters that cannot be seen.", _MAYBE_TAMPERED),
    ("manifest.unknown_key", 230, _E, "The manifest has a key that this version does not know.", "check its spelling, or update Caisson on the device first"),
    ("manifest.duplicate_target", 231, _E, "The manifest names two images for the same service and kind of device.", _MAKER),
    ("package.encrypted", 232, _E, "The package is encrypted, which this version cannot read.", "ask for a package that is not encrypted"),
    ("package.device_type_mismatch", 233, _E, "The package is for another type of device.", "use the package made for this device, or correct [device] type in caissond.toml"),
    ("package.unknown_service", 211, _E, "The package is for a service that this device does not have.", "check services.toml, or use the package made for this device"),
    ("package.service_revision_mismatch", 212, _E, "The package is for another revision of the service.", "use the package made for this revision, or correct services.toml"),
    ("package.platform_mismatch", 213, _E, "The package is for another kind of machine.", "use the package made for this platform"),
    ("package.updater_too_old", 214, _E, "The package needs a newer Caisson.", "update Caisson on the device first"),
    ("package.invalid_extension", 215, _E, "The file's name does not end in .edgepkg.", "give the path of an .edgepkg file"),
    ("package.not_found", 216, _E, "There is no such file.", "check the path"),
    ("package.not_a_file", 217, _E, "The package is not a regular file.", "copy the package itself, not a link or a folder"),
    ("package.unreadable", 218, _E, "The package may not be read.", "check who may read the file"),
    ("package.changed", 219, _W, "The package changed while it was read.", "let the copy finish; it is looked at again"),
    ("package.bundle_conflict", 220, _E, "Two services of the package cannot be updated as one.", "ask for a package for each of them"),
    ("package.superseded", 221, _I, "A newer package for the same service was there too.", "nothing to do; remove the older package"),
    ("package.downgrade", 222, _E, "The package is older than what the service runs.", "ask for a newer package"),
    ("package.version_reused", 223, _E, "The package has the version that runs, but other content.", "ask the maker for a package with a new version"),
    ("package.not_for_this_device", 224, _I, "The package is for another device.", "nothing to do; use the package made for this device"),
    ("package.handled_before", 226, _I, "The package had its turn before.", ""),
    ("package.reference_taken", 225, _E, "The package's image reference belongs to something else on this device.", "ask for a package with the reference that services.toml names"),
    # 3xx: the image
    ("image.empty_archive", 301, _E, "The package's image.tar is empty.", _MAKER),
    ("image.truncated", 302, _E, "The image ends too early.", _MAKER),
    ("image.missing_manifest", 303, _E, "The image has no manifest.json.", "make image.tar with docker save"),
    ("image.missing_config", 304, _E, "The image has no configuration.", _MAKER),
    ("image.missing_layer", 305, _E, "A layer of the image is missing.", _MAKER),
    ("image.invalid_manifest", 306, _E, "The manifest of the image cannot be read.", _MAKER),
    ("image.invalid_config", 307, _E, "The image's configuration cannot be read.", _MAKER),
    ("image.not_single", 308, _E, "The archive does not hold exactly one image.", "put exactly one image into the package"),
    ("image.bad_link", 309, _E, "A link inside the image leads nowhere.", _MAYBE_TAMPERED),
    ("image.layer_count_mismatch", 310, _E, "The image has not as many layers as it says.", _MAKER),
    ("image.too_many_layers", 311, _E, "The image has more than 127 layers.", "build the image with fewer layers"),
    ("image.config_digest_mismatch", 312, _E, "The image's configuration is not what it says it is.", _MAYBE_TAMPERED),
    ("image.layer_mismatch", 313, _E, "A layer of the image is not what it says it is.", _NEW_COPY),
    ("image.unsupported_compression", 314, _E, "A layer is packed in a way this version cannot read.", "make image.tar with docker save"),
    ("image.too_large", 315, _E, "The image unpacks to more than it may.", _MAKER),
    ("image.platform_mismatch", 316, _E, "The image is for another kind of machine than its manifest says.", _MAKER),
    ("image.no_healthcheck", 317, _E, "The image has no health check, but the catalog asks for one.", "add a HEALTHCHECK to the image, or use kind = \"running\""),
    ("image.missing_blob", 320, _E, "A part of the image is missing.", _NEW_COPY),
    ("image.surplus_blob", 321, _E, "The package holds a part that belongs to none of its images.", _MAYBE_TAMPERED),
    ("image.manifest_digest_mismatch", 322, _E, "The image's manifest is not what the package's manifest says.", _NEW_COPY),
    ("image.invalid_index", 323, _E, "The package's index.json cannot be read, or names other images.", _BUILD),
    ("image.invalid_layout", 324, _E, "The package's oci-layout cannot be read.", _BUILD),
    ("image.size_mismatch", 325, _E, "The image has not the size that the manifest says.", _MAKER),
    ("image.unsupported_media_type", 326, _E, "The image holds a part of a kind that this version does not know.", _BUILD),
    # 4xx: trust
    ("trust.unsigned", 401, _E, "The package is not signed.", "ask its maker for a signed one, or let it in with --allow-unsigned or [trust] allow_unsigned = true"),
    ("trust.no_signers", 402, _E, "This device has not been told whom to trust.", "write the signers' public keys to allowed_signers in /etc/caisson, or set [trust] allow_unsigned = true"),
    ("trust.malformed_signature", 403, _E, "The package's signature cannot be read.", "copy the package again; if it was not damaged on the way, do not use it"),
    ("trust.bad_signature", 404, _E, "The package's signature is not of this package.", "do not use this package: it was damaged or changed after it was signed"),
    ("trust.wrong_namespace", 405, _E, "The signature or the signer's key is meant for something else than packages.", "sign with caisson package sign or ssh-keygen -Y sign -n caisson-package; check namespaces= in allowed_signers"),
    ("trust.unsupported_key", 406, _E, "A key is of a kind that is not used here.", "sign with an ed25519, sk-ed25519, ECDSA P-256 or RSA key of 3072 bits or more"),
    ("trust.unknown_signer", 407, _E, "Nobody whom this device trusts has signed the package.", "ask its maker which key it was signed with; compare with caisson trust list"),
    ("trust.revoked", 408, _E, "The package is signed with a key that was revoked.", "do not use this package; ask its maker for one signed with another key"),
    ("trust.expired", 409, _E, "The key that signed the package has expired.", "check the clock with caisson trust check; else ask for a package signed with a newer key"),
    ("trust.not_yet_valid", 410, _E, "The key that signed the package is not valid yet.", "check the clock, and valid-after= in allowed_signers"),
    ("trust.not_for_service", 411, _E, "The signer may not sign for this service.", "check signers of the service in services.toml; compare with caisson trust list"),
    ("trust.too_few_signatures", 412, _E, "Too few different keys have signed the package.", "ask for the missing signatures (caisson package sign), or lower [trust] required_signatures"),
    ("trust.invalid_signers", 420, _E, "The list of allowed signers has a mistake, so nobody is trusted.", "correct the line; caisson trust check shows all mistakes"),
    ("trust.cert_authority", 421, _E, "The list of allowed signers names a certificate authority, which is not supported.", "name the public keys of the signers themselves"),
    ("trust.invalid_revoked_keys", 422, _E, "The list of revoked keys has a mistake, so nobody is trusted.", "correct the line; caisson trust check shows all mistakes"),
    ("trust.binary_krl", 423, _E, "The list of revoked keys is a binary one.", "write the revoked public keys into it, one a line, instead of what ssh-keygen -k made"),
    ("trust.unreadable", 424, _E, "A list of signers or of revoked keys cannot be read, so nobody is trusted.", "check the file and who may read it"),
    ("trust.writable_by_others", 431, _W, "Others than root may write to a file that says whom to trust.", "chown root FILE; chmod go-w FILE"),
    ("trust.clock_behind", 432, _W, "The clock is behind a time that has certainly passed.", "set the clock; if it is right, caisson trust reset-time"),
    # 5xx: Docker and the services
    ("docker.unavailable", 501, _E, "Docker does not answer.", "start Docker: systemctl start docker; updates go on by themselves"),
    ("docker.error", 502, _E, "Docker refused a request.", "read journalctl -u docker"),
    ("docker.not_found", 503, _E, "Docker does not know the container or image.", "somebody removed it by hand; check docker ps -a"),
    ("docker.conflict", 504, _E, "Docker says the name or object is in use.", "check docker ps -a for leftovers"),
    ("docker.load_failed", 505, _E, "Docker could not load the image.", "check free space and journalctl -u docker"),
    ("docker.load_mismatch", 506, _E, "What Docker loaded is not what was verified.", "check the disk and journalctl -u docker"),
    ("docker.sync_failed", 507, _E, "The loaded image could not be written to the disk safely.", "check the disk: dmesg, smartctl"),
    ("docker.answered", 508, _N, "Docker answers again.", ""),
    ("docker.port_held", 509, _W, "Docker holds a port for no container, as after a power cut; Docker is started again.", "nothing; all containers are down for a moment"),
    ("docker.containerd_unreachable", 512, _E, "What a cut-off load left in containerd's image store cannot be looked for.", "is containerd's program ctr there? ctr version; the package waits and is tried again"),
    ("host.disk_full", 510, _E, "There is not enough space.", "free space on the device, then try again"),
    ("host.io_error", 511, _E, "The device's own disk cannot be read or written.", "check the disk: dmesg, smartctl"),
    ("service.missing", 520, _E, "The service's container does not exist.", "create the container once, with the name that services.toml gives"),
    ("service.auto_remove", 521, _E, "The service was started with --rm and would vanish when stopped.", "start it without --rm"),
    ("service.paused", 522, _W, "The service is paused, so the update waits.", "docker unpause it"),
    ("service.at_work", 519, _W, "The service has something to do that ends by itself, so the update waits.", "wait until it is done, or stop it; one that runs for good wants another kind of health check"),
    ("service.has_dependants", 523, _E, "Other containers live in this service's network, or link to it.", "name them in dependants of [services.docker] or [services.compose], or give them a network of their own"),
    ("service.claimed_elsewhere", 524, _E, "Another Caisson on this machine looks after this container.", "use the --root or --state-dir of that one"),
    ("service.leftovers", 525, _E, "A container with one of Caisson's temporary names is in the way.", "look at it with docker ps -a and remove it"),
    ("service.unsettled", 526, _E, "An earlier update of this service is not settled.", "read caisson history list, and help where it says what is stuck"),
    ("service.cannot_be_probed", 529, _E, "The service's health check cannot be carried out from here.", "see docs/gate.md: a container without a network of this host's wants kind = \"exec\""),
    ("service.unknown", 528, _E, "There is no such service in the catalog.", "see caisson service list"),
    ("compose.unavailable", 531, _E, "Docker Compose is not there, or too old.", "install it: apt install docker-compose, or Docker's docker-compose-plugin; version 1.28 or any from 2.0 on will do"),
    ("compose.invalid", 532, _E, "The Compose project cannot be resolved.", "correct its files, or [services.compose] in services.toml; caisson compose SERVICE -- config shows what Compose says"),
    ("compose.unknown_service", 533, _E, "The Compose project has no such service.", "check service, more_files and profiles of [services.compose] in services.toml"),
    ("compose.no_image", 534, _E, "The Compose service has no image name.", "give it one in the Compose file: image: NAME:TAG"),
    ("compose.image_pinned", 535, _E, "The Compose service wants one image by its digest, so another one cannot take its place.", "name the image by a tag in the Compose file: image: NAME:TAG"),
    ("compose.image_missing", 536, _E, "Compose would fetch an image from a network.", "load the image first, with docker load or a package; nothing is ever fetched"),
    # 6xx: the update
    ("release.quarantined", 601, _E, "This release failed here before and is not tried again.", "ask for a newer release"),
    ("release.too_many_attempts", 602, _E, "This release was cut off or failed too often.", "ask for a newer release, and read the log of the attempts"),
    ("release.held", 604, _E, "Somebody went back from this release by hand.", "bring a newer release, or lift the hold: caisson rollback SERVICE --lift"),
    ("rollback.nothing_before", 605, _E, "There is no earlier release to go back to.", "load a package of the wanted release with --allow-downgrade"),
    ("rollback.image_gone", 606, _E, "The image of the earlier release was removed by hand.", "load a package of the wanted release with --allow-downgrade"),
    ("release.already_installed", 603, _I, "The service runs this release already.", ""),
    ("policy.monitor", 607, _N, "The service is only watched: the package is right, and is not applied.", "to apply it, take mode = \"monitor\" out of services.toml"),
    ("policy.pinned", 608, _W, "The service is pinned, so it is not updated.", "to update it, take pinned out of services.toml"),
    ("policy.soak", 639, _N, "The release has to be known for a while before it is applied.", "wait, or caisson approve PACKAGE; the stick may be removed and brought again"),
    ("policy.window", 640, _N, "The package waits for its maintenance window.", "wait, or caisson approve PACKAGE; the stick has to be in when the window opens"),
    ("policy.clock", 641, _W, "The clock cannot be believed, so no maintenance window opens.", "set the clock, or caisson approve PACKAGE"),
    ("policy.hold", 642, _N, "A hold file says that no update may begin.", "wait until the application removes it, or remove it"),
    ("gate.exited", 611, _E, "The new release stopped by itself.", "ask its maker: the release was removed again, with its log"),
    ("gate.restarting", 612, _E, "The new release keeps restarting.", "ask its maker: the release was removed again, with its log"),
    ("gate.out_of_memory", 613, _E, "The new release ran out of memory.", "raise its limit, or ask its maker"),
    ("gate.unhealthy", 614, _E, "The new release says that it is not healthy.", "ask its maker: the release was removed again, with its log"),
    ("gate.timed_out", 615, _E, "The new release did not become healthy in time.", "raise timeout_secs, or ask its maker"),
    ("gate.no_healthcheck", 616, _E, "The container has no health check, but the catalog asks for one.", "add a HEALTHCHECK to the image, or use kind = \"running\""),
    ("gate.probe_failed", 617, _E, "The new release does not pass its check.", "ask its maker; compare [services.health_check] in services.toml"),
    ("update.interrupted", 621, _W, "The update was cut off and is undone; it is tried again.", ""),
    ("update.started", 622, _N, "An update begins.", ""),
    ("update.loading", 623, _I, "The new image goes into Docker.", ""),
    ("update.stopping_old", 624, _I, "The old release is stopped.", ""),
    ("update.checking", 625, _I, "The new release runs and is watched.", ""),
    ("update.committed", 626, _N, "The service runs the new release.", ""),
    ("update.rolling_back", 627, _W, "The update failed; the old release is brought back.", ""),
    ("update.rolled_back", 628, _E, "The service runs its old release again.", "nothing needs to be done at the device"),
    ("update.rollback_failed", 629, _E, "The old release could not be brought back as it was.", "an engineer must look: caisson history show, docker ps -a"),
    ("update.step_stuck", 630, _E, "One part of the way back did not work; the rest goes on.", "an engineer must look: docker ps -a"),
    ("update.step_failed", 631, _E, "A step of the update failed.", ""),
    ("update.recovering", 632, _W, "An update was cut off; it is settled first.", ""),
    ("update.ungated", 633, _N, "The service was stopped before and stays stopped, so its new release was not tried.", "start the service when it is wanted"),
    ("update.failing_before", 636, _W, "The service failed its check before the update already.", "read what the check says; with baseline = true in services.toml it is not held against the new release"),
    ("update.cleanup_failed", 634, _W, "Cleaning up after an update did not work; it is tried again.", "if it comes again and names a container: docker rm NAME says what keeps it"),
    ("update.went_back", 638, _N, "The service was moved back to its earlier release by hand.", ""),
    ("update.postponed", 637, _W, "A package has to wait.", ""),
    # 7xx: settings, catalog, state
    ("settings.invalid", 701, _E, "The settings have a mistake.", "correct the file; until then the settings before stay in force"),
    ("catalog.invalid", 702, _E, "The catalog has a mistake.", "correct the file; until then the catalog before stays in force"),
    ("catalog.missing", 703, _E, "There is no catalog.", "write services.toml: see the README"),
    ("catalog.unknown_key", 704, _W, "The catalog has a key that nobody reads.", "check its spelling"),
    ("settings.reloaded", 705, _N, "Settings and catalog were read again.", ""),
    ("settings.unreadable", 706, _E, "The settings or the catalog cannot be read.", "check the file and who may read it"),
    ("store.failed", 711, _E, "The state database cannot be used.", "run it as root; else check the disk and who may write to the state folder"),
    ("store.full", 712, _E, "There is no space left for the state database.", "free space on the device"),
    ("store.corrupt", 713, _E, "The state database was damaged; it was moved aside and made anew from Docker's labels.", "keep the file moved aside for its maker; check the disk"),
    ("store.rebuilt", 714, _W, "State was made anew from Docker's labels.", "check caisson service list"),
    ("store.too_new", 715, _E, "The state database was written by a newer Caisson.", "install that version again"),
    ("store.audit_broken", 716, _E, "The audit chain does not add up: somebody changed the history.", "keep the database as it is and find out who had access"),
    ("lock.busy", 721, _E, "Somebody else is updating right now.", "wait until it is done, then try again"),
    ("lock.daemon_runs", 722, _E, "caissond runs already on this state folder.", "use the one that runs: caisson status"),
    ("history.unknown", 723, _E, "There is no such update in the history.", "see caisson history list"),
    # 8xx: where packages come from
    ("inbox.incomplete", 801, _W, "A file in the inbox stays incomplete.", "let the copy finish, or copy it again"),
    ("inbox.unwatched", 803, _W, "The inbox is not watched by the kernel; it is looked at every so often.", "raise fs.inotify.max_user_watches"),
    ("inbox.stuck", 802, _W, "A handled package could not be removed from the inbox.", "remove it by hand"),
    ("media.found", 811, _I, "A medium was plugged in and is looked at.", "leave it in until it is done"),
    ("media.done", 812, _N, "The medium may be removed.", ""),
    ("media.gone", 813, _N, "The medium was removed.", "plug it in again if its packages are still wanted"),
    ("media.incomplete", 814, _W, "A file on the medium is incomplete.", "copy it again"),
    ("media.unreadable", 815, _W, "The medium cannot be read.", "try another one"),
    ("media.empty", 816, _I, "The medium holds no package.", "copy the .edgepkg file to it"),
    ("media.too_many_files", 817, _W, "The medium holds more files than are looked at.", "use a medium with only the packages on it"),
    ("media.unsupported", 818, _W, "The medium has no filesystem that can be used.", "format it as vfat (FAT32), exfat or ext4, and copy the package to it again"),
    ("media.not_mounted", 819, _W, "The medium could not be mounted.", "see journalctl -u 'caisson-media@*'; check it on a PC, or use another one"),
    ("media.too_many_packages", 820, _W, "The medium holds more packages than get a turn.", "use a medium with only the packages for this device on it"),
    ("media.needed", 824, _N, "The medium is wanted again.", "leave it in, or plug it in again"),
    ("media.receipt", 825, _I, "A receipt was written to the medium.", ""),
    ("media.receipt_failed", 826, _W, "No receipt could be written to the medium.", "take one without write protection, with free space on it; the device keeps its own receipts"),
    ("media.inventory", 827, _I, "The inventory of this device was written to the medium.", ""),
    ("update.before", 830, _I, "An update is about to begin; hooks may hold it up.", ""),
    ("hook.refused", 831, _E, "A hook of this device refused the update.", "read the reason that the hook gave; hooks are in /etc/caisson/hooks.d"),
    ("hook.later", 832, _W, "A hook of this device holds the update up for now.", ""),
    ("hook.failed", 833, _W, "A hook failed.", "read its output: journalctl -u 'caisson-hooks@*'"),
    ("hook.timed_out", 834, _W, "A hook took too long and was ended.", "make it quicker, or raise [hooks] timeout_secs"),
    ("hook.ignored", 835, _W, "A hook is not run: it could be somebody else's work.", "chown root FILE; chmod go-w FILE"),
    ("hook.unavailable", 836, _W, "Hooks cannot be run.", "see systemctl status caisson-hooks.socket"),
    ("hook.dropped", 837, _W, "The hooks are too slow for what happens; some of it was not told to them.", "make them quicker"),
    ("led.failed", 840, _W, "A LED cannot be set.", "compare [leds] with ls /sys/class/leds; see systemctl status caisson-leds.socket"),
    ("console.failed", 845, _W, "The console cannot be written to.", "check [console] tty, and who may write to it"),
    ("device.not_provisioned", 850, _W, "This device has not been told what to update, or whom to trust.", "write services.toml and allowed_signers in /etc/caisson"),
    ("device.provisioned", 851, _N, "This device knows now what to update and whom to trust.", ""),
    # 9xx: the daemon and the command line
    ("daemon.started", 901, _N, "caissond is ready.", ""),
    ("daemon.waiting", 902, _W, "caissond waits for Docker.", "start Docker: systemctl start docker; updates go on by themselves"),
    ("daemon.stopping", 903, _N, "caissond was asked to stop.", ""),
    ("daemon.stopped", 904, _N, "caissond has stopped.", ""),
    ("daemon.failed", 905, _E, "caissond met a mistake of its own; it goes on.", "report this with the log: it is a bug"),
    ("receipt.failed", 906, _W, "A receipt could not be written.", "check free space in the state folder"),
    ("package.received", 911, _N, "A package came in.", ""),
    ("package.accepted", 912, _I, "The package is right for this device.", ""),
    ("sign.key_unreadable", 951, _E, "The signing key cannot be read.", "give the path of an OpenSSH key file"),
    ("sign.key_invalid", 952, _E, "The file is no OpenSSH key.", "make one with ssh-keygen -t ed25519 or caisson package keygen"),
    ("sign.wrong_passphrase", 953, _E, "The passphrase is not the key's.", "try again"),
    ("sign.unsupported_key", 954, _E, "Packages are not signed with a key of this kind.", "use an ed25519, sk-ed25519, ECDSA P-256 or RSA key of 3072 bits or more"),
    ("sign.no_agent", 955, _E, "The ssh-agent cannot be reached.", "start it and add the key with ssh-add, or give the private key file"),
    ("sign.agent_failed", 956, _E, "The ssh-agent did not sign.", "see ssh-add -l; a security key wants to be touched, a locked agent to be unlocked"),
    ("sign.key_not_in_agent", 957, _E, "The ssh-agent does not hold this key.", "add it with ssh-add"),
    ("sign.key_exists", 958, _E, "There is such a file already, and it is not overwritten.", "give another path, or remove the file"),
    ("sign.key_too_open", 959, _E, "Others may read the private key.", "chmod 600 the key file, and think about who has read it"),
    ("build.cannot_write", 960, _E, "The output cannot be written.", "check the folder, who may write to it, and free space"),
    ("build.cannot_read", 961, _E, "An input cannot be read.", "check the path, which ends at its first colon, and who may read the file"),
    ("build.which_image", 962, _E, "The input does not hold exactly one image of this name.", "name the image behind the path: docker-archive:FILE:REFERENCE"),
    ("build.layer_too_large", 963, _E, "A layer is larger than a package can hold.", "build the image with smaller layers: 8 GiB is the most"),
    ("usage.cannot_write", 980, _E, "The answer could not be written.", "check where standard output goes"),
    ("usage.wrong", 964, _E, "The command was not understood.", "see caisson --help"),
    ("build.no_reference", 965, _E, "Nobody said what the image is to be called on the device.", "give --reference SERVICE=NAME:TAG"),
    ("build.no_created_at", 966, _E, "Nobody said when the release was made.", "give --created-at, or set SOURCE_DATE_EPOCH"),
    ("build.no_platform", 967, _E, "An image is not there for the platform asked for.", "check --platform, or make the image for it"),
    ("build.no_revision", 968, _E, "Nobody said which revision of the service the release is for.", "give --service-revision REVISION, as it stands in the device's services.toml"),
    ("build.format_1", 969, _E, "Packages of format 1 cannot be signed.", "convert it first: caisson package convert OLD NEW"),
    ("build.unknown_image", 970, _E, "The local engine does not have the image.", "check docker image ls, or docker pull it"),
    ("build.format_2", 971, _E, "The package has format 2 already.", "use it as it is; caisson package sign adds a signature"),
    ("build.digest_mismatch", 972, _E, "A part of an input is not what its digest says.", "copy the input again, or make it anew"),
    ("build.unknown_service", 973, _E, "An option names a service that no image was given for.", "check its spelling against --image"),
    ("build.invalid_layout", 974, _E, "The input is not an OCI image layout that can be read.", "make it with skopeo copy, or docker buildx build --output type=oci"),
    ("build.use_ssh_keygen", 975, _E, "This machine has ssh-keygen, which makes signing keys.", "type: ssh-keygen -t ed25519 -f FILE"),
)  # fmt: skip

EVENTS: dict[str, EventSpec] = {row[0]: EventSpec(*row) for row in _ROWS}


def hint_for(code: str) -> str:
    """What the operator can do about this code; empty for one that asks for nothing."""
    spec = EVENTS.get(code)
    return spec.hint if spec else ""
