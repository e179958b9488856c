"""Reports per second: a mailbox of N genuine bounces in Dovecot, from the moment it is named to the last consequence.

A campaign to N recipients gives the return paths (a sink takes the messages); a DSN of Postfix's shape for each is put into
a mailbox of Dovecot's, and only then the service learns of that mailbox. Measured: until every delivery is `bounced` with its
suppression, until the folder is empty, and what memory the service takes meanwhile.
"""

import argparse
import asyncio
import imaplib
import json
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid


class Api:
    """The public API with one key."""

    def __init__(self, url, key):
        self.url, self.key = url, key

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", "Bearer " + self.key)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()[:2000]}")
        return json.loads(text) if text else None


class Sink:
    """Takes every message and remembers its envelope."""

    def __init__(self):
        self.envelopes, self.port = [], None
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(ready)), daemon=True).start()
        ready.wait()

    async def serve(self, ready):
        server = await asyncio.start_server(self.hold, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def hold(self, reader, writer):
        writer.write(b"220 sink ESMTP\r\n")
        sender = None
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
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


class Memory:
    """What the service takes, looked at ten times a second."""

    def __init__(self, pid):
        self.pid, self.peak = pid, 0
        self.before = self.look()
        threading.Thread(target=self.watch, daemon=True).start()

    def look(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024

    def watch(self):
        while True:
            try:
                self.peak = max(self.peak, self.look())
            except OSError:
                return
            time.sleep(0.1)


def wait(what, seconds, is_done):
    began = time.monotonic()
    while not is_done():
        if time.monotonic() - began > seconds:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def world(path):
    with open(path, encoding="ascii") as file:
        return dict(line.strip().split("=", 1) for line in file if "=" in line)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--world", required=True, help="world.env of a mail world that runs")
    parser.add_argument("--pid", required=True, help="the service's")
    parser.add_argument("--reports", type=int, default=10000)
    arguments = parser.parse_args()
    n_reports, places = arguments.reports, world(arguments.world)
    password, imap_port = places["WORLD_PASSWORD"].strip("'\""), int(places["WORLD_IMAP_PORT"])

    operator = Api(arguments.url, os.environ["BENCH_OPERATOR_KEY"])
    workspace = operator.call("POST", "/v1/workspaces", {"name": "Bench"})["id"]
    nouns = ["lists", "recipients", "subscriptions", "templates", "sender_domains", "relays", "campaigns", "mailboxes"]
    scopes = [f"{noun}.{verb}" for noun in nouns for verb in ["read", "write"]] + ["campaigns.send", "suppressions.read"]
    api = Api(arguments.url, operator.call(
        "POST", f"/v1/workspaces/{workspace}/keys", {"name": "bench", "scopes": scopes})["secret"])
    everyone = api.call("POST", "/v1/lists", {"name": "Everyone"})["id"]
    for first in range(0, n_reports, 5000):
        items = [{"address": f"reader{n}@example{n % 7}.test"} for n in range(first, min(first + 5000, n_reports))]
        api.call("POST", "/v1/recipients/bulk", {"items": items, "list_ids": [everyone]})
    sink = Sink()
    api.call("POST", "/v1/sender-domains", {"domain": "sender.test", "return_path_domain": "bounces.test"})
    api.call("POST", "/v1/relays", {
        "name": "sink", "host": "127.0.0.1", "port": sink.port, "tls": "none", "max_connections": 8,
        "messages_per_connection": 1000000})
    campaign = api.call("POST", "/v1/campaigns", {
        "name": "bench", "from": {"name": "Shop", "address": "news@sender.test"},
        "content": {"subject": "News", "text": "Hello"}, "audience": {"lists": [everyone]}})["id"]
    api.call("POST", f"/v1/campaigns/{campaign}/start")
    wait("the campaign", 600, lambda: api.call("GET", f"/v1/campaigns/{campaign}")["state"] == "sent")

    user = "bench" + uuid.uuid4().hex[:12]
    client = imaplib.IMAP4("127.0.0.1", imap_port)
    client.login(user, password)
    for return_path, recipient in sink.envelopes:
        client.append("INBOX", None, None, dsn(return_path, recipient))
    print(f"{len(sink.envelopes)} reports lie in the mailbox", flush=True)

    def n_bounced():
        return api.call("GET", f"/v1/campaigns/{campaign}/stats")["states"].get("bounced", 0)

    def n_left():
        return int(client.status("INBOX", "(MESSAGES)")[1][0].split()[-1].strip(b")"))

    memory = Memory(arguments.pid)
    began = time.monotonic()
    api.call("POST", "/v1/mailboxes", {
        "name": "Bounces", "host": "127.0.0.1", "port": imap_port, "tls": "none", "username": user, "password": password,
        "poll_seconds": 1})
    wait("the reports", 600, lambda: n_bounced() == n_reports)
    applied = time.monotonic() - began
    wait("the filing", 600, lambda: n_left() == 0)
    filed = time.monotonic() - began
    client.logout()
    print(f"\n{'row':<10}{'reports/s':>11}{'applied s':>11}{'filed s':>9}{'MB before':>11}{'MB peak':>9}")
    print(f"{'reports':<10}{n_reports / applied:>11,.0f}{applied:>11.1f}{filed:>9.1f}{memory.before:>11.0f}{memory.peak:>9.0f}")
    print(json.dumps({
        "row": "reports", "ours": round(n_reports / applied), "applied_seconds": round(applied, 1),
        "filed_seconds": round(filed, 1), "memory_before_mb": round(memory.before), "memory_peak_mb": round(memory.peak),
        "conditions": {"reports": n_reports, "server": "dovecot", "tls": False, "cores": os.cpu_count()}}))


if __name__ == "__main__":
    main()
