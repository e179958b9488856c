"""The rows of `make bench`. Each is a function of the bench that answers a Row; what they share is measured once."""

import os
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field

from installation import Installation, Workspace
from meter import forget_peak, status_bytes
from peers import Clock, Delay, Sink, free_port, signing_loop, smtp_source
from reports import Catcher, Mailbox, dsn


@dataclass
class Row:
    name: str
    ours: float
    against: float
    unit: str
    aim: str
    conditions: dict
    more: dict = field(default_factory=dict)

    @property
    def ratio(self):
        return round(self.ours / self.against, 3)


def say(words):
    print(words, file=sys.stderr, flush=True)


class Bench:
    """An installation with one workspace, and what the rows measured so far."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.service = Installation(arguments.postrider, arguments.state)
        self.window = 8
        self.sent = {}
        self.port = free_port()
        self.workspace = None

    def prepare(self):
        """Start the service, and make the message as long as it is to be."""
        self.service.start()
        self.workspace = Workspace(self.service, self.arguments.bytes)
        self.workspace.relay(self.port, self.arguments.connections)
        self.workspace.fit(self.port)

    def conditions(self, **others):
        settings = {name: self.service.psql(f"show {name}") for name in ("fsync", "synchronous_commit")}
        return {"connections": self.arguments.connections, "bytes": self.arguments.bytes, "doubt_window": self.window,
                "dkim": False, "tls": False, "tracked_links": 3, "variables": 3, "cores": os.cpu_count(),
                "load": round(os.getloadavg()[0], 1), **settings, **others}

    def restart(self, window):
        self.window = window
        self.service.start(doubt_window=window)

    def send(self, n, watch=None):
        """Send a campaign to n into a fresh sink: its speeds, CPU time a message, memory and time to the first message."""
        self.workspace.list(n)
        self.service.psql("checkpoint")
        with Sink(self.port) as sink:
            forget_peak(self.service.process.pid)
            meter = self.service.meter(sink=sink.pid)
            began = time.monotonic()
            campaign = self.workspace.start(n)
            if watch:
                watch()
            self.workspace.wait(campaign, 900)
            whole = time.monotonic() - began
            cpu = meter.microseconds(n)
        seconds, first = self.workspace.ledger(n)
        found = {"per_second": n / seconds, "start_to_sent": n / whole, "cpu_microseconds": cpu, "first_seconds": first,
                 "peak_bytes": status_bytes(self.service.process.pid, "VmHWM")}
        say(f"  {n} messages: {n / seconds:,.0f}/s, {n / whole:,.0f}/s from start to sent; CPU a message in µs: {cpu}; "
            f"peak {found['peak_bytes'] / 2**20:.0f} MiB; first after {first:.2f} s")
        self.sent.setdefault(n, found)
        return found

    def sent_once(self, n):
        """The campaign to n, sent by whichever row needs it first."""
        return self.sent.get(n) or self.send(n)


def throughput(bench):
    """A campaign against smtp-source with the same sink, connections and length, in turn."""
    n, ours, against = bench.arguments.messages, [], []
    for number in range(bench.arguments.rounds):
        found = bench.send(n)
        with Sink(bench.port):
            other = smtp_source(bench.port, n, bench.arguments.connections, bench.arguments.bytes)
        say(f"  round {number + 1}: {found['per_second']:,.0f}/s against {other:,.0f}/s")
        ours.append(found)
        against.append(other)
    middle = {key: round(statistics.median(found[key] for found in ours)) for key in ("per_second", "start_to_sent")}
    other = statistics.median(against)
    cpu = {name: statistics.median(found["cpu_microseconds"][name] for found in ours) for name in ours[0]["cpu_microseconds"]}
    return Row("throughput", middle["per_second"], round(other), "messages/s, smtp-source -d", ">= 1.2",
               bench.conditions(messages=n, rounds=bench.arguments.rounds),
               {"start_to_sent": middle["start_to_sent"], "ratio_start_to_sent": round(middle["start_to_sent"] / other, 3),
                "cpu_microseconds": cpu})


def latency(bench):
    """Over 20 connections that delay 10 ms each way: one round trip a message is 1,000/s."""
    n_connections, seconds, n = 20, 0.01, min(bench.arguments.messages, 10000)
    bench.workspace.list(n)
    with Delay(bench.port, seconds) as proxy:
        bench.workspace.relay(proxy.port, n_connections)
        found = bench.send(n)
    bench.workspace.relay(bench.port, bench.arguments.connections)
    return Row("latency", round(found["per_second"]), round(n_connections / (2 * seconds)), "messages/s, a round trip each",
               ">= 0.9", bench.conditions(messages=n, connections=n_connections, delay_each_way_milliseconds=10))


def dkim(bench):
    """A campaign signed with RSA-2048 against a loop that does nothing but sign, on all cores, in turn."""
    n, ours, against = min(bench.arguments.messages, 30000), [], []
    key = bench.workspace.signing_key()
    for number in range(bench.arguments.rounds):
        found = bench.send(n)
        other = signing_loop(bench.arguments.signing_loop, 5)
        say(f"  round {number + 1}: {found['per_second']:,.0f}/s against {other:,.0f}/s")
        ours.append(found["per_second"])
        against.append(other)
    bench.workspace.api.call("DELETE", key)
    return Row("dkim", round(statistics.median(ours)), round(statistics.median(against)), "messages/s, signatures/s", ">= 0.7",
               bench.conditions(messages=n, dkim="rsa-2048", rounds=bench.arguments.rounds))


def nodes(bench):
    """Two nodes on one Postgres share the limit of a relay, for a minute: what came in it, against the limit."""
    per_second, seconds = 500, 60
    other = bench.service.start_beside()
    try:
        bench.workspace.relay(bench.port, bench.arguments.connections, per_second)
        with Clock(bench.port) as clock:
            # Some more, so that there is work to the end.
            campaign = bench.workspace.start(per_second * (seconds + 10))
            bench.workspace.wait(campaign, 300)
    finally:
        other.terminate()
        other.wait()
        bench.workspace.relay(bench.port, bench.arguments.connections)
    first = min(clock.times)
    n_came = sum(at < first + seconds for at in clock.times)
    shares = bench.service.psql("""
        select string_agg(n::text, ' ') from (
            select count(*) as n from deliveries
            where campaign_id = (select id from campaigns order by id desc limit 1) group by accepted_by_node) nodes""")
    return Row("nodes", round(n_came / seconds, 1), float(per_second), "messages/s, the limit", "0.97 to 1.0",
               bench.conditions(seconds=seconds, nodes=2),
               {"busiest_second": round(clock.busiest(1) / per_second, 3), "messages_by_node": shares})


def doubt(bench):
    """The doubt windows against the widest, which is as good as none."""
    windows, curve = (4, 8, 16, 32, 64), {}
    n = min(bench.arguments.messages, 50000)
    # In turn, so that what else the machine does hits all alike.
    for _ in range(bench.arguments.rounds):
        for window in windows:
            bench.restart(window)
            curve.setdefault(window, []).append(bench.send(n)["per_second"])
    curve = {window: round(statistics.median(speeds)) for window, speeds in curve.items()}
    bench.restart(8)
    widest = curve[windows[-1]]
    return Row("doubt", curve[8], widest, "messages/s, window 64", "a curve", bench.conditions(messages=n),
               {"curve": {window: round(speed / widest, 3) for window, speed in curve.items()}})


def first_message(bench):
    """From `start` to the first MAIL FROM with a list of many."""
    n = bench.arguments.many
    found = bench.sent_once(n)
    return Row("first_message", round(found["first_seconds"], 3), 1.0, "s, one second", "<= 1.0", bench.conditions(messages=n))


def memory(bench):
    """The peak of the process with many against a tenth of that."""
    n = bench.arguments.many
    few, many = bench.sent_once(n // 10), bench.sent_once(n)
    mib = [round(found["peak_bytes"] / 2**20, 1) for found in (many, few)]
    return Row("memory", mib[0], mib[1], f"MiB at the peak, {n // 10} recipients", "<= 1.1, 100 MB", bench.conditions(messages=n))


def cpu(bench):
    """CPU time a message with many against a tenth of that: the service and its Postgres."""
    n = bench.arguments.many
    few, many = bench.sent_once(n // 10), bench.sent_once(n)
    own = [round(sum(found["cpu_microseconds"][name] for name in ("service", "postgres")), 1) for found in (many, few)]
    return Row("cpu", own[0], own[1], f"µs a message, {n // 10} recipients", "<= 1.1", bench.conditions(messages=n),
               {"many": many["cpu_microseconds"], "few": few["cpu_microseconds"]})


def api(bench):
    """50 requests a second while sending flat out: the 99th percentile."""
    n, spans = bench.arguments.messages, []

    def ask():
        lists = list(bench.workspace.lists.values())
        began = time.monotonic()
        for number in range(250):
            time.sleep(max(0.0, began + number / 50 - time.monotonic()))

            def once(number=number):
                asked = time.monotonic()
                paths = ("/v1/campaigns?limit=20", f"/v1/lists/{lists[number % len(lists)]}", "/v1/recipients?limit=20")
                bench.workspace.api.call("GET", paths[number % len(paths)])
                spans.append(time.monotonic() - asked)
            threading.Thread(target=once, daemon=True).start()
        time.sleep(0.5)

    bench.send(n, ask)
    spans.sort()
    milliseconds = round(spans[int(len(spans) * 0.99) - 1] * 1000, 1)
    return Row("api", milliseconds, 50.0, "ms, 99th percentile", "<= 1.0",
               bench.conditions(messages=n, requests=len(spans), requests_per_second=50))


def reports(bench):
    """A mailbox of 10,000 bounces in Dovecot, from the moment it is named to the last consequence, against 20 seconds."""
    n, aim_seconds, catcher = bench.arguments.reports, bench.arguments.reports / 500, Catcher()
    bench.workspace.list(n)
    bench.workspace.relay(catcher.port, 8)
    campaign = bench.workspace.start(n)
    bench.workspace.wait(campaign, 900)
    bench.workspace.relay(bench.port, bench.arguments.connections)
    call, pid = bench.workspace.api.call, bench.service.process.pid
    with Mailbox(bench.arguments.state) as mailbox:
        for return_path, recipient in catcher.envelopes:
            mailbox.put(dsn(return_path, recipient))
        bench.service.psql("checkpoint")
        say(f"  {len(catcher.envelopes)} reports lie in the mailbox")
        forget_peak(pid)
        before, meter, began = status_bytes(pid, "VmRSS"), bench.service.meter(), time.monotonic()
        made = call("POST", "/v1/mailboxes", {
            "name": "Bounces", "host": "127.0.0.1", "port": mailbox.port, "tls": "none", "username": mailbox.user,
            "password": mailbox.password, "poll_seconds": 1})
        applied = until("the reports are applied", began, lambda: call(
            "GET", f"/v1/campaigns/{campaign}/stats")["states"].get("bounced", 0) == n)
        filed = until("the reports are filed", began, lambda: mailbox.n_messages() == 0)
        cpu, peak = meter.microseconds(n), status_bytes(pid, "VmHWM")
        facts = bench.service.psql("""
            select (select count(*) from reports where state = 'recorded' and filed_at is not null),
                   (select count(*) from suppressions where reason = 'hard_bounce')""")
        call("DELETE", f"/v1/mailboxes/{made['id']}")
        # The other rows mail the same list.
        bench.service.psql("delete from suppressions")
    if facts != f"{n}|{n}":
        sys.exit(f"{n} reports, but recorded and suppressed are {facts}")
    return Row("reports", round(n / applied), round(n / aim_seconds), f"reports/s, {n} in {aim_seconds:g} s", ">= 1.0",
               bench.conditions(reports=n, server="dovecot"),
               {"applied_seconds": round(applied, 1), "filed_seconds": round(filed, 1), "cpu_microseconds": cpu,
                "mib_before": round(before / 2**20, 1), "mib_peak": round(peak / 2**20, 1)})


def until(what, began, is_so):
    """Seconds since `began` when it is so."""
    while not is_so():
        if time.monotonic() - began > 600:
            sys.exit(f"not within 600 s: {what}")
        time.sleep(0.05)
    return time.monotonic() - began


ROWS = {row.__name__: row for row in (throughput, latency, dkim, doubt, api, nodes, memory, cpu, first_message, reports)}
