"""Uses everything the server offers with the official Python SDK.

Usage: surface.py URL MODE    (MODE: legacy, 2026-07-28 or auto; the server is the fixture's, with an open change `unfinished`)
"""

from mcp import Client
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged
from mcp_types import (
    ElicitResult,
    PromptReference,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    ToolListChangedNotification,
)

from promises import LOGGED, PROGRESS, check, eventually, fill, run


async def every(page_of, field: str) -> list:
    """All items of a list that comes in pages."""
    items, cursor = [], None
    while True:
        page = await page_of(cursor=cursor)
        items += getattr(page, field)
        cursor = page.next_cursor
        if cursor is None:
            return items


async def text_of(client: Client, tool: str, arguments: dict | None = None, **options) -> str:
    result = await client.call_tool(tool, arguments, **options)
    check(not result.is_error, f"{tool}: {result}")
    return result.content[0].text


async def lists(client: Client) -> None:
    tools = {tool.name for tool in await every(client.list_tools, "tools")}
    check({"changes.active", "change.archive", "test_simple_text"} <= tools, tools)
    resources = {str(resource.uri) for resource in await every(client.list_resources, "resources")}
    check({"test://static-text", "changes://active"} <= resources, resources)
    templates = {item.uri_template for item in await every(client.list_resource_templates, "resource_templates")}
    check("test://template/{id}/data" in templates, templates)
    prompts = {prompt.name for prompt in await every(client.list_prompts, "prompts")}
    check("test_prompt_with_arguments" in prompts, prompts)


async def reads(client: Client) -> None:
    check(await text_of(client, "test_simple_text") == "This is a simple text response for testing.", "simple text")
    static = (await client.read_resource("test://static-text")).contents[0]
    check(static.text == "This is the content of the static text resource.", static)
    template = (await client.read_resource("test://template/123/data")).contents[0]
    check("123" in template.text, template)
    tasks = (await client.read_resource("change://unfinished/tasks")).contents[0]
    check("- [ ]" in tasks.text, tasks)
    prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
    check("arg1='one', arg2='two'" in prompt.messages[0].content.text, prompt)
    completed = await client.complete(PromptReference(name="test_prompt_with_arguments"), {"name": "arg1", "value": "t"})
    check(isinstance(completed.completion.values, list), completed)
    template = ResourceTemplateReference(uri="change://{slug}/proposal")
    completed = await client.complete(template, {"name": "slug", "value": "unf"})
    check(completed.completion.values == ["unfinished"], completed)


async def drive(url: str, mode: str) -> dict:
    logged, progress, asked, told = [], [], [], []

    async def answer(_context, params) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content=fill(params.requested_schema))

    async def log(params) -> None:
        logged.append(params.data)

    async def tell(done: float, total: float | None, _message: str | None) -> None:
        progress.append((done, total))

    async def hear(message) -> None:
        if isinstance(message, ToolListChangedNotification):
            told.append(ToolsListChanged())
        elif isinstance(message, ResourceUpdatedNotification):
            told.append(ResourceUpdated(uri=str(message.params.uri)))

    options = {"elicitation_callback": answer, "logging_callback": log, "log_level": "debug", "message_handler": hear}
    async with Client(url, mode=mode, read_timeout_seconds=20, **options) as client:
        legacy = client.protocol_version < "2026"
        await lists(client)
        await reads(client)

        await text_of(client, "test_tool_with_progress", progress_callback=tell)
        check(progress == PROGRESS, progress)

        if legacy:
            await client.set_logging_level("debug")
        await text_of(client, "test_tool_with_logging")
        for text in LOGGED:
            await eventually(logged, text)

        if legacy:
            answered = await text_of(client, "test_elicitation", {"message": "Who are you?"})
            check(answered.startswith("User response: ") and asked == ["Who are you?"], (answered, asked))
        else:
            answered = await text_of(client, "test_input_required_result_elicitation")
            check(answered == "Hello, Alice!" and asked == ["What is your name?"], (answered, asked))
        archived = await client.call_tool("change.archive", {"slug": "unfinished"})
        check(not archived.is_error and archived.structured_content["archived"], archived)
        check(len(asked) == 2, f"whether to archive a change with open tasks is a question: {asked}")

        async def change() -> None:
            await text_of(client, "test_trigger_tool_change")
            await text_of(client, "change.open", {"slug": "from-a-client", "title": "From a client"})

        wanted = [ToolsListChanged(), ResourceUpdated(uri="changes://active")]
        if legacy:
            await client.subscribe_resource("changes://active")
            await change()
            for event in wanted:
                await eventually(told, event)
            await client.unsubscribe_resource("changes://active")
        else:
            listened = client.listen(tools_list_changed=True, resource_subscriptions=["changes://active"])
            async with listened as subscription:
                await change()
                events = [await anext(subscription) for _ in wanted]
            check(sorted(map(str, events)) == sorted(map(str, wanted)), events)
        return {"protocolVersion": client.protocol_version}


if __name__ == "__main__":
    run(drive)
