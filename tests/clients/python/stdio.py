"""Uses everything the server offers with the official Python SDK, over standard input and output.

Usage: stdio.py COMMAND MODE    (COMMAND: the fixture's program and its arguments, over a tree with an open change `unfinished`)
"""

import shlex

from mcp.client.stdio import StdioServerParameters

from promises import run
from surface import drive


async def over_stdio(command: str, mode: str) -> dict:
    program, *arguments = shlex.split(command)
    return await drive(StdioServerParameters(command=program, args=arguments), mode)


if __name__ == "__main__":
    run(over_stdio)
