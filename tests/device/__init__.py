"""A real machine: Debian with the .deb, systemd, udev, Docker and USB in QEMU (./dev device; docs/device-tests.md)."""
