"""Sends and receives with RocketMQ's C++ client, through the C interface of the librocketmq.so in the PyPI wheel rocketmq 0.4.4.

clients.py --namesrv HOST:PORT [SCENARIO...]; the wheel's .libs folder has to be in LD_LIBRARY_PATH.
Prints one line each, "PASS name (ms)" or "FAIL name: reason", then "TOTAL passed=N failed=M ms=T"; exit status 1 when one failed.
"""

import ctypes
import importlib.util
import os
import sys
import tempfile
import threading
import time
from ctypes import c_char, c_char_p, c_int, c_long, c_longlong, c_void_p

LIBRARY = os.path.join(importlib.util.find_spec("rocketmq").submodule_search_locations[0], "librocketmq.so")


class SendResult(ctypes.Structure):
    _fields_ = [("status", c_int), ("message_id", c_char * 256), ("queue_offset", c_longlong)]


class MessageQueue(ctypes.Structure):
    _fields_ = [("topic", c_char * 512), ("broker", c_char * 256), ("queue_id", c_int)]


class PullResult(ctypes.Structure):
    _fields_ = [
        ("status", c_int),
        ("next", c_longlong),
        ("min", c_longlong),
        ("max", c_longlong),
        ("messages", ctypes.POINTER(c_void_p)),
        ("size", c_int),
        ("data", c_void_p),
    ]


LISTENER = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
FOUND, CONSUMED, CONSUME_LATER = 0, 0, 1


def load():
    library = ctypes.CDLL(LIBRARY)
    pointers = "CreateMessage CreateProducer CreatePushConsumer CreatePullConsumer"
    texts = "GetMessageBody GetMessageTags GetMessageKeys GetMessageTopic GetMessageId GetLatestErrorMessage"
    for name in pointers.split():
        getattr(library, name).restype = c_void_p
    for name in texts.split():
        getattr(library, name).restype = c_char_p
    for name in (texts + " StartProducer ShutdownProducer DestroyProducer DestroyMessage StartPushConsumer ShutdownPushConsumer "
                 "DestroyPushConsumer StartPullConsumer ShutdownPullConsumer DestroyPullConsumer GetMessageReconsumeTimes").split():
        if name != "GetLatestErrorMessage":
            getattr(library, name).argtypes = [c_void_p]
    for name in ("SetProducerNameServerAddress SetProducerInstanceName SetProducerLogPath SetPushConsumerNameServerAddress "
                 "SetPushConsumerInstanceName SetPushConsumerLogPath SetPullConsumerNameServerAddress SetPullConsumerLogPath "
                 "SetMessageTags SetMessageKeys SetMessageBody").split():
        getattr(library, name).argtypes = [c_void_p, c_char_p]
    library.SetMessageProperty.argtypes = [c_void_p, c_char_p, c_char_p]
    library.GetMessageProperty.argtypes = [c_void_p, c_char_p]
    library.GetMessageProperty.restype = c_char_p
    library.SetProducerSendMsgTimeout.argtypes = [c_void_p, c_int]
    library.SendMessageSync.argtypes = [c_void_p, c_void_p, ctypes.POINTER(SendResult)]
    library.SendMessageOneway.argtypes = [c_void_p, c_void_p]
    library.Subscribe.argtypes = [c_void_p, c_char_p, c_char_p]
    library.RegisterMessageCallback.argtypes = [c_void_p, LISTENER]
    library.SetPushConsumerThreadCount.argtypes = [c_void_p, c_int]
    library.FetchSubscriptionMessageQueues.argtypes = [
        c_void_p, c_char_p, ctypes.POINTER(ctypes.POINTER(MessageQueue)), ctypes.POINTER(c_int)]
    library.ReleaseSubscriptionMessageQueue.argtypes = [ctypes.POINTER(MessageQueue)]
    library.Pull.argtypes = [c_void_p, ctypes.POINTER(MessageQueue), c_char_p, c_longlong, c_int]
    library.Pull.restype = PullResult
    library.ReleasePullResult.argtypes = [PullResult]
    for kind in ("Producer", "PushConsumer", "PullConsumer"):
        getattr(library, f"Set{kind}LogFileNumAndSize").argtypes = [c_void_p, c_int, c_long]
    return library


