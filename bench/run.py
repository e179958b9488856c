"""Speed on this machine, against other programs and limits in the same run: a table, then a line of JSON for each row.

What is measured and how: docs/performance.md. What is sent: a campaign of N recipients with three variables, three
tracked links, a pixel and one-click headers, from Postgres through rendering, intents, the wire and settles, into a
fresh smtp-sink. Progress goes to standard error.
"""

import argparse
import json

from rows import ROWS, Bench, say


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; all if none is named")
    parser.add_argument("--postrider", required=True, help="the program")
    parser.add_argument("--signing-loop", required=True, help="the program of the row dkim")
    parser.add_argument("--state", required=True, help="a folder for its state")
    parser.add_argument("--messages", type=int, default=50000, help="of a campaign, where the row doesn't say")
    parser.add_argument("--many", type=int, default=1000000, help="recipients of the largest campaign")
    parser.add_argument("--reports", type=int, default=10000, help="in the mailbox of the row reports")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=4096)
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    bench = Bench(arguments)
    try:
        bench.prepare()
        found = []
        for name in arguments.rows or ROWS:
            say(f"{name}: {ROWS[name].__doc__}")
            found.append(ROWS[name](bench))
    finally:
        bench.service.stop()
    print(f"{'row':<15}{'ours':>12}{'against':>12}{'ratio':>8}  {'aim':<16}unit, against what")
    for row in found:
        print(f"{row.name:<15}{row.ours:>12,}{row.against:>12,}{row.ratio:>8.2f}  {row.aim:<16}{row.unit}")
    for row in found:
        print(json.dumps({"row": row.name, "ours": row.ours, "against": row.against, "ratio": row.ratio, **row.more,
                          "conditions": row.conditions}))


if __name__ == "__main__":
    main()
