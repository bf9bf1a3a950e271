"""What survives a power cut: the SQLite database and the locks."""