LIB = load()
LOGS = tempfile.mkdtemp(prefix="ringmq-cpp-").encode()
RUN = format(int(time.time() * 1000), "x")


class Failed(Exception):
    pass


def ok(code, what):
    if code != 0:
        raise Failed(f"{what}: status {code}, {(LIB.GetLatestErrorMessage() or b'').decode(errors='replace')}")


class World:
    def __init__(self, namesrv, scenario):
        self.namesrv, self.scenario, self.endings = namesrv.encode(), scenario, []

    def name(self, suffix=""):
        return f"it_cpp_{self.scenario}_{RUN}{suffix}".encode()

    def close(self):
        for ending in reversed(self.endings):
            ending()

    def producer(self):
        producer = LIB.CreateProducer(self.name("_p"))
        LIB.SetProducerNameServerAddress(producer, self.namesrv)
        LIB.SetProducerInstanceName(producer, self.name("_p"))
        LIB.SetProducerSendMsgTimeout(producer, 10_000)
        LIB.SetProducerLogPath(producer, LOGS)
        ok(LIB.StartProducer(producer), "start of the producer")
        self.endings.append(lambda: (LIB.ShutdownProducer(producer), LIB.DestroyProducer(producer)))
        return producer

    def message(self, body, tag=None):
        message = LIB.CreateMessage(self.name())
        LIB.SetMessageBody(message, body.encode())
        LIB.SetMessageKeys(message, b"key")
        LIB.SetMessageProperty(message, b"p", "wért".encode())
        if tag:
            LIB.SetMessageTags(message, tag)
        return message

    def send(self, producer, body, tag=None):
        message, result = self.message(body, tag), SendResult()
        ok(LIB.SendMessageSync(producer, message, ctypes.byref(result)), f"send of {body[:20]}")
        LIB.DestroyMessage(message)
        if result.status != 0 or not result.message_id:
            raise Failed(f"send result {result.status}, id {result.message_id}")
        return result

    def consume(self, expected, tags=b"*", listener=None):
        """Consumes until as many messages came as expected; compares them as multisets."""
        got, lock = [], threading.Lock()

        def on_message(_consumer, message):
            body = LIB.GetMessageBody(message).decode()
            with lock:
                status = listener(message) if listener else CONSUMED
                got.append(body)
            return status

        callback = LISTENER(on_message)
        consumer = LIB.CreatePushConsumer(self.name("_g"))
        LIB.SetPushConsumerNameServerAddress(consumer, self.namesrv)
        LIB.SetPushConsumerInstanceName(consumer, self.name("_c"))
        LIB.SetPushConsumerLogPath(consumer, LOGS)
        LIB.SetPushConsumerThreadCount(consumer, 2)
        ok(LIB.Subscribe(consumer, self.name(), tags), "subscribe")
        ok(LIB.RegisterMessageCallback(consumer, callback), "listener")
        ok(LIB.StartPushConsumer(consumer), "start of the consumer")
        # The callback has to outlive the consumer, which this closure sees to.
        self.endings.append(lambda: (LIB.ShutdownPushConsumer(consumer), LIB.DestroyPushConsumer(consumer), callback))
        end = time.time() + 45
        while len(got) < len(expected) and time.time() < end:
            time.sleep(0.02)
        time.sleep(0.3)
        with lock:
            if sorted(got) != sorted(expected):
                raise Failed(f"expected {len(expected)} messages {sorted(expected)}, got {len(got)} {sorted(got)}")


def numbered(prefix, count):
    return [f"{prefix}{i}" for i in range(count)]


