"""Who is told: journal, systemd, status file, receipts, LEDs, console, hooks."""
