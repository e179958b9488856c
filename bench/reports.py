"""What the row `reports` needs: a relay that remembers envelopes, bounces of them, and a mailbox of Dovecot's to put them in."""

import asyncio
import imaplib
import os
import re
import subprocess
import threading
import uuid

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts")


class Catcher:
    """A relay that takes every message and remembers its envelope, for as long as the process runs."""

    def __init__(self):
        self.envelopes, self.port = [], None
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait()

    async def _serve(self, ready):
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def _talk(self, reader, writer):
        writer.write(b"220 catcher ESMTP\r\n")
        sender = None
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-catcher\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif verb == b"MAIL":
                    sender = re.search(rb"<(.*?)>", line)[1].decode()
                    writer.write(b"250 ok\r\n")
                elif verb == b"RCPT":
                    self.envelopes.append((sender, re.search(rb"<(.*?)>", line)[1].decode()))
                    writer.write(b"250 ok\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 taken\r\n")
                elif verb == b"QUIT":
                    break
                else:
                    writer.write(b"250 ok\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


def dsn(return_path, recipient):
    """What Postfix sends back for a recipient that isn't there."""
    return (
        f"Return-Path: <>\r\nDelivered-To: {return_path}\r\nFrom: MAILER-DAEMON@mx.test (Mail Delivery System)\r\n"
        f"Subject: Undelivered Mail Returned to Sender\r\nTo: {return_path}\r\nAuto-Submitted: auto-replied\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"BB\"\r\n"
        f"Message-Id: <{uuid.uuid4().hex}@mx.test>\r\n\r\n--BB\r\nContent-Type: text/plain\r\n\r\n"
        "I'm sorry to have to inform you that your message could not be delivered.\r\n\r\n"
        "--BB\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n"
        f"X-Postfix-Sender: rfc822; {return_path}\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\n"
        f"Original-Recipient: rfc822;{recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.remote.test\r\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: User unknown\r\n\r\n"
        f"--BB\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path: <{return_path}>\r\nTo: {recipient}\r\n"
        "Subject: News\r\n\r\n--BB--\r\n").encode()


class Mailbox:
    """A mailbox of Dovecot's that nobody else uses; the mail world around it is started and ended with it."""

    def __init__(self, state):
        self.folder = os.path.join(state, "world")
        self.user = "bench" + uuid.uuid4().hex[:12]

    def __enter__(self):
        self._world("start")
        with open(os.path.join(self.folder, "world.env"), encoding="ascii") as file:
            places = dict(line.strip().split("=", 1) for line in file if "=" in line)
        self.port, self.password = int(places["WORLD_IMAP_PORT"]), places["WORLD_PASSWORD"]
        self.client = imaplib.IMAP4("127.0.0.1", self.port)
        self.client.login(self.user, self.password)
        return self

    def __exit__(self, *_):
        try:
            self.client.logout()
        finally:
            self._world("stop")

    def _world(self, command):
        subprocess.run([os.path.join(SCRIPTS, "world"), command, self.folder], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def put(self, message):
        self.client.append("INBOX", None, None, message)

    def n_messages(self):
        return int(self.client.status("INBOX", "(MESSAGES)")[1][0].split()[-1].strip(b")"))
