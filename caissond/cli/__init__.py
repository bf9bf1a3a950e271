"""The `caisson` command: the words, options and exit codes of the Rust tool, on the daemon's own logic."""
