"""The main job as a marketing app does it, through the public API alone, on a mail world that answers for real.

scripts/demo starts the service and the mail world and then runs this. What happens to a recipient is told by the start of
the address: no-, full-, later-, gone- and reader- (scripts/world says how); the others are accepted and thrown away.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import sys
import time

import show
from api import Api, Failed
from ledger import Ledger
from readers import Inboxes, Touched
from show import Checks, say, step

HERE = pathlib.Path(__file__).parent
SCOPES = [f"{noun}.{verb}" for noun in ("lists", "recipients", "subscriptions", "templates", "sender_domains", "relays",
                                        "mailboxes", "campaigns", "suppressions") for verb in ("read", "write")]
SCOPES += ["campaigns.send", "deliveries.read"]
# The last word on each kind of recipient, and what the server said: reply code, enhanced code and some of its words.
FATES = {"no": ("rejected", 550, "5.1.1", "does not exist"),
         "full": ("expired", 452, "4.2.2", "mailbox is full"),
         "later": ("accepted", 450, "4.7.1", "Greylisted"),
         "gone": ("bounced", 550, "5.1.1", "User unknown"),
         "reader": ("accepted", None, None, "")}


def kind_of(address: str) -> str:
    """`no`, `full`, `later`, `gone` or `reader` for those with a fate, else `other`."""
    kind = address.partition("-")[0]
    return kind if kind in FATES else "other"


def read_recipients() -> list[dict]:
    """The CSV as items of a bulk upsert: numbers and truth values get their types."""
    with open(HERE / "recipients.csv", newline="", encoding="utf-8") as file:
        items = []
        for row in csv.DictReader(file):
            address = row.pop("address")
            items.append({"address": address, "attributes": {**row, "n_orders": int(row["n_orders"]), "vip": row["vip"] == "true"}})
        return items


class Demo:
    def __init__(self, arguments: argparse.Namespace):
        self.state = pathlib.Path(arguments.state)
        self.url = arguments.url
        self.log = str(self.state / "postrider.log")
        self.world = json.loads(pathlib.Path(arguments.world).read_text())
        self.operator = Api(self.url, os.environ["DEMO_OPERATOR_KEY"], self.log)
        self.ledger = Ledger(arguments.database)
        self.inboxes = Inboxes(self.world)
        self.checks = Checks()
        self.items = read_recipients()
        self.attributes = {item["address"]: item["attributes"] for item in self.items}
        self.addresses = {kind: sorted(a for a in self.attributes if kind_of(a) == kind) for kind in (*FATES, "other")}
        # Three who asked by telephone never to be mailed.
        self.silent = self.addresses["other"][:3]

    def run(self) -> None:
        step("A workspace and its key (with the operator's key)")
        workspace = self.operator.post("/v1/workspaces", {"name": "Corner Shop"})
        key = self.operator.post(f"/v1/workspaces/{workspace['id']}/keys", {"name": "Shop backend", "scopes": SCOPES})
        self.key = key["secret"]
        self.api = Api(self.url, self.key, self.log)
        say(f"{workspace['id']} Corner Shop")

        self.set_up()
        self.first_campaign()
        self.second_campaign()
        if self.checks.n_failed:
            raise Failed(f"{self.checks.n_failed} of the checks above did not hold",
                         f"The service still runs at {self.url}; its log is {self.log}, the mail world's logs are in "
                         f"{self.world['folder']}/log")

    def set_up(self) -> None:
        step("A relay, a mailbox for the bounces, and the domain of our From")
        relay = self.api.post("/v1/relays", {
            "name": "Relay A", "host": self.world["host"], "port": self.world["submission_port"], "tls": "starttls",
            "auth": "plain", "username": self.world["username"], "password": self.world["password"]})
        self.tested("relay", f"/v1/relays/{relay['id']}/test")
        mailbox = self.api.post("/v1/mailboxes", {
            "name": "Bounces", "host": self.world["host"], "port": self.world["imaps_port"], "tls": "implicit",
            "username": self.world["bounce_mailbox"], "password": self.world["password"], "poll_seconds": 1})
        self.tested("mailbox", f"/v1/mailboxes/{mailbox['id']}/test")
        self.api.post("/v1/sender-domains", {
            "domain": "shop.example", "return_path_domain": self.world["bounce_domain"], "mailbox_id": mailbox["id"]})

        step("A list of recipients from recipients.csv")
        self.list = self.api.post("/v1/lists", {"name": "Shop news", "description": "Asked for at checkout"})
        self.recipient_ids: dict[str, str] = {}
        for begin in range(0, len(self.items), 1000):
            chunk = self.items[begin:begin + 1000]
            outcome = self.api.post("/v1/recipients/bulk", {
                "items": chunk, "list_ids": [self.list["id"]],
                "consent": {"source": "checkout form", "text": "Yes, send me the shop's news."}})
            if outcome["n_created"] != len(chunk):
                bad = [one for one in outcome["outcomes"] if one["result"] != "created"]
                raise Failed(f"{len(bad)} of {len(chunk)} recipients were not created, first {bad[:1]}",
                             "demo/recipients.csv must hold each address once, all of them valid.")
            self.recipient_ids.update((chunk[one["index"]]["address"], one["recipient_id"]) for one in outcome["outcomes"])
        n_troubled = sum(len(self.addresses[kind]) for kind in ("no", "full", "later", "gone"))
        say(f"{len(self.items)} recipients; " + ", ".join(f"{kind} {len(of_kind)}" for kind, of_kind in self.addresses.items())
            + f"; {n_troubled / len(self.items):.0%} of them in some trouble")
        for address in self.silent:
            self.api.post("/v1/suppressions", {"address": address, "note": "Asked by telephone"})
        say(f"{len(self.silent)} of them suppressed by hand")

        step("A template with variables")
        self.template = self.api.post("/v1/templates", {
            "name": "Autumn", "subject": "{{first_name}}, the new {{favourite}} is here",
            "html": (HERE / "template.html").read_text(encoding="utf-8"),
            "text": (HERE / "template.txt").read_text(encoding="utf-8")})
        preview = self.api.post(f"/v1/templates/{self.template['id']}/preview",
                                {"recipient_id": self.recipient_ids[self.addresses["reader"][0]]})
        say(f"version {self.template['current_version']['n']}, subject of the preview: {preview['subject']}")
        self.checks.equal("the preview misses no variable", preview["missing"], [])

    def tested(self, what: str, path: str) -> None:
        """Asks the service to try a relay or mailbox, and goes no further when it doesn't work."""
        outcome = self.api.post(path)
        say(f"{what}: {outcome['summary']}")
        if not outcome["ok"]:
            raise Failed(f"the {what} does not work: {outcome['summary']}",
                         f"See the logs of the mail world: {self.world['folder']}/log")

    def first_campaign(self) -> None:
        step("A campaign, tried on one address and scheduled five seconds ahead")
        campaign = self.api.post("/v1/campaigns", {
            "name": "Autumn", "from": {"name": "Corner Shop", "address": "news@shop.example"},
            "reply_to": "help@shop.example", "template_id": self.template["id"],
            "audience": {"lists": [self.list["id"]]}, "tracking": {"opens": True, "clicks": True}})
        (trial,) = self.api.post(f"/v1/campaigns/{campaign['id']}/test", {
            "addresses": ["reader-trial.demo@example.com"],
            "attributes": self.attributes[self.addresses["reader"][0]]})["outcomes"]
        say(f"test message: {trial['outcome']}, {trial['code']} {trial['text']}")
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
        self.api.post(f"/v1/campaigns/{campaign['id']}/schedule", {"at": at.isoformat()})
        say(f"{campaign['id']} starts at {at:%H:%M:%S} UTC")

        step("Sending")
        progress = show.Progress()
        self.watch(campaign, progress, "a first attempt at everybody", 60,
                   lambda stats: stats["audience_complete"] and stats["states"]["queued"] + stats["states"]["sending"] == 0)

        step("Readers read, open, click and unsubscribe")
        touched = self.read_and_touch()
        say(f"{len(touched.openers)} opened ({touched.opens} times), {len(touched.clickers)} clicked ({touched.clicks} times), "
            f"{len(touched.unsubscribed)} unsubscribed by one click")

        step("Greylisting, full mailboxes and bounces")
        stats = self.watch(
            campaign, progress, "the end of the campaign and all bounces", 150,
            lambda stats: stats["state"] == "sent" and stats["states"]["bounced"] == len(self.addresses["gone"])
            and stats["opens"]["total"] >= touched.opens and stats["clicks"]["total"] >= touched.clicks)

        step("The funnel")
        show.funnel(stats)
        step("Two histories: one who was greylisted, one whose mailbox is gone")
        for kind in ("later", "gone"):
            show.history(self.history(self.addresses[kind][0], campaign))
        step("Checks")
        self.check_states(campaign, stats)
        self.check_fates(campaign)
        self.check_touches(campaign, stats, touched)
        self.unsubscribed = set(touched.unsubscribed)

    def watch(self, campaign: dict, progress: show.Progress, what: str, seconds: float, done) -> dict:
        """Shows the statistics until `done` says so of them."""
        deadline = time.monotonic() + seconds
        while True:
            stats = self.api.get(f"/v1/campaigns/{campaign['id']}/stats")
            finished = done(stats)
            progress.show(stats, last=finished)
            if finished:
                return stats
            if stats["state"] in ("paused", "cancelled"):
                reason = self.api.get(f"/v1/campaigns/{campaign['id']}")["state_reason"]
                raise Failed(f"the campaign is {stats['state']}: {reason}", f"The service's log says more: {self.log}")
            if time.monotonic() > deadline:
                raise Failed(f"waited {seconds:.0f} seconds in vain for {what}",
                             f"See the service's log, {self.log}, and the mail world's, {self.world['folder']}/log")
            time.sleep(0.25)

    def read_and_touch(self) -> Touched:
        """Of 24 readers 16 open (4 of them twice), 9 click (4 of them two links, one of them twice), 4 unsubscribe."""
        readers = self.addresses["reader"]
        mail = {address: messages[0] for address, messages in self.inboxes.wait(readers, 1, 60).items()}
        touched = Touched()
        for n, address in enumerate(readers):
            for _ in range((n < 16) + (n < 4)):
                touched.open(address, mail[address])
            for _ in range((n < 9) + (n < 1)):
                touched.click(address, mail[address], 0, "https://shop.example/autumn")
            if n < 4:
                touched.click(address, mail[address], 1, f"https://shop.example/{self.attributes[address]['favourite']}")
            if 14 <= n < 18:
                touched.unsubscribe(address, mail[address])
        first = mail[readers[0]]
        self.checks.equal("the first reader's subject is rendered", str(first.message["Subject"]),
                          "{first_name}, the new {favourite} is here".format(**self.attributes[readers[0]]))
        self.checks.equal("every link, pixel and unsubscribe answered as it should", touched.faults, [])
        return touched

    def history(self, address: str, campaign: dict) -> dict:
        for delivery in self.api.pages(f"/v1/recipients/{self.recipient_ids[address]}/deliveries"):
            if delivery["campaign_id"] == campaign["id"]:
                return self.api.get(f"/v1/deliveries/{delivery['id']}")
        raise Failed(f"{address} has no delivery in the campaign {campaign['name']}", f"See {self.log}")

    def check_states(self, campaign: dict, stats: dict) -> None:
        """The ledger adds up, and the API, the rows and the counters of the database say the same."""
        found = {state: n for state, n in stats["states"].items() if n}
        expected = {"rejected": len(self.addresses["no"]), "expired": len(self.addresses["full"]),
                    "bounced": len(self.addresses["gone"]), "suppressed": len(self.silent)}
        expected["accepted"] = len(self.items) - sum(expected.values())
        self.checks.equal("the states sum to the audience", sum(found.values()), stats["audience"])
        self.checks.equal("the audience is the whole list", stats["audience"], len(self.items))
        self.checks.equal("every state has the recipients it should", found, expected)
        self.checks.equal("database: the rows say the same", self.ledger.states(campaign["id"]), found)
        self.checks.equal("database: the counters say the same", self.ledger.states_by_transitions(campaign["id"]), found)
        self.checks.equal("database: each kind ended as it should", self.ledger.states_by_kind(campaign["id"]),
                          {kind: {fate[0]: len(self.addresses[kind])} for kind, fate in FATES.items()})

    def check_fates(self, campaign: dict) -> None:
        """Each troubled recipient ended as it should, with the server's own words."""
        deliveries = list(self.api.pages(f"/v1/campaigns/{campaign['id']}/deliveries"))
        self.checks.equal("every recipient has one delivery", sorted(one["address"] for one in deliveries), sorted(self.attributes))
        for kind, (state, code, enhanced, words) in FATES.items():
            wrong = []
            for delivery in (one for one in deliveries if kind_of(one["address"]) == kind):
                if code is None:
                    good = delivery["state"] == state
                else:
                    history = self.api.get(f"/v1/deliveries/{delivery['id']}")
                    good = delivery["state"] == state and is_told(kind, history, code, enhanced, words)
                if not good:
                    wrong.append(delivery["address"])
            what = f"every {kind}* is {state}" + (f", with {code} {enhanced} … {words}" if code else "")
            self.checks.that(what, not wrong, ", ".join(wrong[:5]))
        others = {one["state"] for one in deliveries if kind_of(one["address"]) == "other" and one["address"] not in self.silent}
        self.checks.equal("what the internet threw away is accepted", others, {"accepted"})
        silent = {one["address"] for one in deliveries if one["state"] == "suppressed"}
        self.checks.equal("who asked by telephone was not mailed", silent, set(self.silent))

    def check_touches(self, campaign: dict, stats: dict, touched: Touched) -> None:
        """Opens, clicks and unsubscribes are those that were made."""
        self.checks.equal("opens", stats["opens"], {"total": touched.opens, "unique": len(touched.openers)})
        self.checks.equal("clicks", stats["clicks"], {"total": touched.clicks, "unique": len(touched.clickers)})
        self.checks.equal("clicks by link sum up", sum(link["clicks"]["total"] for link in stats["links"]), touched.clicks)
        self.checks.equal("unsubscribes", stats["unsubscribes"], len(touched.unsubscribed))
        self.checks.equal("database: the same touches", self.ledger.touches(campaign["id"]), {
            "opens": touched.opens, "openers": len(touched.openers), "clicks": touched.clicks,
            "clickers": len(touched.clickers), "unsubscribes": len(touched.unsubscribed)})

    def second_campaign(self) -> None:
        step("A second campaign to the same list: who is suppressed or unsubscribed stays out")
        suppressed = self.suppressed()
        campaign = self.api.post("/v1/campaigns", {
            "name": "Last call", "from": {"name": "Corner Shop", "address": "news@shop.example"},
            "content": {"subject": "Last call, {{first_name}}", "text": "Dear {{first_name}}, the new {{favourite}} is nearly gone.\n"},
            "audience": {"lists": [self.list["id"]]}})
        self.api.post(f"/v1/campaigns/{campaign['id']}/start")
        stats = self.watch(campaign, show.Progress(), "the end of the second campaign", 90,
                           lambda stats: stats["state"] == "sent")
        show.funnel(stats)
        step("Checks of the second campaign")
        self.checks.that("all of no* and gone* are suppressed by what the servers said",
                         suppressed >= {*self.addresses["no"], *self.addresses["gone"], *self.silent})
        self.checks.equal("the states sum to the audience", sum(stats["states"].values()), stats["audience"])
        self.checks.equal("database: the rows say the same", self.ledger.states(campaign["id"]),
                          {state: n for state, n in stats["states"].items() if n})
        self.checks.equal("unsubscribed are not part of the audience", stats["excluded"]["unsubscribed"], len(self.unsubscribed))
        self.checks.equal("audience and unsubscribed are the whole list", stats["audience"] + len(self.unsubscribed), len(self.items))
        held = {one["address"] for one in self.api.pages(f"/v1/campaigns/{campaign['id']}/deliveries", state="suppressed")}
        self.checks.equal("suppressed addresses are held", held, suppressed)
        readers = [address for address in self.addresses["reader"] if address not in self.unsubscribed]
        self.inboxes.wait(readers, 2, 30)
        twice = [address for address in self.addresses["reader"] if len(self.inboxes.read(address)) != 2]
        self.checks.equal("only who unsubscribed got no second message", set(twice), self.unsubscribed)

    def suppressed(self) -> set[str]:
        """Who of the list is suppressed now, as the service says."""
        addresses = list(self.attributes)
        return {one["address"] for begin in range(0, len(addresses), 1000)
                for one in self.api.post("/v1/suppressions/check", {"addresses": addresses[begin:begin + 1000]})["outcomes"]
                if one["suppressed"]}


