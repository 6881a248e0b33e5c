// What a page does with mqtt.js: the build for browsers, in what it takes for one.
// browser.js MODULES URL VERSION FIRST COUNT; prints `published N` and `heard N`.
"use strict";
const fs = require("fs");
const vm = require("vm");
const [modules, url, version, first, count] = process.argv.slice(2);
globalThis.WebSocket = require(`${modules}/ws`);
globalThis.window = globalThis;
globalThis.document = {};
globalThis.navigator = { language: "en" };
// As a <script> does.
vm.runInThisContext(fs.readFileSync(`${modules}/mqtt/dist/mqtt.js`, "utf8"));

const fail = (what) => {
  console.error(what);
  process.exit(1);
};
setTimeout(() => fail(`heard ${heard.size} of ${count}`), 60_000);
const heard = new Set();
const client = globalThis.mqtt.connect(url, { protocolVersion: version === "5" ? 5 : 4, clientId: `page-${first}`, reconnectPeriod: 0, timerVariant: "native" });
client.on("error", fail);
client.on("message", (_topic, payload, packet) => {
  // The latest readings from before.
  if (packet.retain) return;
  heard.add(JSON.parse(payload).n);
  if (heard.size === Number(count)) {
    console.log("heard", heard.size);
    client.end(false, {}, () => process.exit(0));
  }
});
client.on("connect", async () => {
  await client.subscribeAsync("/room/+/s", { qos: 1 });
  const sent = [];
  for (let n = Number(first); n < Number(first) + Number(count); n++) {
    const reading = JSON.stringify({ time: 1_700_000_000 + n, n });
    sent.push(client.publishAsync(`/room/${n % 10}/s`, reading, { qos: n % 3 }));
  }
  await Promise.all(sent);
  console.log("published", sent.length);
});
