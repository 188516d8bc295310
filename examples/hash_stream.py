"""A streaming handler: hashes mail of any size in constant memory, and answers with the digest.

    $ python examples/hash_stream.py 8025 &
    $ curl --silent --verbose smtp://localhost:8025 --mail-rcpt you@example.com --upload-file movie.mp4 2>&1 | grep 250

What it has in memory is one chunk, and the client is slowed down when the hook is the slower one.
"""

import asyncio
import hashlib
import sys

from ehlo import SMTP, Chunks, Envelope, Session, serve


class HashStream:
    async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> str:
        digest = hashlib.sha256()
        async for chunk in chunks:  # raises DataAborted if the mail does not come to its end: nothing to undo here
            digest.update(chunk)
        return f"250 2.0.0 {chunks.size} octets, SHA-256 {digest.hexdigest()}"


async def main(port: int = 8025) -> None:
    async with serve(HashStream(), port=port, data_size_limit=None) as server:
        print(f"listening on port {server.port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
