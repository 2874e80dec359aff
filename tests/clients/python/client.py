"""Speaks to the plugin "probe" as a user of the package `websockets` would, and prints what it saw: a line of JSON for each case.

tests/tests/websocket_clients.rs says what is right.

    client.py ws://127.0.0.1:PORT
"""

import asyncio
import hashlib
import json
import os
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

BASE = sys.argv[1]
SNOWMAN = "héllo ☃ 😀"


class Socket(ClientConnection):
    """A connection that counts the pings of the gateway, and speaks the language of ws-rooms."""

    pings = 0

    def process_event(self, event):
        self.pings += getattr(event, "opcode", None) is Opcode.PING
        super().process_event(event)

    async def next(self):
        """The next message with its kind before it: "text: hello", "binary: hello"."""
        message = await self.recv()
        return f"text: {message}" if isinstance(message, str) else f"binary: {message.decode()}"

    async def tell(self, **order):
        """Gives ws-rooms an order, without waiting for an answer."""
        await self.send(json.dumps(order))

    async def ask(self, **order):
        """Gives ws-rooms an order: the value of its answer."""
        await self.tell(**order)
        answer = json.loads(await self.recv())
        assert answer["op"] == order["op"] and "error" not in answer, (order, answer)
        return answer.get("value", "")

    async def name(self):
        """What the plugin calls this connection: its ID."""
        return await self.ask(op="id")

    async def closed(self):
        """Waits for the end: the code and the reason of the close frame that came."""
        try:
            while True:
                await self.recv()
        except ConnectionClosed as end:
            return {"code": end.rcvd and end.rcvd.code, "reason": end.rcvd and end.rcvd.reason}


def dial(path, **options):
    """Opens BASE + path."""
    return connect(BASE + path, create_connection=Socket, proxy=None, max_size=2 << 20, **options)


