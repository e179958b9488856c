"""The database behind the API, asked directly: it must say the same. No marketing app would do this."""

import subprocess
import uuid

from api import Failed

DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def uuid_of(id_: str) -> str:
    """The UUID behind a prefixed id (26 characters of Crockford's base32)."""
    number = 0
    for digit in id_.partition("_")[2].lower():
        number = number * 32 + DIGITS.index(digit)
    return str(uuid.UUID(int=number))


class Ledger:
    def __init__(self, folder: str):
        self.folder = folder

    def rows(self, sql: str, **ids: str) -> list[list[str]]:
        """The rows of a query; `:'name'` in it stands for the id of that name."""
        command = ["psql", "--no-psqlrc", "-h", self.folder, "-U", "postrider", "-At", "-F", "\t", "-d", "postgres"]
        for name, id_ in ids.items():
            command += ["--set", f"{name}={uuid_of(id_)}"]
        done = subprocess.run(command, input=sql, capture_output=True, text=True)
        if done.returncode != 0 or done.stderr:
            raise Failed(f"psql could not ask the database: {done.stderr.strip()}",
                         f"See whether the service's Postgres runs; its socket is in {self.folder}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def states(self, campaign_id: str) -> dict[str, int]:
        """How many deliveries of a campaign stand in each state, counted row by row."""
        rows = self.rows("select state, count(*) from deliveries where campaign_id = :'campaign' group by state;",
                         campaign=campaign_id)
        return {state: int(n) for state, n in rows}

    def states_by_kind(self, campaign_id: str) -> dict[str, dict[str, int]]:
        """The same by the kind of recipient that stands in front of the hyphen."""
        found: dict[str, dict[str, int]] = {}
        for kind, state, n in self.rows(
                "select split_part(address, '-', 1), state, count(*) from deliveries "
                "where campaign_id = :'campaign' and address ~ '^[a-z]+-[0-9]{3}' group by 1, 2;", campaign=campaign_id):
            found.setdefault(kind, {})[state] = int(n)
        return found

    def states_by_transitions(self, campaign_id: str) -> dict[str, int]:
        """The counters' view: what came into a state less what went out of it."""
        rows = self.rows(
            "select state, sum(n) from (select to_state as state, n from transitions where campaign_id = :'campaign' "
            "union all select from_state, -n from transitions where campaign_id = :'campaign') as moves "
            "group by state having sum(n) > 0;", campaign=campaign_id)
        return {state: int(n) for state, n in rows}

    def touches(self, campaign_id: str) -> dict[str, int]:
        """Opens, clicks and unsubscribes as they are stored."""
        (row,) = self.rows(
            "select coalesce(sum(n) filter (where link_n = 0), 0), "
            "count(distinct delivery_id) filter (where link_n = 0), "
            "coalesce(sum(n) filter (where link_n > 0), 0), "
            "count(distinct delivery_id) filter (where link_n > 0), "
            "(select count(*) from opt_outs where campaign_id = :'campaign' and kind = 'unsubscribe') "
            "from touches where campaign_id = :'campaign';", campaign=campaign_id)
        return dict(zip(("opens", "openers", "clicks", "clickers", "unsubscribes"), map(int, row)))