def sync(world):
    producer = world.producer()
    for body in numbered("s", 20):
        world.send(producer, body)

    def listener(message):
        if LIB.GetMessageKeys(message) != b"key" or LIB.GetMessageProperty(message, b"p") != "wért".encode():
            return CONSUME_LATER
        return CONSUMED

    world.consume(numbered("s", 20), listener=listener)


def oneway(world):
    producer = world.producer()
    world.send(producer, "o0")
    for body in numbered("o", 11)[1:]:
        message = world.message(body)
        ok(LIB.SendMessageOneway(producer, message), f"oneway of {body}")
        LIB.DestroyMessage(message)
    world.consume(numbered("o", 11))


def compressed(world):
    body = "compressible " * 2000
    world.send(world.producer(), body)
    world.consume([body])


def tags(world):
    producer = world.producer()
    for i in range(5):
        for tag in ("AaAa", "BBBB", "other"):
            world.send(producer, f"{tag}{i}", tag.encode())
    world.consume(numbered("AaAa", 5), tags=b"AaAa")


def pull(world):
    producer = world.producer()
    for body in numbered("m", 20):
        world.send(producer, body)
    consumer = LIB.CreatePullConsumer(world.name("_g"))
    LIB.SetPullConsumerNameServerAddress(consumer, world.namesrv)
    LIB.SetPullConsumerLogPath(consumer, LOGS)
    ok(LIB.StartPullConsumer(consumer), "start of the pull consumer")
    world.endings.append(lambda: (LIB.ShutdownPullConsumer(consumer), LIB.DestroyPullConsumer(consumer)))
    queues, count = ctypes.POINTER(MessageQueue)(), c_int()
    ok(LIB.FetchSubscriptionMessageQueues(consumer, world.name(), ctypes.byref(queues), ctypes.byref(count)), "queues")
    if count.value == 0:
        raise Failed("no queues")
    got = []
    for i in range(count.value):
        offset = 0
        while True:
            result = LIB.Pull(consumer, ctypes.byref(queues[i]), b"*", offset, 8)
            if result.status != FOUND:
                break
            got += [LIB.GetMessageBody(result.messages[n]).decode() for n in range(result.size)]
            offset = result.next
            LIB.ReleasePullResult(result)
    LIB.ReleaseSubscriptionMessageQueue(queues)
    if sorted(got) != sorted(numbered("m", 20)):
        raise Failed(f"got {len(got)}: {sorted(got)}")


SCENARIOS = [sync, oneway, compressed, tags, pull]


def run(scenario, namesrv):
    begin = time.time()
    world = World(namesrv, scenario.__name__)
    try:
        scenario(world)
        print(f"PASS cpp_{scenario.__name__} ({int((time.time() - begin) * 1000)})", flush=True)
        return True
    except Exception as e:  # a scenario that fails must not take the others along
        print(f"FAIL cpp_{scenario.__name__}: {type(e).__name__} {' '.join(str(e).split())}", flush=True)
        return False
    finally:
        world.close()


def main():
    arguments, namesrv, names = sys.argv[1:], None, []
    while arguments:
        argument = arguments.pop(0)
        if argument == "--namesrv" and arguments:
            namesrv = arguments.pop(0)
        else:
            names.append(argument)
    if not namesrv:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    begin = time.time()
    chosen = [s for s in SCENARIOS if not names or s.__name__ in names]
    results = [None] * len(chosen)

    def lane(i):
        results[i] = run(chosen[i], namesrv)

    lanes = [threading.Thread(target=lane, args=(i,)) for i in range(len(chosen))]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()
    passed = sum(results)
    print(f"TOTAL passed={passed} failed={len(results) - passed} ms={int((time.time() - begin) * 1000)}", flush=True)
    # The library's own threads may outlive its shutdown and trip over the interpreter's, so nothing is torn down.
    os._exit(0 if passed == len(results) and passed > 0 else 1)


main()
