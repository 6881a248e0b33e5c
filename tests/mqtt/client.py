"""Publishes readings at every QoS and hears them again: client.py VERSION TRANSPORT HOST PORT FIRST COUNT.

Prints `published N` and `heard N`, N rows of distinct numbers each, or fails.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

version, transport, host, port, first, count = sys.argv[1:7]
first, count = int(first), int(count)
protocol = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]


def client(name):
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, transport=transport)
    if transport == "websockets":
        made.ws_set_options(path="/mqtt")
    return made


heard, subscribed, done = set(), threading.Event(), threading.Event()


def on_message(_client, _data, message):
    # The latest readings from before.
    if message.retain:
        return
    heard.add(json.loads(message.payload)["n"])
    if len(heard) == count:
        done.set()


listener = client(f"listener-{first}")
listener.on_message = on_message
listener.on_subscribe = lambda *_: subscribed.set()
listener.connect(host, int(port))
listener.loop_start()
listener.subscribe("/room/+/s", qos=1)
assert subscribed.wait(30), "no SUBACK"

publisher = client(f"publisher-{first}")
publisher.max_inflight_messages_set(100)
publisher.connect(host, int(port))
publisher.loop_start()
sent = []
for n in range(first, first + count):
    reading = json.dumps({"time": 1_700_000_000 + n, "n": n})
    sent.append(publisher.publish(f"/room/{n % 10}/s", reading, qos=n % 3))
for message in sent:
    message.wait_for_publish(60)
    assert message.is_published(), "not confirmed"
print("published", len(sent))
assert done.wait(60), f"heard {len(heard)} of {count}"
print("heard", len(heard))
for each in (publisher, listener):
    each.disconnect()
    each.loop_stop()