def is_told(kind: str, history: dict, code: int, enhanced: str, words: str) -> bool:
    """Does the history hold the server's reply where it belongs: in the attempts, or for a bounce in its report?"""
    attempts, events = history["attempts"], history["events"]
    if kind == "gone":
        return any(event["kind"] == "bounced" and words in " ".join((event["text"] or "").split())
                   and str(code) in event["text"] and enhanced in event["text"] for event in events)
    # A greylisted one was deferred first and accepted last; the others heard the same at every attempt.
    said = attempts[:1] if kind == "later" else attempts[-1:]
    wanted = "rejected" if kind == "no" else "deferred"
    ended = kind != "later" or (len(attempts) > 1 and attempts[-1]["outcome"] == "accepted" and attempts[-1]["code"] == 250)
    return ended and any(
        (one["outcome"], one["code"], one["enhanced"]) == (wanted, code, enhanced) and words in one["text"] for one in said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, help_ in (("url", "of the service"), ("world", "world.json of the mail world"),
                        ("database", "folder of the Postgres socket"), ("state", "the demo's state folder")):
        parser.add_argument(f"--{name}", required=True, help=help_)
    began = time.monotonic()
    try:
        demo = Demo(parser.parse_args())
        demo.run()
    except Failed as failure:
        print(f"\n\nFAILED: {failure.what}\n  {failure.todo}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The service still runs; make demo-stop ends it.", file=sys.stderr)
        return 130
    step(f"Done after {time.monotonic() - began:.0f} seconds; everything above was checked")
    say(f"""The service goes on running:
  URL        {demo.url}   (its documentation: {demo.url}/docs)
  key        {demo.key}
  database   psql -h {demo.ledger.folder} -U postrider postgres
  try        curl -H 'Authorization: Bearer {demo.key}' {demo.url}/v1/campaigns
make demo-stop ends it.""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
