"""Pure data without I/O: what packages, settings, records and events look like."""
