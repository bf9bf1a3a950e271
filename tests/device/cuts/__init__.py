"""Power cuts spread over updates: `./dev power-cuts N` (docs/device-tests.md)."""
