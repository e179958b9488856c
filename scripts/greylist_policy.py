"""Greylisting for the private mail world: a Postfix policy service (SMTPD_POLICY_README) on a unix socket.

The first time it is asked about a recipient it starts a clock; until that has run the answer is 450, afterwards the
recipient passes. Keyed by recipient alone: the world has one client. State is in memory and ends with the process.

usage: greylist_policy.py SOCKET SECONDS USER
"""

import asyncio
import os
import pwd
import socket
import sys
import time


def answer(first_asked: dict[str, float], recipient: str, hold_seconds: float, now: float) -> str:
    """The action for one RCPT TO of `recipient` at `now` (monotonic seconds)."""
    age_seconds = now - first_asked.setdefault(recipient.lower(), now)
    if age_seconds < hold_seconds:
        wait_seconds = int(hold_seconds - age_seconds) + 1
        return f"450 4.7.1 Greylisted, please come back in {wait_seconds} seconds"
    return "DUNNO"


async def converse(reader, writer, first_asked: dict[str, float], hold_seconds: float) -> None:
    """One connection of a Postfix smtpd: requests of name=value lines, each ended by an empty line."""
    try:
        recipient = ""
        while line := await reader.readline():
            name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition("=")
            if name == "recipient":
                recipient = value
            elif not name:
                action = answer(first_asked, recipient, hold_seconds, time.monotonic())
                writer.write(f"action={action}\n\n".encode())
                await writer.drain()
                recipient = ""
    except (ConnectionError, ValueError):
        pass  # smtpd went away, or a line beyond the reader's limit: Postfix asks again on a new connection
    finally:
        writer.close()


async def serve(listener: socket.socket, hold_seconds: float) -> None:
    first_asked: dict[str, float] = {}

    async def accept(reader, writer):
        await converse(reader, writer, first_asked, hold_seconds)

    server = await asyncio.start_unix_server(accept, sock=listener)
    await server.serve_forever()


def main() -> None:
    path, hold_seconds, user = sys.argv[1], float(sys.argv[2]), pwd.getpwnam(sys.argv[3])
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(128)
    if os.getuid() == 0:  # only now, so that this file may lie where that user can't read
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    try:
        asyncio.run(serve(listener, hold_seconds))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