def pattern(n):
    """n bytes: 0 to 250, and again."""
    return (bytes(range(251)) * (n // 251 + 1))[:n]


async def subprotocol():
    async with dial("/rooms?protocol=chat.v2&header=here", subprotocols=["chat.v1", "chat.v2"]) as s:
        return {"client": s.subprotocol, "plugin": await s.ask(op="protocol"), "header": s.response.headers["x-ws"]}


async def foreign_subprotocol():
    """One that the plugin chooses and this client did not offer."""
    async with dial("/rooms?protocol=soap", subprotocols=["chat.v1"]) as s:
        return {"client": s.subprotocol or "", "plugin": await s.ask(op="protocol")}


async def compression():
    """It is offered, and declined: messages that would have been compressed go as they are."""
    async with dial("/rooms", compression="deflate") as s:
        offered = await s.ask(op="header", text="sec-websocket-extensions")
        sent = b"again " * 1000
        await s.send(sent)
        extensions = s.response.headers.get("sec-websocket-extensions", "")
        return {"offered": offered, "extensions": extensions, "same": await s.recv() == sent}


async def text():
    async with dial("/echo") as s:
        await s.send(SNOWMAN)
        return {"text": await s.recv()}


async def binary():
    async with dial("/echo") as s:
        await s.send(pattern(256))
        return {"hex": (await s.recv()).hex()}


async def empty():
    async with dial("/echo") as s:
        await s.send("")
        await s.send(b"")
        return {"text": await s.recv(), "binary": len(await s.recv())}


async def large():
    async with dial("/echo") as s:
        await s.send(pattern(1 << 20))
        got = await s.recv()
        return {"bytes": len(got), "sha256": hashlib.sha256(got).hexdigest()}


async def order():
    """Sends 1 000 messages without waiting, and counts those that come back in their place."""
    async with dial("/echo") as s:

        async def send():
            for n in range(1000):
                await s.send(str(n))

        sending = asyncio.create_task(send())
        in_place = sum([await s.recv() == str(n) for n in range(1000)])
        await sending
        return {"in_place": in_place}


async def fragments():
    """They cut a character in two, are empty, and have pings among them."""
    async with dial("/echo") as s:

        async def pieces():
            for piece in [b"h\xc3", b"", b"\xa9llo \xe2\x98\x83 ", "😀".encode()]:
                yield piece
                await (await s.ping())

        await s.send(pieces(), text=True)
        return {"text": await s.recv()}


async def ping():
    async with dial("/echo") as s:
        await (await s.ping())
        await (await s.ping(b"x" * 125))
        return {"pongs": 2}


async def pinged():
    """Says nothing for so long that the gateway pings it, more than once."""
    async with dial("/pinged") as s:
        name = await s.name()
        await asyncio.sleep(0.7)
        return {"id": name, "pings": s.pings, "alive": await s.name() == name}


async def close_by_client():
    s = await dial("/rooms")
    name = await s.name()
    await s.close(4001, "bye ☃")
    return {"id": name} | await s.closed()


async def close_by_plugin():
    s = await dial("/rooms")
    name = await s.name()
    await s.tell(op="close", code=4002, text="go ☃")
    return {"id": name} | await s.closed()


async def close_without_code():
    s = await dial("/rooms")
    name = await s.name()
    await s.tell(op="close")
    return {"id": name} | await s.closed()


async def too_large():
    s = await dial("/rooms")
    name = await s.name()
    try:
        await s.send(pattern((1 << 20) + 1))
    except ConnectionClosed:
        pass  # the gateway need not read it all
    return {"id": name, "code": (await s.closed())["code"]}


async def origin():
    evil = 101
    try:
        await dial("/guarded", origin="http://evil.test")
    except InvalidStatus as refused:
        evil = refused.response.status_code
    async with dial("/guarded", origin="http://good.test") as s:
        await s.send("in")
        return {"evil": evil, "good": await s.recv()}


async def rooms():
    """Two members who speak, until one leaves."""
    async with dial("/rooms?join=lobby") as a, dial("/rooms?join=lobby") as b:
        at_a, at_b = [await a.next()], [await b.next()]
        size = await a.ask(op="size", room="lobby")
        await a.tell(op="broadcast", room="lobby", text=SNOWMAN)
        at_a += [await a.next(), await a.next()]
        at_b += [await b.next()]
        await b.tell(op="broadcast-binary", room="lobby", text="bytes")
        at_b += [await b.next(), await b.next()]
        at_a += [await a.next()]
        await b.tell(op="send-to", to=await a.name(), text="between us")
        at_a += [await a.next()]
        at_b += [await b.next()]
        await b.ask(op="leave", room="lobby")
        await a.tell(op="broadcast", room="lobby", text="alone")
        at_a += [await a.next(), await a.next()]
        await b.tell(op="path")  # the next that b hears, as it hears nothing of the room
        at_b += [await b.next()]
        return {"size": size, "a": at_a, "b": at_b}


async def drop():
    """Cuts the connection without a word; who stays in the room hears of it from OnClose."""
    async with dial("/rooms?join=gone") as stays:
        await stays.next()
        goes = await dial("/rooms?join=gone&bye=gone")
        await goes.next()
        name = await goes.name()
        goes.transport.abort()
        return {"id": name, "heard": await stays.next() == f"text: bye {name}"}


async def exit():
    """Leaves it to the kernel to end the connection."""
    return {"id": await (await dial("/rooms")).name()}


CASES = [
    subprotocol, foreign_subprotocol, compression, text, binary, empty, large, order, fragments, ping, pinged,
    close_by_client, close_by_plugin, close_without_code, too_large, origin, rooms, drop, exit,
]  # fmt: skip


async def main():
    for case in CASES:
        saw = await asyncio.wait_for(case(), 20)
        print(json.dumps({"case": case.__name__.replace("_", "-")} | saw), flush=True)
    os._exit(0)  # a quiet end would close what is open


asyncio.run(main())
