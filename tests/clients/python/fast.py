"""Uses what the server offers with FastMCP's client.

Usage: fast.py URL MODE    (MODE: legacy, 2026-07-28 or auto; the server is the fixture's, with an open change `unfinished`)
"""

from fastmcp import Client
from fastmcp.client.messages import MessageHandler
from mcp.client.subscriptions import listen
from mcp_types import PromptReference, ResourceUpdatedNotification

from promises import LOGGED, PROGRESS, check, eventually, fill, run


async def drive(url: str, mode: str) -> dict:
    logged, progress, asked, told = [], [], [], []

    async def answer(message, _type, params, _context) -> dict:
        asked.append(message)
        return fill(params.requested_schema)

    async def log(message) -> None:
        logged.append(message.data)

    async def tell(done: float, total: float | None, _message: str | None) -> None:
        progress.append((done, total))

    class Ears(MessageHandler):
        async def on_resource_updated(self, message: ResourceUpdatedNotification) -> None:
            told.append(str(message.params.uri))

    client = Client(
        url, mode=mode, timeout=20, elicitation_handler=answer, log_handler=log, progress_handler=tell, message_handler=Ears()
    )
    async with client:
        legacy = client.protocol_version < "2026"
        tools = [tool.name for tool in await client.list_tools()]
        check("change.archive" in tools and len(tools) == len(set(tools)), tools)
        resources = [str(resource.uri) for resource in await client.list_resources()]
        check("test://static-text" in resources, resources)
        templates = [template.uri_template for template in await client.list_resource_templates()]
        check("test://template/{id}/data" in templates, templates)
        prompts = [prompt.name for prompt in await client.list_prompts()]
        check("test_simple_prompt" in prompts, prompts)

        page = await client.call_tool("changes.active")
        check([item["slug"] for item in page.structured_content["items"]] == ["unfinished"], page)
        (static,) = await client.read_resource("test://static-text")
        check(static.text == "This is the content of the static text resource.", static)
        prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
        check("arg1='one', arg2='two'" in prompt.messages[0].content.text, prompt)
        completed = await client.complete(
            PromptReference(name="test_prompt_with_arguments"), {"name": "arg1", "value": "t"}
        )
        check(isinstance(completed.values, list), completed)
        failed = await client.call_tool("test_error_handling", raise_on_error=False)
        check(failed.is_error and failed.content[0].text, failed)

        await client.call_tool("test_tool_with_progress")
        check(progress == PROGRESS, progress)
        if legacy:
            check(await client.ping(), "ping")
            await client.set_logging_level("debug")
        await client.call_tool("test_tool_with_logging")
        for text in LOGGED:
            await eventually(logged, text)

        if legacy:
            answered = await client.call_tool("test_elicitation", {"message": "Who are you?"})
            check(asked == ["Who are you?"], (answered, asked))
        else:
            answered = await client.call_tool("test_input_required_result_elicitation")
            check(answered.content[0].text == "Hello, Alice!", answered)
        archived = await client.call_tool("change.archive", {"slug": "unfinished"})
        check(archived.structured_content["archived"] and len(asked) == 2, (archived, asked))

        # FastMCP has no call of its own for this; it hands out the session of the SDK below it.
        opened = {"slug": "from-a-client", "title": "From a client"}
        if legacy:
            await client.session.subscribe_resource("changes://active")
            await client.call_tool("change.open", opened)
            await eventually(told, "changes://active")
        else:
            async with listen(client.session, resource_subscriptions=["changes://active"]) as subscription:
                await client.call_tool("change.open", opened)
                check((await anext(subscription)).uri == "changes://active", "the update of another resource")
        return {"protocolVersion": client.protocol_version}


if __name__ == "__main__":
    run(drive)
