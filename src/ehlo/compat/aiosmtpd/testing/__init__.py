"""What aiosmtpd offers to tests: a handler that keeps its mail, helpers for sockets, and the texts of all replies."""
