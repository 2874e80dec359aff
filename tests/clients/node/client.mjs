// Speaks to the plugin "probe" with the WebSocket that Node has built in, and prints what it saw: a line of JSON for each case.
// tests/tests/websocket_clients.rs says what is right.
//
//	node client.mjs ws://127.0.0.1:PORT
//
// That WebSocket is a browser's: it sends no pings and no fragments, and hides how a handshake failed. What comes in below it
// is seen on Node's diagnostics channels.
import { createHash } from "node:crypto";
import { subscribe } from "node:diagnostics_channel";
import { setTimeout as sleep } from "node:timers/promises";

const base = process.argv[2];
const snowman = "héllo ☃ 😀";

let pings = 0, status, wire;
subscribe("undici:websocket:ping", () => pings++);
subscribe("undici:request:headers", ({ response }) => (status = response.statusCode));
subscribe("undici:client:connected", ({ socket }) => (wire = socket));

/** A connection whose messages are awaited one by one. */
class Socket {
	#inbox = [];
	#waiting = [];

	/** Opens base + path; rejected if it does not open. */
	static async open(path, options) {
		const socket = new Socket();
		const ws = (socket.ws = new WebSocket(base + path, options));
		ws.binaryType = "arraybuffer";
		ws.onmessage = ({ data }) => (socket.#waiting.shift() ?? ((data) => socket.#inbox.push(data)))(data);
		socket.closed = new Promise((done) => (ws.onclose = ({ code, reason, wasClean }) => done({ code, reason, clean: wasClean })));
		await new Promise((done, failed) => ((ws.onopen = done), (ws.onerror = failed)));
		ws.onerror = () => {}; // onclose says it as well
		return socket;
	}

	/** The next message: a text or an ArrayBuffer. */
	hear() {
		return this.#inbox.length ? this.#inbox.shift() : new Promise((done) => this.#waiting.push(done));
	}

	/** The next message with its kind before it: "text: hello", "binary: hello". */
	async next() {
		const message = await this.hear();
		return typeof message === "string" ? `text: ${message}` : `binary: ${Buffer.from(message)}`;
	}

	/** Gives ws-rooms an order, without waiting for an answer. */
	tell(order) {
		this.ws.send(JSON.stringify(order));
	}

	/** Gives ws-rooms an order: the value of its answer. */
	async ask(order) {
		this.tell(order);
		const answer = JSON.parse(await this.hear());
		if (answer.op !== order.op || answer.error) throw new Error(JSON.stringify([order, answer]));
		return answer.value ?? "";
	}

	/** What the plugin calls this connection. */
	id() {
		return this.ask({ op: "id" });
	}
}

/** n bytes: 0 to 250, and again. */
const pattern = (n) => Uint8Array.from({ length: n }, (_, i) => i % 251);

/** Opens a connection, and closes it behind what is done with it. */
async function using(path, options, work) {
	const socket = await Socket.open(path, options);
	const saw = await work(socket);
	socket.ws.close();
	return saw;
}

const cases = {
	subprotocol: () =>
		using("/rooms?protocol=chat.v2", ["chat.v1", "chat.v2"], async (s) => ({
			client: s.ws.protocol, plugin: await s.ask({ op: "protocol" }),
		})),

	// One that the plugin chooses and this client did not offer: it gets none, and browsers leave then.
	"foreign-subprotocol": () =>
		Socket.open("/rooms?protocol=soap", ["chat.v1"]).then(
			() => ({ client: "open" }), () => ({ client: "refused" }),
		),

	// It is always offered, and declined: messages that would have been compressed go as they are.
	compression: () =>
		using("/rooms", [], async (s) => {
			const offered = await s.ask({ op: "header", text: "sec-websocket-extensions" });
			const sent = Buffer.from("again ".repeat(1000));
			s.ws.send(sent);
			return { offered, extensions: s.ws.extensions, same: sent.equals(Buffer.from(await s.hear())) };
		}),

	text: () =>
		using("/echo", [], async (s) => {
			s.ws.send(snowman);
			return { text: await s.hear() };
		}),

	binary: () =>
		using("/echo", [], async (s) => {
			s.ws.send(pattern(256));
			return { hex: Buffer.from(await s.hear()).toString("hex") };
		}),

	empty: () =>
		using("/echo", [], async (s) => {
			s.ws.send("");
			s.ws.send(new Uint8Array());
			return { text: await s.hear(), binary: (await s.hear()).byteLength };
		}),

	large: () =>
		using("/echo", [], async (s) => {
			s.ws.send(pattern(1 << 20));
			const got = Buffer.from(await s.hear());
			return { bytes: got.length, sha256: createHash("sha256").update(got).digest("hex") };
		}),

	// Sends 1 000 messages without waiting, and counts those that come back in their place.
	order: () =>
		using("/echo", [], async (s) => {
			for (let n = 0; n < 1000; n++) s.ws.send(`${n}`);
			let in_place = 0;
			for (let n = 0; n < 1000; n++) in_place += (await s.hear()) === `${n}`;
			return { in_place };
		}),

	// Says nothing for so long that the gateway pings it, more than once.
	pinged: () =>
		using("/pinged", [], async (s) => {
			const id = await s.id();
			pings = 0;
			await sleep(700);
			const seen = pings;
			return { id, pings: seen, alive: (await s.id()) === id };
		}),

	"close-by-client": async () => {
		const s = await Socket.open("/rooms");
		const id = await s.id();
		s.ws.close(4001, "bye ☃");
		return { id, ...(await s.closed) };
	},

	"close-by-plugin": async () => {
		const s = await Socket.open("/rooms");
		const id = await s.id();
		s.tell({ op: "close", code: 4002, text: "go ☃" });
		return { id, ...(await s.closed) };
	},

	"close-without-code": async () => {
		const s = await Socket.open("/rooms");
		const id = await s.id();
		s.tell({ op: "close" });
		return { id, ...(await s.closed) };
	},

	"too-large": async () => {
		const s = await Socket.open("/rooms");
		const id = await s.id();
		s.ws.send(pattern((1 << 20) + 1));
		return { id, code: (await s.closed).code };
	},

	origin: async () => {
		const opened = await Socket.open("/guarded", { headers: { origin: "http://evil.test" } }).catch(() => false);
		const evil = opened ? 101 : status;
		return using("/guarded", { headers: { origin: "http://good.test" } }, async (s) => {
			s.ws.send("in");
			return { evil, good: await s.hear() };
		});
	},

	// Two members who speak, until one leaves.
	rooms: () =>
		using("/rooms?join=lobby", [], (a) =>
			using("/rooms?join=lobby", [], async (b) => {
				const atA = [await a.next()], atB = [await b.next()];
				const size = await a.ask({ op: "size", room: "lobby" });
				a.tell({ op: "broadcast", room: "lobby", text: snowman });
				atA.push(await a.next(), await a.next());
				atB.push(await b.next());
				b.tell({ op: "broadcast-binary", room: "lobby", text: "bytes" });
				atB.push(await b.next(), await b.next());
				atA.push(await a.next());
				b.tell({ op: "send-to", to: await a.id(), text: "between us" });
				atA.push(await a.next());
				atB.push(await b.next());
				await b.ask({ op: "leave", room: "lobby" });
				a.tell({ op: "broadcast", room: "lobby", text: "alone" });
				atA.push(await a.next(), await a.next());
				b.tell({ op: "path" }); // the next that b hears, as it hears nothing of the room
				atB.push(await b.next());
				return { size, a: atA, b: atB };
			})),

	// Cuts the connection without a word; who stays in the room hears of it from OnClose.
	drop: () =>
		using("/rooms?join=gone", [], async (stays) => {
			await stays.next();
			const goes = await Socket.open("/rooms?join=gone&bye=gone");
			const cut = wire;
			await goes.next();
			const id = await goes.id();
			cut.resetAndDestroy();
			return { id, heard: (await stays.next()) === `text: bye ${id}` };
		}),

	// Leaves it to the kernel to end the connection.
	exit: async () => ({ id: await (await Socket.open("/rooms")).id() }),
};

for (const [name, run] of Object.entries(cases)) {
	const late = setTimeout(() => {
		console.error(`${name}: not done after 20 s`);
		process.exit(1);
	}, 20_000);
	console.log(JSON.stringify({ case: name, ...(await run()) }));
	clearTimeout(late);
}
process.exit(0);
