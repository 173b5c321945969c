"""Hosts outside this machine to which somebody agreed that this library's videos may be sent."""

from __future__ import annotations

import json

from fdvs.store.database import Database

_KEY = "agreed_hosts"


class AgreementRows(Database):
    """Operations on agreements. They stay with the library and go into no export."""

    def agreed_hosts(self) -> tuple[str, ...]:
        """The hosts agreed to, in alphabetical order."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
        return tuple(str(host) for host in json.loads(row[0])) if row else ()

    def agree_to_host(self, host: str) -> None:
        """Remember that data of this library may go to `host`."""
        with self.writing() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
            hosts = sorted({*(json.loads(row[0]) if row else ()), host})
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, json.dumps(hosts)))
