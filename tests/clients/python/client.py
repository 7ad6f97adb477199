"""Drives a running task-mcp with the official Python SDK.

Usage: client.py URL MODE    (MODE: legacy, 2026-07-28 or auto)

Lists the tools, opens and shows the change `from-a-client`, archives the change `prepared`, and prints one JSON
object about the connection. Exits with 1 and a message at the first thing that is not as promised.
"""

import asyncio
import json
import sys

from mcp import Client


class Broken(Exception):
    """A promise of the server that was not kept."""


async def call(client: Client, tool: str, arguments: dict) -> dict:
    result = await client.call_tool(tool, arguments)
    if result.is_error or not isinstance(result.structured_content, dict):
        raise Broken(f"{tool} {arguments}: {result}")
    return result.structured_content


def slugs(page: dict) -> set[str]:
    return {item["slug"] for item in page["items"]}


async def drive(url: str, mode: str) -> dict:
    async with Client(url, mode=mode, read_timeout_seconds=20) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        missing = {"changes.active", "change.open", "change.show", "change.archive"} - set(tools)
        if missing:
            raise Broken(f"tools/list lacks {missing}")
        if slugs(await call(client, "changes.active", {})) != {"prepared"}:
            raise Broken("the prepared change is not listed")
        await call(client, "change.open", {"slug": "from-a-client", "title": "From a client"})
        shown = await call(client, "change.show", {"slug": "from-a-client"})
        if shown["slug"] != "from-a-client":
            raise Broken(f"change.show: {shown}")
        if slugs(await call(client, "changes.active", {})) != {"prepared", "from-a-client"}:
            raise Broken("the opened change is not listed")
        archived = await call(client, "change.archive", {"slug": "prepared"})
        if archived["archived"] is not True:
            raise Broken(f"change.archive: {archived}")
        if slugs(await call(client, "changes.active", {})) != {"from-a-client"}:
            raise Broken("the archived change is still listed")
        failed = await client.call_tool("change.show", {"slug": "no-such-change"})
        if not failed.is_error:
            raise Broken(f"an unknown change is no error: {failed}")
        return {"protocolVersion": client.protocol_version, "firstTool": tools[0]}


def main() -> None:
    url, mode = sys.argv[1:]
    try:
        seen = asyncio.run(drive(url, mode))
    except* Broken as broken:  # the SDK's task group wraps whatever leaves it
        print("broken promise:", *broken.exceptions, file=sys.stderr)
        sys.exit(1)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
