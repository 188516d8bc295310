"""``python -m ehlo.compat.aiosmtpd``."""

from __future__ import annotations

from ehlo.compat.aiosmtpd.main import main

if __name__ == "__main__":
    main()
