"""Has two people chat on the page of examples/ws-chat in Chromium, and prints what stands on it then, as JSON.

tests/tests/websocket_clients.rs says what is right.

    browser.py CHROMIUM URL URL_OF_ANOTHER_ORIGIN
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from websockets.sync.client import connect

BROWSER, URL, FOREIGN = sys.argv[1:]
LIMIT = 60  # seconds for anything to be seen


def until(what, probe):
    """Waits for what probe gives to be true."""
    end = time.monotonic() + LIMIT
    while not (found := probe()):
        if time.monotonic() > end:
            sys.exit(f"not seen: {what}")
        time.sleep(0.05)
    return found


class Tab:
    """A page, by the DevTools protocol."""

    def __init__(self, stack, port, url):
        self.port = port
        new = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?{url}", method="PUT")
        about = json.load(urllib.request.urlopen(new, timeout=LIMIT))
        self.id, self.url, self.calls = about["id"], url, 0
        self.wire = stack.enter_context(connect(about["webSocketDebuggerUrl"], proxy=None, max_size=None))
        until(f"the form of {url}", lambda: self.run("!!document.getElementById('enter')?.onsubmit"))

    def run(self, script):
        """The value of a script on the page."""
        self.calls += 1
        params = {"expression": script, "returnByValue": True}
        self.wire.send(json.dumps({"id": self.calls, "method": "Runtime.evaluate", "params": params}))
        while (answer := json.loads(self.wire.recv(LIMIT))).get("id") != self.calls:
            pass
        result = answer["result"]
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def enter(self, name, room="lobby"):
        self.run(f"{{ const f = document.getElementById('enter'); f.name.value = {name!r}; f.room.value = {room!r}; f.requestSubmit(); }}")

    def say(self, text):
        self.run(f"{{ const f = document.getElementById('talk'); f.say.value = {json.dumps(text)}; f.requestSubmit(); }}")

    def log(self):
        return self.run("[...document.querySelectorAll('#log p')].map(p => p.textContent)")

    def here(self):
        return self.run("document.getElementById('here').textContent")

    def sees(self, line):
        until(f"{line!r} on {self.url}; there is {self.log()}", lambda: line in self.log())

    def close(self):
        self.wire.close()
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/json/close/{self.id}", timeout=LIMIT)


def chat(port, stack):
    ada, bob, eve = (Tab(stack, port, url) for url in (URL, URL, FOREIGN))
    ada.enter("ada")
    ada.sees("ada is here")
    here = [ada.here()]
    bob.enter("bob")
    ada.sees("bob is here")
    bob.sees("bob is here")
    here.append(ada.here())
    eve.enter("eve")
    eve.sees("connection lost, trying again")
    ada.say("<b>hello</b>")
    bob.sees("ada: <b>hello</b>")
    bob.say("héllo ☃ 😀")
    ada.sees("bob: héllo ☃ 😀")
    ada.say("once more")
    bob.sees("ada: once more")
    at_bob = bob.log()
    bob.close()
    ada.sees("bob has left")
    here.append(ada.here())
    return {"ada": ada.log(), "bob": at_bob, "here": here, "eve": eve.log()[:1]}


with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    browser = subprocess.Popen(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = Path(profile, "DevToolsActivePort")
        until("the port of the browser", lambda: port.exists() and port.read_text().count("\n"))
        with ExitStack() as stack:
            print(json.dumps(chat(port.read_text().split()[0], stack)))
    finally:
        browser.terminate()
        browser.wait(LIMIT)
