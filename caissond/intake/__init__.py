"""Where packages come from: the inbox and mounted media. Events are hints; what to do is decided by scanning."""
