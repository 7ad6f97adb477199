"""What the clients in Python share: how a promise is checked, and how a form of the server is filled in."""

import asyncio
import json
import logging
import sys

# What the fixture's tool logs, and what its tool with progress tells.
LOGGED = ["Tool execution started", "Tool processing data", "Tool execution completed"]
PROGRESS = [(0, 100), (50, 100), (100, 100)]
# How long anything the server sends by itself may take.
PATIENCE_S = 10


class Broken(Exception):
    """A promise of the server that was not kept."""


def check(kept: bool, what: object) -> None:
    if not kept:
        raise Broken(what)


async def eventually(seen: list, wanted: object) -> None:
    """Waits until the server has sent something."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while wanted not in seen:
        check(asyncio.get_running_loop().time() < deadline, f"{wanted} has not come, but {seen}")
        await asyncio.sleep(0.02)


def fill(schema: dict) -> dict:
    """Answers a form as somebody does who agrees: every box ticked, Alice in every line of text."""
    values = {"boolean": True, "integer": 7, "number": 7.5, "string": "Alice"}
    return {
        name: field["enum"][0] if "enum" in field else values[field["type"]]
        for name, field in schema["properties"].items()
    }


class Warnings(logging.Handler):
    """Keeps what the SDK warns about: a server that is used as it should be gives no reason to."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name}: {record.getMessage()}")


def run(drive) -> None:
    """Runs `drive(URL, MODE)` and prints what it returns as JSON; a broken promise is an exit with 1 and a message."""
    url, mode = sys.argv[1:]
    warnings = Warnings()
    try:
        seen = asyncio.run(drive(url, mode))
        check(not warnings.texts, f"the SDK warns: {warnings.texts}")
    except* Broken as group:  # task groups of SDKs wrap whatever leaves them, some of them twice
        while isinstance(group, BaseExceptionGroup):
            group = group.exceptions[0]
        print("broken promise:", group, file=sys.stderr)
        sys.exit(1)
    print(json.dumps(seen))
