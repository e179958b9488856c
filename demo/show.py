"""What the demo prints: steps, progress, the funnel, a history, and the checks with their verdict."""

import sys
import time

STATES = ("queued", "sending", "deferred", "unknown", "accepted", "bounced", "rejected", "expired", "failed",
          "suppressed", "cancelled")


def step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def say(line: str) -> None:
    print(line, flush=True)


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line every two seconds, every ten where nothing changes."""

    def __init__(self):
        self.began = time.monotonic()
        self.shown_at = -10.0
        self.shown: tuple = ()
        self.on_terminal = sys.stdout.isatty()

    def show(self, stats: dict, last: bool = False) -> None:
        now, news = time.monotonic(), (stats["state"], stats["states"])
        if not self.on_terminal and not last and now - self.shown_at < (10 if news == self.shown else 2):
            return
        self.shown_at, self.shown = now, news
        counts = "  ".join(f"{state} {stats['states'][state]}" for state in STATES if stats["states"][state])
        line = f"{now - self.began:5.1f} s  {stats['state']}: {counts or 'nothing yet'}"
        if self.on_terminal:
            print(f"\r\033[K{line}", end="\n" if last else "", flush=True)
        else:
            print(line, flush=True)


def funnel(stats: dict) -> None:
    """The campaign in numbers: each indented block sums to the line above it."""
    states, opens, clicks = stats["states"], stats["opens"], stats["clicks"]
    excluded = sum(stats["excluded"].values())
    lines = [("on the list", stats["audience"] + excluded),
             ("  not part of the audience", excluded),
             *((f"    {name}", n) for name, n in stats["excluded"].items() if n),
             ("  audience", stats["audience"]),
             *((f"    {state}", states[state]) for state in STATES if states[state]),
             ("of the accepted", states["accepted"]),
             ("  opened (pixel fetched)", f"{opens['unique']}  ({opens['total']} times)"),
             ("  clicked", f"{clicks['unique']}  ({clicks['total']} times)"),
             *((f"    link {link['n']}", f"{link['clicks']['unique']}  {link['url']}") for link in stats["links"]),
             ("  unsubscribed", stats["unsubscribes"])]
    for name, n in lines:
        say(f"  {name:<30} {n}")
    for kind in ("bounces", "rejections"):
        classes = ", ".join(f"{name} {n}" for name, n in stats[kind]["by_class"].items())
        say(f"  {kind} by class: {classes or 'none'}")


def history(delivery: dict) -> None:
    """One recipient's copy with every attempt, every reply and every event."""
    about = delivery["delivery"]
    say(f"  {about['address']} ({about['provider']}): {about['state']}"
        + (f", {about['reason']}" if about["reason"] else ""))
    for attempt in delivery["attempts"]:
        reply = " ".join(str(part) for part in (attempt["code"], attempt["enhanced"], attempt["text"]) if part)
        say(f"    {attempt['started_at']}  attempt {attempt['n']}: {attempt['outcome']} in {attempt['phase']} "
            f"after {attempt['duration_ms']} ms, {attempt['tls'] or 'no TLS'}")
        say(f"      {reply}")
    for event in delivery["events"]:
        say(f"    {event['at']}  {event['kind']}" + (f" link {event['link_n']}" if event["link_n"] else ""))
        if event["text"]:
            say(f"      {' '.join(event['text'].split())}")


def short(value) -> str:
    text = str(value)
    return text if len(text) <= 400 else text[:400] + "…"


class Checks:
    """What must hold, told one by one; the demo fails at its end if one did not."""

    def __init__(self):
        self.n_failed = 0

    def equal(self, what: str, found, expected) -> None:
        self.that(what, found == expected, f"found {short(found)}, expected {short(expected)}")

    def that(self, what: str, holds: bool, otherwise: str = "") -> None:
        say(f"  {'ok    ' if holds else 'FAILED'} {what}" + ("" if holds or not otherwise else f": {otherwise}"))
        self.n_failed += not holds
