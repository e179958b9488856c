"""Messages per second end to end, against Postfix's smtp-source with the same size, connections and sink.

Ours: a campaign of N recipients with three variables and three tracked links, from Postgres through rendering, intents,
the wire and settles; measured from the first MAIL FROM to the last settle, and from `start` to `sent`. Theirs:
`smtp-source -d` pushes canned bytes of the same length. Both take turns at a fresh `smtp-sink`; medians of the rounds.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

WORDS = "The quick brown fox jumps over the lazy dog and runs on through the quiet wood until the evening comes. "


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


def html(n_bytes):
    """About n_bytes of HTML once it is a message: three variables, three links."""
    links = "".join(f'<p><a href="https://shop.example/{n}?ref=spring">Offer {n}</a></p>' for n in range(3))
    head = f"<html><body><p>Dear {{{{first_name}}}},</p><p>{{{{n_orders}}}} orders from {{{{city}}}}.</p>{links}<p>"
    tail = "</p></body></html>"
    return head + (WORDS * 100)[: max(0, n_bytes - len(head) - len(tail))] + tail


def listen_wait(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"smtp-sink does not listen on port {port}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sink:
    """A fresh smtp-sink on a port."""

    def __init__(self, port, dump=None):
        command = ["smtp-sink"] + (["-u", "nobody"] if os.geteuid() == 0 else [])
        command += (["-d", dump + "/message."] if dump else []) + [f"127.0.0.1:{port}", "1024"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        listen_wait(port)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def theirs(port, n_messages, n_connections, n_bytes):
    sink = Sink(port)
    began = time.monotonic()
    subprocess.run(
        ["smtp-source", "-d", "-s", str(n_connections), "-l", str(n_bytes), "-m", str(n_messages),
         "-f", "news@sender.test", "-t", "reader@example.test", f"127.0.0.1:{port}"],
        check=True, stdin=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    sink.stop()
    return n_messages / seconds


def psql(folder, query):
    command = ["psql", "-h", folder, "-U", "postrider", "-d", "postgres", "-tAc", query]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"psql: {done.stderr}")
    return done.stdout.strip()


class Ours:
    """A workspace with a list of N recipients, sent once a round."""

    def __init__(self, arguments, port):
        self.arguments, self.port = arguments, port
        operator = Api(arguments.url, os.environ["BENCH_OPERATOR_KEY"])
        workspace = operator.call("POST", "/v1/workspaces", {"name": "Bench"})["id"]
        scopes = [f"{noun}.{verb}" for noun in
                  ["lists", "recipients", "subscriptions", "templates", "sender_domains", "relays", "campaigns"]
                  for verb in ["read", "write"]] + ["campaigns.send"]
        key = operator.call("POST", f"/v1/workspaces/{workspace}/keys", {"name": "bench", "scopes": scopes})["secret"]
        self.api = Api(arguments.url, key)
        self.list = self.api.call("POST", "/v1/lists", {"name": "Everyone"})["id"]
        one = self.api.call("POST", "/v1/lists", {"name": "One"})["id"]
        self.api.call("POST", "/v1/recipients/bulk", {"list_ids": [one], "items": [
            {"address": "one@example.test", "attributes": {"first_name": "Reader 10000", "n_orders": 10, "city": "Lyon"}}]})
        for first in range(0, arguments.messages, 10000):
            items = [{"address": f"reader{n}@example{n % 7}.test",
                      "attributes": {"first_name": f"Reader {n}", "n_orders": n % 50, "city": "Lyon"}}
                     for n in range(first, min(first + 10000, arguments.messages))]
            self.api.call("POST", "/v1/recipients/bulk", {"items": items, "list_ids": [self.list]})
        self.api.call("POST", "/v1/sender-domains", {"domain": "sender.test", "return_path_domain": "bounces.test"})
        self.api.call("POST", "/v1/relays", {
            "name": "sink", "host": "127.0.0.1", "port": port, "tls": "none", "max_connections": arguments.connections,
            "messages_per_connection": 1000000})
        self.html_bytes = arguments.bytes
        self.html_bytes += arguments.bytes - self.weigh(one)
        # The server's caches and the planner's statistics as after a night in use.
        psql(arguments.database, "vacuum analyze")

    def send(self, audience):
        """A campaign from its start to `sent`; answers the seconds."""
        content = {"subject": "News for {{first_name}}", "html": html(self.html_bytes), "text": "Hello {{first_name}}"}
        campaign = self.api.call("POST", "/v1/campaigns", {
            "name": "bench", "from": {"name": "Shop", "address": "news@sender.test"}, "content": content,
            "audience": {"lists": [audience]}, "tracking": {"opens": True, "clicks": True}})["id"]
        began = time.monotonic()
        self.api.call("POST", f"/v1/campaigns/{campaign}/start")
        while True:
            found = self.api.call("GET", f"/v1/campaigns/{campaign}")
            if found["state"] != "sending":
                return time.monotonic() - began
            if time.monotonic() - began > 600:
                sys.exit(f"the campaign did not end within 600 s: {found}")
            time.sleep(0.1)

    def weigh(self, audience):
        """Bytes of one message on the wire."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            sink = Sink(self.port, folder)
            self.send(audience)
            sink.stop()
            files = os.listdir(folder)
            if len(files) != 1:
                sys.exit(f"one message was expected, {len(files)} arrived")
            with open(os.path.join(folder, files[0]), "rb") as file:
                # The sink puts lines of its own in front, which begin with X-, and saves line ends as LF.
                lines = [line for line in file.read().split(b"\n") if not line.startswith((b"X-Client", b"X-Helo", b"X-Mail", b"X-Rcpt"))]
                return sum(len(line) + 2 for line in lines)

    def round(self):
        sink = Sink(self.port)
        whole = self.send(self.list)
        sink.stop()
        facts = psql(self.arguments.database, f"""
            select count(*) filter (where d.state = 'accepted'),
                   extract(epoch from max(a.started_at + make_interval(secs => a.duration_ms / 1000.0)) - min(a.started_at)),
                   extract(epoch from max(d.updated_at) - min(a.started_at))
            from deliveries d join attempts a on a.workspace_id = d.workspace_id and a.delivery_id = d.id
            where d.campaign_id = (select id from campaigns order by id desc limit 1)""")
        n_accepted, _, seconds = facts.split("|")
        if int(n_accepted) != self.arguments.messages:
            sys.exit(f"{n_accepted} of {self.arguments.messages} were accepted")
        return int(n_accepted) / float(seconds), int(n_accepted) / whole


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--messages", type=int, default=50000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=4096)
    arguments = parser.parse_args()
    port = free_port()
    ours = Ours(arguments, port)
    settings = {name: psql(arguments.database, f"show {name}") for name in ("fsync", "synchronous_commit")}
    ours_wire, ours_whole, source = [], [], []
    for number in range(arguments.rounds):
        wire, whole = ours.round()
        other = theirs(port, arguments.messages, arguments.connections, arguments.bytes)
        print(f"round {number + 1}: ours {wire:,.0f}/s ({whole:,.0f}/s from start to sent), smtp-source {other:,.0f}/s", flush=True)
        ours_wire.append(wire)
        ours_whole.append(whole)
        source.append(other)
    wire, whole, other = map(statistics.median, (ours_wire, ours_whole, source))
    print(f"\n{'row':<12}{'ours/s':>10}{'start-sent/s':>14}{'smtp-source/s':>15}{'ratio':>8}")
    print(f"{'throughput':<12}{wire:>10,.0f}{whole:>14,.0f}{other:>15,.0f}{wire / other:>8.2f}")
    print(json.dumps({
        "row": "throughput", "ours": round(wire), "against": round(other), "ratio": round(wire / other, 3),
        "ours_start_to_sent": round(whole), "ratio_start_to_sent": round(whole / other, 3),
        "conditions": {"messages": arguments.messages, "connections": arguments.connections, "bytes": arguments.bytes,
                       "rounds": arguments.rounds, "doubt_window": 8, "dkim": False, "tls": False, "tracked_links": 3,
                       "variables": 3, "cores": os.cpu_count(), **settings}}))


if __name__ == "__main__":
    main()
