"""A TCP proxy that can cut, stall, slow down and split what passes, while it runs."""

import asyncio
import random
import socket
import struct
import threading

BUFFER = 65536


class Proxy:
    """Listens on a loopback port and passes each connection on to one of `targets`: (host, port),
    or the path of a unix socket."""

    def __init__(self, targets, seed=0):
        self.targets = list(targets)
        # Connections that were accepted so far.
        self.accepted = 0
        self._chance = random.Random(seed)
        self._links = set()
        self._piece = None
        # The connection that is to pass these bytes, in either direction, loses them and breaks.
        self._lost = None
        self._bytes_a_second = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        started = threading.Event()
        self._loop.call_soon(started.set)
        self._thread.start()
        started.wait()
        self._call(self._listen())

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def cut(self, reset):
        """Breaks all connections, with RST or with FIN. New ones are accepted."""
        async def cut():
            for link in list(self._links):
                link.cut(reset)
        self._call(cut())

    def stall(self):
        """Nothing passes any more, all sockets stay open."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def forget(self):
        """Nothing ever passes again on what is open; all sockets stay open."""
        for link in list(self._links):
            link.is_forgotten = True

    def slow(self, bytes_a_second):
        self._bytes_a_second = bytes_a_second

    def split(self, most):
        """What passes is cut into pieces of 1 to `most` bytes, a segment each."""
        self._piece = most

    def lose(self, sent):
        """The next connection on which these bytes are sent, by either end, breaks before they
        pass."""
        self._lost = sent

    def restore(self):
        """All passes as it comes."""
        self._piece = self._bytes_a_second = self._lost = None
        self._loop.call_soon_threadsafe(self._open.set)

    def connection_count(self):
        return len(self._links)

    def close(self):
        async def close():
            self._server.close()
            for link in list(self._links):
                link.cut(True)
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        self._call(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=20)

    async def _listen(self):
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=2000)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader, writer):
        self.accepted += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._open.wait()
            target = self._chance.choice(self.targets)
            if isinstance(target, str):
                back, forth = await asyncio.open_unix_connection(target)
            else:
                back, forth = await asyncio.open_connection(*target)
            link.add(forth)
            ways = [asyncio.ensure_future(self._pass(link, reader, forth)),
                    asyncio.ensure_future(self._pass(link, back, writer))]
            try:
                # The end of one direction is the end of both: nobody here half-closes.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except (OSError, IndexError, asyncio.CancelledError):
            pass
        finally:
            link.cut(False)
            self._links.discard(link)

    async def _pass(self, link, reader, writer):
        try:
            while data := await reader.read(BUFFER):
                if self._lost and self._lost in data:
                    self._lost = None
                    return
                while data:
                    await self._open.wait()
                    if link.is_forgotten:
                        await asyncio.Event().wait()
                    size = len(data)
                    # They may change while this waits.
                    piece, rate = self._piece, self._bytes_a_second
                    if piece:
                        size = self._chance.randint(1, piece)
                    if rate:
                        size = min(size, max(1, rate // 20))
                    writer.write(data[:size])
                    await writer.drain()
                    if rate:
                        await asyncio.sleep(len(data[:size]) / rate)
                    elif piece:
                        await asyncio.sleep(0)
                    data = data[size:]
            if writer.transport.get_write_buffer_size() == 0:
                return
            await writer.drain()
        except OSError:
            pass


class _Link:
    """The two sockets of one connection."""

    def __init__(self, writer):
        self._writers = []
        self._is_cut = False
        self.is_forgotten = False
        self.add(writer)

    def add(self, writer):
        plain = writer.get_extra_info("socket")
        if plain.family == socket.AF_INET:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.append(writer)
        if self._is_cut:
            self.cut(True)

    def cut(self, reset):
        self._is_cut = True
        for writer in self._writers:
            plain = writer.get_extra_info("socket")
            try:
                if reset and plain.family == socket.AF_INET:
                    plain.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif not reset:
                    plain.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            if reset:
                writer.transport.abort()
            else:
                writer.transport.close()
